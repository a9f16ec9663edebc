//! One request and its reply, as bytes on the daemon's socket.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// A request.
#[derive(Clone, Debug, Default)]
pub(super) struct Call<'a> {
    pub(super) method: &'a str,
    pub(super) target: String,
    pub(super) headers: Vec<(&'a str, &'a str)>,
    pub(super) body: String,
    /// Octets of the body that are announced and never sent.
    pub(super) missing: usize,
}

/// The reply.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// By name in small letters.
    pub(super) headers: BTreeMap<String, String>,
    /// Nothing when the reply is a stream.
    pub(super) json: Value,
}

impl Call<'_> {
    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Names and values of the query.
    pub(super) fn query(&self) -> impl Iterator<Item = (&str, &str)> {
        let query = self.target.split_once('?').map(|(_, query)| query);
        query
            .into_iter()
            .flat_map(|query| query.split('&'))
            .filter_map(|pair| pair.split_once('='))
    }

    /// Sends it and reads the reply.
    pub(super) async fn send(&self, socket: &Path) -> Reply {
        let mut stream = UnixStream::connect(socket).await.unwrap();
        // A daemon that has heard enough may close before everything is written.
        let _ = stream.write_all(self.text().as_bytes()).await;
        timeout(Duration::from_secs(100), Reply::read(stream))
            .await
            .expect("a reply comes")
    }

    fn text(&self) -> String {
        let Self { method, target, .. } = self;
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n");
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        let length = self.body.len() + self.missing;
        if length > 0 {
            text.push_str(&format!("Content-Length: {length}\r\n"));
        }
        format!("{text}Connection: close\r\n\r\n{}", self.body)
    }
}

impl Reply {
    async fn read(mut stream: UnixStream) -> Self {
        let mut octets = Vec::new();
        let end = b"\r\n\r\n";
        let head = loop {
            // A reset after the reply is its end as well.
            let read = stream.read_buf(&mut octets).await.unwrap_or(0);
            let at = octets.windows(end.len()).position(|window| window == end);
            if let Some(at) = at {
                break at;
            }
            assert_ne!(read, 0, "the reply ends in its head");
        };
        let text = String::from_utf8_lossy(&octets[..head]).into_owned();
        let headers: BTreeMap<_, _> = text
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let mut json = Value::Null;
        if headers["content-type"] != "text/event-stream" {
            while stream.read_buf(&mut octets).await.unwrap_or(0) > 0 {}
            json = serde_json::from_slice(&octets[head + end.len()..]).expect("JSON");
        }
        let status = text.split(' ').nth(1).and_then(|text| text.parse().ok());
        Self {
            status: status.expect("a status"),
            headers,
            json,
        }
    }
}

//! What clients asked, as they asked it, for those who examine an LPA.

use std::collections::VecDeque;

use hyper::{HeaderMap, Request};
use serde::Serialize;
use serde_json::Value;

/// A request of ES9+ as it came.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReceivedRequest {
    /// Its number, from 1.
    pub number: u64,
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The version of HTTP.
    pub version: String,
    /// Names in lower case and values, in the order they came.
    pub headers: Vec<(String, String)>,
    /// The body, when it was JSON and looked at.
    pub body: Option<Value>,
}

/// The latest requests.
#[derive(Debug, Default)]
pub(super) struct RequestLog {
    requests: VecDeque<ReceivedRequest>,
    count: u64,
}

impl RequestLog {
    /// Keeps the head of a request and gives its number; the oldest request makes room.
    pub(super) fn begin<B>(&mut self, request: &Request<B>) -> u64 {
        self.count += 1;
        if self.requests.len() == MAX_REQUESTS {
            self.requests.pop_front();
        }
        self.requests.push_back(ReceivedRequest {
            number: self.count,
            method: request.method().to_string(),
            path: request.uri().to_string(),
            version: format!("{:?}", request.version()),
            headers: shown(request.headers()),
            body: None,
        });
        self.count
    }

    /// Keeps the body of a request.
    pub(super) fn read(&mut self, number: u64, body: &Value) {
        let request = self.requests.iter_mut().find(|one| one.number == number);
        if let Some(request) = request {
            request.body = Some(body.clone());
        }
    }

    /// All that are kept, the oldest first.
    pub(super) fn all(&self) -> Vec<ReceivedRequest> {
        self.requests.iter().cloned().collect()
    }
}

fn shown(headers: &HeaderMap) -> Vec<(String, String)> {
    let shown = headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        (name.to_string(), value.into_owned())
    });
    shown.collect()
}

/// Each is at most as large as a request may be.
const MAX_REQUESTS: usize = 100;

//! `/v1/events`: server-sent events.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;

use super::action::{Action, Request};
use super::body::Event;
use super::status::ErrorResponse;
use crate::memory::events::Follower;
use crate::problem::{Code, Problem};
use crate::runtime::closing::Closing;

pub(super) fn route(request: &Request<'_>) -> Result<Action, ErrorResponse> {
    let last_seen = match request.last_event_id.map(str::parse) {
        None => None,
        Some(Ok(id)) => Some(id),
        Some(Err(_)) => {
            return Err(Problem::new(Code::InvalidRequest)
                .detail("Last-Event-ID is no event's number.")
                .into());
        }
    };
    request.only_get(Action::Events { last_seen })
}

/// The body of an answer that goes on: events as they happen, a comment when none do.
#[derive(Debug)]
pub struct EventStream {
    chunks: mpsc::Receiver<Bytes>,
}

impl EventStream {
    /// Streams what `follower` sees until the client leaves or the daemon is `closing`.
    pub fn new(mut follower: Follower, closing: Closing) -> Self {
        let (sender, chunks) = mpsc::channel(CHUNKS_WAITING);
        tokio::spawn(async move {
            loop {
                let chunk = tokio::select! {
                    event = follower.next() => match event {
                        Some(event) => render(&Event::from(&event)),
                        None => return,
                    },
                    () = tokio::time::sleep(HEARTBEAT) => ": still here\n\n".to_owned(),
                    () = sender.closed() => return,
                    () = closing.announced() => return,
                };
                if sender.send(Bytes::from(chunk)).await.is_err() {
                    return;
                }
            }
        });
        Self { chunks }
    }
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.chunks
            .poll_recv(context)
            .map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}

fn render(event: &Event) -> String {
    format!(
        "id: {}\nevent: {}\ndata: {}\n\n",
        event.id,
        event.kind.name(),
        event.data
    )
}

/// How long a stream stays silent.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How many chunks a slow reader may leave waiting; the events behind them stay in the ring.
const CHUNKS_WAITING: usize = 4;

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::memory::events::{Change, Events};
    use crate::runtime::closing::closing;

    #[tokio::test(start_paused = true)]
    async fn events_are_numbered_and_silence_is_filled() {
        let events = Events::new(5);
        let (closer, closing) = closing();
        let mut stream = EventStream::new(events.follow(None), closing);
        let mut next = async || {
            let frame = stream.frame().await?.ok()?;
            String::from_utf8(frame.into_data().ok()?.to_vec()).ok()
        };
        assert_eq!(next().await.unwrap(), ": still here\n\n");
        events.publish(Change::Euicc(Box::default()));
        assert_eq!(
            next().await.unwrap(),
            "id: 5\nevent: euicc\ndata: {\"name\":\"\",\"port\":\"\",\"state\":\"starting\"}\n\n"
        );
        closer.close();
        assert_eq!(next().await, None);
    }
}

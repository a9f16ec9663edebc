//! HTTP bodies of the server, faulty ones included.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::Value;
use tokio::time::{Instant, Sleep, sleep};

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum Body {
    /// All of it.
    Whole(Bytes),
    /// So many octets that mean nothing, made as they are sent.
    Filler(u64),
    /// Some of it, though more is announced; then the connection ends.
    Cut { sent: Bytes, announced: u64 },
    /// All of it in pieces, with a pause before each that has one.
    Pieces {
        left: Bytes,
        size: usize,
        pause: Option<(Duration, Pin<Box<Sleep>>)>,
        announced: bool,
    },
}

impl Body {
    /// All of it, at this many octets in a second.
    pub(super) fn slow(left: Bytes, rate: u32) -> Self {
        // Ten pieces a second are slow enough for a rate above that.
        let size = usize::try_from(rate / 10).unwrap_or(1).max(1);
        let pause = Duration::from_secs(1).mul_f64(size as f64 / f64::from(rate.max(1)));
        Self::Pieces {
            left,
            size,
            pause: Some((pause, Box::pin(sleep(pause)))),
            announced: true,
        }
    }

    /// All of it in chunks of this size, its length not announced.
    pub(super) fn chunked(left: Bytes, size: usize) -> Self {
        Self::Pieces {
            left,
            size: size.max(1),
            pause: None,
            announced: false,
        }
    }

    fn left(&self) -> u64 {
        match self {
            Self::Whole(bytes) => bytes.len() as u64,
            Self::Filler(left) => *left,
            Self::Cut { announced, .. } => *announced,
            Self::Pieces { left, .. } => left.len() as u64,
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let body = self.get_mut();
        if let Self::Pieces {
            left, size, pause, ..
        } = body
        {
            if left.is_empty() {
                return Poll::Ready(None);
            }
            if let Some((pause, sleep)) = pause {
                ready!(sleep.as_mut().poll(context));
                sleep.as_mut().reset(Instant::now() + *pause);
            }
            let piece = left.split_to((*size).min(left.len()));
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let (bytes, rest) = match std::mem::replace(body, Self::Whole(Bytes::new())) {
            Self::Whole(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Self::Whole(bytes) => (bytes, Self::Whole(Bytes::new())),
            Self::Filler(0) => return Poll::Ready(None),
            Self::Filler(left) => {
                let length =
                    usize::try_from(left).map_or(FILLER.len(), |left| left.min(FILLER.len()));
                (
                    Bytes::from_static(&FILLER[..length]),
                    Self::Filler(left - length as u64),
                )
            }
            pieces @ Self::Pieces { .. } => (Bytes::new(), pieces),
            Self::Cut { sent, .. } if sent.is_empty() => return Poll::Ready(Some(Err(CutOff))),
            Self::Cut { sent, announced } => {
                let announced = announced - sent.len() as u64;
                (
                    sent,
                    Self::Cut {
                        sent: Bytes::new(),
                        announced,
                    },
                )
            }
        };
        *body = rest;
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Filler(_)
            | Self::Pieces {
                announced: false, ..
            } => SizeHint::default(),
            _ => SizeHint::with_exact(self.left()),
        }
    }
}

/// The answer ends here, on purpose.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the answer is cut off on purpose")]
pub(crate) struct CutOff;

impl From<Infallible> for CutOff {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Whole(Bytes::new()));
    *response.status_mut() = status;
    response
}

/// An answer with HTTP status 200 and this body.
pub(crate) fn whole(body: Bytes) -> Response<Body> {
    let mut response = empty(StatusCode::OK);
    *response.body_mut() = Body::Whole(body);
    response
}

/// An answer in JSON.
pub(crate) fn json(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = empty(status);
    *response.body_mut() = Body::Whole(value.to_string().into());
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

const FILLER: &[u8] = &[b' '; 65_536];

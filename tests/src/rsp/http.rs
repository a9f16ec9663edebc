//! HTTP bodies of the server, faulty ones included.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::{
    Response, StatusCode,
    body::{Body as HttpBody, Frame, SizeHint},
    header::{CONTENT_TYPE, HeaderValue},
};
use serde_json::Value;

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum Body {
    /// All of it.
    Whole(Bytes),
    /// So many octets that mean nothing, made as they are sent.
    Filler(u64),
    /// Some of it, though more is announced; then the connection ends.
    Cut { sent: Bytes, announced: u64 },
}

impl Body {
    fn left(&self) -> u64 {
        match self {
            Self::Whole(bytes) => bytes.len() as u64,
            Self::Filler(left) => *left,
            Self::Cut { announced, .. } => *announced,
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let body = self.get_mut();
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
            Self::Filler(_) => SizeHint::default(),
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

/// An answer in JSON.
pub(crate) fn json(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = empty(status);
    *response.body_mut() = Body::Whole(value.to_string().into());
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

const FILLER: &[u8] = &[b' '; 65_536];

//! A stream that can say what it has said once more.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// On an answer that is to be sent twice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Twice;

/// Asks the stream to repeat the next answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Repeat(Arc<AtomicBool>);

impl Repeat {
    pub(super) fn repeat(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A stream that keeps what is written while it is asked to, and writes it again at the flush.
#[derive(Debug)]
pub(super) struct Echo<S> {
    stream: S,
    repeat: Repeat,
    kept: Vec<u8>,
    /// How much of what was kept is written again.
    again: usize,
}

impl<S> Echo<S> {
    pub(super) fn over(stream: S) -> (Self, Repeat) {
        let repeat = Repeat::default();
        let echo = Self {
            stream,
            repeat: repeat.clone(),
            kept: Vec::new(),
            again: 0,
        };
        (echo, repeat)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Echo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Echo<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(context, octets))?;
        if this.repeat.0.load(Ordering::Relaxed) {
            this.kept.extend_from_slice(&octets[..written]);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.again < this.kept.len() {
            let rest = &this.kept[this.again..];
            match ready!(Pin::new(&mut this.stream).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => this.again += written,
            }
        }
        if !this.kept.is_empty() {
            this.kept.clear();
            this.again = 0;
            this.repeat.0.store(false, Ordering::Relaxed);
        }
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

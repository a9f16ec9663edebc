//! A client's end of the socket.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{Shutdown, shutdown};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::UnixStream;

/// A client's stream; clones are the same stream, so that one can watch it while another is read.
#[derive(Clone, Debug)]
pub(super) struct ClientStream(Arc<UnixStream>);

impl ClientStream {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self(Arc::new(stream))
    }

    /// Whether the client has closed its socket already, so that it does not wait for an answer.
    pub(super) fn is_closed(&self) -> bool {
        // A hang-up is told unasked, and not of a client that only says no more.
        let mut stream = [PollFd::new(&self.0, PollFlags::empty())];
        let looked = poll(&mut stream, Some(&Timespec::default()));
        looked.is_ok() && stream[0].revents().contains(PollFlags::HUP)
    }

    /// Resolves when the client has closed its socket. One that has only said all it has to say
    /// is still there and waits for its answer.
    pub(super) async fn closed(&self) {
        // Without urgent data on such sockets, this resolves when the client says no more, either way.
        let says_no_more = self.0.ready(Interest::PRIORITY).await;
        let hears_no_more = match says_no_more {
            Ok(_) => self.0.ready(Interest::WRITABLE).await,
            error => error,
        };
        if hears_no_more.is_ok_and(|ready| !ready.is_write_closed()) {
            // The kernel tells of the second half only together with a write.
            std::future::pending::<()>().await;
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(context))?;
            match self.0.try_read(buffer.initialize_unfilled()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read.map(|length| buffer.advance(length))),
            }
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(octets)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(context))?;
            match self.0.try_write_vectored(octets) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(shutdown(&*self.0, Shutdown::Write).map_err(io::Error::from))
    }
}

//! A modem on a byte stream.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Action, Card, Modem};

/// Why a modem is served no longer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// The client closed the stream.
    ClientGone,
    /// The modem itself hung up; dropping the stream shows it to the client.
    HungUp,
}

/// Runs `modem` on `stream` until one of them hangs up; `baud_rate` limits both directions to
/// that many bits per second with ten bits to the byte.
///
/// # Errors
/// When the stream fails.
///
/// # Cancel safety
/// Bytes already taken from the stream are answered when the modem is served again; of an answer
/// under way the rest is lost.
pub async fn serve<C, S>(
    modem: &mut Modem<C>,
    mut stream: S,
    baud_rate: Option<u32>,
) -> io::Result<Ended>
where
    C: Card,
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let control = modem.control();
    let mut wire = Wire::new(baud_rate);
    let mut chunk = [0; 4096];
    loop {
        while let Some(action) = modem.next_action() {
            if matches!(action, Action::HangUp) {
                return Ok(Ended::HungUp);
            }
            let perform = async {
                match action {
                    Action::HangUp => {}
                    Action::Pause(time) => sleep(time).await,
                    Action::Wait(gate) => gate.pass().await,
                    Action::Write(bytes) => wire.write(&mut stream, &bytes).await?,
                }
                io::Result::Ok(())
            };
            tokio::select! {
                result = perform => result?,
                () = control.hung_up() => {}
            }
        }
        tokio::select! {
            count = stream.read(&mut chunk) => match count? {
                0 => return Ok(Ended::ClientGone),
                count => {
                    wire.carry(count).await;
                    modem.push(&chunk[..count]);
                }
            },
            () = control.urc_queued() => {}
            () = control.hung_up() => {}
        }
    }
}

/// A line on which bytes take time.
#[derive(Debug)]
struct Wire {
    per_byte: Duration,
    free_at: Instant,
}

impl Wire {
    fn new(baud_rate: Option<u32>) -> Self {
        let bits_per_second = baud_rate.unwrap_or(0);
        Self {
            per_byte: Duration::from_secs(10)
                .checked_div(bits_per_second)
                .unwrap_or_default(),
            free_at: Instant::now(),
        }
    }

    /// Waits as long as so many bytes take.
    async fn carry(&mut self, count: usize) {
        if self.per_byte.is_zero() {
            return;
        }
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let start = self.free_at.max(Instant::now());
        self.free_at = start + self.per_byte.saturating_mul(count);
        sleep_until(self.free_at).await;
    }

    async fn write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        bytes: &[u8],
    ) -> io::Result<()> {
        // In pieces, so that a slow line looks slow to the reader.
        let piece = if self.per_byte.is_zero() {
            bytes.len()
        } else {
            64
        };
        for piece in bytes.chunks(piece.max(1)) {
            self.carry(piece.len()).await;
            stream.write_all(piece).await?;
        }
        stream.flush().await
    }
}

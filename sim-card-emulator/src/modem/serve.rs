//! A modem on a byte stream.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Action, Card, Modem, ModemControl};

/// Why a modem is served no longer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// The client closed the stream.
    ClientGone,
    /// The modem itself hung up; dropping the stream shows it to the client.
    HungUp {
        /// How long the port is to stay away before the modem is served again.
        absent: Duration,
    },
}

/// Runs `modem` on `stream` until one of them hangs up.
///
/// With a `baud_rate` the stream is a UART: both directions pass at most that many bits per
/// second, ten to the byte, until `AT+IPR` sets another rate; and bytes are garbled when the
/// client works at another rate than the modem, as far as [`ModemControl`] knows the client's.
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
    modem.line_rate = baud_rate;
    modem.is_connected = false;
    let mut wire = Wire::new(baud_rate.map(|_| modem.rate()), control.clone());
    // Small: a thousand modems may wait here.
    let mut chunk = [0; 512];
    loop {
        while let Some(action) = modem.next_action() {
            if let Action::HangUp { absent } = action {
                return Ok(Ended::HungUp { absent });
            }
            let perform = async {
                match action {
                    Action::HangUp { .. } => {}
                    Action::Pause(time) => sleep(time).await,
                    Action::Wait(gate) => gate.pass().await,
                    Action::Rate(rate) => wire.set_rate(rate),
                    Action::Write(bytes) => wire.write(&mut stream, bytes).await?,
                }
                io::Result::Ok(())
            };
            tokio::select! {
                result = perform => result?,
                () = control.hung_up() => {}
            }
        }
        let wakes_at = modem.wakes_at();
        tokio::select! {
            count = stream.read(&mut chunk) => match count? {
                0 => return Ok(Ended::ClientGone),
                count => {
                    wire.receive(&mut chunk[..count]).await;
                    modem.push(&chunk[..count]);
                }
            },
            () = wake(wakes_at) => {}
            () = control.urc_queued() => {}
            () = control.hung_up() => {}
        }
    }
}

async fn wake(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// A line on which bytes may take time, and be lost between two rates.
#[derive(Debug)]
struct Wire {
    /// Bits per second at the modem; `None` when the line has no rate.
    rate: Option<u32>,
    control: ModemControl,
    free_at: Instant,
}

impl Wire {
    fn new(rate: Option<u32>, control: ModemControl) -> Self {
        Self {
            rate,
            control,
            free_at: Instant::now(),
        }
    }

    /// A line without a rate stays one.
    fn set_rate(&mut self, rate: u32) {
        self.rate = self.rate.map(|_| rate);
    }

    /// Waits as long as so many bytes take.
    async fn carry(&mut self, count: usize) {
        let per_byte = Duration::from_secs(10).checked_div(self.rate.unwrap_or(0));
        let Some(per_byte) = per_byte else {
            return;
        };
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let start = self.free_at.max(Instant::now());
        self.free_at = start + per_byte.saturating_mul(count);
        sleep_until(self.free_at).await;
    }

    async fn receive(&mut self, bytes: &mut [u8]) {
        self.carry(bytes.len()).await;
        self.garble(bytes);
    }

    async fn write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        mut bytes: Vec<u8>,
    ) -> io::Result<()> {
        self.garble(&mut bytes);
        // In pieces, so that a slow line looks slow to the reader.
        let piece = match self.rate {
            None => bytes.len(),
            Some(_) => 64,
        };
        for piece in bytes.chunks(piece.max(1)) {
            self.carry(piece.len()).await;
            stream.write_all(piece).await?;
        }
        stream.flush().await
    }

    /// Two rates that differ do not understand each other: what arrives is no text.
    fn garble(&self, bytes: &mut [u8]) {
        let client = self.control.client_rate();
        if let (Some(rate), Some(client)) = (self.rate, client)
            && rate != client
        {
            for byte in bytes {
                *byte = byte.rotate_left(3) | 0x80;
            }
        }
    }
}

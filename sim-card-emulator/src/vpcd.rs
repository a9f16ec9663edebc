//! The card in a PC/SC reader: the client of vsmartcard's virtual reader `vpcd`.
//!
//! `vpcd`, a driver of `pcscd`, listens on TCP (port 35963) and waits for a card to connect. Both
//! sides send messages of two octets of length, most significant first, and the data. A message of
//! one octet controls the power or asks for the answer to reset; any other one is a command APDU.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::card::Card;
use crate::modem::Card as _;

/// The TCP port `vpcd` listens on when nothing else is configured.
pub const DEFAULT_PORT: u16 = 35963;

/// Why a card is in the reader no longer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// The reader has closed the connection.
    ReaderGone,
    /// The card has lost its power and answers nothing; to the reader it was pulled out.
    PowerLost,
}

/// Why the reader and the card do not understand each other.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VpcdError {
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A message did not arrive, or was not taken, within ten seconds.
    #[error("the reader stopped in the middle of a message")]
    Stalled,
    /// A message without content.
    #[error("the reader sent an empty message")]
    Empty,
    /// A control code that is not known.
    #[error("the reader sent the unknown control code {0}")]
    Control(u8),
}

/// Serves a card on a connection to `vpcd` until one of them ends it; connecting again is putting
/// the card in again.
///
/// # Errors
///
/// When the connection fails or what arrives is no message of `vpcd`.
///
/// # Cancel safety
///
/// The connection is of no use after cancellation: half a message may have been read. The card is
/// as after the last command.
pub async fn serve<S>(card: &mut Card, mut stream: S) -> Result<Ended, VpcdError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let Some(message) = receive(&mut stream).await? else {
            return Ok(Ended::ReaderGone);
        };
        match message[..] {
            [] => return Err(VpcdError::Empty),
            // What the card forgets without power it forgets when it gets power again.
            [POWER_OFF] => {}
            [POWER_ON | RESET] => card.reset(),
            [GET_ATR] => send(&mut stream, &card.atr()).await?,
            [code] => return Err(VpcdError::Control(code)),
            ref command => {
                let response = card.transmit(command);
                if response.is_empty() {
                    return Ok(Ended::PowerLost);
                }
                send(&mut stream, &response).await?;
            }
        }
    }
}

/// The next message; `None` when the connection was closed between messages.
async fn receive<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<Vec<u8>>, VpcdError> {
    let mut length = [0; 2];
    if stream.read(&mut length[..1]).await? == 0 {
        return Ok(None);
    }
    let rest = async {
        stream.read_exact(&mut length[1..]).await?;
        let mut message = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut message).await?;
        io::Result::Ok(message)
    };
    let message = timeout(PATIENCE, rest).await;
    Ok(Some(message.map_err(|_| VpcdError::Stalled)??))
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, data: &[u8]) -> Result<(), VpcdError> {
    // No answer of a card is longer than 256 octets and a status word.
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    let message = [&length.to_be_bytes()[..], data].concat();
    let sent = async {
        stream.write_all(&message).await?;
        stream.flush().await
    };
    timeout(PATIENCE, sent)
        .await
        .map_err(|_| VpcdError::Stalled)??;
    Ok(())
}

/// How long the rest of a message may take.
const PATIENCE: Duration = Duration::from_secs(10);
const POWER_OFF: u8 = 0;
const POWER_ON: u8 = 1;
const RESET: u8 = 2;
const GET_ATR: u8 = 4;

#[cfg(test)]
mod tests;

//! `AT+CSIM`, generic SIM access, 3GPP TS 27.007 section 8.17.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::line::Pending;
use super::port::AtPort;
use crate::apdu::{Command, Response};
use crate::transport::{Garbled, Transport, TransportError};

/// The APDU transport over `AT+CSIM`; it has the port for itself while it lives.
///
/// The modem passes APDUs on as they are, so that the class byte must name the logical channel.
#[derive(Debug)]
pub struct Csim<'p, S> {
    port: &'p mut AtPort<S>,
}

impl<'p, S> Csim<'p, S> {
    /// Borrows a port that has been brought to known manners with [`AtPort::init`].
    pub fn new(port: &'p mut AtPort<S>) -> Self {
        Self { port }
    }

    /// The port beneath, for AT commands in between.
    pub fn port(&mut self) -> &mut AtPort<S> {
        self.port
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Transport for Csim<'_, S> {
    async fn transmit(
        &mut self,
        command: &Command,
        deadline: Duration,
    ) -> Result<Response, TransportError> {
        // Some modems take upper-case digits only, and quoted ones only.
        let digits = hex::encode_upper(command.to_bytes());
        let line = format!("AT+CSIM={},\"{digits}\"", digits.len());
        self.port.count_apdu();
        let lines = self.port.command(&line, deadline).await?;
        let pending = Pending::new("AT+CSIM=");
        let mut answers = lines.iter().filter_map(|line| pending.payload(line));
        match (answers.next(), answers.count()) {
            (None, _) => Err(Garbled::NoResponse.into()),
            (Some(answer), 0) => Ok(response(answer)?),
            (Some(_), more) => Err(Garbled::SeveralResponses { count: more + 1 }.into()),
        }
    }
}

/// Reads `4,"9000"`: the digits may be bare, in lower case and with blanks, and the length may
/// count bytes. A length that says more than there is means that something was lost.
fn response(payload: &str) -> Result<Response, Garbled> {
    let (length, digits) = payload.rsplit_once(',').ok_or(Garbled::Form)?;
    let announced: usize = length.trim().parse().map_err(|_| Garbled::Form)?;
    let digits: String = digits
        .chars()
        .filter(|letter| !matches!(letter, '"' | ' ' | '\t'))
        .collect();
    if announced != digits.len() && announced.checked_mul(2) != Some(digits.len()) {
        let digits = digits.len();
        return Err(Garbled::Length { announced, digits });
    }
    let bytes = hex::decode(digits).map_err(|_| Garbled::Form)?;
    Ok(Response::parse(&bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apdu::MalformedApdu;

    #[test]
    fn an_answer_is_read_however_the_modem_writes_it() {
        for payload in [
            "6,\"019000\"",
            "6,019000",
            "6, \"019000\"",
            " 6 , \"01 90 00\" ",
            "3,\"019000\"",
        ] {
            let response = response(payload).unwrap();
            assert_eq!(response.to_bytes(), [0x01, 0x90, 0x00], "{payload}");
        }
        assert_eq!(response("6,\"bf9000\"").unwrap().data, [0xBF]);
    }

    #[test]
    fn half_an_answer_is_never_taken_for_a_whole_one() {
        for (payload, expected) in [
            (
                "46,\"BF2E128010FDC59000\"",
                Garbled::Length {
                    announced: 46,
                    digits: 18,
                },
            ),
            (
                "4,\"90\"",
                Garbled::Length {
                    announced: 4,
                    digits: 2,
                },
            ),
            ("\"9000\"", Garbled::Form),
            ("3,\"900\"", Garbled::Form),
            ("4,\"90ZZ\"", Garbled::Form),
            ("2,\"90\"", MalformedApdu::TooShort { length: 1 }.into()),
            ("", Garbled::Form),
        ] {
            assert_eq!(response(payload), Err(expected), "{payload}");
        }
    }
}

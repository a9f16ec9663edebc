//! `AT+CSIM`, generic SIM access, 3GPP TS 27.007 section 8.17.

use tokio::io::{AsyncRead, AsyncWrite};

use super::line::Pending;
use super::port::AtPort;
use crate::apdu::{Command, Response};
use crate::transport::{Deadline, Garbled, Transport, TransportError};

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
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Transport for Csim<'_, S> {
    async fn transmit(
        &mut self,
        command: &Command,
        deadline: Deadline,
    ) -> Result<Response, TransportError> {
        // Some modems take upper-case digits only, and quoted ones only. The length counts digits,
        // not octets, 3GPP TS 27.007 section 8.17.
        let digits = hex::encode_upper(command.to_bytes());
        let line = format!("AT+CSIM={},\"{digits}\"", digits.len());
        let lines = self.port.command(&line, deadline).await?;
        Ok(only_response(&lines)?)
    }
}

fn only_response(lines: &[String]) -> Result<Response, Garbled> {
    let pending = Pending::new("AT+CSIM=");
    let mut answers = lines.iter().filter_map(|line| pending.payload(line));
    // Two answers mean that one is late and belongs to another APDU: neither can be trusted.
    match (answers.next(), answers.count()) {
        (None, _) => Err(Garbled::NoResponse),
        (Some(answer), 0) => response(answer),
        (Some(_), more) => Err(Garbled::SeveralResponses { count: more + 1 }),
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
    use std::time::Duration;

    use tokio_test::io::Builder;

    use super::super::{Cme, ResultCode};
    use super::*;
    use crate::apdu::MalformedApdu;
    use crate::transport::Fault;

    const SECOND: Duration = Duration::from_secs(1);

    /// Sends an APDU to a modem that answers with `text`.
    async fn transmit(apdu: &str, text: &str) -> Result<String, TransportError> {
        let line = format!("AT+CSIM={},\"{apdu}\"\r", apdu.len());
        let stream = Builder::new()
            .write(line.as_bytes())
            .read(text.as_bytes())
            .build();
        let mut port = AtPort::new(stream);
        let command = Command::parse(&hex::decode(apdu).unwrap()).unwrap();
        let response = Csim::new(&mut port)
            .transmit(&command, SECOND.into())
            .await?;
        Ok(hex::encode_upper(response.to_bytes()))
    }

    #[tokio::test]
    async fn dialogues_of_real_modems_are_understood() {
        for (apdu, text, response) in [
            ("0070000001", "+CSIM: 6,\"019000\"\r\nOK\r\n", "019000"),
            ("0070000001", "+CSIM: 6,\"019000\"\rOK\r", "019000"),
            (
                "A0A40000027F20",
                "\r\n+CSIM: 4,\"6E00\"\r\n\r\nOK\r\n",
                "6E00",
            ),
            (
                "81E2910009BF2D065C045A9F7092",
                "+CSIM: 4,\"614E\"\r\n\r\nOK\r\n",
                "614E",
            ),
            (
                "41C0000015",
                "\r\n+CREG: 1,\"1A2B\",\"01234567\",7\r\n\r\n+CSIM:46,\
                 \"BF3E125A10890330239311100000000000007665769000\"\r\nOK\r\n",
                "BF3E125A10890330239311100000000000007665769000",
            ),
        ] {
            assert_eq!(
                transmit(apdu, text).await.as_deref(),
                Ok(response),
                "{text}"
            );
        }
    }

    #[tokio::test]
    async fn what_is_no_response_apdu_is_an_error_that_says_why() {
        for (text, fault) in [
            (
                "+CME ERROR: 0\r\n",
                Fault::Device(ResultCode::Cme(Cme::PHONE_FAILURE).into()),
            ),
            ("ERROR\r\n", Fault::Device(ResultCode::Error.into())),
            ("OK\r\n", Garbled::NoResponse.into()),
            (
                "+CSIM: 4,\"9000\"\r\n+CSIM: 4,\"9000\"\r\nOK\r\n",
                Garbled::SeveralResponses { count: 2 }.into(),
            ),
            ("", Fault::Closed),
        ] {
            let error = transmit("0070000001", text).await.unwrap_err();
            assert_eq!(error, TransportError::unanswered(fault), "{text}");
        }
    }

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

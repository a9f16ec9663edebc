//! `AT+CSIM`, generic SIM access, 3GPP TS 27.007 section 8.17.

use tokio::io::{AsyncRead, AsyncWrite};

use super::apdu;
use super::port::AtPort;
use crate::apdu::{Command, Response};
use crate::transport::{Deadline, Transport, TransportError};

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
        let line = format!("{CSIM}{}", apdu::parameters(command));
        let lines = self.port.command(&line, deadline).await?;
        Ok(apdu::response_in(&lines, CSIM, None)?)
    }
}

const CSIM: &str = "AT+CSIM=";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_test::io::Builder;

    use super::super::{Cme, ResultCode};
    use super::*;
    use crate::transport::{Fault, Garbled};

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
                Fault::Device(ResultCode::Cme(Cme::PHONE_FAILURE).refusal(&[0])),
            ),
            ("ERROR\r\n", Fault::Device(ResultCode::Error.refusal(&[]))),
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
}

//! `AT+CCHO`, `AT+CGLA` and `AT+CCHC`: logical channels that the modem opens, 3GPP TS 27.007 sections
//! 8.43 to 8.46.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

use super::apdu;
use super::line::Pending;
use super::port::AtPort;
use crate::apdu::{Command, Response};
use crate::transport::{Deadline, Fault, Garbled, Session, Transport, TransportError};
use crate::types::Aid;

/// The APDU transport over `AT+CGLA`; it has the port for itself while it lives.
///
/// The modem opens the channel, selects the application and puts the channel into the class byte.
#[derive(Debug)]
pub struct Cgla<'p, S> {
    port: &'p mut AtPort<S>,
    session: Option<Session>,
}

impl<'p, S> Cgla<'p, S> {
    /// Borrows a port that has been brought to known manners with [`AtPort::init`].
    pub fn new(port: &'p mut AtPort<S>) -> Self {
        let session = None;
        Self { port, session }
    }

    fn session(&self) -> Result<&Session, TransportError> {
        let none = || TransportError::not_sent(Fault::Io(io::ErrorKind::NotConnected));
        self.session.as_ref().ok_or_else(none)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Transport for Cgla<'_, S> {
    async fn transmit(
        &mut self,
        command: &Command,
        deadline: Deadline,
    ) -> Result<Response, TransportError> {
        let parameters = apdu::parameters(command);
        let line = format!("{CGLA}{},{parameters}", self.session()?);
        let lines = self.port.command(&line, deadline).await?;
        Ok(apdu::response_in(&lines, CGLA, self.session.as_ref())?)
    }

    fn has_sessions(&self) -> bool {
        true
    }

    async fn open_session(
        &mut self,
        aid: &Aid,
        deadline: Deadline,
    ) -> Result<Session, TransportError> {
        let line = format!("{CCHO}\"{}\"", hex::encode_upper(aid.octets()));
        let lines = self.port.command(&line, deadline).await?;
        let session = session(&lines)?;
        self.session = Some(session.clone());
        Ok(session)
    }

    fn resume_session(&mut self, session: &Session) {
        self.session = Some(session.clone());
    }

    async fn close_session(&mut self, deadline: Deadline) -> Result<(), TransportError> {
        let line = format!("AT+CCHC={}", self.session()?);
        self.port.command(&line, deadline).await?;
        self.session = None;
        Ok(())
    }
}

/// Reads `+CCHO: 1`, or `1` alone, as the standard prints it.
fn session(lines: &[String]) -> Result<Session, Garbled> {
    let pending = Pending::new(CCHO);
    let named = |line: &str| Session::new(line.trim_matches(['"', ' ']));
    let prefixed = || lines.iter().filter_map(|line| pending.payload(line));
    let bare = lines.iter().map(String::as_str);
    let name = match prefixed().next() {
        Some(_) => apdu::only(prefixed())?,
        None => apdu::only(bare.filter(|line| named(line).is_some()))?,
    };
    named(name).ok_or(Garbled::Form)
}

const CCHO: &str = "AT+CCHO=";
const CGLA: &str = "AT+CGLA=";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_test::io::{Builder, Mock};

    use super::*;
    use crate::channel::{Application, LogicalChannel, OpenError, Proof};
    use crate::link::LinkOptions;

    const SECOND: Duration = Duration::from_secs(1);
    const AID: [u8; 2] = [0xA0, 0xB0];

    /// A modem that gives each of these commands its answer.
    fn modem(dialogue: &[(&str, &str)]) -> AtPort<Mock> {
        let mut builder = Builder::new();
        for (command, answer) in dialogue {
            builder.write(format!("{command}\r").as_bytes());
            builder.read(answer.as_bytes());
        }
        AtPort::new(builder.build())
    }

    async fn open(answer: &str) -> Result<String, TransportError> {
        let mut port = modem(&[("AT+CCHO=\"A0B0\"", answer)]);
        let aid = Aid::from_octets(&AID).unwrap();
        let opened = Cgla::new(&mut port).open_session(&aid, SECOND.into()).await;
        opened.map(|session| session.to_string())
    }

    #[tokio::test]
    async fn a_session_is_understood_however_the_modem_names_it() {
        for (answer, name) in [
            ("\r\n+CCHO: 1\r\n\r\nOK\r\n", "1"),
            ("\r\n1\r\n\r\nOK\r\n", "1"),
            ("\r\n+CREG: 1\r\n\r\n4\r\n\r\nOK\r\n", "4"),
            ("\r\n+CCHO: \"2\"\r\n\r\nOK\r\n", "2"),
            (
                "AT+CCHO=\"A0B0\"\r\r\n+CCHO:00000000038aa32f\r\nOK\r\n",
                "00000000038aa32f",
            ),
        ] {
            assert_eq!(open(answer).await.as_deref(), Ok(name), "{answer}");
        }
    }

    #[tokio::test]
    async fn what_names_no_session_is_an_error_that_says_why() {
        let long = format!("+CCHO: {}\r\nOK\r\n", "1".repeat(Session::MAX_LENGTH + 1));
        for (answer, garbled) in [
            ("OK\r\n", Garbled::NoResponse),
            ("+CCHO: <dfname>\r\nOK\r\n", Garbled::Form),
            ("1\r\n2\r\nOK\r\n", Garbled::SeveralResponses { count: 2 }),
            (&long, Garbled::Form),
        ] {
            let error = open(answer).await.unwrap_err();
            assert_eq!(error, garbled.into(), "{answer}");
        }
    }

    #[tokio::test]
    async fn commands_go_to_the_session_and_name_no_channel() {
        // A Quectel modem as logged: no Le in the command, and it fetches the answer itself.
        let mut port = modem(&[
            ("AT+CCHO=\"A0B0\"", "\r\n+CCHO: 1\r\n\r\nOK\r\n"),
            (
                "AT+CGLA=1,16,\"80E2910003BF2E00\"",
                "\r\n+CGLA: 14,\"BF2E0280109000\"\r\n\r\nOK\r\n",
            ),
            ("AT+CCHC=1", "\r\n+CCHC\r\n\r\nOK\r\n"),
        ]);
        let mut cgla = Cgla::new(&mut port);
        let aid = Aid::from_octets(&AID).unwrap();
        cgla.open_session(&aid, SECOND.into()).await.unwrap();
        let command = Command::parse(&hex::decode("80E2910003BF2E00").unwrap()).unwrap();
        let response = cgla.transmit(&command, SECOND.into()).await.unwrap();
        assert_eq!(response.data, hex::decode("BF2E028010").unwrap());
        cgla.close_session(SECOND.into()).await.unwrap();
        let error = cgla.transmit(&command, SECOND.into()).await.unwrap_err();
        assert!(!error.sent, "{error}");
    }

    #[tokio::test]
    async fn an_answer_for_another_session_is_not_taken() {
        for (answer, is_taken) in [
            ("+CGLA: 1,4,\"9000\"\r\nOK\r\n", true),
            ("+CGLA: 7,4,\"6A82\"\r\n+CGLA: 1,4,\"9000\"\r\nOK\r\n", true),
            ("+CGLA: 7,4,\"9000\"\r\nOK\r\n", false),
        ] {
            let mut port = modem(&[("AT+CGLA=1,10,\"80E2910000\"", answer)]);
            let mut cgla = Cgla::new(&mut port);
            cgla.resume_session(&Session::new("1").unwrap());
            let command = Command::parse(&hex::decode("80E2910000").unwrap()).unwrap();
            let answered = cgla.transmit(&command, SECOND.into()).await;
            assert_eq!(answered.is_ok(), is_taken, "{answer}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_whose_name_is_not_told_is_found_and_closed() {
        const ASK: &str = "AT+CGLA=1,10,\"80E2910000\"";
        let ask = |session: u8| ASK.replace("=1,", &format!("={session},"));
        let (two, three) = (ask(2), ask(3));
        let error = "\r\nERROR\r\n";
        let not_ours = "+CGLA: 4,\"6D00\"\r\nOK\r\n";
        let mut port = modem(&[
            ("AT+CCHO=\"A0B0\"", "\r\nOK\r\n"),
            (ASK, not_ours),
            (ASK, not_ours),
            (&two, "+CGLA: 8,\"BF3E9000\"\r\nOK\r\n"),
            ("AT+CCHC=2", "\r\nOK\r\n"),
            (&three, error),
            (&three, error),
            (&three, error),
        ]);
        let application = Application {
            aids: vec![Aid::from_octets(&AID).unwrap()],
            proof: Proof {
                question: Command {
                    le: Some(0),
                    ..Command::new(0x80, 0xE2, 0x91, 0x00)
                },
                answer: vec![0xBF, 0x3E],
            },
        };
        let link = LinkOptions::default();
        let opened = LogicalChannel::open(Cgla::new(&mut port), &application, &link, None).await;
        assert_eq!(
            opened.unwrap_err(),
            OpenError::Transport(Garbled::NoResponse.into())
        );
    }
}

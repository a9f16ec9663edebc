//! A written dialogue in place of a card, for tests.

use std::collections::VecDeque;

use super::{Deadline, Fault, Transport, TransportError};
use crate::apdu::{Command, Response};

/// Expects command APDUs in order and answers each with what the script says.
///
/// An unexpected command panics with both APDUs in hex, as a test wants it.
#[derive(Debug, Default)]
pub struct Script {
    steps: VecDeque<(Vec<u8>, Result<Response, TransportError>)>,
}

impl Script {
    /// A script of pairs of command and response, both in hex; blanks are ignored.
    ///
    /// # Panics
    /// When one of them is not hex, or a response has no status word.
    pub fn new<'h>(pairs: impl IntoIterator<Item = (&'h str, &'h str)>) -> Self {
        pairs
            .into_iter()
            .fold(Self::default(), |script, (command, response)| {
                script.then(command, response)
            })
    }

    /// Adds a pair.
    ///
    /// # Panics
    /// As [`Script::new`].
    #[must_use]
    pub fn then(mut self, command: &str, response: &str) -> Self {
        let response = Response::parse(&unhex(response)).expect("a scripted response has an SW");
        self.steps.push_back((unhex(command), Ok(response)));
        self
    }

    /// Adds a command that gets no response.
    ///
    /// # Panics
    /// When it is not hex.
    #[must_use]
    pub fn then_lost(mut self, command: &str, fault: Fault) -> Self {
        let error = TransportError::unanswered(fault);
        self.steps.push_back((unhex(command), Err(error)));
        self
    }

    /// Adds a command that cannot be sent.
    ///
    /// # Panics
    /// When it is not hex.
    #[must_use]
    pub fn then_not_sent(mut self, command: &str, fault: Fault) -> Self {
        let error = TransportError::not_sent(fault);
        self.steps.push_back((unhex(command), Err(error)));
        self
    }

    /// Checks that the whole script was played.
    ///
    /// # Panics
    /// When commands are left over.
    pub fn finish(self) {
        let left: Vec<_> = self
            .steps
            .iter()
            .map(|(c, _)| hex::encode_upper(c))
            .collect();
        assert!(left.is_empty(), "never sent: {left:?}");
    }
}

impl Transport for Script {
    async fn transmit(
        &mut self,
        command: &Command,
        _: Deadline,
    ) -> Result<Response, TransportError> {
        let sent = hex::encode_upper(command.to_bytes());
        let Some((expected, result)) = self.steps.pop_front() else {
            panic!("the script is over, but {sent} was sent");
        };
        assert_eq!(sent, hex::encode_upper(expected), "an unexpected command");
        result
    }
}

fn unhex(digits: &str) -> Vec<u8> {
    let digits: String = digits.split_whitespace().collect();
    hex::decode(digits).expect("a script is written in hex")
}

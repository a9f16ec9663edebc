//! What the modem writes: answers, results and codes, each in its own manner.

use std::time::Duration;

use es10_apdu::at::Cme;

use super::{Action, Card, Failure, Modem, Quirk, UrcPlace};

impl<C: Card> Modem<C> {
    /// Writes the lines of an answer and its final result, and does what is left to do then.
    pub(super) fn answer(&mut self, lines: &[String], result: Result<(), Failure>) {
        if result != Err(Failure::Silence) {
            self.write_answer(lines, result);
        }
        for after in std::mem::take(&mut self.afterwards) {
            self.finish(after);
        }
        self.serve_card();
    }

    fn write_answer(&mut self, lines: &[String], result: Result<(), Failure>) {
        let verbose = self.settings.verbose;
        let glued = self.has(Quirk::GluedResult) && verbose && result.is_ok();
        let close = self.has(Quirk::NoEmptyLine) && verbose && !lines.is_empty();
        for (index, line) in lines.iter().enumerate() {
            let line = match self.has(Quirk::NoBlank) {
                true => line.replacen(": ", ":", 1),
                false => line.clone(),
            };
            let end = match glued && index + 1 == lines.len() && line.ends_with('"') {
                true => "OK\r\n",
                false => "\r\n",
            };
            let begin = if verbose { "\r\n" } else { "" };
            self.write(format!("{begin}{line}{end}"));
        }
        self.urcs(UrcPlace::BeforeResult);
        let is_glued = glued && lines.last().is_some_and(|line| line.ends_with('"'));
        if !self.settings.quiet && !is_glued {
            let result = self.final_result(result);
            match (verbose, close) {
                (true, false) => self.write(format!("\r\n{result}\r\n")),
                (true, true) => self.write(format!("{result}\r\n")),
                (false, _) => self.write(format!("{result}\r")),
            }
        }
        self.urcs(UrcPlace::AfterResult);
    }

    fn final_result(&self, result: Result<(), Failure>) -> String {
        let verbose = self.settings.verbose;
        let failure = match result {
            Ok(()) if verbose => return "OK".to_owned(),
            Ok(()) => return "0".to_owned(),
            Err(failure) => failure,
        };
        if self.has(Quirk::HuaweiResults) {
            match failure {
                Failure::Unknown => return "COMMAND NOT SUPPORT".to_owned(),
                Failure::Cme(Cme::INCORRECT_PARAMETERS) => {
                    return "TOO MANY PARAMETERS".to_owned();
                }
                _ => {}
            }
        }
        let words = |cme: Cme| cme.meaning().unwrap_or("unknown");
        match (failure, self.settings.cmee) {
            (Failure::Text(text), _) => text.to_owned(),
            (Failure::Cme(cme), _) if self.has(Quirk::CmeShouted) => {
                let words = words(cme).replace(' ', "").to_ascii_uppercase();
                format!("+CME ERROR:{words}")
            }
            (Failure::Cme(cme), 1) => format!("+CME ERROR: {}", cme.0),
            (Failure::Cme(cme), 2) => format!("+CME ERROR: {}", words(cme)),
            _ if verbose => "ERROR".to_owned(),
            _ => "4".to_owned(),
        }
    }

    /// The line that gives a response APDU.
    pub(super) fn response_line(
        &self,
        name: &str,
        session: Option<&str>,
        response: &[u8],
    ) -> String {
        let mut digits = hex::encode_upper(response);
        if self.has(Quirk::LowerCase) {
            digits.make_ascii_lowercase();
        }
        let length = match digits.len() {
            length if self.has(Quirk::LengthInOctets) => length / 2,
            length if self.has(Quirk::WrongLength) => length + 2,
            length => length,
        };
        if let Some(limit) = self.control.value(Quirk::TruncatedAnswers) {
            digits.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        }
        if self.has(Quirk::SpacedDigits) {
            let octets: Vec<&str> = digits
                .as_bytes()
                .chunks(2)
                .filter_map(|octet| std::str::from_utf8(octet).ok())
                .collect();
            digits = octets.join(" ");
        }
        let quote = if self.has(Quirk::Unquoted) { "" } else { "\"" };
        let session = match session {
            Some(session) if self.has(Quirk::AnswerWithSession) => format!("{session},"),
            _ => String::new(),
        };
        format!("{name}: {session}{length},{quote}{digits}{quote}")
    }

    pub(super) fn urcs(&mut self, place: UrcPlace) {
        for text in self.control.urcs_at(place) {
            self.say(&text);
        }
    }

    /// Says something unasked.
    pub(super) fn say(&mut self, text: &str) {
        self.write(format!("\r\n{text}\r\n"));
    }

    /// Queues bytes for the client; what is queued together leaves together.
    pub(super) fn write(&mut self, mut text: String) {
        if self.has(Quirk::CrOnly) {
            text = text.replace("\r\n", "\r");
        }
        if std::mem::take(&mut self.nul_is_due) {
            text.insert_str(0, "\0\0");
        }
        self.control
            .count(|counters| counters.bytes_out += text.len() as u64);
        let mut bytes = text.as_bytes();
        while let Some(size) = self.piece() {
            let (piece, rest) = bytes.split_at(size.min(bytes.len()));
            self.actions.push_back(Action::Write(piece.to_vec()));
            self.actions.push_back(Action::Pause(SPLIT_PAUSE));
            bytes = rest;
            if bytes.is_empty() {
                return;
            }
        }
        match self.actions.back_mut() {
            Some(Action::Write(queued)) => queued.extend(bytes),
            _ => self.actions.push_back(Action::Write(bytes.to_vec())),
        }
    }

    /// How much of the output leaves at once; `None`: all.
    fn piece(&self) -> Option<usize> {
        let fixed = self.control.value(Quirk::SplitWrites);
        let most = self.control.value(Quirk::SplitAtRandom);
        let size = fixed.or_else(|| most.map(|most| 1 + self.control.chance(most)));
        size.map(|size| usize::try_from(size).unwrap_or(usize::MAX).max(1))
    }

    /// Lets some time go by, if any.
    pub(super) fn pause(&mut self, time: Duration) {
        if !time.is_zero() {
            self.actions.push_back(Action::Pause(time));
        }
    }
}

/// Long enough for a reader to see the pieces apart.
const SPLIT_PAUSE: Duration = Duration::from_millis(10);

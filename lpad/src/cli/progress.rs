//! One line that follows an operation: live on a terminal, one per step elsewhere.

use std::io::Write;

use crate::api::body::Operation;
use crate::job::{Progress, Stage, WaitingOn};
use crate::memory::operations::State;

/// Shows how an operation goes.
#[derive(Debug)]
pub(super) struct ProgressLine<W> {
    out: W,
    live: bool,
    shown: Option<Shown>,
}

/// What has to change for something to be shown again.
#[derive(Debug, PartialEq)]
enum Shown {
    Line(String),
    Step(String, Option<u64>),
}

impl<W: Write> ProgressLine<W> {
    /// Writes to `out`, which is a terminal when it is `live`.
    pub(super) fn new(out: W, live: bool) -> Self {
        Self {
            out,
            live,
            shown: None,
        }
    }

    /// Shows the operation as it is now. A failure to show it is ignored: the operation goes on.
    pub(super) fn show(&mut self, operation: &Operation) {
        if !self.live && operation.stage == Some(Stage::Installing) && operation.progress.is_none()
        {
            // The line with the bytes follows at once.
            return;
        }
        let line = line(operation, self.live);
        let now = match self.live {
            true => Shown::Line(line.clone()),
            false => Shown::Step(doing(operation), loading(operation).map(quarter)),
        };
        if self.shown.as_ref() == Some(&now) {
            return;
        }
        let _ = match self.live {
            true => write!(self.out, "\r\x1b[K{line}"),
            false => writeln!(self.out, "{line}"),
        };
        let _ = self.out.flush();
        self.shown = Some(now);
    }

    /// Takes a live line away, so that what is written next stands alone.
    pub(super) fn clear(&mut self) {
        if self.live && self.shown.is_some() {
            let _ = write!(self.out, "\r\x1b[K");
            let _ = self.out.flush();
        }
        self.shown = None;
    }
}

/// What the operation is doing and how far it is.
pub(super) fn line(operation: &Operation, live: bool) -> String {
    let (step, waiting) = (step(operation), waiting(operation));
    match loading(operation) {
        Some(progress) if live => format!("{step:14} {}{waiting}", bar(progress)),
        Some(Progress { done, total }) => format!("{step} {done} of {total} bytes{waiting}"),
        None => step + waiting,
    }
}

/// How far the package is loaded, while it is.
fn loading(operation: &Operation) -> Option<Progress> {
    operation
        .progress
        .filter(|_| operation.stage == Some(Stage::Installing))
}

/// Which quarter of the package is being loaded.
fn quarter(progress: Progress) -> u64 {
    progress.percent() / 25
}

fn bar(progress: Progress) -> String {
    let full = usize::try_from(progress.percent() * BAR / 100).unwrap_or(0);
    let rest = usize::try_from(BAR).unwrap_or(0).saturating_sub(full);
    format!(
        "[{}{}] {:3} %  {} of {} bytes",
        "#".repeat(full),
        ".".repeat(rest),
        progress.percent(),
        progress.done,
        progress.total
    )
}

/// What the operation is doing, in words.
pub(super) fn doing(operation: &Operation) -> String {
    step(operation) + waiting(operation)
}

fn step(operation: &Operation) -> String {
    match (operation.state, operation.stage) {
        (State::Running | State::AwaitingAnswer, Some(stage)) => stage.name().replace('-', " "),
        (state, _) => state.name().replace('-', " "),
    }
}

/// What it waits for, as the end of a line.
fn waiting(operation: &Operation) -> &'static str {
    match operation.waiting.map(|waiting| waiting.on) {
        None => "",
        Some(WaitingOn::Card) => ", waiting for the card",
        Some(WaitingOn::Modem) => ", waiting for the modem",
        Some(WaitingOn::Server) => ", waiting for the server",
    }
}

/// How many characters the bar has.
const BAR: u64 = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Kind, OperationId, Waiting};

    fn installing(done: u64) -> Operation {
        Operation {
            id: OperationId(1),
            euicc: "default".into(),
            kind: Kind::Download,
            state: State::Running,
            stage: Some(Stage::Installing),
            progress: Some(Progress { done, total: 1000 }),
            waiting: None,
            cancellable: false,
            offer: None,
            result: None,
            problem: None,
            client: None,
            asked_at_s: None,
            created_at_s: 0,
            finished_at_s: None,
        }
    }

    #[test]
    fn a_terminal_sees_one_line_that_changes() {
        let mut out = Vec::new();
        let mut line = ProgressLine::new(&mut out, true);
        line.show(&installing(500));
        line.show(&installing(500));
        line.clear();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\r\x1b[Kinstalling     [############............]  50 %  500 of 1000 bytes\r\x1b[K"
        );
    }

    #[test]
    fn a_file_sees_a_line_per_step() {
        let mut out = Vec::new();
        let mut line = ProgressLine::new(&mut out, false);
        for done in [0, 100, 260, 270, 1000] {
            line.show(&installing(done));
        }
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "installing 0 of 1000 bytes\ninstalling 260 of 1000 bytes\ninstalling 1000 of 1000 bytes\n"
        );
    }

    #[test]
    fn a_wait_is_told_and_its_end_as_well() {
        let mut out = Vec::new();
        let mut line = ProgressLine::new(&mut out, false);
        let (on, until_s) = (WaitingOn::Card, 1);
        line.show(&installing(500));
        line.show(&Operation {
            waiting: Some(Waiting { on, until_s }),
            ..installing(500)
        });
        line.show(&installing(500));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "installing 500 of 1000 bytes\n\
             installing 500 of 1000 bytes, waiting for the card\n\
             installing 500 of 1000 bytes\n"
        );
    }
}

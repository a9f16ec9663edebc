//! One line that follows an operation: live on a terminal, one per step elsewhere.

use std::io::Write;

use super::table::printable;
use crate::operation::{Operation, Progress, State};

/// Shows how an operation goes.
#[derive(Debug)]
pub(super) struct ProgressLine<W> {
    out: W,
    live: bool,
    shown: String,
}

impl<W: Write> ProgressLine<W> {
    /// Writes to `out`, which is a terminal when it is `live`.
    pub(super) fn new(out: W, live: bool) -> Self {
        Self {
            out,
            live,
            shown: String::new(),
        }
    }

    /// Shows the operation as it is now. Nobody is helped by a failure to show progress.
    pub(super) fn show(&mut self, operation: &Operation) {
        let line = match self.live {
            true => live_line(operation),
            false => step_line(operation),
        };
        if line == self.shown {
            return;
        }
        let _ = match self.live {
            true => write!(self.out, "\r\x1b[K{line}"),
            false => writeln!(self.out, "{line}"),
        };
        let _ = self.out.flush();
        self.shown = line;
    }

    /// Takes a live line away, so that what is written next stands alone.
    pub(super) fn clear(&mut self) {
        if self.live && !self.shown.is_empty() {
            let _ = write!(self.out, "\r\x1b[K");
            let _ = self.out.flush();
        }
        self.shown.clear();
    }
}

fn live_line(operation: &Operation) -> String {
    let what = doing(operation);
    match operation.progress {
        Some(progress) if operation.stage == Some(crate::operation::Stage::Installing) => {
            format!("{what:14} {}", bar(progress))
        }
        _ => what,
    }
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

fn step_line(operation: &Operation) -> String {
    match operation
        .progress
        .map(|progress| progress.percent() / 25 * 25)
    {
        Some(percent) if operation.stage == Some(crate::operation::Stage::Installing) => {
            format!("{} {percent} %", doing(operation))
        }
        _ => doing(operation),
    }
}

/// What the operation is doing, in words.
pub(super) fn doing(operation: &Operation) -> String {
    match (operation.state, operation.stage) {
        (State::Running | State::AwaitingAnswer, Some(stage)) => {
            printable(stage.name()).replace('-', " ")
        }
        (state, _) => state.name().replace('-', " "),
    }
}

/// How many characters the bar has.
const BAR: u64 = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{Kind, OperationId, Stage};

    fn installing(done: u64) -> Operation {
        Operation {
            id: OperationId(1),
            euicc: "default".into(),
            kind: Kind::Download,
            state: State::Running,
            stage: Some(Stage::Installing),
            progress: Some(Progress { done, total: 1000 }),
            cancellable: false,
            offer: None,
            result: None,
            problem: None,
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
            "installing 0 %\ninstalling 25 %\ninstalling 100 %\n"
        );
    }
}

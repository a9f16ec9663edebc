//! One line that follows an operation: live on a terminal, one per step elsewhere.

use std::io::Write;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::table::Width;
use crate::api::body::Operation;
use crate::job::{Progress, Stage, WaitingOn};
use crate::memory::operations::State;

/// Shows how an operation goes.
#[derive(Debug)]
pub(super) struct ProgressLine<W> {
    bar: ProgressBar,
    width: Width,
    /// Where a line per step goes, when the bar cannot be drawn.
    out: W,
    shown: Option<(String, Option<u64>)>,
}

impl<W: Write> ProgressLine<W> {
    /// Draws on `target`; where that is no terminal, lines are written to `out`.
    pub(super) fn new(target: ProgressDrawTarget, width: Width, out: W) -> Self {
        Self {
            bar: ProgressBar::with_draw_target(None, target),
            width,
            out,
            shown: None,
        }
    }

    /// Whether there is a terminal to draw on.
    pub(super) fn is_live(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// Shows the operation as it is now. A failure to show it is ignored: the operation goes on.
    pub(super) fn show(&mut self, operation: &Operation) {
        match self.is_live() {
            true => self.draw(operation),
            false => self.write(operation),
        }
    }

    fn draw(&mut self, operation: &Operation) {
        let (step, waiting) = (step(operation), waiting(operation));
        let loading = loading(operation);
        let template = match (loading, self.width.is_narrow()) {
            (None, _) => step + waiting,
            (Some(_), true) => {
                format!("{step} {{percent}} %  {{pos}} of {{len}} bytes{waiting}")
            }
            (Some(_), false) => format!(
                "{step:14} [{{bar:24}}] {{percent:>3}} %  {{pos}} of {{len}} bytes{waiting}"
            ),
        };
        if self.bar.is_finished() {
            self.bar.reset();
        }
        // These are templates that can be read.
        if let Ok(style) = ProgressStyle::with_template(&template) {
            self.bar.set_style(style.progress_chars("#>."));
        }
        // Everything is drawn at once here: nothing else draws.
        self.bar.update(|bar| {
            if let Some(Progress { done, total }) = loading {
                bar.set_len(total);
                bar.set_pos(done);
            }
        });
    }

    fn write(&mut self, operation: &Operation) {
        if operation.stage == Some(Stage::Installing) && operation.progress.is_none() {
            // The line with the bytes follows at once.
            return;
        }
        let now = (doing(operation), loading(operation).map(quarter));
        if self.shown.as_ref() != Some(&now) {
            let _ = writeln!(self.out, "{}", line(operation));
            let _ = self.out.flush();
            self.shown = Some(now);
        }
    }

    /// Takes a live line away, so that what is written next stands alone.
    pub(super) fn clear(&mut self) {
        if self.is_live() {
            self.bar.finish_and_clear();
        }
        self.shown = None;
    }
}

/// What the operation is doing and how far it is.
pub(super) fn line(operation: &Operation) -> String {
    let (step, waiting) = (step(operation), waiting(operation));
    match loading(operation) {
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

#[cfg(test)]
mod tests {
    use indicatif::InMemoryTerm;

    use super::*;
    use crate::job::{Kind, OperationId, Waiting};

    fn installing(done: u64) -> Operation {
        Operation {
            id: OperationId(1),
            euicc: "default".into(),
            kind: Kind::Download,
            state: State::Running,
            stage: Some(Stage::Installing),
            stages: Vec::new(),
            progress: Some(Progress { done, total: 1000 }),
            waiting: None,
            switch: None,
            cancellable: false,
            offer: None,
            result: None,
            problem: None,
            client: None,
            by_itself: false,
            asked_at_s: None,
            created_at_s: 0,
            finished_at_s: None,
        }
    }

    #[test]
    fn a_terminal_sees_one_line_that_changes_and_fits() {
        for (columns, half, full) in [
            (
                80,
                "installing     [############>...........]  50 %  500 of 1000 bytes",
                "installing     [########################] 100 %  1000 of 1000 bytes",
            ),
            (
                40,
                "installing 50 %  500 of 1000 bytes",
                "installing 100 %  1000 of 1000 bytes",
            ),
        ] {
            let screen = InMemoryTerm::new(5, columns);
            let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
            let mut line = ProgressLine::new(target, Width(Some(columns)), Vec::new());
            line.show(&installing(500));
            assert_eq!(screen.contents(), half);
            line.show(&installing(1000));
            assert_eq!(screen.contents(), full);
            line.clear();
            assert_eq!(screen.contents(), "");
            assert!(line.out.is_empty(), "the bar is drawn, not written");
        }
    }

    #[test]
    fn a_file_sees_a_line_per_step() {
        let mut out = Vec::new();
        let mut line = ProgressLine::new(ProgressDrawTarget::hidden(), Width::UNLIMITED, &mut out);
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
        let mut line = ProgressLine::new(ProgressDrawTarget::hidden(), Width::UNLIMITED, &mut out);
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

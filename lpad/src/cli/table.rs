//! Columns that line up, no wider than the terminal.

use std::io::IsTerminal;
use std::os::fd::AsFd;

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table as Grid};
use rustix::termios::tcgetwinsize;

use crate::printable::printable;

/// How wide a line may be. Only lines for a terminal are broken: programs get each row whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Width(pub(super) Option<u16>);

impl Width {
    /// Without a limit.
    #[cfg(test)]
    pub(super) const UNLIMITED: Self = Self(None);

    /// The width of the terminal behind `out`, if there is one and it tells.
    pub(super) fn of(out: impl AsFd + IsTerminal) -> Self {
        let size = out.is_terminal().then(|| tcgetwinsize(&out));
        let columns = size.and_then(Result::ok).map(|size| size.ws_col);
        Self(columns.filter(|columns| *columns > 0))
    }

    /// Whether there is no room for columns or a bar.
    pub(super) fn is_narrow(self) -> bool {
        self.0.is_some_and(|columns| columns < 60)
    }
}

/// A table: a head and rows. Where columns would be too narrow to be read, each row is a paragraph.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    head: [&'static str; N],
    rows: Vec<[String; N]>,
    width: Width,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(head: [&'static str; N], width: Width) -> Self {
        let rows = Vec::new();
        Self { head, rows, width }
    }

    pub(super) fn row(&mut self, row: [String; N]) {
        // An empty cell would look like a mistake.
        self.rows.push(row.map(|cell| match cell.is_empty() {
            true => "-".to_owned(),
            false => cell,
        }));
    }

    pub(super) fn render(self) -> String {
        if self.width.is_narrow() {
            let paragraph = |row| {
                let lines: Vec<_> = self.head.into_iter().zip(row).collect();
                facts(&lines, self.width)
            };
            let paragraphs: Vec<_> = self.rows.into_iter().map(paragraph).collect();
            return paragraphs.join("\n");
        }
        let mut grid = grid(self.width);
        grid.set_header(self.head);
        for row in self.rows {
            grid.add_row(row.map(|cell| printable(&cell).into_owned()));
        }
        for (index, column) in grid.column_iter_mut().enumerate() {
            column.set_padding((0, if index + 1 < N { 2 } else { 0 }));
        }
        grid.trim_fmt() + "\n"
    }
}

/// Lines of `label  value`, the values in one column.
pub(super) fn facts(facts: &[(&str, String)], width: Width) -> String {
    if facts.is_empty() {
        return String::new();
    }
    let mut grid = grid(width);
    for (label, value) in facts {
        grid.add_row([*label, &*printable(value)]);
    }
    for (column, padding) in grid.column_iter_mut().zip([(2, 2), (0, 0)]) {
        column.set_padding(padding);
    }
    grid.trim_fmt() + "\n"
}

fn grid(width: Width) -> Grid {
    let mut grid = Grid::new();
    grid.load_style(NOTHING);
    if let Width(Some(columns)) = width {
        grid.set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(columns);
    }
    grid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_have_no_trailing_blanks() {
        let mut table = Table::new(["ICCID", "STATE", "NAME"], Width::UNLIMITED);
        table.row(["8900".into(), "enabled".into(), "運営者".into()]);
        table.row(["89001".into(), "disabled".into(), String::new()]);
        assert_eq!(
            table.render(),
            "ICCID  STATE     NAME\n8900   enabled   運営者\n89001  disabled  -\n"
        );
    }

    #[test]
    fn a_wide_name_takes_the_columns_it_has_on_the_screen() {
        let mut table = Table::new(["NAME", "STATE"], Width::UNLIMITED);
        table.row(["運営者".into(), "enabled".into()]);
        table.row(["Acme".into(), "disabled".into()]);
        assert_eq!(
            table.render(),
            "NAME    STATE\n運営者  enabled\nAcme    disabled\n"
        );
    }

    #[test]
    fn a_terminal_gets_lines_that_fit() {
        let table = |columns| {
            let mut table = Table::new(["ID", "OUTCOME"], Width(Some(columns)));
            let outcome = "Example Mobile (89001234567890123457) is installed and enabled";
            table.row(["1".into(), outcome.into()]);
            table.row(["2".into(), String::new()]);
            table.render()
        };
        assert_eq!(
            table(60),
            "ID  OUTCOME\n\
             1   Example Mobile (89001234567890123457) is installed and\n\
             \x20   enabled\n\
             2   -\n"
        );
        assert_eq!(
            table(40),
            "  ID       1\n\
             \x20 OUTCOME  Example Mobile\n\
             \x20          (89001234567890123457) is\n\
             \x20          installed and enabled\n\
             \n\
             \x20 ID       2\n\
             \x20 OUTCOME  -\n"
        );
    }

    #[test]
    fn a_name_neither_steers_the_terminal_nor_breaks_the_columns() {
        let mut table = Table::new(["NAME", "STATE"], Width::UNLIMITED);
        table.row(["\u{202e}emcA".into(), "enabled".into()]);
        assert_eq!(
            table.render(),
            "NAME          STATE\n\\u{202e}emcA  enabled\n"
        );
        assert_eq!(
            facts(&[("Name", "a\x1b[2J".into())], Width::UNLIMITED),
            "  Name  a\\u{1b}[2J\n"
        );
    }
}

//! Columns that line up.

use crate::printable::printable;

/// A table: a head and rows; the last column is never padded.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    head: [&'static str; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(head: [&'static str; N]) -> Self {
        Self {
            head,
            rows: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, row: [String; N]) {
        // An empty cell would look like a mistake.
        let filled = row.map(|cell| {
            if cell.is_empty() {
                "-".to_owned()
            } else {
                printable(&cell).into_owned()
            }
        });
        self.rows.push(filled);
    }

    pub(super) fn render(&self) -> String {
        let head = self.head.map(str::to_owned);
        let mut widths = [0; N];
        for row in std::iter::once(&head).chain(&self.rows) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for row in std::iter::once(&head).chain(&self.rows) {
            let cells = row
                .iter()
                .zip(widths)
                .map(|(cell, width)| format!("{cell:width$}"));
            let line = cells.collect::<Vec<_>>().join("  ");
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Lines of `label  value`, the values in one column.
pub(super) fn facts(facts: &[(&str, String)]) -> String {
    let width = facts
        .iter()
        .map(|(label, _)| label.chars().count())
        .max()
        .unwrap_or(0);
    let line =
        |(label, value): &(&str, String)| format!("  {label:width$}  {}\n", printable(value));
    facts.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_have_no_trailing_blanks() {
        let mut table = Table::new(["ICCID", "STATE", "NAME"]);
        table.row(["8900".into(), "enabled".into(), "Acme".into()]);
        table.row(["89001".into(), "disabled".into(), String::new()]);
        assert_eq!(
            table.render(),
            "ICCID  STATE     NAME\n8900   enabled   Acme\n89001  disabled  -\n"
        );
    }

    #[test]
    fn a_name_neither_steers_the_terminal_nor_breaks_the_columns() {
        let mut table = Table::new(["NAME", "STATE"]);
        table.row(["\u{202e}emcA".into(), "enabled".into()]);
        assert_eq!(
            table.render(),
            "NAME          STATE\n\\u{202e}emcA  enabled\n"
        );
        assert_eq!(
            facts(&[("Name", "a\x1b[2J".into())]),
            "  Name  a\\u{1b}[2J\n"
        );
    }
}

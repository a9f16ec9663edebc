//! The commands of a block, and what a page says that they print.

use std::process::{Command, Stdio};

use super::page::Block;

/// A command, and what a page says that it prints.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Call {
    pub(super) command: String,
    pub(super) prints: Option<String>,
}

/// The commands of a block, each as many lines as the shell needs.
pub(super) fn calls(block: &Block) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut command = String::new();
    for line in block.text.lines() {
        if block.language == "console" && command.is_empty() && !line.starts_with("$ ") {
            let call = calls.last_mut();
            let call = call.unwrap_or_else(|| panic!("{}: nothing prints this", block.place));
            let prints = call.prints.get_or_insert_default();
            prints.push_str(line);
            prints.push('\n');
            continue;
        }
        let is_first = block.language == "console" && command.is_empty();
        command.push_str(if is_first { &line[2..] } else { line });
        if is_complete(&command) {
            let has_words = shlex::split(&command).is_none_or(|words| !words.is_empty());
            let command = std::mem::take(&mut command);
            if has_words {
                let prints = None;
                calls.push(Call { command, prints });
            }
        } else {
            command.push('\n');
        }
    }
    assert_eq!(command, "", "{}: this does not end", block.place);
    calls
}

/// Whether a shell could run it.
fn is_complete(command: &str) -> bool {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-n", "-c", command]).stderr(Stdio::null());
    !command.ends_with('\\') && shell.status().unwrap().success()
}

/// Whether that is what a page says: `…` stands for what is left out of a line, and as a line of its
/// own for any lines.
pub(super) fn is_printed(page: &str, printed: &str) -> bool {
    let lines = |text: &str| -> Vec<String> {
        let lines = text.trim().lines();
        lines.map(|line| line.trim_end().to_owned()).collect()
    };
    are_lines(&lines(page), &lines(printed))
}

fn are_lines(page: &[String], printed: &[String]) -> bool {
    match (page, printed) {
        ([], printed) => printed.is_empty(),
        ([left_out, rest @ ..], printed) if left_out.trim() == "…" => {
            (0..=printed.len()).any(|count| are_lines(rest, &printed[count..]))
        }
        ([line, rest @ ..], [first, others @ ..]) => {
            is_line(line, first) && are_lines(rest, others)
        }
        (_, []) => false,
    }
}

fn is_line(page: &str, printed: &str) -> bool {
    let Some((start, rest)) = page.split_once('…') else {
        return page == printed;
    };
    let Some(printed) = printed.strip_prefix(start) else {
        return false;
    };
    let mut places = printed.char_indices().map(|(at, _)| at);
    rest.is_empty() || places.any(|at| is_line(rest, &printed[at..]))
}

/// The program a command is about, and its arguments.
pub(super) fn program(command: &str) -> (String, Vec<String>) {
    let words = shlex::split(command).unwrap_or_default();
    let (mut name, mut arguments) = match words.split_first() {
        Some((name, arguments)) => (name.clone(), arguments.to_vec()),
        None => return Default::default(),
    };
    if name == "cargo" {
        let end = arguments.iter().position(|word| word == "--");
        let program = arguments.split_off(end.map_or(arguments.len(), |end| end + 1));
        let is_option = |word: &String| ["--bin", "-p"].contains(&word.as_str());
        let at = arguments.iter().position(is_option).map_or(0, |at| at + 1);
        name = arguments.get(at).cloned().unwrap_or_default();
        arguments = program;
    }
    (name, arguments)
}

#[test]
fn what_a_page_leaves_out_may_be_anything_and_the_rest_may_not() {
    for (page, printed) in [
        ("a\nb", "a\nb\n"),
        ("a…", "a"),
        ("a … d", "a b c d"),
        ("…\nc", "a\nb\nc"),
        ("a\n…", "a"),
        ("{\"id\":…,\"b\":…}", "{\"id\":1,\"b\":2}"),
    ] {
        assert!(is_printed(page, printed), "{page} {printed}");
    }
    for (page, printed) in [
        ("a", "a\nb"),
        ("a\nb", "a"),
        ("a…", "b"),
        ("a … d", "a b c d e"),
        ("…\nc", "a\nb"),
        ("", "a"),
    ] {
        assert!(!is_printed(page, printed), "{page} {printed}");
    }
}

#[test]
fn a_command_goes_on_for_as_many_lines_as_a_shell_needs() {
    let block = |language: &str, text: &str| Block {
        place: String::new(),
        language: language.to_owned(),
        text: text.to_owned(),
        mark: None,
    };
    let script = "# says\na \\\n  b\n\nfor x in 1; do\n  c\ndone\n";
    let commands: Vec<_> = calls(&block("sh", script))
        .into_iter()
        .map(|call| call.command)
        .collect();
    assert_eq!(commands, ["a \\\n  b", "for x in 1; do\n  c\ndone"]);
    let dialogue = "$ a \\\n    b\nc\nd\n$ e\n";
    let printed: Vec<_> = calls(&block("console", dialogue))
        .into_iter()
        .map(|call| call.prints)
        .collect();
    assert_eq!(printed, [Some("c\nd\n".to_owned()), None]);
}

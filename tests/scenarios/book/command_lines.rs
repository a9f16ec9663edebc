//! Command lines of ours on pages that are not run here: whether our programs would take them.

use clap::{CommandFactory, Parser};
use lpad::cli::args::Arguments;

use super::page::Page;
use super::toolbox::{built, output};

/// Checks every line of a block that calls `lpactl` or `lpad`.
pub(super) fn check(block: &str) -> Result<(), String> {
    for line in block.replace("\\\n", " ").lines() {
        let line = line.strip_prefix("$ ").unwrap_or(line);
        let words = shlex::split(line).unwrap_or_default();
        for command in words.split(|word| ["|", "||", "&&", ";"].contains(&word.as_str())) {
            check_words(command).map_err(|error| format!("{line}: {error}"))?;
        }
    }
    Ok(())
}

fn check_words(command: &[String]) -> Result<(), String> {
    let ours = command
        .iter()
        .position(|word| word == "lpactl" || word == "lpad");
    // It is called, and not looked for or installed.
    let Some(at) = ours.filter(|at| command[..*at].iter().all(|word| word == "sudo")) else {
        return Ok(());
    };
    let is_word = |word: &&String| !word.starts_with(['>', '<']) && !word.starts_with("2>");
    let words: Vec<_> = command[at..].iter().take_while(is_word).collect();
    if words[0] == "lpactl" {
        let parsed = Arguments::try_parse_from(&words);
        let parsed = parsed.map_err(|error| error.to_string());
        return parsed
            .map(|_| ())
            .or_else(|error| match error.starts_with("error:") {
                true => Err(error),
                // `--help` is no error.
                false => Ok(()),
            });
    }
    let mut options = words.iter().filter(|word| word.starts_with('-'));
    let help = help_of_lpad();
    match options.find(|option| !help.contains(option.split('=').next().unwrap_or_default())) {
        Some(option) => Err(format!("lpad has no option {option}")),
        None => Ok(()),
    }
}

fn help_of_lpad() -> String {
    let lpad = built("lpad", "lpad", "--bin");
    output(&lpad.display().to_string(), &["--help"]).expect("it prints its options")
}

/// `lpactl …` and `lpad …` inside of sentences name commands and options that exist.
#[test]
fn commands_inside_of_sentences_exist() {
    let help = help_of_lpad();
    let mut wrong = Vec::new();
    for page in Page::all() {
        for code in &page.code {
            let mut words = code.text.split_whitespace();
            let mut commands = Arguments::command();
            let error = match words.next() {
                Some("lpactl") => words.find_map(|word| unknown(&mut commands, word)),
                Some("lpad") => words
                    .filter(|word| word.starts_with('-'))
                    .find(|word| !help.contains(*word))
                    .map(str::to_owned),
                _ => None,
            };
            wrong.extend(error.map(|word| format!("{}: {}: {word}?", code.place, code.text)));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Goes on to the subcommand of this name; gives the word back when there is none, or no such option.
fn unknown(command: &mut clap::Command, word: &str) -> Option<String> {
    if let Some(option) = word.strip_prefix("--") {
        let option = option.split('=').next().unwrap_or_default();
        let is_known = ["help", "version", "socket", "json", "euicc"].contains(&option)
            || command
                .get_arguments()
                .any(|known| known.get_long() == Some(option));
        return Some(word.to_owned()).filter(|_| !is_known);
    }
    let is_name = word
        .chars()
        .all(|letter| letter.is_ascii_lowercase() || letter == '-');
    if !command.has_subcommands() || !is_name {
        return None;
    }
    match command.find_subcommand(word).cloned() {
        Some(found) => {
            *command = found;
            None
        }
        None => Some(word.to_owned()),
    }
}

#[test]
fn a_command_line_that_would_be_refused_is_noticed() {
    for line in [
        "$ lpactl profil list",
        "sudo lpactl download --defaults",
        "lpactl status | lpactl --jason status",
        "lpad --configuration /etc/lpad/lpad.toml",
    ] {
        assert!(check(line).is_err(), "{line}");
    }
    for line in [
        "$ lpactl profile list",
        "sudo lpactl download 'LPA:1$smdp.example.com$X' --enable",
        "lpactl --help",
        "lpactl --json status | head -1 > /tmp/status",
        "sudo lpad --check --config=/etc/lpad/lpad.toml",
        "sudo apt install lpad --yes",
    ] {
        assert_eq!(check(line), Ok(()), "{line}");
    }
}

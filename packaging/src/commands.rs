//! The command lines of the programs, and `docs/lpactl.md`.

use clap::builder::StyledStr;
use clap::{Arg, ArgAction, Command, CommandFactory};
use lpad::cli::args::Arguments;

/// The command line of `lpactl`.
pub fn lpactl() -> Command {
    built(Arguments::command())
}

/// The command line of `lpad`, which the daemon reads without a library.
pub fn lpad() -> Command {
    let option = |name| Arg::new(name).long(name);
    let flag = |name| option(name).action(ArgAction::SetTrue);
    built(
        Command::new("lpad")
            .version(env!("CARGO_PKG_VERSION"))
            .about(
                "Local Profile Assistant: downloads and switches the eSIM profiles of this gateway",
            )
            .arg(
                option("config")
                    .value_name("FILE")
                    .default_value("/etc/lpad/lpad.toml")
                    .help("The configuration file"),
            )
            .arg(flag("check").help("Check the configuration and exit"))
            .arg(
                flag("example-config")
                    .help("Print a configuration: every key with its default and its meaning"),
            )
            .arg(
                option("look")
                    .value_name("WHAT")
                    .help("Print what lpactl doctor needs, as JSON, and exit"),
            ),
    )
}

fn built(mut command: Command) -> Command {
    command.build();
    command
}

/// The subcommands that do something, each under its whole name.
pub fn leaves(command: &Command) -> Vec<&Command> {
    let inside: Vec<_> = command.get_subcommands().flat_map(leaves).collect();
    match inside.is_empty() {
        true => vec![command],
        false => inside,
    }
}

/// `docs/lpactl.md`.
pub fn page() -> String {
    let command = lpactl();
    let mut page = HEAD.to_owned();
    page += "\n## Options of every command\n\n";
    page += &arguments(&command, |_| true);
    for leaf in leaves(&command) {
        page += &subcommand(leaf);
    }
    page += "\n## Exit codes\n\n";
    page += &exit_codes(&command);
    page
}

fn subcommand(command: &Command) -> String {
    let name = full_name(command);
    let usage = plain(&command.clone().render_usage());
    let mut text = format!(
        "\n## {name}\n\n{}.\n\n<!-- not run: how it is called -->\n```text\n{usage}\n```\n",
        said(command.get_long_about().or_else(|| command.get_about()))
    );
    let own = arguments(command, |argument| !argument.is_global_set());
    if !own.is_empty() {
        text += "\n";
        text += &own;
    }
    for (title, lines) in paragraphs(command) {
        text += &format!(
            "\n{title}:\n\n<!-- not run: needs a card, and an operator's code -->\n```sh\n{}\n```\n",
            lines.join("\n")
        );
    }
    text
}

/// A table of the arguments and options that are wanted; nothing when there are none.
fn arguments(command: &Command, wanted: impl Fn(&Arg) -> bool) -> String {
    let given = command.get_arguments();
    let given = given.filter(|argument| {
        let is_usual = matches!(argument.get_id().as_str(), "help" | "version");
        !is_usual && !argument.is_hide_set() && wanted(argument)
    });
    let rows: Vec<_> = given
        .map(|argument| {
            let help = said(argument.get_long_help().or_else(|| argument.get_help()));
            let values = argument.get_possible_values();
            let explained = values
                .iter()
                .filter_map(|value| Some((value.get_name(), value.get_help()?)))
                .filter(|_| argument.get_action().takes_values())
                .map(|(name, help)| format!("<br>`{name}`: {help}"));
            format!(
                "| `{}` | {help}{} |\n",
                written(argument),
                explained.collect::<String>()
            )
        })
        .collect();
    match rows.is_empty() {
        true => String::new(),
        false => format!("| argument | meaning |\n|---|---|\n{}", rows.concat()),
    }
}

/// An argument as it is written.
fn written(argument: &Arg) -> String {
    let names = argument.get_value_names().unwrap_or_default();
    let value = names.first().map_or_else(
        || argument.get_id().as_str().to_uppercase(),
        ToString::to_string,
    );
    match argument.get_long() {
        None => format!("<{value}>"),
        Some(long) if argument.get_action().takes_values() => format!("--{long} <{value}>"),
        Some(long) => format!("--{long}"),
    }
}

/// A table of the exit codes that the help of a command ends with.
pub fn exit_codes(command: &Command) -> String {
    let (_, lines) = paragraphs(command)
        .into_iter()
        .find(|(title, _)| title == "Exit codes")
        .expect("the help tells the exit codes");
    let rows = lines.iter().map(|line| {
        let (code, meaning) = line.split_once("  ").expect("a code and its meaning");
        format!("| {code} | {} |\n", meaning.trim())
    });
    format!(
        "| code | meaning |\n|---|---|\n{}",
        rows.collect::<String>()
    )
}

/// What the help of a command ends with: titles, and the lines below each.
pub fn paragraphs(command: &Command) -> Vec<(String, Vec<String>)> {
    let after = command.get_after_long_help();
    let after = after.or_else(|| command.get_after_help());
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for line in after.map(plain).unwrap_or_default().lines() {
        match (line.strip_prefix("  "), found.last_mut()) {
            (Some(line), Some((_, lines))) => lines.push(line.to_owned()),
            _ if line.is_empty() => {}
            _ => found.push((line.trim_end_matches(':').to_owned(), Vec::new())),
        }
    }
    found
}

fn full_name(command: &Command) -> &str {
    command.get_bin_name().unwrap_or_else(|| command.get_name())
}

fn said(text: Option<&StyledStr>) -> String {
    let text = text.map(plain).unwrap_or_default();
    // A stroke would end the cell of the table.
    text.replace('|', "\\|").replace('<', "&lt;")
}

fn plain(text: &StyledStr) -> String {
    text.to_string()
}

/// The exit codes of the daemon, and what they mean.
pub const DAEMON_EXIT_CODES: &[(&str, &str)] = &[
    (
        "0",
        "a signal ended it, or it has printed what was asked for",
    ),
    (
        "1",
        "it could not start for now, or a part of it has failed: another start may succeed",
    ),
    (
        "2",
        "the command line or the configuration cannot be used: an engineer has to change it",
    ),
];

const HEAD: &str = "\
# lpactl

This page is for those who manage a gateway by hand or in scripts: every command of `lpactl`, taken
from its own help. Each command also has a manual page, such as `man lpactl-download`.

`lpactl` asks the daemon over its socket, so run it as root or as a member of the group `lpad`. With
`--json` it prints the answers of the API and nothing else; what [lpactl doctor](doctor.md) prints then is
its own.
";

#[cfg(test)]
mod tests {
    use super::*;

    /// The daemon prints a text of its own, because its few options do not need a parser.
    #[test]
    fn the_daemon_s_command_line_is_the_one_its_help_tells() {
        assert_eq!(plain(&lpad().render_help()), lpad::HELP);
    }
}

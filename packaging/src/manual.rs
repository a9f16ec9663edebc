//! The manual pages.

use std::collections::BTreeMap;
use std::io;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use crate::{commands, configuration};

/// Every page by the name of its file. `date` (`2026-11-27`) is printed at the foot.
///
/// # Errors
///
/// When a page cannot be written into memory.
pub fn pages(date: &str) -> io::Result<BTreeMap<String, String>> {
    let manual = Manual { date };
    let mut pages = BTreeMap::new();
    pages.insert("lpad.8".to_owned(), manual.daemon()?);
    pages.insert("lpad.toml.5".to_owned(), manual.configuration_file()?);
    manual.add_commands(&commands::lpactl(), &mut pages)?;
    Ok(pages)
}

/// A page of what a program prints for `--help`.
///
/// # Errors
///
/// When the page cannot be written into memory.
pub fn of_help(name: &'static str, help: &str, date: &str) -> io::Result<String> {
    let (about, rest) = help.split_at(help.find("Usage: ").unwrap_or_default());
    let short = about.lines().next().unwrap_or_default();
    let short = short.trim_end_matches('.');
    let command = Command::new(name).about(short.to_owned());
    let page = Manual { date }.page(command, "1");
    let mut title = Vec::new();
    page.render_title(&mut title)?;
    page.render_name_section(&mut title)?;
    let mut body = Roff::default();
    let (usage, rest) = rest.split_once("\n\n").unwrap_or((rest, ""));
    body.control("SH", ["SYNOPSIS"]);
    for (number, usage) in usage.trim_start_matches("Usage: ").lines().enumerate() {
        if number > 0 {
            body.control("br", []);
        }
        body.text([roman(usage.trim())]);
    }
    let paragraphs: Vec<_> = about.trim().split("\n\n").collect();
    description(&mut body, &paragraphs);
    let mut is_filled = true;
    for line in rest.lines() {
        if let Some(title) = line.strip_suffix(':').filter(|_| !line.starts_with(' ')) {
            if !is_filled {
                body.control("fi", []);
            }
            body.control("SH", [&*title.to_uppercase()]);
            body.control("nf", []);
            is_filled = false;
        } else if line.is_empty() {
            body.control("sp", []);
        } else {
            body.text([roman(line)]);
        }
    }
    if !is_filled {
        body.control("fi", []);
    }
    Ok(text(title) + &body.render())
}

struct Manual<'a> {
    date: &'a str,
}

impl Manual<'_> {
    /// The page of a command of `lpactl`, and those of its subcommands.
    fn add_commands(
        &self,
        command: &Command,
        pages: &mut BTreeMap<String, String>,
    ) -> io::Result<()> {
        for inside in command.get_subcommands() {
            self.add_commands(inside, pages)?;
        }
        let name = command
            .get_display_name()
            .unwrap_or_else(|| command.get_name());
        let is_root = name == command.get_name();
        let (page, mut text) = self.command(command, "1")?;
        let mut body = Roff::default();
        if is_root {
            section(&mut body, "ENVIRONMENT", LPACTL_ENVIRONMENT);
            section(&mut body, "FILES", LPACTL_FILES);
            related(&mut body, &[("lpad", "8"), ("lpad.toml", "5")]);
        } else {
            related(&mut body, &[("lpactl", "1"), ("lpad", "8")]);
        }
        text += &body.render();
        pages.insert(page.get_filename(), text);
        Ok(())
    }

    fn daemon(&self) -> io::Result<String> {
        let (_, mut text) = self.command(&commands::lpad(), "8")?;
        let mut body = Roff::default();
        section(&mut body, "SIGNALS", SIGNALS);
        section(&mut body, "ENVIRONMENT", ENVIRONMENT);
        section(&mut body, "FILES", FILES);
        section(&mut body, "EXIT STATUS", commands::DAEMON_EXIT_CODES);
        related(
            &mut body,
            &[("lpactl", "1"), ("lpad.toml", "5"), ("systemctl", "1")],
        );
        text += &body.render();
        Ok(text)
    }

    fn configuration_file(&self) -> io::Result<String> {
        let command = Command::new("lpad.toml").about("configuration of lpad");
        let mut title = Vec::new();
        let page = self.page(command, "5");
        page.render_title(&mut title)?;
        page.render_name_section(&mut title)?;
        let mut body = Roff::default();
        description(&mut body, CONFIGURATION);
        for section in configuration::sections() {
            body.control("SH", [&*section.header]);
            body.text([roman(section.text)]);
            for key in section.keys {
                let mut shown: Vec<Inline> = vec![bold(key.name), roman(" = ")];
                shown.push(italic(key.value));
                if !key.has_default {
                    shown.push(roman(" (an example; there is no default)"));
                }
                item(&mut body, shown, &key.text);
            }
        }
        section(&mut body, "FILES", CONFIGURATION_FILES);
        related(&mut body, &[("lpad", "8"), ("lpactl", "1")]);
        Ok(text(title) + &body.render())
    }

    /// What a command's own help tells.
    fn command(&self, command: &Command, number: &str) -> io::Result<(Man, String)> {
        let page = self.page(command.clone(), number);
        let mut octets = Vec::new();
        page.render_title(&mut octets)?;
        page.render_name_section(&mut octets)?;
        let mut body = Roff::default();
        let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
        let usage = command.clone().render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ");
        body.control("SH", ["SYNOPSIS"]);
        body.text([bold(name), roman(usage.strip_prefix(name).unwrap_or(usage))]);
        let mut described = DESCRIPTIONS.iter().filter(|(of, _)| *of == name);
        let about = command.get_long_about().or_else(|| command.get_about());
        let about = format!("{}.", about.map(ToString::to_string).unwrap_or_default());
        let about = [&*about];
        description(&mut body, described.next().map_or(&about, |(_, text)| text));
        octets.extend(body.render().into_bytes());
        page.render_options_section(&mut octets)?;
        if command.has_subcommands() {
            page.render_subcommands_section(&mut octets)?;
        }
        let mut body = Roff::default();
        for (title, lines) in commands::paragraphs(command) {
            if title == "Exit codes" {
                body.control("SH", ["EXIT STATUS"]);
                for line in lines {
                    let (code, meaning) = line.split_once("  ").unwrap_or((&line, ""));
                    item(&mut body, [bold(code)], meaning.trim());
                }
            } else {
                body.control("SH", [&*title.to_uppercase()]);
                body.control("nf", []);
                for line in lines {
                    body.text([roman(line)]);
                }
                body.control("fi", []);
            }
        }
        octets.extend(body.render().into_bytes());
        // The library breaks lines where a paragraph begins anyway.
        let text = text(octets).replace(".br\n\n.br\n", "\n");
        Ok((page, text))
    }

    fn page(&self, command: Command, number: &str) -> Man {
        let page = Man::new(command.clone());
        let name = command
            .get_display_name()
            .unwrap_or_else(|| command.get_name());
        page.title(name.to_uppercase())
            .section(number)
            .date(self.date)
            .source(concat!("lpad ", env!("CARGO_PKG_VERSION")))
            .manual("lpad")
    }
}

fn description(body: &mut Roff, paragraphs: &[&str]) {
    body.control("SH", ["DESCRIPTION"]);
    for (number, paragraph) in paragraphs.iter().enumerate() {
        if number > 0 {
            body.control("PP", []);
        }
        body.text([roman(*paragraph)]);
    }
}

fn section(body: &mut Roff, title: &str, items: &[(&str, &str)]) {
    body.control("SH", [title]);
    for (name, text) in items {
        item(body, [bold(*name)], text);
    }
}

fn item(body: &mut Roff, name: impl Into<Vec<Inline>>, text: &str) {
    body.control("TP", []);
    body.text(name);
    body.text([roman(text)]);
}

fn related(body: &mut Roff, pages: &[(&str, &str)]) {
    body.control("SH", ["SEE ALSO"]);
    let mut names: Vec<Inline> = Vec::new();
    for (name, number) in pages {
        if !names.is_empty() {
            names.push(roman(", "));
        }
        names.push(bold(*name));
        names.push(roman(format!("({number})")));
    }
    body.text(names);
}

fn text(octets: Vec<u8>) -> String {
    String::from_utf8(octets).expect("clap's text is text")
}

const DESCRIPTIONS: &[(&str, &[&str])] = &[
    (
        "lpad",
        &[
            "lpad is the Local Profile Assistant (LPAd of GSMA SGP.22) of a Linux gateway. It drives the \
             eUICC through the AT port of a modem, downloads, enables and deletes profiles, and delivers the \
             notifications of the eUICC to the servers.",
            "It runs as the systemd service lpad.service and is controlled over HTTP on a Unix socket: by \
             lpactl, or by any program that speaks HTTP. The API is described at /v1/openapi.json.",
            "lpad logs to standard error. It reads its configuration once, at start.",
            "--look is for lpactl doctor. WHAT is configuration, ports, euicc=NAME or server=ADDRESS; what is \
             printed may change with each version.",
        ],
    ),
    (
        "lpactl",
        &[
            "lpactl asks the daemon lpad over its socket to show and change the eSIM of this gateway. Root, \
             and the members of the daemon's admin group (lpad), may do everything; members of its reader \
             group may look.",
            "An operation continues in the daemon when lpactl is interrupted; lpactl operation shows it.",
            "lpactl doctor starts the program lpad(8) with --look for what needs no daemon: the configuration, \
             the ports, a card without a daemon, and a server. It takes the one beside itself, in ../sbin, or in \
             a folder of PATH.",
        ],
    ),
];

const SIGNALS: &[(&str, &str)] = &[
    (
        "SIGTERM, SIGINT",
        "End. Operations are cancelled where they still can be, and the channel of the card is closed, \
         which takes a minute at most, and 150 s while a package is loaded. What was under way is settled \
         after the next start.",
    ),
    (
        "SIGHUP",
        "Nothing but a line in the log: restart lpad to have it read its configuration again.",
    ),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "LPAD_LOG",
        "The least important level that is logged (error, warn, info, debug or trace). It overrides the \
         level in the configuration, unless it is empty.",
    ),
    (
        "JOURNAL_STREAM",
        "Set by systemd: when it names standard error, lines are logged for the journal, without the time \
         and with their priority in front.",
    ),
    (
        "LISTEN_FDS, LISTEN_PID",
        "Set by systemd for a socket it has made: lpad serves that one and makes none.",
    ),
    (
        "NOTIFY_SOCKET, WATCHDOG_USEC",
        "Set by systemd: lpad tells it there when it is ready, what its eUICCs do, and that it is alive.",
    ),
];

const FILES: &[(&str, &str)] = &[
    (
        "/etc/lpad/lpad.toml",
        "The configuration, see lpad.toml(5).",
    ),
    (
        "/etc/lpad/ci.d",
        "A place for certificate issuers in addition to those of the GSMA. lpad reads it when extra_roots in the \
         configuration names it.",
    ),
    ("/run/lpad/lpad.sock", "The socket of the API."),
    (
        "/var/lib/lpad",
        "What must outlive a restart: what was under way, and how the latest operations ended.",
    ),
];

const LPACTL_ENVIRONMENT: &[(&str, &str)] = &[(
    "LPAD_SOCKET",
    "The socket of the daemon, when --socket names none.",
)];

const LPACTL_FILES: &[(&str, &str)] = &[(
    "/run/lpad/lpad.sock",
    "The socket of the daemon, when nothing names another one.",
)];

const CONFIGURATION: &[&str] = &[
    "The configuration of lpad(8) is a TOML document. Every key has a default but port, which has to be \
     set. An unknown key is an error.",
    "lpad reads the file when it starts. \"lpad --check\" says what is wrong with it, and where; \
     \"systemctl restart lpad\" puts it in effect; \"lpad --example-config\" prints a file with all that \
     follows.",
];

const CONFIGURATION_FILES: &[(&str, &str)] = &[(
    "/etc/lpad/lpad.toml",
    "The configuration, unless lpad --config names another file.",
)];

//! The table of modems as its readers see it: `lpad/modems.toml`, and `docs/modems.md` made of it.

use lpad::config::{ModemEntry, Route, Rung, UsbPorts, Verdict};
use serde::Deserialize;
use toml::{Table, Value};

/// An entry of the table.
#[derive(Debug)]
pub struct Modem {
    /// What the programs carry.
    pub entry: ModemEntry,
    /// What only the book shows.
    pub page: Page,
}

/// `[modem.page]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Page {
    /// The modems by name.
    pub name: String,
    /// Why the verdict is what it is.
    pub why: String,
    /// What is known, each with how well.
    pub facts: Vec<String>,
    /// Where it is known from.
    pub sources: Vec<String>,
}

/// The entries of `lpad/modems.toml`.
///
/// # Panics
///
/// When the file is not as the page needs it.
pub fn modems() -> Vec<Modem> {
    let mut file: Table = toml::from_str(TABLE).expect("the table is TOML");
    let Some(Value::Array(entries)) = file.remove("modem") else {
        panic!("the table has no entries");
    };
    let entries = entries.into_iter().map(|entry| {
        let mut entry: Table = entry.try_into().expect("an entry is a table");
        let page = entry.remove("page").expect("every entry has a page");
        Modem {
            entry: entry.try_into().expect("lpad reads the entry"),
            page: page.try_into().expect("a page has its keys and no others"),
        }
    });
    entries.collect()
}

/// `docs/modems.md`.
///
/// # Panics
///
/// As [`modems`].
pub fn page() -> String {
    let modems = modems();
    let (_, generic) = usual(&modems);
    let mut page = HEAD.to_owned();
    page += "| entry | modems | verdict | ways | ICCID | reset |\n|---|---|---|---|---|---|\n";
    for Modem { entry, page: about } in &modems {
        let entry = whole(entry, &modems);
        let (id, name) = (text(&entry.id), &about.name);
        let verdict = verdict(&entry);
        let reset = entry.ladder.or_else(|| generic.ladder.clone());
        let iccid = entry.iccid.or_else(|| generic.iccid.clone());
        page += &format!(
            "| [`{id}`](#{id}) | {name} | {verdict} | {} | {} | {} |\n",
            ways(entry.apdu.or_else(|| generic.apdu.clone())),
            code(iccid.unwrap_or_default().first().into_iter()),
            ladder(&reset.unwrap_or_default()),
        );
    }
    page += ADDING;
    for modem in &modems {
        page += &section(modem, &modems);
    }
    page
}

/// The entry `generic`, at the end.
fn usual(modems: &[Modem]) -> (&Page, &ModemEntry) {
    let Modem { entry, page } = modems.last().expect("the table has entries");
    (page, entry)
}

/// An entry with what its family says.
fn whole(entry: &ModemEntry, modems: &[Modem]) -> ModemEntry {
    let family = modems.iter().find(|other| other.entry.id == entry.family);
    match family {
        Some(family) if entry.family.is_some() => entry.clone().over(family.entry.clone()),
        _ => entry.clone(),
    }
}

fn section(Modem { entry, page }: &Modem, modems: &[Modem]) -> String {
    let id = text(&entry.id);
    let mut section = format!(
        "\n### {id}\n\n{}: *{}*. {}\n\n",
        page.name,
        verdict(entry),
        page.why
    );
    let whole = whole(entry, modems);
    let lists = [
        ("Maker", &entry.makers),
        ("Model", &entry.models),
        ("ICCID", &whole.iccid),
        ("IMEI", &whole.imei),
        ("Never sent", &whole.never),
    ];
    let mut rows: Vec<(&str, String)> = Vec::new();
    for (name, words) in lists {
        let words = words.iter().flatten();
        rows.push((name, code(words)));
    }
    rows.insert(
        2,
        (
            "Ways",
            whole
                .apdu
                .clone()
                .map_or_else(String::new, |apdu| ways(Some(apdu))),
        ),
    );
    let reset = whole.ladder.as_deref().map_or_else(String::new, ladder);
    rows.push(("Reset", reset));
    rows.push(("Settings", settings(&whole)));
    let ports = entry.usb.iter().flatten();
    let ports: Vec<_> = ports
        .filter_map(|usb| UsbPorts::parse(usb))
        .map(usb)
        .collect();
    rows.push(("USB", ports.join("; ")));
    rows.push(("Not registered", text(&whole.not_registered).to_owned()));
    rows.push(("No ISD-R", text(&whole.no_isd_r).to_owned()));
    section += "| | |\n|---|---|\n";
    for (name, value) in rows.into_iter().filter(|(_, value)| !value.is_empty()) {
        section += &format!("| {name} | {value} |\n");
    }
    for (title, lines) in [("Known", &page.facts), ("Sources", &page.sources)] {
        if !lines.is_empty() {
            section += &format!("\n{title}:\n\n");
            let lines = lines.iter().map(|line| format!("- {}\n", plain(line)));
            section += &lines.collect::<String>();
        }
    }
    section
}

fn text(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or_default()
}

fn verdict(entry: &ModemEntry) -> String {
    entry
        .verdict
        .unwrap_or(Verdict::Unknown)
        .name()
        .replace('-', " ")
}

fn code<'w>(words: impl Iterator<Item = &'w String>) -> String {
    let words: Vec<_> = words.map(|word| format!("`{word}`")).collect();
    words.join(", ")
}

fn ways(apdu: Option<Vec<Route>>) -> String {
    let names = apdu.unwrap_or_default().into_iter().map(|way| match way {
        Route::Cgla => "CGLA",
        Route::Csim => "CSIM",
    });
    let names: Vec<_> = names.collect();
    match names.is_empty() {
        true => "none".to_owned(),
        false => names.join(", "),
    }
}

/// The rungs of a ladder in one line.
fn ladder(rungs: &[Rung]) -> String {
    let rung = |rung: &Rung| match (rung.send.as_slice(), rung.together) {
        ([], _) => format!("wait {} s", rung.within_s()),
        (lines, false) => code(lines.iter()),
        (lines, true) => format!("{} in one write", code(lines.iter())),
    };
    let rungs: Vec<_> = rungs.iter().map(rung).collect();
    match rungs.is_empty() {
        true => "none".to_owned(),
        false => rungs.join("; "),
    }
}

/// The numbers and switches that differ.
fn settings(entry: &ModemEntry) -> String {
    let number = |name: &str, value: Option<u64>| value.map(|value| format!("`{name} = {value}`"));
    let switch = |name: &str, value: Option<bool>| value.map(|value| format!("`{name} = {value}`"));
    let is_generic = entry.makers.is_none();
    let settings = [
        number("block_size", entry.block_size.map(u64::from)),
        number("line_limit", entry.line_limit),
        entry
            .le
            .map(|le| format!("`le = \"{le:?}\"`").to_lowercase()),
        entry.get_response_class.map(|class| {
            let class = match class {
                lpad::config::GetResponseClass::AsCommand => "as-command",
                lpad::config::GetResponseClass::ChannelOnly => "channel-only",
            };
            format!("`get_response_class = \"{class}\"`")
        }),
        switch("terminal_capability", entry.terminal_capability),
        switch("needs_profile", entry.needs_profile),
        switch("refresh_flag", entry.refresh_flag),
        number("refresh_s", entry.refresh_s),
        number("reset_s", entry.reset_s),
        number("open_s", entry.open_s),
        number("close_s", entry.close_s),
        number("block_s", entry.block_s),
        number("question_s", entry.question_s),
        number("registration_s", entry.registration_s),
        entry
            .no_profile_iccids
            .as_ref()
            .filter(|_| is_generic)
            .map(|iccids| format!("no profile is {}", code(iccids.iter()))),
    ];
    let settings: Vec<_> = settings.into_iter().flatten().collect();
    settings.join(", ")
}

fn usb(ports: UsbPorts) -> String {
    let list = |name: &str, numbers: &[u8]| match numbers {
        [] => String::new(),
        numbers => {
            let numbers: Vec<_> = numbers.iter().map(u8::to_string).collect();
            format!(" {name} {}", numbers.join(", "))
        }
    };
    let (at, avoid) = (list("AT", &ports.at), list("not", &ports.avoid));
    format!("`{}`{at}{avoid}", ports.id)
}

/// A line of text in which Markdown finds nothing to do.
fn plain(line: &str) -> String {
    let is_address = line.starts_with("https://") && !line.contains(' ');
    if is_address {
        return format!("<{line}>");
    }
    let mut plain = String::new();
    for letter in line.chars() {
        if matches!(
            letter,
            '<' | '>' | '*' | '_' | '#' | '`' | '[' | ']' | '\\' | '|'
        ) {
            plain.push('\\');
        }
        plain.push(letter);
    }
    plain
}

const TABLE: &str = include_str!("../../lpad/modems.toml");

const HEAD: &str = "\
# Modems

This page is for those who choose a modem, wonder what lpad does with theirs, or add one.

lpad asks a modem who it is (`AT+CGMI`, `AT+CGMM`, `AT+CGMR`) and handles it by the first entry of its table
whose patterns fit; `lpactl status` shows which one, and why. A modem that no entry names is handled by
`generic`: lpad asks it in several ways, and keeps what it answers.

What follows is collected from reports, source code and manuals; lpad itself was tried on none of these
modems. The verdicts:

| verdict | meaning |
|---|---|
| supported | Somebody has published a download and a switch over the AT port, with commands like lpad's. |
| expected | Parts of that are proven, and nothing known speaks against the rest. |
| known not to work | It was tried over the AT port, and the modem refuses. |
| unknown | No report was found; the values are guesses from the maker's other modems. |

A fact that ends in \\[V\\] has two independent sources, \\[1\\] has one, \\[K\\] is general knowledge that
nobody has checked.

## At a glance

*Ways* are those for commands to the card, in the order in which they are tried. *ICCID* is the command
that is asked first. *Reset* is what makes the modem read the card again when it does not by itself, the
mildest first.

";

const ADDING: &str = "
## What happens at a switch

The card is told to switch, and asks the modem for a REFRESH unless `refresh_flag` says otherwise. lpad asks
the modem for its ICCID until it is that of the profile, for `refresh_s` seconds. Then the rungs of `ladder`
follow, one after the other, until the ICCID is right; each rung has its time, and a port that goes away with
it is waited for. With `after_enable = \"nothing\"` in `lpad.toml` there is no ladder, with `\"radio\"` it
begins at once.

When the ICCID is right, lpad asks whether the modem is registered in a network, for `registration_s` seconds.
That it is not fails nothing: the operation ends with a warning, and with what is known to help on that
modem.

A modem that passes nothing on to a card without an enabled profile (`needs_profile`) is never left without
one: lpad refuses to disable the last one.

## A modem that is not in the table

Try it first: `generic` does more than most modems need. If something has to be different, set it in
`lpad.toml`. Every key is in [Configuration](configuration.md), under `[euicc.modem]`:

```toml
[[euicc]]
port = \"/dev/ttyUSB2\"

[euicc.modem]
family = \"quectel-ec25\"
block_size = 120
ladder = [{ send = [\"AT+CFUN=4\", \"AT+CFUN=1\"] }, { run = [\"/usr/local/sbin/modem-power\", \"cycle\"], within_s = 90 }]
```

`family` handles the modem as another entry does; the other keys override that. A program under `run` needs
the rights of lpad's user; a modem whose power is switched by a script is a usual case.

For many gateways with the same modem, write an entry of the same form into a file of your own, and name it
in `lpad.toml`:

```toml
[modems]
table = \"/etc/lpad/modems.toml\"
```

Its entries come before those that are built in:

```toml
[[modem]]
id = \"acme-m1\"
makers = [\"Acme*\"]
models = [\"M1-*\", \"M1\"]
apdu = [\"csim\"]
iccid = [\"AT+XCCID\"]
refresh_flag = false
ladder = [{ send = [\"AT+RESET\"], port_leaves = true, within_s = 90 }]
usb = [\"1234:5678 at 2 3 avoid 0 1\"]
```

| key | meaning |
|---|---|
| `id` | The name of the entry, which `lpactl status` and `family` use. |
| `makers`, `models` | Patterns for the answers to `AT+CGMI` and `AT+CGMM`, without regard to case; `*` stands for any letters. |
| `verdict` | `supported`, `expected`, `known-not-to-work` or `unknown`. |
| `usb` | A USB number, the interfaces that are AT ports, the best first, and those that are not. |

All keys of `[euicc.modem]` may follow. `lpad --check` looks at both files, and refuses a line that the entry
or its family lists under `never`.

If it works, or if it cannot be made to work, tell us: the answers to `ATI`, `AT+CGMI`, `AT+CGMM` and
`AT+CGMR`, the USB number, what `lpactl status` says, and what was different. An entry as it stands in your
file is best, with where its facts come from. Leave out ICCID, EID and IMSI.

## The entries
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_says_what_it_is_and_where_that_comes_from() {
        let modems = modems();
        let (_, generic) = usual(&modems);
        assert_eq!(generic.id.as_deref(), Some("generic"));
        for Modem { entry, page } in &modems {
            let id = text(&entry.id);
            assert!(!page.name.is_empty() && page.why.ends_with('.'), "{id}");
            let is_generic = id == "generic";
            assert_eq!(page.sources.is_empty(), is_generic, "{id}");
            for fact in &page.facts {
                assert!(!fact.ends_with('.') && !fact.contains('\n'), "{id}: {fact}");
            }
        }
    }
}

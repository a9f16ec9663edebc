//! The table of modems as its readers see it: `lpad/modems.toml`, and `docs/modems.md` made of it.

use lpad::config::{ModemEntry, Route, Rung, UsbPorts};
use serde::Deserialize;
use toml::Table;

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
    let Some(toml::Value::Array(entries)) = file.remove("modem") else {
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
    let generic = &modems.last().expect("the table has entries").entry;
    let mut page = HEAD.to_owned();
    page += "| entry | modems | verdict | ways | ICCID | reset |\n|---|---|---|---|---|---|\n";
    for Modem { entry, page: about } in &modems {
        let (id, name, verdict) = (entry.text("id"), &about.name, verdict(entry));
        let habits = whole(entry, &modems).over(generic.clone()).habits();
        page += &format!(
            "| [`{id}`](#{id}) | {name} | {verdict} | {} | {} | {} |\n",
            ways(&habits.apdu),
            code(habits.iccid.first().into_iter()),
            ladder(&habits.ladder),
        );
    }
    page += ADDING;
    for modem in &modems {
        page += &section(modem, &modems);
    }
    page
}

/// An entry with what its family says.
fn whole(entry: &ModemEntry, modems: &[Modem]) -> ModemEntry {
    let family = entry.text("family");
    let family = modems.iter().find(|other| other.entry.text("id") == family);
    match family {
        Some(family) => entry.clone().over(family.entry.clone()),
        None => entry.clone(),
    }
}

fn section(Modem { entry, page }: &Modem, modems: &[Modem]) -> String {
    let id = entry.text("id");
    let mut section = format!(
        "\n### {id}\n\n{}: *{}*. {}\n\n",
        page.name,
        verdict(entry),
        page.why
    );
    let whole = whole(entry, modems);
    let habits = whole.habits();
    let list = |key| code(whole.texts(key).unwrap_or_default().iter());
    let if_set = |key, text: String| match whole.get(key) {
        Some(_) => text,
        None => String::new(),
    };
    let ports = entry.texts("usb").unwrap_or_default();
    let ports: Vec<_> = ports
        .iter()
        .filter_map(|usb| UsbPorts::parse(usb))
        .map(usb)
        .collect();
    let rows = [
        ("Maker", list("makers")),
        (
            "Model",
            code(entry.texts("models").unwrap_or_default().iter()),
        ),
        ("Ways", if_set("apdu", ways(&habits.apdu))),
        ("ICCID", list("iccid")),
        ("IMEI", list("imei")),
        ("Never sent", list("never")),
        ("Reset", if_set("ladder", ladder(&habits.ladder))),
        ("Settings", settings(&whole)),
        ("USB", ports.join("; ")),
        ("Not registered", habits.not_registered.clone()),
        ("No ISD-R", habits.no_isd_r.clone()),
    ];
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

fn verdict(entry: &ModemEntry) -> String {
    entry.verdict().name().replace('-', " ")
}

fn code<'w>(words: impl Iterator<Item = &'w String>) -> String {
    let words: Vec<_> = words.map(|word| format!("`{word}`")).collect();
    words.join(", ")
}

fn ways(apdu: &[Route]) -> String {
    let names = apdu.iter().map(|way| match way {
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

/// The numbers, switches and names that differ.
fn settings(entry: &ModemEntry) -> String {
    let keys = [
        "block_size",
        "line_limit",
        "le",
        "get_response_class",
        "terminal_capability",
        "needs_profile",
        "refresh_flag",
        "refresh_s",
        "reset_s",
        "open_s",
        "close_s",
        "block_s",
        "question_s",
    ];
    let settings = keys.into_iter().filter_map(|key| {
        let value = entry.get(key)?;
        // A number, a flag or a text is written as in TOML.
        let is_one = !(value.is_array() || value.is_object());
        is_one.then(|| format!("`{key} = {value}`"))
    });
    let iccids = entry.texts("no_profile_iccids");
    let iccids = iccids.map(|iccids| format!("no profile is {}", code(iccids.iter())));
    let settings: Vec<_> = settings.chain(iccids).collect();
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

When the ICCID is right, lpad waits until the profile is in service, and goes back if it is not in time: see
[The safe switch](safe-switch.md). `registration`, `reject_cause` and `address` are what the modem is asked.

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
        assert_eq!(modems.last().unwrap().entry.text("id"), "generic");
        for Modem { entry, page } in &modems {
            let id = entry.text("id");
            assert!(!page.name.is_empty() && page.why.ends_with('.'), "{id}");
            let is_generic = id == "generic";
            assert_eq!(page.sources.is_empty(), is_generic, "{id}");
            for fact in &page.facts {
                assert!(!fact.ends_with('.') && !fact.contains('\n'), "{id}: {fact}");
            }
        }
    }
}

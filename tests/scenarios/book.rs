//! The documentation says what is so: whatever can be run or parsed on its pages is, and what they
//! refer to exists.
//!
//! A page is any Markdown file of the tree. A block of a page is run (`sh`, `console`) or parsed
//! (`toml`, `json`); a comment on the line before its fence says what else is meant by it:
//! `<!-- not run: REASON -->`, or `<!-- file: NAME -->` for what the reader saves and uses then. A page
//! with `<!-- run by PATH -->` is followed by that script. Commands run as in [`reader`].

mod calls;
mod command_lines;
mod page;
mod reader;
mod references;
mod toolbox;

use std::path::Path;
use std::{fs, thread};

use lpad::config::Config;
use lpad::modem::table::Table;
use rsp_servers::smdp::ConfigFile;
use sim_card_emulator::config::Config as CardConfig;

use self::page::{Block, Page, Purpose, root};
use self::reader::Reader;
use self::toolbox::Toolbox;

#[test]
fn every_command_of_every_page_can_be_followed() {
    let Some(tools) = Toolbox::new() else {
        return;
    };
    let pages = Page::all();
    let has_commands = |page: &&Page| {
        let mut purposes = page.blocks.iter().map(|block| block.purpose());
        page.run_by.is_none() && purposes.any(|purpose| purpose == Ok(Purpose::Commands))
    };
    // Readers do not wait for each other.
    let failed: Vec<_> = thread::scope(|scope| {
        let readers = pages.iter().filter(has_commands).map(|page| {
            let tools = &tools;
            (page, scope.spawn(move || follow(page, tools)))
        });
        let readers: Vec<_> = readers.collect();
        let ended = readers
            .into_iter()
            .map(|(page, reader)| (page, reader.join()));
        ended
            .filter_map(|(page, ended)| ended.err().map(|_| &page.path))
            .collect()
    });
    assert!(failed.is_empty(), "see above for {failed:?}");
}

fn follow(page: &Page, tools: &Toolbox) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    runtime.block_on(Reader::follow(page, tools));
}

#[test]
fn every_block_is_run_parsed_or_excused() {
    let mut wrong = Vec::new();
    for page in Page::all() {
        wrong.extend(page.wrong.iter().cloned());
        if let Some(script) = &page.run_by
            && !root().join(script).exists()
        {
            wrong.push(format!("{}: there is no {script}", page.path));
        }
        for block in &page.blocks {
            let error = check(&page, block).err();
            wrong.extend(error.map(|error| format!("{}: {error}", block.place)));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn check(page: &Page, block: &Block) -> Result<(), String> {
    match block.purpose()? {
        Purpose::File(name) if !is_used(page, block, name) => {
            Err(format!("nothing uses the file {name}"))
        }
        Purpose::File(_) | Purpose::Parsed => parse(&block.language, &block.text),
        // What is typed on that page is checked word by word, as nothing else runs it here.
        Purpose::Commands if page.run_by.is_some() => command_lines::check(&block.text),
        Purpose::Commands | Purpose::Shown => Ok(()),
    }
}

/// Whether another block names the file, or imports it.
fn is_used(page: &Page, file: &Block, name: &str) -> bool {
    let import = format!("import {}", name.trim_end_matches(".py"));
    let mut others = page.blocks.iter().filter(|other| other.place != file.place);
    others.any(|other| other.text.contains(name) || other.text.contains(&import))
}

/// Looks at a text in one of the languages that are parsed.
fn parse(language: &str, text: &str) -> Result<(), String> {
    match language {
        "json" => serde_json::from_str::<serde_json::Value>(text)
            .map(|_| ())
            .map_err(|error| error.to_string()),
        "toml" => parse_configuration(text),
        _ => Ok(()),
    }
}

/// A configuration of the daemon, of the card or of the SM-DP+, or a table of modems.
fn parse_configuration(text: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("page.toml");
    // A part of a file does not name the port again.
    let whole = match text.contains("[[euicc]]") {
        true => text.to_owned(),
        false => format!("[[euicc]]\nport = \"/dev/ttyUSB2\"\n\n{text}"),
    };
    fs::write(&file, whole).unwrap();
    let daemon = Config::load(&file).err().map(|error| error.to_string());
    fs::write(&file, text).unwrap();
    let card = CardConfig::parse(text, Path::new("page.toml"), &[]);
    let card = card.err().map(|error| error.to_string());
    let smdp = ConfigFile::read(&file).err().map(|error| error.to_string());
    let modems = Table::load(&file).err().map(|error| error.to_string());
    match (daemon, card, smdp, modems) {
        (Some(daemon), Some(card), Some(smdp), Some(modems)) => Err(format!(
            "no configuration of lpad: {daemon}\nnor of sim-card-emulator: {card}\nnor of smdp: {smdp}\n\
             nor a table of modems: {modems}"
        )),
        _ => Ok(()),
    }
}

#[test]
fn a_block_nobody_would_check_is_noticed() {
    let wrong = |text: &str| {
        let page = Page::parse("page.md", text);
        let blocks = page.blocks.iter().filter_map(|block| block.purpose().err());
        page.wrong.iter().cloned().chain(blocks).collect::<Vec<_>>()
    };
    for text in [
        "```\nlpactl status\n```\n",
        "```bash\nlpactl status\n```\n",
        "```python\nprint()\n```\n",
        "    lpactl status\n",
        "<!-- not run -->\n```text\n```\n",
        "<!-- not run: -->\n```sh\n```\n",
        "<!-- not run: a picture -->\n\n```text\n```\n",
        "<!-- not run: a picture -->\n",
    ] {
        assert_ne!(wrong(text), [""; 0], "{text}");
    }
    for text in [
        "```sh\nlpactl status\n```\n",
        "<!-- not run: a picture -->\n```text\n```\n",
        "1. step\n\n   <!-- file: a.py -->\n   ```python\n   print()\n   ```\n",
    ] {
        assert_eq!(wrong(text), [""; 0], "{text}");
    }
    assert!(parse("json", "{\"a\": }").is_err());
    assert!(parse("toml", "[api]\nsockt = \"/run/lpad/lpad.sock\"\n").is_err());
    assert!(parse("toml", "[api]\nsocket = \"/run/lpad/lpad.sock\"\n").is_ok());
}

//! A page of the documentation, taken apart.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// A page, as GitHub and mdBook show it.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// From the root of the tree.
    pub(super) path: String,
    /// Its first paragraph.
    pub(super) opening: String,
    /// What headings and other places can be linked by.
    pub(super) anchors: BTreeSet<String>,
    pub(super) blocks: Vec<Block>,
    /// Targets of links and pictures.
    pub(super) links: Vec<Found>,
    /// Code inside of sentences.
    pub(super) code: Vec<Found>,
    /// The script that follows the whole page: `<!-- run by PATH -->`.
    pub(super) run_by: Option<String>,
    /// What is no page of ours.
    pub(super) wrong: Vec<String>,
}

/// Something on a page, and where.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) place: String,
    pub(super) text: String,
}

/// What stands between two fences.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) place: String,
    pub(super) language: String,
    pub(super) text: String,
    pub(super) mark: Option<Mark>,
}

/// What a comment says about the block whose fence is on the next line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Mark {
    /// `<!-- file: NAME -->`: the reader saves it in this file.
    File(String),
    /// `<!-- not run: REASON -->`.
    NotRun,
}

/// What has to be done with a block.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Purpose<'a> {
    /// The commands are run.
    Commands,
    /// The text is saved under this name.
    File(&'a str),
    /// The text is looked at by the parser of its language.
    Parsed,
    /// Nothing.
    Shown,
}

impl Block {
    pub(super) fn purpose(&self) -> Result<Purpose<'_>, String> {
        match (&self.mark, self.language.as_str()) {
            (Some(Mark::NotRun), _) => Ok(Purpose::Shown),
            (Some(Mark::File(name)), "js" | "json" | "python" | "sh" | "toml") => {
                Ok(Purpose::File(name))
            }
            (None, "console" | "sh") => Ok(Purpose::Commands),
            (None, "json" | "toml") => Ok(Purpose::Parsed),
            (None, "js" | "python") => {
                Err("a program without `<!-- file: NAME -->` is run by nothing".to_owned())
            }
            (_, language) => Err(format!(
                "a block of {language:?} can neither be run nor parsed, \
                 and there is no `<!-- not run: REASON -->` on the line before it"
            )),
        }
    }
}

impl Page {
    /// Every page of the tree but what is built, and texts that are part of a program.
    pub(super) fn all() -> Vec<Self> {
        let mut pages = Vec::new();
        let mut folders = vec![root()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let is_left_out = ["src", "target"].contains(&&*name) || name.starts_with('.');
                if path.is_dir() && !is_left_out {
                    folders.push(path);
                } else if name.ends_with(".md") {
                    pages.push(Self::load(&path));
                }
            }
        }
        pages.sort_by(|one, other| one.path.cmp(&other.path));
        pages
    }

    fn load(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let path = path.strip_prefix(root()).unwrap();
        Self::parse(path.to_str().expect("names are UTF-8"), &text)
    }

    pub(super) fn parse(path: &str, text: &str) -> Self {
        let mut reading = Reading {
            text,
            page: Self {
                path: path.to_owned(),
                ..Self::default()
            },
            anchors: BTreeMap::new(),
            heading: None,
            paragraph: None,
            block: None,
        };
        let parser = Parser::new_ext(text, Options::ENABLE_TABLES);
        for (event, range) in parser.into_offset_iter() {
            reading.read(event, &range);
        }
        reading.page
    }

    /// Marks, and links and pictures that are written as HTML. `rest` is what follows on the page.
    fn read_html(&mut self, place: &str, html: &str, rest: &str) {
        for attribute in ["href=\"", "src=\"", "srcset=\""] {
            for value in html.split(attribute).skip(1) {
                let value = value.split('"').next().unwrap_or_default();
                self.links.push(Found {
                    place: place.to_owned(),
                    text: value.to_owned(),
                });
            }
        }
        for id in html.split(" id=\"").skip(1) {
            let id = id.split('"').next().unwrap_or_default();
            self.anchors.insert(id.to_owned());
        }
        let Some(comment) = html.trim().strip_prefix("<!--") else {
            return;
        };
        let comment = comment.trim_end_matches("-->").trim();
        let next_line = rest.trim_start_matches('\n').lines().next();
        let is_before_fence = next_line.is_some_and(|line| line.trim_start().starts_with("```"));
        if let Some(script) = comment.strip_prefix("run by ") {
            self.run_by = Some(script.to_owned());
        } else if Mark::parse(comment).is_none() {
            self.wrong
                .push(format!("{place}: what does the comment {comment:?} mean?"));
        } else if !is_before_fence {
            self.wrong.push(format!(
                "{place}: the mark belongs on the line before a fence"
            ));
        }
    }
}

/// A page of which a part is read, and what is open there.
struct Reading<'a> {
    text: &'a str,
    page: Page,
    /// How often each was there.
    anchors: BTreeMap<String, usize>,
    heading: Option<String>,
    paragraph: Option<String>,
    block: Option<Block>,
}

impl Reading<'_> {
    fn read(&mut self, event: Event<'_>, range: &Range<usize>) {
        let line = self.text[..range.start].matches('\n').count() + 1;
        let place = format!("{}:{line}", self.page.path);
        match event {
            Event::Start(tag) => self.begin(tag, place, range.start),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => self.words(&text),
            Event::SoftBreak | Event::HardBreak => self.words(" "),
            Event::Code(code) => {
                self.words(&code);
                let text = code.into_string();
                self.page.code.push(Found { place, text });
            }
            Event::Html(html) | Event::InlineHtml(html) => {
                let rest = &self.text[range.end..];
                self.page.read_html(&place, &html, rest);
            }
            _ => {}
        }
    }

    fn begin(&mut self, tag: Tag<'_>, place: String, at: usize) {
        match tag {
            Tag::Heading { .. } => self.heading = Some(String::new()),
            Tag::Paragraph if self.page.opening.is_empty() => self.paragraph = Some(String::new()),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                let text = dest_url.into_string();
                self.page.links.push(Found { place, text });
            }
            Tag::CodeBlock(kind) => {
                let language = match kind {
                    CodeBlockKind::Fenced(language) => language.into_string(),
                    CodeBlockKind::Indented => "indented text".to_owned(),
                };
                self.block = Some(Block {
                    place,
                    language,
                    text: String::new(),
                    mark: mark_before(self.text, at),
                });
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => {
                let anchor = anchor(&self.heading.take().unwrap_or_default());
                let count = self.anchors.entry(anchor.clone()).or_insert(0);
                self.page.anchors.insert(match *count {
                    0 => anchor,
                    count => format!("{anchor}-{count}"),
                });
                *count += 1;
            }
            TagEnd::Paragraph => {
                let paragraph = self.paragraph.take();
                self.page.opening.push_str(&paragraph.unwrap_or_default());
            }
            TagEnd::CodeBlock => self.page.blocks.extend(self.block.take()),
            _ => {}
        }
    }

    fn words(&mut self, text: &str) {
        if let Some(block) = &mut self.block {
            return block.text.push_str(text);
        }
        let open = [&mut self.heading, &mut self.paragraph];
        for open in open.into_iter().flatten() {
            open.push_str(text);
        }
    }
}

impl Mark {
    fn parse(comment: &str) -> Option<Self> {
        match comment.split_once(": ")? {
            ("file", name) => Some(Self::File(name.to_owned())),
            ("not run", reason) if !reason.is_empty() => Some(Self::NotRun),
            _ => None,
        }
    }
}

/// The mark on the line before the one on which something begins.
fn mark_before(text: &str, at: usize) -> Option<Mark> {
    let before = text[..at].trim_end_matches(' ').strip_suffix('\n')?;
    let line = before.rsplit('\n').next()?.trim();
    let comment = line.strip_prefix("<!--")?.strip_suffix("-->")?;
    Mark::parse(comment.trim())
}

/// What GitHub and mdBook make of a heading, for links to it.
fn anchor(heading: &str) -> String {
    let letters = heading.trim().chars().filter_map(|letter| match letter {
        ' ' => Some('-'),
        '-' | '_' => Some(letter),
        _ => Some(letter).filter(|letter| letter.is_alphanumeric()),
    });
    letters.flat_map(char::to_lowercase).collect()
}

/// The root of the tree.
pub(super) fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("the tests are in the tree")
        .to_owned()
}

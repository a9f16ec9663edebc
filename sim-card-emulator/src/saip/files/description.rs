//! What a package and the templates say of a file.

use rsp_common::der::Tlv;

use super::template::Template;
use super::{ALWAYS_READABLE, Body, File, FileSystem};

/// What a package says of one file.
#[derive(Default)]
pub(super) struct Description {
    refused: bool,
    identifier: Option<u16>,
    pub(super) aid: Option<Vec<u8>>,
    /// First octet of the file descriptor, and the length of a record.
    descriptor: Option<(u8, usize)>,
    short: Option<Option<u8>>,
    access: Option<Vec<u8>>,
    size: Option<usize>,
    filling: Filling,
    /// Octets that are skipped, then octets that are written.
    contents: Vec<(usize, Vec<u8>)>,
}

impl Description {
    pub(super) fn read(file: &Tlv<'_>) -> Option<Self> {
        let mut description = Self::default();
        let mut skipped = 0_usize;
        for choice in file.children()? {
            match choice.tag {
                0x80 => description.refused = true,
                0xA1 => description.fcp(&choice.children()?),
                0x82 => skipped = skipped.saturating_add(number(choice.value)?),
                0x83 => {
                    let octets = choice.value.to_vec();
                    description
                        .contents
                        .push((std::mem::take(&mut skipped), octets));
                }
                _ => {}
            }
        }
        Some(description)
    }

    fn fcp(&mut self, parts: &[Tlv<'_>]) {
        for part in parts {
            match (part.tag, part.value) {
                (0x82, [kind, _]) => self.descriptor = Some((*kind, 0)),
                (0x82, [kind, _, high, low]) => {
                    let length = u16::from_be_bytes([*high, *low]);
                    self.descriptor = Some((*kind, length.into()));
                }
                (0x83, [high, low]) => self.identifier = Some(u16::from_be_bytes([*high, *low])),
                (0x84, aid) if (5..=16).contains(&aid.len()) => self.aid = Some(aid.to_vec()),
                (0x8B, access) => self.access = Some(access.to_vec()),
                (0x80, size) => self.size = number(size),
                (0x88, []) => self.short = Some(None),
                (0x88, [short]) => self.short = Some(Some(short >> 3)),
                (0xA5, _) => self.filling = Filling::read(part),
                _ => {}
            }
        }
    }

    /// The content of a file of `size` octets, or as long as what is written when that is open.
    fn content(&self, size: Option<usize>, record: usize) -> Vec<u8> {
        let mut content = Vec::new();
        let mut position = 0_usize;
        for (skipped, octets) in &self.contents {
            position = position.saturating_add(*skipped);
            let end = position.saturating_add(octets.len());
            if end > LARGEST_FILE {
                break;
            }
            if content.len() < end {
                self.filling.extend(&mut content, end, record);
            }
            content[position..end].copy_from_slice(octets);
            position = end;
        }
        if let Some(size) = size.filter(|size| *size <= LARGEST_FILE) {
            self.filling.extend(&mut content, size, record);
            content.truncate(size);
        }
        content
    }
}

/// What a file holds where nothing was written.
enum Filling {
    /// The pattern once, then its last octet.
    Once(Vec<u8>),
    /// The pattern over and over.
    Repeated(Vec<u8>),
}

impl Default for Filling {
    fn default() -> Self {
        Self::Once(vec![0xFF])
    }
}

impl Filling {
    fn read(information: &Tlv<'_>) -> Self {
        let parts = information.children().unwrap_or_default();
        parts
            .iter()
            .find_map(|part| match part.tag {
                0xC1 if !part.value.is_empty() => Some(Self::Once(part.value.to_vec())),
                0xC2 if !part.value.is_empty() => Some(Self::Repeated(part.value.to_vec())),
                _ => None,
            })
            .unwrap_or_default()
    }

    /// Lengthens the content; the pattern restarts with each record.
    fn extend(&self, content: &mut Vec<u8>, end: usize, record: usize) {
        for position in content.len()..end {
            let position = if record == 0 {
                position
            } else {
                position % record
            };
            content.push(match self {
                Self::Once(pattern) => pattern[position.min(pattern.len() - 1)],
                Self::Repeated(pattern) => pattern[position % pattern.len()],
            });
        }
    }
}

/// The file that template and package make together, if they do.
pub(super) fn file(
    parent: usize,
    template: Option<&Template>,
    description: Option<&Description>,
) -> Option<File> {
    let silent = Description::default();
    let description = match description {
        Some(description) if description.refused => return None,
        Some(description) => description,
        // What the package does not speak of is there when the template has something for it.
        None => template
            .filter(|template| !template.content.is_empty())
            .map(|_| &silent)?,
    };
    let identifier = description
        .identifier
        .or_else(|| template.map(|template| template.identifier))?;
    let (kind, length) = description
        .descriptor
        .or_else(|| template.map(|template| (template.descriptor(), template.record)))?;
    let usual = template
        .map(|template| template.size)
        .filter(|size| *size > 0);
    let size = description.size.or(usual);
    let mut content = description.content(size, length);
    if description.contents.is_empty() {
        let default = template.map_or(&[][..], |template| template.content);
        let written = default.len().min(size.unwrap_or(default.len()));
        content.resize(content.len().max(written), 0xFF);
        content[..written].copy_from_slice(&default[..written]);
    }
    let body = match kind & 0x07 {
        1 => Body::Transparent(content),
        2 | 6 => records(kind & 0x07 == 6, length, content)?,
        _ => return None,
    };
    let short = description
        .short
        .or_else(|| template.map(|template| template.short))
        .flatten();
    let rules = match parent {
        FileSystem::MASTER => ALWAYS_READABLE.to_vec(),
        _ => DEFAULT_ACCESS.to_vec(),
    };
    Some(File {
        parent,
        identifier,
        short: short.filter(|short| (1..=30).contains(short)),
        access: description.access.clone().unwrap_or(rules),
        body,
    })
}

/// A whole number of records, at most as many as a terminal can count.
fn records(cyclic: bool, length: usize, mut content: Vec<u8>) -> Option<Body> {
    if !(1..=255).contains(&length) {
        return None;
    }
    let count = content.len().div_ceil(length).clamp(1, MOST_RECORDS);
    content.resize(count * length, 0xFF);
    Some(Body::Records {
        cyclic,
        length,
        content,
    })
}

/// A number of up to four octets.
fn number(octets: &[u8]) -> Option<usize> {
    let significant = &octets[octets.iter().take_while(|octet| **octet == 0).count()..];
    (significant.len() <= 4).then(|| {
        significant
            .iter()
            .fold(0, |number, octet| number << 8 | usize::from(*octet))
    })
}

/// Access rules that a file of an application has when the package names none.
const DEFAULT_ACCESS: [u8; 3] = [0x6F, 0x06, 0x01];
/// No offset of READ BINARY reaches beyond it.
const LARGEST_FILE: usize = 0x8000;
pub(super) const MOST_RECORDS: usize = 254;

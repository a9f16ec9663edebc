//! SELECT and STATUS, ETSI TS 102 221 sections 11.1.1 and 11.1.2.

use es10_apdu::apdu::{Command, StatusWord};
use rsp_common::der::tlv;

use super::control::{application_control, file_control};
use crate::euicc::Euicc;
use crate::saip::files::{APPLICATION, FileSystem};

/// What is selected on a logical channel.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::euicc) struct Location {
    /// The current directory.
    pub(super) directory: usize,
    /// The current elementary file.
    pub(super) file: Option<usize>,
    /// The current application.
    pub(super) application: Option<usize>,
    /// The record that was read last, from 1.
    pub(super) record: usize,
}

impl Location {
    fn of(files: &FileSystem, index: usize, application: Option<usize>) -> Self {
        let file = files.file(index);
        let parent = file.map_or(FileSystem::MASTER, |file| file.parent);
        let (directory, file) = match file.is_some_and(|file| file.is_directory()) {
            true => (index, None),
            false => (parent, Some(index)),
        };
        let identifier = files.file(directory).map(|directory| directory.identifier);
        let application = match identifier {
            Some(APPLICATION) => Some(directory),
            _ => application,
        };
        Self {
            directory,
            file,
            application,
            record: 0,
        }
    }
}

/// What SELECT asks for besides the file.
#[derive(Clone, Copy)]
struct Manner {
    occurrence: Occurrence,
    terminate: bool,
    silent: bool,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Occurrence {
    First,
    Last,
    Next,
    Previous,
}

impl Manner {
    fn of(p2: u8) -> Result<Self, StatusWord> {
        let terminate = match p2 & 0xF0 {
            0x00 => false,
            0x40 => true,
            _ => return Err(StatusWord::INCORRECT_P1_P2),
        };
        let silent = match p2 & 0x0C {
            // The template of file control parameters, by TS 102 221 or by ISO/IEC 7816-4.
            0x04 | 0x00 => false,
            0x0C => true,
            _ => return Err(StatusWord::INCORRECT_P1_P2),
        };
        let occurrence = match p2 & 0x03 {
            0 => Occurrence::First,
            1 => Occurrence::Last,
            2 => Occurrence::Next,
            _ => Occurrence::Previous,
        };
        Ok(Self {
            occurrence,
            terminate,
            silent,
        })
    }
}

impl Euicc {
    pub(in crate::euicc) fn select(
        &mut self,
        number: u8,
        command: &Command,
    ) -> Result<Vec<u8>, StatusWord> {
        let manner = Manner::of(command.p2)?;
        let by_name = command.p1 == BY_NAME;
        if !by_name && (manner.terminate || manner.occurrence != Occurrence::First) {
            return Err(StatusWord::INCORRECT_P1_P2);
        }
        self.abandon_loading(number);
        if by_name && self.settings.isdr_aids.contains(&command.data) {
            return self.select_isdr(number, &command.data, manner.silent);
        }
        let files = self.files();
        let channel = self.channel(number)?;
        let at = channel.location;
        let found = match command.p1 {
            BY_NAME => named(&files, &command.data, at.application, manner.occurrence),
            0x00 => reachable(&files, at, identifier(&command.data)?),
            0x01 => files
                .child(at.directory, identifier(&command.data)?)
                .filter(|index| files.file(*index).is_some_and(|file| file.is_directory())),
            0x03 if command.data.is_empty() => {
                files.file(at.directory).map(|directory| directory.parent)
            }
            0x08 => walk(&files, at, FileSystem::MASTER, &command.data)?,
            0x09 => walk(&files, at, at.directory, &command.data)?,
            _ => return Err(StatusWord::INCORRECT_P1_P2),
        };
        let found = found.ok_or(StatusWord::NOT_FOUND)?;
        channel.isdr = None;
        if manner.terminate {
            channel.location = Location::default();
            return Ok(Vec::new());
        }
        channel.location = Location::of(&files, found, at.application);
        if manner.silent {
            return Ok(Vec::new());
        }
        Ok(file_control(&files, found))
    }

    /// What the current directory is, or the name of the current application.
    pub(in crate::euicc) fn status(
        &mut self,
        number: u8,
        command: &Command,
    ) -> Result<Vec<u8>, StatusWord> {
        if command.p1 > 0x02 || !command.data.is_empty() {
            return Err(StatusWord::INCORRECT_P1_P2);
        }
        let files = self.files();
        let svn = self.settings.svn;
        let channel = self.channel(number)?;
        let location = channel.location;
        let isdr = channel.isdr.clone();
        match (command.p2, isdr) {
            (0x0C, _) => Ok(Vec::new()),
            (0x00, Some(aid)) => Ok(application_control(&aid, svn)),
            (0x00, None) => Ok(file_control(&files, location.directory)),
            (0x01, Some(aid)) => Ok(tlv(0x84, &aid)),
            (0x01, None) => {
                let mut applications = files.applications();
                let current = applications.find(|(index, _)| Some(*index) == location.application);
                let (_, aid) = current.ok_or(StatusWord::REFERENCED_DATA_NOT_FOUND)?;
                Ok(tlv(0x84, aid))
            }
            _ => Err(StatusWord::INCORRECT_P1_P2),
        }
    }
}

/// The application whose AID begins like this, in relation to the one that is selected.
fn named(
    files: &FileSystem,
    name: &[u8],
    current: Option<usize>,
    occurrence: Occurrence,
) -> Option<usize> {
    if name.is_empty() {
        return None;
    }
    let mut matching = files
        .applications()
        .filter(|(_, aid)| aid.starts_with(name))
        .map(|(index, _)| index);
    match (occurrence, current) {
        (Occurrence::First, _) | (Occurrence::Next, None) => matching.next(),
        (Occurrence::Last, _) | (Occurrence::Previous, None) => matching.last(),
        (Occurrence::Next, Some(current)) => matching.find(|index| *index > current),
        (Occurrence::Previous, Some(current)) => {
            matching.take_while(|index| *index < current).last()
        }
    }
}

/// A file by its identifier: the current directory, one of its files, its parent or a directory
/// beside it, the current application, the master file (section 8.4.1).
fn reachable(files: &FileSystem, at: Location, identifier: u16) -> Option<usize> {
    let is_directory = |index: &usize| files.file(*index).is_some_and(|file| file.is_directory());
    let directory = files.file(at.directory)?;
    match identifier {
        MASTER_FILE => Some(FileSystem::MASTER),
        APPLICATION => at.application,
        _ if directory.identifier == identifier => Some(at.directory),
        _ => files.child(at.directory, identifier).or_else(|| {
            files
                .child(directory.parent, identifier)
                .filter(is_directory)
        }),
    }
}

/// A file by the identifiers of the way to it.
fn walk(
    files: &FileSystem,
    at: Location,
    from: usize,
    path: &[u8],
) -> Result<Option<usize>, StatusWord> {
    if path.is_empty() || !path.len().is_multiple_of(2) {
        return Err(WRONG_LC);
    }
    let mut reached = Some(from);
    for (step, octets) in path.chunks(2).enumerate() {
        reached = match (identifier(octets)?, reached) {
            // The way may begin with the master file itself, or with the current application.
            (MASTER_FILE, _) if step == 0 && from == FileSystem::MASTER => reached,
            (APPLICATION, _) if step == 0 => at.application,
            (identifier, Some(directory)) => files.child(directory, identifier),
            (_, None) => None,
        };
    }
    Ok(reached)
}

fn identifier(data: &[u8]) -> Result<u16, StatusWord> {
    match data {
        [high, low] => Ok(u16::from_be_bytes([*high, *low])),
        _ => Err(WRONG_LC),
    }
}

const BY_NAME: u8 = 0x04;
const MASTER_FILE: u16 = 0x3F00;
/// Lc does not fit P1 and P2.
const WRONG_LC: StatusWord = StatusWord(0x6A87);

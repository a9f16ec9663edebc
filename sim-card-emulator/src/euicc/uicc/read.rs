//! READ BINARY, UPDATE BINARY and READ RECORD, ETSI TS 102 221 sections 11.1.3 to 11.1.5.

use std::sync::Arc;

use es10_apdu::apdu::{Command, StatusWord};

use super::select::Location;
use crate::euicc::{Euicc, ForbiddenNetworks};
use crate::saip::files::{Body, EF_FPLMN, File, FileSystem};

impl Euicc {
    pub(in crate::euicc) fn read_binary(
        &mut self,
        number: u8,
        command: &Command,
    ) -> Result<(Vec<u8>, StatusWord), StatusWord> {
        if !command.data.is_empty() {
            return Err(StatusWord::WRONG_LENGTH);
        }
        let (short, offset) = position(command)?;
        let (files, index) = self.current_file(number, short)?;
        let file = files.file(index).ok_or(NO_FILE_SELECTED)?;
        let Body::Transparent(content) = &file.body else {
            return Err(WRONG_STRUCTURE);
        };
        self.check_read(&files, file)?;
        let rest = content
            .get(offset..)
            .filter(|rest| !rest.is_empty() || offset == 0)
            .ok_or(StatusWord::WRONG_P1_P2)?;
        let wanted = match command.le {
            Some(0) => rest.len().min(256),
            Some(le) => le.into(),
            None => return Err(StatusWord::WRONG_LENGTH),
        };
        match rest.get(..wanted) {
            Some(part) => Ok((part.to_vec(), StatusWord::OK)),
            None if self.settings.le_exact => Err(exact(rest.len())),
            None => Ok((rest.to_vec(), END_OF_FILE)),
        }
    }

    /// Only EF.FPLMN can be written: it is the one a terminal has something to do with.
    pub(in crate::euicc) fn update_binary(
        &mut self,
        number: u8,
        command: &Command,
    ) -> Result<Vec<u8>, StatusWord> {
        let (short, offset) = position(command)?;
        let (files, index) = self.current_file(number, short)?;
        let file = files.file(index).ok_or(NO_FILE_SELECTED)?;
        let Body::Transparent(content) = &file.body else {
            return Err(WRONG_STRUCTURE);
        };
        self.check_read(&files, file)?;
        let iccid = self.enabled_iccid();
        let iccid = iccid.filter(|_| file.identifier == EF_FPLMN);
        let iccid = iccid.ok_or(StatusWord::SECURITY_STATUS)?;
        let mut content = content.clone();
        let place = content.get_mut(offset..offset + command.data.len());
        let place = place.filter(|place| !place.is_empty());
        place
            .ok_or(StatusWord::WRONG_LENGTH)?
            .copy_from_slice(&command.data);
        let installed = self.memory.profiles.iter();
        let installed: Vec<_> = installed.map(|profile| profile.iccid).collect();
        let updated = &mut self.flash().forbidden_networks;
        updated.retain(|file| file.iccid != iccid && installed.contains(&file.iccid));
        updated.push(ForbiddenNetworks { iccid, content });
        self.files = None;
        Ok(Vec::new())
    }

    pub(in crate::euicc) fn read_record(
        &mut self,
        number: u8,
        command: &Command,
    ) -> Result<Vec<u8>, StatusWord> {
        let short = Some(command.p2 >> 3).filter(|short| *short != 0);
        let (files, index) = self.current_file(number, short)?;
        let file = files.file(index).ok_or(NO_FILE_SELECTED)?;
        let Body::Records {
            cyclic,
            length,
            content,
        } = &file.body
        else {
            return Err(WRONG_STRUCTURE);
        };
        self.check_read(&files, file)?;
        let count = content.len() / length;
        let channel = self.channel(number)?;
        let current = channel.location.record;
        let wanted = match (command.p2 & 0x07, command.p1) {
            // The current record, which there may be none of.
            (0x04, 0) if current == 0 => return Err(RECORD_NOT_FOUND),
            (0x04, 0) => current,
            (0x04, record) => record.into(),
            (0x02, 0) if *cyclic && current == count => 1,
            (0x02, 0) => current + 1,
            (0x03, 0) if *cyclic && current <= 1 => count,
            (0x03, 0) if current == 0 => count,
            (0x03, 0) => current - 1,
            _ => return Err(StatusWord::INCORRECT_P1_P2),
        };
        let record = content
            .chunks_exact(*length)
            .nth(wanted.wrapping_sub(1))
            .ok_or(RECORD_NOT_FOUND)?;
        match command.le {
            Some(0) => {}
            Some(le) if usize::from(le) == *length => {}
            Some(_) => return Err(exact(*length)),
            None => return Err(StatusWord::WRONG_LENGTH),
        }
        // An absolute record is read without moving on.
        if command.p2 & 0x07 != 0x04 {
            channel.location.record = wanted;
        }
        Ok(record.to_vec())
    }

    /// The current elementary file, or the one with the short identifier, which becomes current.
    fn current_file(
        &mut self,
        number: u8,
        short: Option<u8>,
    ) -> Result<(Arc<FileSystem>, usize), StatusWord> {
        let files = self.files();
        let channel = self.channel(number)?;
        if channel.isdr.is_some() {
            return Err(NO_FILE_SELECTED);
        }
        if let Some(short) = short {
            let directory = channel.location.directory;
            let index = files.short(directory, short).ok_or(StatusWord::NOT_FOUND)?;
            if channel.location.file != Some(index) {
                channel.location = Location {
                    file: Some(index),
                    record: 0,
                    ..channel.location
                };
            }
        }
        let index = channel.location.file.ok_or(NO_FILE_SELECTED)?;
        Ok((files, index))
    }

    /// While the PIN is asked for and was not given, only some files can be read.
    fn check_read(&self, files: &FileSystem, file: &File) -> Result<(), StatusWord> {
        let locked =
            files.pin(PIN).is_some_and(|pin| pin.enabled) && !self.verified_pins.contains(&PIN);
        let in_application = file.parent != FileSystem::MASTER;
        match locked && in_application && !ALWAYS_READABLE.contains(&file.identifier) {
            true => Err(StatusWord::SECURITY_STATUS),
            false => Ok(()),
        }
    }
}

/// The short identifier and the offset of READ BINARY and UPDATE BINARY.
fn position(command: &Command) -> Result<(Option<u8>, usize), StatusWord> {
    match command.p1 {
        p1 if p1 & 0x80 == 0 => Ok((None, u16::from_be_bytes([p1, command.p2]).into())),
        p1 if p1 & 0x60 == 0 => Ok((Some(p1 & 0x1F), command.p2.into())),
        _ => Err(StatusWord::INCORRECT_P1_P2),
    }
}

/// The right length, when it was asked for another one.
fn exact(length: usize) -> StatusWord {
    match u8::try_from(length) {
        Ok(length) => StatusWord(0x6C00 | u16::from(length)),
        Err(_) => StatusWord(0x6C00),
    }
}

/// Key reference of the PIN of the first application.
const PIN: u8 = 0x01;
/// Files of a USIM or ISIM that 3GPP TS 31.102 lets be read without a code: access rules, emergency
/// numbers, administrative data, the name of the provider.
const ALWAYS_READABLE: [u16; 4] = [0x6F06, 0x6FB7, 0x6FAD, 0x6F46];
/// No elementary file is selected.
const NO_FILE_SELECTED: StatusWord = StatusWord(0x6986);
/// The command does not fit the structure of the file.
const WRONG_STRUCTURE: StatusWord = StatusWord(0x6981);
const RECORD_NOT_FOUND: StatusWord = StatusWord(0x6A83);
/// The file ended before Le octets.
const END_OF_FILE: StatusWord = StatusWord(0x6282);

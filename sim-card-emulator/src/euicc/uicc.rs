//! The card below the ISD-R: files of the profile in use, codes, the terminal's side of toolkit.
//!
//! ETSI TS 102 221 and TS 102 223, as far as a modem needs them to take a profile into use.

use std::sync::Arc;

use super::Euicc;
use crate::saip::files::{EF_FPLMN, FileSystem};

mod atr;
mod channel;
mod control;
mod pin;
mod proactive;
mod read;
mod select;
mod terminal;

pub(super) use proactive::Refresh;
pub(super) use select::Location;
pub(super) use terminal::Terminal;

impl Euicc {
    /// The files of the profile in use. They are read out of its package when they are first
    /// asked for.
    fn files(&mut self) -> Arc<FileSystem> {
        if let Some(files) = &self.files {
            return Arc::clone(files);
        }
        let profile = self.memory.profiles.iter().find(|profile| profile.enabled);
        let files = match profile {
            Some(profile) => {
                let mut files = FileSystem::of_package(&profile.package, &profile.iccid);
                let updated = self.memory.forbidden_networks.iter();
                for file in updated.filter(|file| file.iccid == profile.iccid) {
                    files.rewrite(EF_FPLMN, &file.content);
                }
                files
            }
            None => {
                let isdr = self.settings.isdr_aids.iter();
                let isdr = isdr.filter(|_| self.settings.isdr_in_directory);
                let isdr: Vec<_> = isdr.map(|aid| (&aid[..], "ISD-R")).collect();
                FileSystem::without_profile(&isdr)
            }
        };
        let files = Arc::new(files);
        self.files = Some(Arc::clone(&files));
        files
    }

    /// Another profile is in use: the files of before are gone, and a channel that had one selected
    /// has the master file selected now.
    pub(super) fn forget_files(&mut self) {
        self.files = None;
        self.verified_pins.clear();
        for channel in self.channels.values_mut() {
            channel.location = Location::default();
        }
    }
}

//! Which logical channel is open behind a port.

use std::fs;
use std::io;
use std::path::PathBuf;

use es10_apdu::channel::{ChannelRecord, Place, RecordedChannel};

use super::SharedJournal;
use super::intent::{Intent, KnownChannel, KnownPort, Phase};
use super::record::Record;
use crate::config::EuiccConfig;
use crate::memory::digest::Digest;
use crate::memory::link::FoundLink;

/// The logical channel behind a port, as the journal remembers it. Of another start of the system
/// nothing is remembered: the card had no power in between, or another one is in the slot.
#[derive(Debug)]
pub(crate) struct OpenChannel {
    journal: SharedJournal,
    euicc: String,
    port: PathBuf,
    boot: String,
}

impl OpenChannel {
    /// That of a configured eUICC.
    pub(crate) fn of(config: &EuiccConfig, journal: SharedJournal) -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
        Self {
            journal,
            euicc: config.name.clone(),
            port: config.port.clone(),
            boot: boot.unwrap_or_default().trim().to_owned(),
        }
    }

    /// A channel is about to be opened.
    pub(crate) fn opening(&self) {
        let (port, boot) = (self.port.clone(), self.boot.clone());
        self.note(Record::ChannelOpening { port, boot });
    }

    /// The one that was about to be opened was not.
    pub(crate) fn was_not_opened(&self) {
        if self
            .known()
            .is_some_and(|known| known.phase == Phase::Opening)
        {
            self.forget();
        }
    }

    /// No channel is open.
    pub(crate) fn forget(&self) {
        if self.may_be_open() {
            let port = self.port.clone();
            self.note(Record::ChannelClosed { port });
        }
    }

    /// Whether one may be open.
    pub(crate) fn may_be_open(&self) -> bool {
        self.known()
            .is_some_and(|known| known.phase != Phase::Closed)
    }

    /// How APDUs reached the card last, when that began from the same.
    pub(crate) fn link(&self, start: Digest) -> Option<FoundLink> {
        self.port().link.filter(|link| link.start == start)
    }

    /// Remembers how APDUs reach the card.
    pub(crate) fn found(&self, link: FoundLink) {
        if self.link(link.start).as_ref() != Some(&link) {
            let port = self.port.clone();
            self.note(Record::LinkFound { port, link });
        }
    }

    /// The line that ends a reset of the modem which was begun and not seen to end. It is true of any
    /// start of the system: a modem may keep its power.
    pub(crate) fn unfinished_reset(&self) -> Option<String> {
        self.port().last_line
    }

    /// A reset of the modem begins, which this line ends; nothing is begun when that cannot be kept.
    pub(crate) fn resetting(&self, last_line: &str) -> io::Result<()> {
        self.journal.append(self.reset_by(last_line))
    }

    /// As [`Self::resetting`], of one that is begun whether or not that can be kept.
    pub(crate) fn resetting_anyway(&self, last_line: &str) {
        self.note(self.reset_by(last_line));
    }

    fn reset_by(&self, last_line: &str) -> Record {
        let (port, last_line) = (self.port.clone(), last_line.to_owned());
        Record::ModemResetting { port, last_line }
    }

    /// The reset of the modem has ended.
    pub(crate) fn was_reset(&self) {
        if self.unfinished_reset().is_some() {
            let port = self.port.clone();
            self.note(Record::ModemReset { port });
        }
    }

    /// Whether one was about to be opened whose place was never seen.
    pub(crate) fn may_be_unnamed(&self) -> bool {
        self.known()
            .is_some_and(|known| known.phase == Phase::Opening && known.place.is_none())
    }

    fn may_be_loading(&self) -> bool {
        self.journal
            .look(|intent| intent.may_be_loading(&self.euicc))
    }

    fn known(&self) -> Option<KnownChannel> {
        let known = self.port().channel;
        known.filter(|known| known.boot == self.boot)
    }

    fn port(&self) -> KnownPort {
        let known = |intent: &Intent| intent.ports.get(&self.port).cloned();
        self.journal.look(known).unwrap_or_default()
    }

    fn note(&self, record: Record) {
        // The worst that follows is a channel that is found occupied after a crash.
        self.journal.note(record);
    }
}

impl ChannelRecord for OpenChannel {
    /// Of one whose number was never seen, the number of the one before is taken: closing a channel
    /// that is not open does no harm, and those of others have other numbers.
    fn open_channels(&self) -> Vec<RecordedChannel> {
        let open = self.known().filter(|known| known.phase != Phase::Closed);
        let recorded = open.and_then(|known| {
            Some(RecordedChannel {
                place: known.place?,
                // In the middle of a package the ISD-R answers nothing else.
                selected: known.phase == Phase::Selected && !self.may_be_loading(),
            })
        });
        recorded.into_iter().collect()
    }

    fn opened(&self, place: &Place) {
        let (port, boot) = (self.port.clone(), self.boot.clone());
        self.note(Record::channel_opened(port, place, boot));
    }

    fn selected(&self, _: &Place) {
        let port = self.port.clone();
        self.note(Record::ChannelSelected { port });
    }

    fn closed(&self, _: &Place) {
        self.forget();
    }
}

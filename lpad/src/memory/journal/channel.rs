//! Which logical channel is open behind a port.

use std::fs;
use std::path::PathBuf;

use es10_apdu::apdu::Channel;
use es10_apdu::channel::{ChannelRecord, RecordedChannel};

use super::SharedJournal;
use super::intent::{Intent, KnownChannel, Phase};
use super::record::Record;
use crate::config::EuiccConfig;

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

    fn may_be_loading(&self) -> bool {
        self.journal
            .look(|intent| intent.may_be_loading(&self.euicc))
    }

    fn known(&self) -> Option<KnownChannel> {
        let known = |intent: &Intent| intent.channels.get(&self.port).cloned();
        self.journal
            .look(known)
            .filter(|known| known.boot == self.boot)
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
                channel: Channel::new(known.number?)?,
                // In the middle of a package the ISD-R answers nothing else.
                selected: known.phase == Phase::Selected && !self.may_be_loading(),
            })
        });
        recorded.into_iter().collect()
    }

    fn opened(&self, channel: Channel) {
        let (port, boot) = (self.port.clone(), self.boot.clone());
        let channel = channel.number();
        self.note(Record::ChannelOpened {
            port,
            channel,
            boot,
        });
    }

    fn selected(&self, _: Channel) {
        let port = self.port.clone();
        self.note(Record::ChannelSelected { port });
    }

    fn closed(&self, _: Channel) {
        self.forget();
    }
}

//! What the records of the journal amount to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use es10_apdu::apdu::Channel;
use es10_apdu::channel::Place;
use es10_apdu::transport::Session;
use es10_apdu::types::Eid;

use super::FORMAT;
use super::record::{
    AskedOperation, Attempt, EndDetails, Ending, InService, KeptWatch, OpenSwitch, Record,
    RequestKey, StartedOperation, WaitingNotifications,
};
use crate::config::History;
use crate::job::{Kind, OperationId};
use crate::memory::digest::Digest;
use crate::memory::link::FoundLink;

/// What the journal amounts to: everything still open, and what is worth remembering.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Intent {
    /// How often the daemon was started.
    pub starts: u64,
    /// What is known of what is behind a port.
    pub ports: BTreeMap<PathBuf, KnownPort>,
    /// Operations that were asked for and have not ended, those under way among them.
    pub asked: BTreeMap<OperationId, AskedOperation>,
    /// Operations that were under way when the daemon ended.
    pub operations: BTreeMap<OperationId, StartedOperation>,
    /// Changes of the profile in use that have not ended, by the card.
    pub switches: BTreeMap<Eid, OpenSwitch>,
    /// The profile that was in service last, by the card; the latest one last.
    pub last_good: Vec<InService>,
    /// What lpad has done by itself about the service of a card; the latest one last.
    pub watches: Vec<KeptWatch>,
    /// Since when notifications have waited that did not get through, by card and number.
    pub waiting: BTreeMap<Eid, BTreeMap<i64, u64>>,
    /// How much of what has ended is kept.
    pub history: History,
    /// The latest operations that ended, and how.
    pub ended: BTreeMap<OperationId, EndedOperation>,
    /// Attempts at orders that no client asked for, the latest one last.
    pub attempts: Vec<Attempt>,
    /// TCP ports other than 443 that servers were reached on.
    pub host_ports: HostPorts,
    /// The highest operation number given out.
    pub last_operation: OperationId,
}

/// An operation that ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EndedOperation {
    /// What was asked for.
    pub asked: AskedOperation,
    /// How it ended.
    pub ending: Ending,
    /// What else is known of its end.
    pub details: EndDetails,
}

/// What is behind a port.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct KnownPort {
    /// The logical channel, since the first one was opened.
    pub channel: Option<KnownChannel>,
    /// How APDUs reach the card through the modem, once that was found out.
    pub link: Option<FoundLink>,
    /// The line that ends a reset of the modem which was begun.
    pub last_line: Option<String>,
}

/// The logical channel behind a port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KnownChannel {
    /// Its place, or that of the last one: a card gives the lowest free number, so that the next
    /// one is most likely the same. `None` before the first one.
    pub place: Option<Place>,
    /// Whether it is open.
    pub phase: Phase,
    /// The start of the system in which that was so.
    pub boot: String,
}

/// Whether a logical channel is open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// It was to be opened, and the card's answer was not seen.
    Opening,
    /// It is, and the ISD-R was not selected on it yet.
    Open,
    /// It is, and the ISD-R is selected on it.
    Selected,
    /// It is not.
    Closed,
}

/// TCP ports by host name, the one used last at the end.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HostPorts(Vec<(String, u16)>);

impl HostPorts {
    /// The port a host was reached on last.
    pub fn get(&self, host: &str) -> Option<&u16> {
        let known = self.0.iter().find(|(known, _)| known == host);
        known.map(|(_, port)| port)
    }

    /// A host is used: of too many the one goes that was not used for the longest time.
    fn uses(&mut self, host: String, port: u16) {
        self.0.retain(|(known, _)| *known != host);
        self.0.push((host, port));
        let beyond = self.0.len().saturating_sub(HOST_PORTS_KEPT);
        self.0.drain(..beyond);
    }
}

impl EndedOperation {
    /// When it ended, in seconds since 1970. Of one in an older journal only this is known: it was not
    /// before it was asked for.
    pub fn at_s(&self) -> u64 {
        self.details.at_s.unwrap_or(self.asked.at_s)
    }
}

impl Intent {
    /// The operation that a key was used for, and whether the request was the same.
    pub fn used_for(&self, request: &RequestKey) -> Option<(OperationId, bool)> {
        let ended = self.ended.values().map(|ended| &ended.asked);
        self.asked.values().chain(ended).find_map(|asked| {
            let mut earlier = asked.request.iter().chain(&asked.told);
            let earlier = earlier.find(|earlier| earlier.is_key_of(request))?;
            Some((asked.operation, earlier.digest == request.digest))
        })
    }

    /// Whether anything is known of an operation.
    pub fn knows(&self, operation: OperationId) -> bool {
        self.ended.contains_key(&operation)
            || self.asked.contains_key(&operation)
            || self.operations.contains_key(&operation)
    }

    /// The operations that are open on a card: those begun for its EID, and those of an older
    /// journal that has only the eUICC's name in the configuration.
    pub fn open_on(&self, euicc: &str, eid: Option<Eid>) -> Vec<StartedOperation> {
        let is_its = |started: &&StartedOperation| match started.eid {
            Some(own) => eid == Some(own),
            None => started.euicc == euicc,
        };
        self.operations.values().filter(is_its).cloned().collect()
    }

    /// An operation on a card that changes the profile in use and has not ended.
    pub fn switching_on(&self, euicc: &str, eid: Option<Eid>) -> Option<OperationId> {
        let changes = |started: &StartedOperation| match started.kind {
            Kind::Enable | Kind::Disable => true,
            Kind::Download => started.enable,
            _ => false,
        };
        let mut open = self.open_on(euicc, eid).into_iter();
        open.find(changes).map(|started| started.operation)
    }

    /// The operations that were begun behind the same port on another card: only that one can tell
    /// how they ended.
    pub fn left_on_another_card(&self, euicc: &str, eid: Option<Eid>) -> Vec<StartedOperation> {
        let is_of_another = |started: &&StartedOperation| {
            started.euicc == euicc && started.eid.is_some_and(|own| eid != Some(own))
        };
        self.operations
            .values()
            .filter(is_of_another)
            .cloned()
            .collect()
    }

    /// Whether the card behind a port may be in the middle of a profile package.
    pub fn may_be_loading(&self, euicc: &str) -> bool {
        let mut operations = self.operations.values();
        operations.any(|started| started.euicc == euicc && started.transaction_id.is_some())
    }

    /// The operations that were asked for and never begun.
    pub fn never_begun(&self) -> Vec<AskedOperation> {
        let asked = self.asked.values();
        asked
            .filter(|asked| !self.operations.contains_key(&asked.operation))
            .cloned()
            .collect()
    }

    /// The change of the profile in use that is part of an operation.
    pub fn switch_of(&self, operation: OperationId) -> Option<OpenSwitch> {
        let mut switches = self.switches.values();
        switches
            .find(|switch| switch.operation == operation)
            .cloned()
    }

    /// The profile of a card that was in service last.
    pub fn last_good(&self, eid: Eid) -> Option<InService> {
        let mut known = self.last_good.iter();
        known.find(|known| known.eid == eid).cloned()
    }

    /// What lpad has done by itself about the service of a card.
    pub fn watch_of(&self, eid: Eid) -> Option<KeptWatch> {
        let mut known = self.watches.iter();
        known.find(|known| known.eid == eid).cloned()
    }

    /// The attempts at an order for a card.
    pub fn attempts_at(&self, eid: Eid, order: Digest) -> Option<Attempt> {
        let mut attempts = self.attempts.iter();
        attempts
            .find(|attempt| attempt.eid == eid && attempt.order == order)
            .cloned()
    }

    pub(super) fn apply(&mut self, record: Record) {
        match record {
            Record::DaemonStarted { number, .. } => self.starts = self.starts.max(number),
            Record::ChannelOpened {
                port,
                channel,
                session,
                boot,
            } => {
                let place = match session {
                    Some(name) => Session::new(&name).map(Place::Session),
                    None => Channel::new(channel).map(Place::Channel),
                };
                let phase = Phase::Open;
                self.port(port).channel = Some(KnownChannel { place, phase, boot });
            }
            Record::ChannelOpening { port, boot } => {
                let channel = &mut self.port(port).channel;
                let earlier = channel.take().filter(|earlier| earlier.boot == boot);
                let place = earlier.and_then(|earlier| earlier.place);
                let phase = Phase::Opening;
                *channel = Some(KnownChannel { place, phase, boot });
            }
            Record::ChannelSelected { port } => self.channel_is(&port, Phase::Selected),
            Record::ChannelClosed { port } => self.channel_is(&port, Phase::Closed),
            Record::LinkFound { port, link } => self.port(port).link = Some(link),
            Record::ModemResetting { port, last_line } => {
                self.port(port).last_line = Some(last_line);
            }
            Record::ModemReset { port } => {
                if let Some(known) = self.ports.get_mut(&port) {
                    known.last_line = None;
                }
            }
            Record::OperationAsked(asked) => {
                self.last_operation = self.last_operation.max(asked.operation);
                self.asked.insert(asked.operation, asked);
                keep_latest(&mut self.asked, OPEN_KEPT);
            }
            Record::OperationTold { operation, request } => {
                let ended = self.ended.get_mut(&operation);
                let ended = ended.map(|ended| &mut ended.asked);
                if let Some(asked) = self.asked.get_mut(&operation).or(ended) {
                    asked.hears(request);
                }
            }
            Record::OperationStarted(started) => {
                self.last_operation = self.last_operation.max(started.operation);
                self.operations.insert(started.operation, started);
                keep_latest(&mut self.operations, OPEN_KEPT);
            }
            Record::LoadingBpp {
                operation,
                transaction_id,
                iccid,
            } => {
                if let Some(started) = self.operations.get_mut(&operation) {
                    started.transaction_id = Some(transaction_id);
                    started.iccid = Some(iccid);
                }
            }
            Record::Switch(switch) => {
                self.switches.insert(switch.eid, *switch);
                while self.switches.len() > CARDS_KEPT {
                    self.switches.pop_first();
                }
            }
            Record::InService(profile) => {
                self.last_good.retain(|known| known.eid != profile.eid);
                self.last_good.push(profile);
                let beyond = self.last_good.len().saturating_sub(CARDS_KEPT);
                self.last_good.drain(..beyond);
            }
            Record::Watch(watch) => {
                self.watches.retain(|known| known.eid != watch.eid);
                self.watches.push(watch);
                let beyond = self.watches.len().saturating_sub(CARDS_KEPT);
                self.watches.drain(..beyond);
            }
            Record::Waiting(WaitingNotifications { eid, since }) => {
                match since.is_empty() {
                    true => self.waiting.remove(&eid),
                    false => self.waiting.insert(eid, since),
                };
                while self.waiting.len() > CARDS_KEPT {
                    self.waiting.pop_first();
                }
            }
            Record::OperationFinished {
                operation,
                ending,
                details,
            } => self.finish(operation, ending, details),
            Record::Attempt(attempt) => {
                let attempt = attempt.of_any_version();
                self.attempts
                    .retain(|other| (other.eid, other.order) != (attempt.eid, attempt.order));
                self.attempts.push(attempt);
                let beyond = self.attempts.len().saturating_sub(ATTEMPTS_KEPT);
                self.attempts.drain(..beyond);
            }
            Record::AttemptsOver { eid } => self.attempts.retain(|attempt| attempt.eid != eid),
            Record::HostPort { host, port } => self.host_ports.uses(host, port),
            Record::LastOperation { operation } => {
                self.last_operation = self.last_operation.max(operation);
            }
        }
    }

    fn port(&mut self, port: PathBuf) -> &mut KnownPort {
        self.ports.entry(port).or_default()
    }

    fn channel_is(&mut self, port: &Path, phase: Phase) {
        let known = self.ports.get_mut(port);
        if let Some(channel) = known.and_then(|known| known.channel.as_mut()) {
            channel.phase = phase;
        }
    }

    fn finish(&mut self, operation: OperationId, ending: Option<Ending>, details: EndDetails) {
        self.switches
            .retain(|_, switch| switch.operation != operation);
        let started = self.operations.remove(&operation);
        let asked = self.asked.remove(&operation);
        let asked = asked.or_else(|| started.as_ref().map(AskedOperation::from));
        // What a later order was carried out against is not gone on with.
        if let Some(asked) = &asked
            && ending == Some(Ending::Succeeded)
            && matches!(asked.kind, Kind::Enable | Kind::Disable)
        {
            self.switches.retain(|eid, _| asked.eid != Some(*eid));
        }
        if let (Some(asked), Some(ending)) = (asked, ending) {
            let ended = EndedOperation {
                asked,
                ending,
                details,
            };
            let now_s = ended.at_s();
            self.ended.insert(operation, ended);
            self.forget(Some(operation), now_s);
        }
    }

    /// Keeps so much of what has ended; tells whether there was more.
    pub(super) fn keep(&mut self, history: History, now_s: u64) -> bool {
        let before = self.ended.len();
        self.history = history;
        self.forget(None, now_s);
        self.ended.len() < before
    }

    /// Forgets what ended too long ago, and of too many operations those that ended first, but never the
    /// one that ended just now. What lpad tries by itself has a quarter of the place: it may fail for
    /// weeks, and what clients have asked for is to be told all the same.
    pub(super) fn forget(&mut self, newest: Option<OperationId>, now_s: u64) {
        let oldest_s = now_s.saturating_sub(self.history.days.saturating_mul(DAY_S));
        // What ended before the clock was set has no age.
        let has_gone = |at_s: u64| (CLOCK_WAS_SET_S..oldest_s).contains(&at_s);
        loop {
            let is_full = self.ended.len() > self.history.operations;
            let own = self.ended.values().filter(|ended| ended.asked.by_itself);
            let own_go_first = own.count() > self.history.operations / 4;
            let others = self.ended.iter().filter(|(id, _)| Some(**id) != newest);
            let surplus = others.filter(|(_, ended)| is_full || has_gone(ended.at_s()));
            let first = surplus.min_by_key(|(id, ended)| {
                let goes_first = own_go_first && ended.asked.by_itself;
                (!goes_first, ended.at_s(), **id)
            });
            let Some(id) = first.map(|(id, _)| *id) else {
                break;
            };
            self.ended.remove(&id);
        }
    }

    /// A server was reached where it was reached before: it counts as used without a record.
    pub(super) fn uses(&mut self, host: &str) {
        if let Some(port) = self.host_ports.get(host).copied() {
            self.host_ports.uses(host.to_owned(), port);
        }
    }

    /// The records that say the same in the fewest lines.
    pub(super) fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let started = Record::DaemonStarted {
            number: self.starts,
            format: FORMAT,
        };
        let last = Record::LastOperation {
            operation: self.last_operation,
        };
        let ports = self
            .ports
            .iter()
            .flat_map(|(port, known)| known.records(port));
        let ended = self.ended.values().flat_map(|ended| {
            let finished = Record::OperationFinished {
                operation: ended.asked.operation,
                ending: Some(ended.ending),
                details: ended.details.clone(),
            };
            [Record::OperationAsked(ended.asked.clone()), finished]
        });
        let asked = self.asked.values().cloned().map(Record::OperationAsked);
        let operations = self
            .operations
            .values()
            .cloned()
            .map(Record::OperationStarted);
        let attempts = self.attempts.iter().cloned().map(Record::Attempt);
        let host_ports = self
            .host_ports
            .0
            .iter()
            .map(|(host, port)| Record::HostPort {
                host: host.clone(),
                port: *port,
            });
        let switches = self.switches.values().cloned();
        let switches = switches.map(|switch| Record::Switch(Box::new(switch)));
        let in_service = self.last_good.iter().cloned().map(Record::InService);
        let watches = self.watches.iter().cloned().map(Record::Watch);
        let waiting = self.waiting.iter().map(|(eid, since)| {
            Record::Waiting(WaitingNotifications {
                eid: *eid,
                since: since.clone(),
            })
        });
        [started, last]
            .into_iter()
            .chain(ports)
            .chain(ended)
            .chain(asked)
            .chain(operations)
            .chain(switches)
            .chain(in_service)
            .chain(watches)
            .chain(waiting)
            .chain(attempts)
            .chain(host_ports)
    }
}

impl KnownPort {
    fn records(&self, port: &Path) -> Vec<Record> {
        let mut records = Vec::new();
        let port = || port.to_owned();
        if let Some(KnownChannel { place, phase, boot }) = &self.channel {
            let boot = || boot.clone();
            let opened = place.as_ref();
            records.extend(opened.map(|place| Record::channel_opened(port(), place, boot())));
            records.extend(match phase {
                Phase::Opening => Some(Record::ChannelOpening {
                    port: port(),
                    boot: boot(),
                }),
                Phase::Open => None,
                Phase::Selected => Some(Record::ChannelSelected { port: port() }),
                Phase::Closed => Some(Record::ChannelClosed { port: port() }),
            });
        }
        records.extend(
            self.link
                .clone()
                .map(|link| Record::LinkFound { port: port(), link }),
        );
        let last_line = self.last_line.clone();
        records.extend(last_line.map(|last_line| Record::ModemResetting {
            port: port(),
            last_line,
        }));
        records
    }
}

fn keep_latest<T>(operations: &mut BTreeMap<OperationId, T>, limit: usize) {
    while operations.len() > limit {
        operations.pop_first();
    }
}

/// How many servers with a TCP port of their own are remembered.
const HOST_PORTS_KEPT: usize = 64;
/// How many operations that have not ended are remembered: cards that never come back leave some.
const OPEN_KEPT: usize = 256;
/// Of how many cards it is remembered which profile is in use or was in service.
const CARDS_KEPT: usize = 16;
const DAY_S: u64 = 24 * 60 * 60;
/// The clock of a gateway without a battery begins long before this, in seconds since 1970: 2020.
const CLOCK_WAS_SET_S: u64 = 1_577_836_800;
/// For how many orders attempts are counted.
const ATTEMPTS_KEPT: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Achievement, Kind, Stage};
    use crate::memory::journal::RequestKey;

    #[test]
    fn the_server_that_was_not_used_for_the_longest_time_is_forgotten() {
        let mut intent = Intent::default();
        let host = |n: usize| format!("smdp-{n:03}.example.com");
        for n in 0..HOST_PORTS_KEPT {
            let (host, port) = (host(n), 8443);
            intent.apply(Record::HostPort { host, port });
        }
        intent.uses(&host(0));
        let (newcomer, port) = ("a.example.com".to_owned(), 1);
        intent.apply(Record::HostPort {
            host: newcomer,
            port,
        });
        assert_eq!(intent.host_ports.get("a.example.com"), Some(&1));
        assert_eq!(intent.host_ports.get(&host(0)), Some(&8443));
        assert_eq!(intent.host_ports.get(&host(1)), None);
        assert_eq!(again(&intent), intent);
    }

    #[test]
    fn operations_are_told_apart_by_the_card_they_were_begun_on() {
        let mut intent = Intent::default();
        for (number, euicc, eid) in [
            (1, "left", Some(eid(1))),
            (2, "left", Some(eid(2))),
            (3, "left", None),
            (4, "right", Some(eid(1))),
            (5, "right", None),
        ] {
            intent.apply(started(number, euicc, eid));
        }
        let numbers = |open: Vec<StartedOperation>| {
            let numbers = open.iter().map(|started| started.operation.0);
            numbers.collect::<Vec<_>>()
        };
        // The cards of the two ports were swapped: the operation follows its card.
        assert_eq!(numbers(intent.open_on("left", Some(eid(1)))), [1, 3, 4]);
        assert_eq!(
            numbers(intent.left_on_another_card("left", Some(eid(1)))),
            [2]
        );
        assert_eq!(numbers(intent.open_on("right", Some(eid(2)))), [2, 5]);
        assert_eq!(
            numbers(intent.left_on_another_card("right", Some(eid(2)))),
            [4]
        );
    }

    #[test]
    fn attempts_are_counted_by_card_and_order_and_end_with_the_card() {
        let mut intent = Intent::default();
        let order = Digest::of(&[b"smdp.example.com", b"M-1"]);
        let attempt = |eid, order, failures| {
            Record::Attempt(Attempt {
                failures,
                at_s: 7,
                ..Attempt::none(eid, order)
            })
        };
        for failures in 0..3 {
            intent.apply(attempt(eid(1), order, failures));
        }
        intent.apply(attempt(eid(2), order, 9));
        let failures = |intent: &Intent, eid| {
            let attempts = intent.attempts_at(eid, order);
            attempts.map(|attempt| attempt.failures)
        };
        assert_eq!(failures(&intent, eid(1)), Some(2));
        assert_eq!(failures(&intent, eid(2)), Some(9));
        assert_eq!(intent.attempts_at(eid(1), Digest::of(&[b"other"])), None);
        assert_eq!(again(&intent), intent);
        intent.apply(Record::AttemptsOver { eid: eid(1) });
        assert_eq!(failures(&intent, eid(1)), None);
        assert_eq!(failures(&intent, eid(2)), Some(9));
        for n in 0..2 * ATTEMPTS_KEPT {
            let order = Digest::of(&[n.to_string().as_bytes()]);
            intent.apply(attempt(eid(3), order, 1));
        }
        assert_eq!(intent.attempts.len(), ATTEMPTS_KEPT);
    }

    #[test]
    fn a_key_is_known_as_long_as_its_operation_however_that_ended() {
        let mut intent = Intent::default();
        // An older journal does not tell how the last one ended.
        let endings = [
            (1, Some(Ending::Succeeded)),
            (2, Some(Ending::Failed)),
            (3, Some(Ending::Cancelled)),
            (4, Some(Ending::NotBegun)),
            (5, None),
        ];
        let key = |number: u64| RequestKey::new(&number.to_string(), 0, "DELETE", "/", b"");
        for (number, ending) in endings {
            intent.apply(Record::OperationAsked(AskedOperation {
                request: Some(key(number)),
                ..AskedOperation::new(OperationId(number), "default", Kind::Delete)
            }));
            intent.apply(finished(number, ending, EndDetails::default()));
        }
        let known = |intent: &Intent| {
            (1..=6)
                .map(|number| intent.used_for(&key(number)))
                .collect()
        };
        let expected = [1, 2, 3, 4].map(|number| Some((OperationId(number), true)));
        let expected: Vec<_> = expected.into_iter().chain([None, None]).collect();
        let found: Vec<_> = known(&intent);
        assert_eq!(found, expected);
        assert_eq!(intent.last_operation, OperationId(5));
        assert!(intent.asked.is_empty());
        assert_eq!(again(&intent), intent);
    }

    #[test]
    fn what_is_said_to_an_operation_is_known_with_it_and_of_too_much_the_latest() {
        let mut intent = Intent::default();
        let key = |name: &str, body: &[u8]| RequestKey::new(name, 0, "POST", "/cancel", body);
        let (operation, kind) = (OperationId(1), Kind::Delete);
        let asked = AskedOperation {
            request: Some(key("first", b"")),
            ..AskedOperation::new(operation, "default", kind)
        };
        intent.apply(Record::OperationAsked(asked));
        for number in 0..100 {
            let request = key(&number.to_string(), b"");
            intent.apply(Record::OperationTold { operation, request });
            if number == 98 {
                intent.apply(finished(1, Some(Ending::Cancelled), EndDetails::default()));
            }
        }
        for intent in [&intent, &again(&intent)] {
            for name in ["first", "98", "99"] {
                assert_eq!(intent.used_for(&key(name, b"")), Some((operation, true)));
                assert_eq!(intent.used_for(&key(name, b"x")), Some((operation, false)));
            }
            assert_eq!(intent.used_for(&key("90", b"")), None);
        }
        // Of one that is not known nothing is kept.
        let (operation, request) = (OperationId(2), key("of nothing", b""));
        intent.apply(Record::OperationTold { operation, request });
        assert_eq!(intent.used_for(&key("of nothing", b"")), None);
    }

    #[test]
    fn what_ended_first_goes_first_and_what_ended_just_now_stays() {
        let mut intent = Intent::default();
        let of_two = History {
            operations: 2,
            days: 1,
        };
        intent.keep(of_two, 0);
        let ends = |intent: &mut Intent, number, at_s| {
            let asked = AskedOperation::new(OperationId(number), "default", Kind::Delete);
            intent.apply(Record::OperationAsked(asked));
            let details = EndDetails {
                at_s: Some(at_s),
                ..EndDetails::default()
            };
            intent.apply(finished(number, Some(Ending::Succeeded), details));
        };
        let kept = |intent: &Intent| intent.ended.keys().map(|id| id.0).collect::<Vec<_>>();
        let now = CLOCK_WAS_SET_S + 10 * DAY_S;
        for (number, at_s, left) in [
            (2, now, &[2][..]),
            (3, now + 1, &[2, 3]),
            (1, now + 2, &[1, 3]),
            (4, 7, &[1, 4]),
            (5, now + 3, &[1, 5]),
        ] {
            ends(&mut intent, number, at_s);
            assert_eq!(kept(&intent), left);
        }
        intent.forget(None, now + 2 + DAY_S);
        assert_eq!(kept(&intent), [1, 5]);
        intent.forget(None, now + 3 + DAY_S);
        assert_eq!(kept(&intent), [5]);
        // The clock of this one was not set.
        ends(&mut intent, 6, 7);
        intent.forget(None, now + 100 * DAY_S);
        assert_eq!(kept(&intent), [6]);
    }

    #[test]
    fn what_lpad_tries_by_itself_does_not_crowd_out_what_clients_asked_for() {
        let mut intent = Intent::default();
        let of_eight = History {
            operations: 8,
            days: 365,
        };
        intent.keep(of_eight, 0);
        for number in 1..=106 {
            let asked = AskedOperation {
                by_itself: number > 6,
                ..AskedOperation::new(OperationId(number), "default", Kind::Download)
            };
            intent.apply(Record::OperationAsked(asked));
            let details = EndDetails {
                at_s: Some(CLOCK_WAS_SET_S + number),
                ..EndDetails::default()
            };
            intent.apply(finished(number, Some(Ending::Failed), details));
        }
        let kept: Vec<u64> = intent.ended.keys().map(|id| id.0).collect();
        assert_eq!(kept, [1, 2, 3, 4, 5, 6, 105, 106]);
    }

    #[test]
    fn the_latest_operations_that_ended_are_kept_and_take_little_room() {
        let mut intent = Intent::default();
        let kept = intent.history.operations;
        let operations = u64::try_from(3 * kept).unwrap();
        for number in 1..=operations {
            let operation = OperationId(number);
            intent.apply(Record::OperationAsked(AskedOperation {
                eid: Some(eid(1)),
                request: Some(RequestKey::new(&"k".repeat(64), 0, "DELETE", "/", b"")),
                at_s: 1_700_000_000,
                ..AskedOperation::new(operation, "default", Kind::Delete)
            }));
            let details = EndDetails {
                at_s: Some(1_700_000_000),
                stage: Some(Stage::Done),
                stages: None,
                progress: None,
                switch: None,
                result: Some(Achievement {
                    iccid: "8901999000000000012".parse().ok(),
                    profile_name: Some("Acme IoT".into()),
                    ..Achievement::default()
                }),
                problem: None,
            };
            intent.apply(finished(number, Some(Ending::Succeeded), details));
        }
        assert_eq!(intent.ended.len(), kept);
        assert!(intent.ended.contains_key(&OperationId(operations)));
        assert_eq!(again(&intent), intent);
        let lines = intent.records().map(|record| record.line().unwrap().len());
        let bytes: usize = lines.sum();
        assert!(bytes < 80_000, "{bytes}");
    }

    #[test]
    fn an_operation_of_which_only_its_beginning_is_known_is_kept_when_it_ends() {
        let mut intent = Intent::default();
        intent.apply(started(3, "left", None));
        intent.apply(finished(3, Some(Ending::Failed), EndDetails::default()));
        let ended = &intent.ended[&OperationId(3)];
        assert_eq!(
            (ended.asked.euicc.as_str(), ended.ending),
            ("left", Ending::Failed)
        );
        assert_eq!(again(&intent), intent);
    }

    /// What a compacted journal of it says.
    fn again(intent: &Intent) -> Intent {
        let mut again = Intent::default();
        intent.records().for_each(|record| again.apply(record));
        again
    }

    fn eid(last: u8) -> Eid {
        format!("8904903212345123451234567890{last:04}")
            .parse()
            .unwrap()
    }

    fn finished(number: u64, ending: Option<Ending>, details: EndDetails) -> Record {
        Record::OperationFinished {
            operation: OperationId(number),
            ending,
            details,
        }
    }

    fn started(number: u64, euicc: &str, eid: Option<Eid>) -> Record {
        Record::OperationStarted(StartedOperation {
            eid,
            ..StartedOperation::new(OperationId(number), euicc, Kind::Enable)
        })
    }
}

//! The network: how it treats each profile, as words.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;

use tokio::time::Instant;

use super::quirks::read_time;

/// How the network treats a profile.
///
/// It is made of words, see [`Network::WORDS`]:
///
/// ```
/// use sim_card_emulator::modem::Network;
///
/// let network: Network = "registers-after=30s,roaming,loses-after=10m".parse()?;
/// assert_ne!(network, Network::default());
/// # Ok::<(), sim_card_emulator::modem::NetworkError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Network {
    /// How long a search takes; `None`: it finds nothing.
    after: Option<Duration>,
    pub(super) access: Access,
    pub(super) service: Service,
    pub(super) roaming: bool,
    rejects: Option<Cause>,
    times: Option<u32>,
    until_restart: bool,
    provisioned_after: Option<Duration>,
    pub(super) loses_after: Option<Duration>,
    lost_for: Option<Duration>,
    pub(super) apn: Option<String>,
    pub(super) no_address: bool,
    pub(super) no_packets: bool,
    pub(super) carrier: Option<String>,
}

/// Which of the registrations the modem has.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Access {
    /// `+CGREG`.
    Umts,
    /// `+CEREG`, and `+CGREG` alike.
    #[default]
    Lte,
    /// `+C5GREG`, and no other.
    Nr,
}

/// What a registered modem may do.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Service {
    #[default]
    Full,
    SmsOnly,
    Emergency,
    NoCsfb,
    /// The modem does not know what there is.
    Unknown,
    /// The modem cannot work with the card.
    SimFailure,
    /// The modem knows no question for its registration.
    Untold,
}

/// Why a registration is refused: EMM, 3GPP TS 24.301 section 9.9.3.9; 5GMM, TS 24.501 section
/// 9.11.3.2, has the same numbers where it has the cause.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Cause(pub(super) u8);

impl Cause {
    pub(super) const PLMN_NOT_ALLOWED: Self = Self(11);
    pub(super) const ESM_FAILURE: Self = Self(19);
    const EPS_NOT_ALLOWED: Self = Self(7);
    /// What a subscription gets that the network does not know.
    const NO_SERVICES_ALLOWED: Self = Self(8);

    /// Whether the modem asks no more until its radio restarts: the subscription or the network is
    /// out of the question.
    pub(super) fn is_final(self) -> bool {
        matches!(self.0, 2 | 3 | 5..=8 | 11..=15 | 27 | 35 | 73)
    }

    /// Whether it concerns packet data alone.
    pub(super) fn spares_circuit(self) -> bool {
        matches!(self.0, 7 | 14 | 19)
    }
}

impl Network {
    /// Every word, with a value where it takes one, and what the network does.
    pub const WORDS: [(&'static str, &'static str); 25] = [
        (
            "registers",
            "It lets the profile in. This is so unless another word says otherwise.",
        ),
        (
            "registers-after=30s",
            "The same, after a search that takes so long. Whatever disturbs it, as a restart of the \
            radio, begins it anew: the third number of a multi-IMSI profile is `registers-after=6m`.",
        ),
        ("never", "It is not there: the search goes on for ever (2)."),
        (
            "unknown",
            "It is not there, and the modem says that it does not know (4).",
        ),
        (
            "sim-failure",
            "It is not there, and the modem answers `+CME ERROR: 13` when it is asked for it.",
        ),
        (
            "untold",
            "It is not there, and the modem answers `ERROR` when it is asked for it.",
        ),
        (
            "rejects=8",
            "It refuses the profile with this cause of EMM or 5GMM. After 2, 3, 5 to 8, 11 to 15, 27, \
            35 and 73 the modem is denied (3) until its radio restarts. After another cause it tries \
            five times, ten seconds apart, and again after twelve minutes (T3402).",
        ),
        ("rejects-sim", "The same as `rejects=8`."),
        (
            "without-data",
            "The same as `rejects=7`: registered, but not for packet data. As all of 7, 14 and 19, it \
            leaves `+CREG` alone.",
        ),
        (
            "without-data-after=30s",
            "The same as `registers-after=30s,rejects=7`.",
        ),
        (
            "times=3",
            "It refuses so often, and then lets the profile in.",
        ),
        (
            "until-restart",
            "It refuses until the radio has restarted, and then lets the profile in.",
        ),
        (
            "provisioned-after=2m",
            "It refuses, with cause 8 unless `rejects` names another, until so long after the \
            notification of the installation was delivered (`ModemControl::provisioned`).",
        ),
        (
            "roaming",
            "It is another operator's (5, 7 or 10 in place of 1, 6 or 9).",
        ),
        (
            "sms-only",
            "It lets the profile in for short messages only (6).",
        ),
        (
            "emergency",
            "It lets the profile in for emergency calls only (8).",
        ),
        (
            "no-csfb",
            "It lets the profile in and is not for calls (9).",
        ),
        (
            "3g",
            "Packet data is registered by `+CGREG` alone, and no context is up by itself.",
        ),
        ("5g", "The modem is registered by `+C5GREG` alone."),
        (
            "loses-after=10m",
            "So long after each registration it is gone, whatever the modem does, for good or for \
            `lost-for`.",
        ),
        ("lost-for=5m", "What is lost is there again after so long."),
        (
            "apn=iot.example",
            "It wants this APN in context 1. Otherwise it refuses the registration (cause 19, with ESM \
            cause 33, or 27 without an APN), or as `no-address` or `3g` say, the context.",
        ),
        (
            "no-address",
            "The profile is registered, but no context comes up, except with the right `apn`.",
        ),
        (
            "no-packets",
            "There is an address, and no packet gets through.",
        ),
        (
            "carrier=Name",
            "It is found only with this carrier setting, which `AT+QMBNCFG=\"Select\",\"Name\"` and a \
            restart choose; a new modem has `ROW_Generic_3GPP`.",
        ),
    ];

    fn add(&mut self, name: &str, value: Option<&str>) -> Option<()> {
        match (name, value) {
            ("registers", None) => {}
            ("registers-after", Some(time)) => self.after = Some(read_time(time)?),
            ("never", None) => self.after = None,
            ("unknown", None) => (self.after, self.service) = (None, Service::Unknown),
            ("sim-failure", None) => (self.after, self.service) = (None, Service::SimFailure),
            ("untold", None) => (self.after, self.service) = (None, Service::Untold),
            ("rejects", Some(cause)) => self.rejects = Some(Cause(cause.parse().ok()?)),
            ("rejects-sim", None) => self.rejects = Some(Cause::NO_SERVICES_ALLOWED),
            ("without-data", None) => self.rejects = Some(Cause::EPS_NOT_ALLOWED),
            ("without-data-after", Some(time)) => {
                self.after = Some(read_time(time)?);
                self.rejects = Some(Cause::EPS_NOT_ALLOWED);
            }
            ("times", Some(times)) => self.times = Some(times.parse().ok()?),
            ("until-restart", None) => self.until_restart = true,
            ("provisioned-after", Some(time)) => self.provisioned_after = Some(read_time(time)?),
            ("roaming", None) => self.roaming = true,
            ("sms-only", None) => self.service = Service::SmsOnly,
            ("emergency", None) => self.service = Service::Emergency,
            ("no-csfb", None) => self.service = Service::NoCsfb,
            ("3g", None) => self.access = Access::Umts,
            ("5g", None) => self.access = Access::Nr,
            ("loses-after", Some(time)) => self.loses_after = Some(read_time(time)?),
            ("lost-for", Some(time)) => self.lost_for = Some(read_time(time)?),
            ("apn", Some(apn)) if !apn.is_empty() => self.apn = Some(apn.to_owned()),
            ("no-address", None) => self.no_address = true,
            ("no-packets", None) => self.no_packets = true,
            ("carrier", Some(name)) if !name.is_empty() => self.carrier = Some(name.to_owned()),
            _ => return None,
        }
        Some(())
    }
}

impl Default for Network {
    fn default() -> Self {
        Self {
            after: Some(Duration::ZERO),
            access: Access::default(),
            service: Service::default(),
            roaming: false,
            rejects: None,
            times: None,
            until_restart: false,
            provisioned_after: None,
            loses_after: None,
            lost_for: None,
            apn: None,
            no_address: false,
            no_packets: false,
            carrier: None,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    /// Reads words with commas between them, each of which stands there once.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let mut network = Self::default();
        let mut names = BTreeSet::new();
        let mut is_right = true;
        for word in text.split(',') {
            let (name, value) = match word.trim().split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word.trim(), None),
            };
            is_right &= names.insert(name) && network.add(name, value).is_some();
        }
        let one_of = |group: &[&str]| group.iter().filter(|name| names.contains(**name)).count();
        is_right &= EXCLUSIVE.iter().all(|group| one_of(group) <= 1);
        is_right &= one_of(&["times", "until-restart"]) == 0 || one_of(EXCLUSIVE[1]) == 1;
        is_right &= network.lost_for.is_none() || network.loses_after.is_some();
        match is_right {
            true => Ok(network),
            false => Err(NetworkError {
                text: text.to_owned(),
            }),
        }
    }
}

/// No network behaves like that.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "no network is like {text:?}; it is made of words that go together, with commas between them: {}",
    Network::WORDS.map(|(word, _)| word).join(", ")
)]
pub struct NetworkError {
    text: String,
}

/// Words of which a network has one at most; the second group are those that refuse.
const EXCLUSIVE: [&[&str]; 5] = [
    &[
        "registers",
        "registers-after",
        "never",
        "unknown",
        "sim-failure",
        "untold",
        "without-data-after",
    ],
    &[
        "rejects",
        "rejects-sim",
        "without-data",
        "without-data-after",
    ],
    &["times", "until-restart", "provisioned-after"],
    &[
        "sms-only",
        "emergency",
        "no-csfb",
        "unknown",
        "sim-failure",
        "untold",
    ],
    &["3g", "5g"],
];

/// How the network treats each profile, and what it remembers of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Networks {
    unnamed: Entry,
    named: BTreeMap<String, Entry>,
    /// When the installation of a profile was reported, by ICCID.
    provisioned: BTreeMap<String, Instant>,
    changes: u64,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    network: Network,
    /// Differs from that of every other entry.
    number: u64,
    /// What there has been with each profile, by ICCID.
    known: BTreeMap<String, Known>,
}

#[derive(Clone, Debug, Default)]
struct Known {
    refusals: u32,
    /// The start of the radio after which it was refused first.
    refused_since: Option<u64>,
    lost_at: Option<Instant>,
}

/// A profile as the network knows it: its ICCID and its IMSI.
pub(super) type Identities<'p> = [Option<&'p str>; 2];

impl Networks {
    pub(super) fn set(&mut self, profile: Option<&str>, network: Network) {
        self.changes += 1;
        let entry = Entry {
            network,
            number: self.changes,
            known: BTreeMap::new(),
        };
        match profile {
            Some(profile) => {
                self.named.insert(profile.to_owned(), entry);
            }
            None => self.unnamed = entry,
        }
    }

    /// The installation of a profile was reported.
    pub(super) fn provisioned(&mut self, iccid: &str) {
        self.provisioned
            .entry(iccid.to_owned())
            .or_insert_with(Instant::now);
    }

    pub(super) fn of(&self, profile: Identities<'_>) -> &Network {
        &self.entry(profile).network
    }

    /// Changes when the network is set to treat this profile in some way.
    pub(super) fn number(&self, profile: Identities<'_>) -> u64 {
        self.entry(profile).number
    }

    /// How long a search takes that begins now; `None`: it finds nothing.
    pub(super) fn search(&self, profile: Identities<'_>) -> Option<Duration> {
        let entry = self.entry(profile);
        let after = entry.network.after?;
        let known = entry.known.get(profile[0].unwrap_or_default());
        let Some(lost_at) = known.and_then(|known| known.lost_at) else {
            return Some(after);
        };
        let back_at = lost_at + entry.network.lost_for?;
        Some(after.max(back_at.saturating_duration_since(Instant::now())))
    }

    /// Asks to be let in, after so many starts of the radio; gives the cause when it is refused.
    pub(super) fn admit(&mut self, profile: Identities<'_>, radio_starts: u64) -> Option<Cause> {
        let iccid = profile[0].unwrap_or_default();
        let provisioned = self.provisioned.get(iccid).copied();
        let Entry { network, known, .. } = self.entry_mut(profile);
        let known = known.entry(iccid.to_owned()).or_default();
        known.lost_at = None;
        let cause = match network.provisioned_after {
            Some(wait) => {
                let is_known = provisioned.is_some_and(|at| at.elapsed() >= wait);
                let cause = network.rejects.unwrap_or(Cause::NO_SERVICES_ALLOWED);
                Some(cause).filter(|_| !is_known)
            }
            None => network.rejects.filter(|_| {
                let since = *known.refused_since.get_or_insert(radio_starts);
                let is_over = network.until_restart && since != radio_starts
                    || network.times.is_some_and(|times| known.refusals >= times);
                !is_over
            }),
        };
        known.refusals = known.refusals.saturating_add(u32::from(cause.is_some()));
        cause
    }

    /// The profile has lost the network.
    pub(super) fn lose(&mut self, profile: Identities<'_>) {
        let iccid = profile[0].unwrap_or_default().to_owned();
        let known = self.entry_mut(profile).known.entry(iccid).or_default();
        known.lost_at = Some(Instant::now());
    }

    fn entry(&self, profile: Identities<'_>) -> &Entry {
        let mut named = profile.into_iter().flatten();
        named
            .find_map(|name| self.named.get(name))
            .unwrap_or(&self.unnamed)
    }

    fn entry_mut(&mut self, profile: Identities<'_>) -> &mut Entry {
        let mut named = profile.into_iter().flatten();
        match named.find(|name| self.named.contains_key(*name)) {
            Some(name) => self.named.entry(name.to_owned()).or_default(),
            None => &mut self.unnamed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_read_from_words() {
        let after = Some(Duration::from_millis(1500));
        let registers = Network {
            after,
            ..Network::default()
        };
        for (text, network) in [
            ("registers-after=1.5s", registers.clone()),
            (
                "without-data-after=1500ms",
                Network {
                    rejects: Some(Cause(7)),
                    ..registers
                },
            ),
            ("registers", Network::default()),
            (
                "roaming, times=2,rejects=17",
                Network {
                    roaming: true,
                    rejects: Some(Cause(17)),
                    times: Some(2),
                    ..Network::default()
                },
            ),
        ] {
            assert_eq!(text.parse(), Ok(network), "{text}");
        }
    }

    #[test]
    fn words_that_do_not_go_together_are_refused_with_those_there_are() {
        for text in [
            "",
            "registers=1",
            "registers-after",
            "never=1s",
            "registers-after=x",
            "rejects=256",
            "registers,never",
            "roaming,roaming",
            "rejects=8,without-data",
            "times=2",
            "until-restart",
            "lost-for=1s",
            "rejects=8,times=1,until-restart",
            "apn=",
        ] {
            let error = text.parse::<Network>().unwrap_err().to_string();
            assert!(error.contains("rejects-sim"), "{error}");
        }
    }

    #[test]
    fn the_documentation_has_every_word() {
        let page = include_str!("../../../docs/test-bench.md");
        for (word, about) in Network::WORDS {
            let row = format!("| `{word}` | {about} |");
            assert!(page.contains(&row), "{row}");
            let with = match word {
                "times=3" | "until-restart" => ",rejects=8",
                "lost-for=5m" => ",loses-after=1m",
                _ => "",
            };
            let network = format!("{word}{with}").parse::<Network>();
            assert!(network.is_ok(), "{word}");
            let changes = network != Ok(Network::default());
            assert_eq!(changes, word != "registers", "{word}");
        }
    }
}

//! What an examination of the way to a card found, as the API shows it.

use es10_apdu::link::{GetResponseClass, Le};
use serde::{Deserialize, Serialize};

use super::{Addresses, EuiccInfo, Modem, UnknownPart};
use crate::config::{Route, Verdict};
use crate::failure::JobFailure;
use crate::job::Part;
use crate::memory::examination;
use crate::memory::snapshot::{Known, ProfileState};
use crate::problem::Problem;
use crate::secret::shorten_numbers;

/// What an examination found. EID, ICCID and IMEI are shortened.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Examination {
    /// Why the port cannot be used, or the modem does not answer; absent when it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_problem: Option<Problem>,
    /// The modem; absent when it does not answer, and where the port is a reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modem: Option<Modem>,
    /// What helps, if lpad knows that such a modem refuses; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_to_refuse: Option<String>,
    /// Bytes of data in one command that such a modem is known to take; absent without a modem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_block_size: Option<u8>,
    /// Whether such a modem is known to pass nothing on without an enabled profile.
    #[serde(default)]
    pub needs_profile: bool,
    /// Its IMEI, shortened; absent when it does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imei: Option<String>,
    /// What it answers to `AT+CPIN?`; empty when it says nothing.
    pub sim: String,
    /// The ICCID of the profile it uses, shortened; absent when it tells none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iccid: Option<String>,
    /// The ways to the card that were tried; the first one that works is used.
    pub routes: Vec<ExaminedRoute>,
    /// The EID, shortened; absent when it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eid: Option<String>,
    /// What the card says of itself; absent when it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<EuiccInfo>,
    /// The addresses on the card; absent when they cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Addresses>,
    /// How many profiles are on the card; absent when they cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profiles: Option<u64>,
    /// Whether one of them is enabled.
    pub has_enabled_profile: bool,
    /// Parts of the card that cannot be read.
    pub unknown: Vec<UnknownPart>,
    /// Why the card cannot be used; absent when it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card_problem: Option<Problem>,
    /// How long the card took each time for the same small question, in microseconds.
    pub apdu_us: Vec<u64>,
    /// Whether it took too long, so that what comes last was not looked at.
    pub cut_off: bool,
}

/// A way to the card that was tried.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ExaminedRoute {
    /// The AT commands; always `csim` in a reader, where lpad opens channels itself as well.
    pub apdu: Route,
    /// Why it does not work; absent when it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// The logical channel or session that was opened; absent when none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Bytes of data in one command at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_size: Option<u8>,
    /// Whether commands carry Le.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub le: Option<bool>,
    /// Whether GET RESPONSE has the class of interindustry commands, not that of the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interindustry: Option<bool>,
}

impl From<&examination::Examination> for Examination {
    fn from(found: &examination::Examination) -> Self {
        let mut works = found.routes.iter();
        let in_use = works.find(|tried| tried.found.is_ok());
        let known = found.modem.as_deref();
        let profiles = found.profiles.value();
        let is_enabled = |state| state == ProfileState::Enabled;
        let unknown = [
            unknown(Part::Info, &found.info),
            unknown(Part::Addresses, &found.addresses),
            unknown(Part::Profiles, &found.profiles),
        ];
        Self {
            port_problem: found.port.as_ref().map(shortened),
            modem: known.map(|known| Modem {
                apdu: in_use.map(|tried| tried.route),
                ..known.into()
            }),
            known_to_refuse: known
                .filter(|known| known.verdict == Verdict::KnownNotToWork)
                .map(|known| known.habits.no_isd_r.clone()),
            known_block_size: known.map(|known| known.habits.most_in_a_block()),
            needs_profile: known.is_some_and(|known| known.habits.needs_profile),
            imei: found.imei.clone(),
            sim: shorten_numbers(&found.sim),
            iccid: found.iccid.clone(),
            routes: found.routes.iter().map(ExaminedRoute::from).collect(),
            eid: found.eid.clone(),
            info: found.info.value().map(EuiccInfo::from),
            addresses: found.addresses.value().map(Addresses::from),
            profiles: profiles.map(|profiles| profiles.len() as u64),
            has_enabled_profile: profiles
                .is_some_and(|profiles| profiles.iter().any(|one| is_enabled(one.state))),
            unknown: unknown.into_iter().flatten().collect(),
            card_problem: found.card.as_ref().map(shortened),
            apdu_us: (found.times.iter())
                .map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
                .collect(),
            cut_off: found.is_cut_off,
        }
    }
}

impl From<&examination::ExaminedRoute> for ExaminedRoute {
    fn from(tried: &examination::ExaminedRoute) -> Self {
        let works = tried.found.as_ref().ok();
        let link = works.map(|(_, link)| link);
        Self {
            apdu: tried.route,
            problem: tried.found.as_ref().err().map(shortened),
            channel: works.map(|(channel, _)| channel.clone()),
            block_size: link.map(|link| link.block_size),
            le: link.map(|link| link.le == Le::Zero),
            interindustry: link.map(|link| link.get_response == GetResponseClass::Interindustry),
        }
    }
}

fn shortened(failure: &JobFailure) -> Problem {
    let problem = Problem::from(failure);
    Problem {
        detail: shorten_numbers(&problem.detail),
        ..problem
    }
}

fn unknown<T>(part: Part, read: &Known<T>) -> Option<UnknownPart> {
    match read {
        Known::Unknown(because) => Some(UnknownPart {
            part,
            problem: shortened(because),
        }),
        Known::NotYet | Known::Value(_) => None,
    }
}

//! What an examination of the way to a card found.

use std::sync::Arc;
use std::time::Duration;

use es10_apdu::link::LinkOptions;

use super::snapshot::{Addresses, EuiccInfo, Known, Profile};
use crate::config::Route;
use crate::failure::JobFailure;
use crate::modem::table;

/// What an examination found. EID, ICCID and IMEI are shortened: it may be shown to anybody.
#[derive(Debug, Default)]
pub struct Examination {
    /// Why the port cannot be used, or the modem does not answer.
    pub port: Option<JobFailure>,
    /// The modem; `None` when it does not answer, and for a reader.
    pub modem: Option<Arc<table::Known>>,
    /// Its IMEI; `None` when it does not tell.
    pub imei: Option<String>,
    /// What it says of the card; empty when it says nothing.
    pub sim: String,
    /// The ICCID of the profile it uses; `None` when it tells none.
    pub iccid: Option<String>,
    /// The routes that were tried, the one that is used first.
    pub routes: Vec<ExaminedRoute>,
    /// The EID; `None` when it cannot be read.
    pub eid: Option<String>,
    /// What the card says of itself.
    pub info: Known<EuiccInfo>,
    /// The addresses on it.
    pub addresses: Known<Addresses>,
    /// The profiles on it.
    pub profiles: Known<Vec<Profile>>,
    /// Why the card cannot be read.
    pub card: Option<JobFailure>,
    /// How long the card took each time for the same small question.
    pub times: Vec<Duration>,
    /// Whether it took too long, so that what comes last was not looked at.
    pub is_cut_off: bool,
}

/// A route to the card that was tried.
#[derive(Debug)]
pub struct ExaminedRoute {
    /// The AT commands.
    pub route: Route,
    /// The logical channel or session that was opened, and how commands are written there.
    pub found: Result<(String, LinkOptions), JobFailure>,
}

//! `/v1/health` and `/v1/version`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::memory::snapshot::Availability;

/// Body of `GET /v1/health`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Health {
    /// `ok` when every eUICC can be used, else `degraded`.
    pub status: String,
    /// Each eUICC and whether it can be used.
    pub euiccs: BTreeMap<String, Availability>,
}

impl Health {
    /// Sums up.
    pub fn new(euiccs: BTreeMap<String, Availability>) -> Self {
        let ready = euiccs.values().all(|state| *state == Availability::Ready);
        Self {
            status: if ready { "ok" } else { "degraded" }.to_owned(),
            euiccs,
        }
    }
}

/// Body of `GET /v1/version`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Version {
    /// The daemon's version.
    pub version: String,
    /// The version of the API.
    pub api: String,
    /// The release of SGP.22 lpad follows.
    pub sgp22: String,
}

impl Version {
    /// This daemon's.
    pub fn own() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            api: "v1".to_owned(),
            sgp22: "2.5".to_owned(),
        }
    }
}

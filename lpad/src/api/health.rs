//! `/v1/health` and `/v1/version`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::memory::journal::SharedJournal;
use crate::memory::snapshot::Availability;
use crate::problem::{Code, Problem};

/// Whether all is well.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Health {
    /// `ok` when every eUICC can be used and the state can be written, else `degraded`.
    pub status: String,
    /// Each eUICC by name.
    pub euiccs: BTreeMap<String, Availability>,
    /// What an operator should look at, beside the eUICCs: `state-unwritable`, `journal-damaged`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

impl Health {
    /// Sums up.
    pub fn new(euiccs: BTreeMap<String, Availability>, journal: &SharedJournal) -> Self {
        let is_ready = euiccs.values().all(|state| *state == Availability::Ready);
        let unwritable = journal.trouble().map(|why| {
            Problem::new(Code::StateUnwritable)
                .detail(format!("The journal cannot be written: {why}."))
        });
        let status = match is_ready && unwritable.is_none() {
            true => "ok",
            false => "degraded",
        };
        Self {
            status: status.to_owned(),
            euiccs,
            problems: unwritable.into_iter().chain(damaged(journal)).collect(),
        }
    }
}

fn damaged(journal: &SharedJournal) -> Option<Problem> {
    let damaged = journal.damaged();
    let names = damaged.iter().map(|path| path.display().to_string());
    let names = names.collect::<Vec<_>>().join(", ");
    let detail = format!("The journal was damaged, and is set aside as {names}.");
    (!damaged.is_empty()).then(|| Problem::new(Code::JournalDamaged).detail(detail))
}

/// Versions.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Version {
    /// The daemon's version.
    pub version: String,
    /// The version of the API, the first segment of its paths.
    pub api: String,
    /// The release of SGP.22 that is followed.
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

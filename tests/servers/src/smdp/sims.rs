//! Sims and Fleets of the operator's API: whether what was installed may use the network.
//!
//! A reservation makes the profile, its Sim lets it in: a Sim must be given to a Fleet and made
//! ready or active before the network accepts its profile, and nothing of that reaches the card.
//! Changes of the status take a while, in which the Sim is `scheduled`.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::callback::Callback;
use super::date::iso_8601;
use crate::rsp::random;

/// The status of a Sim.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SimStatus {
    /// It was never used, and cannot be.
    New,
    /// It can be used and costs nothing yet.
    Ready,
    /// It can be used.
    Active,
    /// It cannot be used for now.
    Inactive,
    /// A change is under way.
    Scheduled,
}

impl SimStatus {
    /// The word used for it in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Ready => "ready",
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Scheduled => "scheduled",
        }
    }

    /// Whether the network accepts the Sim's profile.
    pub fn has_service(self) -> bool {
        matches!(self, Self::Ready | Self::Active)
    }

    fn can_become(self, next: Self) -> bool {
        use SimStatus::{Active, Inactive, New, Ready};
        matches!(
            (self, next),
            (New, Ready | Active)
                | (Ready, Active | Inactive)
                | (Active, Inactive)
                | (Inactive, Active)
        )
    }
}

impl fmt::Display for SimStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One Sim: the subscription behind a profile.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Sim {
    /// Its identifier, `HS` and 32 hexadecimal digits.
    pub sid: String,
    /// The name the customer gave it.
    pub unique_name: Option<String>,
    /// Its profile's ICCID.
    pub iccid: String,
    /// Its status.
    pub status: SimStatus,
    /// The Fleet it belongs to.
    pub fleet_sid: Option<String>,
    /// What it will be when the change under way is done.
    next: Option<SimStatus>,
    /// Where the end of the change under way is told.
    callback: Option<Callback>,
    created: u64,
    updated: u64,
}

impl Sim {
    pub(super) fn to_json(&self, account_sid: &str, base_url: &str) -> Value {
        let url = format!("{base_url}/v1/Sims/{}", self.sid);
        json!({
            "sid": self.sid,
            "unique_name": self.unique_name,
            "account_sid": account_sid,
            "iccid": self.iccid,
            "status": self.status,
            "fleet_sid": self.fleet_sid,
            "date_created": iso_8601(self.created),
            "date_updated": iso_8601(self.updated),
            "links": {
                "billing_periods": format!("{url}/BillingPeriods"),
                "sim_ip_addresses": format!("{url}/IpAddresses"),
            },
            "url": url,
        })
    }

    /// The fields of the callback after a change; their names are not documented anywhere.
    pub(super) fn callback_fields(&self, account_sid: &str) -> Vec<(&'static str, String)> {
        vec![
            ("AccountSid", account_sid.to_owned()),
            ("SimSid", self.sid.clone()),
            (
                "SimUniqueName",
                self.unique_name.clone().unwrap_or_default(),
            ),
            ("Status", self.status.to_string()),
            ("FleetSid", self.fleet_sid.clone().unwrap_or_default()),
            ("Iccid", self.iccid.clone()),
        ]
    }
}

/// One Fleet: what its Sims may do.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Fleet {
    /// Its identifier, `HF` and 32 hexadecimal digits.
    pub sid: String,
    /// The name the customer gave it.
    pub unique_name: Option<String>,
    settings: FleetSettings,
    created: u64,
    updated: u64,
}

/// What a Fleet is made with; the server shows it and acts on none of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct FleetSettings {
    /// `HA` and 32 hexadecimal digits.
    pub(super) network_access_profile_sid: String,
    pub(super) data_enabled: bool,
    /// In megabytes for each Sim and month.
    pub(super) data_limit: u64,
    pub(super) sms_commands_enabled: bool,
    pub(super) sms_commands: Option<Callback>,
    pub(super) ip_commands: Option<Callback>,
}

impl Fleet {
    pub(super) fn to_json(&self, account_sid: &str, base_url: &str) -> Value {
        let settings = &self.settings;
        let url = |callback: &Option<Callback>| callback.as_ref().map(|one| one.url.to_string());
        let method = |callback: &Option<Callback>| {
            let method = callback.as_ref().map(|one| one.method);
            method.unwrap_or_default().name()
        };
        json!({
            "sid": self.sid,
            "unique_name": self.unique_name,
            "account_sid": account_sid,
            "data_enabled": settings.data_enabled,
            "data_limit": settings.data_limit,
            "data_metering": "payg",
            "sms_commands_enabled": settings.sms_commands_enabled,
            "sms_commands_url": url(&settings.sms_commands),
            "sms_commands_method": method(&settings.sms_commands),
            "ip_commands_url": url(&settings.ip_commands),
            "ip_commands_method": method(&settings.ip_commands),
            "network_access_profile_sid": settings.network_access_profile_sid,
            "date_created": iso_8601(self.created),
            "date_updated": iso_8601(self.updated),
            "url": format!("{base_url}/v1/Fleets/{}", self.sid),
        })
    }
}

/// What a customer wants changed of a Sim.
#[derive(Clone, Debug, Default)]
pub(super) struct SimUpdate {
    pub(super) unique_name: Option<String>,
    pub(super) status: Option<SimStatus>,
    /// SID or unique name of a Fleet.
    pub(super) fleet: Option<String>,
    pub(super) callback: Option<Callback>,
}

/// Why a Sim or Fleet is not changed or made.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum SimError {
    #[error("There is no such Sim")]
    Unknown,
    #[error("There is no such Fleet")]
    UnknownFleet,
    #[error("The unique name is taken")]
    NameTaken,
    #[error("A Sim needs a Fleet before it can be ready or active")]
    NoFleet,
    #[error("The Sim cannot change from its status to the one asked for")]
    Transition,
}

/// All Sims and Fleets, the oldest first.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Sims {
    sims: Vec<Sim>,
    fleets: Vec<Fleet>,
}

impl Sims {
    /// The Sim of a profile that was reserved.
    pub(super) fn add(&mut self, sid: &str, iccid: String, now: u64) {
        if self.get(sid).is_none() {
            self.sims.push(Sim {
                sid: sid.to_owned(),
                unique_name: None,
                iccid,
                status: SimStatus::New,
                fleet_sid: None,
                next: None,
                callback: None,
                created: now,
                updated: now,
            });
        }
    }

    pub(super) fn all(&self) -> &[Sim] {
        &self.sims
    }

    /// One by its SID or unique name.
    pub(super) fn get(&self, name: &str) -> Option<&Sim> {
        self.sims
            .iter()
            .find(|sim| is_named(&sim.sid, sim.unique_name.as_deref(), name))
    }

    /// Changes a Sim; true when the change is only scheduled and has to be finished.
    pub(super) fn update(
        &mut self,
        name: &str,
        update: SimUpdate,
        now: u64,
    ) -> Result<(Sim, bool), SimError> {
        let sim = self.get(name).ok_or(SimError::Unknown)?;
        let sid = sim.sid.clone();
        if let Some(unique_name) = &update.unique_name
            && self.get(unique_name).is_some_and(|other| other.sid != sid)
        {
            return Err(SimError::NameTaken);
        }
        let fleet_sid = match &update.fleet {
            Some(fleet) => Some(self.fleet(fleet).ok_or(SimError::UnknownFleet)?.sid.clone()),
            None => sim.fleet_sid.clone(),
        };
        let next = update.status.filter(|next| *next != sim.status);
        if let Some(next) = next {
            if next.has_service() && fleet_sid.is_none() {
                return Err(SimError::NoFleet);
            }
            if !sim.status.can_become(next) {
                return Err(SimError::Transition);
            }
        }
        let moves = fleet_sid != sim.fleet_sid;
        if moves && sim.status == SimStatus::Scheduled {
            return Err(SimError::Transition);
        }
        // A new Sim is in no network that would have to be told of its Fleet.
        let next = next.or_else(|| Some(sim.status).filter(|is| moves && *is != SimStatus::New));
        let sim = self.sim_mut(&sid).ok_or(SimError::Unknown)?;
        sim.fleet_sid = fleet_sid;
        sim.unique_name = update.unique_name.or_else(|| sim.unique_name.take());
        sim.updated = now;
        if next.is_some() {
            sim.next = next;
            sim.status = SimStatus::Scheduled;
            sim.callback = update.callback;
        }
        Ok((sim.clone(), next.is_some()))
    }

    /// Finishes the change under way, if there is one: the Sim, and where that is told.
    pub(super) fn finish(&mut self, sid: &str, now: u64) -> Option<(Sim, Option<Callback>)> {
        let sim = self.sim_mut(sid)?;
        sim.status = sim.next.take()?;
        sim.updated = now;
        let callback = sim.callback.take();
        Some((sim.clone(), callback))
    }

    /// Finishes all changes under way: their time has passed while the server was down.
    pub(super) fn finish_all(&mut self) {
        for sim in &mut self.sims {
            sim.status = sim.next.take().unwrap_or(sim.status);
        }
    }

    pub(super) fn create_fleet(
        &mut self,
        unique_name: Option<String>,
        settings: FleetSettings,
        now: u64,
    ) -> Result<Fleet, SimError> {
        if unique_name
            .as_deref()
            .is_some_and(|name| self.fleet(name).is_some())
        {
            return Err(SimError::NameTaken);
        }
        let fleet = Fleet {
            sid: format!("HF{}", hex::encode(random::<16>())),
            unique_name,
            settings,
            created: now,
            updated: now,
        };
        self.fleets.push(fleet.clone());
        Ok(fleet)
    }

    pub(super) fn fleets(&self) -> &[Fleet] {
        &self.fleets
    }

    /// One by its SID or unique name.
    pub(super) fn fleet(&self, name: &str) -> Option<&Fleet> {
        let mut fleets = self.fleets.iter();
        fleets.find(|fleet| is_named(&fleet.sid, fleet.unique_name.as_deref(), name))
    }

    fn sim_mut(&mut self, sid: &str) -> Option<&mut Sim> {
        self.sims.iter_mut().find(|sim| sim.sid == sid)
    }
}

fn is_named(sid: &str, unique_name: Option<&str>, name: &str) -> bool {
    sid == name || unique_name == Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(sims: &mut Sims) -> String {
        let settings = FleetSettings {
            network_access_profile_sid: "HA00000000000000000000000000000000".into(),
            data_enabled: true,
            data_limit: 1000,
            sms_commands_enabled: true,
            sms_commands: None,
            ip_commands: None,
        };
        sims.create_fleet(Some("Pilot".into()), settings, 1)
            .unwrap()
            .sid
    }

    fn to(status: SimStatus) -> SimUpdate {
        SimUpdate {
            status: Some(status),
            ..SimUpdate::default()
        }
    }

    #[test]
    fn a_sim_takes_the_ways_that_are_open_to_it_and_no_others() {
        use SimStatus::{Active, Inactive, New, Ready};
        let open = [
            (New, Ready),
            (New, Active),
            (Ready, Active),
            (Ready, Inactive),
            (Active, Inactive),
            (Inactive, Active),
        ];
        for from in [New, Ready, Active, Inactive] {
            for next in [Ready, Active, Inactive] {
                let mut sims = Sims::default();
                sims.add("HS1", "89".into(), 1);
                sims.sims[0].fleet_sid = Some(fleet(&mut sims));
                sims.sims[0].status = from;
                let changed = sims.update("HS1", to(next), 2);
                if from == next {
                    assert!(!changed.unwrap().1, "{from} is {next}");
                } else if open.contains(&(from, next)) {
                    assert_eq!(changed.unwrap().0.status, SimStatus::Scheduled);
                    let (sim, _) = sims.finish("HS1", 3).unwrap();
                    assert_eq!(sim.status, next);
                    assert!(sims.finish("HS1", 4).is_none());
                } else {
                    let refused = changed.unwrap_err();
                    assert_eq!(refused, SimError::Transition, "{from} to {next}");
                }
            }
        }
    }

    #[test]
    fn a_sim_without_a_fleet_cannot_be_used() {
        let mut sims = Sims::default();
        sims.add("HS1", "89".into(), 1);
        fleet(&mut sims);
        let refused = sims.update("HS1", to(SimStatus::Ready), 2).unwrap_err();
        assert_eq!(refused, SimError::NoFleet);
        let both = SimUpdate {
            fleet: Some("Pilot".into()),
            ..to(SimStatus::Ready)
        };
        assert!(sims.update("HS1", both, 2).unwrap().1);
        let meanwhile = sims.update("HS1", to(SimStatus::Active), 2).unwrap_err();
        assert_eq!(meanwhile, SimError::Transition);
    }
}

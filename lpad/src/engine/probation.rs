//! Service is watched for a while after a switch: a subscription may be switched off, or a modem lose the
//! network for good, only after it seemed to work.

use std::time::Duration;

use es10_apdu::types::Iccid;
use tokio::time::Instant;

use crate::job::{Reason, Tried};
use crate::memory::journal::InService;

/// The profile that is watched, if one is.
#[derive(Debug, Default)]
pub(super) struct Probation(Option<Watched>);

#[derive(Debug)]
struct Watched {
    profile: InService,
    until: Instant,
    next: Instant,
    lost_since: Option<Instant>,
}

/// A profile that has lost its service.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) profile: InService,
    /// What it lacks, and for how long.
    pub(super) lack: Tried,
}

impl Probation {
    /// Watches a profile for so long from now on, in place of any other.
    pub(super) fn begin(&mut self, profile: InService, longest: Duration) {
        let now = Instant::now();
        self.0 = Some(Watched {
            profile,
            until: now + longest,
            next: now + LOOK,
            lost_since: None,
        });
    }

    /// Watches nothing any more.
    pub(super) fn end(&mut self) {
        self.0 = None;
    }

    /// Whether it is this profile that is watched.
    pub(super) fn is_of(&self, iccid: Iccid) -> bool {
        (self.0.as_ref()).is_some_and(|watched| watched.profile.iccid == iccid)
    }

    /// When the next look is due.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.0.as_ref().map(|watched| watched.next)
    }

    /// What a look has found: what is missing, if anything. Gives the profile when it has been out of
    /// service for `patience`; it is watched no longer then.
    pub(super) fn looked(
        &mut self,
        lack: Option<(Reason, Option<u8>)>,
        patience: Duration,
    ) -> Option<Lost> {
        let watched = self.0.as_mut()?;
        let now = Instant::now();
        watched.next = now + LOOK;
        let Some((reason, cause)) = lack else {
            watched.lost_since = None;
            if now >= watched.until {
                tracing::info!("the profile has been in service long enough");
                self.end();
            }
            return None;
        };
        // A loss that begins within the time is followed to its end.
        let since = *watched.lost_since.get_or_insert(now);
        if since == now {
            tracing::warn!(reason = reason.lack(), "the profile has lost its service");
        }
        if now - since < patience {
            return None;
        }
        let Watched { profile, .. } = self.0.take()?;
        let lack = Tried {
            iccid: profile.iccid,
            reason,
            cause,
            after_s: (now - since).as_secs(),
        };
        Some(Lost { profile, lack })
    }
}

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(30);

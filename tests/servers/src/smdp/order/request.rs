//! What is ordered.

use std::fmt;
use std::time::SystemTime;

use crate::profile::Profile;

/// What is ordered; everything but the profile has a default.
#[derive(Clone)]
pub struct OrderRequest {
    /// The profile to deliver.
    pub profile: Profile,
    /// The matching ID; empty means that the order is found by its EID.
    pub matching_id: String,
    /// The eUICC the order is bound to, 32 digits; `None` lets any eUICC claim it.
    ///
    /// An order with a matching ID and an EID is found by either, and only by that eUICC.
    pub eid: Option<String>,
    /// The code the user must know; only its hash is kept.
    pub confirmation_code: Option<String>,
    /// How many wrong confirmation codes close the order.
    pub max_confirmation_attempts: u32,
    /// How many installations the order is good for; `None` is any number.
    pub max_downloads: Option<u32>,
    /// How many packages may be delivered for one installation.
    pub max_attempts: u32,
    /// When the order expires.
    pub expires: Option<SystemTime>,
    /// Whether the profile can be downloaded at once; otherwise [`Smdp::release`] makes it so.
    ///
    /// [`Smdp::release`]: crate::smdp::Smdp::release
    pub released: bool,
    /// Whether a package bound to one one-time key may be bound to another one.
    pub rebinding: bool,
}

impl OrderRequest {
    /// An order any eUICC that shows the matching ID can claim, once.
    pub fn with_matching_id(profile: Profile, matching_id: impl Into<String>) -> Self {
        Self {
            profile,
            matching_id: matching_id.into(),
            eid: None,
            confirmation_code: None,
            max_confirmation_attempts: 3,
            max_downloads: Some(1),
            max_attempts: 10,
            expires: None,
            released: true,
            rebinding: true,
        }
    }

    /// An order for one eUICC, found by its EID and an empty matching ID.
    pub fn for_eid(profile: Profile, eid: impl Into<String>) -> Self {
        Self {
            eid: Some(eid.into()),
            ..Self::with_matching_id(profile, "")
        }
    }
}

impl fmt::Debug for OrderRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrderRequest")
            .field("profile", &self.profile)
            .field("max_downloads", &self.max_downloads)
            .finish_non_exhaustive()
    }
}

//! An order as a file or a request describes it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{fmt, fs, io};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::es2::StockedProfile;
use super::order::OrderRequest;
use crate::profile::{
    Iccid, NotificationEvent, PolicyRule, Profile, ProfileClass, ProfileError, ProfileOwner,
};

/// A profile and who may have it; every key can be left out.
///
/// Beside a package in a folder it says what the package does not. As an `[[order]]` of the
/// configuration file it also says which package, or that a profile is to be made.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OrderSettings {
    /// The matching ID; without it the order is found by its EID. In a folder it is the name of
    /// the file.
    pub matching_id: Option<String>,
    /// The file with the profile package; a relative path begins where the description stands.
    pub package: Option<PathBuf>,
    /// The profile package in base64, where there is no file.
    pub package_base64: Option<String>,
    /// The ICCID of a profile that is made; 18 to 20 digits.
    pub iccid: Option<Iccid>,
    /// How large a profile that is made is, in octets.
    pub size: Option<usize>,
    /// serviceProviderName
    pub service_provider: Option<String>,
    /// profileName
    pub profile_name: Option<String>,
    /// profileClass: `operational`, `provisioning` or `test`.
    pub class: Option<ProfileClass>,
    /// The events the eUICC reports: `install`, `enable`, `disable`, `delete`.
    pub notifications: Option<Vec<NotificationEvent>>,
    /// The server that is notified, when it is not this one.
    pub notification_address: Option<String>,
    /// profileOwner: `mcc_mnc`, `gid1` and `gid2` in hexadecimal digits.
    pub owner: Option<ProfileOwner>,
    /// The profile policy rules: `ppr1`, `ppr2`.
    pub policy_rules: Vec<PolicyRule>,
    /// The file with the icon, in PNG form.
    pub icon: Option<PathBuf>,
    /// Protect the package with keys of its own.
    pub ppk: bool,
    /// The code the user must know.
    pub confirmation_code: Option<String>,
    /// How many wrong confirmation codes close the order.
    pub max_confirmation_attempts: Option<u32>,
    /// The only eUICC that may download it, 32 digits; it need not show the matching ID.
    pub eid: Option<String>,
    /// Any number of downloads.
    pub repeat: bool,
    /// How many downloads it is good for; 1 without this key, in a folder any number.
    pub max_downloads: Option<u32>,
    /// How many packages may be delivered for one installation.
    pub max_attempts: Option<u32>,
    /// In how many seconds from now the order expires; 0 has it expired.
    pub expires_in: Option<u64>,
    /// Whether it can be downloaded at once, which it can without this key.
    pub released: Option<bool>,
    /// Whether a package bound to one one-time key may be bound to another one, which it may
    /// without this key.
    pub rebinding: Option<bool>,
    /// Not an order but a profile of this type, which can be ordered over ES2+.
    pub profile_type: Option<String>,
    /// The only functionRequesterIdentifier that may order it over ES2+.
    pub only_operator: Option<String>,
}

/// Why no order can be made of a description.
#[derive(Debug, thiserror::Error)]
pub enum OrderSettingsError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The package is not one.
    #[error("the package: {0}")]
    Package(#[from] ProfileError),
    /// The description contradicts itself.
    #[error("{0}")]
    Contradiction(&'static str),
}

impl OrderSettings {
    /// The order, with files read from `folder`; without one there are no files.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, the package is none, or two keys contradict each other.
    pub fn order(self, folder: Option<&Path>) -> Result<OrderRequest, OrderSettingsError> {
        if self.is_for_stock() {
            return contradiction("what has a profile_type is ordered over ES2+");
        }
        if self.matching_id.is_none() && self.eid.is_none() {
            return contradiction("an order needs a matching_id or an eid");
        }
        let profile = self.profile(folder)?;
        self.order_of(profile, folder)
    }

    /// Whether this is no order but a profile that can be ordered over ES2+.
    pub fn is_for_stock(&self) -> bool {
        self.profile_type.is_some()
    }

    /// The profile that can be ordered, with files read from `folder`.
    ///
    /// # Errors
    ///
    /// As [`OrderSettings::order`]; also when it says how the profile is found, which the operator
    /// says.
    pub fn stocked(self, folder: Option<&Path>) -> Result<StockedProfile, OrderSettingsError> {
        let has_own_iccid = [
            self.iccid.is_some(),
            self.package.is_some(),
            self.package_base64.is_some(),
        ];
        if !has_own_iccid.contains(&true) {
            return contradiction("a profile with a profile_type needs an iccid or a package");
        }
        let profile = self.profile(folder)?;
        self.stocked_of(profile, folder)
    }

    /// The profile that can be ordered, of one that is there already.
    pub(super) fn stocked_of(
        mut self,
        profile: Profile,
        folder: Option<&Path>,
    ) -> Result<StockedProfile, OrderSettingsError> {
        if self.matching_id.is_some() || self.eid.is_some() || self.confirmation_code.is_some() {
            return contradiction(
                "matching_id, eid and confirmation_code come with ES2+ to what has a profile_type",
            );
        }
        let profile_type = self.profile_type.take().unwrap_or_default();
        let operator = self.only_operator.take();
        Ok(StockedProfile {
            profile: self.order_of(profile, folder)?.profile,
            profile_type,
            operator,
        })
    }

    fn profile(&self, folder: Option<&Path>) -> Result<Profile, OrderSettingsError> {
        let package = match (&self.package, &self.package_base64) {
            (Some(_), Some(_)) => {
                return contradiction("package and package_base64 exclude each other");
            }
            (Some(package), None) => Some(read(folder, package)?),
            (None, Some(text)) => match BASE64_STANDARD.decode(text) {
                Ok(package) => Some(package),
                Err(_) => return contradiction("package_base64 is no base64"),
            },
            (None, None) => None,
        };
        match package {
            Some(_) if self.iccid.is_some() || self.size.is_some() => {
                contradiction("iccid and size are for a profile that is made")
            }
            Some(package) => Ok(Profile::from_package(package)?),
            None => Ok(self.made()),
        }
    }

    /// The order of a profile that is there already.
    pub(super) fn order_of(
        self,
        mut profile: Profile,
        folder: Option<&Path>,
    ) -> Result<OrderRequest, OrderSettingsError> {
        if self.repeat && self.max_downloads.is_some() {
            return contradiction("repeat = true and max_downloads exclude each other");
        }
        if self.eid.as_ref().is_some_and(|eid| !is_eid(eid)) {
            return contradiction("an eid has 32 digits");
        }
        let metadata = &mut profile.metadata;
        metadata.class = self.class.unwrap_or(metadata.class);
        metadata.owner = self.owner;
        metadata.policy_rules = self.policy_rules;
        metadata.notification_address = self.notification_address;
        for (member, value) in [
            (&mut metadata.service_provider, self.service_provider),
            (&mut metadata.profile_name, self.profile_name),
        ] {
            if let Some(value) = value {
                *member = value;
            }
        }
        if let Some(events) = self.notifications {
            metadata.notification_events = events;
        }
        if let Some(icon) = &self.icon {
            metadata.icon = read(folder, icon)?;
        }
        profile.ppk = self.ppk;
        let defaults =
            OrderRequest::with_matching_id(profile, self.matching_id.unwrap_or_default());
        let most = self.max_downloads.or(defaults.max_downloads);
        let expires = self
            .expires_in
            .map(|seconds| SystemTime::now() + Duration::from_secs(seconds));
        Ok(OrderRequest {
            eid: self.eid,
            confirmation_code: self.confirmation_code,
            max_confirmation_attempts: self
                .max_confirmation_attempts
                .unwrap_or(defaults.max_confirmation_attempts),
            max_downloads: most.filter(|_| !self.repeat),
            max_attempts: self.max_attempts.unwrap_or(defaults.max_attempts),
            expires,
            released: self.released.unwrap_or(defaults.released),
            rebinding: self.rebinding.unwrap_or(defaults.rebinding),
            ..defaults
        })
    }

    /// A profile of our own; the same description makes the same profile.
    fn made(&self) -> Profile {
        let iccid = self.iccid.clone().unwrap_or_else(|| {
            let whose = [self.matching_id.as_deref(), self.eid.as_deref()];
            let digest = Sha256::digest(whose.map(Option::unwrap_or_default).join("$"));
            Iccid::nth(u32::from_be_bytes([
                digest[0], digest[1], digest[2], digest[3],
            ]))
        });
        let mut builder = Profile::builder(iccid).size(self.size.unwrap_or(DEFAULT_SIZE));
        if let Some(name) = &self.profile_name {
            builder = builder.name(name);
        }
        builder.build()
    }
}

impl fmt::Debug for OrderSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrderSettings")
            .field("package", &self.package)
            .field("profile_name", &self.profile_name)
            .finish_non_exhaustive()
    }
}

fn contradiction<T>(problem: &'static str) -> Result<T, OrderSettingsError> {
    Err(OrderSettingsError::Contradiction(problem))
}

fn read(folder: Option<&Path>, path: &Path) -> Result<Vec<u8>, OrderSettingsError> {
    let Some(folder) = folder else {
        return contradiction("package and icon are names of files, and there are none here");
    };
    let path = folder.join(path);
    fs::read(&path).map_err(|source| OrderSettingsError::Io { path, source })
}

fn is_eid(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|digit| digit.is_ascii_digit())
}

/// As large as the smallest profiles of operators.
const DEFAULT_SIZE: usize = 3000;

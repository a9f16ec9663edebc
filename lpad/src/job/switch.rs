//! How the profile in use is changed, and what can be said of that.

use std::fmt;

use es10_apdu::types::Iccid;
use serde::{Deserialize, Serialize};

use crate::config::Confirm;
use crate::printed;

/// A profile to enable.
#[derive(Clone, Debug)]
pub struct Switch {
    /// The profile.
    pub iccid: Iccid,
    /// Whether it must get service, or else the one before is used again.
    pub verify: bool,
    /// Who has the last word; as configured when it is not said.
    pub confirm: Option<Confirm>,
    /// How long it may take to get service, in seconds; as configured when it is not said.
    pub deadline_s: Option<u64>,
    /// Whether it may be one that cannot be left again.
    pub accept_no_return: bool,
    /// Whether no client asked for it.
    pub by_itself: bool,
}

impl Switch {
    /// To this profile, as configured.
    pub fn to(iccid: Iccid) -> Self {
        Self {
            iccid,
            verify: true,
            confirm: None,
            deadline_s: None,
            accept_no_return: false,
            by_itself: false,
        }
    }
}

/// What a client says of a switch.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The new profile stays.
    Confirm,
    /// The one before is used again.
    Revert,
}

impl Verdict {
    /// The name used in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Confirm => "confirm",
            Self::Revert => "revert",
        }
    }
}

/// Where a change of the profile in use stands, or how it ended.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Switching {
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The profile that is brought into service, or is in use at the end.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "printed::optional"
    )]
    #[cfg_attr(feature = "openapi", schemars(with = "Option<String>"))]
    pub profile: Option<Iccid>,
    /// Until when that profile has to be in service, or a client has to confirm it, in seconds since
    /// 1970-01-01 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_s: Option<u64>,
    /// The profiles that got no service, in the order in which they were tried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Tried>,
}

/// How a change of the profile in use ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(rename = "SwitchOutcome")
)]
pub enum Outcome {
    /// The new profile is in service.
    Confirmed,
    /// The new profile is in use. Whether it is in service was not to be looked at, the modem does not
    /// tell, or there is no other profile to go back to.
    Unverified,
    /// The new profile got no service; the one before is in use again.
    Reverted,
    /// Neither of them got service; another profile is in use.
    Diverted,
    /// No profile got service.
    Stranded,
}

impl Outcome {
    /// The name used in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Unverified => "unverified",
            Self::Reverted => "reverted",
            Self::Diverted => "diverted",
            Self::Stranded => "stranded",
        }
    }
}

/// A profile that got no service.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Tried {
    /// The profile.
    #[serde(with = "printed")]
    #[cfg_attr(feature = "openapi", schemars(with = "String"))]
    pub iccid: Iccid,
    /// What was missing.
    pub reason: Reason,
    /// The network's reason by its number, 3GPP TS 24.301 section 9.9.3.9.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<u8>,
    /// How long it was tried, in seconds.
    pub after_s: u64,
}

impl Tried {
    /// Given up for this, without having been tried for any time.
    pub(crate) fn of(iccid: Iccid, reason: Reason) -> Self {
        Self {
            iccid,
            reason,
            cause: None,
            after_s: 0,
        }
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (iccid, seconds) = (self.iccid, self.after_s);
        match self.reason {
            Reason::CardRefused => write!(f, "the card refused to enable {iccid}"),
            Reason::CardKeptOld => write!(f, "the card did not switch to {iccid}"),
            Reason::ModemKeptOld => write!(f, "the modem did not use {iccid}"),
            Reason::GivenUp => write!(
                f,
                "{iccid} got no service before lpad was ended again and again"
            ),
            Reason::NotConfirmed => write!(f, "nobody confirmed {iccid} within {seconds} s"),
            Reason::Reverted => write!(f, "{iccid} was not wanted any more"),
            reason => {
                let lack = reason.lack();
                write!(f, "{iccid} got no service within {seconds} s: {lack}")?;
                match self.cause {
                    Some(cause) => write!(f, " (cause {cause})"),
                    None => Ok(()),
                }
            }
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $lack:literal;)*) => {
        /// What a profile lacks to be in service.
        #[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
        #[serde(rename_all = "kebab-case")]
        #[cfg_attr(
            feature = "openapi",
            derive(schemars::JsonSchema),
            schemars(rename = "SwitchReason")
        )]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            /// In words.
            pub fn lack(self) -> &'static str {
                match self {
                    $(Self::$variant => $lack,)*
                }
            }
        }
    };
}

reasons! {
    /// The modem finds no network for it.
    NotRegistered = "the modem is not registered in a network";
    /// A network refuses it.
    Denied = "the network refuses it";
    /// Only a foreign network takes it, which is not wanted.
    HomeOnly = "only a foreign network takes it";
    /// It has no address.
    NoAddress = "there is no address";
    /// The access point name is missing, unknown or not subscribed.
    Apn = "the network refuses the APN";
    /// A host name cannot be resolved.
    Dns = "a name cannot be resolved";
    /// A connection cannot be made.
    Connect = "a connection cannot be made";
    /// A server does not prove who it is.
    Tls = "a server does not prove who it is";
    /// A server answers something else.
    Status = "a server answers with another status";
    /// A program says that it is not.
    Command = "a check failed";
    /// The modem cannot be asked.
    ModemGone = "the modem cannot be asked";
    /// The card refused to enable it.
    CardRefused = "the card refused";
    /// The card accepted, and kept the old one.
    CardKeptOld = "the card did not switch";
    /// The card switched, and the modem kept the old one.
    ModemKeptOld = "the modem did not switch";
    /// No client confirmed it in time.
    NotConfirmed = "nobody confirmed it";
    /// A client wanted the one before again.
    Reverted = "a client wanted the one before again";
    /// It was tried again after each of several starts of the daemon.
    GivenUp = "lpad was ended again and again meanwhile";
}

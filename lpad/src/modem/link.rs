//! How APDUs reach the card, as was found out.

use es10_apdu::link::{GetResponseClass, Le, LinkOptions};
use serde::{Deserialize, Serialize};

use crate::config::Route;

/// How APDUs reach the card through a modem, as was found out by trying.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FoundLink {
    /// Manufacturer, model and firmware of the modem: another one is tried anew.
    pub modem: String,
    /// The commands.
    pub route: Route,
    /// Data octets in one STORE DATA block.
    pub block_size: u8,
    /// Whether commands carry Le.
    #[serde(default)]
    pub le: bool,
    /// Whether GET RESPONSE has the class byte of interindustry commands.
    #[serde(default)]
    pub interindustry: bool,
}

impl FoundLink {
    /// What was found out about this link.
    pub(crate) fn of(modem: &str, route: Route, link: &LinkOptions) -> Self {
        Self {
            modem: modem.to_owned(),
            route,
            block_size: link.block_size,
            le: link.le == Le::Zero,
            interindustry: link.get_response == GetResponseClass::Interindustry,
        }
    }

    /// The same link, with what was found out about it.
    pub(crate) fn adapt(&self, link: &LinkOptions) -> LinkOptions {
        LinkOptions {
            // A configured size is never exceeded.
            block_size: self.block_size.min(link.block_size),
            le: match self.le {
                true => Le::Zero,
                false => Le::Absent,
            },
            get_response: match self.interindustry {
                true => GetResponseClass::Interindustry,
                false => GetResponseClass::AsCommand,
            },
            ..link.clone()
        }
    }
}

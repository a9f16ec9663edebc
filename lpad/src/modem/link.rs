//! How APDUs reach the card, as was found out.

use es10_apdu::link::{GetResponseClass, Le, LinkOptions};
use serde::{Deserialize, Serialize};

use crate::config::Route;

/// How APDUs reach the card through a modem, as was found out by trying.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FoundLink {
    /// Where that began: from anything else it is tried anew.
    pub start: Start,
    /// The commands.
    pub route: Route,
    /// How they are used.
    pub form: Form,
}

/// What is known before anything is tried, from the table of modems and the configuration.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Start {
    /// Manufacturer, model and firmware of the modem.
    pub modem: String,
    /// The routes, in the order in which they are tried.
    pub routes: Vec<Route>,
    /// How they are used at first.
    pub form: Form,
}

/// How commands for the card are written.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Form {
    /// Data octets in one STORE DATA block at most.
    pub block_size: u8,
    /// Whether commands carry Le.
    pub le: bool,
    /// Whether GET RESPONSE has the class byte of interindustry commands.
    pub interindustry: bool,
}

impl Form {
    /// That of a link.
    pub(crate) fn of(link: &LinkOptions) -> Self {
        Self {
            block_size: link.block_size,
            le: link.le == Le::Zero,
            interindustry: link.get_response == GetResponseClass::Interindustry,
        }
    }

    /// The same link in this form.
    pub(crate) fn over(&self, link: &LinkOptions) -> LinkOptions {
        LinkOptions {
            block_size: self.block_size,
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

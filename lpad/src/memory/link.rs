//! How APDUs reach the card, as was found out.

use es10_apdu::link::{GetResponseClass, Le, LinkOptions};
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use crate::config::Route;
use crate::printed;

/// How APDUs reach the card through a modem, as was found out by trying.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FoundLink {
    /// What it was found out from: the modem, the routes and the form at first. From anything else it is
    /// tried anew.
    #[serde(with = "printed")]
    pub start: Digest,
    /// The commands.
    pub route: Route,
    /// Data octets in one STORE DATA block at most.
    pub block_size: u8,
    /// Whether commands carry Le.
    pub le: bool,
    /// Whether GET RESPONSE has the class byte of interindustry commands.
    pub interindustry: bool,
}

impl FoundLink {
    /// A route that works with a link like this.
    pub(crate) fn new(start: Digest, route: Route, link: &LinkOptions) -> Self {
        Self {
            start,
            route,
            block_size: link.block_size,
            le: link.le == Le::Zero,
            interindustry: link.get_response == GetResponseClass::Interindustry,
        }
    }

    /// A link, used like this.
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

/// What is known before anything is tried: who the modem is, by which routes and how the link is to be
/// used at first.
pub(crate) fn start_of(modem: &str, routes: &[Route], link: &LinkOptions) -> Digest {
    let routes: Vec<u8> = routes.iter().map(|&route| route as u8).collect();
    let form = [link.block_size, link.le as u8, link.get_response as u8];
    Digest::of(&[modem.as_bytes(), &routes, &form])
}

//! How an emulated eUICC is set up.

use es10_apdu::types::{PprIds, RspCapability, UiccCapability, VersionType};

use super::metadata::{Rule, any_operator};

/// Features, limits and manners of the card.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// Version of the profile package format.
    pub profile_version: VersionType,
    /// Version of SGP.22.
    pub svn: VersionType,
    /// Version of the firmware.
    pub firmware_version: VersionType,
    /// Profile package features.
    pub uicc_capability: UiccCapability,
    /// RSP features.
    pub rsp_capability: RspCapability,
    /// Policy rules no profile may have.
    pub forbidden_rules: PprIds,
    /// Accreditation of the production site.
    pub sas_accreditation_number: String,
    /// Octets of flash for profiles.
    pub memory: usize,
    /// Octets of free RAM, as reported.
    pub free_ram: u32,
    /// The Rules Authorisation Table.
    pub rat: Vec<Rule>,
    /// Address of the root SM-DS.
    pub root_ds_address: String,
    /// Number of supplementary logical channels, at most 19.
    pub channels: u8,
    /// Answer every command that has data both ways with `61xx`, as behind a T=0 interface.
    pub always_get_response: bool,
    /// Let the ISD-R be selected on the basic channel.
    pub isdr_on_basic_channel: bool,
    /// Number of notifications kept; the oldest makes room.
    pub notifications: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            profile_version: VersionType([2, 3, 1]),
            svn: VersionType([2, 5, 0]),
            firmware_version: VersionType([1, 0, 0]),
            uicc_capability: default_capability(),
            rsp_capability: RspCapability::ADDITIONAL_PROFILE | RspCapability::TEST_PROFILE_SUPPORT,
            forbidden_rules: PprIds::default(),
            sas_accreditation_number: "LP-AD-UP-0001".into(),
            memory: 0x8_0000,
            free_ram: 0x2000,
            rat: vec![any_operator(PprIds::PPR1 | PprIds::PPR2, true)],
            root_ds_address: "lpa.ds.gsma.com".into(),
            channels: 3,
            always_get_response: false,
            isdr_on_basic_channel: false,
            notifications: 100,
        }
    }
}

/// Everything but contactless, MULTOS and what came after version 2 of the format.
fn default_capability() -> UiccCapability {
    let not = UiccCapability::CONTACTLESS_SUPPORT | UiccCapability::MULTOS;
    let rfu = 1 << 9;
    UiccCapability(((1 << 26) - 1) & !not.0 & !rfu)
}

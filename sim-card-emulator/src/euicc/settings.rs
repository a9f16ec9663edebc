//! How an emulated eUICC is set up.

use es10_apdu::apdu::StatusWord;
use es10_apdu::types::{Iccid, PprIds, RspCapability, UiccCapability, VersionType};
use serde::Deserialize;

use super::metadata::{Rule, any_operator};

mod read;

/// Features, limits and manners of the card.
///
/// As text, what is left out has the value of [`Settings::default`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Version of the profile package format.
    #[serde(deserialize_with = "read::version")]
    pub profile_version: VersionType,
    /// Version of SGP.22.
    #[serde(deserialize_with = "read::version")]
    pub svn: VersionType,
    /// Version of the firmware.
    #[serde(deserialize_with = "read::version")]
    pub firmware_version: VersionType,
    /// Profile package features.
    #[serde(deserialize_with = "read::uicc_capability")]
    pub uicc_capability: UiccCapability,
    /// RSP features. Without `crlSupport` there is no LoadCRL, without `testProfileSupport` no test
    /// profile is installed, without `serviceSpecificDataSupport` such data is not kept, and
    /// without `deviceInfoExtensibilitySupport` AuthenticateServer takes the device information of
    /// the first versions only.
    #[serde(deserialize_with = "read::rsp_capability")]
    pub rsp_capability: RspCapability,
    /// Policy rules no profile may have.
    #[serde(deserialize_with = "read::ppr_ids")]
    pub forbidden_rules: PprIds,
    /// Accreditation of the production site.
    pub sas_accreditation_number: String,
    /// Octets of flash for profiles and revocation lists.
    pub memory: usize,
    /// Octets of free RAM, as reported.
    pub free_ram: u32,
    /// Extended card resources (ETSI TS 102 226) to report instead of the right ones: some cards
    /// send what cannot be read.
    #[serde(deserialize_with = "read::octets")]
    pub card_resource: Option<Vec<u8>>,
    /// The Rules Authorisation Table.
    pub rat: Vec<Rule>,
    /// Address of the root SM-DS.
    pub root_ds_address: String,
    /// Number of supplementary logical channels, at most 19.
    pub channels: u8,
    /// Number of the first of them: cards that keep low numbers for themselves begin higher.
    pub first_channel: u8,
    /// Answer every command that has data both ways with `61xx`, as behind a T=0 interface.
    pub always_get_response: bool,
    /// Octets of one answer, at most 256; a longer one leaves in pieces by `61xx`.
    pub response_piece: u16,
    /// Answer `6Cxx` to any Le but the exact one, as cards do whose Le is a length field.
    pub le_exact: bool,
    /// AIDs of the ISD-R. Products that are no SGP.22 cards by certificate have one of their own.
    #[serde(deserialize_with = "read::octet_strings")]
    pub isdr_aids: Vec<Vec<u8>>,
    /// Answer SELECT of the ISD-R with a status word alone.
    pub fci_less_select: bool,
    /// Refuse the ISD-R until TERMINAL CAPABILITY has told of an LPA in the terminal.
    pub terminal_capability_required: bool,
    /// The LPA in the card is active: the ISD-R refuses the one in the terminal.
    pub lpae_active: bool,
    /// Install whole profiles only: what a network access application needs must be in the
    /// package, in the right order, and EF.ICCID must be the header's.
    pub strict_content: bool,
    /// Let the ISD-R be selected on the basic channel, as most cards do.
    pub isdr_on_basic_channel: bool,
    /// Name the ISD-R in EF.DIR while no profile is in use; without it there is no EF.DIR then.
    pub isdr_in_directory: bool,
    /// Octets of a protected TLV of a package, at most. SGP.22 allows 1020, but cards accept 1036,
    /// and widespread servers send them.
    pub segment_limit: usize,
    /// Number of notifications kept.
    pub notifications: usize,
    /// What happens when there is no room for another notification.
    pub full_store: FullStore,
    /// How an empty list of notifications is answered.
    pub empty_list: EmptyList,
    /// Answers and error codes of SGP.22 v3 cards to requests of v2.
    pub v3_answers: bool,
    /// A proactive session that does not end: what cannot be done meanwhile is answered catBusy.
    pub cat_busy: bool,
    /// Answer AuthenticateServer with a certificate of another role invalidCertificate instead of
    /// invalidOid.
    pub vague_role_error: bool,
    /// Answer CancelSession without a session undefinedError instead of invalidTransactionId.
    pub vague_cancel_error: bool,
    /// Refuse PrepareDownload (undefinedError) when a confirmation code is required and none given,
    /// instead of leaving that to the server.
    pub hash_cc_demanded: bool,
    /// Accept several `87` of one sequence in a segment, as LPAs send them that do not cut inside
    /// `A0` and `A2`.
    pub uncut_sequences: bool,
    /// Make a notification for each of a profile's entries for its installation, besides the result.
    pub installation_notified: bool,
    /// Report an installation that was cut off (reason 11); without it nothing is heard of it.
    pub interruption_reported: bool,
    /// What the last segment of a package is answered with.
    pub installation_answer: InstallationAnswer,
    /// What is wrong with the results of installations.
    pub damaged_result: Option<DamagedResult>,
    /// Report success with an empty simaResponse, `30 00`.
    pub bare_sima_response: bool,
    /// The network access key of test profiles is not the test key: they are refused (reason 14).
    pub foreign_naa_key: bool,
    /// The profile that is in use after every reset, whatever was in use before: a card that goes
    /// back by itself.
    #[serde(deserialize_with = "read::iccid")]
    pub profile_at_reset: Option<Iccid>,
    /// Answers that are given instead of doing anything; one that fired is gone.
    pub forced: Vec<Forced>,
    /// Hold no CI key for verification (`A9 00`), as a card does that was never personalised:
    /// no server can prove itself.
    pub no_verification_keys: bool,
    /// Hold no certificate for signing (`AA 00`), as a card does that was never personalised:
    /// no `euiccCiPKIdToBeUsed` is known.
    pub no_signing_keys: bool,
}

/// What happens when there is no room for another notification.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum FullStore {
    /// The oldest one makes room.
    #[default]
    DropOldest,
    /// Downloads and profile management are refused (undefinedError) until the list was emptied.
    Refuse,
}

/// How an empty list of notifications is answered.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum EmptyList {
    /// As a list without elements, `A0 00`.
    #[default]
    List,
    /// As error 1, noResultAvailable, as of early versions of SGP.22 (RetrieveNotificationsList).
    NoResultAvailable,
    /// As error 127, as some old cards do.
    UndefinedError,
}

/// What the last segment of a package is answered with.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum InstallationAnswer {
    /// The result.
    #[default]
    Result,
    /// Nothing: the result is found in the list of notifications only.
    Nothing,
    /// Nothing, and nothing is done: the card waits for more.
    NothingDone,
}

/// What is wrong with the results of installations.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum DamagedResult {
    /// They say neither success nor error, but are signed.
    WithoutOutcome,
    /// The signature is another key's.
    WrongSignature,
}

/// An answer that is given instead of doing anything; the state of the card stays as it is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Forced {
    /// The tag of the function; for a package the tag its segment begins with.
    #[serde(deserialize_with = "read::tag")]
    pub function: u32,
    /// Which call from now on, the next one being the first; all of them when it is missing.
    #[serde(default)]
    pub call: Option<u32>,
    /// The answer.
    pub answer: ForcedAnswer,
}

/// What is answered instead of doing anything.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum ForcedAnswer {
    /// The function's result or error code; of a segment the reason of an installation's failure.
    ///
    /// Code 0 where a function has results makes a card that reports success and did nothing; a
    /// REFRESH that was wanted is announced.
    /// Functions without codes answer a status word instead, `6F00`.
    Code(i64),
    /// A status word.
    #[serde(deserialize_with = "read::status")]
    Status(StatusWord),
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
            card_resource: None,
            rat: vec![any_operator(PprIds::PPR1 | PprIds::PPR2, true)],
            root_ds_address: "lpa.ds.gsma.com".into(),
            channels: 3,
            first_channel: 1,
            always_get_response: false,
            response_piece: 256,
            le_exact: false,
            isdr_aids: vec![ISDR_AID.to_vec()],
            fci_less_select: false,
            terminal_capability_required: false,
            lpae_active: false,
            strict_content: false,
            isdr_on_basic_channel: true,
            isdr_in_directory: true,
            segment_limit: 1036,
            notifications: 100,
            full_store: FullStore::default(),
            empty_list: EmptyList::default(),
            v3_answers: false,
            cat_busy: false,
            vague_role_error: false,
            vague_cancel_error: false,
            hash_cc_demanded: false,
            uncut_sequences: false,
            installation_notified: true,
            interruption_reported: true,
            installation_answer: InstallationAnswer::default(),
            damaged_result: None,
            bare_sima_response: false,
            foreign_naa_key: false,
            profile_at_reset: None,
            forced: Vec::new(),
            no_verification_keys: false,
            no_signing_keys: false,
        }
    }
}

/// Everything but contactless, MULTOS and what came after version 2 of the format.
fn default_capability() -> UiccCapability {
    let not = UiccCapability::CONTACTLESS_SUPPORT | UiccCapability::MULTOS;
    let rfu = 1 << 9;
    UiccCapability(((1 << 26) - 1) & !not.0 & !rfu)
}

/// The AID of GSMA.
const ISDR_AID: [u8; 16] = [
    0xA0, 0x00, 0x00, 0x05, 0x59, 0x10, 0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x89, 0x00, 0x00, 0x01, 0x00,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_from_text_and_unknown_names_are_refused() {
        assert_eq!(toml::from_str::<Settings>("").unwrap(), Settings::default());
        let text = r#"
            svn = "2.2.2"
            rsp_capability = ["additionalProfile", "crlSupport"]
            forbidden_rules = ["ppr2"]
            full_store = "refuse"
            damaged_result = "wrong-signature"
            [[rat]]
            rules = ["ppr1", "ppr2"]
            operators = [{ mcc_mnc = "26202" }, { mcc_mnc = "EEEEEE", gid1 = "", gid2 = "0A" }]
            consent_required = true
            [[forced]]
            function = "BF31"
            call = 2
            answer = { code = 5 }
            [[forced]]
            function = "86"
            answer = { status = "6A80" }
        "#;
        let settings: Settings = toml::from_str(text).unwrap();
        assert_eq!(settings.svn, VersionType([2, 2, 2]));
        let capability = RspCapability::ADDITIONAL_PROFILE | RspCapability::CRL_SUPPORT;
        assert_eq!(settings.rsp_capability, capability);
        assert_eq!(settings.forbidden_rules, PprIds::PPR2);
        assert_eq!(settings.full_store, FullStore::Refuse);
        let rule = &settings.rat[0].0;
        assert_eq!(rule.allowed_operators[0].mcc_mnc[..], [0x62, 0xF2, 0x20]);
        assert_eq!(rule.allowed_operators[0].gid1, None);
        assert_eq!(rule.allowed_operators[1].mcc_mnc[..], [0xEE; 3]);
        assert_eq!(rule.allowed_operators[1].gid2.as_deref(), Some(&[0x0A][..]));
        let forced = Forced {
            function: 0xBF31,
            call: Some(2),
            answer: ForcedAnswer::Code(5),
        };
        assert_eq!(settings.forced[0], forced);
        let answer = ForcedAnswer::Status(StatusWord::INCORRECT_DATA);
        assert_eq!(settings.forced[1].answer, answer);
        for wrong in [
            "sv = 1",
            "svn = \"2.2\"",
            "forbidden_rules = [\"ppr9\"]",
            "full_store = \"explode\"",
            "rat = [{ rules = [], operators = [{ mcc_mnc = \"2620\" }] }]",
            "forced = [{ function = \"BF\", answer = { code = 1 }, when = 1 }]",
            "forced = [{ function = \"XY\", answer = { code = 1 } }]",
        ] {
            assert!(toml::from_str::<Settings>(wrong).is_err(), "{wrong}");
        }
    }
}

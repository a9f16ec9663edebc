//! Reading the card into what the API shows.

use es10_apdu::asn1::Unreadable;
use es10_apdu::es10b::{EuiccInfo2, NotificationMetadata};
use es10_apdu::es10c::ProfileInfo;

use crate::memory::snapshot::{Addresses, EuiccInfo, Notification, Profile, ProfileState};
use crate::procedure::{Card, FunctionError, euicc, notifications, profiles};

/// Everything that is read at start.
#[derive(Clone, Debug)]
pub(super) struct CardState {
    pub(super) eid: String,
    pub(super) info: EuiccInfo,
    pub(super) addresses: Addresses,
    pub(super) profiles: Vec<Profile>,
}

impl CardState {
    pub(super) async fn read(card: &mut impl Card) -> Result<Self, FunctionError> {
        Ok(Self {
            eid: euicc::eid(card).await?.to_string(),
            info: info(card).await?,
            addresses: addresses(card).await?,
            profiles: profiles(card).await?,
        })
    }
}

pub(super) async fn info(card: &mut impl Card) -> Result<EuiccInfo, FunctionError> {
    let info: EuiccInfo2 = euicc::info2(card).await?.into_value();
    let keys = |list: &[es10_apdu::types::SubjectKeyIdentifier]| {
        list.iter()
            .map(|key| hex::encode_upper(key.octets()))
            .collect()
    };
    Ok(EuiccInfo {
        svn: info.svn.to_string(),
        firmware: info.euicc_firmware_ver.to_string(),
        profile_version: info.profile_version.to_string(),
        free_memory_bytes: info.resources().free_non_volatile_memory,
        ci_keys_for_verification: keys(&info.euicc_ci_pk_id_list_for_verification),
        ci_keys_for_signing: keys(&info.euicc_ci_pk_id_list_for_signing),
    })
}

pub(super) async fn addresses(card: &mut impl Card) -> Result<Addresses, FunctionError> {
    let addresses = euicc::addresses(card).await?;
    let text = |text: Option<es10_apdu::types::Text>| text.map(|text| text.to_string());
    Ok(Addresses {
        default_smdp: text(addresses.default_dp_address).filter(|address| !address.is_empty()),
        root_smds: text(addresses.root_ds_address).unwrap_or_default(),
    })
}

pub(super) async fn profiles(card: &mut impl Card) -> Result<Vec<Profile>, FunctionError> {
    let list = profiles::list(card).await?;
    if !list.unreadable.is_empty() {
        tracing::warn!(
            count = list.unreadable.len(),
            "profiles that cannot be read are left out"
        );
    }
    Ok(list.items.iter().filter_map(profile).collect())
}

fn profile(info: &ProfileInfo) -> Option<Profile> {
    let text = |text: &Option<es10_apdu::types::Text>| {
        text.as_ref()
            .map(|text| text.to_string())
            .unwrap_or_default()
    };
    let class = info.class();
    Some(Profile {
        iccid: info.iccid?.to_string(),
        state: match info.is_enabled() {
            true => ProfileState::Enabled,
            false => ProfileState::Disabled,
        },
        class: class
            .meaning()
            .map_or_else(|| class.0.to_string(), str::to_owned),
        service_provider: text(&info.service_provider_name),
        name: text(&info.profile_name),
        nickname: Some(text(&info.profile_nickname)).filter(|nickname| !nickname.is_empty()),
        aid: info
            .isdp_aid
            .as_ref()
            .map(|aid| hex::encode_upper(aid.octets())),
        policy_rules: info
            .profile_policy_rules
            .map(|rules| rules.names().map(str::to_owned).collect())
            .unwrap_or_default(),
    })
}

pub(super) async fn notifications(
    card: &mut impl Card,
) -> Result<Vec<Notification>, FunctionError> {
    let list = notifications::metadata(card).await?;
    let readable = list.items.iter().map(notification);
    Ok(readable
        .chain(list.unreadable.iter().map(unreadable))
        .collect())
}

/// An entry of the card's list that cannot be read.
pub(super) fn unreadable(entry: &Unreadable) -> Notification {
    Notification {
        event: "unreadable".to_owned(),
        set_aside: Some(format!(
            "the card's entry {} cannot be read: {}",
            entry.index, entry.error
        )),
        ..Notification::default()
    }
}

pub(super) fn notification(metadata: &NotificationMetadata) -> Notification {
    let event = metadata
        .profile_management_operation
        .names()
        .collect::<Vec<_>>()
        .join("+");
    Notification {
        sequence_number: u64::try_from(metadata.seq_number).unwrap_or_default(),
        event,
        address: metadata.notification_address.to_string(),
        iccid: metadata.iccid.map(|iccid| iccid.to_string()),
        ..Notification::default()
    }
}

//! Reading the card into what the API shows.

use std::sync::Arc;

use es10_apdu::asn1::Unreadable;
use es10_apdu::es10b::{EuiccInfo2, NotificationMetadata};
use es10_apdu::es10c::ProfileInfo;
use es10_apdu::types::Eid;

use crate::failure::JobFailure;
use crate::memory::snapshot::{Addresses, EuiccInfo, Known, Notification, Profile, ProfileState};
use crate::procedure::{Card, FunctionError, euicc, notifications, profiles};

/// The parts of a card, each read for itself.
#[derive(Clone, Debug)]
pub(super) struct CardState {
    pub(super) eid: Eid,
    pub(super) info: Known<EuiccInfo>,
    pub(super) addresses: Known<Addresses>,
    pub(super) profiles: Known<Vec<Profile>>,
    pub(super) notifications: Known<Vec<Notification>>,
}

impl CardState {
    /// Reads all of it. A part that the card refuses, or that cannot be understood, is unknown and
    /// costs only itself. Without the EID nothing could be bound to the card, so that it must be read.
    pub(super) async fn read(card: &mut impl Card) -> Result<Self, JobFailure> {
        Ok(Self {
            eid: euicc::eid(card).await?,
            info: known(info(card).await)?,
            addresses: known(addresses(card).await)?,
            profiles: known(profiles(card).await)?,
            notifications: known(notifications(card).await)?,
        })
    }
}

/// A part as it is known after an attempt to read it.
///
/// # Errors
///
/// When the card was lost: then nothing is known of the parts behind it either.
pub(super) fn known<T>(read: Result<T, FunctionError>) -> Result<Known<T>, JobFailure> {
    match read.map_err(JobFailure::from) {
        Ok(value) => Ok(Known::Value(value)),
        Err(failure) if failure.loses_card() => Err(failure),
        Err(failure) => {
            tracing::warn!(%failure, "a part of the card cannot be read");
            Ok(Known::Unknown(Arc::new(failure)))
        }
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

//! Reading the card.

use std::sync::Arc;

use es10_apdu::asn1::{Raw, Unreadable};
use es10_apdu::es10b::{EuiccInfo1, EuiccInfo2, NotificationMetadata};
use es10_apdu::es10c::ProfileInfo;
use es10_apdu::types::Eid;

use crate::failure::JobFailure;
use crate::memory::snapshot::{Addresses, EuiccInfo, Known, Notification, Profile, ProfileState};
use crate::procedure::{Card, FunctionError, euicc, profiles};

/// The parts of a card, each read for itself.
#[derive(Clone, Debug)]
pub(super) struct CardState {
    pub(super) eid: Eid,
    /// For downloads; `None` if the card does not tell it now.
    pub(super) info1: Option<Raw<EuiccInfo1>>,
    pub(super) info: Known<EuiccInfo>,
    pub(super) addresses: Known<Addresses>,
    pub(super) profiles: Known<Vec<Profile>>,
}

impl CardState {
    /// Reads all but the notifications, which the outbox lists. A part that the card refuses, or that
    /// cannot be understood, is unknown and costs only itself. Without the EID nothing could be bound to the
    /// card, so that it must be read.
    pub(super) async fn read(card: &mut impl Card) -> Result<Self, JobFailure> {
        Ok(Self {
            eid: euicc::eid(card).await?,
            info1: match known(euicc::info1(card).await.map_err(FunctionError::from))? {
                Known::Value(info1) => Some(info1),
                Known::Unknown(_) | Known::NotYet => None,
            },
            info: known(info(card).await)?,
            addresses: known(addresses(card).await)?,
            profiles: known(profiles(card).await)?,
        })
    }
}

/// A part as it is known after an attempt to read it. When the card was lost, nothing is known of the
/// parts behind it either.
pub(super) fn known<T>(read: Result<T, FunctionError>) -> Result<Known<T>, JobFailure> {
    match read.map_err(JobFailure::from) {
        Ok(value) => Ok(Known::Value(value)),
        Err(failure) if failure.loses_card() => Err(failure),
        Err(failure) => {
            let shown = failure.shortened();
            tracing::warn!(failure = shown, "a part of the card cannot be read");
            Ok(Known::Unknown(Arc::new(failure)))
        }
    }
}

pub(super) async fn info(card: &mut impl Card) -> Result<EuiccInfo, FunctionError> {
    let info: EuiccInfo2 = euicc::info2(card).await?.into_value();
    Ok(EuiccInfo {
        svn: info.svn,
        firmware: info.euicc_firmware_ver,
        profile_version: info.profile_version,
        free_memory_bytes: info.resources().free_non_volatile_memory,
        ci_keys_for_verification: info.euicc_ci_pk_id_list_for_verification.to_vec(),
        ci_keys_for_signing: info.euicc_ci_pk_id_list_for_signing.to_vec(),
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
    Some(Profile {
        iccid: info.iccid?,
        state: match info.is_enabled() {
            true => ProfileState::Enabled,
            false => ProfileState::Disabled,
        },
        class: info.class(),
        service_provider: text(&info.service_provider_name),
        name: text(&info.profile_name),
        nickname: Some(text(&info.profile_nickname)).filter(|nickname| !nickname.is_empty()),
        aid: info.isdp_aid.clone(),
        policy_rules: info.profile_policy_rules.unwrap_or_default(),
    })
}

/// An entry of the card's list that cannot be read.
pub(super) fn unreadable(entry: &Unreadable) -> Notification {
    Notification {
        set_aside: Some(format!(
            "the card's entry {} cannot be read: {}",
            entry.index, entry.error
        )),
        ..Notification::default()
    }
}

pub(super) fn notification(metadata: &NotificationMetadata) -> Notification {
    Notification {
        sequence_number: metadata.seq_number,
        event: Some(metadata.profile_management_operation),
        address: metadata.notification_address.to_string(),
        iccid: metadata.iccid,
        ..Notification::default()
    }
}

//! Notifications as they arrive: kept as received, verified with what is known of the sender.

use std::time::SystemTime;

use es10_apdu::asn1::Raw;
use es10_apdu::es10b::{
    FinalResult, OtherSignedNotification, PendingNotification, ProfileInstallationResult,
};
use es10_apdu::types::NotificationEvent;
use rsp_common::certificate::{Certificate, CertificateError, Role};
use rsp_common::key::PublicKey;
use rsp_common::pki::Pki;

use super::order::Orders;

/// A notification a client delivered.
#[derive(Clone, Debug)]
pub struct ReceivedNotification {
    /// The octets as received.
    pub bytes: Vec<u8>,
    /// What they say; `None` when they cannot be read.
    pub content: Option<PendingNotification>,
    /// Whether the eUICC really said so.
    pub verdict: Verdict,
    /// How it stands to what this eUICC said before.
    pub sequence: Sequence,
    /// Who signed it, when that is verified.
    sender: Option<PublicKey>,
}

/// How a notification stands to the ones its eUICC sent before, by their numbers.
///
/// An LPA delivers them in rising order, and each until it is acknowledged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sequence {
    /// Its number is higher than all before.
    Rising,
    /// The same notification came before.
    Repeated,
    /// One with a higher number, or another one with this number, came before.
    OutOfOrder,
    /// It is not verified, so that its sender is not known.
    Unknown,
}

impl ReceivedNotification {
    /// Its number; `None` when it cannot be read.
    pub fn seq_number(&self) -> Option<i64> {
        Some(self.content.as_ref()?.metadata().seq_number)
    }

    /// What happened; `None` when it cannot be read.
    pub fn event(&self) -> Option<NotificationEvent> {
        Some(
            self.content
                .as_ref()?
                .metadata()
                .profile_management_operation,
        )
    }

    /// The profile's ICCID.
    pub fn iccid(&self) -> Option<String> {
        self.content
            .as_ref()?
            .metadata()
            .iccid
            .as_ref()
            .map(ToString::to_string)
    }

    /// The result of an installation; `None` for any other notification.
    pub fn installation(&self) -> Option<&FinalResult> {
        match self.content.as_ref()? {
            PendingNotification::ProfileInstallationResult(result) => {
                Some(&result.profile_installation_result_data.final_result)
            }
            PendingNotification::OtherSignedNotification(_) => None,
        }
    }
}

/// Whether a notification was really signed by the eUICC it comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It was.
    Verified,
    /// It is no notification.
    Unreadable,
    /// An installation result of a session this server does not know.
    UnknownSession,
    /// An installation result that names another SM-DP+, or none.
    WrongOwner,
    /// The signature is wrong.
    BadSignature,
    /// The certificates it brings do not lead to the issuer.
    BadCertificate(CertificateError),
}

/// Reads and verifies one notification.
pub(super) fn receive(
    bytes: Vec<u8>,
    orders: &mut Orders,
    earlier: &[ReceivedNotification],
    pki: &Pki,
) -> ReceivedNotification {
    let Ok(content) = Raw::<PendingNotification>::from_ber(&bytes) else {
        return ReceivedNotification {
            bytes,
            content: None,
            verdict: Verdict::Unreadable,
            sequence: Sequence::Unknown,
            sender: None,
        };
    };
    let content = content.into_value();
    let signed = match &content {
        PendingNotification::ProfileInstallationResult(result) => installation(result, orders, pki),
        PendingNotification::OtherSignedNotification(other) => signed(other, pki),
    };
    let (verdict, sender) = match signed {
        Ok(sender) => (Verdict::Verified, Some(sender)),
        Err(verdict) => (verdict, None),
    };
    ReceivedNotification {
        sequence: sequence(&bytes, content.metadata().seq_number, sender, earlier),
        bytes,
        content: Some(content),
        verdict,
        sender,
    }
}

fn sequence(
    bytes: &[u8],
    number: i64,
    sender: Option<PublicKey>,
    earlier: &[ReceivedNotification],
) -> Sequence {
    if sender.is_none() {
        return Sequence::Unknown;
    }
    let mut own = earlier.iter().filter(|one| one.sender == sender);
    if own.clone().any(|one| one.bytes == bytes) {
        Sequence::Repeated
    } else if own.any(|one| one.seq_number() >= Some(number)) {
        Sequence::OutOfOrder
    } else {
        Sequence::Rising
    }
}

/// An installation result carries no certificate: the session's eUICC must have signed it.
fn installation(
    result: &ProfileInstallationResult,
    orders: &mut Orders,
    pki: &Pki,
) -> Result<PublicKey, Verdict> {
    let data = &result.profile_installation_result_data;
    let transaction_id = data.transaction_id.octets();
    let delivery = orders.of_transaction(transaction_id).and_then(|order| {
        order
            .deliveries
            .iter()
            .find(|delivery| delivery.transaction_id == transaction_id)
    });
    let delivery = delivery.ok_or(Verdict::UnknownSession)?;
    let signature = result.euicc_sign_pir.contents();
    let key = PublicKey::from_point(&delivery.euicc_key)
        .filter(|key| key.verifies(data.bytes(), signature))
        .ok_or(Verdict::BadSignature)?;
    let owner = pki
        .certificate(Role::DpAuth)
        .ok()
        .and_then(Certificate::owner);
    match owner {
        Some(owner) if data.smdp_oid.as_ref() == Some(owner) => Ok(key),
        _ => Err(Verdict::WrongOwner),
    }
}

fn signed(other: &OtherSignedNotification, pki: &Pki) -> Result<PublicKey, Verdict> {
    let now = Some(SystemTime::now());
    let key = || {
        let eum = Certificate::parse(other.eum_certificate.bytes())?;
        let euicc = Certificate::parse(other.euicc_certificate.bytes())?;
        let issuer = eum.authority_key_identifier().unwrap_or_default();
        // Below an unknown issuer the first one says what is wrong.
        let ci = pki
            .issuer(issuer)
            .or_else(|| pki.certificate(Role::Ci).ok());
        if let Some(ci) = ci {
            eum.verify_eum(ci, now)?;
        }
        euicc.verify_euicc(&eum, now)?;
        euicc.public_key()
    };
    let key = key().map_err(Verdict::BadCertificate)?;
    let signed = other.tbs_other_notification.bytes();
    if key.verifies(signed, other.euicc_notification_signature.contents()) {
        Ok(key)
    } else {
        Err(Verdict::BadSignature)
    }
}

//! Notifications as they arrive: kept as received, verified with what is known of the sender.

use std::time::SystemTime;

use es10_apdu::{
    asn1::Raw,
    es10b::{FinalResult, OtherSignedNotification, PendingNotification, ProfileInstallationResult},
    types::NotificationEvent,
};
use sim_card_emulator::{
    certificate::{Certificate, CertificateError, Role},
    key::PublicKey,
    pki::Pki,
};

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
    /// The signature is wrong.
    BadSignature,
    /// The certificates it brings do not lead to the issuer.
    BadCertificate(CertificateError),
}

/// Reads and verifies one notification.
pub(super) fn receive(bytes: Vec<u8>, orders: &mut Orders, pki: &Pki) -> ReceivedNotification {
    let Ok(content) = Raw::<PendingNotification>::from_ber(&bytes) else {
        return ReceivedNotification {
            bytes,
            content: None,
            verdict: Verdict::Unreadable,
        };
    };
    let content = content.into_value();
    let verdict = match &content {
        PendingNotification::ProfileInstallationResult(result) => installation(result, orders),
        PendingNotification::OtherSignedNotification(other) => signed(other, pki),
    };
    ReceivedNotification {
        bytes,
        content: Some(content),
        verdict,
    }
}

/// An installation result carries no certificate: the session's eUICC must have signed it.
fn installation(result: &ProfileInstallationResult, orders: &mut Orders) -> Verdict {
    let data = &result.profile_installation_result_data;
    let transaction_id = data.transaction_id.octets();
    let delivery = orders.of_transaction(transaction_id).and_then(|order| {
        order
            .deliveries
            .iter()
            .find(|delivery| delivery.transaction_id == transaction_id)
    });
    let Some(delivery) = delivery else {
        return Verdict::UnknownSession;
    };
    let key = PublicKey::from_point(&delivery.euicc_key);
    let signature = result.euicc_sign_pir.contents();
    if key.is_some_and(|key| key.verifies(data.bytes(), signature)) {
        Verdict::Verified
    } else {
        Verdict::BadSignature
    }
}

fn signed(other: &OtherSignedNotification, pki: &Pki) -> Verdict {
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
    let signed = other.tbs_other_notification.bytes();
    match key() {
        Err(error) => Verdict::BadCertificate(error),
        Ok(key) if key.verifies(signed, other.euicc_notification_signature.contents()) => {
            Verdict::Verified
        }
        Ok(_) => Verdict::BadSignature,
    }
}

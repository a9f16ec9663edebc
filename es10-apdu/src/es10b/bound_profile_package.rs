//! ES8+ functions inside a Bound Profile Package.

use rasn::types::OctetString;
use rasn::{AsnType, Decode, Decoder, Encode};

use super::metadata::Opaque;
use crate::asn1::{List, Open, sequences};
use crate::types::{OneTimeKey, Signature, TransactionId};

/// Opens the secure channel a package is protected with.
///
/// SGP.22 v2.5 section 5.5.1, tag BF23.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(tag(context, 35))]
pub struct InitialiseSecureChannelRequest {
    /// 1, installBoundProfilePackage.
    #[rasn(tag(context, 2))]
    pub remote_op_id: i64,
    /// The session.
    #[rasn(tag(context, 0))]
    pub transaction_id: TransactionId,
    /// Which keys are agreed.
    #[rasn(tag(context, 6))]
    pub control_ref_template: Open<ControlRefTemplate>,
    /// The server's one-time key.
    pub smdp_otpk: OneTimeKey,
    /// The server's signature.
    pub smdp_sign: Signature,
}

/// Which keys are agreed.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
pub struct ControlRefTemplate {
    /// 88, AES.
    #[rasn(tag(context, 0))]
    pub key_type: OctetString,
    /// 10, sixteen octets.
    #[rasn(tag(context, 1))]
    pub key_len: OctetString,
    /// Chosen by the server.
    #[rasn(tag(context, 4))]
    pub host_id: OctetString,
}

/// Configures the ISD-P of the new profile.
///
/// SGP.22 v2.5 section 5.5.2, tag BF24.
#[derive(AsnType, Clone, Debug, Decode, Default, Encode, Eq, PartialEq)]
#[rasn(tag(context, 36))]
pub struct ConfigureIsdpRequest {
    /// Data of the server about the profile, tag B8; its first element is an object identifier.
    #[rasn(tag(context, 24))]
    pub dp_proprietary_data: Option<List<Opaque>>,
}

/// Replaces the session keys by those a profile was protected with beforehand.
///
/// SGP.22 v2.5 section 5.5.4, tag BF26. Its components are secrets.
#[derive(AsnType, Clone, Decode, Encode, Eq, PartialEq)]
#[rasn(automatic_tags, tag(context, 38))]
pub struct ReplaceSessionKeysRequest {
    /// The new MAC chaining value.
    pub initial_mac_chaining_value: OctetString,
    /// PPK-ENC.
    pub ppk_enc: OctetString,
    /// PPK-MAC.
    pub ppk_cmac: OctetString,
}

impl std::fmt::Debug for ReplaceSessionKeysRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReplaceSessionKeysRequest")
    }
}

sequences!(
    ConfigureIsdpRequest,
    ControlRefTemplate,
    InitialiseSecureChannelRequest,
    ReplaceSessionKeysRequest,
);

//! Building bound profile packages.
//!
//! SGP.22 v2.5 section 2.5: a profile package is protected for one one-time key of one eUICC
//! ([`Binding`]) and framed for one session ([`Binding::package`]).

use std::fmt;

use es10_apdu::tlv::encode as tlv;
use sim_card_emulator::{
    bsp::{Bsp, BspKeys, KEY_LENGTH, KEY_TYPE_AES, MAX_ENCRYPTED_PLAINTEXT, MAX_MAC_ONLY_CONTENT},
    key::{PrivateKey, PublicKey},
};

/// What a package is bound to, and what is in it.
#[derive(Clone, Copy, Debug)]
pub struct BindingRequest<'a> {
    /// The server's one-time key; it must be fresh for every binding.
    pub one_time_key: &'a PrivateKey,
    /// The server's name for itself in the key agreement, 1 to 16 octets.
    pub host_id: &'a [u8],
    /// The eUICC's one-time public key.
    pub euicc_otpk: &'a PublicKey,
    /// The eUICC's EID.
    pub eid: &'a [u8; 16],
    /// The StoreMetadata TLV.
    pub metadata: &'a [u8],
    /// The unprotected profile package.
    pub package: &'a [u8],
    /// Keys of the profile itself, instead of the session's.
    pub profile_keys: Option<&'a BspKeys>,
}

/// A profile package protected for one one-time key.
///
/// The keys do not depend on the session, so the same protected octets serve another session in
/// which the eUICC shows the same one-time key.
#[derive(Clone)]
pub struct Binding {
    euicc_otpk: [u8; 65],
    smdp_otpk: [u8; 65],
    host_id: Vec<u8>,
    protected: Vec<u8>,
}

impl Binding {
    /// Agrees on keys and protects the package.
    ///
    /// # Panics
    ///
    /// When the host identifier is longer than 16 octets.
    pub fn new(request: &BindingRequest<'_>) -> Self {
        let secret = request.one_time_key.diffie_hellman(request.euicc_otpk);
        let mut bsp = Bsp::new(BspKeys::derive(&secret, request.host_id, request.eid));
        let mut protected = tlv(0xA0, &bsp.protect(0x87, &tlv(0xBF24, &[])));
        protected.extend(pieces(
            0xA1,
            &mut bsp,
            0x88,
            request.metadata,
            MAX_MAC_ONLY_CONTENT,
        ));
        if let Some(keys) = request.profile_keys {
            protected.extend(tlv(0xA2, &bsp.protect(0x87, &replace_session_keys(keys))));
            bsp.replace_keys(keys.clone());
        }
        protected.extend(pieces(
            0xA3,
            &mut bsp,
            0x86,
            request.package,
            MAX_ENCRYPTED_PLAINTEXT,
        ));
        Self {
            euicc_otpk: request.euicc_otpk.to_point(),
            smdp_otpk: request.one_time_key.public_key().to_point(),
            host_id: request.host_id.to_vec(),
            protected,
        }
    }

    /// The eUICC's one-time key this is bound to.
    pub fn euicc_otpk(&self) -> &[u8] {
        &self.euicc_otpk
    }

    /// The bound profile package of a session, tag BF36.
    ///
    /// Only InitialiseSecureChannel differs from session to session; `key` is that of CERT.DPpb.
    pub fn package(&self, transaction_id: &[u8], key: &PrivateKey) -> Vec<u8> {
        let control_reference = [
            tlv(0x80, &[KEY_TYPE_AES]),
            tlv(0x81, &[KEY_LENGTH]),
            tlv(0x84, &self.host_id),
        ];
        let channel = [
            tlv(0x82, &[INSTALL_BOUND_PROFILE_PACKAGE]),
            tlv(0x80, transaction_id),
            tlv(0xA6, &control_reference.concat()),
            tlv(0x5F49, &self.smdp_otpk),
        ]
        .concat();
        // The eUICC's key is signed but not sent: the eUICC knows it.
        let signed = [channel.clone(), tlv(0x5F49, &self.euicc_otpk)].concat();
        let signature = tlv(0x5F37, &key.sign(&signed));
        let channel = tlv(0xBF23, &[channel, signature].concat());
        tlv(0xBF36, &[channel, self.protected.clone()].concat())
    }
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding")
            .field(
                "protected",
                &format_args!("{} octets", self.protected.len()),
            )
            .finish_non_exhaustive()
    }
}

/// A sequence of protected TLVs that together hold `plain`.
fn pieces(sequence: u32, bsp: &mut Bsp, tag: u8, plain: &[u8], longest: usize) -> Vec<u8> {
    let pieces: Vec<_> = plain
        .chunks(longest)
        .map(|piece| bsp.protect(tag, piece))
        .collect();
    tlv(sequence, &pieces.concat())
}

fn replace_session_keys(keys: &BspKeys) -> Vec<u8> {
    let fields = [
        tlv(0x80, &keys.initial_mac_chaining_value),
        tlv(0x81, &keys.encryption),
        tlv(0x82, &keys.mac),
    ];
    tlv(0xBF26, &fields.concat())
}

/// remoteOpId.
const INSTALL_BOUND_PROFILE_PACKAGE: u8 = 1;

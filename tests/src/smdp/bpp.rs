//! Building bound profile packages.
//!
//! SGP.22 v2.5 section 2.5: a profile package is protected for one one-time key of one eUICC
//! ([`Binding`]) and framed for one session ([`Binding::package`]).

use std::fmt;

use es10_apdu::tlv::encode as tlv;
use serde::{Deserialize, Serialize};
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
#[derive(Clone, Deserialize, Serialize)]
pub struct Binding {
    #[serde(with = "hex")]
    euicc_otpk: [u8; 65],
    #[serde(with = "hex")]
    smdp_otpk: [u8; 65],
    #[serde(with = "hex")]
    host_id: Vec<u8>,
    #[serde(with = "hex")]
    protected: Vec<u8>,
}

impl Binding {
    /// Agrees on keys and protects the package.
    ///
    /// # Panics
    ///
    /// When the host identifier is longer than 16 octets, or the two one-time keys are on different
    /// curves.
    pub fn new(request: &BindingRequest<'_>) -> Self {
        let secret = request.one_time_key.diffie_hellman(request.euicc_otpk);
        let secret = secret.expect("the caller makes its key on the curve of the eUICC's");
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn vectors() -> Value {
        let text = include_str!("../../../es10-apdu/vectors/vectors.json");
        serde_json::from_str(text).unwrap()
    }

    fn octets(value: &Value) -> Vec<u8> {
        hex::decode(value.as_str().unwrap()).unwrap()
    }

    fn key(vectors: &Value, name: &str) -> PrivateKey {
        PrivateKey::from_scalar(&octets(&vectors["privateKeys"][name])).unwrap()
    }

    /// The package of the vectors' session, made from its keys and plain parts alone.
    fn built(vectors: &Value, profile_keys: Option<&BspKeys>) -> Vec<u8> {
        let binding = Binding::new(&BindingRequest {
            one_time_key: &key(vectors, "OTDP"),
            host_id: &octets(&vectors["bsp"]["hostId"]),
            euicc_otpk: &key(vectors, "OTEUICC").public_key(),
            eid: &octets(&vectors["eid"]).try_into().unwrap(),
            metadata: &octets(&vectors["parts"]["storeMetadata"]),
            package: &octets(&vectors["parts"]["upp"]),
            profile_keys,
        });
        let transaction_id: Vec<u8> = (1..=16).collect();
        binding.package(&transaction_id, &key(vectors, "DPPB"))
    }

    #[test]
    fn a_package_under_session_keys_is_that_of_the_vectors() {
        let vectors = vectors();
        assert_eq!(built(&vectors, None), octets(&vectors["bpp"]["der"]));
    }

    #[test]
    fn a_package_under_keys_of_its_own_is_that_of_the_vectors() {
        let vectors = vectors();
        let ppk = &vectors["bppWithPpk"]["ppk"];
        let octets_of = |name: &str| octets(&ppk[name]).try_into().unwrap();
        let keys = BspKeys {
            initial_mac_chaining_value: octets_of("initialMcv"),
            encryption: octets_of("ppkEnc"),
            mac: octets_of("ppkCmac"),
        };
        assert_eq!(
            built(&vectors, Some(&keys)),
            octets(&vectors["bppWithPpk"]["der"])
        );
    }

    #[test]
    fn another_session_gets_another_signature_over_the_same_protected_octets() {
        let vectors = vectors();
        let key = key(&vectors, "DPPB");
        let binding = Binding::new(&BindingRequest {
            one_time_key: &key,
            host_id: b"host",
            euicc_otpk: &key.public_key(),
            eid: &[0x89; 16],
            metadata: &[0xBF, 0x25, 0x00],
            package: &[0; 3000],
            profile_keys: None,
        });
        let (first, second) = (
            binding.package(&[1; 16], &key),
            binding.package(&[2; 16], &key),
        );
        assert_ne!(first, second);
        assert!(first.ends_with(&binding.protected) && second.ends_with(&binding.protected));
    }
}

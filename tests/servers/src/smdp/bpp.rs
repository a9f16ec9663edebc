//! Building bound profile packages.
//!
//! SGP.22 v2.5 section 2.5: a profile package is protected for one one-time key of one eUICC
//! ([`Binding`]) and framed for one session ([`Binding::package`]).

use std::fmt;

use es10_apdu::tlv::encode as tlv;
use rsp_common::bsp::{
    self, Bsp, BspKeys, KEY_LENGTH, KEY_TYPE_AES, MAC_LENGTH, MAX_ENCRYPTED_PLAINTEXT,
    MAX_MAC_ONLY_CONTENT,
};
use rsp_common::key::{PrivateKey, PublicKey};
use serde::{Deserialize, Serialize};

mod faults;

pub use self::faults::{MetadataField, PackageFault, Piece, Tag, TagPair};
use crate::rsp::random;

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
    session_keys: BspKeys,
    profile_keys: Option<BspKeys>,
    #[serde(with = "hex")]
    metadata: Vec<u8>,
    #[serde(with = "hex")]
    package: Vec<u8>,
}

impl Binding {
    /// Agrees on keys for the package.
    ///
    /// # Panics
    ///
    /// When the host identifier is longer than 16 octets, or the two one-time keys are on different
    /// curves.
    pub fn new(request: &BindingRequest<'_>) -> Self {
        let secret = request.one_time_key.diffie_hellman(request.euicc_otpk);
        let secret = secret.expect("the caller makes its key on the curve of the eUICC's");
        Self {
            euicc_otpk: request.euicc_otpk.to_point(),
            smdp_otpk: request.one_time_key.public_key().to_point(),
            host_id: request.host_id.to_vec(),
            session_keys: BspKeys::derive(&secret, request.host_id, request.eid),
            profile_keys: request.profile_keys.cloned(),
            metadata: request.metadata.to_vec(),
            package: request.package.to_vec(),
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
        self.build(transaction_id, key, None)
    }

    /// The bound profile package of a session with one thing wrong, everything around it right.
    pub fn faulty_package(
        &self,
        transaction_id: &[u8],
        key: &PrivateKey,
        fault: &PackageFault,
    ) -> Vec<u8> {
        self.altered(fault).build(transaction_id, key, Some(fault))
    }

    fn build(
        &self,
        transaction_id: &[u8],
        key: &PrivateKey,
        fault: Option<&PackageFault>,
    ) -> Vec<u8> {
        let channel = self.channel(transaction_id, key, fault);
        let mut parts = vec![(0xBF23, channel)];
        parts.extend(self.sequences(fault));
        if let Some(fault) = fault {
            fault.rearrange(&mut parts);
        }
        let encode = |(tag, contents): &(u32, Vec<u8>)| {
            [
                faults::header(fault, *tag, contents.len()),
                contents.clone(),
            ]
            .concat()
        };
        let contents = parts.iter().map(encode).collect::<Vec<_>>().concat();
        let length = fault.map_or(contents.len(), |fault| fault.announced(contents.len()));
        let mut package = [faults::header(fault, 0xBF36, length), contents].concat();
        if let Some(fault) = fault {
            fault.cut(&mut package);
        }
        package
    }

    /// The contents of InitialiseSecureChannel, signed.
    fn channel(
        &self,
        transaction_id: &[u8],
        key: &PrivateKey,
        fault: Option<&PackageFault>,
    ) -> Vec<u8> {
        let mut operation = vec![INSTALL_BOUND_PROFILE_PACKAGE];
        let (mut key_type, mut key_length) = (vec![KEY_TYPE_AES], vec![KEY_LENGTH]);
        let (mut host_id, mut smdp_otpk) = (self.host_id.clone(), self.smdp_otpk);
        match fault {
            Some(PackageFault::RemoteOperation(other)) => operation.clone_from(other),
            Some(PackageFault::KeyType(other)) => key_type.clone_from(other),
            Some(PackageFault::KeyLength(other)) => key_length.clone_from(other),
            Some(PackageFault::HostId(other)) => host_id.clone_from(other),
            // One octet of Y off, no point of the curve is left.
            Some(PackageFault::OffCurveKey) => smdp_otpk[64] ^= 1,
            _ => {}
        }
        let control_reference = [
            tlv(0x80, &key_type),
            tlv(0x81, &key_length),
            tlv(0x84, &host_id),
        ];
        let channel = [
            tlv(0x82, &operation),
            tlv(0x80, transaction_id),
            tlv(0xA6, &control_reference.concat()),
            tlv(0x5F49, &smdp_otpk),
        ]
        .concat();
        // The eUICC's key is signed but not sent: the eUICC knows it.
        let signed = [channel.clone(), tlv(0x5F49, &self.euicc_otpk)].concat();
        [channel, tlv(0x5F37, &key.sign(&signed))].concat()
    }

    /// The sequences of protected TLVs, tags A0 to A3.
    fn sequences(&self, fault: Option<&PackageFault>) -> Vec<(u32, Vec<u8>)> {
        let mut protector = Protector {
            bsp: Bsp::new(self.session_keys.clone()),
            fault,
            made: Vec::new(),
        };
        let (mut encrypted, mut authenticated) = (MAX_ENCRYPTED_PLAINTEXT, MAX_MAC_ONLY_CONTENT);
        let mut isdp = Vec::new();
        match fault {
            Some(PackageFault::PieceSize(size)) => encrypted = (*size).max(1),
            Some(PackageFault::MetadataPieces(size)) => authenticated = (*size).max(1),
            Some(PackageFault::ConfigureIsdp(contents)) => isdp.clone_from(contents),
            _ => {}
        }
        let mut sequences = vec![
            (0xA0, protector.protect(0x87, &tlv(0xBF24, &isdp))),
            (0xA1, protector.pieces(0x88, &self.metadata, authenticated)),
        ];
        if let Some(keys) = &self.profile_keys {
            let request = replace_session_keys(keys, fault);
            sequences.push((0xA2, protector.protect(0x87, &request)));
            protector.bsp.replace_keys(keys.clone());
        }
        let mut elements = protector.pieces(0x86, &self.package, encrypted);
        if fault == Some(&PackageFault::ExtraPiece) {
            elements.extend(protector.protect(0x86, &[0; 16]));
        }
        sequences.push((0xA3, elements));
        sequences
    }
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding")
            .field("package", &format_args!("{} octets", self.package.len()))
            .finish_non_exhaustive()
    }
}

/// Protects TLVs, one of them wrongly when told to.
struct Protector<'a> {
    bsp: Bsp,
    fault: Option<&'a PackageFault>,
    /// The tags of those made so far.
    made: Vec<u8>,
}

impl Protector<'_> {
    /// A sequence of protected TLVs that together hold `plain`.
    fn pieces(&mut self, tag: u8, plain: &[u8], longest: usize) -> Vec<u8> {
        let pieces: Vec<_> = plain
            .chunks(longest)
            .map(|piece| self.protect(tag, piece))
            .collect();
        pieces.concat()
    }

    fn protect(&mut self, tag: u8, plain: &[u8]) -> Vec<u8> {
        self.made.push(tag);
        let number = self.made.iter().filter(|made| **made == tag).count();
        let this = Piece { tag, number };
        let mut content = plain.to_vec();
        if tag != 0x88 {
            let mut blocks = bsp::padded(plain);
            if self.fault == Some(&PackageFault::WrongPadding(this)) {
                blocks[plain.len()] = 0;
            }
            content = self.bsp.encrypt(blocks);
        }
        let header = faults::header(self.fault, tag.into(), content.len() + MAC_LENGTH);
        let mut made = self.bsp.authenticate(&header, &content);
        match self.fault {
            Some(PackageFault::CounterNotRaised(at)) if *at == this => self.bsp.hold_counter(),
            Some(PackageFault::FlippedMac(at)) if *at == this => {
                made.last_mut().into_iter().for_each(|last| *last ^= 1);
            }
            Some(PackageFault::RepeatedPiece(at)) if *at == this => made.extend(made.clone()),
            _ => {}
        }
        made
    }
}

fn replace_session_keys(keys: &BspKeys, fault: Option<&PackageFault>) -> Vec<u8> {
    let mut keys = keys.clone();
    let mut mac = keys.mac.to_vec();
    match fault {
        Some(PackageFault::WrongChainingValue) => keys.initial_mac_chaining_value[0] ^= 1,
        Some(PackageFault::ShortProfileKey) => mac.truncate(15),
        _ => {}
    }
    let fields = [
        tlv(0x80, &keys.initial_mac_chaining_value),
        tlv(0x81, &keys.encryption),
        tlv(0x82, &mac),
    ];
    tlv(0xBF26, &fields.concat())
}

/// Fresh keys of a profile.
pub(super) fn profile_keys() -> BspKeys {
    BspKeys {
        initial_mac_chaining_value: random(),
        encryption: random(),
        mac: random(),
    }
}

/// remoteOpId.
const INSTALL_BOUND_PROFILE_PACKAGE: u8 = 1;

#[cfg(test)]
mod tests {
    use es10_apdu::tlv::Tlv;
    use serde_json::Value;

    use super::*;

    fn vectors() -> Value {
        let text = include_str!("../../../../es10-apdu/vectors/vectors.json");
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
        let protected = |package: &[u8]| {
            let package = Tlv::exactly(package).unwrap();
            let (_, sequences) = Tlv::read(package.contents).unwrap();
            sequences.to_vec()
        };
        assert_eq!(protected(&first), protected(&second));
    }
}

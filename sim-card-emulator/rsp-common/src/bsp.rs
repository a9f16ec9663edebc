//! BPP protection (BSP): the keys of a binding, and the TLVs they protect.
//!
//! SGP.22 v2.5 section 2.5.3 and annex G. Used by the eUICC to open what a server bound, and by
//! the test SM-DP+ to bind it.

use std::fmt;

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, KeyInit, KeyIvInit};
use cmac::{Cmac, Mac};
use es10_apdu::tlv;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::der::Header;

/// Longest protected TLV that SGP.22 allows, tag, length field and MAC included.
pub const MAX_TLV: usize = 1020;
/// Longest plaintext of an encrypted TLV: one octet of a full block is padding.
pub const MAX_ENCRYPTED_PLAINTEXT: usize = 1007;
/// Longest content of a TLV that is protected by its MAC only.
pub const MAX_MAC_ONLY_CONTENT: usize = 1008;

/// Why a protected TLV was not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BspError {
    /// Not one TLV, too short for a MAC, or not of whole blocks.
    #[error("the protected TLV has a wrong structure")]
    Structure,
    /// The MAC or, after decryption, the padding is wrong.
    #[error("the protected TLV has a wrong MAC or padding")]
    Security,
}

/// The keys one binding is protected with.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
pub struct BspKeys {
    /// Initial MAC chaining value.
    #[serde(with = "hex")]
    pub initial_mac_chaining_value: [u8; 16],
    /// Encryption key, S-ENC or PPK-ENC.
    #[serde(with = "hex")]
    pub encryption: [u8; 16],
    /// MAC key, S-MAC or PPK-CMAC.
    #[serde(with = "hex")]
    pub mac: [u8; 16],
}

impl BspKeys {
    /// Derives session keys from the agreed secret (SGP.22 v2.5 annex G, ANSI X9.63 with SHA-256).
    ///
    /// # Panics
    ///
    /// When the host identifier is longer than the 16 octets its field allows.
    pub fn derive(shared_secret: &[u8; 32], host_id: &[u8], eid: &[u8; 16]) -> Self {
        assert!(
            host_id.len() <= 16,
            "a host identifier has at most 16 octets"
        );
        let host_length = [u8::try_from(host_id.len()).expect("checked above")];
        let info = [
            &[KEY_TYPE_AES, KEY_LENGTH],
            &host_length[..],
            host_id,
            &[16],
            eid,
        ]
        .concat();
        let digest = |counter: u32| {
            let message = [&shared_secret[..], &counter.to_be_bytes(), &info].concat();
            Sha256::digest(message)
        };
        let material = [digest(1), digest(2)].concat();
        let part = |at: usize| {
            let mut key = [0; 16];
            key.copy_from_slice(&material[at..at + 16]);
            key
        };
        Self {
            initial_mac_chaining_value: part(0),
            encryption: part(16),
            mac: part(32),
        }
    }
}

impl fmt::Debug for BspKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BspKeys(..)")
    }
}

/// One direction of protection: keys, MAC chaining value and block counter.
#[derive(Clone)]
pub struct Bsp {
    keys: BspKeys,
    chaining_value: [u8; 16],
    counter: u128,
}

impl Bsp {
    /// Begins with the counter at 1.
    pub fn new(keys: BspKeys) -> Self {
        let chaining_value = keys.initial_mac_chaining_value;
        Self {
            keys,
            chaining_value,
            counter: 1,
        }
    }

    /// Protects one TLV: tags `86` and `87` encrypted and with a MAC, `88` with a MAC only.
    pub fn protect(&mut self, tag: u8, plain: &[u8]) -> Vec<u8> {
        let content = if is_encrypted(tag) {
            self.encrypt(padded(plain))
        } else {
            plain.to_vec()
        };
        self.authenticate(
            &tlv::header(tag.into(), content.len() + MAC_LENGTH),
            &content,
        )
    }

    /// Encrypts whole blocks as they are, padded or not, for the next TLV.
    ///
    /// [`Bsp::protect`] does all of it; this and what follows is for a server that must be able to
    /// do it wrong.
    ///
    /// # Panics
    ///
    /// When the octets are not whole blocks of 16.
    pub fn encrypt(&self, mut blocks: Vec<u8>) -> Vec<u8> {
        assert!(
            blocks.len().is_multiple_of(16),
            "whole blocks are encrypted"
        );
        let mut cipher = cbc::Encryptor::<Aes128>::new(
            &self.keys.encryption.into(),
            &self.initial_vector(self.counter).into(),
        );
        for block in blocks.chunks_exact_mut(16) {
            cipher.encrypt_block(block.try_into().expect("the chunks are blocks"));
        }
        blocks
    }

    /// Makes a TLV of a header, whatever it says, and a content that is encrypted if it shall be.
    pub fn authenticate(&mut self, header: &[u8], content: &[u8]) -> Vec<u8> {
        let mac = self.chain(header, content);
        [header, content, &mac[..MAC_LENGTH]].concat()
    }

    /// Takes the counter one TLV back.
    pub fn hold_counter(&mut self) {
        self.counter = self.counter.saturating_sub(1);
    }

    /// Opens one protected TLV: the MAC is verified before anything is decrypted. How long it may
    /// be is for the card to say. After an error the MAC chain is broken and no further TLV opens.
    pub fn unprotect(&mut self, tlv: &[u8]) -> Result<Vec<u8>, BspError> {
        let header = Header::parse(tlv).ok_or(BspError::Structure)?;
        if header.size.checked_add(header.length) != Some(tlv.len()) {
            return Err(BspError::Structure);
        }
        let tag = u8::try_from(header.tag).map_err(|_| BspError::Structure)?;
        let (head, body) = tlv.split_at(header.size);
        let end = body
            .len()
            .checked_sub(MAC_LENGTH)
            .ok_or(BspError::Structure)?;
        let (content, mac) = body.split_at(end);
        if is_encrypted(tag) && (content.is_empty() || !content.len().is_multiple_of(16)) {
            return Err(BspError::Structure);
        }
        // The MAC counts the TLV; its encryption has the number from before.
        let initial_counter = self.counter;
        if self.chain(head, content)[..MAC_LENGTH] != *mac {
            return Err(BspError::Security);
        }
        if is_encrypted(tag) {
            self.decrypt(initial_counter, content)
        } else {
            Ok(content.to_vec())
        }
    }

    /// Goes on with other keys, from their own chaining value and counter 1 (ReplaceSessionKeys).
    pub fn replace_keys(&mut self, keys: BspKeys) {
        *self = Self::new(keys);
    }

    fn decrypt(&self, counter: u128, content: &[u8]) -> Result<Vec<u8>, BspError> {
        let mut plain = content.to_vec();
        let mut cipher = cbc::Decryptor::<Aes128>::new(
            &self.keys.encryption.into(),
            &self.initial_vector(counter).into(),
        );
        for block in plain.chunks_exact_mut(16) {
            cipher.decrypt_block(block.try_into().expect("the chunks are blocks"));
        }
        let marker = plain
            .iter()
            .rposition(|octet| *octet != 0)
            .ok_or(BspError::Security)?;
        if plain[marker] != 0x80 || plain.len() - marker > 16 {
            return Err(BspError::Security);
        }
        plain.truncate(marker);
        Ok(plain)
    }

    /// The counter, encrypted, as in SCP03: no two TLVs under one key begin in the same way.
    fn initial_vector(&self, counter: u128) -> [u8; 16] {
        let mut block = counter.to_be_bytes().into();
        Aes128::new(&self.keys.encryption.into()).encrypt_block(&mut block);
        block.into()
    }

    fn chain(&mut self, header: &[u8], content: &[u8]) -> [u8; 16] {
        let mut mac = <Cmac<Aes128> as KeyInit>::new(&self.keys.mac.into());
        mac.update(&self.chaining_value);
        mac.update(header);
        mac.update(content);
        self.chaining_value = mac.finalize().into_bytes().into();
        // A TLV that is not encrypted counts too: both sides number the TLVs.
        self.counter += 1;
        self.chaining_value
    }
}

impl fmt::Debug for Bsp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bsp")
            .field("counter", &self.counter)
            .finish_non_exhaustive()
    }
}

/// A plaintext with its padding: `80`, then zeros up to a whole block.
pub fn padded(plain: &[u8]) -> Vec<u8> {
    let mut padded = plain.to_vec();
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(16), 0);
    padded
}

fn is_encrypted(tag: u8) -> bool {
    matches!(tag, 0x86 | 0x87)
}

/// keyType of the control reference template: AES.
pub const KEY_TYPE_AES: u8 = 0x88;
/// keyLen of the control reference template: 16 octets.
pub const KEY_LENGTH: u8 = 0x10;
/// Octets of the MAC at the end of a protected TLV.
pub const MAC_LENGTH: usize = 8;

#[cfg(test)]
mod tests;

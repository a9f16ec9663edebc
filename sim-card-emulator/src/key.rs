//! P-256 keys and the signatures RSP makes with them.

use std::fmt;

use p256::SecretKey;
use p256::ecdsa::signature::{Signer, Verifier};
use p256::ecdsa::{DerSignature, Signature, SigningKey, VerifyingKey};
use p256::pkcs8::{EncodePrivateKey, LineEnding};

/// A P-256 private key: it signs, and agrees on a secret.
#[derive(Clone)]
pub struct PrivateKey(SecretKey);

impl PrivateKey {
    /// Makes a key from the operating system's randomness.
    ///
    /// # Errors
    ///
    /// When the operating system has no randomness to give.
    pub fn generate() -> Result<Self, getrandom::Error> {
        loop {
            let mut scalar = [0; 32];
            getrandom::fill(&mut scalar)?;
            if let Some(key) = Self::from_scalar(&scalar) {
                return Ok(key);
            }
        }
    }

    /// Takes a 32-octet big-endian scalar; `None` when it is zero or not below the group order.
    pub fn from_scalar(scalar: &[u8]) -> Option<Self> {
        if scalar.len() != 32 {
            return None;
        }
        SecretKey::from_slice(scalar).ok().map(Self)
    }

    /// Reads PEM: PKCS#8 `PRIVATE KEY` or SEC1 `EC PRIVATE KEY`, whatever blocks stand before it.
    pub fn from_pem(text: &str) -> Option<Self> {
        ["PRIVATE KEY", "EC PRIVATE KEY"]
            .iter()
            .find_map(|label| block(text, label))
            .and_then(|pem| SecretKey::from_pem(pem).ok())
            .map(Self)
    }

    /// Writes PKCS#8 PEM.
    pub fn to_pem(&self) -> String {
        let pem = self.0.to_pkcs8_pem(LineEnding::LF);
        pem.expect("a P-256 key always fits PKCS#8").to_string()
    }

    /// The scalar, 32 octets big-endian.
    pub fn to_scalar(&self) -> [u8; 32] {
        self.0.to_bytes().into()
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.public_key())
    }

    /// Signs with ECDSA and SHA-256: `r || s`, 64 octets, as in tag `5F37` (BSI TR-03111 plain).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature: Signature = SigningKey::from(&self.0).sign(message);
        signature.to_bytes().into()
    }

    /// Signs with ECDSA and SHA-256 in the DER form certificates use.
    pub fn sign_der(&self, message: &[u8]) -> Vec<u8> {
        let signature: DerSignature = SigningKey::from(&self.0).sign(message);
        signature.as_bytes().to_vec()
    }

    /// Agrees on a secret with the owner of the other key: the X coordinate.
    pub fn diffie_hellman(&self, other: &PublicKey) -> [u8; 32] {
        (*self.0.diffie_hellman(&other.0).raw_secret_bytes()).into()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

/// A P-256 public key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PublicKey(p256::PublicKey);

impl PublicKey {
    /// Takes an uncompressed point of the curve, 65 octets `04 || X || Y`.
    pub fn from_point(point: &[u8]) -> Option<Self> {
        if point.len() != 65 || point[0] != 0x04 {
            return None;
        }
        p256::PublicKey::from_sec1_bytes(point).ok().map(Self)
    }

    /// The uncompressed point, 65 octets `04 || X || Y`.
    pub fn to_point(&self) -> [u8; 65] {
        let mut point = [0; 65];
        point.copy_from_slice(&self.0.to_sec1_bytes());
        point
    }

    /// Whether the signature, 64 octets `r || s`, is this key's over the message.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.verifier().verify(message, &signature).is_ok())
    }

    /// Whether the DER signature is this key's over the message.
    pub fn verifies_der(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_der(signature)
            .is_ok_and(|signature| self.verifier().verify(message, &signature).is_ok())
    }

    fn verifier(&self) -> VerifyingKey {
        VerifyingKey::from(&self.0)
    }
}

fn block<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    let start = text.find(&format!("-----BEGIN {label}-----"))?;
    let tail = format!("-----END {label}-----");
    let end = text[start..].find(&tail)? + start + tail.len();
    Some(&text[start..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_pem() {
        let key = PrivateKey::generate().unwrap();
        let again = PrivateKey::from_pem(&key.to_pem()).unwrap();
        assert_eq!(key.to_scalar(), again.to_scalar());
    }

    #[test]
    fn a_sec1_key_behind_its_parameters_is_read() {
        let key = PrivateKey::generate().unwrap();
        let sec1 = key.0.to_sec1_pem(LineEnding::LF).unwrap();
        let parameters =
            "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----";
        let again = PrivateKey::from_pem(&format!("{parameters}\n{}", sec1.as_str())).unwrap();
        assert_eq!(key.to_scalar(), again.to_scalar());
    }

    #[test]
    fn a_signature_is_bound_to_key_and_message() {
        let key = PrivateKey::generate().unwrap();
        let signature = key.sign(b"message");
        assert!(key.public_key().verifies(b"message", &signature));
        assert!(!key.public_key().verifies(b"massage", &signature));
        assert!(!key.public_key().verifies(b"message", &signature[..63]));
        let other = PrivateKey::generate().unwrap();
        assert!(!other.public_key().verifies(b"message", &signature));
    }

    #[test]
    fn a_point_off_the_curve_is_no_key() {
        let mut point = PrivateKey::generate().unwrap().public_key().to_point();
        point[64] ^= 1;
        assert_eq!(PublicKey::from_point(&point), None);
        assert!(!format!("{:?}", PrivateKey::generate().unwrap()).contains('['));
    }
}

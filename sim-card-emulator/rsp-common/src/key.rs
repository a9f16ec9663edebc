//! Keys on the two curves of RSP, and the signatures made with them.

use std::fmt;
use std::str::FromStr;

use bp256::r1 as brainpool;
use ecdsa::signature::{Signer, Verifier};
use ecdsa::{SigningKey, VerifyingKey};
use p256::pkcs8::{EncodePrivateKey, LineEnding};
use serde::{Deserialize, Serialize};

/// A curve keys of RSP are on, SGP.22 v2.5 section 2.6.7.2.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Curve {
    /// NIST P-256, also called secp256r1 and prime256v1.
    #[default]
    Nist,
    /// brainpoolP256r1.
    Brainpool,
}

impl Curve {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Nist, Self::Brainpool];
    /// Their names, for a command line.
    pub const NAMES: [&'static str; 2] = ["nist", "brainpool"];

    /// Its name, one of [`Curve::NAMES`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Nist => "nist",
            Self::Brainpool => "brainpool",
        }
    }

    /// The named curve's object identifier, dotted.
    pub fn oid(self) -> &'static str {
        match self {
            Self::Nist => "1.2.840.10045.3.1.7",
            Self::Brainpool => "1.3.36.3.3.2.8.1.1.7",
        }
    }
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nist => "NIST P-256",
            Self::Brainpool => "brainpoolP256r1",
        })
    }
}

impl FromStr for Curve {
    type Err = UnknownCurve;

    fn from_str(name: &str) -> Result<Self, UnknownCurve> {
        let known = Self::ALL.into_iter().find(|curve| curve.name() == name);
        known.ok_or_else(|| UnknownCurve(name.to_owned()))
    }
}

/// A name that is none of [`Curve::NAMES`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0} is no curve; there are nist and brainpool")]
pub struct UnknownCurve(String);

/// Does the same with a key on either curve.
macro_rules! on_either {
    ($which:ident, $value:expr, $key:ident => $result:expr) => {
        match $value {
            $which::Nist($key) => $result,
            $which::Brainpool($key) => $result,
        }
    };
}

/// A private key: it signs, and agrees on a secret.
#[derive(Clone)]
pub struct PrivateKey(Secret);

#[derive(Clone)]
enum Secret {
    Nist(p256::SecretKey),
    Brainpool(brainpool::SecretKey),
}

impl PrivateKey {
    /// Makes a key on NIST P-256 from the operating system's randomness.
    pub fn generate() -> Result<Self, getrandom::Error> {
        Self::generate_on(Curve::Nist)
    }

    /// Makes a key from the operating system's randomness.
    pub fn generate_on(curve: Curve) -> Result<Self, getrandom::Error> {
        // Nearly every number of 32 octets is a scalar of the group, so this ends at the first one.
        loop {
            let mut scalar = [0; 32];
            getrandom::fill(&mut scalar)?;
            if let Some(key) = Self::from_scalar_on(curve, &scalar) {
                return Ok(key);
            }
        }
    }

    /// Takes a scalar of NIST P-256, see [`PrivateKey::from_scalar_on`].
    pub fn from_scalar(scalar: &[u8]) -> Option<Self> {
        Self::from_scalar_on(Curve::Nist, scalar)
    }

    /// Takes a 32-octet big-endian scalar; `None` when it is zero or not below the group order.
    pub fn from_scalar_on(curve: Curve, scalar: &[u8]) -> Option<Self> {
        if scalar.len() != 32 {
            return None;
        }
        let secret = match curve {
            Curve::Nist => Secret::Nist(p256::SecretKey::from_slice(scalar).ok()?),
            Curve::Brainpool => Secret::Brainpool(brainpool::SecretKey::from_slice(scalar).ok()?),
        };
        Some(Self(secret))
    }

    /// Reads PEM: PKCS#8 `PRIVATE KEY` or SEC1 `EC PRIVATE KEY`, whatever blocks stand before it.
    ///
    /// A SEC1 key that names no curve and brings no public key is taken to be on NIST P-256.
    pub fn from_pem(text: &str) -> Option<Self> {
        let pem = ["PRIVATE KEY", "EC PRIVATE KEY"]
            .iter()
            .find_map(|label| block(text, label))?;
        let nist = p256::SecretKey::from_pem(pem).map(Secret::Nist);
        let secret = nist.or_else(|_| brainpool::SecretKey::from_pem(pem).map(Secret::Brainpool));
        secret.ok().map(Self)
    }

    /// Writes PKCS#8 PEM.
    pub fn to_pem(&self) -> String {
        let pem = on_either!(Secret, &self.0, key => key.to_pkcs8_pem(LineEnding::LF));
        pem.expect("a key of 32 octets always fits PKCS#8")
            .to_string()
    }

    /// The scalar, 32 octets big-endian.
    pub fn to_scalar(&self) -> [u8; 32] {
        on_either!(Secret, &self.0, key => key.to_bytes().into())
    }

    /// The curve it is on.
    pub fn curve(&self) -> Curve {
        match self.0 {
            Secret::Nist(_) => Curve::Nist,
            Secret::Brainpool(_) => Curve::Brainpool,
        }
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(match &self.0 {
            Secret::Nist(key) => Point::Nist(key.public_key()),
            Secret::Brainpool(key) => Point::Brainpool(key.public_key()),
        })
    }

    /// Signs with ECDSA and SHA-256: `r || s`, 64 octets, as in tag `5F37` (BSI TR-03111 plain).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        on_either!(Secret, &self.0, key => {
            let signature: ecdsa::Signature<_> = SigningKey::from(key).sign(message);
            signature.to_bytes().into()
        })
    }

    /// Signs with ECDSA and SHA-256 in the DER form certificates use.
    pub fn sign_der(&self, message: &[u8]) -> Vec<u8> {
        on_either!(Secret, &self.0, key => {
            let signature: ecdsa::der::Signature<_> = SigningKey::from(key).sign(message);
            signature.as_bytes().to_vec()
        })
    }

    /// Agrees on a secret with the owner of the other key: the X coordinate; `None` when the keys
    /// are on different curves.
    pub fn diffie_hellman(&self, other: &PublicKey) -> Option<[u8; 32]> {
        match (&self.0, &other.0) {
            (Secret::Nist(own), Point::Nist(other)) => {
                Some((*own.diffie_hellman(other).raw_secret_bytes()).into())
            }
            (Secret::Brainpool(own), Point::Brainpool(other)) => {
                Some((*own.diffie_hellman(other).raw_secret_bytes()).into())
            }
            _ => None,
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

/// A public key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PublicKey(Point);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Point {
    Nist(p256::PublicKey),
    Brainpool(BrainpoolPublicKey),
}

impl PublicKey {
    /// Takes an uncompressed point, 65 octets `04 || X || Y`, of whichever curve it lies on.
    ///
    /// A point of one curve lies on the other with a probability of 2⁻²⁵⁶.
    pub fn from_point(point: &[u8]) -> Option<Self> {
        Curve::ALL
            .into_iter()
            .find_map(|curve| Self::from_point_on(curve, point))
    }

    /// Takes an uncompressed point of a curve, 65 octets `04 || X || Y`.
    pub fn from_point_on(curve: Curve, point: &[u8]) -> Option<Self> {
        if point.len() != 65 || point[0] != 0x04 {
            return None;
        }
        let point = match curve {
            Curve::Nist => Point::Nist(p256::PublicKey::from_sec1_bytes(point).ok()?),
            Curve::Brainpool => Point::Brainpool(BrainpoolPublicKey::from_sec1_bytes(point).ok()?),
        };
        Some(Self(point))
    }

    /// The uncompressed point, 65 octets `04 || X || Y`.
    pub fn to_point(&self) -> [u8; 65] {
        let mut point = [0; 65];
        on_either!(Point, &self.0, key => point.copy_from_slice(&key.to_sec1_bytes()));
        point
    }

    /// The curve it is on.
    pub fn curve(&self) -> Curve {
        match self.0 {
            Point::Nist(_) => Curve::Nist,
            Point::Brainpool(_) => Curve::Brainpool,
        }
    }

    /// Whether the signature, 64 octets `r || s`, is this key's over the message.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        on_either!(Point, &self.0, key => {
            ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| VerifyingKey::from(key).verify(message, &signature).is_ok())
        })
    }

    /// Whether the DER signature is this key's over the message.
    pub fn verifies_der(&self, message: &[u8], signature: &[u8]) -> bool {
        on_either!(Point, &self.0, key => {
            ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| VerifyingKey::from(key).verify(message, &signature).is_ok())
        })
    }
}

type BrainpoolPublicKey = bp256::elliptic_curve::PublicKey<bp256::BrainpoolP256r1>;

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
    fn a_key_survives_pem_and_stays_on_its_curve() {
        for curve in Curve::ALL {
            let key = PrivateKey::generate_on(curve).unwrap();
            let again = PrivateKey::from_pem(&key.to_pem()).unwrap();
            assert_eq!(key.to_scalar(), again.to_scalar());
            assert_eq!((again.curve(), again.public_key().curve()), (curve, curve));
            let point = key.public_key().to_point();
            assert_eq!(PublicKey::from_point(&point), Some(key.public_key()));
        }
    }

    #[test]
    fn a_sec1_key_behind_its_parameters_is_read() {
        for curve in Curve::ALL {
            let key = PrivateKey::generate_on(curve).unwrap();
            let sec1 = on_either!(Secret, &key.0, key => key.to_sec1_pem(LineEnding::LF)).unwrap();
            let parameters =
                "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----";
            let again = PrivateKey::from_pem(&format!("{parameters}\n{}", sec1.as_str())).unwrap();
            assert_eq!(key.to_scalar(), again.to_scalar());
            assert_eq!(again.curve(), curve);
        }
    }

    #[test]
    fn a_signature_is_bound_to_key_and_message() {
        for curve in Curve::ALL {
            let key = PrivateKey::generate_on(curve).unwrap();
            let signature = key.sign(b"message");
            assert!(key.public_key().verifies(b"message", &signature));
            assert!(!key.public_key().verifies(b"massage", &signature));
            assert!(!key.public_key().verifies(b"message", &signature[..63]));
            let der = key.sign_der(b"message");
            assert!(key.public_key().verifies_der(b"message", &der));
            for other in Curve::ALL {
                let other = PrivateKey::generate_on(other).unwrap();
                assert!(!other.public_key().verifies(b"message", &signature));
            }
        }
    }

    #[test]
    fn two_keys_agree_on_one_secret_and_only_on_one_curve() {
        for curve in Curve::ALL {
            let [own, other] = [(); 2].map(|()| PrivateKey::generate_on(curve).unwrap());
            let secret = own.diffie_hellman(&other.public_key());
            assert!(secret.is_some());
            assert_eq!(secret, other.diffie_hellman(&own.public_key()));
        }
        let [nist, brainpool] = Curve::ALL.map(|curve| PrivateKey::generate_on(curve).unwrap());
        assert_eq!(nist.diffie_hellman(&brainpool.public_key()), None);
    }

    /// RFC 7027 annex A.1.
    #[test]
    fn the_agreement_of_rfc_7027_is_reproduced() {
        let octets = |text| hex::decode(text).unwrap();
        let own = PrivateKey::from_scalar_on(
            Curve::Brainpool,
            &octets("81DB1EE100150FF2EA338D708271BE38300CB54241D79950F77B063039804F1D"),
        )
        .unwrap();
        let other = PrivateKey::from_scalar_on(
            Curve::Brainpool,
            &octets("55E40BC41E37E3E2AD25C3C6654511FFA8474A91A0032087593852D3E7D76BD3"),
        )
        .unwrap();
        assert_eq!(
            own.public_key().to_point()[1..33],
            octets("44106E913F92BC02A1705D9953A8414DB95E1AAA49E81D9E85F929A8E3100BE5")
        );
        assert_eq!(
            own.diffie_hellman(&other.public_key()).unwrap()[..],
            octets("89AFC39D41D3B327814B80940B042590F96556EC91E6AE7939BCE31F3A18BF2B")
        );
    }

    #[test]
    fn a_point_off_the_curve_is_no_key() {
        for curve in Curve::ALL {
            let key = PrivateKey::generate_on(curve).unwrap();
            let mut point = key.public_key().to_point();
            point[64] ^= 1;
            assert_eq!(PublicKey::from_point(&point), None);
            assert!(!format!("{key:?}").contains('['));
        }
    }

    #[test]
    fn a_curve_is_found_by_its_name() {
        for (curve, name) in Curve::ALL.into_iter().zip(Curve::NAMES) {
            assert_eq!(name.parse(), Ok(curve));
        }
        assert!("p521".parse::<Curve>().is_err());
    }
}

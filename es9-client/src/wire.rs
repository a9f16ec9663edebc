//! How values are written in ES9+ JSON and in addresses: base64, hexadecimal, host names.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::str::FromStr;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// Bytes that are passed on exactly as received: base64 in JSON, mostly DER inside.
///
/// White space inside the base64 text and missing padding are accepted. `Debug` shows the length
/// only, because some of these objects carry a matching id or a hashed confirmation code.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Opaque(Vec<u8>);

impl Deref for Opaque {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Opaque {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Opaque {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for Opaque {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opaque({} bytes)", self.0.len())
    }
}

impl Serialize for Opaque {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Opaque {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut text = text.into_bytes();
        text.retain(|c| !matches!(c, b' ' | b'\t' | b'\r' | b'\n'));
        BASE64
            .decode(text)
            .map(Self)
            .map_err(|e| de::Error::custom(format_args!("bad base64: {e}")))
    }
}

/// The name of an RSP session: 1 to 16 bytes, hexadecimal in JSON.
///
/// SGP.22 v2.5 section 6.5.2. It is sent back in the spelling in which it was received, and
/// compared by value.
#[derive(Clone)]
pub struct TransactionId {
    text: String,
    value: Vec<u8>,
}

impl TransactionId {
    /// The bytes that DER objects carry in their transactionId field.
    pub fn value(&self) -> &[u8] {
        &self.value
    }
}

impl FromStr for TransactionId {
    type Err = TransactionIdError;

    fn from_str(text: &str) -> Result<Self, TransactionIdError> {
        let value = hex::decode(text).map_err(|_| TransactionIdError)?;
        match value.len() {
            1..=16 => Ok(Self {
                text: text.to_owned(),
                value,
            }),
            _ => Err(TransactionIdError),
        }
    }
}

impl PartialEq for TransactionId {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Eq for TransactionId {}

impl Hash for TransactionId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.value.hash(state);
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransactionId({})", self.text)
    }
}

impl Serialize for TransactionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for TransactionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// A transaction id that is not 1 to 16 bytes in hexadecimal.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("a transaction id is 1 to 16 bytes in hexadecimal")]
pub struct TransactionIdError;

/// Where an RSP server is reached: a fully qualified domain name and, in test set-ups, a port.
///
/// There is one spelling of an address: the host in lower case, and no port if it is 443. It goes
/// to servers and to the eUICC like this, because some servers compare `smdpAddress` octet by
/// octet, and a QR code in alphanumeric mode can only hold capitals. So `to_string` is also the key
/// under which the notifications of one recipient belong together.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct ServerAddress {
    host: String,
    /// Nothing if it is 443.
    port: Option<u16>,
}

impl ServerAddress {
    /// The host name, in lower case.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port, 443 unless the address says otherwise.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(HTTPS)
    }

    /// The same server on the given port.
    pub fn with_port(self, port: u16) -> Self {
        Self {
            port: Some(port).filter(|port| *port != HTTPS),
            ..self
        }
    }

    /// Whether `name` is this server's host name, without regard to case.
    pub fn is_host(&self, name: &str) -> bool {
        self.host.eq_ignore_ascii_case(name)
    }
}

impl FromStr for ServerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let address = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => {
                rest.strip_suffix('/').unwrap_or(rest)
            }
            Some(_) => return Err(AddressError::Scheme),
            None => text,
        };
        let (host, port) = match address.split_once(':') {
            Some((host, port)) => (host, parse_port(port)?),
            None => (address, HTTPS),
        };
        check_host(host)?;
        let host = host.to_ascii_lowercase();
        Ok(Self { host, port: None }.with_port(port))
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

impl fmt::Debug for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerAddress({self})")
    }
}

/// Why a text is not the address of an RSP server.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum AddressError {
    /// There is nothing in it.
    #[error("the server address is empty")]
    Empty,
    /// It is longer than the 253 characters of a domain name.
    #[error("the server address is longer than 253 characters")]
    TooLong,
    /// It asks for something other than HTTPS.
    #[error("the server address must be a host name; of the schemes only https:// is possible")]
    Scheme,
    /// It holds something a host name cannot hold: a path, a user name, a blank.
    #[error("{0:?} cannot be part of a server address")]
    Character(char),
    /// A label is empty, too long, or begins or ends with a hyphen.
    #[error("the server address is not a well-formed domain name")]
    Label,
    /// It is an IP address; a certificate names its server by host name.
    #[error("the server address must be a host name such as smdp.example.com, not an IP address")]
    IpAddress,
    /// The port is not a number from 1 to 65535.
    #[error("the port of the server address must be a number from 1 to 65535")]
    Port,
}

fn parse_port(text: &str) -> Result<u16, AddressError> {
    match text.bytes().all(|c| c.is_ascii_digit()) {
        true => text.parse().ok().filter(|port| *port != 0),
        false => None,
    }
    .ok_or(AddressError::Port)
}

/// The rules of RFC 1123 section 2.1. A name without a domain is one of a laboratory.
fn check_host(host: &str) -> Result<(), AddressError> {
    if host.is_empty() {
        return Err(AddressError::Empty);
    }
    let foreign = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.'));
    if let Some(c) = host.chars().find(foreign) {
        return Err(AddressError::Character(c));
    }
    if host.len() > 253 {
        return Err(AddressError::TooLong);
    }
    let bad = |label: &str| {
        label.is_empty() || label.len() > 63 || label.starts_with('-') || label.ends_with('-')
    };
    if host.split('.').any(bad) {
        return Err(AddressError::Label);
    }
    let top = host.rsplit('.').next().unwrap_or_default();
    match top.bytes().all(|c| c.is_ascii_digit()) {
        true => Err(AddressError::IpAddress),
        false => Ok(()),
    }
}

const HTTPS: u16 = 443;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_through_white_space_and_without_padding() {
        for text in ["\"BBT/ \"", "\"BB\\r\\nT\\t/\"", "\"BBT\\/\""] {
            let bytes: Opaque = serde_json::from_str(text).unwrap();
            assert_eq!(&*bytes, [0x04, 0x14, 0xFF], "{text}");
        }
        let bytes: Opaque = serde_json::from_str("\"BA\"").unwrap();
        assert_eq!(serde_json::to_string(&bytes).unwrap(), "\"BA==\"");
    }

    #[test]
    fn the_url_safe_alphabet_is_refused() {
        assert!(serde_json::from_str::<Opaque>("\"BBT_\"").is_err());
    }

    #[test]
    fn opaque_bytes_do_not_show_in_debug() {
        assert_eq!(
            format!("{:?}", Opaque::from(&b"MATCHING-ID"[..])),
            "Opaque(11 bytes)"
        );
    }

    #[test]
    fn a_transaction_id_goes_back_as_it_came_and_compares_by_value() {
        let lower: TransactionId = "0a0b".parse().unwrap();
        let upper: TransactionId = "0A0B".parse().unwrap();
        assert_eq!(lower, upper);
        assert_eq!(lower.value(), [0x0A, 0x0B]);
        assert_eq!(serde_json::to_string(&lower).unwrap(), "\"0a0b\"");
    }

    #[test]
    fn a_transaction_id_has_one_to_sixteen_whole_bytes() {
        for text in ["", "0", "0G", "000102030405060708090A0B0C0D0E0F10", "é0"] {
            assert!(text.parse::<TransactionId>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_is_a_host_name_with_an_optional_port() {
        for (text, host, port) in [
            ("smdp.example.com", "smdp.example.com", 443),
            ("smdp.example.com:8443", "smdp.example.com", 8443),
            ("https://smdp.example.com", "smdp.example.com", 443),
            ("HTTPS://RSP-3022.IDEMIA.IO:443", "rsp-3022.idemia.io", 443),
            ("3.example.x1", "3.example.x1", 443),
        ] {
            let address: ServerAddress = text.parse().unwrap();
            assert_eq!((address.host(), address.port()), (host, port), "{text}");
        }
    }

    #[test]
    fn an_address_that_is_no_host_name_is_refused_with_the_reason() {
        use AddressError::*;
        let long_label = format!("{}.example.com", "a".repeat(64));
        let long_name = format!("{}example.com", "a.".repeat(125));
        for (text, error) in [
            ("", Empty),
            (":443", Empty),
            ("http://smdp.example.com", Scheme),
            ("192.168.1.1", IpAddress),
            ("8443", IpAddress),
            ("[::1]", Port),
            ("smdp.example.com/path", Character('/')),
            ("smdp.example.com/", Character('/')),
            ("user@smdp.example.com", Character('@')),
            ("user:secret@smdp.example.com", Port),
            ("smdp_1.example.com", Character('_')),
            ("smdp .example.com", Character(' ')),
            ("smdp.exämple.com", Character('ä')),
            ("smdp..example.com", Label),
            ("smdp.example.com.", Label),
            ("-smdp.example.com", Label),
            ("smdp.example.com:", Port),
            ("smdp.example.com:0", Port),
            ("smdp.example.com:65536", Port),
            ("smdp.example.com:+80", Port),
            (&long_label, Label),
            (&long_name, TooLong),
        ] {
            assert_eq!(text.parse::<ServerAddress>().unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn a_url_and_a_bare_name_are_addresses_too() {
        let parse = |text: &str| text.parse::<ServerAddress>().unwrap();
        assert_eq!(
            parse("https://smdp.example.com/").host(),
            "smdp.example.com"
        );
        assert_eq!(parse("localhost:8443").port(), 8443);
    }

    #[test]
    fn an_address_is_written_in_one_way_however_it_was_typed() {
        for (typed, written) in [
            ("SMDP.EXAMPLE.COM", "smdp.example.com"),
            ("smdp.example.com:443", "smdp.example.com"),
            ("smdp.example.com:0443", "smdp.example.com"),
            ("https://Smdp.Example.com/", "smdp.example.com"),
            ("HTTPS://SMDP.EXAMPLE.COM:8443/", "smdp.example.com:8443"),
        ] {
            let address: ServerAddress = typed.parse().unwrap();
            assert_eq!(address.to_string(), written, "{typed}");
            assert_eq!(address, written.parse().unwrap(), "{typed}");
        }
    }

    #[test]
    fn the_port_is_part_of_an_address_and_443_is_the_usual_one() {
        let parse = |text: &str| text.parse::<ServerAddress>().unwrap();
        let address = parse("smdp.example.com");
        assert_ne!(address, parse("smdp.example.com:8443"));
        assert_eq!(parse("smdp.example.com:8443").with_port(443), address);
        assert!(address.is_host("SMDP.example.COM"));
    }
}

//! Named faults: what the server does wrong on purpose, by function and call.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use es10_apdu::tlv::{Children, Tlv, encode as tlv};
use rsp_common::pki::Variant;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value as Json;

use super::fields::Members;
use super::names::{NameError, Value, named};
use super::random;
use super::status::StatusCode;
use crate::smdp::PackageFault;

mod style;

pub(crate) use style::rewrite;

named! {
    /// Something a server can do wrong, or only in an unusual way.
    ///
    /// What is signed around it is right, except where the signature itself is what is wrong.
    pub enum Fault as "fault" {
        /// Answers with this HTTP status and no body; the request is not looked at.
        "http-status" => HttpStatus(status: u16),
        /// Executes the request, then answers with this HTTP status and no body.
        "executed-http-status" => ExecutedHttpStatus(status: u16),
        /// Answers with this failure; the session is left as it is.
        "refuse" => Refuse(code: StatusCode),
        /// Closes the connection without an answer; the request is not looked at.
        "close-connection" => CloseConnection,
        /// Executes the request, then closes the connection without an answer.
        "lose-answer" => LoseAnswer,
        /// Takes the request and says nothing.
        "silence" => Silence,
        /// Answers with a body of so many bytes, not announced.
        "huge-body" => HugeBody(octets: u64),
        /// Announces the whole answer, sends half of it and closes the connection.
        "truncated-body" => TruncatedBody,
        /// Sends so many octets of the body in a second.
        "slow-body" => SlowBody(rate: u32),
        /// Sends the body in chunks of so many octets, without a Content-Length.
        "chunked" => Chunked(octets: usize),
        /// Sends the whole answer twice, one right behind the other.
        "answer-twice" => AnswerTwice,
        /// Executes the request, then answers what it answered to the last one of this function.
        "previous-answer" => PreviousAnswer,
        /// Answers with a redirection to this URL; the request is not looked at.
        "redirect" => Redirect(url: String),
        /// Answers with this Content-Type.
        "content-type" => ContentType(value: String),
        /// Answers with this X-Admin-Protocol; without it when there is nothing behind the
        /// equals sign.
        "protocol" => Protocol(value: String),
        /// Executes the request, then answers with HTTP status 200 and this body instead.
        "body" => Body(text: String),
        /// Executes the request, then answers with a web page and HTTP status 200.
        "html" => Html,
        /// Begins the body with a byte order mark.
        "bom" => Bom,
        /// Writes the body over many lines, with space around everything.
        "white-space" => WhiteSpace,
        /// Breaks what is base64 into lines of 64 characters.
        "wrapped-base64" => WrappedBase64,
        /// Writes every slash of the body with a backslash before it.
        "escaped-slashes" => EscapedSlashes,
        /// Adds unknown members, nested ones among them.
        "unknown-members" => UnknownMembers,
        /// Writes the members from the last to the first.
        "members-reversed" => MembersReversed,
        /// Answers with this text as the member of this name.
        "member" => Member(name_and_text: NamedText),
        /// Leaves out the member of this name.
        "missing-member" => MissingMember(name: String),
        /// Answers with a number as the member of this name.
        "wrong-type" => WrongType(name: String),
        /// Puts an asterisk, which base64 does not have, into the member of this name.
        "invalid-base64" => InvalidBase64(name: String),
        /// Flips the last bit of what the member of this name holds in base64.
        "flipped-member" => FlippedMember(name: String),
        /// Leaves out the object that says whether the function was executed.
        "without-header" => WithoutHeader,
        /// Gives this functionExecutionStatus, with everything that was to be answered; to a
        /// notification it answers with HTTP status 200.
        "status" => Status(text: String),
        /// Answers with another transaction ID than the session's.
        "wrong-transaction-id" => WrongTransactionId,
        /// Writes the transaction ID in lower case.
        "lower-case-transaction-id" => LowerCaseTransactionId,
        /// Calls the new session this, 16 octets being the most that is allowed.
        "transaction-id" => TransactionId(octets: Vec<u8>),
        /// Flips a bit of serverSignature1.
        "altered-server-signature1" => AlteredServerSignature1,
        /// Signs this serverAddress instead of its own.
        "server-address" => ServerAddress(address: String),
        /// Signs smdpSigned2, or the bound profile package, for another session.
        "other-session" => OtherSession,
        /// Signs another eUICC challenge than the one received.
        "euicc-challenge" => EuiccChallenge,
        /// Signs its answer with the lengths in it written with an octet more than needed.
        "long-lengths" => LongLengths,
        /// Signs its answer with the fields in it from the last to the first.
        "fields-reversed" => FieldsReversed,
        /// Adds to serverSigned1, and to the answer, what a server of SGP.22 version 3 says.
        "version3" => Version3,
        /// Chooses a signing key of the eUICC that it does not have.
        "unknown-signing-issuer" => UnknownSigningIssuer,
        /// Names the chosen signing key by its 20 octets alone, without their tag and length.
        "bare-signing-issuer" => BareSigningIssuer,
        /// Shows a certificate of this variant and signs with its key: those of CERT.DPauth are for
        /// initiateAuthentication, those of CERT.DPpb for authenticateClient.
        "certificate" => Certificate(variant: Variant),
        /// Offers a profile with this StoreMetadata TLV instead of the package's.
        "offer" => Offer(metadata: Vec<u8>),
        /// Flips a bit of smdpSignature2, so that the eUICC refuses to prepare the download.
        "altered-smdp-signature2" => AlteredSmdpSignature2,
        /// Offers a profile with another ICCID than the package holds.
        "other-iccid-offered" => OtherIccidOffered,
        /// Flips a bit of the signature in the package's InitialiseSecureChannel.
        "altered-channel-signature" => AlteredChannelSignature,
        /// Leaves out the second half of the bound profile package.
        "half-package" => HalfPackage,
        /// Flips the last bit, which is one of its MAC, of the n-th '86' of the bound profile
        /// package, counted from 1.
        "altered-piece" => AlteredPiece(number: usize),
        /// Delivers a bound profile package with this fault of a package.
        "package" => Package(fault: PackageFault),
    }
}

impl Fault {
    /// Alters the members of an answer that is otherwise right.
    pub(crate) fn alter(&self, members: &mut Members) {
        match self {
            Self::Member(NamedText { name, text }) => {
                members.insert(name.clone(), text.as_str().into());
            }
            Self::MissingMember(name) => drop(members.remove(name)),
            Self::WrongType(name) => drop(members.insert(name.clone(), 7.into())),
            Self::InvalidBase64(name) => replace(members, name, |text| format!("*{text}")),
            Self::FlippedMember(name) => flip(members, name, last),
            Self::LowerCaseTransactionId => {
                replace(members, "transactionId", |text| text.to_ascii_lowercase());
            }
            Self::WrongTransactionId => {
                let other = hex::encode_upper(random::<16>());
                members.insert("transactionId".to_owned(), other.into());
            }
            Self::AlteredServerSignature1 => flip(members, "serverSignature1", last),
            Self::Offer(metadata) => {
                alter(members, "profileMetadata", |offered| {
                    offered.clone_from(metadata)
                });
            }
            Self::AlteredSmdpSignature2 => flip(members, "smdpSignature2", last),
            Self::OtherIccidOffered => flip(members, "profileMetadata", |metadata| {
                end_of(metadata, Tlv::exactly(metadata).ok()?.child(0x5A)?)
            }),
            Self::AlteredChannelSignature => flip(members, PACKAGE, |package| {
                end_of(package, Tlv::exactly(package).ok()?.child(0xBF23)?)
            }),
            Self::AlteredPiece(number) => flip(members, PACKAGE, |package| {
                let sequence = Tlv::exactly(package).ok()?.child(0xA3)?;
                let mut pieces = sequence.children().map_while(Result::ok);
                end_of(package, pieces.nth(number.checked_sub(1)?)?)
            }),
            Self::UnknownSigningIssuer => alter(members, SIGNING_ISSUER, |issuer| {
                *issuer = tlv(0x04, &random::<20>());
            }),
            Self::BareSigningIssuer => alter(members, SIGNING_ISSUER, |issuer| {
                issuer.drain(..issuer.len().min(2));
            }),
            Self::Version3 if members.contains_key("serverSigned1") => {
                members.insert("otherCertsInChain".to_owned(), Json::Array(Vec::new()));
                members.insert("crlList".to_owned(), Json::Array(Vec::new()));
            }
            Self::HalfPackage => {
                alter(members, PACKAGE, |package| {
                    package.truncate(package.len() / 2)
                });
            }
            _ => {}
        }
    }

    /// Gives what is about to be signed another form.
    pub(crate) fn reshape(&self, signed: Vec<u8>) -> Vec<u8> {
        let Ok(read) = Tlv::exactly(&signed) else {
            return signed;
        };
        let fields = || Children::of(read.contents).map_while(Result::ok);
        let contents: Vec<Vec<u8>> = match self {
            Self::LongLengths => fields().map(with_long_length).collect(),
            Self::FieldsReversed => {
                let mut fields: Vec<_> = fields().map(|field| field.encoding.to_vec()).collect();
                fields.reverse();
                fields
            }
            // Only serverSigned1 has an address.
            Self::Version3 if read.child(0x83).is_some() => {
                let context = tlv(0xA5, &tlv(0x80, &[3, 1, 0]));
                let capability = tlv(0x86, &[0x04, 0xF0]);
                vec![read.contents.to_vec(), context, capability]
            }
            _ => return signed,
        };
        tlv(read.tag, &contents.concat())
    }
}

/// A field whose length is shorter than 128 and takes two octets all the same.
fn with_long_length(field: Tlv<'_>) -> Vec<u8> {
    let mut header = field.header().to_vec();
    if let Some(length) = header.pop_if(|_| field.contents.len() < 0x80) {
        header.extend([0x81, length]);
    }
    [header, field.contents.to_vec()].concat()
}

/// Changes the text of a member.
fn replace(members: &mut Members, name: &str, change: impl FnOnce(&str) -> String) {
    if let Some(text) = members.get(name).and_then(Json::as_str) {
        let changed = change(text);
        members.insert(name.to_owned(), changed.into());
    }
}

/// Changes the octets of a member.
fn alter(members: &mut Members, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let member = members.get(name).and_then(|member| member.as_str());
    if let Some(mut octets) = member.and_then(|text| BASE64_STANDARD.decode(text).ok()) {
        change(&mut octets);
        members.insert(name.to_owned(), BASE64_STANDARD.encode(octets).into());
    }
}

/// Flips the lowest bit of one octet of a member, so that a digit stays a digit.
fn flip(members: &mut Members, name: &str, place: impl FnOnce(&[u8]) -> Option<usize>) {
    alter(members, name, |octets| {
        if let Some(place) = place(octets) {
            octets[place] ^= 1;
        }
    });
}

fn last(octets: &[u8]) -> Option<usize> {
    octets.len().checked_sub(1)
}

/// Where the last octet of a data object stands in the octets it was found in.
fn end_of(octets: &[u8], found: Tlv<'_>) -> Option<usize> {
    let end = found.encoding.as_ptr_range().end as usize - octets.as_ptr() as usize;
    end.checked_sub(1)
}

const PACKAGE: &str = "boundProfilePackage";
const SIGNING_ISSUER: &str = "euiccCiPKIdToBeUsed";

/// A name and a text, written with a colon between them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NamedText {
    /// The name.
    pub name: String,
    /// The text.
    pub text: String,
}

impl NamedText {
    /// Puts the two together.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
        }
    }
}

impl Value for NamedText {
    const EXPECTED: &'static str = "a name, a colon and a text";

    fn parse(text: &str) -> Option<Self> {
        text.split_once(':')
            .map(|(name, text)| Self::new(name, text))
    }

    fn show(&self) -> String {
        format!("{}:{}", self.name, self.text)
    }
}

impl Value for PackageFault {
    const EXPECTED: &'static str = "a fault of a package";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for Variant {
    const EXPECTED: &'static str = "a variant of a certificate";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// Which calls of a function a fault meets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Calls {
    /// Every call until the faults are cleared.
    Every,
    /// Only the n-th call from now, counted from 1.
    Nth(u32),
}

impl Calls {
    /// The next call only.
    pub const NEXT: Self = Self::Nth(1);
}

impl FromStr for Calls {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match (text, text.parse()) {
            ("every", _) => Ok(Self::Every),
            (_, Ok(number)) if number > 0 => Ok(Self::Nth(number)),
            _ => Err(NameError::Value {
                name: "call",
                value: text.to_owned(),
                expected: "every, or a number from 1",
            }),
        }
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every => f.write_str("every"),
            Self::Nth(number) => number.fmt(f),
        }
    }
}

impl Serialize for Calls {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Every => serializer.serialize_str("every"),
            Self::Nth(number) => serializer.serialize_u32(*number),
        }
    }
}

impl<'de> Deserialize<'de> for Calls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(u32),
            Text(String),
        }
        let text = match Either::deserialize(deserializer)? {
            Either::Number(number) => number.to_string(),
            Either::Text(text) => text,
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A fault and the calls it meets: `FUNCTION=NAME`, `FUNCTION:N=NAME` or either with `=VALUE`
/// behind it; without a number it meets every call.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FaultPlan<F> {
    /// The function.
    pub function: F,
    /// Which of its calls: `every`, or the n-th from now on, counted from 1.
    #[serde(rename = "call", default = "every")]
    pub calls: Calls,
    /// What goes wrong.
    pub fault: Fault,
}

fn every() -> Calls {
    Calls::Every
}

impl<F: FromStr<Err = NameError>> FromStr for FaultPlan<F> {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (which, fault) = text
            .split_once('=')
            .ok_or_else(|| NameError::Form(text.to_owned()))?;
        let (function, calls) = match which.split_once(':') {
            Some((function, calls)) => (function, calls.parse()?),
            None => (which, Calls::Every),
        };
        Ok(Self {
            function: function.parse()?,
            calls,
            fault: fault.parse()?,
        })
    }
}

/// The faults planned for the functions of a server, and what some of them need to know.
#[derive(Debug)]
pub(crate) struct Faults<F> {
    planned: Vec<FaultPlan<F>>,
    /// The last answer of each function.
    answers: Vec<(F, Members)>,
}

impl<F> Default for Faults<F> {
    fn default() -> Self {
        Self {
            planned: Vec::new(),
            answers: Vec::new(),
        }
    }
}

impl<F: Copy + PartialEq> Faults<F> {
    pub(crate) fn plan(&mut self, function: F, calls: Calls, fault: Fault) {
        self.planned.push(FaultPlan {
            function,
            calls,
            fault,
        });
    }

    /// Those that are still to come.
    pub(crate) fn planned(&self) -> &[FaultPlan<F>] {
        &self.planned
    }

    pub(crate) fn clear(&mut self) {
        self.planned.clear();
    }

    /// Counts a call and gives the first fault planned for it.
    pub(crate) fn next(&mut self, function: F) -> Option<Fault> {
        let mut due = None;
        self.planned.retain_mut(|planned| {
            if planned.function != function {
                return true;
            }
            match &mut planned.calls {
                Calls::Every => {
                    due.get_or_insert_with(|| planned.fault.clone());
                    true
                }
                Calls::Nth(0 | 1) => {
                    due.get_or_insert_with(|| planned.fault.clone());
                    false
                }
                Calls::Nth(left) => {
                    *left -= 1;
                    true
                }
            }
        });
        due
    }

    /// Keeps an answer of a function: the one kept before, if there was one.
    pub(crate) fn answered(&mut self, function: F, answer: &Members) -> Option<Members> {
        match self.answers.iter_mut().find(|(one, _)| *one == function) {
            Some((_, last)) => Some(std::mem::replace(last, answer.clone())),
            None => {
                self.answers.push((function, answer.clone()));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smdp::Function;

    #[test]
    fn a_fault_meets_the_call_it_was_planned_for() {
        let mut faults = Faults::default();
        faults.plan(Function::AuthenticateClient, Calls::Nth(2), Fault::Silence);
        assert_eq!(faults.next(Function::AuthenticateClient), None);
        assert_eq!(faults.next(Function::InitiateAuthentication), None);
        assert_eq!(
            faults.next(Function::AuthenticateClient),
            Some(Fault::Silence)
        );
        assert_eq!(faults.next(Function::AuthenticateClient), None);
    }

    #[test]
    fn every_fault_can_be_written_down() {
        let values = [
            ("http-status", "503"),
            ("executed-http-status", "500"),
            ("refuse", "8.8.5/4.10"),
            ("huge-body", "5000000"),
            ("slow-body", "100"),
            ("chunked", "10"),
            ("redirect", "https://other.example.com/?a=b"),
            ("content-type", "application/json;charset=UTF-8"),
            ("protocol", "gsma/rsp/v3.0.0"),
            ("body", "{}"),
            ("member", "transactionId:0A0"),
            ("missing-member", "serverSigned1"),
            ("wrong-type", "serverSigned1"),
            ("invalid-base64", "serverSigned1"),
            ("flipped-member", "serverSigned1"),
            ("status", "Executed-WithWarning"),
            ("transaction-id", "0A0B"),
            ("server-address", "SMDP.example.com"),
            ("certificate", "dpauth-role-dp-pb"),
            ("offer", "BF2500"),
            ("altered-piece", "2"),
            ("package", "flipped-mac=86:2"),
        ];
        for name in Fault::NAMES {
            let value = values
                .iter()
                .find(|(with_value, _)| *with_value == name.name);
            assert_eq!(value.is_some(), name.value.is_some(), "{name}");
            let text = match value {
                Some((name, value)) => format!("{name}={value}"),
                None => name.name.to_owned(),
            };
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
            let plan = format!("cancelSession:3={text}");
            let plan: FaultPlan<Function> = plan.parse().unwrap();
            assert_eq!((plan.calls, plan.fault.to_string()), (Calls::Nth(3), text));
        }
    }

    fn altered(name: &str, octets: &str, fault: &Fault) -> String {
        let mut members = Members::new();
        members.insert(
            name.into(),
            BASE64_STANDARD.encode(hex::decode(octets).unwrap()).into(),
        );
        fault.alter(&mut members);
        hex::encode(
            BASE64_STANDARD
                .decode(members[name].as_str().unwrap())
                .unwrap(),
        )
    }

    #[test]
    fn an_altered_package_differs_where_its_fault_says() {
        let package = "bf3617bf23028001a0028700a1028800a308860201028602030a";
        for (fault, expected) in [
            (
                Fault::AlteredPiece(1),
                "bf3617bf23028001a0028700a1028800a308860201038602030a",
            ),
            (
                Fault::AlteredPiece(2),
                "bf3617bf23028001a0028700a1028800a308860201028602030b",
            ),
            (Fault::AlteredPiece(3), package),
            (Fault::AlteredPiece(0), package),
            (
                Fault::AlteredChannelSignature,
                "bf3617bf23028000a0028700a1028800a308860201028602030a",
            ),
            (Fault::HalfPackage, "bf3617bf23028001a0028700a1"),
        ] {
            assert_eq!(altered(PACKAGE, package, &fault), expected, "{fault:?}");
        }
    }

    #[test]
    fn another_iccid_offered_is_still_an_iccid() {
        let metadata = "bf250c5a0a981000000000000010f9";
        let expected = "bf250c5a0a981000000000000010f8";
        assert_eq!(
            altered("profileMetadata", metadata, &Fault::OtherIccidOffered),
            expected
        );
    }

    #[test]
    fn a_lasting_fault_stays_until_it_is_cleared() {
        let mut faults = Faults::default();
        faults.plan(
            Function::CancelSession,
            Calls::Every,
            Fault::HttpStatus(500),
        );
        for _ in 0..3 {
            assert_eq!(
                faults.next(Function::CancelSession),
                Some(Fault::HttpStatus(500))
            );
        }
        faults.clear();
        assert_eq!(faults.next(Function::CancelSession), None);
    }
}

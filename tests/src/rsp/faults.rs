//! Named faults: what the server does wrong on purpose, by function and call.

use base64::{Engine, prelude::BASE64_STANDARD};
use es10_apdu::tlv::Tlv;

use super::{fields::Members, random, status::StatusCode};

/// Something a server can do wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    /// Answers with this HTTP status and no body; the request is not looked at.
    HttpStatus(u16),
    /// Answers with this failure; the session is left as it is.
    Refuse(StatusCode),
    /// Closes the connection without an answer; the request is not looked at.
    CloseConnection,
    /// Executes the request, then closes the connection without an answer.
    LoseAnswer,
    /// Takes the request and says nothing.
    Silence,
    /// Answers with a body of so many bytes, not announced.
    HugeBody(u64),
    /// Announces the whole answer, sends half of it and closes the connection.
    TruncatedBody,
    /// Answers with a redirection to this URL; the request is not looked at.
    Redirect(String),
    /// Answers with this Content-Type.
    ContentType(String),
    /// Executes the request, then answers with HTTP status 200 and this body instead.
    Body(String),
    /// Answers with this text as the member of this name.
    Member(&'static str, String),
    /// Answers with another transaction ID than the session's.
    WrongTransactionId,
    /// Flips a bit of serverSignature1.
    AlteredServerSignature1,
    /// Signs this serverAddress instead of its own.
    ServerAddress(String),
    /// Signs smdpSigned2, or the bound profile package, for another session.
    OtherSession,
    /// Signs another eUICC challenge than the one received.
    EuiccChallenge,
    /// Offers a profile with this StoreMetadata TLV instead of the package's.
    Offer(Vec<u8>),
    /// Flips a bit of smdpSignature2, so that the eUICC refuses to prepare the download.
    AlteredSmdpSignature2,
    /// Offers a profile with another ICCID than the package holds.
    OtherIccidOffered,
    /// Flips a bit of the signature in the package's InitialiseSecureChannel.
    AlteredChannelSignature,
    /// Leaves out the second half of the bound profile package.
    HalfPackage,
    /// Flips the last bit, which is one of its MAC, of the n-th '86' of the bound profile package,
    /// counted from 1.
    AlteredPiece(usize),
}

impl Fault {
    /// Alters the members of an answer that is otherwise right.
    pub(crate) fn alter(&self, members: &mut Members) {
        match self {
            Self::Member(name, text) => {
                members.insert((*name).to_owned(), text.as_str().into());
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
            Self::HalfPackage => {
                alter(members, PACKAGE, |package| {
                    package.truncate(package.len() / 2)
                });
            }
            _ => {}
        }
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

/// The faults planned for the functions of a server.
#[derive(Debug)]
pub(crate) struct Faults<F>(Vec<Planned<F>>);

#[derive(Debug)]
struct Planned<F> {
    function: F,
    calls: Calls,
    fault: Fault,
}

impl<F> Default for Faults<F> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<F: Copy + PartialEq> Faults<F> {
    pub(crate) fn plan(&mut self, function: F, calls: Calls, fault: Fault) {
        self.0.push(Planned {
            function,
            calls,
            fault,
        });
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Counts a call and gives the first fault planned for it.
    pub(crate) fn next(&mut self, function: F) -> Option<Fault> {
        let mut due = None;
        self.0.retain_mut(|planned| {
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

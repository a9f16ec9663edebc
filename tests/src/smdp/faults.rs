//! Named faults: what the server does wrong on purpose, by function and call.

use base64::{Engine, prelude::BASE64_STANDARD};
use es10_apdu::tlv::Tlv;

use super::{
    es9::{Function, Members},
    random,
    status::StatusCode,
};

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
    /// Answers with a body of so many bytes.
    HugeBody(u64),
    /// Announces the whole answer, sends half of it and closes the connection.
    TruncatedBody,
    /// Answers with a redirection to this URL; the request is not looked at.
    Redirect(String),
    /// Answers with this Content-Type.
    ContentType(String),
    /// Answers with another transaction ID than the session's.
    WrongTransactionId,
    /// Flips a bit of serverSignature1.
    AlteredServerSignature1,
    /// Signs this serverAddress instead of its own.
    ServerAddress(String),
    /// Flips the last bit, which is one of its MAC, of the n-th '86' of the bound profile package,
    /// counted from 1.
    AlteredPiece(usize),
}

impl Fault {
    /// Alters the members of an answer that is otherwise right.
    pub(super) fn alter(&self, members: &mut Members) {
        match self {
            Self::WrongTransactionId => {
                let other = hex::encode_upper(random::<16>());
                members.insert("transactionId".to_owned(), other.into());
            }
            Self::AlteredServerSignature1 => {
                alter_octets(members, "serverSignature1", |octets| {
                    octets.len().checked_sub(1)
                });
            }
            Self::AlteredPiece(number) => {
                alter_octets(members, "boundProfilePackage", |package| {
                    piece_end(package, *number)
                });
            }
            _ => {}
        }
    }
}

/// Flips the lowest bit of one octet of a member.
fn alter_octets(members: &mut Members, name: &str, place: impl Fn(&[u8]) -> Option<usize>) {
    let member = members.get(name).and_then(|member| member.as_str());
    let Some(mut octets) = member.and_then(|text| BASE64_STANDARD.decode(text).ok()) else {
        return;
    };
    if let Some(place) = place(&octets) {
        octets[place] ^= 1;
        members.insert(name.to_owned(), BASE64_STANDARD.encode(octets).into());
    }
}

/// Where the last octet of the n-th '86', counted from 1, stands in a bound profile package.
fn piece_end(package: &[u8], number: usize) -> Option<usize> {
    let outer = Tlv::exactly(package).ok()?;
    let sequence = outer.child(0xA3)?;
    let piece = sequence
        .children()
        .map_while(Result::ok)
        .nth(number.checked_sub(1)?)?;
    let end = piece.encoding.as_ptr_range().end as usize - package.as_ptr() as usize;
    end.checked_sub(1)
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

/// The faults planned.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Planned>);

#[derive(Debug)]
struct Planned {
    function: Function,
    calls: Calls,
    fault: Fault,
}

impl Faults {
    pub(super) fn plan(&mut self, function: Function, calls: Calls, fault: Fault) {
        self.0.push(Planned {
            function,
            calls,
            fault,
        });
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Counts a call and gives the first fault planned for it.
    pub(super) fn next(&mut self, function: Function) -> Option<Fault> {
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
    fn an_altered_piece_is_the_one_counted() {
        let package = hex::decode("bf3615bf2300a0028700a1028800a308860201028602030a").unwrap();
        for (number, expected) in [(1, Some(19)), (2, Some(23)), (3, None), (0, None)] {
            assert_eq!(piece_end(&package, number), expected, "piece {number}");
        }
        let mut members = Members::new();
        members.insert(
            "boundProfilePackage".into(),
            BASE64_STANDARD.encode(&package).into(),
        );
        Fault::AlteredPiece(2).alter(&mut members);
        let altered = BASE64_STANDARD.decode(members["boundProfilePackage"].as_str().unwrap());
        assert_eq!(altered.unwrap()[23], package[23] ^ 1);
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

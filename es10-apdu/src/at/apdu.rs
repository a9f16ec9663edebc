//! APDUs in AT commands: what both transports write and read alike.

use super::line::Pending;
use crate::apdu::{Command, Response};
use crate::transport::{Garbled, Session};

/// Length and digits of a command, as both AT commands take them.
///
/// Some modems take upper-case digits only, and quoted ones only. The length counts digits, not
/// octets, 3GPP TS 27.007 section 8.17.
pub(super) fn parameters(command: &Command) -> String {
    let digits = hex::encode_upper(command.to_bytes());
    format!("{},\"{digits}\"", digits.len())
}

/// The response among the lines of the answer to an AT command that begins like this. What names a
/// session, and not this one, is another program's.
pub(super) fn response_in(
    lines: &[String],
    command: &str,
    session: Option<&Session>,
) -> Result<Response, Garbled> {
    let pending = Pending::new(command);
    let answers = lines.iter().filter_map(|line| pending.payload(line));
    let is_ours = |answer: &&str| match (named_session(answer), session) {
        (Some(named), Some(session)) => named.eq_ignore_ascii_case(session.name()),
        _ => true,
    };
    response(only(answers.filter(is_ours))?)
}

/// The session that stands before length and digits.
fn named_session(answer: &str) -> Option<&str> {
    let (before, _digits) = answer.rsplit_once(',')?;
    let (session, _length) = before.rsplit_once(',')?;
    Some(session.trim())
}

/// The one answer there is: two mean that one is late and belongs to another command, so that neither
/// can be trusted.
pub(super) fn only<'l>(mut answers: impl Iterator<Item = &'l str>) -> Result<&'l str, Garbled> {
    match (answers.next(), answers.count()) {
        (None, _) => Err(Garbled::NoResponse),
        (Some(answer), 0) => Ok(answer),
        (Some(_), more) => Err(Garbled::SeveralResponses { count: more + 1 }),
    }
}

/// Reads `4,"9000"`: the digits may be bare, in lower case and with blanks, the length may count
/// bytes, and a session may stand before it. A length that says more than there is means that
/// something was lost.
fn response(payload: &str) -> Result<Response, Garbled> {
    let (length, digits) = payload.rsplit_once(',').ok_or(Garbled::Form)?;
    let length = length.rsplit(',').next().unwrap_or(length);
    let announced: usize = length.trim().parse().map_err(|_| Garbled::Form)?;
    let digits: String = digits
        .chars()
        .filter(|letter| !matches!(letter, '"' | ' ' | '\t'))
        .collect();
    if announced != digits.len() && announced.checked_mul(2) != Some(digits.len()) {
        let digits = digits.len();
        return Err(Garbled::Length { announced, digits });
    }
    let bytes = hex::decode(digits).map_err(|_| Garbled::Form)?;
    Ok(Response::parse(&bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apdu::MalformedApdu;

    #[test]
    fn an_answer_is_read_however_the_modem_writes_it() {
        for payload in [
            "6,\"019000\"",
            "6,019000",
            "6, \"019000\"",
            " 6 , \"01 90 00\" ",
            "3,\"019000\"",
            "1,6,\"019000\"",
            "00000000038aa32f,6,019000",
        ] {
            let response = response(payload).unwrap();
            assert_eq!(response.to_bytes(), [0x01, 0x90, 0x00], "{payload}");
        }
        assert_eq!(response("6,\"bf9000\"").unwrap().data, [0xBF]);
    }

    #[test]
    fn half_an_answer_is_never_taken_for_a_whole_one() {
        for (payload, expected) in [
            (
                "46,\"BF2E128010FDC59000\"",
                Garbled::Length {
                    announced: 46,
                    digits: 18,
                },
            ),
            (
                "4,\"90\"",
                Garbled::Length {
                    announced: 4,
                    digits: 2,
                },
            ),
            ("\"9000\"", Garbled::Form),
            ("3,\"900\"", Garbled::Form),
            ("4,\"90ZZ\"", Garbled::Form),
            ("2,\"90\"", MalformedApdu::TooShort { length: 1 }.into()),
            ("", Garbled::Form),
        ] {
            assert_eq!(response(payload), Err(expected), "{payload}");
        }
    }
}

//! Whether the modem is registered in a network, why not, and whether it has an address there.

use std::time::Duration;

use es10_apdu::at::AtPort;
use es10_apdu::transport::{DeviceRefusalKind, Fault, TransportError};
use tokio::io::{AsyncRead, AsyncWrite};

use super::cause::{Cause, Meaning};
use crate::config::Habits;

/// What a modem says of its service at one look.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Look {
    /// Whether it is registered.
    pub(crate) registration: Registration,
    /// Why it is not, when a network gave a reason and the modem tells it.
    pub(crate) cause: Option<Cause>,
    /// Whether a context has an address; `None` when it does not tell, which is no failure. It is looked
    /// for only once it is registered.
    pub(crate) has_address: Option<bool>,
    /// Whether it tells no registration, and may only be unable to answer now.
    pub(crate) is_silent: bool,
}

/// What a modem says of its registration. Of several networks the one counts that is named last here.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Registration {
    /// It does not tell.
    #[default]
    NotReported,
    /// It is not registered, and does not say that a network refuses it.
    Searching,
    /// For emergency calls or short messages only, which carry no data.
    Limited,
    /// A network refuses it.
    Denied,
    /// In a foreign network.
    Roaming,
    /// In its home network.
    Home,
}

impl Registration {
    /// Whether it may have a data connection.
    pub(crate) fn is_registered(self) -> bool {
        self >= Self::Roaming
    }
}

/// Asks once whether the modem is registered, and then for an address, or for the reason.
///
/// # Errors
/// When the port is gone.
pub(crate) async fn look<S: AsyncRead + AsyncWrite + Unpin + Send>(
    port: &mut AtPort<S>,
    habits: &Habits,
) -> Result<Look, TransportError> {
    let deadline = Duration::from_secs(habits.question_s);
    let mut look = ask(port, habits).await?;
    if look.registration.is_registered() {
        look.has_address = has_address(port, &habits.address, deadline).await?;
    }
    // After some causes a modem goes on searching, and only the cause says that it is of no use.
    let is_out = Registration::Searching..=Registration::Denied;
    if is_out.contains(&look.registration) && look.cause.is_none_or(Cause::hides_another) {
        let mut reported = None;
        for line in &habits.reject_cause {
            let report = lines(port, line, deadline).await?;
            reported = reported.or_else(|| report.iter().find_map(|line| Cause::of_report(line)));
        }
        // With another level of codes, the answers tell it.
        let now = ask(port, habits).await?;
        // The report may be of the profile before, which the network of this one has not refused.
        let is_denied = now.registration == Registration::Denied;
        let reported = reported.filter(|cause| is_denied || cause.meaning() != Meaning::Final);
        look = Look {
            cause: reported.or(now.cause).or(look.cause),
            ..now
        };
        if look.registration.is_registered() {
            look.cause = None;
        }
    }
    Ok(look)
}

/// Asks in every way; each stands for some networks, and one registration is enough.
async fn ask<S: AsyncRead + AsyncWrite + Unpin + Send>(
    port: &mut AtPort<S>,
    habits: &Habits,
) -> Result<Look, TransportError> {
    let deadline = Duration::from_secs(habits.question_s);
    let mut best = Look::default();
    let mut tells_packet = false;
    let mut is_silent = false;
    for question in &habits.registration {
        // Calls may be possible where data is not. Where the modem has nothing else to say of 2G and 3G,
        // this is all there is.
        if tells_packet && question.contains("+CREG") {
            continue;
        }
        let answer = match port.command(question, deadline).await {
            Ok(answer) => answer,
            Err(error) if error.is_gone() => return Err(error),
            Err(error) => {
                if is_of_card(&error) {
                    best.registration = best.registration.max(Registration::Searching);
                }
                is_silent |= !refuses(&error);
                continue;
            }
        };
        let Some(said) = answer.iter().rev().find_map(|line| of_line(line)) else {
            continue;
        };
        if said.registration.is_registered() {
            return Ok(said);
        }
        tells_packet |= question.contains("+CGREG");
        if (said.registration, said.cause.is_some()) > (best.registration, best.cause.is_some()) {
            best = said;
        }
    }
    best.is_silent = is_silent && best.registration == Registration::NotReported;
    Ok(best)
}

/// Whether the modem does not know the question. Silence, noise, a busy card and any other error say nothing
/// of that.
fn refuses(error: &TransportError) -> bool {
    match &error.fault {
        Fault::Device(refusal) => match refusal.kind {
            DeviceRefusalKind::NotAllowed => true,
            DeviceRefusalKind::Other => *refusal.said == *"ERROR",
            _ => false,
        },
        _ => false,
    }
}

/// Whether the modem has no card that it can work with, without which no network takes it.
fn is_of_card(error: &TransportError) -> bool {
    use DeviceRefusalKind::{CardFailed, Locked, NoCard};
    match &error.fault {
        Fault::Device(refusal) => matches!(refusal.kind, CardFailed | Locked | NoCard),
        _ => false,
    }
}

/// Asks for the addresses of contexts. Only a modem that names a context, and none with an address, is
/// taken to have none.
async fn has_address<S: AsyncRead + AsyncWrite + Unpin + Send>(
    port: &mut AtPort<S>,
    questions: &[String],
    deadline: Duration,
) -> Result<Option<bool>, TransportError> {
    let mut said = None;
    for question in questions {
        let answer = lines(port, question, deadline).await?;
        said = said.max(answer.iter().filter_map(|line| names_address(line)).max());
        if said == Some(true) {
            break;
        }
    }
    Ok(said)
}

/// What a modem answers; nothing when it refuses, or is not understood.
async fn lines<S: AsyncRead + AsyncWrite + Unpin + Send>(
    port: &mut AtPort<S>,
    question: &str,
    deadline: Duration,
) -> Result<Vec<String>, TransportError> {
    match port.command(question, deadline).await {
        Err(error) if error.is_gone() => Err(error),
        answer => Ok(answer.unwrap_or_default()),
    }
}

/// `+CEREG: <n>,<stat>[,<tac>,<ci>,<AcT>[,<cause_type>,<reject_cause>]]`, 3GPP TS 27.007 section 10.1.22;
/// `+CGREG` has one value more before the cause and `+C5GREG` two. A code that was sent unasked and came in
/// between has no `<n>`; what follows its `<stat>` stands in quotation marks, or nothing does.
fn of_line(line: &str) -> Option<Look> {
    let (name, values) = line.split_once(':')?;
    let values: Vec<&str> = values.split(',').map(str::trim).collect();
    let number = |at: usize| values.get(at)?.parse::<u8>().ok();
    let second = values.get(1).filter(|value| value.len() <= 2);
    let at = usize::from(second.is_some() && number(1).is_some());
    let registration = match number(at)? {
        // 9 and 10: registered, and the network would rather not have calls over 2G and 3G.
        1 | 9 => Registration::Home,
        5 | 10 => Registration::Roaming,
        3 => Registration::Denied,
        // For short messages, emergencies and local services of a network.
        6 | 7 | 8 | 11 => Registration::Limited,
        0 | 2 | 4 => Registration::Searching,
        _ => return None,
    };
    let before_cause = match name.trim() {
        "+CGREG" => 5,
        "+C5GREG" => 6,
        _ => 4,
    };
    // A cause of another type is the maker's own.
    let is_standard = number(at + before_cause) == Some(0);
    let cause = number(at + before_cause + 1).filter(|cause| is_standard && *cause > 0);
    Some(Look {
        registration,
        cause: cause
            .filter(|_| !registration.is_registered())
            .map(Cause::Mobility),
        has_address: None,
        is_silent: false,
    })
}

/// Whether a context has an address, when the line names a context: `+CGPADDR: <cid>[,<address>…]`,
/// `+CGCONTRDP: <cid>,<bearer>,<apn>,<address>…`, `+CGACT: <cid>,<state>`, 3GPP TS 27.007 section 10.1.
fn names_address(line: &str) -> Option<bool> {
    let (name, values) = line.split_once(':')?;
    let values: Vec<&str> = values.split(',').map(str::trim).collect();
    values.first()?.parse::<u8>().ok()?;
    // 0.0.0.0 is none.
    let is_address = |text: &&str| {
        let text = text.trim_matches('"');
        text.contains(['.', ':']) && text.contains(|c: char| c.is_ascii_hexdigit() && c != '0')
    };
    Some(match name.trim() {
        "+CGPADDR" => values[1..].iter().any(is_address),
        "+CGCONTRDP" => values.get(3).is_some_and(is_address),
        "+CGACT" => values.get(1) == Some(&"1"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::modem;
    use super::*;

    const ERROR: &str = "\r\nERROR\r\n";
    const OK: &str = "\r\nOK\r\n";
    const SEARCHING: &str = "\r\n+CEREG: 0,2\r\n\r\nOK\r\n";
    const DENIED: &str = "\r\n+CREG: 0,3\r\n\r\nOK\r\n";
    const ROAMING: &str = "\r\n+CREG: 0,5\r\n\r\nOK\r\n";

    fn habits() -> Habits {
        let lines = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect();
        Habits {
            question_s: 5,
            registration: lines(&["AT+CEREG?", "AT+CREG?"]),
            reject_cause: lines(&["AT+CEREG=3", "AT+CEER"]),
            address: lines(&["AT+CGPADDR", "AT+CGACT?"]),
            ..Habits::default()
        }
    }

    async fn said(answers: &'static [&'static str]) -> Registration {
        let said = ask(&mut modem(answers), &habits()).await;
        said.unwrap().registration
    }

    async fn seen(answers: &'static [&'static str]) -> Look {
        look(&mut modem(answers), &habits()).await.unwrap()
    }

    #[test]
    fn a_status_is_found_whatever_comes_with_it() {
        use Registration::{Denied, Home, Limited, Roaming, Searching};
        for (line, expected) in [
            ("+CEREG: 0,1", Some((Home, None))),
            ("+CEREG: 2,5,\"1A2B\",\"01234567\",7", Some((Roaming, None))),
            ("+CREG:0, 2", Some((Searching, None))),
            ("+CEREG: 1,\"002F\",\"0012BEEF\",7", Some((Home, None))),
            ("+CGREG: 3", Some((Denied, None))),
            ("+CEREG: 0,9", Some((Home, None))),
            ("+CEREG: 0,10", Some((Roaming, None))),
            ("+CEREG: 0,6", Some((Limited, None))),
            ("+CEREG: 0,8", Some((Limited, None))),
            ("+CEREG: 0,11", Some((Limited, None))),
            ("+CEREG: 3,3,,,,0,11", Some((Denied, Some(11)))),
            ("+CEREG: 3,,,,0,15", Some((Denied, Some(15)))),
            ("+CEREG: 3,2,,,,0,11", Some((Searching, Some(11)))),
            ("+CEREG: 3,3,,,,1,11", Some((Denied, None))),
            ("+CEREG: 3,3,,,,0,0", Some((Denied, None))),
            (
                "+CEREG: 3,3,\"1A2B\",\"01234567\",7,0,8",
                Some((Denied, Some(8))),
            ),
            (
                "+CEREG: 5,1,\"1A2B\",\"01234567\",7,0,8",
                Some((Home, None)),
            ),
            ("+CGREG: 3,3,,,,,0,7", Some((Denied, Some(7)))),
            ("+C5GREG: 3,3,,,,,,0,3", Some((Denied, Some(3)))),
            ("+CEREG: 0,12", None),
            ("+CEREG: x", None),
            ("nothing", None),
        ] {
            let found = of_line(line).map(|look| (look.registration, look.cause));
            let expected = expected.map(|(said, cause)| (said, cause.map(Cause::Mobility)));
            assert_eq!(found, expected, "{line}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_network_is_enough() {
        assert_eq!(said(&[SEARCHING, ROAMING]).await, Registration::Roaming);
        assert_eq!(said(&[SEARCHING, DENIED]).await, Registration::Denied);
        assert_eq!(said(&[SEARCHING, ERROR]).await, Registration::Searching);
        assert_eq!(said(&[ERROR, ERROR]).await, Registration::NotReported);
    }

    #[tokio::test(start_paused = true)]
    async fn a_modem_without_a_card_it_can_work_with_is_not_registered() {
        const NO_CARD: &str = "\r\n+CME ERROR: 10\r\n";
        const LOCKED: &str = "\r\n+CME ERROR: 11\r\n";
        const FAILED: &str = "\r\n+CME ERROR: SIM failure\r\n";
        for answers in [
            &[NO_CARD, NO_CARD],
            &[LOCKED, ERROR],
            &[ERROR, FAILED],
            &[FAILED, FAILED],
        ] {
            assert_eq!(said(answers).await, Registration::Searching, "{answers:?}");
        }
        assert_eq!(said(&[FAILED, ROAMING]).await, Registration::Roaming);
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_modem_that_knows_no_question_does_not_tell() {
        const NOT_ALLOWED: &str = "\r\n+CME ERROR: 3\r\n";
        const NOT_SUPPORTED: &str = "\r\n+CME ERROR: 4\r\n";
        const UNKNOWN: &str = "\r\n+CME ERROR: 100\r\n";
        for (answers, is_silent) in [
            (&[ERROR, ERROR], false),
            (&[NOT_ALLOWED, NOT_SUPPORTED], false),
            (&[NOT_SUPPORTED, UNKNOWN], true),
            (&[UNKNOWN, ERROR], true),
        ] {
            let said = ask(&mut modem(answers), &habits()).await.unwrap();
            assert_eq!(said.registration, Registration::NotReported);
            assert_eq!(said.is_silent, is_silent, "{answers:?}");
        }
    }

    /// With calls alone a gateway has no data.
    #[tokio::test(start_paused = true)]
    async fn calls_count_only_where_nothing_is_said_of_data() {
        const SEARCHING: &str = "\r\n+CGREG: 0,2\r\n\r\nOK\r\n";
        let habits = Habits {
            registration: ["AT+CGREG?", "AT+CREG?"].map(str::to_owned).into(),
            ..habits()
        };
        for (answers, expected) in [
            (&[SEARCHING, ROAMING], Registration::Searching),
            (&[ERROR, ROAMING], Registration::Roaming),
        ] {
            let mut port = modem(answers);
            let said = ask(&mut port, &habits).await.unwrap();
            assert_eq!(said.registration, expected, "{answers:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_is_missing_only_when_the_modem_says_so() {
        const HOME: &str = "\r\n+CEREG: 0,1\r\n\r\nOK\r\n";
        const NONE: &str = "\r\n+CGPADDR: 1\r\n+CGPADDR: 2,\"0.0.0.0\"\r\n\r\nOK\r\n";
        const ONE: &str = "\r\n+CGPADDR: 1,\"10.170.3.9\"\r\n+CGPADDR: 2,0.0.0.0\r\n\r\nOK\r\n";
        const ACTIVE: &str = "\r\n+CGACT: 1,0\r\n+CGACT: 2,1\r\n\r\nOK\r\n";
        const INACTIVE: &str = "\r\n+CGACT: 1,0\r\n\r\nOK\r\n";
        for (answers, expected) in [
            (&[HOME, ONE][..], Some(true)),
            (&[HOME, NONE, INACTIVE], Some(false)),
            (&[HOME, NONE, ERROR], Some(false)),
            (&[HOME, NONE, ACTIVE], Some(true)),
            (&[HOME, ERROR, INACTIVE], Some(false)),
            (&[HOME, OK, ERROR], None),
            (&[HOME, ERROR, ERROR], None),
        ] {
            let expected = Look {
                registration: Registration::Home,
                cause: None,
                has_address: expected,
                ..Look::default()
            };
            assert_eq!(seen(answers).await, expected, "{answers:?}");
        }
    }

    #[test]
    fn addresses_are_known_in_every_notation() {
        for (line, expected) in [
            ("+CGPADDR: 1,100.64.0.1", Some(true)),
            (
                "+CGPADDR: 1,\"0.0.0.0\",\"32.1.13.184.0.0.0.0.0.0.0.0.0.0.0.1\"",
                Some(true),
            ),
            ("+CGPADDR: 1,\"2001:db8::1\"", Some(true)),
            ("+CGPADDR: 1,\"0:0:0:0:0:0:0:0\"", Some(false)),
            ("+CGPADDR: 1,\"\"", Some(false)),
            (
                "+CGCONTRDP: 1,5,\"iot.example\",\"10.0.0.2.255.0.0.0\",\"10.0.0.1\"",
                Some(true),
            ),
            ("+CGCONTRDP: 1,5,\"iot.example\",,\"10.0.0.1\"", Some(false)),
            ("+CGPADDR: (1-16)", None),
            ("+CEREG: 1", None),
        ] {
            assert_eq!(names_address(line), expected, "{line}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_modem_is_asked_why() {
        const REFUSED: &str = "\r\n+CEREG: 0,3\r\n\r\nOK\r\n";
        const WITH_CAUSE: &str = "\r\n+CEREG: 3,3,,,,0,8\r\n\r\nOK\r\n";
        const FAILED: &str = "\r\n+CEREG: 3,3,,,,0,19\r\n\r\nOK\r\n";
        const UNKNOWN_APN: &str = "\r\n+CEER: Missing or unknown APN\r\n\r\nOK\r\n";
        const NOTHING: &str = "\r\n+CEER: 0,NONE\r\n\r\nOK\r\n";
        let mobility = |number| Some(Cause::Mobility(number));
        for (answers, expected) in [
            // Who tells at once is asked no more.
            (&[WITH_CAUSE, ERROR][..], mobility(8)),
            (
                &[REFUSED, ERROR, OK, NOTHING, WITH_CAUSE, ERROR],
                mobility(8),
            ),
            (
                &[FAILED, ERROR, OK, UNKNOWN_APN, FAILED, ERROR],
                Some(Cause::Session(27)),
            ),
            (&[FAILED, ERROR, ERROR, ERROR, FAILED, ERROR], mobility(19)),
            // A modem that refuses all of it loses nothing.
            (&[REFUSED, ERROR, ERROR, ERROR, REFUSED, ERROR], None),
        ] {
            let expected = Look {
                registration: Registration::Denied,
                cause: expected,
                has_address: None,
                ..Look::default()
            };
            assert_eq!(seen(answers).await, expected, "{answers:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_modem_that_goes_on_searching_is_asked_why() {
        const UNKNOWN_APN: &str = "\r\n+CEER: Missing or unknown APN\r\n\r\nOK\r\n";
        const ILLEGAL: &str = "\r\n+CEER: EMM cause 3\r\n\r\nOK\r\n";
        const CONGESTED: &str = "\r\n+CEREG: 3,2,,,,0,22\r\n\r\nOK\r\n";
        for (answers, expected) in [
            (
                &[SEARCHING, ERROR, OK, UNKNOWN_APN, SEARCHING, ERROR],
                Some(Cause::Session(27)),
            ),
            (
                &[SEARCHING, ERROR, OK, ERROR, CONGESTED, ERROR],
                Some(Cause::Mobility(22)),
            ),
            // It may be of the profile before.
            (&[SEARCHING, ERROR, OK, ILLEGAL, SEARCHING, ERROR], None),
        ] {
            let look = seen(answers).await;
            assert_eq!(look.registration, Registration::Searching);
            assert_eq!(look.cause, expected, "{answers:?}");
        }
    }
}

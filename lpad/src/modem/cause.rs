//! Why a network refuses a modem, and what that means for the profile in use.

/// What a network gave as its reason.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Cause {
    /// Of the registration itself: EMM of 3GPP TS 24.301 section 9.9.3.9, GMM and 5GMM, which have the
    /// same numbers where they have the same causes.
    Mobility(u8),
    /// Of the data connection: ESM of 3GPP TS 24.301 section 9.9.4.4.
    Session(u8),
}

/// What a cause means for the profile in use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Meaning {
    /// The subscription or the device is refused, which waiting does not change. A new subscription may be
    /// unknown to its network for some minutes all the same.
    Final,
    /// This network or this area is refused: the modem looks for another one.
    Elsewhere,
    /// The access point name is missing, or not part of the subscription.
    Apn,
    /// The network has too much to do: it is not to be asked more often.
    Congestion,
    /// The network has trouble of its own. After some attempts a modem is silent for long, unless its radio
    /// is restarted.
    Network,
}

impl Cause {
    /// What it means for the profile in use.
    pub(crate) fn meaning(self) -> Meaning {
        match self {
            Self::Mobility(2 | 3 | 5..=8) => Meaning::Final,
            Self::Mobility(11..=15 | 35) => Meaning::Elsewhere,
            Self::Session(27 | 33) => Meaning::Apn,
            Self::Mobility(22) | Self::Session(26) => Meaning::Congestion,
            Self::Mobility(_) | Self::Session(_) => Meaning::Network,
        }
    }

    /// Its number, which 3GPP counts for each protocol anew.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Mobility(number) | Self::Session(number) => number,
        }
    }

    /// Whether there is a cause behind it that says more.
    pub(super) fn hides_another(self) -> bool {
        self == ESM_FAILURE
    }

    /// What `AT+CEER` or a command like it answers, 3GPP TS 27.007 section 6.10: each maker has words of its
    /// own. A number counts behind the protocol it is of: calls have causes with the same numbers.
    pub(super) fn of_report(line: &str) -> Option<Self> {
        let (_, report) = line.split_once(':')?;
        let report = report.to_ascii_lowercase();
        let is_letter = |letter: char| letter.is_ascii_alphabetic();
        let mut kind: Option<fn(u8) -> Self> = None;
        let mut hides_another = None;
        for word in report.split(|letter: char| !letter.is_ascii_alphanumeric()) {
            let digits = word.trim_start_matches(is_letter);
            kind = match word.trim_end_matches(|letter: char| letter.is_ascii_digit()) {
                "emm" | "gmm" | "mm" => Some(Self::Mobility),
                "esm" | "sm" => Some(Self::Session),
                "cc" | "ss" => None,
                _ => kind,
            };
            if let (Some(kind), Ok(number @ 1..)) = (kind, digits.parse()) {
                let cause = kind(number);
                if !cause.hides_another() {
                    return Some(cause);
                }
                hides_another = Some(cause);
            }
        }
        let words = report.replace(|letter: char| !letter.is_ascii_alphanumeric(), " ");
        let found = IN_WORDS.iter().find(|(known, _)| words.contains(known));
        found.map(|(_, cause)| *cause).or(hides_another)
    }
}

const ESM_FAILURE: Cause = Cause::Mobility(19);

/// Causes by what all of their spellings have in common; the first one that fits counts.
const IN_WORDS: &[(&str, Cause)] = &[
    ("unknown apn", Cause::Session(27)),
    ("option not subscribed", Cause::Session(33)),
    ("esm failure", ESM_FAILURE),
    ("imsi unknown in h", Cause::Mobility(2)),
    ("illegal ms", Cause::Mobility(3)),
    ("illegal ue", Cause::Mobility(3)),
    ("imei not accepted", Cause::Mobility(5)),
    ("illegal me", Cause::Mobility(6)),
    ("services not allowed in this plmn", Cause::Mobility(14)),
    ("and non", Cause::Mobility(8)),
    ("ps services not allowed", Cause::Mobility(7)),
    ("prs services not allowed", Cause::Mobility(7)),
    ("plmn not allowed", Cause::Mobility(11)),
    ("area not allowed", Cause::Mobility(12)),
    ("roaming not allowed", Cause::Mobility(13)),
    ("no suitable cells", Cause::Mobility(15)),
    ("congestion", Cause::Mobility(22)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_subscription_is_told_apart_from_a_refused_place() {
        for (causes, meaning) in [
            (&[2, 3, 5, 6, 7, 8][..], Meaning::Final),
            (&[11, 12, 13, 14, 15, 35], Meaning::Elsewhere),
            (
                &[1, 4, 9, 10, 16, 17, 19, 20, 21, 42, 255],
                Meaning::Network,
            ),
            (&[22], Meaning::Congestion),
        ] {
            for &cause in causes {
                assert_eq!(Cause::Mobility(cause).meaning(), meaning, "{cause}");
            }
        }
        assert_eq!(Cause::Session(27).meaning(), Meaning::Apn);
        assert_eq!(Cause::Session(33).meaning(), Meaning::Apn);
        // Insufficient resources; the same number as of a refused subscription.
        assert_eq!(Cause::Session(26).meaning(), Meaning::Congestion);
        assert_eq!(Cause::Session(8).meaning(), Meaning::Network);
    }

    #[test]
    fn a_report_is_understood_in_the_words_of_its_maker() {
        for (line, cause) in [
            ("+CEER: EMM_CAUSE_ESM_FAILURE", Some(ESM_FAILURE)),
            (
                "+CEER: EMM_CAUSE_EPS_SERVICES_AND_NON_EPS_SERVICES_NOT_ALLOWED",
                Some(Cause::Mobility(8)),
            ),
            (
                "+CEER: EPS services not allowed in this PLMN",
                Some(Cause::Mobility(14)),
            ),
            ("+CEER: GPRS services not allowed", Some(Cause::Mobility(7))),
            (
                "+CEER: Deactivate Cause: SM34 (Service option temporarily out of order)",
                Some(Cause::Session(34)),
            ),
            (
                "+CEER: \"ESM\",\"33\",\"Requested service option not subscribed\"",
                Some(Cause::Session(33)),
            ),
            ("+CEER: Missing or unknown APN", Some(Cause::Session(27))),
            ("+CEER: EMM cause: 11", Some(Cause::Mobility(11))),
            ("+CEER: EMM cause 19", Some(ESM_FAILURE)),
            (
                "+CEER: EMM cause 19, ESM cause 33",
                Some(Cause::Session(33)),
            ),
            (
                "+CEER: \"SM detach\",0,\"No cause information available\"",
                None,
            ),
            (
                "+CEER: \"CC setup error\",16,\"Normal call clearing\"",
                None,
            ),
            ("+CEER: 0,0,5,16,normal call clearing", None),
            ("+CEER: 17, CM_USER_BUSY", None),
            ("+CEER: 0,NONE", None),
            ("+CEER: EMM 300", None),
            ("nothing", None),
        ] {
            assert_eq!(Cause::of_report(line), cause, "{line}");
        }
    }
}

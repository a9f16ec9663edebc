//! Which profile the modem uses.

use std::time::Duration;

use es10_apdu::at::AtPort;
use es10_apdu::transport::{DeviceRefusalKind, Fault, TransportError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};

use super::table::matches;
use crate::config::Habits;

/// What a modem says of the profile it uses.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum ReportedProfile {
    /// The one with this ICCID.
    Iccid(String),
    /// It has no card, or none with a profile.
    None,
    /// It does not tell, which proves nothing.
    NotReported,
}

impl ReportedProfile {
    /// Whether this proves that the modem uses `wanted` (`None`: no profile at all).
    pub(crate) fn proves(&self, wanted: Option<&str>) -> bool {
        match (self, wanted) {
            (Self::Iccid(iccid), Some(wanted)) => iccid == wanted,
            (Self::None, None) => true,
            _ => false,
        }
    }
}

/// The ways to ask a modem for the ICCID, and what came of them since its port was opened.
///
/// A modem that does not know a question is not asked it again: it would say the same, and a
/// switch is waited for with many questions.
#[derive(Debug, Default)]
pub(crate) struct ProfileInUse {
    questions: Vec<Question>,
    answered: Option<usize>,
    deadline: Duration,
    /// ICCIDs that stand for no profile.
    none: Vec<String>,
}

/// A command that asks for the ICCID.
#[derive(Debug)]
struct Question {
    line: String,
    is_refused: bool,
}

impl ProfileInUse {
    /// Nothing has been asked yet.
    pub(crate) fn new(habits: &Habits) -> Self {
        let questions = habits.iccid.iter().map(|line| Question {
            line: line.clone(),
            is_refused: false,
        });
        Self {
            questions: questions.collect(),
            answered: None,
            deadline: Duration::from_secs(habits.question_s),
            none: habits.no_profile_iccids.clone(),
        }
    }

    /// Waits until the modem uses the profile `wanted` (`None`: no profile at all), but at most
    /// `longest`; gives its last answer. A modem that knows none of the questions is not waited
    /// for.
    ///
    /// # Errors
    /// When the port is gone.
    pub(crate) async fn wait_for<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &mut self,
        port: &mut AtPort<S>,
        wanted: Option<&str>,
        longest: Duration,
    ) -> Result<ReportedProfile, TransportError> {
        let end = Instant::now() + longest;
        loop {
            let answer = self.ask(port).await?;
            if answer.proves(wanted) || self.is_never_told() || Instant::now() >= end {
                return Ok(answer);
            }
            sleep(POLL).await;
        }
    }

    /// Asks in every way that this modem has not refused, the one that it knows first.
    async fn ask<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &mut self,
        port: &mut AtPort<S>,
    ) -> Result<ReportedProfile, TransportError> {
        let known = self.answered;
        let others = (0..self.questions.len()).filter(|&nth| Some(nth) != known);
        let mut answer = ReportedProfile::NotReported;
        for nth in known.into_iter().chain(others) {
            let question = &mut self.questions[nth];
            if question.is_refused {
                continue;
            }
            match port.command_with_codes(&question.line, self.deadline).await {
                Ok(lines) => {
                    if let Some(iccid) = lines.iter().find_map(|line| iccid(line)) {
                        self.answered = Some(nth);
                        let is_none = self.none.iter().any(|none| matches(none, &iccid));
                        return Ok(match is_none {
                            true => ReportedProfile::None,
                            false => ReportedProfile::Iccid(iccid),
                        });
                    }
                    if lines.iter().any(|line| is_file_not_found(line)) {
                        answer = ReportedProfile::None;
                    }
                }
                Err(error) if error.is_gone() => return Err(error),
                Err(TransportError {
                    fault: Fault::Device(refusal),
                    ..
                }) => match refusal.kind {
                    DeviceRefusalKind::NoCard | DeviceRefusalKind::CardFailed => {
                        answer = ReportedProfile::None;
                    }
                    DeviceRefusalKind::Busy | DeviceRefusalKind::Locked => {}
                    // One that was answered before is known; what is missing is the profile.
                    _ if known == Some(nth) => answer = ReportedProfile::None,
                    _ => question.is_refused = true,
                },
                // Silence and noise say nothing of the question.
                Err(_) => {}
            }
            // The others would say the same of a card that is not there.
            if known == Some(nth) {
                break;
            }
        }
        Ok(answer)
    }

    /// Whether this modem knows none of the questions.
    pub(crate) fn is_never_told(&self) -> bool {
        self.questions.iter().all(|question| question.is_refused)
    }
}

/// The ICCID in a line of an answer, whatever stands before it: modems answer under many names.
fn iccid(line: &str) -> Option<String> {
    if let Some(read) = line.trim().strip_prefix(CRSM) {
        // EF.ICCID has two digits in an octet, the second one first, 3GPP TS 31.102.
        let content = read.trim().strip_prefix("144,")?.rsplit(',').next()?;
        let content = content.trim().trim_matches('"').as_bytes();
        let swapped = content.chunks(2).flat_map(|octet| octet.iter().rev());
        return plausible(&swapped.map(|&digit| char::from(digit)).collect::<String>());
    }
    let mut words = line.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.find_map(plausible)
}

fn plausible(word: &str) -> Option<String> {
    let digits = word.trim_end_matches(['F', 'f']);
    let is_iccid = (18..=20).contains(&digits.len()) && digits.bytes().all(|c| c.is_ascii_digit());
    is_iccid.then(|| digits.to_owned())
}

/// What `AT+CRSM` says of a card without the file, `6A82`.
fn is_file_not_found(line: &str) -> bool {
    let status = line.trim().strip_prefix(CRSM);
    status.is_some_and(|status| status.trim().starts_with("106,130"))
}

/// How the answer to `AT+CRSM` begins, 3GPP TS 27.007 section 8.18.
const CRSM: &str = "+CRSM:";
/// How often the ICCID is asked for.
const POLL: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::super::Identity;
    use super::super::table::Table;
    use super::super::tests::modem;
    use super::*;
    use crate::config::ModemEntry;

    const OLD: &str = "\r\n+CCID: 89001234567890123450\r\n\r\nOK\r\n";
    const NEW: &str = "89001234567890123457";
    const SWITCHED: &str = "\r\n+CCID: 89001234567890123457\r\n\r\nOK\r\n";
    const ERROR: &str = "\r\nERROR\r\n";
    const BUSY: &str = "\r\n+CME ERROR: 14\r\n";

    /// The habits of a modem of which nothing is known.
    fn asked() -> ProfileInUse {
        let known = Table::default().look_up(Identity::default(), &ModemEntry::default());
        ProfileInUse::new(&known.habits)
    }

    async fn ask(answers: &'static [&'static str]) -> ReportedProfile {
        let mut port = modem(answers);
        asked().ask(&mut port).await.unwrap()
    }

    async fn wait(answers: &'static [&'static str], seconds: u64) -> ReportedProfile {
        let mut port = modem(answers);
        let mut profile = asked();
        let longest = Duration::from_secs(seconds);
        let waited = profile.wait_for(&mut port, Some(NEW), longest).await;
        waited.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_iccid_is_asked_for_in_every_dialect() {
        const DIALECT: &str = "\r\n+ICCID: 8900123456789012345F\r\n\r\nOK\r\n";
        const FROM_CARD: &str = "\r\n+CRSM: 144,0,\"980021436587092143F5\"\r\n\r\nOK\r\n";

        let iccid = ReportedProfile::Iccid("8900123456789012345".to_owned());
        assert_eq!(ask(&[ERROR, DIALECT]).await, iccid);
        assert_eq!(ask(&[ERROR, ERROR, ERROR, ERROR, FROM_CARD]).await, iccid);
    }

    #[tokio::test(start_paused = true)]
    async fn an_iccid_is_found_under_any_name() {
        let iccid = ReportedProfile::Iccid(NEW.to_owned());
        for answer in [
            "\r\n+ICCID: 89001234567890123457\r\n\r\nOK\r\n",
            "\r\n89001234567890123457\r\n\r\nOK\r\n",
            "\r\n#CCID: 89001234567890123457\r\n\r\nOK\r\n",
            "\r\n!ICCID: 89001234567890123457\r\n\r\nOK\r\n",
            "\r\n%XICCID: 89001234567890123457F\r\n\r\nOK\r\n",
            "\r\n$MYCCID: \"89001234567890123457\"\r\n\r\nOK\r\n",
            "\r\n+SQNCCID: \"89001234567890123457\",\"89049032123451234512345678901235\"\r\nOK\r\n",
            "\r\n+CEREG: 2\r\n\r\n+ICCID:89001234567890123457\r\n\r\nOK\r\n",
        ] {
            let answers = Box::leak(Box::new([answer; 1]));
            assert_eq!(ask(answers).await, iccid, "{answer}");
        }
        for none in [
            "89000123456789012358",
            "89111111111111111111",
            "8911111111111111111F",
        ] {
            let answer = format!("\r\n+CCID: {none}\r\n\r\nOK\r\n").leak();
            let answers = Box::leak(Box::new([&*answer; 1]));
            assert_eq!(ask(answers).await, ReportedProfile::None, "{none}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_modem_is_given_time_to_notice() {
        assert!(wait(&[OLD, SWITCHED], 5).await.proves(Some(NEW)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_modem_that_keeps_the_old_profile_is_told_apart_from_one_that_does_not_tell() {
        let old = ReportedProfile::Iccid("89001234567890123450".to_owned());
        assert_eq!(wait(&[OLD], 0).await, old);
        assert_eq!(wait(&[ERROR; 5], 0).await, ReportedProfile::NotReported);
        assert!(!ReportedProfile::NotReported.proves(None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_modem_without_a_profile_is_told_apart_from_one_that_does_not_tell() {
        for answer in ["\r\n+CME ERROR: 10\r\n", "\r\n+CME ERROR: 13\r\n"] {
            let answers = Box::leak(Box::new([answer; 5]));
            assert!(ask(answers).await.proves(None), "{answer}");
        }
        let (mut port, mut profile) = (modem(&[OLD, ERROR]), asked());
        profile.ask(&mut port).await.unwrap();
        assert_eq!(profile.ask(&mut port).await.unwrap(), ReportedProfile::None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_was_refused_is_not_asked_again() {
        let mut port = modem(&[ERROR; 5]);
        let mut profile = asked();
        let begin = Instant::now();
        for _ in 0..3 {
            let minute = Duration::from_secs(60);
            let answer = profile.wait_for(&mut port, Some(NEW), minute).await;
            assert_eq!(answer.unwrap(), ReportedProfile::NotReported);
        }
        assert_eq!(port.statistics().commands, 5);
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_card_is_asked_again_in_the_same_way() {
        let answers = &[BUSY, BUSY, BUSY, BUSY, BUSY, SWITCHED];
        assert!(wait(answers, 5).await.proves(Some(NEW)));
    }
}

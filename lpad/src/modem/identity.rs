//! Who the modem is.

use std::fmt;
use std::time::Duration;

use es10_apdu::at::AtPort;
use es10_apdu::transport::TransportError;
use tokio::io::{AsyncRead, AsyncWrite};

/// What a modem says of itself, 3GPP TS 27.007 section 5.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Identity {
    /// Its maker, `AT+CGMI`.
    pub manufacturer: Option<String>,
    /// Its model, `AT+CGMM`.
    pub model: Option<String>,
    /// Its firmware, `AT+CGMR`.
    pub firmware: Option<String>,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [&self.manufacturer, &self.model, &self.firmware];
        let names: Vec<&str> = names.into_iter().flatten().map(String::as_str).collect();
        f.write_str(&names.join(" "))
    }
}

impl Identity {
    /// Whether it says who made it, or what it is.
    pub(crate) fn is_named(&self) -> bool {
        self.manufacturer.is_some() || self.model.is_some()
    }

    /// Asks the modem. What it does not tell there may be among the lines of `ATI`.
    ///
    /// # Errors
    /// When the port is gone.
    pub(crate) async fn ask<S: AsyncRead + AsyncWrite + Unpin + Send>(
        port: &mut AtPort<S>,
    ) -> Result<Self, TransportError> {
        let mut identity = Self::default();
        for question in ["AT+CGMI", "AT+CGMM", "AT+CGMR", "ATI"] {
            let is_named = identity.manufacturer.is_some() && identity.model.is_some();
            if question == "ATI" && is_named {
                break;
            }
            let lines = match port.command(question, QUESTION).await {
                Err(error) if error.is_gone() => return Err(error),
                lines => lines.unwrap_or_default(),
            };
            match question {
                "AT+CGMI" => identity.manufacturer = name(&lines),
                "AT+CGMM" => identity.model = name(&lines),
                "AT+CGMR" => identity.firmware = name(&lines),
                _ => {
                    let said = Self::among(&lines);
                    identity.manufacturer = identity.manufacturer.or(said.manufacturer);
                    identity.model = identity.model.or(said.model);
                    identity.firmware = identity.firmware.or(said.firmware);
                }
            }
        }
        Ok(identity)
    }

    /// What the lines of `ATI` say: each with its label, or maker and model first.
    fn among(lines: &[String]) -> Self {
        let labelled = |label: &str| {
            let mut values = lines.iter().filter_map(|line| line.split_once(':'));
            let value = values.find(|(name, _)| name.trim().eq_ignore_ascii_case(label));
            value.and_then(|(_, value)| printable(value))
        };
        let bare = |index: usize| {
            let line = lines.get(index).filter(|line| !line.contains(':'));
            line.and_then(|line| printable(line))
        };
        Self {
            manufacturer: labelled("Manufacturer").or_else(|| bare(0)),
            model: labelled("Model").or_else(|| bare(1)),
            firmware: labelled("Revision"),
        }
    }
}

/// The name in the first line of an answer, without the prefix that some modems give it.
fn name(lines: &[String]) -> Option<String> {
    let line = lines.first()?;
    let value = line
        .strip_prefix("+CGM")
        .and_then(|rest| rest.split_once(':'));
    printable(value.map_or(line, |(_, value)| value))
}

/// A name as it can be shown: the first one of several in quotation marks, and not too long.
fn printable(text: &str) -> Option<String> {
    let text = text.trim();
    let text = match text.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap_or_default(),
        None => text,
    };
    let letters = text.chars().filter(|letter| !letter.is_control());
    let name: String = letters.take(LONGEST_NAME).collect();
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// The modem's IMEI, 3GPP TS 27.007 section 5.4, by the first of the `questions` that it answers with
/// one; `None` when it does not tell. Some answer with a serial number.
pub(crate) async fn imei<S: AsyncRead + AsyncWrite + Unpin + Send>(
    port: &mut AtPort<S>,
    questions: &[String],
    deadline: Duration,
) -> Option<String> {
    for question in questions {
        let lines = port.command_with_codes(question, deadline).await;
        let lines = lines.unwrap_or_default();
        let found = lines.iter().find_map(|line| {
            let words = line.split(|letter: char| !letter.is_ascii_alphanumeric());
            let mut words = words.filter(|word| is_imei(word));
            words.next().map(str::to_owned)
        });
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Whether these are 15 digits of which the last one checks the others, 3GPP TS 23.003 annex B.
fn is_imei(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit);
    if word.len() != 15 || digits.count() != 15 {
        return false;
    }
    let sum: u32 = word
        .bytes()
        .enumerate()
        .map(|(index, digit)| {
            let digit = u32::from(digit - b'0') << (index % 2);
            digit / 10 + digit % 10
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Deadline of a question that every modem knows.
const QUESTION: Duration = Duration::from_secs(5);
/// Letters of a name that are kept.
const LONGEST_NAME: usize = 64;

#[cfg(test)]
mod tests {
    use super::super::tests::modem;
    use super::*;

    const ERROR: &str = "\r\nERROR\r\n";

    #[tokio::test(start_paused = true)]
    async fn an_imei_is_read_however_it_is_written() {
        let questions = ["AT+CGSN=1", "AT+CGSN"].map(str::to_owned);
        for answers in [
            &["\r\n+CGSN: \"490154203237518\"\r\n\r\nOK\r\n"][..],
            &[ERROR, "\r\n490154203237518\r\n\r\nOK\r\n"],
            &["\r\n+EGMREXT: 490154203237518,1\r\n\r\nOK\r\n"],
            // A serial number comes first, or a number of which the check digit is wrong.
            &[
                "\r\n+CGSN: 1234567890\r\n\r\nOK\r\n",
                "\r\nIMEI: 490154203237518\r\n\r\nOK\r\n",
            ],
            &[
                "\r\n490154203237519\r\n\r\nOK\r\n",
                "\r\n490154203237518\r\n\r\nOK\r\n",
            ],
        ] {
            let imei = imei(&mut modem(answers), &questions, QUESTION).await;
            assert_eq!(imei.as_deref(), Some("490154203237518"), "{answers:?}");
        }
        let mut port = modem(&[ERROR, "\r\n123456789012345\r\n\r\nOK\r\n"]);
        assert_eq!(imei(&mut port, &questions, QUESTION).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_modem_says_who_it_is_in_many_ways() {
        let identity = |manufacturer: &str, model: &str, firmware: &str| Identity {
            manufacturer: Some(manufacturer.to_owned()),
            model: Some(model.to_owned()),
            firmware: Some(firmware.to_owned()),
        };
        for (answers, expected) in [
            (
                &[
                    "\r\nQuectel\r\n\r\nOK\r\n",
                    "\r\n+CGMM: \"EC25\",\"EC25-E\"\r\n\r\nOK\r\n",
                    "\r\nEC25EFAR06A01M4G\r\n\r\nOK\r\n",
                ][..],
                identity("Quectel", "EC25", "EC25EFAR06A01M4G"),
            ),
            (
                &[
                    ERROR,
                    ERROR,
                    ERROR,
                    "\r\nManufacturer: Sierra Wireless, Incorporated\r\nModel: EM7455\r\n\
                     Revision: SWI9X30C\r\n\r\nOK\r\n",
                ],
                identity("Sierra Wireless, Incorporated", "EM7455", "SWI9X30C"),
            ),
            (
                &[
                    ERROR,
                    ERROR,
                    ERROR,
                    "\r\nQuectel\r\nEG25\r\nRevision: EG25GGBR07A08M2G\r\n\r\nOK\r\n",
                ],
                identity("Quectel", "EG25", "EG25GGBR07A08M2G"),
            ),
            (&[ERROR, ERROR, ERROR, ERROR], Identity::default()),
        ] {
            let said = Identity::ask(&mut modem(answers)).await.unwrap();
            assert_eq!(said, expected, "{answers:?}");
        }
    }
}

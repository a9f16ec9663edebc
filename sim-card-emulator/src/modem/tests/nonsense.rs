//! Nonsense, with every quirk: a modem answers or is silent, and never grows without bound.

use super::random::Random;
use super::*;

/// Parts of command lines, good and bad.
const PARTS: [&str; 40] = [
    "AT",
    "+CSIM=",
    "+CGLA=",
    "+CCHO=",
    "+CCHC=",
    "+CRSM=",
    "+CFUN=",
    "+COPS=",
    "+CREG=",
    "+CGDCONT=",
    "+CGACT=",
    "+CEREG=",
    "+CGATT=",
    "+CGCONTRDP=",
    "+CGEREP=",
    "+CGPADDR=",
    "+CEER",
    "+QMBNCFG=",
    "\"Select\"",
    "+IPR=",
    "+CPIN",
    "+QESIM=",
    "?",
    "=?",
    ";",
    ",",
    "\"",
    "\"0070000001\"",
    "\"80E2910002BF2E\"",
    "\"A0000005591010FFFFFFFF8900000100\"",
    "0",
    "1",
    "10",
    "14",
    "4294967296",
    "-1",
    "1,1",
    "E0",
    "\u{FFFD}\u{E4}\0",
    "\r",
];

#[test]
fn nonsense_is_survived_with_every_quirk() {
    let mut random = Random::new(1);
    for quirk in Quirk::ALL {
        let mut modem = quirky(&[quirk.name()]);
        for _ in 0..200 {
            let mut line = String::new();
            for _ in 0..random.below(12) {
                let part = usize::try_from(random.below(40)).unwrap();
                line.push_str(PARTS[part]);
            }
            line.push('\r');
            modem.push(line.as_bytes());
            let mut written = 0;
            while let Some(action) = modem.next_action() {
                if let Action::Write(bytes) = action {
                    written += bytes.len();
                }
            }
            assert!(written < 0x1_0000, "{quirk:?} {line:?}");
            assert!(modem.input.is_empty());
        }
        assert!(modem.timers.len() < 5 && modem.afterwards.is_empty());
    }
}

//! Dates of certificates.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::der::tlv;

/// UTCTime to the end of 2049, GeneralizedTime from then on (RFC 5280 section 4.1.2.5).
pub(crate) fn encode(at: SystemTime) -> Vec<u8> {
    let seconds = at
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    let rest = format!("{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
    if year < 2050 {
        tlv(0x17, format!("{:02}{rest}", year % 100).as_bytes())
    } else {
        tlv(0x18, format!("{year:04}{rest}").as_bytes())
    }
}

/// The day of a time after 1970, as people write it.
pub(super) fn text(seconds: i64) -> String {
    let (year, month, day) = civil(u64::try_from(seconds).unwrap_or(0) / 86_400);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Year, month and day of a number of days after 1 January 1970, in the Gregorian calendar.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970 + days / 146_097 * 400;
    days %= 146_097;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_779), (2026, 11, 22));
        let at = |seconds| encode(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(
            at(951_825_599),
            [b"\x17\x0D", &b"000229115959Z"[..]].concat()
        );
        assert_eq!(
            at(2_524_608_000),
            [b"\x18\x0F", &b"20500101000000Z"[..]].concat()
        );
        assert_eq!(at(174_393_432_000)[2..6], *b"7496");
        assert_eq!(text(951_825_599), "2000-02-29");
    }
}

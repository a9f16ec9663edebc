//! Dates of certificates.

use std::time::SystemTime;

use jiff::Timestamp;

use crate::der::tlv;

/// UTCTime to the end of 2049, GeneralizedTime from then on (RFC 5280 section 4.1.2.5).
pub(crate) fn encode(at: SystemTime) -> Vec<u8> {
    let at = Timestamp::try_from(at).unwrap_or(Timestamp::MAX);
    let at = at.max(Timestamp::UNIX_EPOCH);
    let (tag, format) = match at < YEAR_2050 {
        true => (0x17, "%y%m%d%H%M%SZ"),
        false => (0x18, "%Y%m%d%H%M%SZ"),
    };
    tlv(tag, at.strftime(format).to_string().as_bytes())
}

/// The day of a time, as people write it.
pub(super) fn text(seconds: i64) -> String {
    let at = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
    at.strftime("%Y-%m-%d").to_string()
}

const YEAR_2050: Timestamp = Timestamp::constant(2_524_608_000, 0);

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn dates_are_written_as_rfc_5280_wants_them() {
        let at = |seconds| encode(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(
            at(951_825_599),
            [b"\x17\x0D", &b"000229115959Z"[..]].concat()
        );
        assert_eq!(
            at(2_524_607_999),
            [b"\x17\x0D", &b"491231235959Z"[..]].concat()
        );
        assert_eq!(
            at(2_524_608_000),
            [b"\x18\x0F", &b"20500101000000Z"[..]].concat()
        );
        assert_eq!(at(174_393_432_000)[2..6], *b"7496");
        assert_eq!(
            encode(UNIX_EPOCH - Duration::from_secs(1))[2..],
            *b"700101000000Z"
        );
        assert_eq!(text(951_825_599), "2000-02-29");
    }
}

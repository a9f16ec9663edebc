//! Times as people read them: how long ago, and in how long.

use std::time::{SystemTime, UNIX_EPOCH};

/// How long ago this was, in seconds since 1970.
pub(super) fn since(then_s: u64, now: SystemTime) -> String {
    lasting(age_s(then_s, now))
}

/// How many seconds ago this was, in seconds since 1970.
pub(super) fn age_s(then_s: u64, now: SystemTime) -> u64 {
    seconds(now).saturating_sub(then_s)
}

/// In how long this is, in seconds since 1970.
pub(super) fn until(then_s: u64, now: SystemTime) -> String {
    match then_s.saturating_sub(seconds(now)) {
        0 => "now".to_owned(),
        seconds => format!("in {}", lasting(seconds)),
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// In the largest unit that fits: what lasts for hours is not watched by the second.
fn lasting(seconds: u64) -> String {
    match seconds {
        0..MINUTE => format!("{seconds} s"),
        MINUTE..HOUR => format!("{} min", seconds / MINUTE),
        HOUR..DAY => format!("{} h", seconds / HOUR),
        DAY.. => format!("{} d", seconds / DAY),
    }
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_time_is_told_in_its_largest_unit() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (ago_s, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3599, "59 min"),
            (7200, "2 h"),
            (200_000, "2 d"),
        ] {
            assert_eq!(since(1_000_000 - ago_s, now), text);
        }
        assert_eq!(until(1_000_020, now), "in 20 s");
        assert_eq!(until(999_999, now), "now");
        assert_eq!(since(1_000_001, now), "0 s", "the clock was set back");
    }
}

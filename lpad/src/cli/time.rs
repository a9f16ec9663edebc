//! Times as people read them: how long ago, in how long, and at what time of their day.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// How long ago this was, in seconds since 1970.
pub(super) fn since(then_s: u64, now: Timestamp) -> String {
    lasting(age_s(then_s, now))
}

/// The time that a person means, in seconds since 1970: so long ago, or date and time of RFC 3339.
pub(super) fn moment(text: &str) -> Result<u64, &'static str> {
    let units = [("min", MINUTE), ("s", 1), ("h", HOUR), ("d", DAY)];
    let ago = units.iter().find_map(|(unit, length)| {
        let count: u64 = text.strip_suffix(unit)?.parse().ok()?;
        count.checked_mul(*length)
    });
    match (ago, text.parse::<Timestamp>()) {
        (Some(ago), _) => Ok(seconds(Timestamp::now()).saturating_sub(ago)),
        (None, Ok(then)) => Ok(seconds(then)),
        (None, Err(_)) => Err(
            "give how long ago, such as 30min, 2h or 7d, or a time such as \
             2026-11-28T18:00:00Z",
        ),
    }
}

/// How many seconds ago this was, in seconds since 1970.
pub(super) fn age_s(then_s: u64, now: Timestamp) -> u64 {
    seconds(now).saturating_sub(then_s)
}

/// In how long this is, in seconds since 1970.
pub(super) fn until(then_s: u64, now: Timestamp) -> String {
    match then_s.saturating_sub(seconds(now)) {
        0 => "now".to_owned(),
        seconds => format!("in {}", lasting(seconds)),
    }
}

/// Date and time of day in this zone, of seconds since 1970.
pub(super) fn date(then_s: u64, zone: TimeZone) -> String {
    let then = i64::try_from(then_s).map(Timestamp::from_second);
    match then {
        Ok(Ok(then)) => {
            let then = then.to_zoned_datetime(zone);
            then.strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
        }
        _ => format!("{then_s} s after 1970"),
    }
}

/// The zone of the person: of `TZ` or the system, UTC where neither says one.
pub(super) fn local() -> TimeZone {
    TimeZone::try_system().unwrap_or(TimeZone::UTC)
}

fn seconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_second()).unwrap_or(0)
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
    use super::*;

    #[test]
    fn a_time_is_told_in_its_largest_unit() {
        let now = Timestamp::from_second(1_000_000).unwrap();
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

    #[test]
    fn a_person_says_how_long_ago_or_when() {
        let now = seconds(Timestamp::now());
        for (text, ago_s) in [("90s", 90), ("30min", 1800), ("2h", 7200), ("7d", 604_800)] {
            assert!(
                (0..60).contains(&(moment(text).unwrap() + ago_s - now)),
                "{text}"
            );
        }
        assert_eq!(moment("1970-01-01T01:00:00+00:59"), Ok(60));
        assert_eq!(moment("999999999999d"), Ok(0), "before there was time");
        for text in [
            "",
            "d",
            "-1d",
            "2 h",
            "1.5h",
            "99999999999999999999d",
            "yesterday",
            "h2",
        ] {
            assert!(moment(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_date_is_the_one_of_the_zone() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        assert_eq!(
            date(1_795_816_800, TimeZone::UTC),
            "2026-11-27 22:00:00 UTC"
        );
        assert_eq!(
            date(1_795_816_800, berlin.clone()),
            "2026-11-27 23:00:00 CET"
        );
        assert_eq!(date(1_782_850_000, berlin), "2026-06-30 22:06:40 CEST");
        assert_eq!(
            date(u64::MAX, TimeZone::UTC),
            format!("{} s after 1970", u64::MAX)
        );
    }
}

//! What `lpactl status` shows.

use jiff::Timestamp;

use super::progress::doing;
use super::render::{asked_client, title, unknown};
use super::table::{Width, facts};
use super::time::{age_s, since, until};
use crate::api::body::{Euicc, FirstProfile, Modem, Notification, Operation, Profile};
use crate::api::health::Version;
use crate::config::OrderSource;
use crate::job::Part;
use crate::memory::operations::State;
use crate::memory::snapshot::{Availability, FirstProfileState, ProfileState};
use crate::problem::Problem;

/// One eUICC with what is on it.
#[derive(Debug)]
pub(super) struct Overview {
    pub(super) euicc: Euicc,
    pub(super) profiles: Vec<Profile>,
    pub(super) notifications: Vec<Notification>,
    pub(super) operation: Option<Operation>,
}

pub(super) fn status(
    version: &Version,
    problems: &[Problem],
    overviews: &[Overview],
    now: Timestamp,
    width: Width,
) -> String {
    let mut text = format!("lpad {} (SGP.22 v{})\n", version.version, version.sgp22);
    for problem in problems {
        text.push('\n');
        text.push_str(&facts(&what_and_next(problem), width));
    }
    for overview in overviews {
        text.push_str(&format!("\n{}\n", heading(&overview.euicc, now)));
        text.push_str(&facts(&overview.lines(now), width));
    }
    text
}

fn heading(euicc: &Euicc, now: Timestamp) -> String {
    let (name, state) = (&euicc.name, euicc.state.name());
    match euicc.unavailable_since_s {
        Some(since_s) => format!("{name}: {state} for {}", since(since_s, now)),
        None => format!("{name}: {state}"),
    }
}

impl Overview {
    fn lines(&self, now: Timestamp) -> Vec<(&'static str, String)> {
        let euicc = &self.euicc;
        let mut lines = vec![("Port", euicc.port.clone())];
        lines.extend(euicc.modem.as_ref().map(|modem| ("Modem", named(modem))));
        let route = euicc.modem.as_ref().and_then(|modem| modem.apdu);
        lines.extend(route.map(|route| ("APDUs", format!("by {route}"))));
        if let Some(eid) = &euicc.eid {
            lines.push(("EID", eid.clone()));
            lines.push(("Enabled", self.enabled()));
            lines.push(("Profiles", self.profile_count()));
            lines.push(("Notifications", self.waiting()));
        }
        if let Some(read_at_s) = euicc.read_at_s
            && (self.is_away() || is_old(read_at_s, now))
        {
            // Else what is shown here would pass for what is on the card now.
            lines.push(("Read", format!("{} ago", since(read_at_s, now))));
        }
        lines.extend(euicc.unknown.iter().map(unknown));
        if let Some(first_profile) = &euicc.first_profile {
            let told = how_it_stands(first_profile, now);
            lines.extend(told.map(|text| ("First profile", text)));
            let next_step = first_profile.next_step.clone();
            lines.extend(next_step.map(|text| ("Next", text)));
        }
        if let Some(operation) = &self.operation {
            let what = format!("{} {}", operation.id, operation.kind.name());
            lines.push(("Operation", format!("{what}, {}", doing(operation))));
            if operation.state == State::AwaitingAnswer {
                lines.push(("Asks", asked_client(operation, now)));
            }
        }
        if let Some(problem) = &euicc.problem {
            lines.extend(what_and_next(problem));
        }
        match (&euicc.trying, euicc.next_attempt_s) {
            (Some(trying), _) => {
                let lasting = since(trying.since_s, now);
                lines.push(("Trying", format!("{}, for {lasting}", trying.what)));
            }
            (None, Some(next_s)) => lines.push(("Retry", until(next_s, now))),
            (None, None) => {}
        }
        lines
    }

    fn enabled(&self) -> String {
        let enabled = |profile: &&Profile| profile.state == ProfileState::Enabled;
        match self.profiles.iter().find(enabled) {
            Some(profile) => format!("{} ({})", title(profile), profile.iccid),
            None if self.lacks(Part::Profiles) => UNKNOWN.to_owned(),
            None => "none".to_owned(),
        }
    }

    fn profile_count(&self) -> String {
        match self.lacks(Part::Profiles) {
            true => UNKNOWN.to_owned(),
            false => self.profiles.len().to_string(),
        }
    }

    fn waiting(&self) -> String {
        let waiting = match self.notifications.len() {
            _ if self.lacks(Part::Notifications) => UNKNOWN.to_owned(),
            0 => "none waiting".to_owned(),
            count => format!("{count} waiting"),
        };
        match self.euicc.notifications_set_aside {
            0 => waiting,
            count => format!("{waiting}, {count} set aside (see `lpactl notification list`)"),
        }
    }

    fn lacks(&self, part: Part) -> bool {
        self.euicc.unknown.iter().any(|one| one.part == part)
    }

    fn is_away(&self) -> bool {
        self.euicc.state != Availability::Ready
    }
}

/// A modem by its own words, and by which entry of the table it is handled.
fn named(modem: &Modem) -> String {
    let words = [&modem.manufacturer, &modem.model, &modem.firmware];
    let words: Vec<_> = words.into_iter().flatten().map(String::as_str).collect();
    let name = match words.is_empty() {
        true => "unnamed".to_owned(),
        false => words.join(" "),
    };
    format!("{name}, handled as {} ({})", modem.profile, modem.because)
}

fn what_and_next(problem: &Problem) -> [(&'static str, String); 2] {
    [
        ("Problem", problem.detail.clone()),
        ("Next", problem.next_step.clone()),
    ]
}

/// How it stands with the first profile; nothing where none is wanted.
fn how_it_stands(first_profile: &FirstProfile, now: Timestamp) -> Option<String> {
    let (used, most) = (first_profile.attempts, first_profile.most_attempts);
    // Only what the server counted counts: days without network use up no attempt.
    let used_up = used == most;
    let used = format!("{used} of {most} attempts used");
    let begun = match first_profile.state {
        FirstProfileState::Off | FirstProfileState::NotNeeded => return None,
        FirstProfileState::NoAddress => return Some("no address to ask".to_owned()),
        FirstProfileState::Done => return Some("downloaded".to_owned()),
        FirstProfileState::Waiting | FirstProfileState::BackingOff => used,
        FirstProfileState::WaitingClock => "waiting for the clock to be set".to_owned(),
        FirstProfileState::Trying => format!("downloading; {used}"),
        FirstProfileState::Stopped if used_up => format!("given up after {most} attempts"),
        FirstProfileState::Stopped => "given up".to_owned(),
    };
    let last = first_profile.last.as_deref().map(|last| {
        let last = last.trim_end_matches('.');
        format!(", last: {last}")
    });
    let next = first_profile.next_attempt_s.map(|next_s| {
        let next = until(next_s, now);
        format!("; next attempt {next}")
    });
    // Where there is but one place, nobody asks.
    let order = (first_profile.source.zip(first_profile.then))
        .map(|(next, then)| format!(" {}, then {}", place(next), place(then)));
    Some(
        [Some(begun), last, next, order]
            .into_iter()
            .flatten()
            .collect(),
    )
}

fn place(source: OrderSource) -> &'static str {
    match source {
        OrderSource::Code => "by the activation code",
        OrderSource::Config => "at the configured SM-DP+",
        OrderSource::Card => "at the SM-DP+ stored on the card",
    }
}

/// Whether much may have happened to the card since: one that is taken out is noticed only when it is
/// read the next time.
fn is_old(read_at_s: u64, now: Timestamp) -> bool {
    age_s(read_at_s, now) >= 60
}

const UNKNOWN: &str = "unknown";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::body::{Trying, UnknownPart};
    use crate::problem::Code;

    const NOW_S: u64 = 1_800_000_000;

    fn shown(euicc: Euicc, profiles: Vec<Profile>, notifications: Vec<Notification>) -> String {
        let overview = Overview {
            euicc: Euicc {
                name: "default".into(),
                port: "/dev/ttyUSB2".into(),
                ..euicc
            },
            profiles,
            notifications,
            operation: None,
        };
        let version = Version {
            version: "0.1.0".into(),
            api: "v1".into(),
            sgp22: "2.5".into(),
        };
        let now = Timestamp::from_second(NOW_S.cast_signed()).unwrap();
        status(&version, &[], &[overview], now, Width::UNLIMITED)
    }

    fn ready() -> Euicc {
        Euicc {
            state: Availability::Ready,
            eid: Some("89049032123451234512345678901235".into()),
            read_at_s: Some(NOW_S - 5),
            ..Euicc::default()
        }
    }

    fn acme() -> Profile {
        Profile {
            iccid: "89001234567890123457".into(),
            state: ProfileState::Enabled,
            name: "Acme IoT".into(),
            ..Profile::default()
        }
    }

    #[test]
    fn the_status_tells_what_matters_first() {
        assert_eq!(
            shown(ready(), vec![acme()], Vec::new()),
            "lpad 0.1.0 (SGP.22 v2.5)\n\
             \n\
             default: ready\n\
             \x20 Port           /dev/ttyUSB2\n\
             \x20 EID            89049032123451234512345678901235\n\
             \x20 Enabled        Acme IoT (89001234567890123457)\n\
             \x20 Profiles       1\n\
             \x20 Notifications  none waiting\n"
        );
    }

    #[test]
    fn a_card_that_is_away_is_shown_with_what_is_tried_and_how_old_the_rest_is() {
        let away = Euicc {
            state: Availability::Unavailable,
            unavailable_since_s: Some(NOW_S - 200),
            next_attempt_s: Some(NOW_S + 20),
            read_at_s: Some(NOW_S - 7300),
            problem: Some(Problem::new(Code::ModemUnavailable).detail("The port is gone.")),
            ..ready()
        };
        let text = shown(away.clone(), vec![acme()], Vec::new());
        let (_, text) = text.split_once("\n\n").unwrap();
        assert_eq!(
            text,
            "default: unavailable for 3 min\n\
             \x20 Port           /dev/ttyUSB2\n\
             \x20 EID            89049032123451234512345678901235\n\
             \x20 Enabled        Acme IoT (89001234567890123457)\n\
             \x20 Profiles       1\n\
             \x20 Notifications  none waiting\n\
             \x20 Read           2 h ago\n\
             \x20 Problem        The port is gone.\n\
             \x20 Next           Check the modem, its port in the configuration, and that no other program uses the port.\n\
             \x20 Retry          in 20 s\n"
        );
        let trying = Trying {
            what: "opening the port".into(),
            since_s: NOW_S - 3,
        };
        let text = shown(
            Euicc {
                trying: Some(trying),
                ..away
            },
            Vec::new(),
            Vec::new(),
        );
        assert!(
            text.contains("  Trying         opening the port, for 3 s\n"),
            "{text}"
        );
        assert!(!text.contains("Retry"), "{text}");
    }

    #[test]
    fn what_cannot_be_read_is_unknown_and_not_none() {
        let why = Problem::new(Code::CardRefused).detail("ES10c.GetProfilesInfo: 6A80.");
        let unknown = |part| UnknownPart {
            part,
            problem: why.clone(),
        };
        let euicc = Euicc {
            unknown: vec![unknown(Part::Profiles), unknown(Part::Notifications)],
            ..ready()
        };
        let text = shown(euicc, Vec::new(), Vec::new());
        for line in [
            "  Enabled        unknown\n",
            "  Profiles       unknown\n",
            "  Notifications  unknown\n",
            "  Unknown        profile list: ES10c.GetProfilesInfo: 6A80.\n",
            "  Unknown        notification list: ES10c.GetProfilesInfo: 6A80.\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }

    #[test]
    fn notifications_that_are_set_aside_are_counted() {
        let euicc = Euicc {
            notifications_set_aside: 1,
            ..ready()
        };
        let text = shown(euicc, Vec::new(), vec![Notification::default(); 2]);
        let line = "  Notifications  2 waiting, 1 set aside (see `lpactl notification list`)\n";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn what_to_do_about_an_order_that_was_given_up_is_a_line_of_its_own() {
        let euicc = Euicc {
            first_profile: Some(FirstProfile {
                state: FirstProfileState::Stopped,
                source: None,
                then: None,
                attempts: 1,
                most_attempts: 12,
                last: Some("refused.".to_owned()),
                next_step: Some("Do this.".to_owned()),
                next_attempt_s: None,
            }),
            ..ready()
        };
        let text = shown(euicc, Vec::new(), Vec::new());
        let lines = "  First profile  given up, last: refused\n  Next           Do this.\n";
        assert!(text.contains(lines), "{text}");
    }

    #[test]
    fn the_first_profile_is_one_line() {
        let stands = |state, attempts, last: Option<&str>, next_s: Option<u64>| {
            let first_profile = FirstProfile {
                state,
                attempts,
                most_attempts: 12,
                source: Some(OrderSource::Code),
                then: next_s
                    .filter(|next_s| *next_s == 40)
                    .map(|_| OrderSource::Card),
                last: last.map(str::to_owned),
                next_step: None,
                next_attempt_s: next_s.map(|next_s| NOW_S + next_s),
            };
            let now = Timestamp::from_second(NOW_S.cast_signed()).unwrap();
            how_it_stands(&first_profile, now).unwrap_or_default()
        };
        let unreachable = Some("the SM-DP+ cannot be reached");
        for (told, line) in [
            (stands(FirstProfileState::Off, 0, None, None), ""),
            (stands(FirstProfileState::NotNeeded, 0, None, None), ""),
            (
                stands(FirstProfileState::NoAddress, 0, None, None),
                "no address to ask",
            ),
            (
                stands(FirstProfileState::Waiting, 0, None, Some(90)),
                "0 of 12 attempts used; next attempt in 1 min",
            ),
            (
                stands(FirstProfileState::Trying, 3, unreachable, None),
                "downloading; 3 of 12 attempts used, last: the SM-DP+ cannot be reached",
            ),
            (
                stands(FirstProfileState::BackingOff, 3, unreachable, Some(40)),
                "3 of 12 attempts used, last: the SM-DP+ cannot be reached; next attempt in 40 s by the \
                 activation code, then at the SM-DP+ stored on the card",
            ),
            (
                stands(FirstProfileState::WaitingClock, 0, None, None),
                "waiting for the clock to be set",
            ),
            (stands(FirstProfileState::Done, 0, None, None), "downloaded"),
            (
                stands(FirstProfileState::Stopped, 12, unreachable, None),
                "given up after 12 attempts, last: the SM-DP+ cannot be reached",
            ),
            (
                stands(FirstProfileState::Stopped, 1, Some("refused."), None),
                "given up, last: refused",
            ),
        ] {
            assert_eq!(told, line);
        }
    }
}

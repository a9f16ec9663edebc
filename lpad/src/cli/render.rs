//! What people read.

use es10_apdu::types::Iccid;
use jiff::Timestamp;

use super::progress::{doing, line};
use super::table::{Table, Width, facts};
use super::time::{date, local, since, until};
use crate::api::body::{
    Achievement, Addresses, Euicc, Event, EventKind, Notification, Offer, Operation, Profile,
    UnknownPart,
};
use crate::job::{Kind, OperationId, Stage, StageTime, Switching, Waiting};
use crate::memory::operations::{ClientProcess, State};
use crate::memory::service::Service;
use crate::printable::printable;
use crate::problem::{CodeConsumed, Problem};

/// What a client reads whose operation waits behind a question.
pub(super) fn asking(operation: &Operation, now: Timestamp) -> String {
    let (id, kind) = (operation.id, operation.kind.name());
    let client = asked_client(operation, now);
    printable(&format!(
        "Operation {id} ({kind}) comes first and waits for an answer from {client}."
    ))
    .into_owned()
        + &format!(
            "\nAnswer with `lpactl operation answer {id} accept`, `decline` or `postpone`, \
             or stop it with `lpactl operation cancel {id}`.\n"
        )
}

/// Which client is asked, and since when.
pub(super) fn asked_client(operation: &Operation, now: Timestamp) -> String {
    let who = match &operation.client {
        Some(client) => process(client),
        None => "any client".to_owned(),
    };
    match operation.asked_at_s {
        Some(asked_at_s) => format!("{who}, for {} now", since(asked_at_s, now)),
        None => who,
    }
}

fn process(client: &ClientProcess) -> String {
    let uid = client.uid;
    match (&client.name, client.pid) {
        (Some(name), Some(pid)) => format!("{name} (process {pid} of user {uid})"),
        (None, Some(pid)) => format!("process {pid} of user {uid}"),
        (_, None) => format!("a process of user {uid}"),
    }
}

/// The name people know a profile by.
pub(super) fn title(profile: &Profile) -> &str {
    profile.nickname.as_deref().unwrap_or(&profile.name)
}

pub(super) fn euicc(euicc: &Euicc, addresses: Option<&Addresses>, width: Width) -> String {
    let mut lines = vec![("Name", euicc.name.clone()), ("Port", euicc.port.clone())];
    lines.push(("State", euicc.state.name().to_owned()));
    lines.push((
        "EID",
        euicc.eid.clone().unwrap_or_else(|| "unknown".to_owned()),
    ));
    if let Some(info) = &euicc.info {
        lines.push(("SGP.22", format!("v{}", info.svn)));
        lines.push(("Firmware", info.firmware.clone()));
        lines.push(("Profiles as of", format!("v{}", info.profile_version)));
        if let Some(bytes) = info.free_memory_bytes {
            lines.push(("Free memory", format!("{bytes} bytes")));
        }
        lines.push(("Trusts issuers", info.ci_keys_for_verification.join(", ")));
        lines.push(("Signs for issuers", info.ci_keys_for_signing.join(", ")));
    }
    if let Some(addresses) = addresses {
        let default = addresses.default_smdp.clone();
        lines.push((
            "Default SM-DP+",
            default.unwrap_or_else(|| "none".to_owned()),
        ));
        lines.push(("Root SM-DS", addresses.root_smds.clone()));
    }
    lines.extend(euicc.unknown.iter().map(unknown));
    facts(&lines, width)
}

pub(super) fn service(service: &Service, width: Width) -> String {
    let state = service.state.words();
    let mut lines = vec![(
        "Service",
        match service.reason {
            Some(reason) => format!("{state}: {}", reason.lack()),
            None => state.to_owned(),
        },
    )];
    lines.extend(service.cause.map(|cause| ("Cause", cause.to_string())));
    let at = |time_s: u64| date(time_s, local());
    lines.extend(service.since_s.map(|since_s| ("Since", at(since_s))));
    let iccid = |iccid: Option<Iccid>| iccid.map_or_else(|| "none".to_owned(), |it| it.to_string());
    lines.push(("Profile", iccid(service.profile)));
    if service.on_fallback {
        lines.push(("Preferred", iccid(service.preferred)));
    }
    if let (Some(step), Some(at_s)) = (service.next_step, service.next_step_s) {
        lines.push(("Next", format!("{}, {}", step.words(), at(at_s))));
    }
    lines.push(("Switches left", service.switches_left.to_string()));
    facts(&lines, width)
}

/// A part of the card that cannot be read, and why.
pub(super) fn unknown(part: &UnknownPart) -> (&'static str, String) {
    ("Unknown", format!("{}: {}", part.part, part.problem.detail))
}

pub(super) fn profiles(profiles: &[Profile], width: Width) -> String {
    if profiles.is_empty() {
        return "No profile is installed. `lpactl download` brings one.\n".to_owned();
    }
    let mut table = Table::new(["ICCID", "STATE", "NAME", "PROVIDER", "CLASS"], width);
    for profile in profiles {
        table.row([
            profile.iccid.clone(),
            profile.state.name().to_owned(),
            title(profile).to_owned(),
            profile.service_provider.clone(),
            profile.class.clone(),
        ]);
    }
    table.render()
}

pub(super) fn profile(profile: &Profile, width: Width) -> String {
    let mut lines = vec![
        ("ICCID", profile.iccid.clone()),
        ("State", profile.state.name().to_owned()),
        ("Name", profile.name.clone()),
    ];
    if let Some(nickname) = &profile.nickname {
        lines.push(("Nickname", nickname.clone()));
    }
    lines.push(("Provider", profile.service_provider.clone()));
    lines.push(("Class", profile.class.clone()));
    if let Some(aid) = &profile.aid {
        lines.push(("ISD-P AID", aid.clone()));
    }
    if !profile.policy_rules.is_empty() {
        lines.push(("Policy rules", profile.policy_rules.join(", ")));
    }
    facts(&lines, width)
}

pub(super) fn notification(notification: &Notification, width: Width) -> String {
    let mut lines = vec![
        ("Number", notification.sequence_number.to_string()),
        ("Event", notification.event.clone()),
        ("Recipient", notification.address.clone()),
    ];
    lines.extend(notification.iccid.clone().map(|iccid| ("ICCID", iccid)));
    if notification.failed_attempts > 0 {
        lines.push((
            "Failed",
            format!("{} times in a row", notification.failed_attempts),
        ));
    }
    let since = (notification.waiting_since_s).map(|since_s| date(since_s, local()));
    lines.extend(since.map(|since| ("Waiting", format!("since {since}"))));
    let why = notification.set_aside.clone();
    let why = why.or_else(|| notification.last_error.clone());
    lines.extend(why.map(|why| ("Last attempt", why)));
    facts(&lines, width)
}

pub(super) fn notifications(notifications: &[Notification], width: Width) -> String {
    if notifications.is_empty() {
        return "No notification waits.\n".to_owned();
    }
    let mut table = Table::new(
        ["NUMBER", "EVENT", "RECIPIENT", "ICCID", "LAST ATTEMPT"],
        width,
    );
    for notification in notifications {
        table.row([
            notification.sequence_number.to_string(),
            notification.event.clone(),
            notification.address.clone(),
            notification.iccid.clone().unwrap_or_default(),
            notification
                .set_aside
                .clone()
                .or_else(|| notification.last_error.clone())
                .unwrap_or_default(),
        ]);
    }
    table.render()
}

pub(super) fn operations(operations: &[Operation], width: Width) -> String {
    if operations.is_empty() {
        return "Nothing has been done yet.\n".to_owned();
    }
    let mut table = Table::new(["ID", "EUICC", "WHAT", "STATE", "OUTCOME"], width);
    for operation in operations {
        let outcome = match (&operation.problem, &operation.result) {
            (Some(problem), _) => problem.title.clone(),
            (None, Some(result)) => done(operation.kind, result),
            (None, None) => doing(operation),
        };
        table.row([
            operation.id.to_string(),
            operation.euicc.clone(),
            operation.kind.name().to_owned(),
            operation.state.name().to_owned(),
            outcome,
        ]);
    }
    table.render()
}

pub(super) fn operation(operation: &Operation, width: Width) -> String {
    let mut lines = vec![
        ("Operation", operation.id.to_string()),
        ("eUICC", operation.euicc.clone()),
        ("What", operation.kind.name().to_owned()),
        ("State", operation.state.name().to_owned()),
    ];
    let owner = match &operation.client {
        Some(client) => {
            let group = client.gid.map(|gid| format!(", group {gid}"));
            Some(process(client) + &group.unwrap_or_default())
        }
        None => operation.by_itself.then(|| "lpad itself".to_owned()),
    };
    lines.extend(owner.map(|owner| ("Asked by", owner)));
    // Of one that was left open by an earlier start it is not known.
    let asked = (operation.created_at_s > 0).then_some(operation.created_at_s);
    let ended = operation.finished_at_s.filter(|time_s| *time_s > 0);
    let times = [("Asked for", asked), ("Ended", ended)];
    lines.extend(
        times
            .into_iter()
            .filter_map(|(label, time_s)| Some((label, date(time_s?, local())))),
    );
    for StageTime { stage, at_s } in &operation.stages {
        let text = format!("{}  {}", date(*at_s, local()), stage.name());
        lines.push(("Stage", text));
    }
    if let Some(Waiting { on, until_s }) = operation.waiting {
        let end = until(until_s, Timestamp::now());
        lines.push(("Waits for", format!("the {}; given up {end}", on.name())));
    }
    if let Some(switch) = &operation.switch {
        lines.extend(self::switch(switch, operation.id, operation.stage));
    }
    if operation.state == State::AwaitingAnswer {
        lines.push(("Asks", asked_client(operation, Timestamp::now())));
    }
    if let Some(progress) = operation.progress {
        let text = format!("{} of {} bytes", progress.done, progress.total);
        lines.push(("Package", text));
    }
    if let Some(result) = &operation.result {
        lines.push(("Outcome", achieved(operation.kind, result)));
        lines.extend(
            result
                .warnings
                .iter()
                .map(|warning| ("Note", warning.clone())),
        );
    }
    let problem = operation.problem.as_ref();
    let problem = problem
        .map(|found| self::problem(found, width))
        .unwrap_or_default();
    facts(&lines, width) + &problem
}

/// How an operation ended, in one or a few lines.
pub(super) fn outcome(ended: &Operation, width: Width) -> String {
    match (&ended.result, &ended.problem) {
        (Some(result), _) => {
            let mut text = format!("{}\n", printable(&achieved(ended.kind, result)));
            for warning in &result.warnings {
                text.push_str(&format!("Note: {}\n", printable(warning)));
            }
            text
        }
        (None, Some(found)) => problem(found, width),
        (None, None) => format!("The operation is {}.\n", ended.state.name()),
    }
}

/// Where a change of the profile in use stands.
fn switch(
    switch: &Switching,
    id: OperationId,
    stage: Option<Stage>,
) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    for tried in &switch.failed {
        lines.push(("Tried", tried.to_string()));
    }
    match (switch.outcome, switch.profile) {
        (Some(outcome), Some(profile)) => {
            lines.push(("Switch", format!("{}, to {profile}", outcome.name())));
        }
        (Some(outcome), None) => lines.push(("Switch", outcome.name().to_owned())),
        (None, Some(profile)) => {
            let end = switch
                .deadline_s
                .map(|end_s| until(end_s, Timestamp::now()));
            let end = end
                .map(|end| format!("; given up {end}"))
                .unwrap_or_default();
            lines.push(("Switch", format!("to {profile}{end}")));
        }
        (None, None) => {}
    }
    if stage == Some(Stage::AwaitingConfirm) && switch.outcome.is_none() {
        let ask = format!("lpactl operation confirm {id}, or lpactl operation revert {id}");
        lines.push(("Asks", ask));
    }
    lines
}

/// What was achieved, and what became of the notifications about it.
fn achieved(kind: Kind, result: &Achievement) -> String {
    if result.details_unknown {
        return done(kind, result) + ".";
    }
    let (delivered, pending) = (result.notifications_delivered, result.notifications_pending);
    let mut text = match (kind, delivered, pending) {
        (Kind::DeliverNotifications, 0, 0) => "No notification was waiting".to_owned(),
        (Kind::DeliverNotifications, _, _) => format!("Notifications delivered: {delivered}"),
        (_, 0, 0) => done(kind, result),
        _ => format!(
            "{}; notifications delivered: {delivered}",
            done(kind, result)
        ),
    };
    if pending > 0 {
        text.push_str(&format!(
            ", still waiting: {pending} (see `lpactl notification list`)"
        ));
    }
    text + "."
}

fn done(kind: Kind, result: &Achievement) -> String {
    let profile = match (&result.profile_name, &result.iccid) {
        (Some(name), Some(iccid)) => format!("{name} ({iccid})"),
        (None, Some(iccid)) => iccid.clone(),
        _ => "The profile".to_owned(),
    };
    match kind {
        _ if result.details_unknown => "It succeeded; more is not known any more".to_owned(),
        Kind::Download if result.nothing_to_download => {
            "Nothing to download: the SM-DP+ has no profile for this EID".to_owned()
        }
        Kind::Download if result.enabled == Some(true) => {
            format!("{profile} is installed and enabled")
        }
        Kind::Download => format!("{profile} is installed"),
        Kind::Enable if result.nothing_to_change => format!("{profile} was enabled already"),
        Kind::Enable => format!("{profile} is enabled"),
        Kind::Disable if result.nothing_to_change => format!("{profile} was disabled already"),
        Kind::Disable => format!("{profile} is disabled"),
        Kind::Delete => format!("{profile} is deleted"),
        Kind::Rename => format!("{profile} is renamed"),
        Kind::SetDefaultSmdp => "The default SM-DP+ is changed".to_owned(),
        Kind::DeliverNotifications => {
            format!("{} delivered", result.notifications_delivered)
        }
        Kind::RemoveNotification => "The notification is removed".to_owned(),
        Kind::Reset if result.nothing_to_change => "There was nothing to erase".to_owned(),
        Kind::Reset => "The eUICC is reset".to_owned(),
    }
}

pub(super) fn offer(offer: &Offer, width: Width) -> String {
    let mut lines = vec![
        ("Provider", offer.service_provider.clone()),
        ("Name", offer.profile_name.clone()),
        ("ICCID", offer.iccid.clone()),
        ("Class", offer.class.clone()),
    ];
    if !offer.policy_rules.is_empty() {
        lines.push(("Policy rules", offer.policy_rules.join(", ")));
    }
    format!("This profile is offered:\n{}", facts(&lines, width))
}

pub(super) fn problem(problem: &Problem, width: Width) -> String {
    let mut lines = Vec::new();
    let title = problem.title.as_str();
    if problem.detail.trim_end_matches('.') != title {
        lines.push(("What", problem.detail.clone()));
    }
    if let Some(sgp22) = &problem.sgp22 {
        lines.push(("SM-DP+ says", format!("{}/{}", sgp22.subject, sgp22.reason)));
    }
    if let Some(card) = &problem.card {
        let result = card.result.map(|result| format!(" result {result}"));
        let sw = card.sw.as_ref().map(|sw| format!(" status {sw}"));
        let says = [Some(card.function.clone()), result, sw];
        lines.push(("Card says", says.into_iter().flatten().collect()));
    }
    match problem.code_consumed {
        Some(CodeConsumed::Yes) => lines.push(("Code", "used up".to_owned())),
        Some(CodeConsumed::No) => lines.push(("Code", "not used up".to_owned())),
        Some(CodeConsumed::Unknown) => lines.push(("Code", "perhaps used up".to_owned())),
        None => {}
    }
    lines.push(("Next", problem.next_step.clone()));
    format!("{}.\n{}", printable(title), facts(&lines, width))
}

/// What an event says, without its number.
pub(super) fn event(event: &Event) -> String {
    if let Ok(operation) = serde_json::from_value::<Operation>(event.data.clone()) {
        let (id, kind, doing) = (operation.id, operation.kind.name(), line(&operation));
        return printable(&format!("operation {id} {kind}: {doing}")).into_owned();
    }
    let field = |name: &str| event.data[name].as_str().unwrap_or_default();
    let text = match (event.kind, field("busy_with")) {
        (EventKind::Euicc, "") => format!("eUICC {}: {}", field("name"), field("state")),
        (EventKind::Euicc, operation) => {
            format!("eUICC {}: busy with operation {operation}", field("name"))
        }
        (EventKind::Alarm, _) => {
            let (code, detail) = (field("code"), field("detail"));
            format!("alarm {code}, eUICC {}: {detail}", field("euicc"))
        }
        (kind, _) => format!("{}: {}", kind.name(), event.data),
    };
    printable(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::snapshot::ProfileState;
    use crate::problem::Code;

    fn acme(state: ProfileState) -> Profile {
        Profile {
            iccid: "89001234567890123457".into(),
            state,
            class: "operational".into(),
            service_provider: "Acme".into(),
            name: "Acme IoT".into(),
            ..Profile::default()
        }
    }

    #[test]
    fn profiles_are_a_table() {
        let spare = Profile {
            nickname: Some("spare".into()),
            ..acme(ProfileState::Disabled)
        };
        assert_eq!(
            profiles(&[acme(ProfileState::Enabled), spare], Width::UNLIMITED),
            "ICCID                 STATE     NAME      PROVIDER  CLASS\n\
             89001234567890123457  enabled   Acme IoT  Acme      operational\n\
             89001234567890123457  disabled  spare     Acme      operational\n"
        );
    }

    #[test]
    fn a_problem_says_what_and_what_next() {
        let found = Problem::new(Code::MatchingIdRefused)
            .detail("smdp.example.com refuses the matching identifier.")
            .sgp22("8.2.6", "3.8")
            .code_consumed(CodeConsumed::No);
        assert_eq!(
            problem(&found, Width::UNLIMITED),
            "The SM-DP+ does not know this activation code, or the code is used up.\n\
             \x20 What         smdp.example.com refuses the matching identifier.\n\
             \x20 SM-DP+ says  8.2.6/3.8\n\
             \x20 Code         not used up\n\
             \x20 Next         Check the code, or ask the operator for a new one.\n"
        );
    }

    #[test]
    fn an_outcome_counts_the_notifications() {
        let result = Achievement {
            iccid: Some("8900".into()),
            profile_name: Some("Acme IoT".into()),
            enabled: Some(true),
            notifications_delivered: 2,
            notifications_pending: 1,
            ..Achievement::default()
        };
        assert_eq!(
            achieved(Kind::Download, &result),
            "Acme IoT (8900) is installed and enabled; notifications delivered: 2, \
             still waiting: 1 (see `lpactl notification list`)."
        );
    }
}

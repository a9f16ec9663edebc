//! The verdicts on what was found: one sentence each, and what to do.

use std::time::{SystemTime, UNIX_EPOCH};

use es9_client::{EARLIEST_PLAUSIBLE, Timestamp};
use serde::Serialize;

use crate::api::body::{Examination, ExaminedRoute, Modem};
use crate::look;
use crate::look::{Certificate, Refusal, Step};
use crate::problem::{Code, Problem};

/// What came of looking at something.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is as it should be.
    Ok,
    /// It works, and should not be so.
    Warning,
    /// It does not work.
    Failure,
    /// It could not be looked at.
    NotLookedAt,
}

impl Verdict {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "FAILED",
            Self::NotLookedAt => "not looked at",
        }
    }
}

/// A verdict.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub what: &'static str,
    /// What came of it.
    pub verdict: Verdict,
    /// The reason, in one sentence.
    pub says: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_step: Option<String>,
}

impl Check {
    pub(super) fn new(
        verdict: Verdict,
        what: &'static str,
        says: impl Into<String>,
        next_step: impl Into<String>,
    ) -> Self {
        Self {
            what,
            verdict,
            says: says.into(),
            next_step: Some(next_step.into()).filter(|next| !next.is_empty()),
        }
    }

    pub(super) fn ok(what: &'static str, says: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, what, says, "")
    }

    pub(super) fn failed(what: &'static str, problem: &Problem) -> Self {
        let mut says = problem.detail.trim_end_matches('.').to_owned();
        if let Some(operation) = problem.operation {
            says.push_str(&format!(" (operation {operation})"));
        }
        Self::new(Verdict::Failure, what, says, problem.next_step.as_str())
    }

    fn not_looked_at(what: &'static str, says: &str) -> Self {
        Self::new(Verdict::NotLookedAt, what, says, "")
    }
}

/// The verdicts on the way to a card; `opened` names the port.
pub fn of(found: &Examination, opened: &str) -> Vec<Check> {
    let mut checks = Vec::new();
    match &found.port_problem {
        None => checks.push(Check::ok("Port", opened)),
        Some(problem) => {
            // Does it open, and nothing answers?
            let is_silent = matches!(problem.code, Code::ModemSilent | Code::ModemTimeout);
            checks.extend(is_silent.then(|| Check::ok("Port", opened)));
            let what = if is_silent { "Modem" } else { "Port" };
            checks.push(Check::failed(what, problem));
            checks.push(Check::not_looked_at("Card", "it cannot be reached"));
            return checks;
        }
    }
    // A reader has none.
    if let Some(modem) = &found.modem {
        checks.push(named(found, modem));
        checks.push(handled(found, modem));
        let is_reached = found.eid.is_some() && found.card_problem.is_none();
        checks.push(sim(found, is_reached));
    }
    let works = found.routes.iter().any(|route| route.problem.is_none());
    for route in &found.routes {
        checks.push(channel(route, works, found.modem.is_some()));
    }
    checks.extend(quirks(found));
    checks.extend(card(found));
    checks.extend(speed(&found.apdu_us));
    if found.cut_off {
        checks.push(Check::new(
            Verdict::Warning,
            "Time",
            "the examination took too long, and the rest was not looked at",
            "Restart the modem and try again; a modem that stays this slow may be at another rate, or \
             busy with something else.",
        ));
    }
    checks
}

fn named(found: &Examination, modem: &Modem) -> Check {
    let mut says = match (&modem.manufacturer, &modem.model) {
        (None, None) => "it does not say who made it".to_owned(),
        (maker, model) => {
            let words = [maker, model].into_iter().flatten();
            words.map(String::as_str).collect::<Vec<_>>().join(" ")
        }
    };
    for (what, value) in [("firmware", &modem.firmware), ("IMEI", &found.imei)] {
        if let Some(value) = value {
            says.push_str(&format!(", {what} {value}"));
        }
    }
    Check::ok("Modem", says)
}

/// The entry of the table, and what is known of lpad's work with such a modem.
fn handled(found: &Examination, modem: &Modem) -> Check {
    let says = format!("handled as {}: {}", modem.profile, modem.because);
    match &found.known_to_refuse {
        Some(next) => {
            let says = format!("{says}, and knows that it refuses");
            Check::new(Verdict::Warning, "Profile", says, next)
        }
        None => Check::ok("Profile", says),
    }
}

fn sim(found: &Examination, is_reached: bool) -> Check {
    let uses = match &found.iccid {
        Some(iccid) => format!("the modem uses the profile {iccid}"),
        None => "the modem names no profile in use".to_owned(),
    };
    let sim = match found.sim.as_str() {
        "" => "nothing",
        sim => sim,
    };
    let says = format!("AT+CPIN? says {sim}; {uses}");
    let is_ready = sim.contains("READY");
    // Without a profile most modems take the card for none.
    match is_ready || (is_reached && !found.has_enabled_profile) {
        true => Check::ok("SIM", says),
        false => Check::new(
            Verdict::Warning,
            "SIM",
            says,
            "Is the card in its slot, and the slot the one in use? A PIN has to be entered by whatever \
             manages the network.",
        ),
    }
}

/// A way to the card; one that does not work is no trouble where another one does.
fn channel(route: &ExaminedRoute, another_works: bool, by_modem: bool) -> Check {
    let apdu = route.apdu;
    match (&route.problem, &route.channel) {
        (Some(problem), _) if another_works => {
            let why = problem.detail.trim_end_matches('.');
            Check::ok("Channels", format!("not by {apdu}, and not needed: {why}"))
        }
        (Some(problem), _) => Check::failed("Channels", problem),
        (None, channel) => {
            let channel = channel.as_deref().unwrap_or_default();
            match by_modem {
                true => Check::ok("Channels", format!("by {apdu}: {channel}")),
                false => Check::ok("Channels", channel),
            }
        }
    }
}

/// What of the way that is used is not as the table of modems has it.
fn quirks(found: &Examination) -> Option<Check> {
    let room = found.known_block_size?;
    let used = found.routes.iter().find(|route| route.problem.is_none())?;
    let mut met = Vec::new();
    if let Some(size) = used.block_size.filter(|size| *size < room) {
        met.push(format!("takes {size} bytes in one command, not {room}"));
    }
    if used.le == Some(true) {
        met.push("commands carry Le".to_owned());
    }
    if used.interindustry == Some(true) {
        met.push("GET RESPONSE has a class byte of its own".to_owned());
    }
    if found.needs_profile {
        met.push("passes nothing on without an enabled profile".to_owned());
    }
    Some(match met.is_empty() {
        true => Check::ok("Quirks", "none met"),
        false => Check::ok("Quirks", met.join("; ")),
    })
}

fn card(found: &Examination) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut says: Vec<String> = Vec::new();
    says.extend(found.eid.as_ref().map(|eid| format!("EID {eid}")));
    if let Some(info) = &found.info {
        says.push(format!("SGP.22 v{}", info.svn));
        if let Some(bytes) = info.free_memory_bytes {
            says.push(format!("{bytes} bytes free"));
        }
        let issuers = info.ci_keys_for_verification.join(", ");
        says.push(format!("trusts the issuers {issuers}"));
    }
    if let Some(addresses) = &found.addresses {
        let smdp = addresses.default_smdp.as_deref().unwrap_or("none");
        says.push(format!("default SM-DP+ {smdp}"));
        says.push(format!("root SM-DS {}", addresses.root_smds));
    }
    if let Some(profiles) = found.profiles {
        let enabled = match found.has_enabled_profile {
            true => "one is enabled",
            false => "none is enabled",
        };
        says.push(format!("profiles: {profiles}, {enabled}"));
    }
    match &found.card_problem {
        Some(problem) => checks.push(Check::failed("Card", problem)),
        None if found.eid.is_none() => {
            checks.push(Check::not_looked_at("Card", "there was no time left"));
        }
        None => checks.push(Check::ok("Card", says.join(", "))),
    }
    for part in &found.unknown {
        let check = Check::failed("Card", &part.problem);
        let says = format!("its {} cannot be read: {}", part.part, check.says);
        checks.push(Check { says, ..check });
    }
    checks
}

/// How long the card takes for a small question.
fn speed(times_us: &[u64]) -> Option<Check> {
    let mut sorted = times_us.to_vec();
    sorted.sort_unstable();
    let (least, most) = (sorted.first()?, sorted.last()?);
    let ms = |us: u64| format!("{}.{} ms", us / 1000, us % 1000 / 100);
    let middle = sorted[sorted.len() / 2];
    let says = format!(
        "{} times GetEID: {} each, {} at least, {} at most",
        sorted.len(),
        ms(middle),
        ms(*least),
        ms(*most)
    );
    Some(match middle < SLOW_US {
        true => Check::ok("Speed", says),
        false => Check::new(
            Verdict::Warning,
            "Speed",
            says,
            "A download takes hundreds of commands: look for a faster port of the modem, or a higher \
             baud.",
        ),
    })
}

/// The clock, and what a server's certificate says about it.
pub fn clock(refusal: Option<&Refusal>) -> Check {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    let now = Timestamp(now);
    let next = "Set it, and let it be set at each start: `timedatectl set-ntp true`.";
    if now < EARLIEST_PLAUSIBLE {
        let says = format!("it was never set: it says {now}");
        return Check::new(Verdict::Failure, "Clock", says, next);
    }
    match refusal.and_then(|refusal| refusal.not_yet_valid.as_deref()) {
        Some(says) => Check::new(Verdict::Warning, "Clock", says, next),
        None => Check::ok("Clock", format!("it says {now}")),
    }
}

/// What a server showed.
#[derive(Debug, Default, Serialize)]
pub struct Server {
    /// Its address; `None` when there was none to connect to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The verdicts.
    pub checks: Vec<Check>,
    /// Its certificates, its own first.
    pub certificates: Vec<Certificate>,
    /// Why there is no secure connection.
    #[serde(skip)]
    pub refusal: Option<Refusal>,
}

impl Server {
    pub(super) fn none() -> Self {
        let says = "neither the card nor the configuration names one";
        let next = "Name one with --smdp.";
        Self {
            checks: vec![Check::new(Verdict::NotLookedAt, "Server", says, next)],
            ..Self::default()
        }
    }

    /// One that was not looked at, or could not be.
    pub(super) fn unseen(address: &str, check: Check) -> Self {
        Self {
            address: Some(address.to_owned()),
            checks: vec![check],
            ..Self::default()
        }
    }

    /// The verdicts on a server; `issuers` are the key identifiers that cards trust.
    pub fn of(address: &str, found: look::Server, issuers: &[String]) -> Self {
        Self {
            address: Some(address.to_owned()),
            checks: server(&found, issuers),
            certificates: found.certificates,
            refusal: found.refusal,
        }
    }
}

fn server(found: &look::Server, issuers: &[String]) -> Vec<Check> {
    let failed_at = found.refusal.as_ref().map(|refusal| refusal.step);
    let failed = |what| {
        let refusal = found.refusal.as_ref();
        refusal.map(|refusal| Check::failed(what, &refusal.problem))
    };
    if failed_at == Some(Step::Name) {
        let mut checks = Vec::from_iter(failed("DNS"));
        checks.push(Check::not_looked_at("TCP", "there is no address"));
        checks.push(Check::not_looked_at("TLS", "there is no connection"));
        return checks;
    }
    let mut checks = vec![match &found.target {
        Some(target) => Check::not_looked_at("DNS", &format!("connect_to says {target}")),
        None => Check::ok("DNS", "the name is resolved"),
    }];
    let Some(connected) = found.connected_ms else {
        checks.extend(failed("TCP"));
        checks.push(Check::not_looked_at("TLS", "there is no connection"));
        return checks;
    };
    checks.push(Check::ok("TCP", format!("connected in {connected} ms")));
    match (found.secured_ms, &found.tls) {
        (Some(secured), Some(version)) => {
            checks.push(Check::ok("TLS", format!("{version}, in {secured} ms")));
        }
        _ if failed_at == Some(Step::Certificate) => {
            checks.push(Check::not_looked_at("TLS", "the certificate is refused"));
        }
        _ => checks.extend(failed("TLS")),
    }
    match (found.certificates.first(), failed_at) {
        (_, Some(Step::Certificate)) => checks.extend(failed("Certificate")),
        (Some(own), None) => {
            let shown = &found.certificates;
            let issuer = shown.last().and_then(|last| last.issuer.as_deref());
            let says = format!(
                "{}, {} in the chain, issued below {}, valid until {}",
                own.subject,
                shown.len(),
                issuer.unwrap_or("an issuer without a name"),
                own.not_after
            );
            checks.push(Check::ok("Certificate", says));
            checks.extend(issuer.and_then(|issuer| trusted(issuer, issuers)));
        }
        _ => checks.push(Check::not_looked_at(
            "Certificate",
            "the server has shown none",
        )),
    }
    checks
}

/// Whether a card trusts the issuer as well, which every download needs.
fn trusted(issuer: &str, issuers: &[String]) -> Option<Check> {
    if issuers.is_empty() || issuers.iter().any(|known| known == issuer) {
        return None;
    }
    Some(Check::new(
        Verdict::Warning,
        "Certificate",
        "the card does not trust the issuer of this server",
        "Most servers show the card certificates of the same issuer: ask the operator for a server \
         whose issuer the card trusts.",
    ))
}

/// From here on a card is slow: thousands of commands of a large profile would take an hour.
const SLOW_US: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_looked_at_as_far_as_it_can_be_reached() {
        use Verdict::{Failure, NotLookedAt, Ok};
        let verdicts = |step, connected_ms| {
            let found = look::Server {
                connected_ms,
                refusal: Some(Refusal {
                    step,
                    problem: Problem::new(Code::ServerUnreachable),
                    not_yet_valid: Some("it begins tomorrow".to_owned()),
                }),
                ..look::Server::default()
            };
            assert_eq!(clock(found.refusal.as_ref()).verdict, Verdict::Warning);
            let server = Server::of("smdp.example.com", found, &[]);
            let checks = server.checks.into_iter();
            let verdicts = checks.map(|check| (check.what, check.verdict));
            verdicts.collect::<Vec<_>>()
        };
        assert_eq!(
            verdicts(Step::Name, None),
            [("DNS", Failure), ("TCP", NotLookedAt), ("TLS", NotLookedAt)]
        );
        assert_eq!(
            verdicts(Step::Connection, None),
            [("DNS", Ok), ("TCP", Failure), ("TLS", NotLookedAt)]
        );
        let after = |tls, certificate| {
            [
                ("DNS", Ok),
                ("TCP", Ok),
                ("TLS", tls),
                ("Certificate", certificate),
            ]
        };
        assert_eq!(
            verdicts(Step::Handshake, Some(10)),
            after(Failure, NotLookedAt)
        );
        assert_eq!(
            verdicts(Step::Certificate, Some(10)),
            after(NotLookedAt, Failure)
        );
    }

    #[test]
    fn a_slow_card_is_told() {
        let check = speed(&[2_000_000; 10]).unwrap();
        assert_eq!(check.verdict, Verdict::Warning);
        let check = speed(&[40_000, 50_000, 45_500]).unwrap();
        assert_eq!(check.verdict, Verdict::Ok);
        assert!(check.says.starts_with("3 times GetEID: 45.5 ms each"));
        assert_eq!(speed(&[]), None);
    }
}

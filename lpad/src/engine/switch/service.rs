//! Whether the profile in use is in service.

use std::path::Path;
use std::time::Duration;

use es9_client::Restrict;
use es10_apdu::types::Iccid;
use tokio::time::{Instant, sleep, sleep_until};

use crate::config::Roaming;
use crate::dialler::{self, Hook, Switched};
use crate::engine::life::Up;
use crate::engine::port::Must;
use crate::engine::watch::Service;
use crate::job::{Reason, Stage, Verdict};
use crate::memory::journal::OpenSwitch;
use crate::memory::operations::Ticket;
use crate::modem::{Cause, Look, Meaning, OpenPort, Registration, ports};

/// What came of looking whether a profile is in service.
pub(super) enum Verified {
    /// It is, at two looks.
    InService,
    /// The modem does not tell.
    Untold,
    /// It was not to be looked at.
    NotLooked,
    /// It is not.
    Lacks(Reason, Option<u8>),
    /// The daemon ends, and its next life looks anew.
    LeftOpen,
}

/// What one look found.
enum Found {
    InService,
    Untold,
    Lacks(Lack),
}

/// What is missing.
struct Lack {
    reason: Reason,
    cause: Option<u8>,
    /// Whether the network says that it stays so.
    is_refusal: bool,
    /// Whether a check failed, which cost traffic.
    is_of_check: bool,
    /// Whether looking for the network from the beginning would change nothing, or add to its trouble.
    keeps_radio: bool,
}

impl Lack {
    fn of(reason: Reason) -> Self {
        Self {
            reason,
            cause: None,
            is_refusal: false,
            is_of_check: false,
            keeps_radio: false,
        }
    }

    /// Of a modem that is not registered. A refusal without a cause is taken for one that stays.
    fn of_registration(look: &Look) -> Self {
        let meaning = look.cause.map(Cause::meaning);
        let reason = match (look.registration, meaning) {
            (_, Some(Meaning::Apn)) => Reason::Apn,
            (Registration::Denied, _) => Reason::Denied,
            _ => Reason::NotRegistered,
        };
        Self {
            cause: look.cause.map(Cause::number),
            is_refusal: match meaning {
                Some(meaning) => meaning == Meaning::Final,
                None => look.registration == Registration::Denied,
            },
            keeps_radio: matches!(meaning, Some(Meaning::Apn | Meaning::Congestion)),
            ..Self::of(reason)
        }
    }
}

impl<O: OpenPort, C: Restrict + 'static> Up<'_, O, C> {
    /// Whether the profile in use is in service now.
    pub(super) async fn is_in_service(&mut self) -> bool {
        matches!(self.look().await, Found::InService)
    }

    /// Whether the profile in use is in service, for the watch. A modem that does not tell may be.
    pub(crate) async fn service(&mut self) -> Service {
        let (reason, cause) = match self.look().await {
            Found::Lacks(Lack { reason, cause, .. }) => (reason, cause),
            Found::InService | Found::Untold => return Service::In,
        };
        let is_silent = match reason {
            Reason::ModemGone => true,
            // Whoever switched it off meant it.
            Reason::NotRegistered => self.desk.port.is_radio_off().await,
            _ => false,
        };
        match is_silent {
            true => Service::Silent,
            false => Service::Lacks(reason, cause),
        }
    }

    /// What to tell of a profile that is in use and not in service.
    pub(super) async fn lack(&mut self) -> Option<String> {
        let Found::Lacks(Lack { reason, .. }) = self.look().await else {
            return None;
        };
        let warning = format!("The profile is not in service: {}.", reason.lack());
        Some(match self.hint(reason) {
            Some(hint) => format!("{warning} {hint}"),
            None => warning,
        })
    }

    /// What helps on this modem when a profile lacks this, if that is known.
    pub(super) fn hint(&self, reason: Reason) -> Option<String> {
        let hint = &*self.desk.port.habits().not_registered;
        let is_about_it = matches!(reason, Reason::NotRegistered | Reason::Denied);
        (is_about_it && !hint.is_empty()).then(|| hint.to_owned())
    }

    /// Looks until the candidate is in service and stays so, or its time is over.
    ///
    /// A network often does not know a fresh subscription yet, so that its refusal counts only when it has
    /// lasted a while and comes again after the radio was restarted.
    pub(super) async fn verify(
        &mut self,
        ticket: &Ticket,
        open: &mut OpenSwitch,
        warnings: &mut Vec<String>,
    ) -> Verified {
        let config = &self.context.config.switch;
        let seconds = Duration::from_secs;
        let begun = Instant::now();
        // A client that is impatient with the new profile is not with the way back.
        let deadline_s = match open.is_returning() {
            true => open.deadline_s.max(config.deadline_s),
            false => open.deadline_s,
        };
        let end = begun + seconds(deadline_s);
        let restart_at = match config.radio_restart_s {
            0 => None,
            after_s => Some(begun + seconds(after_s)).filter(|at| *at < end),
        };
        let mut has_told = false;
        let mut failed_checks = 0;
        let mut has_restarted = false;
        let mut in_service_since = None;
        let mut refused_since = None;
        self.until(ticket, open, deadline_s);
        loop {
            // It may have been said while the modem took up the profile.
            if ticket.said() == Some(Verdict::Revert) && !open.is_returning() {
                return Verified::Lacks(Reason::Reverted, None);
            }
            let registration = self.registration().await;
            if let Ok(look) = &registration
                && !has_told
            {
                has_told = true;
                let roaming = look.registration.is_registered();
                let roaming = roaming.then(|| look.registration == Registration::Roaming);
                let to = Some(open.candidate);
                tokio::select! {
                    up = self.tell_dialler(Hook::Up, open.left(), to, roaming) => warnings.extend(up),
                    _ = ticket.verdict(&[Verdict::Revert]), if !open.is_returning() => {
                        return Verified::Lacks(Reason::Reverted, None);
                    }
                    () = ticket.daemon_ends() => return Verified::LeftOpen,
                }
                if std::mem::take(&mut open.is_down) {
                    self.keep(ticket, open);
                }
            }
            let found = match registration {
                Ok(look) => {
                    // The last look may begin just before the end.
                    let limit = end.max(Instant::now() + LAST_LOOK);
                    tokio::select! {
                        found = self.reach(&look) => found,
                        () = sleep_until(limit) => Found::Lacks(Lack::of(Reason::Connect)),
                        _ = ticket.verdict(&[Verdict::Revert]), if !open.is_returning() => {
                            return Verified::Lacks(Reason::Reverted, None);
                        }
                        () = ticket.daemon_ends() => return Verified::LeftOpen,
                    }
                }
                Err(lack) => Found::Lacks(lack),
            };
            let mut pause = LOOK;
            let lack = match found {
                Found::InService => {
                    let since = *in_service_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= seconds(config.stable_s) {
                        return Verified::InService;
                    }
                    // Checks cost traffic: two are enough.
                    if !config.check.is_empty() {
                        pause = seconds(config.stable_s);
                    }
                    None
                }
                // One that has told before can: that it does not now is no good sign. On the way back there
                // may be nothing better.
                Found::Untold
                    if !self.desk.port.tells_registration()
                        || open.is_returning() && Instant::now() >= end =>
                {
                    return Verified::Untold;
                }
                Found::Untold => {
                    in_service_since = None;
                    Some(Lack::of(Reason::ModemGone))
                }
                Found::Lacks(lack) => {
                    in_service_since = None;
                    if lack.is_of_check {
                        pause = PAUSES[failed_checks.min(PAUSES.len() - 1)];
                        failed_checks += 1;
                    }
                    Some(lack)
                }
            };
            let now = Instant::now();
            let is_refused = lack.as_ref().is_some_and(|lack| lack.is_refusal);
            refused_since = match is_refused {
                true => refused_since.or(Some(now)),
                false => None,
            };
            let is_final =
                refused_since.is_some_and(|since| now - since >= seconds(config.reject_grace_s));
            if let Some(lack) = lack {
                let is_over = now >= end || is_final && has_restarted;
                if is_over {
                    return Verified::Lacks(lack.reason, lack.cause);
                }
                if let Some(at) = restart_at
                    && !has_restarted
                    && !lack.keeps_radio
                    && (now >= at || is_final)
                {
                    has_restarted = true;
                    // It ends the data connection.
                    has_told = false;
                    self.restart_radio(Must::of(open)).await;
                    ticket.stage(Stage::Verifying);
                }
            }
            tokio::select! {
                _ = ticket.verdict(&[Verdict::Revert]), if !open.is_returning() => {
                    return Verified::Lacks(Reason::Reverted, None);
                }
                () = ticket.daemon_ends() => return Verified::LeftOpen,
                () = sleep(pause) => {}
            }
        }
    }

    /// Lets the modem look for its network from the beginning.
    pub(crate) async fn restart_radio(&mut self, must: Must) {
        let ladder = &self.desk.port.habits().ladder;
        let mut rungs = ladder.iter();
        let Some(rung) = rungs.find(|rung| !rung.send.is_empty()).cloned() else {
            return;
        };
        tracing::info!(%rung, "no service yet: the radio is restarted");
        if let Err(failure) = self.desk.port.reset(&rung, must).await {
            let failure = failure.shortened();
            tracing::warn!(failure, "this reset did not work");
        }
        if let Some(warning) = self.finish_reset().await {
            tracing::warn!("{warning}");
        }
    }

    /// Looks once.
    async fn look(&mut self) -> Found {
        match self.registration().await {
            Ok(look) => self.reach(&look).await,
            Err(lack) => Found::Lacks(lack),
        }
    }

    /// Asks the modem whether it is registered as it should be. One that does not tell may be.
    async fn registration(&mut self) -> Result<Look, Lack> {
        let look = self.desk.port.service().await.map_err(|error| {
            tracing::debug!(%error, "the modem cannot be asked");
            Lack::of(Reason::ModemGone)
        })?;
        match look.registration {
            Registration::Searching | Registration::Limited | Registration::Denied => {
                Err(Lack::of_registration(&look))
            }
            Registration::Roaming if self.context.config.switch.roaming == Roaming::HomeOnly => {
                Err(Lack::of(Reason::HomeOnly))
            }
            Registration::NotReported if look.is_silent => Err(Lack::of(Reason::ModemGone)),
            Registration::NotReported | Registration::Roaming | Registration::Home => Ok(look),
        }
    }

    /// Looks for an address, and whether what is configured can be reached.
    async fn reach(&mut self, look: &Look) -> Found {
        let config = &self.context.config.switch;
        let interface = self.interface();
        // Over no other way, if the modem's interface is not there.
        let is_missing = interface.is_none() && !config.interface.is_empty();
        if is_missing || interface.is_none() && look.has_address == Some(false) {
            return Found::Lacks(Lack::of(Reason::NoAddress));
        }
        let reached = self.context.reach.look(config, interface.as_deref()).await;
        let is_proven = interface.is_some() || !config.check.is_empty();
        match reached {
            Err(unreachable) => Found::Lacks(Lack {
                is_of_check: unreachable.reason != Reason::NoAddress,
                ..Lack::of(unreachable.reason)
            }),
            Ok(()) if look.registration == Registration::NotReported && !is_proven => Found::Untold,
            Ok(()) => Found::InService,
        }
    }

    /// The modem's network interface, if one is configured and there.
    fn interface(&self) -> Option<String> {
        let config = &self.context.config;
        match &*config.switch.interface {
            "" => None,
            "auto" => {
                let port = (!config.is_any_port()).then_some(&*config.port);
                ports::interface(Path::new("/"), port, &self.context.modems)
            }
            name => Some(name.to_owned()),
        }
    }

    /// Tells the dialler of a switch, if one is configured; gives what is to be said of one that fails.
    pub(super) async fn tell_dialler(
        &mut self,
        hook: Hook,
        from: Option<Iccid>,
        to: Option<Iccid>,
        roaming: Option<bool>,
    ) -> Option<String> {
        let config = &self.context.config;
        let interface = self.interface();
        let switched = Switched {
            from,
            to,
            profile: to.and_then(|to| config.profile(to)),
            roaming,
            interface: interface.as_deref(),
        };
        dialler::tell(&config.dialler, hook, &switched).await
    }
}

/// How long checks may take that begin when the time is almost over.
const LAST_LOOK: Duration = Duration::from_secs(30);
/// How long after a check that failed the next ones are made.
const PAUSES: [Duration; 3] = [
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
];
/// How often it is looked.
const LOOK: Duration = Duration::from_secs(2);

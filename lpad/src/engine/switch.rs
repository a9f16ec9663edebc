//! Enabling and disabling: until the modem really uses what it should.
//!
//! SGP.22 v2.5 sections 3.2.1 and 3.2.2.

use std::time::Duration;

use es9_client::Connect;
use es10_apdu::es10c::EnableResult;
use es10_apdu::transport::Outcome;
use es10_apdu::types::Iccid;
use tokio::time::sleep;

use super::desk::MODEM_RETURNS;
use super::life::Up;
use super::port::CardPort;
use super::reading;
use super::waiting::Patience;
use crate::commit::Committed;
use crate::config::{AfterEnable, EuiccConfig};
use crate::failure::{Holdout, JobFailure};
use crate::job::{Achievement, Part, Stage};
use crate::memory::operations::Ticket;
use crate::memory::snapshot::{Known, Profile, ProfileState, find};
use crate::modem::{OpenPort, Registration, ReportedProfile};
use crate::procedure::{Card, FunctionError, profiles};

/// What the card said to a switch.
enum Said {
    /// The profile is in the wanted state already.
    NothingToChange(Profile),
    /// It accepted, or its answer is lost.
    Switched(Option<JobFailure>),
}

impl<O: OpenPort, C: Connect + 'static> Up<'_, O, C> {
    /// Brings a profile into the wanted state; that it is in it already is a success.
    ///
    /// It begins with reading the card, so that it may be started again while the switch was not sent.
    pub(super) async fn switch(
        &mut self,
        ticket: &Ticket,
        iccid: Iccid,
        wanted: ProfileState,
    ) -> Result<Achievement, JobFailure> {
        let waits = self.context.waits();
        let patience = Patience::new(&waits, MODEM_RETURNS);
        let mut may_ask_again = true;
        loop {
            match self.say(ticket, iccid, wanted).await {
                Ok(Said::NothingToChange(profile)) => {
                    return self.confirm_unchanged(&profile, wanted).await;
                }
                Ok(Said::Switched(lost)) => {
                    match self.confirm(ticket, iccid, wanted, lost).await {
                        // The card was read since, and has not switched: asking again is safe.
                        Err(JobFailure::Function(error)) if may_ask_again => {
                            tracing::warn!(%error, "the switch got lost on its way");
                            may_ask_again = false;
                        }
                        ended => return ended,
                    }
                }
                // The switch itself was not sent, or it would be `Switched`.
                Err(failure) if failure.loses_card() && patience.again(&failure).await => {}
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Reads the profile, and tells the card what is wanted when it is not so already.
    async fn say(
        &mut self,
        ticket: &Ticket,
        iccid: Iccid,
        wanted: ProfileState,
    ) -> Result<Said, JobFailure> {
        ticket.stage(match wanted {
            ProfileState::Enabled => Stage::Enabling,
            ProfileState::Disabled => Stage::Disabling,
        });
        let context = self.context;
        // How the modem takes a switch has to be known before the first one.
        self.desk.port.at().await?;
        let habits = self.desk.port.habits();
        let (refresh, needs_profile) = (habits.refresh_flag, habits.needs_profile);
        self.desk
            .in_session(async |session| {
                let profiles = reading::profiles(&mut session.card).await?;
                let profile = find(&profiles, iccid);
                context.update(|known| known.profiles = Known::Value(profiles));
                let profile = profile?;
                if profile.state == wanted {
                    return Ok(Said::NothingToChange(profile));
                }
                if needs_profile && wanted == ProfileState::Disabled {
                    return Err(JobFailure::LastProfile);
                }
                let committed = ticket.commit()?;
                // A refresh closes the channel; that it cannot be closed then does not matter.
                match request(&mut session.card, iccid, wanted, refresh, &committed).await {
                    Ok(()) => Ok(Said::Switched(None)),
                    Err(error) if error.outcome() == Outcome::Unknown => {
                        tracing::warn!(%error, "the answer is lost; the card will tell");
                        Ok(Said::Switched(Some(error.into())))
                    }
                    Err(error) => Err(error.into()),
                }
            })
            .await
    }

    /// The card is as wanted already; the modem may still use another profile, after a switch that it
    /// did not follow.
    async fn confirm_unchanged(
        &mut self,
        profile: &Profile,
        wanted: ProfileState,
    ) -> Result<Achievement, JobFailure> {
        let mut unfinished = None;
        if wanted == ProfileState::Enabled {
            let port = &mut self.desk.port;
            let printed = profile.iccid.to_string();
            let expected = Some(printed.as_str());
            let uses_another = |answer: &ReportedProfile| {
                matches!(answer, ReportedProfile::Iccid(_)) && !answer.proves(expected)
            };
            if port
                .wait_for_profile(expected, Duration::ZERO)
                .await
                .is_ok_and(|answer| uses_another(&answer))
            {
                tracing::info!("the modem uses another profile than the card");
                let noticed = make_notice(port, expected, &self.context.config).await?;
                unfinished = self.finish_reset().await;
                if uses_another(&noticed) {
                    return Err(JobFailure::NotSwitched(Holdout::Modem));
                }
            }
        }
        Ok(Achievement {
            nothing_to_change: true,
            warnings: unfinished.into_iter().collect(),
            ..profile.achieved()
        })
    }

    /// Finds out what the switch came to, at the card and at the modem.
    async fn confirm(
        &mut self,
        ticket: &Ticket,
        iccid: Iccid,
        wanted: ProfileState,
        lost: Option<JobFailure>,
    ) -> Result<Achievement, JobFailure> {
        ticket.stage(Stage::RefreshingModem);
        let config = &self.context.config;
        let expected = (wanted == ProfileState::Enabled).then(|| iccid.to_string());
        let noticed = make_notice(&mut self.desk.port, expected.as_deref(), config).await;
        let unfinished = self.finish_reset().await;
        let registration = match &noticed {
            Ok(answer) if expected.is_some() && answer.proves(expected.as_deref()) => {
                self.registration().await
            }
            _ => None,
        };
        let back = match self.when_back(ticket, None).await {
            Ok(back) => back,
            Err(since) => {
                let lost = lost.unwrap_or(JobFailure::NotSwitched(Holdout::Modem));
                return Err(JobFailure::in_doubt(lost, Some(since)));
            }
        };
        let now = find(back.profiles.of(Part::Profiles)?, iccid)?;
        if now.state != wanted {
            return Err(lost.unwrap_or(JobFailure::NotSwitched(Holdout::Card)));
        }
        let warning = match noticed {
            Ok(answer) if answer.proves(expected.as_deref()) => None,
            Ok(ReportedProfile::Iccid(_)) => return Err(JobFailure::NotSwitched(Holdout::Modem)),
            Ok(ReportedProfile::None | ReportedProfile::NotReported)
                if config.after_enable == AfterEnable::Nothing =>
            {
                None
            }
            Ok(ReportedProfile::None | ReportedProfile::NotReported) => Some(NOT_TOLD.to_owned()),
            Err(failure) => Some(format!("The modem could not be asked: {failure}.")),
        };
        Ok(back.finished.add_to(Achievement {
            warnings: [warning, unfinished, registration]
                .into_iter()
                .flatten()
                .collect(),
            ..now.achieved()
        }))
    }

    /// Ends a reset that a rung left unfinished; gives what is to be told of it.
    async fn finish_reset(&mut self) -> Option<String> {
        match self.desk.port.finish_reset().await {
            Ok(unfinished) => unfinished,
            Err(failure) => {
                let failure = failure.shortened();
                tracing::warn!(failure, "the modem may still be off");
                None
            }
        }
    }

    /// What to tell of a modem that uses the right profile and finds no network with it, nothing of one
    /// that does. That it is so does not undo the switch: operator, place and antenna decide on it too.
    async fn registration(&mut self) -> Option<String> {
        let port = &mut self.desk.port;
        let said = match port.registration().await {
            Ok(said) => said,
            Err(error) => {
                tracing::debug!(%error, "the modem does not tell whether it is registered");
                return None;
            }
        };
        let state = match said {
            Registration::Done | Registration::NotReported => return None,
            Registration::NotYet => "is not registered in a network yet",
            Registration::Denied => "is refused by the network",
        };
        let warning = format!("The modem uses the profile, and {state}.");
        Some(match &*port.habits().not_registered {
            "" => warning,
            hint => format!("{warning} {hint}"),
        })
    }
}

/// Asks with a refresh if the modem acts on it; when the card stays busy with the modem, at last without
/// one.
async fn request(
    card: &mut impl Card,
    iccid: Iccid,
    wanted: ProfileState,
    refresh: bool,
    committed: &Committed,
) -> Result<(), FunctionError> {
    for attempt in 1..=BUSY_ATTEMPTS {
        let may_ask_again = attempt < BUSY_ATTEMPTS;
        let refresh = refresh && may_ask_again;
        let result = match wanted {
            ProfileState::Enabled => profiles::enable(card, iccid, refresh, committed).await,
            ProfileState::Disabled => profiles::disable(card, iccid, refresh, committed).await,
        };
        match result {
            Err(FunctionError::Refused { refusal, .. })
                if may_ask_again && refusal.code == EnableResult::CAT_BUSY.0 =>
            {
                tracing::info!(attempt, "the card is busy with the modem");
                sleep(BUSY_PAUSE).await;
            }
            result => return result,
        }
    }
    Ok(())
}

/// Waits until the modem uses what it should. One that does not by itself is reset, by one rung of its
/// ladder after the other.
async fn make_notice<O: OpenPort>(
    port: &mut CardPort<O>,
    expected: Option<&str>,
    config: &EuiccConfig,
) -> Result<ReportedProfile, JobFailure> {
    #[cfg(feature = "pcsc")]
    if config.reader().is_some() {
        port.restart_card().await?;
        let expected = expected.map(str::to_owned);
        return Ok(expected.map_or(ReportedProfile::None, ReportedProfile::Iccid));
    }
    let strategy = config.after_enable;
    let by_itself = Duration::from_secs(port.habits().refresh_s);
    let by_itself = match strategy {
        AfterEnable::Radio => ReportedProfile::NotReported,
        AfterEnable::Auto | AfterEnable::Nothing => port
            .wait_for_profile(expected, by_itself)
            .await
            .unwrap_or(ReportedProfile::NotReported),
    };
    let is_over = match strategy {
        AfterEnable::Radio => false,
        AfterEnable::Nothing => true,
        // A modem that does not tell is not reset on suspicion: it would lose its connection.
        AfterEnable::Auto => by_itself.proves(expected) || port.tells_no_profile(),
    };
    if is_over {
        return Ok(by_itself);
    }
    let mut noticed = Ok(by_itself);
    for rung in port.habits().ladder.clone() {
        tracing::info!(%rung, "the modem does not notice by itself: resetting it");
        if let Err(failure) = port.reset(&rung).await {
            if matches!(failure, JobFailure::Journal(_)) {
                return Err(failure);
            }
            let failure = failure.shortened();
            tracing::warn!(failure, "this reset did not work");
        }
        let within = Duration::from_secs(rung.within_s());
        noticed = port.wait_for_profile(expected, within).await;
        let is_over = match &noticed {
            Ok(answer) => answer.proves(expected) || port.tells_no_profile(),
            Err(_) => false,
        };
        if is_over {
            break;
        }
    }
    noticed
}

/// What is said of a modem that cannot be asked for the ICCID.
const NOT_TOLD: &str =
    "The modem does not tell which profile it uses; if it finds no network, restart it.";
/// How often a busy card is asked, the last time without refresh.
const BUSY_ATTEMPTS: u32 = 6;
/// How long a busy card is left alone.
const BUSY_PAUSE: Duration = Duration::from_secs(2);

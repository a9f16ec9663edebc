//! Bringing one profile into use: on the card and at the modem.

use std::time::Duration;

use es9_client::Restrict;
use es10_apdu::es10c::EnableResult;
use es10_apdu::transport::Outcome as Answer;
use es10_apdu::types::{Iccid, PprIds, ProfileClass};
use tokio::time::sleep;

use super::notice::make_notice;
use super::record_of;
use crate::commit::Committed;
use crate::config::AfterEnable;
use crate::engine::change::Deliver;
use crate::engine::desk::MODEM_RETURNS;
use crate::engine::life::Up;
use crate::engine::port::Must;
use crate::engine::reading;
use crate::engine::waiting::Patience;
use crate::failure::{Guard, Holdout, JobFailure};
use crate::job::{Achievement, Part, Stage, Verdict};
use crate::memory::journal::OpenSwitch;
use crate::memory::operations::Ticket;
use crate::memory::snapshot::{Known, Profile, ProfileState, find, in_use};
use crate::modem::{OpenPort, ReportedProfile};
use crate::procedure::{Card, FunctionError, profiles};

/// What the card said to a switch.
enum Said {
    /// The profile is in the wanted state already, and nothing was begun.
    NothingToChange(Profile),
    /// The profile is in the wanted state, or the card accepted, or its answer is lost.
    Switched(Option<JobFailure>),
}

/// A profile in the wanted state.
pub(super) enum Brought {
    /// It was in that state before.
    Unchanged(Profile),
    InUse(InUse),
}

/// A profile in the wanted state on the card and, as far as that tells, at the modem.
pub(super) struct InUse {
    pub(super) profile: Profile,
    pub(super) warnings: Vec<String>,
}

impl<O: OpenPort, C: Restrict + 'static> Up<'_, O, C> {
    /// Brings the candidate of a switch into use. That it is already is a success.
    pub(super) async fn bring(
        &mut self,
        ticket: &Ticket,
        open: &mut OpenSwitch,
    ) -> Result<Brought, JobFailure> {
        self.bring_to(ticket, open.candidate, Some(open)).await
    }

    /// Brings a profile into use by a switch, or, without one, out of it: on the card and at the modem.
    ///
    /// It begins with reading the card, so that it may be started again while the switch was not sent.
    pub(super) async fn bring_to(
        &mut self,
        ticket: &Ticket,
        iccid: Iccid,
        mut open: Option<&mut OpenSwitch>,
    ) -> Result<Brought, JobFailure> {
        let wanted = match &open {
            Some(_) => ProfileState::Enabled,
            None => ProfileState::Disabled,
        };
        let waits = self.context.waits();
        let patience = Patience::new(&waits, MODEM_RETURNS);
        let mut may_ask_again = true;
        loop {
            let lost = match self.say(ticket, iccid, open.as_deref_mut()).await {
                Ok(Said::NothingToChange(profile)) => return Ok(Brought::Unchanged(profile)),
                Ok(Said::Switched(lost)) => lost,
                // The switch itself was not sent, or it would be `Switched`.
                Err(failure) if failure.loses_card() && patience.again(&failure).await => continue,
                Err(failure) => return Err(failure),
            };
            let must = open.as_deref().map_or(Must::IfKept, Must::of);
            match self.confirm(ticket, iccid, wanted, must, lost).await {
                // The card was read since, and has not switched: asking again is safe.
                Err(JobFailure::Function(error)) if may_ask_again => {
                    tracing::warn!(%error, "the switch got lost on its way");
                    may_ask_again = false;
                }
                ended => return ended.map(Brought::InUse),
            }
        }
    }

    /// Reads the profiles, and tells the card what is wanted if it is not so already. What is to be done
    /// is in the journal before.
    async fn say(
        &mut self,
        ticket: &Ticket,
        iccid: Iccid,
        mut open: Option<&mut OpenSwitch>,
    ) -> Result<Said, JobFailure> {
        let wanted = match &open {
            Some(_) => ProfileState::Enabled,
            None => ProfileState::Disabled,
        };
        if wanted == ProfileState::Disabled {
            ticket.stage(Stage::Disabling);
        }
        let context = self.context;
        // How the modem takes a switch has to be known before the first one.
        self.desk.port.at().await?;
        let habits = self.desk.port.habits();
        let (refresh, needs_profile) = (habits.refresh_flag, habits.needs_profile);
        self.desk
            .in_session(async |session| {
                let profiles = reading::profiles(&mut session.card).await?;
                let profile = find(&profiles, iccid);
                let from = in_use(&profiles);
                let others = profiles.iter().filter(|other| other.iccid != iccid);
                let has_others = others
                    .filter(|other| other.class == ProfileClass::OPERATIONAL)
                    .count()
                    > 0;
                context.update(|known| known.profiles = Known::Value(profiles));
                let profile = profile?;
                let is_new = open.as_ref().is_none_or(|open| open.looks == 0);
                if profile.state == wanted {
                    return Ok(match is_new {
                        true => Said::NothingToChange(profile),
                        false => Said::Switched(None),
                    });
                }
                if needs_profile && wanted == ProfileState::Disabled {
                    return Err(JobFailure::LastProfile);
                }
                if let Some(open) = &mut open
                    && is_new
                {
                    let is_for_good = profile.policy_rules.contains(PprIds::PPR1);
                    if is_for_good && has_others && !open.accepts_no_return {
                        return Err(JobFailure::WouldStrand(Guard::NoWayBack));
                    }
                    open.from = from;
                    open.looks = 1;
                    context.intend(record_of(ticket, open))?;
                }
                let committed = ticket.commit()?;
                if let Some(open) = &open {
                    ticket.switching(open.shown());
                    if open.is_undoable() {
                        ticket.hears(&[Verdict::Revert]);
                    }
                }
                // A refresh closes the channel; that it cannot be closed then does not matter.
                match request(&mut session.card, iccid, wanted, refresh, &committed).await {
                    Ok(()) => Ok(Said::Switched(None)),
                    Err(error) if error.outcome() == Answer::Unknown => {
                        tracing::warn!(%error, "the answer is lost; the card will tell");
                        Ok(Said::Switched(Some(error.into())))
                    }
                    Err(error) => Err(error.into()),
                }
            })
            .await
    }

    /// The profile is enabled already; the modem may still use another one, after a switch that it did not
    /// follow. That it is out of service is said: the client may have wanted to know.
    pub(super) async fn confirm_unchanged(
        &mut self,
        profile: &Profile,
    ) -> Result<Achievement, JobFailure> {
        let mut unfinished = None;
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
            let noticed = make_notice(port, expected, &self.context.config, Must::IfKept).await?;
            unfinished = self.finish_reset().await;
            if uses_another(&noticed) {
                return Err(JobFailure::NotSwitched(Holdout::Modem));
            }
        }
        let lack = self.lack().await;
        Ok(Achievement {
            nothing_to_change: true,
            warnings: unfinished.into_iter().chain(lack).collect(),
            ..profile.achieved()
        })
    }

    /// Makes the modem notice what the card was told, and reads from the card what came of it.
    async fn confirm(
        &mut self,
        ticket: &Ticket,
        iccid: Iccid,
        wanted: ProfileState,
        must: Must,
        lost: Option<JobFailure>,
    ) -> Result<InUse, JobFailure> {
        ticket.stage(Stage::RefreshingModem);
        let config = &self.context.config;
        let expected = (wanted == ProfileState::Enabled).then(|| iccid.to_string());
        let noticed = make_notice(&mut self.desk.port, expected.as_deref(), config, must).await;
        let unfinished = self.finish_reset().await;
        let profiles = match self.when_back(ticket, None, Deliver::Later).await {
            Ok(back) => back.profiles,
            Err(since) => {
                let lost = lost.unwrap_or(JobFailure::NotSwitched(Holdout::Modem));
                return Err(JobFailure::in_doubt(lost, Some(since)));
            }
        };
        let profile = find(profiles.of(Part::Profiles)?, iccid)?;
        if profile.state != wanted {
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
        Ok(InUse {
            profile,
            warnings: warning.into_iter().chain(unfinished).collect(),
        })
    }

    /// Ends a reset that a rung left unfinished; gives what is to be told of it.
    pub(super) async fn finish_reset(&mut self) -> Option<String> {
        match self.desk.port.finish_reset().await {
            Ok(unfinished) => unfinished,
            Err(failure) => {
                let failure = failure.shortened();
                tracing::warn!(failure, "the modem may still be off");
                None
            }
        }
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

/// What is said of a modem that cannot be asked for the ICCID.
const NOT_TOLD: &str =
    "The modem does not tell which profile it uses; if it finds no network, restart it.";
/// How often a busy card is asked, the last time without refresh.
const BUSY_ATTEMPTS: u32 = 6;
/// How long a busy card is left alone.
const BUSY_PAUSE: Duration = Duration::from_secs(2);

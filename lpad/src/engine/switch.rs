//! Enabling and disabling: until the modem really uses what it should.
//!
//! SGP.22 v2.5 sections 3.2.1 and 3.2.2.

use std::time::Duration;

use es9_client::Connect;
use es10_apdu::es10c::EnableResult;
use es10_apdu::isdr::Isdr;
use es10_apdu::transport::{Outcome, Transport};
use es10_apdu::types::Iccid;
use tokio::time::sleep;

use super::context::Context;
use super::port::{CardPort, PortError};
use super::session::{MODEM_RETURNS, close, commit, profiles_when_back, wind_up_anew};
use super::{Engine, Unfinished, reading};
use crate::commit::Committed;
use crate::config::AfterEnable;
use crate::job::{Achievement, Stage};
use crate::memory::operations::Ticket;
use crate::memory::snapshot::{Profile, ProfileState};
use crate::modem::{self, Answer, OpenPort};
use crate::problem::{Code, Problem};
use crate::procedure::{FunctionError, profiles};

impl<O: OpenPort, C: Connect + 'static> Engine<O, C> {
    /// Brings a profile into the wanted state; that it is in it already is a success.
    ///
    /// It begins with reading the card, so that it may be begun again when the card was away.
    pub(super) async fn switch(
        &mut self,
        ticket: &Ticket,
        iccid: &str,
        wanted: ProfileState,
    ) -> Result<Achievement, Unfinished> {
        match self.switch_once(ticket, iccid, wanted).await {
            Err(Unfinished { problem, .. }) if problem.code.is_card_out_of_reach() => {
                tracing::warn!(%problem, "trying again when the card is back");
                let back = profiles_when_back(&mut self.card, MODEM_RETURNS).await;
                back.map_err(Unfinished::in_doubt)?;
                self.switch_once(ticket, iccid, wanted).await
            }
            ended => ended,
        }
    }

    async fn switch_once(
        &mut self,
        ticket: &Ticket,
        iccid: &str,
        wanted: ProfileState,
    ) -> Result<Achievement, Unfinished> {
        let number = parse(iccid)?;
        ticket.stage(match wanted {
            ProfileState::Enabled => Stage::Enabling,
            ProfileState::Disabled => Stage::Disabling,
        });
        let mut isdr = self.card.session().await.map_err(Problem::from)?;
        let profile = match current(&self.context, &mut isdr, iccid).await {
            Ok(profile) if profile.state != wanted => profile,
            settled => {
                let (isdr, _) = commit(ticket, isdr).await?;
                close(isdr).await;
                let there = achieved(&settled?);
                return Ok(Achievement {
                    nothing_to_change: true,
                    ..there
                });
            }
        };
        let (mut isdr, committed) = commit(ticket, isdr).await?;
        let switched = request(&mut isdr, number, wanted, &committed).await;
        // A refresh closes the channel; then this fails, which does not matter.
        close(isdr).await;
        let doubt = match switched {
            Ok(()) => None,
            Err(FunctionError::Call(error)) if error.outcome() == Outcome::Unknown => {
                tracing::warn!(%error, "the answer is lost; the card will tell");
                Some(Problem::from(error))
            }
            Err(error) => return Err(Problem::from(error).into()),
        };
        self.confirm(ticket, &profile, wanted, doubt).await
    }

    /// Finds out what the switch came to, at the card and at the modem.
    async fn confirm(
        &mut self,
        ticket: &Ticket,
        profile: &Profile,
        wanted: ProfileState,
        doubt: Option<Problem>,
    ) -> Result<Achievement, Unfinished> {
        let Self {
            card,
            context,
            outbox,
            ..
        } = self;
        ticket.stage(Stage::RefreshingModem);
        let expected = (wanted == ProfileState::Enabled).then_some(profile.iccid.as_str());
        let after_enable = context.config.after_enable;
        let noticed = make_notice(card, expected, after_enable).await;
        ticket.stage(Stage::ReadingCard);
        let back = profiles_when_back(card, MODEM_RETURNS).await;
        let now = find(&back.map_err(Unfinished::in_doubt)?, &profile.iccid);
        let mut wound_up = wind_up_anew(card, context, outbox, ticket).await;
        let now = now?;
        if now.state != wanted {
            let problem = doubt.unwrap_or_else(|| Problem::new(Code::SwitchNotConfirmed));
            return Err(problem.into());
        }
        let warnings = &mut wound_up.warnings;
        match noticed {
            Ok(answer) if answer.proves(expected) => {}
            Ok(Answer::Iccid(_)) => return Err(Problem::new(Code::SwitchNotConfirmed).into()),
            Ok(Answer::None | Answer::NotTold) if after_enable == AfterEnable::Nothing => {}
            Ok(Answer::None | Answer::NotTold) => warnings.push(NOT_TOLD.to_owned()),
            Err(error) => warnings.push(format!("The modem could not be asked: {error}.")),
        }
        Ok(wound_up.add_to(achieved(&now)))
    }
}

/// The profile as it is on the card now.
async fn current<C, T: Transport>(
    context: &Context<C>,
    isdr: &mut Isdr<T>,
    iccid: &str,
) -> Result<Profile, Problem> {
    let profiles = reading::profiles(isdr).await?;
    let found = find(&profiles, iccid);
    context.update(|known| known.profiles = profiles);
    found
}

pub(super) fn parse(iccid: &str) -> Result<Iccid, Problem> {
    iccid
        .parse()
        .map_err(|error| Problem::because(Code::UnknownProfile, &error))
}

pub(super) fn find(profiles: &[Profile], iccid: &str) -> Result<Profile, Problem> {
    profiles
        .iter()
        .find(|profile| profile.iccid == iccid)
        .cloned()
        .ok_or_else(|| {
            Problem::new(Code::UnknownProfile).detail(format!("No profile {iccid} is on the card."))
        })
}

pub(super) fn achieved(profile: &Profile) -> Achievement {
    Achievement {
        iccid: Some(profile.iccid.clone()),
        profile_name: Some(
            profile
                .nickname
                .clone()
                .unwrap_or_else(|| profile.name.clone()),
        )
        .filter(|name| !name.is_empty()),
        enabled: Some(profile.state == ProfileState::Enabled),
        ..Achievement::default()
    }
}

/// Asks with a refresh; when the card stays busy with the modem, at last without one.
async fn request<T: Transport>(
    isdr: &mut Isdr<T>,
    iccid: Iccid,
    wanted: ProfileState,
    committed: &Committed,
) -> Result<(), FunctionError> {
    for attempt in 1..=BUSY_ATTEMPTS {
        let refresh = attempt < BUSY_ATTEMPTS;
        let result = match wanted {
            ProfileState::Enabled => profiles::enable(isdr, iccid, refresh, committed).await,
            ProfileState::Disabled => profiles::disable(isdr, iccid, refresh, committed).await,
        };
        match result {
            Err(FunctionError::Refused { refusal, .. })
                if refresh && refusal.code == EnableResult::CAT_BUSY.0 =>
            {
                tracing::info!(attempt, "the card is busy with the modem");
                sleep(BUSY_PAUSE).await;
            }
            result => return result,
        }
    }
    Ok(())
}

/// Waits until the modem uses what it should, and resets its radio when it does not by itself.
async fn make_notice<O: OpenPort>(
    card: &mut CardPort<O>,
    expected: Option<&str>,
    strategy: AfterEnable,
) -> Result<Answer, PortError> {
    let by_itself = match strategy {
        AfterEnable::Radio => Answer::NotTold,
        AfterEnable::Auto | AfterEnable::Nothing => wait(card, expected, BY_ITSELF)
            .await
            .unwrap_or(Answer::NotTold),
    };
    let is_over = match strategy {
        AfterEnable::Radio => false,
        AfterEnable::Nothing => true,
        // A modem that does not tell is not reset on suspicion: it would lose its connection.
        AfterEnable::Auto => by_itself.proves(expected) || card.tells_no_profile(),
    };
    if is_over {
        return Ok(by_itself);
    }
    tracing::info!("the modem does not notice by itself: resetting its radio");
    let reset = modem::reset_radio(card.at().await?).await;
    // The modem may have gone away on purpose; whether it comes back shows next.
    if let Err(error) = reset {
        tracing::debug!(%error, "the port went away with the reset");
    }
    card.card_was_reset();
    wait(card, expected, AFTER_RESET).await
}

async fn wait<O: OpenPort>(
    card: &mut CardPort<O>,
    expected: Option<&str>,
    longest: Duration,
) -> Result<Answer, PortError> {
    let end = tokio::time::Instant::now() + longest;
    loop {
        let left = end.saturating_duration_since(tokio::time::Instant::now());
        let error = match card.wait_for_profile(expected, left).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if left.is_zero() {
            return Err(error);
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// What is said of a modem that cannot be asked for the ICCID.
const NOT_TOLD: &str =
    "The modem does not tell which profile it uses; if it finds no network, restart it.";
/// How often a busy card is asked, the last time without refresh.
const BUSY_ATTEMPTS: u32 = 6;
/// How long a busy card is left alone.
const BUSY_PAUSE: Duration = Duration::from_secs(2);
/// How long the modem has to notice by itself.
const BY_ITSELF: Duration = Duration::from_secs(10);
/// How long the modem has to notice after its radio was reset.
const AFTER_RESET: Duration = Duration::from_secs(60);

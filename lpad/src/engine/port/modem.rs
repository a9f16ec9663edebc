//! What the engine asks of the modem itself: who it is, which profile it uses, whether it is registered,
//! and that it reads the card again.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use es10_apdu::at::AtPort;
use tokio::time::sleep;

use super::CardPort;
use crate::config::{Habits, Rung};
use crate::engine::waiting::Patience;
use crate::failure::{JobFailure, PortFailure};
use crate::job::WaitingOn;
use crate::modem::table::Known;
use crate::modem::{self, Identity, OpenPort, ProfileInUse, Registration, ReportedProfile};

impl<O: OpenPort> CardPort<O> {
    /// Asks a modem whose port was just opened who it is, and looks up what is known of it.
    pub(super) async fn recognise(&mut self, port: &mut AtPort<O::Port>) -> Result<(), JobFailure> {
        let asked = pin!(Identity::ask(port));
        let (on, longest) = (WaitingOn::Modem, IDENTITY);
        let identity = self.waits.on(on, longest, asked).await;
        let identity = identity.map_err(PortFailure::from)?;
        // A modem that has just started may not know its own name yet.
        let is_named = identity.manufacturer.is_some() || identity.model.is_some();
        if self.known.family.is_empty() || (is_named && self.known.identity != identity) {
            let known = self.table.look_up(identity, &self.configured);
            let Identity {
                manufacturer,
                model,
                firmware,
            } = &known.identity;
            let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "?".to_owned());
            tracing::info!(
                manufacturer = name(manufacturer),
                model = name(model),
                firmware = name(firmware),
                profile = known.family,
                "{}",
                known.because
            );
            self.known = Arc::new(known);
        }
        self.profile_in_use = ProfileInUse::new(&self.known.habits);
        Ok(())
    }

    /// What is known of the modem whose port was opened last.
    pub(crate) fn modem(&self) -> Arc<Known> {
        Arc::clone(&self.known)
    }

    /// How the modem is to be handled.
    pub(crate) fn habits(&self) -> &Habits {
        &self.known.habits
    }

    /// The modem's IMEI, when it tells.
    pub(crate) async fn imei(&mut self) -> Result<Option<String>, JobFailure> {
        self.at().await?;
        let port = self.port.as_mut().ok_or(PortFailure::Gone)?;
        let habits = &self.known.habits;
        let deadline = Duration::from_secs(habits.question_s);
        Ok(modem::imei(port, &habits.imei, deadline).await)
    }

    /// Waits until the modem uses the profile `wanted` (`None`: no profile at all), but at most
    /// `longest`; gives its last answer. Its port may go away and come back meanwhile.
    pub(crate) async fn wait_for_profile(
        &mut self,
        wanted: Option<&str>,
        longest: Duration,
    ) -> Result<ReportedProfile, JobFailure> {
        let waits = self.waits.clone();
        let patience = Patience::new(&waits, longest);
        let answer = pin!(async {
            loop {
                match self.ask_for_profile(wanted, patience.left()).await {
                    Err(failure) if patience.again(&failure).await => {}
                    ended => return ended,
                }
            }
        });
        waits.on(WaitingOn::Modem, longest, answer).await
    }

    async fn ask_for_profile(
        &mut self,
        wanted: Option<&str>,
        longest: Duration,
    ) -> Result<ReportedProfile, JobFailure> {
        self.at().await?;
        let port = self.port.as_mut().ok_or(PortFailure::Gone)?;
        self.profile_in_use
            .wait_for(port, wanted, longest)
            .await
            .map_err(|error| PortFailure::from(error).into())
    }

    /// Whether the modem knows no way to ask it for its profile.
    pub(crate) fn tells_no_profile(&self) -> bool {
        self.profile_in_use.is_never_told()
    }

    /// Lets the modem read the card anew. It may go away with that; whether it comes back shows
    /// when it is used next.
    ///
    /// # Errors
    /// When there is no port to send lines to.
    pub(crate) async fn reset(&mut self, rung: &Rung) -> Result<(), JobFailure> {
        let waits = self.waits.clone();
        if !rung.run.is_empty() {
            let longest = Duration::from_secs(rung.within_s());
            // It may take the modem's power, and the name of an open port stays taken.
            self.close();
            let done = pin!(modem::run(rung, longest));
            let done = waits.on(WaitingOn::Modem, longest, done).await;
            if let Err(error) = done {
                tracing::warn!(%error, "the program that resets the modem failed");
            }
        } else if !rung.send.is_empty() {
            let longest = Duration::from_secs(rung.within_s());
            let pause = modem::SETTLE.max(Duration::from_secs(rung.pause_s));
            for line in modem::writes(rung) {
                // A port that went with the line before: what follows may be what switches the radio on.
                let patience = Patience::new(&waits, longest);
                while let Err(failure) = self.write(&line).await {
                    if !patience.again(&failure).await {
                        return Err(failure);
                    }
                }
                sleep(pause).await;
            }
            if rung.port_leaves || rung.together {
                self.close();
            }
        } else {
            return Ok(());
        }
        // No channel is open any more.
        self.record.forget();
        Ok(())
    }

    async fn write(&mut self, line: &str) -> Result<(), JobFailure> {
        self.at().await?;
        let port = self.port.as_mut().ok_or(PortFailure::Gone)?;
        let longest = Duration::from_secs(self.known.habits.reset_s);
        let written = pin!(modem::write(port, line, longest));
        let written = self.waits.on(WaitingOn::Modem, longest, written).await;
        written.map_err(|error| PortFailure::from(error).into())
    }

    /// Whether the modem is registered, which is waited for as long as its habits say.
    pub(crate) async fn registration(&mut self) -> Result<Registration, JobFailure> {
        let longest = Duration::from_secs(self.known.habits.registration_s);
        if longest.is_zero() {
            return Ok(Registration::NotReported);
        }
        self.at().await?;
        let port = self.port.as_mut().ok_or(PortFailure::Gone)?;
        let asked = pin!(modem::registration(port, &self.known.habits, longest));
        let told = self.waits.on(WaitingOn::Modem, longest, asked).await;
        told.map_err(|error| PortFailure::from(error).into())
    }
}

/// How long a modem may take to say who it is.
const IDENTITY: Duration = Duration::from_secs(20);

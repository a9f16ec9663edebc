//! What the engine asks of the modem itself: who it is, which profile it uses, whether it is registered,
//! and that it reads the card again.

use std::pin::pin;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use es10_apdu::at::AtPort;
use tokio::time::{Instant, sleep};

use super::{CardPort, Must};
use crate::config::{Habits, Rung};
use crate::engine::waiting::Patience;
use crate::failure::{JobFailure, PortFailure};
use crate::job::WaitingOn;
use crate::modem::table::Known;
use crate::modem::{
    self, Device, Identity, Look, Made, OpenPort, ProfileInUse, Registration, ReportedProfile,
};
use crate::runtime::program;

impl<O: OpenPort> CardPort<O> {
    /// Asks a modem whose port was just opened who it is, and looks up what is known of it.
    pub(super) async fn recognise(&mut self, port: &mut AtPort<O::Port>) -> Result<(), JobFailure> {
        let waits = self.waits.clone();
        let was_named = self.known.identity.is_named();
        let asked = pin!(async {
            let mut asked = 1;
            loop {
                match Identity::ask(port).await {
                    // One that has just started may not know its own name yet. One that never did is not
                    // waited for.
                    Ok(it) if !it.is_named() && was_named && asked < ASKED_FOR_NAME => asked += 1,
                    told => break told,
                }
                sleep(NAME_PAUSE).await;
            }
        });
        let identity = waits.on(WaitingOn::Modem, IDENTITY, asked).await;
        let identity = identity.map_err(PortFailure::from)?;
        if self.known.family.is_empty() || self.known.identity != identity {
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
            self.tells_registration = false;
        }
        self.profile_in_use = ProfileInUse::new(&self.known.habits);
        Ok(())
    }

    /// A card in a reader is lpad's alone: it had no power, and there is nobody to act on a refresh.
    #[cfg(feature = "pcsc")]
    pub(super) fn has_reader(&mut self) {
        self.record.forget();
        let mut known = self.table.look_up(Identity::default(), &self.configured);
        known.habits.refresh_flag = false;
        known.habits.needs_profile = false;
        self.known = Arc::new(known);
    }

    /// Gives the card in a reader its power anew, so that it uses the profile that is enabled.
    #[cfg(feature = "pcsc")]
    pub(crate) async fn restart_card(&mut self) -> Result<(), JobFailure> {
        self.close();
        self.at().await.map(drop)
    }

    /// What is known of the modem whose port was opened last; `None` for a reader.
    pub(crate) fn modem(&mut self) -> Option<Arc<Known>> {
        let is_modem = self.port.as_mut().and_then(Device::modem).is_some();
        is_modem.then(|| Arc::clone(&self.known))
    }

    /// How the modem is to be handled.
    pub(crate) fn habits(&self) -> &Habits {
        &self.known.habits
    }

    /// The modem's IMEI, when it tells.
    pub(crate) async fn imei(&mut self) -> Result<Option<String>, JobFailure> {
        self.at().await?;
        let Some(port) = self.port.as_mut().and_then(Device::modem) else {
            return Ok(None);
        };
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
        let Some(port) = self.port.as_mut().and_then(Device::modem) else {
            return Ok(ReportedProfile::NotReported);
        };
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
    /// When there is no port to send lines to, or the journal cannot be written and has to be.
    ///
    /// # Cancel safety
    /// The modem may be left between two lines: see [`Self::finish_reset`].
    pub(crate) async fn reset(&mut self, rung: &Rung, must: Must) -> Result<(), JobFailure> {
        let waits = self.waits.clone();
        if !rung.run.is_empty() {
            let longest = Duration::from_secs(rung.within_s());
            // It may take the modem's power, and the name of an open port stays taken.
            self.close();
            let done = pin!(program::run(&rung.run, &[], Stdio::inherit(), longest));
            let done = waits.on(WaitingOn::Modem, longest, done).await;
            if let Err(error) = done {
                tracing::warn!(%error, "the program that resets the modem failed");
            }
        } else if let Some(last) = rung.send.last() {
            if rung.send.len() > 1 {
                match must {
                    Must::IfKept => self.record.resetting(last).map_err(JobFailure::Journal)?,
                    Must::Anyway => self.record.resetting_anyway(last),
                }
            }
            let longest = Duration::from_secs(rung.within_s());
            let pause = modem::SETTLE.max(Duration::from_secs(rung.pause_s));
            let mut made = Made::Unknown;
            for line in modem::writes(rung) {
                // A port that went with the line before: what follows may be what switches the radio on.
                let patience = Patience::new(&waits, longest);
                made = loop {
                    match self.write(&line).await {
                        Ok(made) => break made,
                        Err(failure) if patience.again(&failure).await => {}
                        Err(failure) => return Err(failure),
                    }
                };
                sleep(pause).await;
            }
            if made == Made::Done {
                self.record.was_reset();
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

    /// Ends a reset that was cut off, by this life of the daemon or an earlier one: without its last line
    /// the radio stays off. A modem that refuses the line is told again for as long as a reset may take; one
    /// that says nothing, the next time as well. One that is not reset by this line is not sent it: it is
    /// another modem, or the settings have changed.
    ///
    /// Gives what is to be said of a modem that went on refusing.
    ///
    /// # Errors
    /// When there is no port to send it to.
    ///
    /// # Cancel safety
    /// It is sent again the next time.
    pub(crate) async fn finish_reset(&mut self) -> Result<Option<String>, JobFailure> {
        let Some(line) = self.record.unfinished_reset() else {
            return Ok(None);
        };
        self.at().await?;
        let shown = modem::shown(&line);
        if !self.known.habits.resets_by(&line) {
            tracing::warn!(
                line = shown,
                "a reset was cut off that this modem does not have"
            );
            self.record.was_reset();
            return Ok(None);
        }
        tracing::warn!(
            line = shown,
            "a reset of the modem was cut off: its last line is sent now"
        );
        let end = Instant::now() + Duration::from_secs(self.known.habits.reset_s);
        let mut pause = modem::SETTLE;
        let warning = loop {
            match self.write(&line).await? {
                Made::Done => break None,
                Made::Unknown => return Ok(None),
                Made::Refused if Instant::now() + pause < end => {}
                Made::Refused => {
                    let warning = format!(
                        "The modem refuses {shown}, which ends its reset: its radio may be off. \
                         Restart the modem."
                    );
                    tracing::warn!("{warning}");
                    break Some(warning);
                }
            }
            sleep(pause).await;
            pause *= 3;
        };
        self.record.was_reset();
        sleep(modem::SETTLE).await;
        Ok(warning)
    }

    /// Sends a line.
    async fn write(&mut self, line: &str) -> Result<Made, JobFailure> {
        self.at().await?;
        let port = self.port.as_mut().and_then(Device::modem);
        let port = port.ok_or(PortFailure::Gone)?;
        let longest = Duration::from_secs(self.known.habits.reset_s);
        let written = pin!(modem::write(port, line, longest));
        let written = self.waits.on(WaitingOn::Modem, longest, written).await;
        written.map_err(|error| PortFailure::from(error).into())
    }

    /// Asks once what the modem says of its service; a reader has nothing to say.
    pub(crate) async fn service(&mut self) -> Result<Look, JobFailure> {
        self.at().await?;
        let Some(port) = self.port.as_mut().and_then(Device::modem) else {
            return Ok(Look::default());
        };
        let longest = Duration::from_secs(self.known.habits.question_s);
        let looked = pin!(modem::look(port, &self.known.habits));
        let looked = self.waits.on(WaitingOn::Modem, longest, looked).await;
        let looked = looked.map_err(PortFailure::from)?;
        // That it is searching may only stand for an error of the card's.
        self.tells_registration |= looked.registration > Registration::Searching;
        Ok(looked)
    }

    /// Whether this modem has told whether it is registered, so that it is able to.
    pub(crate) fn tells_registration(&self) -> bool {
        self.tells_registration
    }

    /// Whether the modem says that its radio is off.
    pub(crate) async fn is_radio_off(&mut self) -> bool {
        let Some(port) = self.port.as_mut().and_then(Device::modem) else {
            return false;
        };
        let longest = Duration::from_secs(self.known.habits.question_s);
        let answer = port.command("AT+CFUN?", longest).await.unwrap_or_default();
        let mut said = answer.iter().filter_map(|line| line.strip_prefix("+CFUN:"));
        said.any(|said| matches!(said.trim(), "0" | "4"))
    }
}

/// How long a modem may take to say who it is.
const IDENTITY: Duration = Duration::from_secs(60);
/// How often a modem whose name was known is asked for it.
const ASKED_FOR_NAME: u32 = 3;
/// The time in between.
const NAME_PAUSE: Duration = Duration::from_secs(1);

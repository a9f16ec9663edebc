//! Whether the card can be used, and what the modem says of it.

use std::time::Duration;

use es10_apdu::apdu::ins;
use es10_apdu::at::Cme;

use super::form::Form;
use super::job::Job;
use super::{Card, Event, Failure, Modem, Quirk, Reply};

impl<C: Card> Modem<C> {
    /// Whether the card can be asked for anything.
    pub(super) fn card_is_reachable(&mut self) -> Result<(), Failure> {
        if !self.settings.card_is_on() {
            return Err(Failure::Cme(Cme::SIM_NOT_INSERTED));
        }
        self.sim.asked = self.sim.asked.saturating_add(1);
        let at_start = self.control.value(Quirk::BusyAtStart);
        let by_chance = self.control.value(Quirk::BusyAtRandom);
        if self.sim.is_refreshing
            || at_start.is_some_and(|count| self.sim.asked <= count)
            || by_chance.is_some_and(|percent| self.control.chance(100) < percent)
        {
            return Err(Failure::Cme(Cme::SIM_BUSY));
        }
        match self.has(Quirk::EmptyNoCard) && self.sim.iccid.is_none() {
            true => Err(Failure::Cme(Cme::SIM_FAILURE)),
            false => Ok(()),
        }
    }

    /// Whether the card can be asked for this.
    pub(super) fn card_is_free(&self, job: &Job) -> Result<(), Failure> {
        let csim = matches!(job, Job::Csim(_) | Job::Lock { .. });
        if self.sim.is_locked && !csim {
            return Err(Failure::Cme(Cme::SIM_NOT_INSERTED));
        }
        match self.sim.proactive.is_some() && self.has(Quirk::StuckRefresh) {
            true => Err(Failure::Cme(Cme::NOT_SUPPORTED)),
            false => Ok(()),
        }
    }

    /// `AT+CPIN` and `AT+CIMI`.
    pub(super) fn card_question(&mut self, name: &str, form: Form<'_>) -> Reply {
        self.card_is_reachable()?;
        match (name, form) {
            ("+CPIN", Form::Read) => {
                let line = format!("+CPIN: {}", self.card_state()?);
                match self.has(Quirk::CpinWithoutResult) {
                    true => {
                        self.say(&line);
                        Err(Failure::Silence)
                    }
                    false => Ok(vec![line]),
                }
            }
            ("+CPIN", Form::Set(pin)) => self.enter_pin(pin),
            ("+CIMI", Form::Run) => {
                if self.has(Quirk::EmptyReady) && self.profile().is_err() {
                    return Ok(vec![IMSI_OF_NONE.to_owned()]);
                }
                self.profile()?;
                self.must_not_want_pin()?;
                let imsi = self.sim.imsi.clone();
                imsi.map(|imsi| vec![imsi])
                    .ok_or(Failure::Cme(Cme::SIM_FAILURE))
            }
            _ => Err(Failure::Error),
        }
    }

    /// `AT+CPIN="1234"`; nothing else is taken, the profile's PIN cannot be changed.
    fn enter_pin(&mut self, pin: &str) -> Reply {
        self.profile()?;
        if !self.sim.wants_pin {
            return Err(Failure::Cme(Cme::NOT_ALLOWED));
        }
        let pin = pin.trim().trim_matches('"').as_bytes();
        if !(4..=8).contains(&pin.len()) || !pin.iter().all(u8::is_ascii_digit) {
            return Err(Failure::Cme(Cme::INCORRECT_PARAMETERS));
        }
        let mut verify = vec![0x00, ins::VERIFY_PIN, 0x00, PIN1, 0x08];
        verify.extend(pin);
        verify.resize(5 + 8, 0xFF);
        if !self.own(&verify).is_done() {
            self.must_have_tries()?;
            return Err(Failure::Cme(Cme::INCORRECT_PASSWORD));
        }
        self.read_subscriber();
        self.say("+CPIN: READY");
        self.search();
        Ok(Vec::new())
    }

    fn must_not_want_pin(&mut self) -> Result<(), Failure> {
        if !self.sim.wants_pin {
            return Ok(());
        }
        self.must_have_tries()?;
        Err(Failure::Cme(Cme::SIM_PIN_REQUIRED))
    }

    /// Asks the card whether its PIN may still be tried.
    fn must_have_tries(&mut self) -> Result<(), Failure> {
        let left = self.own(&[0x00, ins::VERIFY_PIN, 0x00, PIN1]).sw;
        match left & 0xFFF0 == 0x63C0 && left != 0x63C0 {
            true => Ok(()),
            false => Err(Failure::Cme(Cme::SIM_PUK_REQUIRED)),
        }
    }

    /// TS 27.007 section 8.3.
    pub(super) fn card_state(&mut self) -> Result<&'static str, Failure> {
        match self.profile().map(|_| self.sim.wants_pin) {
            Ok(false) => Ok("READY"),
            Ok(true) => Ok(match self.must_have_tries() {
                Ok(()) => "SIM PIN",
                Err(_) => "SIM PUK",
            }),
            Err(_) if self.has(Quirk::EmptyReady) => Ok("READY"),
            Err(_) if self.has(Quirk::EmptyNotReady) => Ok("NOT READY"),
            Err(_) if self.has(Quirk::EmptyEuicc) => Ok("EMPTY_EUICC"),
            Err(failure) => Err(failure),
        }
    }

    /// The ICCID of the profile in use.
    pub(super) fn profile(&self) -> Result<&str, Failure> {
        let none = match self.has(Quirk::EmptySimFailure) {
            true => Cme::SIM_FAILURE,
            false => Cme::SIM_NOT_INSERTED,
        };
        match self.sim.is_locked {
            true => Err(Failure::Cme(Cme::SIM_NOT_INSERTED)),
            false => self.sim.iccid.as_deref().ok_or(Failure::Cme(none)),
        }
    }

    /// `AT+CSIM=1` takes the card from the modem, `AT+CSIM=0` gives it back 2 s later.
    pub(super) fn lock_card(&mut self, locked: bool) -> Vec<String> {
        if locked {
            self.sim.is_locked = true;
            self.say("#QSS: 0");
        } else if self.sim.is_locked {
            self.schedule(UNLOCKING, Event::Unlocked);
        }
        Vec::new()
    }

    pub(super) fn unlock_card(&mut self) {
        self.sim.is_locked = false;
        self.say("#QSS: 1");
    }
}

/// What some modems tell without an enabled profile.
const IMSI_OF_NONE: &str = "111111111111111";
/// The PIN of the USIM, ETSI TS 102 221 section 9.5.1.
const PIN1: u8 = 0x01;
/// How long a modem takes to find a card that is given back.
const UNLOCKING: Duration = Duration::from_secs(2);

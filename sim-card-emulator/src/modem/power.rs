//! Power: a modem starts, restarts and takes its port away, and does things by itself in time.

use std::mem::discriminant;
use std::time::Duration;

use tokio::time::Instant;

use super::registration::{Attempts, Registration};
use super::reset::OFF;
use super::session::OwnLpa;
use super::{Action, After, Card, Event, Modem, Quirk, Settings};

impl<C: Card> Modem<C> {
    /// A client has opened the port.
    pub(super) fn connect(&mut self) {
        self.is_connected = true;
        self.deaf_for = self.control.value(Quirk::DropFirst).unwrap_or(0);
        self.nul_is_due = self.has(Quirk::NulFirst);
        if self.has(Quirk::StaleInput) {
            self.say("+ESIMS: 1,29");
            self.say("+CREG: 2");
        }
    }

    /// The first thing a modem does with power: it reads the card and looks for the network.
    pub(super) fn start(&mut self) {
        self.is_started = true;
        self.settings.verbose &= !self.has(Quirk::VerboseOff);
        self.settings.quiet |= self.has(Quirk::QuietOn);
        self.radio_starts += u64::from(self.settings.cfun == 1);
        if self.settings.card_is_on() {
            self.start_card();
        }
        if std::mem::take(&mut self.tells_start) {
            self.say("RDY");
            if let Ok(state) = self.card_state() {
                self.say(&format!("+CPIN: {state}"));
            }
        }
        self.search();
    }

    /// The port is gone, with what was under way on it; most modems restart meanwhile.
    pub(super) fn unplug(&mut self) {
        self.is_connected = false;
        self.input.clear();
        self.overlong = false;
        self.actions.clear();
        self.paused = None;
        self.afterwards.clear();
        if !std::mem::take(&mut self.leaves_port_only) {
            self.reboot();
        }
    }

    /// Restarts with the next action: settings are those of a fresh modem, and so are the
    /// card's channels.
    pub(super) fn reboot(&mut self) {
        let cfun = match self.has(Quirk::RadioKept) {
            true => self.settings.cfun,
            false => 1,
        };
        self.settings = Settings {
            cfun,
            ..Settings::default()
        };
        self.timers.clear();
        self.registration = Registration::default();
        self.attempts = Attempts::default();
        self.carrier.restart();
        self.contexts.restart();
        self.tell_data();
        self.is_asleep = false;
        self.is_started = false;
        if self.own_lpa == OwnLpa::OffAfterRestart {
            self.own_lpa = OwnLpa::Off;
        }
        self.cut_card();
        self.first_iccid = None;
    }

    /// Lets something happen after so long, once however often it is asked for.
    pub(super) fn schedule(&mut self, after: Duration, event: Event) {
        self.forget(&event);
        self.timers.push((Instant::now() + after, event));
    }

    /// Takes back what was to happen at some time.
    pub(super) fn forget(&mut self, event: &Event) {
        let kind = discriminant(event);
        self.timers.retain(|(_, event)| discriminant(event) != kind);
    }

    /// What is due by now, the earliest first.
    pub(super) fn due(&mut self) -> Option<Event> {
        let (index, (at, _)) = self
            .timers
            .iter()
            .enumerate()
            .min_by_key(|(_, (at, _))| *at)?;
        (*at <= Instant::now()).then(|| self.timers.remove(index).1)
    }

    pub(super) fn happen(&mut self, event: Event) {
        match event {
            Event::Found => self.attach(),
            Event::Lost => self.lose_network(),
            Event::Sleep => self.fall_asleep(),
            Event::Wake => self.wake(),
            Event::Refresh { details } => self.refresh_late(details),
            Event::CardBack => self.card_is_back(),
            Event::Leave { absent } => self.leave(absent),
            Event::Unlocked => self.unlock_card(),
        }
    }

    /// A modem that saves power sleeps when it is registered and nobody asks for anything.
    pub(super) fn stay_awake(&mut self) {
        self.forget(&Event::Sleep);
        if self.has(Quirk::SleepsAfter) && self.registration.has_data() {
            let after = self.control.time(Quirk::SleepsAfter);
            self.schedule(after, Event::Sleep);
        }
    }

    fn fall_asleep(&mut self) {
        if self.has(Quirk::SleepsAfter) && self.registration.has_data() {
            self.say("+UUPSMR: 1");
            self.is_asleep = true;
            self.schedule(SLEEP, Event::Wake);
        }
    }

    fn wake(&mut self) {
        if std::mem::take(&mut self.is_asleep) {
            self.say("+UUPSMR: 0");
            self.stay_awake();
        }
    }

    pub(super) fn finish(&mut self, after: After) {
        match after {
            After::Rate(rate) => self.actions.push_back(Action::Rate(rate)),
            After::Restart if self.has(Quirk::RestartStays) => self.restart(),
            After::Restart => {
                let time = |quirk, standard| match self.has(quirk) {
                    true => self.control.time(quirk),
                    false => standard,
                };
                let stays = time(Quirk::RestartLeavesAfter, STAYS);
                let absent = time(Quirk::RestartAbsent, ABSENT);
                self.schedule(stays, Event::Leave { absent });
            }
            After::RestartHere => {
                self.settings.cfun = 1;
                self.restart();
            }
            After::PowerOff => {
                self.power_down();
                self.say("POWERED DOWN");
                self.leave(OFF);
            }
            After::Drop { absent } => self.drop_port(absent),
            After::Leave { absent } => self.leave(absent),
        }
    }

    /// Restarts on the same port.
    pub(super) fn restart(&mut self) {
        self.reboot();
        self.tells_start = true;
    }

    /// Takes the port away and nothing else: what came in the same write is still carried out, but
    /// its answers are lost.
    fn drop_port(&mut self, absent: Duration) {
        // A second one of them comes too late.
        if std::mem::replace(&mut self.leaves_port_only, true) {
            return;
        }
        let said = std::mem::take(&mut self.actions);
        while let Some(line) = self.next_line() {
            self.run(line);
        }
        self.actions = said;
        self.actions.push_back(Action::HangUp { absent });
    }

    /// Takes the port away; the modem has restarted when it is back.
    pub(super) fn leave(&mut self, absent: Duration) {
        self.tells_start = true;
        self.actions.push_back(Action::HangUp { absent });
    }
}

/// How long a modem sleeps that saves power.
const SLEEP: Duration = Duration::from_secs(60);
/// How long the port stays after `AT+CFUN=1,1`, and how long it is away then.
const STAYS: Duration = Duration::from_millis(500);
const ABSENT: Duration = Duration::from_secs(3);

//! Sessions with applications: `AT+CCHO`, `AT+CGLA` and `AT+CCHC`, 3GPP TS 27.007 sections 8.43
//! to 8.46.

use std::time::Duration;

use es10_apdu::apdu::{Channel, ins};
use es10_apdu::at::Cme;
use tokio::time::Instant;

use super::filters::Route;
use super::form::Form;
use super::{Card, Failure, Modem, Quirk, Reply};

/// The sessions that are open.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    open: Vec<Session>,
    /// Channels that the client has opened by `AT+CSIM`.
    raw: Vec<Channel>,
    opened: u64,
    /// What a killed client has left is there once.
    have_leaked: bool,
}

/// The modem's own LPA.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum OwnLpa {
    #[default]
    Active,
    OffAfterRestart,
    Off,
}

/// A session and the logical channel it goes over.
#[derive(Clone, Debug)]
struct Session {
    name: String,
    channel: Channel,
}

impl Sessions {
    /// The card knows of no channel any more.
    pub(super) fn clear(&mut self) {
        self.open.clear();
        self.raw.clear();
    }

    fn channel(&self, name: &str) -> Option<Channel> {
        let found = self.open.iter().find(|session| session.name == name);
        found.map(|session| session.channel)
    }
}

impl<C: Card> Modem<C> {
    /// `AT+CCHO="<AID>"`.
    pub(super) fn open_session(&mut self, aid: &[u8]) -> Reply {
        self.admit_channel()?;
        if self.is_out_of_channels() {
            return Err(Failure::Cme(NO_CHANNEL));
        }
        self.admit_application(aid)?;
        let opened = self.ask(&[0x00, ins::MANAGE_CHANNEL, 0x00, 0x00, 0x01], false)?;
        let channel = match opened[..] {
            [number, 0x90 | 0x91, _] => Channel::new(number),
            _ => None,
        };
        let channel = channel.ok_or(Failure::Cme(NO_CHANNEL))?;
        let length = u8::try_from(aid.len()).unwrap_or(u8::MAX);
        let mut select = vec![channel.class(0x00), ins::SELECT, 0x04, 0x00, length];
        select.extend(aid);
        let selected = self.ask(&select, true);
        if !selected.as_deref().is_ok_and(is_done) {
            // Its own failure matters no more.
            let _ = self.close_channel(channel);
            return Err(selected.err().unwrap_or(Failure::Cme(NO_APPLICATION)));
        }
        let name = self.session_name(channel);
        let line = match self.has(Quirk::CchoBare) {
            true => name.clone(),
            false => format!("+CCHO: {name}"),
        };
        self.sessions.open.push(Session { name, channel });
        Ok(vec![line])
    }

    /// `AT+CGLA=<session>,<length>,"<digits>"`.
    pub(super) fn on_application(&mut self, session: &str, apdu: &[u8]) -> Reply {
        let unknown = Failure::Cme(Cme::INCORRECT_PARAMETERS);
        let apdu = self.on_session(session, apdu).ok_or(unknown)?;
        let response = self.pass(Route::Cgla, &apdu)?;
        Ok(vec![self.response_line("+CGLA", Some(session), &response)])
    }

    /// An APDU as it goes to the card: the modem knows the session's channel, the client does not.
    pub(super) fn on_session(&self, session: &str, apdu: &[u8]) -> Option<Vec<u8>> {
        let channel = self.sessions.channel(session)?;
        let mut apdu = apdu.to_vec();
        if let Some(class) = apdu.first_mut()
            && !self.has(Quirk::ClassUntouched)
        {
            *class = channel.class(*class & BASE_CLASS);
        }
        Some(apdu)
    }

    /// `AT+CCHC=<session>`.
    pub(super) fn close_session(&mut self, session: &str) -> Reply {
        let unknown = Failure::Cme(Cme::INCORRECT_PARAMETERS);
        match self.sessions.channel(session) {
            Some(channel) => {
                self.sessions.open.retain(|open| open.name != session);
                self.close_channel(channel)?;
            }
            None if self.has(Quirk::CchcAlwaysOk) => {}
            None => return Err(unknown),
        }
        Ok(match self.has(Quirk::CchcLine) {
            true => vec!["+CCHC".to_owned()],
            false => Vec::new(),
        })
    }

    /// Whether this modem opens any channel now.
    pub(super) fn admit_channel(&self) -> Result<(), Failure> {
        match self.has(Quirk::EmptyNoSession) && self.sim.iccid().is_none() {
            true => Err(Failure::Error),
            false => Ok(()),
        }
    }

    /// Whether there are as many channels as this modem has.
    pub(super) fn is_out_of_channels(&self) -> bool {
        let open = self.sessions.open.len() + self.sessions.raw.len();
        let most = self.control.value(Quirk::MaxSessions);
        most.is_some_and(|most| open as u64 >= most)
    }

    /// Remembers which channels `AT+CSIM` has opened and closed.
    pub(super) fn note_channel(&mut self, apdu: &[u8], response: &[u8]) {
        let is_done = is_done(response);
        match (apdu, response) {
            ([_, ins::MANAGE_CHANNEL, 0x00, ..], [number, _, _]) if is_done => {
                self.sessions.raw.extend(Channel::new(*number));
            }
            ([_, ins::MANAGE_CHANNEL, 0x80, number, ..], _) if is_done => {
                let closed = |channel: Channel| channel.number() == *number;
                self.sessions.raw.retain(|channel| !closed(*channel));
                self.sessions
                    .open
                    .retain(|session| !closed(session.channel));
            }
            _ => {}
        }
    }

    /// Whether this modem lets the client have this application now.
    pub(super) fn admit_application(&self, aid: &[u8]) -> Result<(), Failure> {
        if !aid.starts_with(&ISDR) {
            return Ok(());
        }
        let window = self.control.time(Quirk::IsdrWindow);
        if self.has(Quirk::IsdrWindow) && !self.sim.lends_isdr(window) {
            return Err(Failure::Error);
        }
        match self.has(Quirk::InternalLpa) && self.own_lpa != OwnLpa::Off {
            true => Err(Failure::Cme(Cme::NOT_SUPPORTED)),
            false if self.has(Quirk::IsdrRefused) => {
                Err(Failure::Text("+CME ERROR: Parameters error"))
            }
            false => Ok(()),
        }
    }

    /// `AT+QESIM="lpa_enable"`: the modem's own LPA is asked for, and given up.
    pub(super) fn give_up_lpa(&mut self, form: Form<'_>) -> Reply {
        match form {
            Form::Set("\"lpa_enable\"") => {
                let active = u8::from(self.own_lpa != OwnLpa::Off);
                Ok(vec![format!("+QESIM: \"lpa_enable\",{active}")])
            }
            Form::Set("\"lpa_enable\",0") => {
                if self.own_lpa != OwnLpa::Off {
                    self.own_lpa = OwnLpa::OffAfterRestart;
                }
                Ok(Vec::new())
            }
            _ => Err(Failure::Error),
        }
    }

    /// `AT+GTDUALSIM`: the slot of the eUICC, which this modem has selected, is selected again.
    pub(super) fn select_slot(&mut self, form: Form<'_>) -> Reply {
        match form {
            Form::Read => Ok(vec!["+GTDUALSIM : 1,\"SUB1\",\"No Service\"".to_owned()]),
            Form::Set("1") => {
                self.sim.lends_at = Some(Instant::now() + LENDS_AFTER);
                Ok(Vec::new())
            }
            _ => Err(Failure::Error),
        }
    }

    /// What a card that starts finds: channels the modem takes, and sessions that leaked.
    pub(super) fn occupy_channels(&mut self) {
        let first = self.control.value(Quirk::FirstChannel).unwrap_or(1);
        for _ in 1..first.min(CHANNELS) {
            self.own(&[0x00, ins::MANAGE_CHANNEL, 0x00, 0x00, 0x01]);
        }
        let leaked = self.control.value(Quirk::LeakedSessions).unwrap_or(0);
        if std::mem::replace(&mut self.sessions.have_leaked, true) {
            return;
        }
        for _ in 0..leaked.min(CHANNELS) {
            let opened = self.own(&[0x00, ins::MANAGE_CHANNEL, 0x00, 0x00, 0x01]);
            let channel = opened.data.first().copied().and_then(Channel::new);
            if let Some(channel) = channel {
                let name = self.session_name(channel);
                self.sessions.open.push(Session { name, channel });
            }
        }
    }

    fn close_channel(&mut self, channel: Channel) -> Result<(), Failure> {
        let close = [0x00, ins::MANAGE_CHANNEL, 0x80, channel.number(), 0x00];
        self.ask(&close[..4], false).map(|_| ())
    }

    /// What a new session is called; the name of a dead one is not used again, where a name says
    /// more than the channel.
    fn session_name(&mut self, channel: Channel) -> String {
        self.sessions.opened += 1;
        if self.has(Quirk::CchoHandle) {
            // Looks like an address, and differs from every other.
            return format!("{:016x}", HANDLES + 0x2D8 * self.sessions.opened);
        }
        match self.control.value(Quirk::SessionNumbers) {
            Some(first) => first.saturating_add(self.sessions.opened - 1).to_string(),
            None => channel.to_string(),
        }
    }
}

/// `9000`, or `91xx`.
fn is_done(response: &[u8]) -> bool {
    matches!(response, [.., 0x90, 0x00] | [.., 0x91, _])
}

/// The class byte without a channel: whether the command is proprietary.
const BASE_CLASS: u8 = 0x80;
/// The AID of an ISD-R begins so.
const ISDR: [u8; 7] = [0xA0, 0x00, 0x00, 0x05, 0x59, 0x10, 0x10];
/// How long a modem of that kind has to be left alone before its LPA lends the ISD-R.
const LENDS_AFTER: Duration = Duration::from_secs(600);
/// Channels of a card.
const CHANNELS: u64 = 20;
/// No channel is free.
const NO_CHANNEL: Cme = Cme(3);
/// The card has no such application.
const NO_APPLICATION: Cme = Cme(22);
const HANDLES: u64 = 0x0385_A4F7;

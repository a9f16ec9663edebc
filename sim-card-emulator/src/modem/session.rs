//! Sessions with applications: `AT+CCHO`, `AT+CGLA` and `AT+CCHC`, 3GPP TS 27.007 sections 8.43
//! to 8.46.

use es10_apdu::apdu::{Channel, ins};
use es10_apdu::at::Cme;

use super::{Card, Failure, Modem, Quirk, Reply};

/// The sessions that are open.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    open: Vec<Session>,
    opened: u64,
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
    }

    fn channel(&self, name: &str) -> Option<Channel> {
        let found = self.open.iter().find(|session| session.name == name);
        found.map(|session| session.channel)
    }
}

impl<C: Card> Modem<C> {
    /// `AT+CCHO="<AID>"`.
    pub(super) fn open_session(&mut self, aid: &[u8]) -> Reply {
        let opened = self.pass(&[0x00, ins::MANAGE_CHANNEL, 0x00, 0x00, 0x01], false)?;
        let channel = match opened[..] {
            [number, 0x90 | 0x91, _] => Channel::new(number),
            _ => None,
        };
        let channel = channel.ok_or(Failure::Cme(NO_CHANNEL))?;
        let length = u8::try_from(aid.len()).unwrap_or(u8::MAX);
        let mut select = vec![channel.class(0x00), ins::SELECT, 0x04, 0x00, length];
        select.extend(aid);
        let selected = self.pass(&select, true);
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
        let joined = self.has(Quirk::GetResponse) || self.has(Quirk::CglaGetResponse);
        let response = self.pass(&apdu, joined)?;
        Ok(vec![self.response_line("+CGLA", &response)])
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
        let channel = self.sessions.channel(session).ok_or(unknown)?;
        self.sessions.open.retain(|open| open.name != session);
        self.close_channel(channel)?;
        Ok(Vec::new())
    }

    fn close_channel(&mut self, channel: Channel) -> Result<(), Failure> {
        let close = [0x00, ins::MANAGE_CHANNEL, 0x80, channel.number(), 0x00];
        self.pass(&close[..4], false).map(|_| ())
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
/// No channel is free.
const NO_CHANNEL: Cme = Cme(3);
/// The card has no such application.
const NO_APPLICATION: Cme = Cme(22);
const HANDLES: u64 = 0x0385_A4F7;

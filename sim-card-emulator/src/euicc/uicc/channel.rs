//! Logical channels: MANAGE CHANNEL, GET RESPONSE, and answers that leave in pieces.

use es10_apdu::apdu::{Command, Response, StatusWord};

use super::select::Location;
use crate::euicc::Euicc;
use crate::euicc::apdu::Channel;

impl Euicc {
    pub(in crate::euicc) fn channel(&mut self, number: u8) -> Result<&mut Channel, StatusWord> {
        self.channels
            .get_mut(&number)
            .ok_or(StatusWord::CHANNEL_NOT_SUPPORTED)
    }

    /// Gives the data, or what of it fits and the number of octets GET RESPONSE can have.
    pub(in crate::euicc) fn answer(
        &mut self,
        number: u8,
        command: &Command,
        data: Vec<u8>,
        sw: StatusWord,
    ) -> Response {
        let piece = self.piece();
        let always = self.settings.always_get_response && !command.data.is_empty();
        let wait = data.len() > piece || (always && !data.is_empty());
        let inexact = self.settings.le_exact && !data.is_empty();
        let sw = self.announce(sw);
        let Some(channel) = self.channels.get_mut(&number) else {
            return Response { data, sw };
        };
        if wait {
            channel.response = data;
            return more(channel.response.len().min(piece)).into();
        }
        let length = data.len();
        if inexact && command.le.is_some_and(|le| usize::from(le) != length % 256) {
            let command = Command {
                le: None,
                ..command.clone()
            };
            channel.inexact = Some((command, Response { data, sw }));
            return StatusWord(0x6C00 | low_octet(length)).into();
        }
        Response { data, sw }
    }

    /// The answer of a command that was executed already, and is repeated with the right Le.
    pub(in crate::euicc) fn repeated(&mut self, number: u8, command: &Command) -> Option<Response> {
        let channel = self.channels.get_mut(&number)?;
        let (first, response) = channel.inexact.take()?;
        let same = Command {
            le: None,
            ..command.clone()
        } == first;
        let exact = command
            .le
            .is_some_and(|le| usize::from(le) == response.data.len() % 256);
        (same && exact).then_some(response)
    }

    pub(in crate::euicc) fn get_response(
        &mut self,
        number: u8,
        command: &Command,
    ) -> Result<Response, StatusWord> {
        let sw = self.announce(StatusWord::OK);
        let piece = self.piece();
        let channel = self.channel(number)?;
        if (command.p1, command.p2) != (0, 0) {
            return Err(StatusWord::INCORRECT_P1_P2);
        }
        if channel.response.is_empty() {
            return Err(StatusWord::CONDITIONS_OF_USE);
        }
        let offered = channel.response.len().min(piece);
        let wanted = match command.le {
            Some(0) => offered,
            Some(le) => usize::from(le),
            None => return Err(StatusWord::WRONG_LENGTH),
        };
        if wanted > offered {
            // Fewer than 256, or as many could not have been asked for.
            return Err(StatusWord(0x6C00 | low_octet(offered)));
        }
        let data: Vec<u8> = channel.response.drain(..wanted).collect();
        let sw = match channel.response.len() {
            0 => sw,
            rest => more(rest.min(piece)),
        };
        Ok(Response { data, sw })
    }

    pub(in crate::euicc) fn manage_channel(
        &mut self,
        number: u8,
        command: &Command,
    ) -> Result<Vec<u8>, StatusWord> {
        match (command.p1, command.p2) {
            _ if !command.data.is_empty() => Err(StatusWord::WRONG_LENGTH),
            // The channel must not be opened twice because of a wrong Le.
            (0x00, 0x00) if self.settings.le_exact && command.le.is_some_and(|le| le != 1) => {
                Err(StatusWord(0x6C01))
            }
            (0x00, wanted) if wanted <= self.last_channel() => self.open_channel(number, wanted),
            (0x80, closed) if closed != 0 => self.close_channel(closed),
            _ => Err(StatusWord::INCORRECT_P1_P2),
        }
    }

    /// Opened from the basic channel a channel begins at the master file, opened from another one
    /// where that one is.
    fn open_channel(&mut self, from: u8, wanted: u8) -> Result<Vec<u8>, StatusWord> {
        let first = self.settings.first_channel.max(1);
        let mut numbers = first..=self.last_channel();
        let free = numbers.find(|number| {
            !self.channels.contains_key(number) && (wanted == 0 || wanted == *number)
        });
        let opened = free.ok_or(StatusWord::FUNCTION_NOT_SUPPORTED)?;
        let location = match from {
            0 => Location::default(),
            from => self.channel(from)?.location,
        };
        let channel = Channel::at(location);
        self.channels.insert(opened, channel);
        Ok(match wanted {
            0 => vec![opened],
            _ => Vec::new(),
        })
    }

    fn close_channel(&mut self, closed: u8) -> Result<Vec<u8>, StatusWord> {
        self.channels
            .remove(&closed)
            .ok_or(StatusWord::CHANNEL_NOT_SUPPORTED)?;
        self.abandon_loading(closed);
        Ok(Vec::new())
    }

    /// `settings.channels` channels, of which the first has the number `settings.first_channel`.
    fn last_channel(&self) -> u8 {
        let before = self.settings.first_channel.saturating_sub(1);
        self.settings.channels.saturating_add(before).min(19)
    }

    /// Octets that leave with one answer.
    fn piece(&self) -> usize {
        usize::from(self.settings.response_piece).clamp(1, 256)
    }
}

fn more(available: usize) -> StatusWord {
    StatusWord(0x6100 | low_octet(available))
}

/// 256 and more are written as 0.
fn low_octet(number: usize) -> u16 {
    u8::try_from(number).unwrap_or_default().into()
}

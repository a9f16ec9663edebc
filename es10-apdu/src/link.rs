//! How the link to a card wants to be used, whatever it is made of.

use std::time::Duration;

use crate::apdu::Channel;

/// What differs between links to a card.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LinkOptions {
    /// Data bytes in one STORE DATA block, 1 to 255.
    pub block_size: u8,
    /// Whether STORE DATA and SELECT carry Le.
    pub le: Le,
    /// The class byte of GET RESPONSE.
    pub get_response: GetResponseClass,
    /// Whether a card that refuses its ISD-R is told with TERMINAL CAPABILITY what an LPA does.
    pub terminal_capability: bool,
    /// How long the card's answers are waited for.
    pub deadlines: Deadlines,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self {
            block_size: 255,
            le: Le::default(),
            get_response: GetResponseClass::default(),
            terminal_capability: true,
            deadlines: Deadlines::default(),
        }
    }
}

/// Whether commands that expect an answer carry Le.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Le {
    /// Left out: most modems, and raw ones refuse it.
    #[default]
    Absent,
    /// `00`, all there is, as SGP.22 writes it: for links that take the APDU as one of case 4.
    Zero,
}

impl Le {
    /// The field of the command APDU.
    pub const fn field(self) -> Option<u8> {
        match self {
            Self::Absent => None,
            Self::Zero => Some(0),
        }
    }
}

/// The class byte of GET RESPONSE.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum GetResponseClass {
    /// That of the command the data belong to: most modems.
    #[default]
    AsCommand,
    /// That of an interindustry command on the same channel: some MediaTek modems answer nothing
    /// else.
    Interindustry,
}

impl GetResponseClass {
    /// The class byte of GET RESPONSE after a command with the class byte `cla`.
    pub const fn after(self, cla: u8) -> u8 {
        match self {
            Self::AsCommand => cla,
            Self::Interindustry => Channel::of_class(cla).class(0x00),
        }
    }
}

/// How long each step of a dialogue with the card may take as a whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Deadlines {
    /// Opening a channel, selecting an application.
    pub open: Duration,
    /// Closing a channel.
    pub close: Duration,
    /// A STORE DATA block that others follow (P1 = 11).
    pub block: Duration,
    /// The last block of a command (P1 = 91), at which the card sets to work.
    pub last_block: Duration,
    /// The last block of a segment of a bound profile package.
    pub load_bpp: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            open: Duration::from_secs(20),
            close: Duration::from_secs(10),
            block: Duration::from_secs(30),
            // AuthenticateServer and PrepareDownload take a card 3 to 4 s. The rest is for a modem
            // that uses the card itself meanwhile.
            last_block: Duration::from_secs(60),
            // Modems give up on the last segment after up to two minutes. Their answer is better
            // than none, so this side waits longer.
            load_bpp: Duration::from_secs(130),
        }
    }
}

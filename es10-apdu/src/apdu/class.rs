//! Which logical channel a class byte names, ETSI TS 102 221 section 10.1.1.

use std::fmt;

/// A logical channel of the card, 0 (basic) to 19.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Channel(u8);

impl Channel {
    /// The basic channel. It belongs to the modem; an LPA never selects the ISD-R on it.
    pub const BASIC: Self = Self(0);

    /// The highest channel number a class byte can name.
    pub const MAX: u8 = 19;

    /// Channel `number`, or `None` above 19.
    pub const fn new(number: u8) -> Option<Self> {
        match number <= Self::MAX {
            true => Some(Self(number)),
            false => None,
        }
    }

    /// The channel that `cla` names.
    pub const fn of_class(cla: u8) -> Self {
        match cla & 0x40 {
            0 => Self(cla & 0x03),
            _ => Self(4 + (cla & 0x0F)),
        }
    }

    /// The class byte of a command on this channel, from its class byte on the basic channel
    /// (`00` for interindustry commands, `80` for proprietary ones).
    pub const fn class(self, base: u8) -> u8 {
        match self.0 {
            n @ 0..=3 => (base & 0x9C) | n,
            n => (base & 0xB0) | 0x40 | (n - 4),
        }
    }

    /// The number itself.
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_up_to_three_sit_in_the_low_bits_and_the_others_in_the_further_coding() {
        for (number, interindustry, proprietary) in [
            (0, 0x00, 0x80),
            (1, 0x01, 0x81),
            (3, 0x03, 0x83),
            (4, 0x40, 0xC0),
            (5, 0x41, 0xC1),
            (19, 0x4F, 0xCF),
        ] {
            let channel = Channel::new(number).unwrap();
            assert_eq!(channel.class(0x00), interindustry);
            assert_eq!(channel.class(0x80), proprietary);
            assert_eq!(Channel::of_class(interindustry), channel);
            assert_eq!(Channel::of_class(proprietary), channel);
        }
    }

    #[test]
    fn there_is_no_channel_twenty() {
        assert_eq!(Channel::new(20), None);
    }
}

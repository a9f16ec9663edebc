//! Status words.

use std::fmt;

/// SW1 SW2 of a response APDU; any value can be held.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct StatusWord(pub u16);

impl StatusWord {
    /// Done.
    pub const OK: Self = Self(0x9000);
    /// Execution error, memory unchanged.
    pub const EXECUTION_ERROR: Self = Self(0x6400);
    /// Memory problem.
    pub const MEMORY_PROBLEM: Self = Self(0x6581);
    /// Wrong length.
    pub const WRONG_LENGTH: Self = Self(0x6700);
    /// Logical channel not supported, or not open.
    pub const CHANNEL_NOT_SUPPORTED: Self = Self(0x6881);
    /// Security status not satisfied.
    pub const SECURITY_STATUS: Self = Self(0x6982);
    /// Conditions of use not satisfied.
    pub const CONDITIONS_OF_USE: Self = Self(0x6985);
    /// Applet selection failed, GlobalPlatform.
    pub const SELECTION_FAILED: Self = Self(0x6999);
    /// Incorrect data.
    pub const INCORRECT_DATA: Self = Self(0x6A80);
    /// Function not supported; for MANAGE CHANNEL: no free channel.
    pub const FUNCTION_NOT_SUPPORTED: Self = Self(0x6A81);
    /// File or application not found.
    pub const NOT_FOUND: Self = Self(0x6A82);
    /// Not enough memory.
    pub const NOT_ENOUGH_MEMORY: Self = Self(0x6A84);
    /// Incorrect P1 or P2.
    pub const INCORRECT_P1_P2: Self = Self(0x6A86);
    /// Referenced data not found; the usual answer to an unknown ES10 tag.
    pub const REFERENCED_DATA_NOT_FOUND: Self = Self(0x6A88);
    /// Wrong P1 or P2.
    pub const WRONG_P1_P2: Self = Self(0x6B00);
    /// Unknown instruction.
    pub const UNKNOWN_INS: Self = Self(0x6D00);
    /// Unknown class.
    pub const UNKNOWN_CLA: Self = Self(0x6E00);
    /// Technical problem without diagnosis.
    pub const TECHNICAL_PROBLEM: Self = Self(0x6F00);
    /// The card is busy with a proactive session.
    pub const BUSY: Self = Self(0x9300);

    /// First byte.
    pub const fn sw1(self) -> u8 {
        self.0.to_be_bytes()[0]
    }

    /// Second byte.
    pub const fn sw2(self) -> u8 {
        self.0.to_be_bytes()[1]
    }

    /// Whether the command was done: `9000`, or `91xx` when a proactive command waits besides.
    pub const fn is_success(self) -> bool {
        self.0 == Self::OK.0 || self.sw1() == 0x91
    }

    /// Whether the command was done with a warning, `62xx` or `63xx`; its data are valid.
    pub const fn is_warning(self) -> bool {
        matches!(self.sw1(), 0x62 | 0x63)
    }

    /// Whether GET RESPONSE has more to fetch, `61xx`.
    pub const fn has_more(self) -> bool {
        self.sw1() == 0x61
    }

    /// The Le to repeat the command with, from `6Cxx`.
    pub const fn exact_le(self) -> Option<u8> {
        match self.sw1() {
            0x6C => Some(self.sw2()),
            _ => None,
        }
    }

    /// Whether the card says that something broke while it was at work (`64xx`, `65xx`, `6Fxx`),
    /// so that what it has done has to be read back.
    pub const fn is_breakdown(self) -> bool {
        matches!(self.sw1(), 0x64 | 0x65 | 0x6F)
    }

    /// What the value means, in words.
    pub const fn meaning(self) -> &'static str {
        match self.0 {
            0x9000 => "done",
            0x9100..=0x91FF => "done, a proactive command is waiting",
            0x6100..=0x61FF => "more data to fetch",
            0x6200..=0x63FF => "done with a warning",
            0x6400..=0x64FF => "execution error",
            0x6500..=0x65FF => "memory problem",
            0x6700 => "wrong length",
            0x6881 => "logical channel not supported or closed",
            0x6982 => "security status not satisfied",
            0x6985 => "conditions of use not satisfied",
            0x6999 => "the application refused to be selected",
            0x6A80 => "incorrect data",
            0x6A81 => "function not supported or no free channel",
            0x6A82 => "application not found",
            0x6A84 => "not enough memory",
            0x6A86 | 0x6B00 => "incorrect P1 or P2",
            0x6A88 => "referenced data not found",
            0x6C00..=0x6CFF => "wrong Le",
            0x6D00 => "unknown instruction",
            0x6E00 => "unknown class",
            0x6F00..=0x6FFF => "technical problem in the card",
            0x9300 => "the card is busy",
            _ => "unknown status",
        }
    }
}

impl fmt::Debug for StatusWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X}", self.0)
    }
}

impl fmt::Display for StatusWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X} ({})", self.0, self.meaning())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiting_proactive_command_is_success_and_stays_visible() {
        let sw = StatusWord(0x910B);
        assert!(sw.is_success());
        assert_eq!(
            sw.to_string(),
            "910B (done, a proactive command is waiting)"
        );
        assert!(!StatusWord(0x9300).is_success());
    }

    #[test]
    fn an_unknown_value_is_kept() {
        assert_eq!(
            StatusWord(0x6FE4).to_string(),
            "6FE4 (technical problem in the card)"
        );
        assert_eq!(StatusWord(0x9484).to_string(), "9484 (unknown status)");
        assert_eq!(StatusWord(0x6C10).exact_le(), Some(0x10));
    }
}

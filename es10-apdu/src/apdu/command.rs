//! Command APDUs.

use std::fmt;

use super::{Channel, MalformedApdu};

/// A command APDU.
///
/// `Debug` shows header and lengths only: the data may hold a confirmation code hash or a
/// matching id.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Command {
    /// Class byte, with the logical channel in it.
    pub cla: u8,
    /// Instruction.
    pub ins: u8,
    /// First parameter.
    pub p1: u8,
    /// Second parameter.
    pub p2: u8,
    /// Command data; more than 255 bytes make an extended APDU, which no AT modem is sent.
    pub data: Vec<u8>,
    /// Number of bytes wanted back; 0 stands for 256, `None` leaves the field out.
    pub le: Option<u8>,
}

impl Command {
    /// A command without data and without Le.
    pub fn new(cla: u8, ins: u8, p1: u8, p2: u8) -> Self {
        Self {
            cla,
            ins,
            p1,
            p2,
            data: Vec::new(),
            le: None,
        }
    }

    /// Reads a command APDU, short or extended.
    pub fn parse(bytes: &[u8]) -> Result<Self, MalformedApdu> {
        let length = bytes.len();
        let wrong = Err(MalformedApdu::WrongLength { length });
        let Some((&[cla, ins, p1, p2], body)) = bytes.split_first_chunk() else {
            return Err(MalformedApdu::TooShort { length });
        };
        let (data, le) = match *body {
            [] => (&[][..], None),
            [le] => (&[][..], Some(le)),
            // A longer Le than this type can hold asks for all there is.
            [0, high, low] => (&[][..], Some(extended_le(high, low))),
            [0, high, low, ref rest @ ..] => {
                let lc = usize::from(u16::from_be_bytes([high, low]));
                match rest.split_at_checked(lc) {
                    Some((data, [])) => (data, None),
                    Some((data, &[high, low])) => (data, Some(extended_le(high, low))),
                    _ => return wrong,
                }
            }
            [lc, ref rest @ ..] => match rest.split_at_checked(usize::from(lc)) {
                Some((data, [])) if lc != 0 => (data, None),
                Some((data, &[le])) if lc != 0 => (data, Some(le)),
                _ => return wrong,
            },
        };
        Ok(Self {
            cla,
            ins,
            p1,
            p2,
            data: data.to_vec(),
            le,
        })
    }

    /// The APDU as it goes to the card.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.data.len() + 9);
        bytes.extend([self.cla, self.ins, self.p1, self.p2]);
        match (self.data.len(), u8::try_from(self.data.len())) {
            (0, _) => bytes.extend(self.le),
            (_, Ok(lc)) => {
                bytes.push(lc);
                bytes.extend(&self.data);
                bytes.extend(self.le);
            }
            (length, Err(_)) => {
                let [.., high, low] = length.to_be_bytes();
                bytes.extend([0, high, low]);
                bytes.extend(&self.data);
                bytes.extend(
                    self.le
                        .map(|le| [u8::from(le == 0), le])
                        .into_iter()
                        .flatten(),
                );
            }
        }
        bytes
    }

    /// The logical channel that the class byte names.
    pub fn channel(&self) -> Channel {
        Channel::of_class(self.cla)
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cla, ins, p1, p2, ..
        } = self;
        write!(f, "{cla:02X} {ins:02X} {p1:02X} {p2:02X}")?;
        write!(f, " ({} bytes, Le {:?})", self.data.len(), self.le)
    }
}

/// An extended Le as the short field's value: 256 and more become "all there is".
fn extended_le(high: u8, low: u8) -> u8 {
    match high {
        0 => low,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_short_cases_are_written_and_read_back() {
        for (hex, data, le) in [
            ("00700000", &[][..], None),
            ("0070000001", &[][..], Some(1)),
            ("80E2910003BF2E00", &[0xBF, 0x2E, 0x00][..], None),
            ("80E2910003BF2E0000", &[0xBF, 0x2E, 0x00][..], Some(0)),
        ] {
            let bytes = hex::decode(hex).unwrap();
            let command = Command::parse(&bytes).unwrap();
            assert_eq!((command.data.as_slice(), command.le), (data, le), "{hex}");
            assert_eq!(command.to_bytes(), bytes, "{hex}");
        }
    }

    #[test]
    fn extended_lengths_are_written_and_read_back() {
        for le in [None, Some(0), Some(0x10)] {
            let command = Command {
                data: vec![0xAB; 300],
                le,
                ..Command::new(0x80, 0xE2, 0x91, 0x00)
            };
            assert_eq!(Command::parse(&command.to_bytes()), Ok(command));
        }
        let status = Command::parse(&hex::decode("80F20000000000").unwrap()).unwrap();
        assert_eq!(status.le, Some(0));
    }

    #[test]
    fn lengths_that_do_not_add_up_are_refused() {
        for hex in [
            "80E29100",
            "80E2910003BF2E",
            "80E2910003BF2E000000",
            "80E29100000005AABB",
        ] {
            let bytes = hex::decode(hex).unwrap();
            let expected = match bytes.len() {
                4 => Ok(Command::new(0x80, 0xE2, 0x91, 0x00)),
                length => Err(MalformedApdu::WrongLength { length }),
            };
            assert_eq!(Command::parse(&bytes), expected, "{hex}");
        }
        assert_eq!(
            Command::parse(&[0x80, 0xE2]),
            Err(MalformedApdu::TooShort { length: 2 })
        );
    }

    #[test]
    fn debug_does_not_show_the_data() {
        let command = Command {
            data: b"secret".to_vec(),
            ..Command::new(0x81, 0xE2, 0x91, 0x00)
        };
        assert_eq!(format!("{command:?}"), "81 E2 91 00 (6 bytes, Le None)");
    }
}

//! Response APDUs.

use std::fmt;

use super::{MalformedApdu, StatusWord};

/// A response APDU: data and status word. `Debug` shows the length of the data only.
#[derive(Clone, Eq, PartialEq)]
pub struct Response {
    /// Response data, without the status word.
    pub data: Vec<u8>,
    /// SW1 SW2.
    pub sw: StatusWord,
}

impl Response {
    /// Reads data followed by the two status bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, MalformedApdu> {
        let Some((data, &sw)) = bytes.split_last_chunk() else {
            return Err(MalformedApdu::TooShort {
                length: bytes.len(),
            });
        };
        Ok(Self {
            data: data.to_vec(),
            sw: StatusWord(u16::from_be_bytes(sw)),
        })
    }

    /// The response as the card sends it.
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.data[..], &self.sw.0.to_be_bytes()].concat()
    }
}

impl From<StatusWord> for Response {
    fn from(sw: StatusWord) -> Self {
        Self {
            data: Vec::new(),
            sw,
        }
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X} ({} bytes)", self.sw.0, self.data.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_two_bytes_are_the_status_word() {
        let response = Response::parse(&[0x01, 0x90, 0x00]).unwrap();
        assert_eq!(response.data, [0x01]);
        assert_eq!(response.sw, StatusWord::OK);
        assert_eq!(response.to_bytes(), [0x01, 0x90, 0x00]);
        assert!(Response::parse(&[0x90]).is_err());
    }
}

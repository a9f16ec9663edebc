//! Cutting an ES10 command into STORE DATA blocks, SGP.22 v2.5 section 5.7.2.

use std::slice::Chunks;

use crate::apdu::{Channel, Command, ins};

/// P1 of a block that others follow.
pub const P1_MORE: u8 = 0x11;
/// P1 of the last block of a command.
pub const P1_LAST: u8 = 0x91;
/// P2 counts the blocks in one byte.
pub const MAX_BLOCKS: usize = 256;

/// The STORE DATA command APDUs that carry one ES10 command or one segment of a bound profile
/// package.
#[derive(Clone, Debug)]
pub struct Blocks<'p> {
    cla: u8,
    le: Option<u8>,
    chunks: Chunks<'p, u8>,
    number: u8,
}

impl<'p> Blocks<'p> {
    /// Cuts `payload` into blocks of `size` bytes (0 counts as 1), each with `le`.
    pub fn new(
        channel: Channel,
        payload: &'p [u8],
        size: u8,
        le: Option<u8>,
    ) -> Result<Self, TooLong> {
        let size = usize::from(size.max(1));
        let limit = size * MAX_BLOCKS;
        if payload.len() > limit {
            let length = payload.len();
            return Err(TooLong { length, limit });
        }
        Ok(Self {
            cla: channel.class(0x80),
            le,
            chunks: payload.chunks(size),
            number: 0,
        })
    }
}

impl Iterator for Blocks<'_> {
    type Item = Command;

    fn next(&mut self) -> Option<Command> {
        let chunk = self.chunks.next()?;
        let last = self.chunks.len() == 0;
        let p1 = if last { P1_LAST } else { P1_MORE };
        let command = Command {
            data: chunk.to_vec(),
            le: self.le,
            ..Command::new(self.cla, ins::STORE_DATA, p1, self.number)
        };
        // Wraps after block 255, which is the last one there can be.
        self.number = self.number.wrapping_add(1);
        Some(command)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.chunks.size_hint()
    }
}

impl ExactSizeIterator for Blocks<'_> {}

/// A payload that no STORE DATA chain can carry; nothing of it is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{length} bytes do not fit into STORE DATA, which takes {limit} at this block size")]
pub struct TooLong {
    /// Length of the payload.
    pub length: usize,
    /// What fits.
    pub limit: usize,
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn apdus(payload: &[u8]) -> Vec<String> {
        let channel = Channel::new(1).unwrap();
        let blocks = Blocks::new(channel, payload, 255, Some(0)).unwrap();
        blocks
            .map(|command| hex::encode(command.to_bytes()))
            .collect()
    }

    fn strings(value: &Value) -> Vec<&str> {
        let strings = value.as_array().unwrap().iter();
        strings.map(|string| string.as_str().unwrap()).collect()
    }

    #[test]
    fn the_apdus_are_those_of_the_vectors() {
        let vectors: Value = serde_json::from_str(include_str!("../vectors/vectors.json")).unwrap();
        let segments = strings(&vectors["bpp"]["segments"]);
        let request = vectors["es10"]["authenticateServerRequest"]
            .as_str()
            .unwrap();
        for (payload, expected) in [
            (request, &vectors["authenticateServerApdus"]),
            (segments[0], &vectors["bpp"]["apdusOfSegment1"]),
            (
                segments[segments.len() - 1],
                &vectors["bpp"]["apdusOfLastSegment"],
            ),
        ] {
            assert_eq!(apdus(&hex::decode(payload).unwrap()), strings(expected));
        }
    }

    #[test]
    fn le_is_left_out_where_the_modem_wants_it_so() {
        let mut blocks =
            Blocks::new(Channel::new(4).unwrap(), &[0xBF, 0x2E, 0x00], 2, None).unwrap();
        assert_eq!(blocks.len(), 2);
        let bytes = |command: Option<Command>| hex::encode_upper(command.unwrap().to_bytes());
        assert_eq!(bytes(blocks.next()), "C0E2110002BF2E");
        assert_eq!(bytes(blocks.next()), "C0E291010100");
        assert_eq!(blocks.next(), None);
    }

    #[test]
    fn block_numbers_end_at_255_and_what_needs_more_is_refused() {
        let payload = vec![0; 63 * 256];
        let blocks = Blocks::new(Channel::BASIC, &payload, 63, None).unwrap();
        let last = blocks.last().unwrap();
        assert_eq!((last.p1, last.p2), (P1_LAST, 0xFF));
        let payload = vec![0; 63 * 256 + 1];
        assert_eq!(
            Blocks::new(Channel::BASIC, &payload, 63, None).unwrap_err(),
            TooLong {
                length: 16_129,
                limit: 16_128
            }
        );
    }
}

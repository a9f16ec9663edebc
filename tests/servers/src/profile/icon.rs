//! An icon for a profile: a PNG of 64 by 64 dots in black and white, without compression.

use crc::{CRC_32_ISO_HDLC, Crc};

/// A chequered icon that tells profiles apart: `seed` chooses the pattern.
///
/// SGP.22 v2.5 section 4.4 allows 64 by 64 dots and 1024 octets.
pub fn icon(seed: u32) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1A\n".to_vec();
    let size = SIZE.to_be_bytes();
    let header = [&size[..], &size, &[1, GREYSCALE, 0, 0, 0]].concat();
    chunk(&mut png, b"IHDR", &header);
    chunk(&mut png, b"IDAT", &stored(&dots(seed)));
    chunk(&mut png, b"IEND", &[]);
    png
}

/// Eight by eight squares, mirrored in the middle; each row begins with its filter, none.
fn dots(seed: u32) -> Vec<u8> {
    let mixed = seed.wrapping_mul(0x9E37_79B9).rotate_left(7) ^ seed;
    let mut dots = Vec::new();
    for row in 0..SIZE {
        dots.push(0);
        let half = mixed >> (row / 8 * 4) & 0x0F;
        for column in 0..8 {
            let place = if column < 4 { column } else { 7 - column };
            dots.push(if half >> place & 1 == 1 { 0x00 } else { 0xFF });
        }
    }
    dots
}

/// The zlib stream of one stored block (RFC 1950 and 1951).
fn stored(data: &[u8]) -> Vec<u8> {
    let [.., high, low] = data.len().to_be_bytes();
    let mut stream = vec![0x78, 0x01, 0x01, low, high, !low, !high];
    stream.extend(data);
    let (first, second) = data.iter().fold((1_u32, 0_u32), |(first, second), octet| {
        let first = (first + u32::from(*octet)) % 65_521;
        (first, (second + first) % 65_521)
    });
    stream.extend((second << 16 | first).to_be_bytes());
    stream
}

fn chunk(png: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    let [.., a, b, c, d] = data.len().to_be_bytes();
    png.extend([a, b, c, d]);
    let covered = [&kind[..], data].concat();
    png.extend(&covered);
    png.extend(CRC_32.checksum(&covered).to_be_bytes());
}

const CRC_32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
const SIZE: u32 = 64;
const GREYSCALE: u8 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_the_usual_ones() {
        assert_eq!(CRC_32.checksum(b"IEND"), 0xAE42_6082);
        assert!(stored(b"Wikipedia").ends_with(&[0x11, 0xE6, 0x03, 0x98]));
    }

    #[test]
    fn an_icon_is_a_small_png_of_its_own() {
        let first = icon(1);
        assert!(
            first.starts_with(b"\x89PNG\r\n\x1A\n\0\0\0\x0DIHDR\0\0\0\x40\0\0\0\x40\x01\0\0\0\0")
        );
        assert!(first.ends_with(b"\0\0\0\0IEND\xAE\x42\x60\x82"));
        assert!(first.len() <= 1024);
        assert_ne!(first, icon(2));
    }
}

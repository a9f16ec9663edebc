//! Octets as AT commands carry them.

/// Reads `"<digits>"`.
pub(super) fn read_digits(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim().strip_prefix('"')?.strip_suffix('"')?;
    hex::decode(digits).ok()
}

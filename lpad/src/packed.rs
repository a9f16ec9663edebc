//! Texts that the program carries as LZ4 blocks, which take a third of their room: the build script packs
//! them.

/// One of these texts.
#[derive(Debug)]
pub(crate) struct Packed(&'static [u8]);

/// The description of the API in OpenAPI 3.1, `lpad/openapi.json`.
pub(crate) const OPENAPI: Packed = Packed(include_bytes!(concat!(env!("OUT_DIR"), "/openapi.lz4")));
/// A configuration with every key, `lpad/lpad.toml`.
pub(crate) const EXAMPLE: Packed = Packed(include_bytes!(concat!(env!("OUT_DIR"), "/lpad.lz4")));
/// The built-in table of modems, `lpad/modems.toml`.
pub(crate) const MODEMS: Packed = Packed(include_bytes!(concat!(env!("OUT_DIR"), "/modems.lz4")));

impl Packed {
    /// The text.
    pub(crate) fn text(&self) -> String {
        let text = lz4_flex::block::decompress_size_prepended(self.0);
        // A test unpacks each.
        text.ok()
            .and_then(|text| String::from_utf8(text).ok())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_unpacked_and_small_for_what_it_says() {
        for (packed, first, most) in [
            (OPENAPI, "{\"openapi\":", 28_000),
            (EXAMPLE, "# ", 10_000),
            (MODEMS, "[[modem]]\n", 7_000),
        ] {
            let text = packed.text();
            assert!(text.starts_with(first), "{text}");
            assert!(
                packed.0.len() < most,
                "{} of {}",
                packed.0.len(),
                text.len()
            );
        }
    }
}

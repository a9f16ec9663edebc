//! What the unit tests of this crate share.

use serde_json::Value;
use tempfile::TempDir;

/// The recorded session with its own certificates, issued by `Vector CI`.
pub(crate) fn vectors() -> Value {
    serde_json::from_str(include_str!("../../es10-apdu/vectors/vectors.json")).unwrap()
}

pub(crate) fn certificate(name: &str) -> Vec<u8> {
    hex::decode(vectors()["certificates"][name].as_str().unwrap()).unwrap()
}

/// A folder of its own for one test, removed with the value.
pub(crate) fn temporary_folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

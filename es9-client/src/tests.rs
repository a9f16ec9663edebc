//! What the unit tests of this crate share.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

/// The recorded session with its own certificates, issued by `Vector CI`.
pub(crate) fn vectors() -> Value {
    serde_json::from_str(include_str!("../../es10-apdu/vectors/vectors.json")).unwrap()
}

pub(crate) fn certificate(name: &str) -> Vec<u8> {
    hex::decode(vectors()["certificates"][name].as_str().unwrap()).unwrap()
}

/// A folder of its own for one test, removed with the value.
pub(crate) fn temporary_folder() -> TemporaryFolder {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("es9-client-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    fs::create_dir(&path).unwrap();
    TemporaryFolder(path)
}

pub(crate) struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

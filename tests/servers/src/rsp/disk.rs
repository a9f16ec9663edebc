//! What a server keeps on disk.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Reads a file a server keeps; nothing when there is none yet.
pub(crate) fn read(folder: &Path, file: &str) -> io::Result<Option<Vec<u8>>> {
    match fs::read(folder.join(file)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// What is in the JSON of a file, up to this version of its format; without a version it is older and
/// read like 1. A newer one is left for a newer server.
pub(crate) fn parse<T: DeserializeOwned>(file: &str, text: &[u8], newest: u32) -> io::Result<T> {
    #[derive(Deserialize)]
    struct Head {
        #[serde(default)]
        version: u32,
    }
    let invalid = |problem: String| {
        let problem = format!("{file} cannot be used: {problem}");
        io::Error::new(io::ErrorKind::InvalidData, problem)
    };
    let head: Head = serde_json::from_slice(text).map_err(|error| invalid(error.to_string()))?;
    if head.version > newest {
        let version = head.version;
        let problem = format!("its version is {version}, and {newest} is the newest one known");
        return Err(invalid(problem));
    }
    serde_json::from_slice(text).map_err(|error| invalid(error.to_string()))
}

/// Replaces a file a server keeps; a crash leaves the old or the new one.
pub(crate) fn replace(folder: &Path, name: &str, text: &[u8]) -> io::Result<()> {
    let draft = folder.join(format!("{name}.new"));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    // A draft that another program left behind may be readable by every user.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&draft, folder.join(name))?;
    File::open(folder)?.sync_all()
}

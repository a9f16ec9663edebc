//! The card's flash as a folder: `state.json`, and `profiles/<ICCID>.der` for each profile.
//!
//! A profile's file holds its package exactly as decrypted. Every change is written beside and
//! renamed into place, so the folder is always the state before or after a command.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use es10_apdu::types::Iccid;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::euicc::NonVolatile;

/// Why a card's state could not be kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// A file or folder could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another card has the folder open.
    #[error("{0}: another emulated card uses this folder")]
    InUse(PathBuf),
    /// A later version of the emulator wrote the state.
    #[error("{path}: its version is {version}, and {VERSION} is the newest one known")]
    Version {
        /// Which file.
        path: PathBuf,
        /// The version of its format.
        version: u64,
    },
    /// The state does not hold what it should.
    #[error("{path}: {source}")]
    Format {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// A folder that belongs to one card as long as this value lives.
#[derive(Debug)]
pub struct StateFolder {
    path: PathBuf,
    profiles: BTreeSet<Iccid>,
    _lock: File,
}

impl StateFolder {
    /// Opens a folder, after making it when it is missing.
    ///
    /// # Errors
    ///
    /// When it cannot be made, or another card has it open.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let profiles = path.join(PROFILES);
        fs::create_dir_all(&profiles).map_err(at(&profiles))?;
        let lock = File::open(path).map_err(at(path))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| StateError::InUse(path.to_owned()))?;
        Ok(Self {
            path: path.to_owned(),
            profiles: BTreeSet::new(),
            _lock: lock,
        })
    }

    /// Reads what the card held; a new folder holds what a new card does.
    ///
    /// # Errors
    ///
    /// When the state cannot be read, or a profile's package is missing.
    pub fn load(&mut self) -> Result<NonVolatile, StateError> {
        let path = self.path.join(STATE);
        let mut memory: NonVolatile = match fs::read(&path) {
            Ok(json) => parse(path, &json)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => NonVolatile::default(),
            Err(error) => return Err(at(&path)(error)),
        };
        for profile in &mut memory.profiles {
            let path = self.package_path(&profile.iccid);
            profile.package = fs::read(&path).map_err(at(&path))?;
            self.profiles.insert(profile.iccid);
        }
        self.remove_strays()?;
        Ok(memory)
    }

    /// Writes what the card holds now.
    ///
    /// # Errors
    ///
    /// When something cannot be written; the folder then holds the state before.
    pub fn save(&mut self, memory: &NonVolatile) -> Result<(), StateError> {
        for profile in &memory.profiles {
            if !self.profiles.contains(&profile.iccid) {
                replace(&self.package_path(&profile.iccid), &profile.package)?;
            }
        }
        let path = self.path.join(STATE);
        let state = Versioned {
            version: VERSION,
            memory,
        };
        let json = serde_json::to_vec_pretty(&state).map_err(|source| StateError::Format {
            path: path.clone(),
            source,
        })?;
        replace(&path, &json)?;
        let kept: BTreeSet<Iccid> = memory
            .profiles
            .iter()
            .map(|profile| profile.iccid)
            .collect();
        for deleted in self.profiles.difference(&kept) {
            let path = self.package_path(deleted);
            fs::remove_file(&path).map_err(at(&path))?;
        }
        self.profiles = kept;
        Ok(())
    }

    /// Takes no package for written: the memory is not the one of before.
    pub(crate) fn forget(&mut self) {
        self.profiles.clear();
    }

    /// Removes what an interrupted save has left: drafts, and packages no profile belongs to.
    fn remove_strays(&self) -> Result<(), StateError> {
        let folder = self.path.join(PROFILES);
        for entry in fs::read_dir(&folder).map_err(at(&folder))? {
            let path = entry.map_err(at(&folder))?.path();
            let known = self
                .profiles
                .iter()
                .any(|iccid| path == self.package_path(iccid));
            if !known {
                fs::remove_file(&path).map_err(at(&path))?;
            }
        }
        Ok(())
    }

    fn package_path(&self, iccid: &Iccid) -> PathBuf {
        self.path.join(PROFILES).join(format!("{iccid}.der"))
    }
}

/// The state as it is written.
#[derive(Serialize)]
struct Versioned<'a> {
    version: u64,
    #[serde(flatten)]
    memory: &'a NonVolatile,
}

/// Reads the state; without a version it is older, and read like 1.
fn parse(path: PathBuf, json: &[u8]) -> Result<NonVolatile, StateError> {
    let format = |source| StateError::Format {
        path: path.clone(),
        source,
    };
    let mut state: Map<String, Value> = serde_json::from_slice(json).map_err(format)?;
    let version = state.remove("version").and_then(|version| version.as_u64());
    match version {
        Some(version) if version > VERSION => Err(StateError::Version { path, version }),
        _ => NonVolatile::deserialize(Value::Object(state)).map_err(format),
    }
}

fn replace(path: &Path, content: &[u8]) -> Result<(), StateError> {
    let draft = path.with_extension("new");
    let mut file = File::create(&draft).map_err(at(&draft))?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .map_err(at(&draft))?;
    fs::rename(&draft, path).map_err(at(path))?;
    let folder = path.parent().unwrap_or(path);
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(at(folder))
}

fn at(path: &Path) -> impl Fn(io::Error) -> StateError {
    move |source| StateError::Io {
        path: path.to_owned(),
        source,
    }
}

/// Of the state's format.
const VERSION: u64 = 1;
const STATE: &str = "state.json";
const PROFILES: &str = "profiles";

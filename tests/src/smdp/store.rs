//! What the server remembers, and its copy on disk.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{
    es9::{Client, Function},
    notification::ReceivedNotification,
    order::Orders,
    reservation::Reservations,
};
use crate::rsp::{faults::Faults, session::Sessions};

/// How often the server was asked what.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Connections accepted for TLS.
    pub connections: u64,
    /// TLS handshakes completed.
    pub handshakes: u64,
    requests: [u64; Function::ALL.len()],
}

impl Counters {
    /// How often this function was called, faulty calls included.
    pub fn requests(&self, function: Function) -> u64 {
        self.requests[function as usize]
    }

    pub(super) fn count(&mut self, function: Function) {
        self.requests[function as usize] += 1;
    }
}

/// Everything that changes while the server runs.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) orders: Orders,
    pub(super) reservations: Reservations,
    pub(super) sessions: Sessions<Client>,
    pub(super) notifications: Vec<ReceivedNotification>,
    /// The reasons of the sessions cancelled.
    pub(super) cancellations: Vec<i64>,
    pub(super) faults: Faults<Function>,
    pub(super) counters: Counters,
}

impl State {
    /// Keeps a notification; the oldest ones make room.
    pub(super) fn keep(&mut self, notification: ReceivedNotification) {
        if self.notifications.len() == MAX_NOTIFICATIONS {
            self.notifications.remove(0);
        }
        self.notifications.push(notification);
    }

    /// Keeps the reason of a session cancelled; the oldest ones make room.
    pub(super) fn cancelled(&mut self, reason: i64) {
        if self.cancellations.len() == MAX_CANCELLATIONS {
            self.cancellations.remove(0);
        }
        self.cancellations.push(reason);
    }

    /// Reads what an earlier run of the server saved, if anything.
    ///
    /// Reservations that were still being prepared are available: their time has passed.
    pub(super) fn load(folder: &Path) -> io::Result<Self> {
        let text = match fs::read(folder.join(FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            other => other?,
        };
        let Saved {
            mut orders,
            mut reservations,
        } = saved(&text)?;
        for reservation in reservations.all() {
            while orders
                .get_mut(reservation.order)
                .is_some_and(|order| order.prepare())
            {}
        }
        reservations.follow(&orders);
        Ok(Self {
            orders,
            reservations,
            ..Self::default()
        })
    }

    /// What is worth keeping, as text.
    pub(super) fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        #[derive(Serialize)]
        struct Saving<'a> {
            version: u32,
            orders: &'a Orders,
            reservations: &'a Reservations,
        }
        let Self {
            orders,
            reservations,
            ..
        } = self;
        serde_json::to_vec(&Saving {
            version: VERSION,
            orders,
            reservations,
        })
    }
}

#[derive(Deserialize)]
struct Saved {
    orders: Orders,
    reservations: Reservations,
}

/// Reads a copy; one this server does not understand is left alone for whoever does.
fn saved(text: &[u8]) -> io::Result<Saved> {
    #[derive(Deserialize)]
    struct Head {
        #[serde(default)]
        version: u32,
    }
    let invalid = |problem: String| {
        let problem = format!("{FILE} cannot be used: {problem}");
        io::Error::new(io::ErrorKind::InvalidData, problem)
    };
    let head: Head = serde_json::from_slice(text).map_err(|error| invalid(error.to_string()))?;
    if head.version > VERSION {
        let version = head.version;
        let problem = format!("its version is {version}, and {VERSION} is the newest one known");
        return Err(invalid(problem));
    }
    serde_json::from_slice(text).map_err(|error| invalid(error.to_string()))
}

/// Replaces the copy on disk; a crash leaves the old or the new one.
pub(super) fn save(folder: &Path, text: &[u8]) -> io::Result<()> {
    let draft = folder.join(format!("{FILE}.new"));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    // A draft left behind by somebody else could be anybody's to read.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&draft, folder.join(FILE))?;
    File::open(folder)?.sync_all()
}

const FILE: &str = "orders.json";

/// Of the file; one without a version is older and read like 1.
const VERSION: u32 = 1;

const MAX_CANCELLATIONS: usize = 1000;
const MAX_NOTIFICATIONS: usize = 10_000;

#[cfg(test)]
mod tests;

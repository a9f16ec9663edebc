//! What the server remembers, and its copy on disk.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
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
        } = serde_json::from_slice(&text)?;
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
            orders: &'a Orders,
            reservations: &'a Reservations,
        }
        let Self {
            orders,
            reservations,
            ..
        } = self;
        serde_json::to_vec(&Saving {
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

/// Replaces the copy on disk; a crash leaves the old or the new one.
pub(super) fn save(folder: &Path, text: &[u8]) -> io::Result<()> {
    let draft = folder.join(format!("{FILE}.new"));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&draft, folder.join(FILE))?;
    File::open(folder)?.sync_all()
}

const FILE: &str = "orders.json";
const MAX_CANCELLATIONS: usize = 1000;
const MAX_NOTIFICATIONS: usize = 10_000;

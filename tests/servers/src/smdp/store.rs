//! What the server remembers, and its copy on disk.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::es2::Stock;
use super::es9::{Client, Function};
use super::notification::ReceivedNotification;
use super::order::Orders;
use super::request_log::RequestLog;
use super::reservation::{ReservationFaults, Reservations};
use super::sims::Sims;
use crate::rsp::disk;
use crate::rsp::faults::Faults;
use crate::rsp::session::Sessions;

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

    /// How often any function was called.
    pub fn all_requests(&self) -> u64 {
        self.requests.iter().sum()
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
    pub(super) reservation_faults: ReservationFaults,
    pub(super) sims: Sims,
    pub(super) stock: Stock,
    /// The copy on disk, as far as it is known.
    on_disk: Vec<u8>,
    pub(super) sessions: Sessions<Client>,
    pub(super) notifications: Vec<ReceivedNotification>,
    /// The reasons of the sessions cancelled.
    pub(super) cancellations: Vec<i64>,
    pub(super) faults: Faults<Function>,
    pub(super) counters: Counters,
    pub(super) requests: RequestLog,
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
    /// What was being prepared then is done: its time has passed.
    pub(super) fn load(folder: &Path, now: u64) -> io::Result<Self> {
        let Some(text) = disk::read(folder, FILE)? else {
            return Ok(Self::default());
        };
        let Saved {
            mut orders,
            mut reservations,
            mut sims,
            stock,
        } = disk::parse(FILE, &text, VERSION)?;
        for reservation in reservations.all() {
            while reservations.prepare(&mut orders, &reservation.sid) {}
        }
        reservations.follow(&orders, now);
        for reservation in reservations.all() {
            if let Some(order) = orders.get(reservation.order) {
                reservation.provide_sim(order, &mut sims, now);
            }
        }
        sims.finish_all();
        Ok(Self {
            orders,
            reservations,
            sims,
            stock,
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
            sims: &'a Sims,
            stock: &'a Stock,
        }
        let Self {
            orders,
            reservations,
            sims,
            stock,
            ..
        } = self;
        serde_json::to_vec(&Saving {
            version: VERSION,
            orders,
            reservations,
            sims,
            stock,
        })
    }

    /// Brings the copy on disk up to date, if it is not.
    pub(super) fn save(&mut self, folder: &Path) -> io::Result<()> {
        let text = self.to_json()?;
        if text != self.on_disk {
            disk::replace(folder, FILE, &text)?;
            self.on_disk = text;
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Saved {
    orders: Orders,
    reservations: Reservations,
    #[serde(default)]
    sims: Sims,
    #[serde(default)]
    stock: Stock,
}

const FILE: &str = "orders.json";

/// Of the file's format.
const VERSION: u32 = 1;

const MAX_CANCELLATIONS: usize = 1000;
const MAX_NOTIFICATIONS: usize = 10_000;

#[cfg(test)]
mod tests;

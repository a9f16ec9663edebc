//! The connections being served: who is admitted, and who has to go for a newcomer.
//!
//! A client that waits (for an operation, for the card, for events) costs a descriptor and no work.
//! It is counted apart from those that ask and leave, so that waiting clients never take the place
//! of a short request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::memory::operations::{Lease, LeaseHolder};

/// The connections being served.
#[derive(Debug)]
pub(super) struct Connections {
    table: Shared,
    tasks: JoinSet<()>,
    refusals: JoinSet<()>,
}

/// The answer to a newcomer.
#[derive(Debug)]
pub(super) enum Admission {
    /// It is served, on this place.
    Take(Arc<Slot>),
    /// Every place is taken by a request under way.
    Refuse,
}

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Connections that do not wait.
    most: usize,
    /// Those of one user.
    most_of_one: usize,
    /// Connections that wait.
    waiting: usize,
    /// Those of one user.
    waiting_of_one: usize,
    /// Readers of the events of one user.
    followers_of_one: usize,
}

type Shared = Arc<Mutex<Table>>;

#[derive(Debug)]
struct Table {
    limits: Limits,
    last: u64,
    open: BTreeMap<u64, Open>,
}

#[derive(Debug)]
struct Open {
    uid: u32,
    doing: Doing,
    /// Of the questions that are for the client at the other end.
    holder: LeaseHolder,
    /// Set as soon as the connection has a task.
    task: Option<AbortHandle>,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Doing {
    /// No request is under way since then. A request whose head is not complete is none yet.
    Idle(Instant),
    /// The head of a request is there since then, and its body is not yet.
    Receiving(Instant),
    /// A request is under way.
    Answering,
    /// A request is under way that waits for something to happen.
    Waiting,
    /// The events are followed.
    Following,
}

impl Connections {
    /// No connections yet, and later at most `most` that do not wait.
    pub(super) fn new(most: usize) -> Self {
        let table = Table {
            limits: Limits::of(most),
            last: 0,
            open: BTreeMap::new(),
        };
        Self {
            table: Arc::new(Mutex::new(table)),
            tasks: JoinSet::new(),
            refusals: JoinSet::new(),
        }
    }

    /// Gives a newcomer a place. Where there is none, the connection that is idle longest goes:
    /// one of the same user, else one of the user that has most.
    ///
    /// Never waits: an idle client has no request under way and is closed without notice.
    pub(super) fn admit(&mut self, uid: u32) -> Admission {
        let mut table = lock(&self.table);
        if !table.make_room(uid) {
            return Admission::Refuse;
        }
        table.last += 1;
        let number = table.last;
        let open = Open {
            uid,
            doing: Doing::Idle(Instant::now()),
            holder: LeaseHolder::default(),
            task: None,
        };
        table.open.insert(number, open);
        Admission::Take(Arc::new(Slot {
            number,
            table: Arc::clone(&self.table),
        }))
    }

    /// Serves a connection that was admitted.
    pub(super) fn serve(
        &mut self,
        slot: &Slot,
        connection: impl Future<Output = ()> + Send + 'static,
    ) {
        let task = self.tasks.spawn(connection);
        if let Some(open) = lock(&self.table).open.get_mut(&slot.number) {
            open.task = Some(task);
        }
    }

    /// Tells a newcomer that there is no place for it. Of a crowd only the first ones are told.
    pub(super) fn refuse(&mut self, refusal: impl Future<Output = ()> + Send + 'static) {
        while self.refusals.try_join_next().is_some() {}
        if self.refusals.len() < REFUSALS {
            self.refusals.spawn(refusal);
        }
    }

    /// Waits until every connection has ended.
    pub(super) async fn drain(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    /// Forgets a connection that has ended; waits for one when there is none.
    pub(super) async fn ended(&mut self) {
        if self.tasks.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

impl Limits {
    fn of(most: usize) -> Self {
        Self {
            most,
            // One user cannot take every place: what is left lets root look at what happens.
            most_of_one: most - most / 4,
            waiting: WAITING_TO_SERVED * most,
            waiting_of_one: WAITING_TO_SERVED * most.div_ceil(2),
            followers_of_one: most.div_ceil(2),
        }
    }
}

impl Table {
    /// Whether there is room for one more of this user, when need be after others have gone.
    fn make_room(&mut self, uid: u32) -> bool {
        loop {
            let load = self.load();
            let own = load.iter().find(|(user, _)| *user == uid);
            let own = own.map_or(0, |(_, count)| *count);
            let gone = if own >= self.limits.most_of_one {
                self.longest_idle(uid)
            } else if load.iter().map(|(_, count)| count).sum::<usize>() >= self.limits.most {
                self.longest_idle(uid)
                    .or_else(|| self.longest_idle_of_most(&load))
            } else {
                return true;
            };
            let Some(gone) = gone else {
                return false;
            };
            if let Some(task) = self.open.remove(&gone).and_then(|open| open.task) {
                task.abort();
            }
        }
    }

    /// How many connections each user has that do not wait.
    fn load(&self) -> Vec<(u32, usize)> {
        let mut load: Vec<(u32, usize)> = Vec::new();
        for open in self.open.values().filter(|open| !open.is_waiting()) {
            match load.iter_mut().find(|(uid, _)| *uid == open.uid) {
                Some((_, count)) => *count += 1,
                None => load.push((open.uid, 1)),
            }
        }
        load
    }

    fn longest_idle(&self, uid: u32) -> Option<u64> {
        let own = self.open.iter().filter(|(_, open)| open.uid == uid);
        let idle = own.filter_map(|(number, open)| Some((open.idle_since()?, *number)));
        idle.min().map(|(_, number)| number)
    }

    fn longest_idle_of_most(&self, load: &[(u32, usize)]) -> Option<u64> {
        let idle = load
            .iter()
            .filter_map(|(uid, count)| Some((count, self.longest_idle(*uid)?)));
        idle.max_by_key(|(count, _)| **count)
            .map(|(_, number)| number)
    }

    /// Lets a request wait, unless too many do.
    fn wait(&mut self, number: u64, doing: Doing) -> Result<(), Crowded> {
        let Some(uid) = self.open.get(&number).map(|open| open.uid) else {
            return Ok(());
        };
        let count = |fits: &dyn Fn(&Open) -> bool| self.open.values().filter(|o| fits(o)).count();
        let waiting = count(&Open::is_waiting);
        let own = count(&|open| open.uid == uid && open.is_waiting());
        let following = count(&|open| open.uid == uid && open.doing == Doing::Following);
        let limits = self.limits;
        if doing == Doing::Following && following >= limits.followers_of_one {
            return Err(Crowded::Followers(following));
        }
        if waiting >= limits.waiting || own >= limits.waiting_of_one {
            return Err(Crowded::Waiting(own));
        }
        self.is_now(number, doing);
        Ok(())
    }

    fn is_now(&mut self, number: u64, doing: Doing) {
        if let Some(open) = self.open.get_mut(&number) {
            open.doing = doing;
        }
    }
}

impl Open {
    /// Since when nothing hangs on the connection: half a request is none.
    fn idle_since(&self) -> Option<Instant> {
        match self.doing {
            Doing::Idle(since) | Doing::Receiving(since) if !self.holder.is_needed() => Some(since),
            _ => None,
        }
    }

    /// As [`Self::idle_since`], but a body has a deadline of its own, and an answer when it is late.
    fn unused_since(&self) -> Option<Instant> {
        match self.doing {
            Doing::Receiving(_) => None,
            _ => self.idle_since(),
        }
    }

    fn is_waiting(&self) -> bool {
        match self.doing {
            Doing::Idle(_) => self.holder.is_needed(),
            Doing::Receiving(_) | Doing::Answering => false,
            Doing::Waiting | Doing::Following => true,
        }
    }
}

/// Why a request cannot wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Crowded {
    /// The user has this many readers of the events.
    #[error("{0} clients of this user follow the events already")]
    Followers(usize),
    /// The user has this many clients that wait.
    #[error("{0} clients of this user wait already")]
    Waiting(usize),
}

/// The place of one connection, free again when the connection drops it.
#[derive(Debug)]
pub(super) struct Slot {
    number: u64,
    table: Shared,
}

impl Slot {
    /// A request begins; it ends when the value is dropped, with the last octet of its answer.
    pub(super) fn answering(self: &Arc<Self>) -> Answering {
        lock(&self.table).is_now(self.number, Doing::Answering);
        Answering {
            slot: Arc::clone(self),
        }
    }

    /// Resolves when nothing has hung on the connection for too long.
    pub(super) async fn idle_too_long(&self) {
        loop {
            let now = Instant::now();
            let idle = lock(&self.table)
                .open
                .get(&self.number)
                .map(Open::unused_since);
            match idle {
                // Another connection took the place.
                None => return,
                Some(Some(since)) if since + LONGEST_IDLE <= now => return,
                Some(since) => sleep_until(since.unwrap_or(now) + LONGEST_IDLE).await,
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        lock(&self.table).open.remove(&self.number);
    }
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Answering {
    slot: Arc<Slot>,
}

impl Answering {
    /// The body is waited for, until [`Self::received`].
    pub(super) fn receives(&self) {
        self.is_now(Doing::Receiving(Instant::now()));
    }

    /// The request is complete.
    pub(super) fn received(&self) {
        self.is_now(Doing::Answering);
    }

    /// The request waits until the value is dropped.
    pub(super) fn waits(&self) -> Result<Waits<'_>, Crowded> {
        lock(&self.slot.table).wait(self.slot.number, Doing::Waiting)?;
        Ok(Waits { request: self })
    }

    /// The request follows the events until it ends.
    pub(super) fn follows(&self) -> Result<(), Crowded> {
        lock(&self.slot.table).wait(self.slot.number, Doing::Following)
    }

    /// A lease for as long as the connection lasts.
    pub(super) fn lease(&self) -> Option<Lease> {
        let table = lock(&self.slot.table);
        let open = table.open.get(&self.slot.number);
        open.map(|open| open.holder.lease())
    }

    fn is_now(&self, doing: Doing) {
        lock(&self.slot.table).is_now(self.slot.number, doing);
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.is_now(Doing::Idle(Instant::now()));
    }
}

/// A request that waits.
#[derive(Debug)]
pub(super) struct Waits<'a> {
    request: &'a Answering,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.request.is_now(Doing::Answering);
    }
}

fn lock(table: &Shared) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many connections may wait for each one that may be served: a descriptor is cheap, but the
/// usual limit of a process is 1,024.
const WAITING_TO_SERVED: usize = 8;
/// How long a request's head may take to arrive, and a connection may stay without one.
const LONGEST_IDLE: Duration = Duration::from_secs(10);
/// How many refused newcomers are told so at the same time.
const REFUSALS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn take(connections: &mut Connections, uid: u32) -> Arc<Slot> {
        match connections.admit(uid) {
            Admission::Take(slot) => {
                connections.serve(&slot, std::future::pending());
                slot
            }
            Admission::Refuse => panic!("user {uid} is refused"),
        }
    }

    fn is_open(connections: &Connections, slot: &Slot) -> bool {
        lock(&connections.table).open.contains_key(&slot.number)
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_connection_of_the_same_user_goes_first() {
        let mut connections = Connections::new(4);
        let other = take(&mut connections, 7);
        tokio::time::advance(Duration::from_secs(1)).await;
        let first = take(&mut connections, 1);
        let second = take(&mut connections, 1);
        let asked = second.answering();
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(asked);
        let third = take(&mut connections, 1);
        let _newcomer = take(&mut connections, 1);
        assert!(!is_open(&connections, &first));
        for left in [&other, &second, &third] {
            assert!(is_open(&connections, left));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_newcomer_takes_the_place_of_the_user_that_has_most() {
        let mut connections = Connections::new(4);
        let few = take(&mut connections, 1);
        let many: Vec<_> = (0..3).map(|_| take(&mut connections, 2)).collect();
        let _newcomer = take(&mut connections, 3);
        assert!(is_open(&connections, &few));
        assert!(!is_open(&connections, &many[0]));
    }

    #[tokio::test(start_paused = true)]
    async fn requests_under_way_stay_and_one_user_cannot_take_every_place() {
        let mut connections = Connections::new(4);
        let slots: Vec<_> = (0..3).map(|_| take(&mut connections, 1)).collect();
        let requests: Vec<_> = slots.iter().map(Slot::answering).collect();
        assert!(matches!(connections.admit(1), Admission::Refuse));
        let root = take(&mut connections, 0).answering();
        assert!(matches!(connections.admit(2), Admission::Refuse));
        drop((requests, root));
        take(&mut connections, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_request_makes_room_for_a_whole_one() {
        let mut connections = Connections::new(4);
        let slots: Vec<_> = (0..3).map(|_| take(&mut connections, 1)).collect();
        let requests: Vec<_> = slots.iter().map(Slot::answering).collect();
        requests[1].receives();
        take(&mut connections, 1);
        assert!(is_open(&connections, &slots[0]));
        assert!(!is_open(&connections, &slots[1]));
        requests[0].receives();
        requests[0].received();
        let _third = take(&mut connections, 1).answering();
        assert!(matches!(connections.admit(1), Admission::Refuse));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_takes_no_place_and_is_limited_by_user() {
        let mut connections = Connections::new(2);
        let mut waiting = Vec::new();
        for _ in 0..8 {
            let request = take(&mut connections, 1).answering();
            std::mem::forget(request.waits().unwrap());
            waiting.push(request);
        }
        let request = take(&mut connections, 1).answering();
        assert_eq!(request.waits().unwrap_err(), Crowded::Waiting(8));
        let other = take(&mut connections, 2).answering();
        assert!(other.waits().is_ok());
        other.follows().unwrap();
        let second = take(&mut connections, 2).answering();
        assert_eq!(second.follows(), Err(Crowded::Followers(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_whose_client_is_asked_stays() {
        let mut connections = Connections::new(2);
        let asked = take(&mut connections, 1);
        let lease = asked.answering().lease().unwrap();
        let idle = take(&mut connections, 1);
        let newcomer = take(&mut connections, 2);
        assert!(is_open(&connections, &idle));
        let late =
            async { tokio::time::timeout(Duration::from_secs(60), asked.idle_too_long()).await };
        assert!(late.await.is_err());
        newcomer.idle_too_long().await;
        drop(lease);
        asked.idle_too_long().await;
    }
}

//! The connections being served: at most so many, and an idle one never keeps others out.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// The connections being served.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    tasks: JoinSet<()>,
    /// Longest open first.
    open: VecDeque<Open>,
}

#[derive(Debug)]
struct Open {
    since: Instant,
    leave: oneshot::Sender<()>,
}

impl Connections {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            tasks: JoinSet::new(),
            open: VecDeque::new(),
        }
    }

    /// Serves one more; it is handed what resolves when it has to end after its present request.
    pub(super) fn serve<F>(&mut self, connection: impl FnOnce(oneshot::Receiver<()>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (leave, left) = oneshot::channel();
        self.open.retain(|open| !open.leave.is_closed());
        self.open.push_back(Open {
            since: Instant::now(),
            leave,
        });
        self.tasks.spawn(connection(left));
    }

    /// Waits until there is room for one more. Those that are open longest and had time to ask
    /// something have to leave; one with a request under way finishes it first.
    ///
    /// # Cancel safety
    ///
    /// At worst a connection was told to leave for nothing.
    pub(super) async fn make_room(&mut self) {
        while self.tasks.len() >= self.most {
            let due = self.open.front().map(|open| open.since + TIME_TO_ASK);
            let somebody_is_due = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = self.tasks.join_next() => {}
                () = somebody_is_due => {
                    if let Some(open) = self.open.pop_front() {
                        // One that has ended meanwhile makes room as well.
                        let _ = open.leave.send(());
                    }
                    let _ = timeout(TIME_TO_LEAVE, self.tasks.join_next()).await;
                }
            }
        }
    }

    /// Waits until every connection has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub(super) async fn drain(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    /// Forgets connections that have ended; waits for one when there is none.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub(super) async fn ended(&mut self) {
        if self.tasks.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

/// How long a connection may stay idle while others wait.
const TIME_TO_ASK: Duration = Duration::from_secs(1);
/// How long an idle connection needs to end.
const TIME_TO_LEAVE: Duration = Duration::from_millis(100);

//! What the daemon logs, caught.

use std::cell::RefCell;
use std::io;
use std::sync::{Arc, Mutex, Once};

use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

/// Everything this thread logs, down to the last detail.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

thread_local! {
    static CAUGHT: RefCell<Option<Log>> = const { RefCell::new(None) };
}

impl Log {
    /// Catches what this thread logs from now on. The daemon of a test runs on the test's thread.
    pub(crate) fn capture() -> Self {
        static SUBSCRIBER: Once = Once::new();
        // One for all threads: those of threads alone forget callsites others came across first.
        SUBSCRIBER.call_once(|| {
            let wanted = dynamic_filter_fn(|_, _| CAUGHT.with_borrow(Option::is_some));
            let layer = fmt::layer().with_ansi(false).with_writer(Self::current);
            tracing_subscriber::registry()
                .with(layer.with_filter(wanted))
                .init();
        });
        let log = Self::default();
        CAUGHT.set(Some(log.clone()));
        log
    }

    fn current() -> Self {
        CAUGHT.with_borrow(|caught| caught.clone().unwrap_or_default())
    }

    /// What was logged so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

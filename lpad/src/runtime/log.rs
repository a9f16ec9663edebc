//! Logging to standard error, where systemd's journal picks it up.

use std::io::{self, Write};

use tracing::level_filters::LevelFilter;

use crate::config::LogLevel;
use crate::printable::printable;

/// Begins to log; `LPAD_LOG` (`error` to `trace`) wins over the configured level.
pub fn init(configured: LogLevel) {
    let wanted = std::env::var("LPAD_LOG").ok();
    let level = wanted.as_deref().and_then(|name| name.parse().ok());
    let builder = tracing_subscriber::fmt()
        .with_writer(|| Printable(io::stderr()))
        .with_max_level(level.unwrap_or_else(|| filter(configured)))
        .with_target(false);
    // The journal writes the time itself. A second call, in tests, changes nothing.
    let _ = match std::env::var_os("JOURNAL_STREAM") {
        Some(_) => builder.without_time().try_init(),
        None => builder.try_init(),
    };
    if level.is_none() && wanted.is_some() {
        tracing::warn!("LPAD_LOG must be one of error, warn, info, debug and trace");
    }
}

/// Writes lines in which only what can be seen is written as it is: names and messages of servers,
/// cards and modems are part of them.
#[derive(Debug)]
pub struct Printable<W>(pub W);

impl<W: Write> Write for Printable<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        // An event is written at once; a line break in the middle of one comes from elsewhere.
        let (line, end) = match text.strip_suffix('\n') {
            Some(line) => (line, "\n"),
            None => (&*text, ""),
        };
        let line = format!("{}{end}", printable(line));
        // A log that cannot be written must not end what it tells of: the subscriber would tell the
        // error on standard error, which is where the log goes, and panic when that fails as well.
        let _ = self.0.write_all(line.as_bytes());
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A medium that is full, or a reader that has gone.
    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    #[test]
    fn a_log_that_cannot_be_written_is_no_error() {
        let mut log = Printable(Broken);
        log.write_all(b"INFO started\n").unwrap();
        log.flush().unwrap();
    }

    #[test]
    fn a_name_cannot_begin_a_line_or_turn_one_around() {
        let mut log = Printable(Vec::new());
        log.write_all("INFO name=\u{202e}emcA\nERROR forged\n".as_bytes())
            .unwrap();
        let text = String::from_utf8(log.0).unwrap();
        assert_eq!(text, "INFO name=\\u{202e}emcA\\nERROR forged\n");
    }
}

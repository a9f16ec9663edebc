//! Logging to standard error, where systemd's journal picks it up.

use std::fmt;
use std::io::{self, Stderr, Write, stderr};

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error, StrDeserializer};
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use crate::config::LogLevel;
use crate::printable::{printable, without_error_numbers};

/// Begins to log; `LPAD_LOG` (`error` to `trace`) wins over the configured level.
pub fn init(configured: LogLevel) {
    let wanted = std::env::var_os("LPAD_LOG").filter(|wanted| !wanted.is_empty());
    let level = wanted.as_ref().and_then(|name| level(name.to_str()?));
    let log = Log {
        is_journal: is_journal(),
    };
    let builder = tracing_subscriber::fmt()
        .with_writer(log)
        .with_max_level(filter(level.unwrap_or(configured)))
        .with_target(false)
        .with_timer(log);
    // A second call, in tests, changes nothing.
    let _ = builder.try_init();
    if level.is_none() && wanted.is_some() {
        tracing::warn!("LPAD_LOG must be one of error, warn, info, debug and trace");
    }
}

/// Says something on standard error, as what it is for the journal, when nothing is logged yet or any
/// more. Without standard error there is no way to tell it.
pub fn say(level: Level, text: &dyn fmt::Display) {
    let log = Log {
        is_journal: is_journal(),
    };
    let text = text.to_string();
    for line in text.lines() {
        let _ = log.line(level).write_all(format!("{line}\n").as_bytes());
    }
}

/// Whether standard error is the journal, as systemd.exec(5) says under `$JOURNAL_STREAM`.
fn is_journal() -> bool {
    let Some(journal) = std::env::var_os("JOURNAL_STREAM") else {
        return false;
    };
    let error = rustix::fs::fstat(stderr());
    error.is_ok_and(|file| journal == *format!("{}:{}", file.st_dev, file.st_ino))
}

/// Where lines are logged.
#[derive(Clone, Copy, Debug)]
struct Log {
    is_journal: bool,
}

impl Log {
    fn line(self, level: Level) -> Line<Stderr> {
        Line {
            priority: if self.is_journal { priority(level) } else { "" },
            out: stderr(),
        }
    }
}

/// The journal writes the time itself. `without_time` makes a subscriber of another type, which is all of
/// it a second time.
impl FormatTime for Log {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        match self.is_journal {
            true => Ok(()),
            false => SystemTime.format_time(writer),
        }
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Line<Stderr>;

    fn make_writer(&self) -> Self::Writer {
        self.line(Level::INFO)
    }

    fn make_writer_for(&self, metadata: &Metadata<'_>) -> Self::Writer {
        self.line(*metadata.level())
    }
}

/// How the journal tells levels apart: sd-daemon(3).
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        _ => "<7>",
    }
}

/// Writes lines in which only what can be seen is written as it is: names and messages of servers,
/// cards and modems are part of them.
#[derive(Debug)]
struct Line<W> {
    /// What the journal wants in front of it.
    priority: &'static str,
    out: W,
}

impl<W: Write> Write for Line<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        // An event is written at once; a line break in the middle of one comes from elsewhere.
        let (line, end) = match text.strip_suffix('\n') {
            Some(line) => (line, "\n"),
            None => (&*text, ""),
        };
        // Behind the time that the journal is not told.
        let line = match self.priority {
            "" => line,
            _ => line.strip_prefix(' ').unwrap_or(line),
        };
        let line = without_error_numbers(line);
        let line = format!("{}{}{end}", self.priority, printable(&line));
        // A log that cannot be written must not end what it tells of: the subscriber would tell the
        // error on standard error, which is where the log goes, and panic when that fails as well.
        let _ = self.out.write_all(line.as_bytes());
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.out.flush();
        Ok(())
    }
}

/// The level of this name.
fn level(name: &str) -> Option<LogLevel> {
    let name: StrDeserializer<'_, Error> = name.into_deserializer();
    LogLevel::deserialize(name).ok()
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
        let mut log = Line {
            priority: "",
            out: Broken,
        };
        log.write_all(b"INFO started\n").unwrap();
        log.flush().unwrap();
    }

    #[test]
    fn a_name_cannot_begin_a_line_or_turn_one_around() {
        let mut log = Line {
            priority: "<3>",
            out: Vec::new(),
        };
        log.write_all("INFO name=\u{202e}emcA\nERROR forged\n".as_bytes())
            .unwrap();
        let text = String::from_utf8(log.out).unwrap();
        assert_eq!(text, "<3>INFO name=\\u{202e}emcA\\nERROR forged\n");
    }

    #[test]
    fn only_the_five_names_are_levels() {
        for (name, is_one) in [
            ("error", true),
            ("warn", true),
            ("info", true),
            ("debug", true),
            ("trace", true),
            ("off", false),
            ("0", false),
            ("", false),
        ] {
            assert_eq!(level(name).is_some(), is_one, "{name}");
        }
    }
}

//! Logging to standard error, where systemd's journal picks it up.

use std::io;

use tracing::level_filters::LevelFilter;

use crate::config::LogLevel;

/// Begins to log; `LPAD_LOG` (`error` to `trace`) wins over the configured level.
pub fn init(configured: LogLevel) {
    let wanted = std::env::var("LPAD_LOG").ok();
    let level = wanted.as_deref().and_then(|name| name.parse().ok());
    let builder = tracing_subscriber::fmt()
        .with_writer(io::stderr)
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

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

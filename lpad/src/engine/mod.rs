//! The one task that owns an eUICC: operations come in, outcomes go out, one at a time.

mod handle;

pub use handle::{Consent, Download, DownloadSource, EngineHandle, Job, ResetScope};

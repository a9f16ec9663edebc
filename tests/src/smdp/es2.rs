//! ES2+: what an operator asks of this server, and what the server tells the operator.

mod events;
mod status;

pub use self::events::{Event, EventError, EventRegistrar, Registration};

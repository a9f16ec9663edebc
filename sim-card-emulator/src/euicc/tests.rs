pub(crate) mod bench;
mod channels;
mod forced;
mod loading;
mod notifications;
mod profiles;
mod revocation;
mod session;
mod vectors;

pub(crate) mod bench;
mod channels;
mod loading;
mod notifications;
mod profiles;
mod session;
mod vectors;

//! The API on the Unix socket: HTTP/1.1 and JSON, one resource per file.

pub mod problem;

//! The test bench of lpad: a test SM-DP+ and profiles to download from it.

pub mod bed;
pub mod bench;
pub mod lpa;
pub mod profile;
mod rsp;
pub mod smdp;
pub mod smds;

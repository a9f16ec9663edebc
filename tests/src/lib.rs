//! The test bed of lpad: card, modem and SM-DP+ joined in memory, and a daemon in front of them.

pub mod bed;
pub mod bench;
pub mod fuzzing;

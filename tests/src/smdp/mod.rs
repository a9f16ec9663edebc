//! A test SM-DP+.

//! See [`lpad_tests::fuzzing::at_line`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lpad_tests::fuzzing::at_line(bytes));

//! See [`lpad_tests::fuzzing::modem_table`].

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| lpad_tests::fuzzing::modem_table(text));

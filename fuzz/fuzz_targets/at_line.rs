//! What a modem may say: the line parser takes it in any pieces and never grows without bound.

#![no_main]

use es10_apdu::at::{LineParser, Pending};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let pending = Pending::new("AT+CSIM=14,\"81E2910003BF2E\"");
    let mut parser = LineParser::default();
    for piece in bytes.chunks(7) {
        parser.push(piece);
        while let Some(line) = parser.next(Some(&pending)) {
            let _ = format!("{line:?}");
        }
    }
});

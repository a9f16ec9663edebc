//! Bytes for the emulated modem: it answers, and never grows without bound.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sim_card_emulator::modem::{Card, Identity, Modem};

/// A card that says yes.
struct Yes;

impl Card for Yes {
    fn transmit(&mut self, _: &[u8]) -> Vec<u8> {
        vec![0x90, 0x00]
    }

    fn reset(&mut self) {}
}

fuzz_target!(|bytes: &[u8]| {
    let mut modem = Modem::new(Yes, Identity::default());
    for piece in bytes.chunks(11) {
        modem.push(piece);
        while modem.next_action().is_some() {}
    }
});

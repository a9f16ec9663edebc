//! Command APDUs for the card: any sequence is answered, and power may be lost after each.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sim_card_emulator::{
    euicc::{Env, Euicc, Identity, NonVolatile, Settings},
    pki::{Pki, PkiOptions},
};

static IDENTITY: LazyLock<Identity> = LazyLock::new(|| {
    let pki = Pki::generate(&PkiOptions::default()).expect("the default options are usable");
    Identity::from_pki(&pki).expect("the PKI is complete")
});

/// The same numbers every time, so that a finding repeats.
struct Counting(u8);

impl Env for Counting {
    fn random(&mut self, out: &mut [u8]) {
        for octet in out {
            self.0 = self.0.wrapping_add(1);
            *octet = self.0;
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut card = Euicc::new(
        IDENTITY.clone(),
        Settings::default(),
        NonVolatile::default(),
    );
    let mut env = Counting(0);
    card.handle(&[0x00, 0x70, 0x00, 0x00, 0x01], &mut env);
    let select = [
        &[0x01, 0xA4, 0x04, 0x00, 0x10][..],
        &es10_apdu::isdr::ISDR_AID,
    ]
    .concat();
    card.handle(&select, &mut env);
    // The first octet of each piece is its length; 0 resets the card.
    let mut rest = bytes;
    while let Some((&len, more)) = rest.split_first() {
        if len == 0 {
            card.reset();
        }
        let (apdu, next) = more.split_at(usize::from(len).min(more.len()));
        card.handle(apdu, &mut env);
        // A whole ES10 request needs no luck with headers.
        let mut store = vec![
            0x81,
            0xE2,
            0x91,
            0x00,
            len.min(u8::try_from(apdu.len()).unwrap_or(255)),
        ];
        store.extend_from_slice(apdu);
        card.handle(&store, &mut env);
        rest = next;
    }
});

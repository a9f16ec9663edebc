//! PIN codes of the profile in use.

use rsp_common::der::{constructed, tlv};

use super::bench::{Bench, ICCID};
use super::files::{enable, install, package};

const USIM: &str = "00A4040C07A0000000871002";

/// PUK and PIN codes: the PIN is 1234 and asked for, the second PIN is not.
pub(super) fn codes() -> [Vec<u8>; 2] {
    let header = |number| tlv(0xA0, &tlv(0x81, &[number]));
    let puk = constructed(0x30, &[tlv(0x80, &[0x01]), tlv(0x81, &[0x31; 8])]);
    let pin = constructed(
        0x30,
        &[
            tlv(0x80, &[0x01]),
            tlv(0x81, b"1234\xFF\xFF\xFF\xFF"),
            tlv(0x82, &[0x01]),
        ],
    );
    let disabled = constructed(
        0x30,
        &[
            tlv(0x80, &[0x00, 0x81]),
            tlv(0x81, &[0x39; 8]),
            tlv(0x83, &[0x06]),
        ],
    );
    let pins = tlv(0xA1, &constructed(0xA0, &[pin, disabled]));
    [
        constructed(0xA3, &[header(0x71), tlv(0xA1, &puk)]),
        constructed(0xA2, &[header(0x72), pins]),
    ]
}

/// A card whose profile asks for the PIN.
pub(crate) fn locked() -> Bench {
    let mut bench = Bench::new();
    let package = package(ICCID, "080910101032540636", &codes());
    install(&mut bench, ICCID, package);
    enable(&mut bench, ICCID, false);
    bench
}

#[test]
fn files_behind_the_pin_open_with_it_until_the_next_reset() {
    let mut bench = locked();
    let status = bench.apdu("00A40004023F0000");
    assert!(status.contains("C609900180830101830181"), "{status}");
    bench.apdu(USIM);
    bench.apdu("00A4000C026F07");
    assert_eq!(bench.apdu("00B0000009"), "6982");
    bench.apdu("00A4000C026FAD");
    assert_eq!(
        bench.apdu("00B0000004"),
        "000000029000",
        "not behind the PIN"
    );
    assert_eq!(
        bench.apdu("0020000108 31323334FFFFFFFF".replace(' ', "").as_str()),
        "9000"
    );
    bench.apdu("00A4000C026F07");
    assert_eq!(bench.apdu("00B0000009"), "0809101010325406369000");
    bench.euicc.reset();
    bench.apdu(USIM);
    bench.apdu("00A4000C026F07");
    assert_eq!(bench.apdu("00B0000009"), "6982");
}

#[test]
fn a_wrong_pin_is_counted_and_the_count_survives_a_reset() {
    let mut bench = locked();
    assert_eq!(bench.apdu("00200001"), "63C3");
    assert_eq!(bench.apdu("002000010830303030FFFFFFFF"), "63C2");
    bench.euicc.reset();
    assert_eq!(bench.apdu("0020000100"), "63C2");
    assert_eq!(bench.apdu("002000010831323334FFFFFFFF"), "9000");
    assert_eq!(bench.apdu("00200001"), "63C3");
    for left in ["63C2", "63C1", "6983"] {
        assert_eq!(bench.apdu("002000010830303030FFFFFFFF"), left);
    }
    assert_eq!(bench.apdu("002000010831323334FFFFFFFF"), "6983");
    assert_eq!(bench.apdu("00200001"), "6983");
}

#[test]
fn the_counters_of_every_code_can_be_asked_for() {
    let mut bench = locked();
    assert_eq!(bench.apdu("00200081"), "63C3");
    assert_eq!(
        bench.apdu("002000810839393939FFFFFFFF"),
        "6984",
        "it is disabled"
    );
    assert_eq!(bench.apdu("002C0001"), "63CA");
    assert_eq!(bench.apdu("002C0081"), "6A88", "nothing unblocks it");
    assert_eq!(bench.apdu("00200002"), "6A88");
    assert_eq!(bench.apdu("00200101"), "6A86");
    assert_eq!(bench.apdu("002000010431323334"), "6700");
    let mut empty = Bench::new();
    assert_eq!(empty.apdu("00200001"), "6A88");
}

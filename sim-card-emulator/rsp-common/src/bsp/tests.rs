use super::*;
use crate::key::{PrivateKey, PublicKey};

fn bytes<const N: usize>(text: &str) -> [u8; N] {
    hex::decode(text.replace(' ', ""))
        .unwrap()
        .try_into()
        .unwrap()
}

fn octets(text: &str) -> Vec<u8> {
    hex::decode(text.replace([' ', '\n'], "")).unwrap()
}

/// A recorded binding by another implementation.
fn recorded_keys() -> BspKeys {
    let smdp = PrivateKey::from_scalar(&(1..=32).collect::<Vec<u8>>()).unwrap();
    let euicc = PublicKey::from_point(&octets(
        "04 a61b5852fedeecd5373d769af0edbc94502276d9c6ff1da3a156fecf31c66299
            54aea62862e227aebaf745c4e1d5f1bcbba6136400d9f0a63434225fee2590ae",
    ))
    .unwrap();
    let secret = smdp.diffie_hellman(&euicc).unwrap();
    assert_eq!(
        secret,
        bytes("79696dc34351dfc7758b07baf66643f01d7d8f5ab976c51d5f2c42ab71f5a6c3")
    );
    BspKeys::derive(
        &secret,
        b"euicc-rsp",
        &bytes("89049032123451234512345678901235"),
    )
}

#[test]
fn keys_are_those_of_the_recorded_binding() {
    let keys = recorded_keys();
    assert_eq!(
        keys.initial_mac_chaining_value,
        bytes("9a8d4dc5d8c2ba3fccbb7f69036fd09f")
    );
    assert_eq!(keys.encryption, bytes("1f745c2897a86858e94823c218a2db4a"));
    assert_eq!(keys.mac, bytes("1c073583341b81244c40aae342de5434"));
}

#[test]
fn protected_tlvs_are_those_of_the_recorded_binding() {
    let metadata = octets(
        "bf252f5a0a98001032547698103214910965756963632d727370921665756963632d7273702074657374
         2070726f66696c65",
    );
    let pieces: [(u8, &[u8], Vec<u8>); 3] = [
        (
            0x87,
            &[0xBF, 0x24, 0x00],
            octets("8718bc43d09ef085954b55e4acdbb87b6649813b5db57a02d5c9"),
        ),
        (
            0x88,
            &metadata,
            [&[0x88, 0x3A], &metadata[..], &octets("828551c5821b722d")].concat(),
        ),
        (
            0x86,
            b"the-uicc-profile-fixture",
            octets(
                "8628b139c6739477952566feae3cc59b87f5de1378b9c4dcabfcc45c50e961acf8a5
                 81df5bcdbaf531d4",
            ),
        ),
    ];
    let (mut server, mut card) = (Bsp::new(recorded_keys()), Bsp::new(recorded_keys()));
    for (tag, plain, protected) in pieces {
        assert_eq!(server.protect(tag, plain), protected);
        assert_eq!(card.unprotect(&protected).unwrap(), plain);
    }
}

#[test]
fn a_full_piece_fills_the_longest_tlv() {
    let (mut server, mut card) = (Bsp::new(recorded_keys()), Bsp::new(recorded_keys()));
    let full = server.protect(0x86, &[7; MAX_ENCRYPTED_PLAINTEXT]);
    assert_eq!(full.len(), MAX_TLV);
    assert_eq!(card.unprotect(&full).unwrap(), [7; MAX_ENCRYPTED_PLAINTEXT]);
    let overlong = server.protect(0x86, &[7; MAX_ENCRYPTED_PLAINTEXT + 1]);
    assert_eq!(overlong.len(), MAX_TLV + 16);
    assert!(card.unprotect(&overlong).is_ok());
}

#[test]
fn a_changed_bit_is_noticed_wherever_it_is() {
    let protected = Bsp::new(recorded_keys()).protect(0x87, b"ConfigureISDP");
    for at in [0, 2, protected.len() - 9, protected.len() - 1] {
        let mut changed = protected.clone();
        changed[at] ^= 1;
        let mut card = Bsp::new(recorded_keys());
        assert_eq!(card.unprotect(&changed), Err(BspError::Security));
    }
}

#[test]
fn an_order_that_was_changed_is_noticed() {
    let mut server = Bsp::new(recorded_keys());
    let _first = server.protect(0x86, b"first");
    let second = server.protect(0x86, b"second");
    assert_eq!(
        Bsp::new(recorded_keys()).unprotect(&second),
        Err(BspError::Security)
    );
}

#[test]
fn replaced_keys_start_from_their_own_chaining_value() {
    let profile_keys = BspKeys {
        initial_mac_chaining_value: [1; 16],
        encryption: [2; 16],
        mac: [3; 16],
    };
    let mut server = Bsp::new(recorded_keys());
    server.protect(0x87, b"ReplaceSessionKeys");
    server.replace_keys(profile_keys.clone());
    let reused = Bsp::new(profile_keys).protect(0x86, b"profile");
    assert_eq!(server.protect(0x86, b"profile"), reused);
}

#[test]
fn short_and_unaligned_tlvs_are_structure_errors() {
    let mut card = Bsp::new(recorded_keys());
    for tlv in [
        &[0x87, 0x00][..],
        &[0x87, 0x08, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x87, 0x81],
        &[],
    ] {
        assert_eq!(card.unprotect(tlv), Err(BspError::Structure));
    }
}

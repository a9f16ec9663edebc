//! The files of the profile in use, as a modem reads them.

use rsp_common::der::tlv;

use super::bench::{Bench, ICCID, ISDR, Package, metadata_of};
use crate::saip::files::tests::{element, fcp, file_of};

const USIM: &str = "A0000000871002FFFFFFFF8903020000";
const ISIM: &str = "A0000000871004FFFFFFFF8903020000";

fn octets(digits: &str) -> Vec<u8> {
    hex::decode(digits.replace(' ', "")).unwrap()
}

/// A package with a USIM and an ISIM; `extra` elements come before the end.
pub(crate) fn package(iccid: &str, imsi: &str, extra: &[Vec<u8>]) -> Vec<u8> {
    let swapped: Vec<u8> = octets(iccid).iter().map(|o| o.rotate_left(4)).collect();
    let header = [
        tlv(0x80, &[2]),
        tlv(0x81, &[3]),
        tlv(0x83, &octets(iccid)),
        tlv(0xA5, &[0x81, 0x00]),
        tlv(0xA6, &[]),
    ];
    let mf = element(
        0xB0,
        1,
        &[
            file_of(2, &[fcp(&[tlv(0x8B, &[0x2F, 0x06, 0x01])])]),
            file_of(4, &[tlv(0x83, &swapped)]),
            file_of(5, &[fcp(&[tlv(0x82, &octets("42210026"))])]),
        ],
    );
    let usim = element(
        0xB3,
        4,
        &[
            file_of(2, &[fcp(&[tlv(0x84, &octets(USIM))])]),
            file_of(3, &[tlv(0x83, &octets(imsi))]),
            file_of(0x0D, &[tlv(0x83, b"\x01lpad")]),
        ],
    );
    let isim = element(0xB5, 8, &[file_of(2, &[fcp(&[tlv(0x84, &octets(ISIM))])])]);
    let end = tlv(0xAA, &tlv(0xA0, &tlv(0x81, &[0x7F])));
    [
        tlv(0xA0, &header.concat()),
        mf,
        usim,
        isim,
        extra.concat(),
        end,
    ]
    .concat()
}

pub(crate) fn install(bench: &mut Bench, iccid: &str, upp: Vec<u8>) {
    let package = Package {
        metadata: metadata_of(iccid, &[]),
        upp,
        ..bench.session()
    };
    bench.load(&package.segments()).unwrap();
}

pub(super) fn enable(bench: &mut Bench, iccid: &str, refresh: bool) -> String {
    let swapped: Vec<u8> = octets(iccid).iter().map(|o| o.rotate_left(4)).collect();
    let flag = if refresh { "FF" } else { "00" };
    let iccid = hex::encode(swapped);
    bench.apdu(&format!("81E2910014BF3111A00C5A0A{iccid}8101{flag}00"))
}

/// A card with one profile in use.
pub(crate) fn in_use() -> Bench {
    let mut bench = Bench::new();
    install(&mut bench, ICCID, package(ICCID, "080910101032540636", &[]));
    assert_eq!(enable(&mut bench, ICCID, false), "BF31038001009000");
    bench
}

#[test]
fn a_modem_reads_the_number_and_the_subscriber() {
    let mut bench = in_use();
    assert_eq!(
        bench.apdu("00A40004022FE200"),
        "621782024121 8302 2FE2 8A0105 8B03 2F0601 8002000A 880110 9000".replace(' ', "")
    );
    assert_eq!(bench.apdu("00B000000A"), "981000000000000010F99000");
    assert_eq!(bench.apdu("00B0000000"), "981000000000000010F99000");
    assert_eq!(bench.apdu("00A4000C026F07"), "6A82");
    assert!(bench.apdu(&format!("00A4040410{USIM}00")).starts_with("62"));
    assert_eq!(bench.apdu("00A4000C026F07"), "9000");
    assert_eq!(bench.apdu("00B0000009"), "0809101010325406369000");
    assert_eq!(bench.apdu("00B0000304"), "101032549000");
    assert_eq!(bench.apdu("00A4000C026FAD"), "9000");
    assert_eq!(bench.apdu("00B0000000"), "000000029000");
    assert_eq!(bench.apdu("00A4000C026F46"), "9000");
    assert_eq!(bench.apdu("00B0000005"), "016C7061649000");
}

#[test]
fn the_list_of_applications_names_what_can_be_selected() {
    let mut bench = in_use();
    assert_eq!(
        bench.apdu("00A40004022F0000"),
        "621A8205422100260283022F008A01058B032F06018002004C8801F09000"
    );
    let usim = format!("61184F10{USIM}50045553494D{}", "FF".repeat(12));
    let isim = format!("61184F10{ISIM}50044953494D{}", "FF".repeat(12));
    assert_eq!(bench.apdu("00B2010426"), format!("{usim}9000"));
    assert_eq!(bench.apdu("00B2020400"), format!("{isim}9000"));
    assert_eq!(bench.apdu("00B2030400"), "6A83");
    assert_eq!(bench.apdu("00B2000400"), "6A83");
    assert_eq!(bench.apdu("00B2010410"), "6C26");
    assert_eq!(bench.apdu("00B2000200"), format!("{usim}9000"));
    assert_eq!(bench.apdu("00B2000200"), format!("{isim}9000"));
    assert_eq!(bench.apdu("00B2000400"), format!("{isim}9000"));
    assert_eq!(bench.apdu("00B2000200"), "6A83");
    assert_eq!(bench.apdu("00B2000300"), format!("{usim}9000"));
    assert_eq!(bench.apdu("00B2010500"), "6A86");
    assert_eq!(bench.apdu("00B0000000"), "6981", "it has records");
    // By its short file identifier.
    bench.apdu("00A4000C022FE2");
    assert_eq!(bench.apdu("00B201F426"), format!("{usim}9000"));
}

#[test]
fn a_directory_tells_what_it_is() {
    let mut bench = in_use();
    let master = "621D82027821 83023F00 A506800171870101 8A0105 8B032F0601 C603900100 9000";
    let master = master.replace(' ', "");
    let selected = bench.apdu("00A40004023F0000");
    assert_eq!(selected, master);
    assert_eq!(bench.apdu("80F2000000"), master);
    assert_eq!(
        bench.apdu("80F2000100"),
        "6A88",
        "no application is selected"
    );
    let usim =
        format!("622C 82027821 83027FFF 8410{USIM} A503800171 8A0105 8B032F0601 C603900100 9000")
            .replace(' ', "")
            .replacen("6229", "622E", 1);
    assert_eq!(bench.apdu(&format!("00A4040410{USIM}00")), usim);
    assert_eq!(bench.apdu("80F2000000"), usim);
    assert_eq!(bench.apdu("80F2000100"), format!("8410{USIM}9000"));
    assert_eq!(bench.apdu("80F2000C"), "9000");
    assert_eq!(bench.apdu("80F2030000"), "6A86");
    // An elementary file does not change the directory.
    bench.apdu("00A4000C026F07");
    assert_eq!(bench.apdu("80F2000000"), usim);
    bench.apdu("00A4000C023F00");
    assert_eq!(bench.apdu("80F2000100"), format!("8410{USIM}9000"));
}

#[test]
fn files_are_found_by_name_number_and_way() {
    let mut bench = in_use();
    let aid = |bench: &mut Bench| bench.apdu("80F2000100");
    let first = format!("8410{USIM}9000");
    let second = format!("8410{ISIM}9000");
    for (p2, found) in [
        ("0C", &first),
        ("0E", &second),
        ("0F", &first),
        ("0D", &second),
    ] {
        assert_eq!(bench.apdu(&format!("00A404{p2}05A000000087")), "9000");
        assert_eq!(aid(&mut bench), *found, "{p2}");
    }
    assert_eq!(
        bench.apdu("00A4040E05A000000087"),
        "6A82",
        "there is none after the last"
    );
    assert_eq!(aid(&mut bench), second, "nothing has changed");
    bench.apdu("00A4040C07A0000000871002");
    for (command, answer) in [
        ("00A4080C047FFF6F07", "9000"),
        ("00A4080C063F007FFF6F07", "6A82"),
        ("00A4080C022FE2", "9000"),
        ("00A4080C043F002FE2", "9000"),
        ("00A4000C027FFF", "9000"),
        ("00A4090C026F07", "9000"),
        ("00A4030C", "9000"),
        ("00A4000C022FE2", "9000"),
        ("00A4000C026F07", "6A82"),
        ("00A4000C032FE200", "6A87"),
        ("00A4080C032FE200", "6A87"),
        ("00A4010C022FE2", "6A82"),
        ("00A4050C022FE2", "6A86"),
        ("00A40008022FE2", "6A86"),
        ("00A4000E022FE2", "6A86"),
        ("00A4044C07A0000000871002", "9000"),
        ("00A4000C027FFF", "6A82"),
    ] {
        assert_eq!(bench.apdu(command), answer, "{command}");
    }
}

#[test]
fn offsets_and_lengths_are_checked() {
    let mut bench = in_use();
    assert_eq!(bench.apdu("00B0000000"), "6986", "no file is selected");
    assert_eq!(bench.apdu("00B2010400"), "6986");
    bench.apdu("00A4000C022FE2");
    assert_eq!(bench.apdu("00B0000A01"), "6B00");
    assert_eq!(bench.apdu("00B0000901"), "F99000");
    assert_eq!(bench.apdu("00B0000902"), "F96282");
    assert_eq!(bench.apdu("00B00000"), "6700");
    assert_eq!(bench.apdu("00B000000100"), "6700");
    assert_eq!(
        bench.apdu("00B0820001"),
        "989000",
        "short file identifier 2"
    );
    assert_eq!(bench.apdu("00B0830001"), "6A82");
    assert_eq!(bench.apdu("00B0C20001"), "6A86");
    assert_eq!(bench.apdu("00B2010400"), "6981", "it has no records");
    assert_eq!(bench.apdu("80B0000000"), "6E00");
    bench.euicc.settings_mut().le_exact = true;
    assert_eq!(bench.apdu("00B0000000"), "6C0A");
    assert_eq!(bench.apdu("00B000000A"), "981000000000000010F99000");
    assert_eq!(bench.apdu("00B0000902"), "6C01");
}

#[test]
fn every_channel_has_a_file_of_its_own() {
    let mut bench = in_use();
    assert_eq!(bench.apdu("0070000001"), "029000");
    bench.apdu(&format!("02A4040C10{USIM}"));
    bench.apdu("02A4000C026F07");
    assert_eq!(bench.apdu("00B0000000"), "6986");
    assert_eq!(bench.apdu("02B0000009"), "0809101010325406369000");
    // A channel that is opened from another one begins where that one is.
    assert_eq!(bench.apdu("0270000001"), "039000");
    assert_eq!(bench.apdu("03B0000009"), "0809101010325406369000");
    // The ISD-R has no files, and leaves those of the channel alone.
    assert_eq!(bench.apdu("01B0000000"), "6986");
    assert_eq!(bench.apdu("01A4000C023F00"), "9000");
    assert_eq!(bench.apdu("81E2910003BF2E0000"), "6985");
}

#[test]
fn without_a_profile_in_use_there_is_no_number() {
    let mut bench = Bench::new();
    assert_eq!(bench.apdu("00A4000C022FE2"), "6A82");
    assert_eq!(bench.apdu(&format!("00A4040C10{USIM}")), "6A82");
    assert_eq!(bench.apdu("00A4000C022F08"), "9000");
    assert_eq!(bench.apdu("00B0000000"), "3C3C0000009000");
    assert_eq!(bench.apdu("00A4000C022F09"), "9000");
}

#[test]
fn without_a_profile_in_use_the_list_of_applications_names_the_isdr() {
    let mut bench = Bench::new();
    assert_eq!(bench.apdu("00A4000C022F00"), "9000");
    let isdr = format!("61194F10{ISDR}50054953442D52{}", "FF".repeat(11));
    assert_eq!(bench.apdu("00B2010426"), format!("{isdr}9000"));
    assert_eq!(bench.apdu("00B2020400"), "6A83");
    let mut strict = Bench::new();
    strict.euicc.settings_mut().isdr_in_directory = false;
    assert_eq!(strict.apdu("00A4000C022F00"), "6A82");
}

#[test]
fn a_switch_changes_the_files_and_what_is_selected() {
    let second = "8901000000000000027F";
    let mut bench = in_use();
    install(
        &mut bench,
        second,
        package(second, "080910101099999999", &[]),
    );
    bench.apdu(&format!("00A4040C10{USIM}"));
    bench.apdu("00A4000C026F07");
    assert_eq!(bench.apdu("00B0000009"), "0809101010325406369000");
    assert_eq!(enable(&mut bench, second, false), "BF31038001009000");
    assert_eq!(
        bench.apdu("00B0000009"),
        "6986",
        "the master file is selected now"
    );
    bench.apdu(&format!("00A4040C10{USIM}"));
    bench.apdu("00A4000C026F07");
    assert_eq!(bench.apdu("00B0000009"), "0809101010999999999000");
    bench.apdu("81E2910014BF3211A00C5A0A981000000000000020F781010000");
    assert_eq!(bench.apdu("00A4000C022FE2"), "6A82");
}

#[test]
fn no_command_to_the_files_makes_the_card_fall_over() {
    let mut bench = in_use();
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut octet = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed.to_be_bytes()[0]
    };
    let instructions = [
        0xA4, 0xB0, 0xB2, 0xF2, 0xC0, 0x20, 0x2C, 0x70, 0x10, 0x12, 0x14, 0xAA,
    ];
    let names = [
        &[0x3F, 0x00][..],
        &[0x7F, 0xFF],
        &[0x2F, 0x00],
        &[0x6F, 0x07],
        &[0xA0, 0x00, 0x00, 0x00, 0x87],
    ];
    for _ in 0..30_000 {
        let ins = instructions[usize::from(octet()) % instructions.len()];
        let class = [0x00, 0x80, 0x01, 0x81, 0x40][usize::from(octet()) % 5];
        let [p1, p2] = [octet(), octet()].map(|parameter| match parameter % 3 {
            0 => parameter,
            _ => parameter & 0x0F,
        });
        let mut command = vec![class, ins, p1, p2];
        match octet() % 3 {
            0 => command.push(octet()),
            1 => {
                let name = names[usize::from(octet()) % names.len()];
                command.push(u8::try_from(name.len()).unwrap());
                command.extend(name);
            }
            _ => {}
        }
        bench.handle(&command);
        let settings = bench.euicc.settings_mut();
        settings.le_exact = octet() & 1 == 1;
        settings.response_piece = octet().into();
    }
}

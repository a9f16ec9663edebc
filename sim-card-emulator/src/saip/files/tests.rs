use rsp_common::der::{constructed, tlv, unsigned};

use super::builder::{LARGEST_FILE_SYSTEM, MOST_FILES};
use super::*;

/// A profile element that creates files: header, template, files.
pub(crate) fn element(tag: u32, template: u8, files: &[Vec<u8>]) -> Vec<u8> {
    let header = tlv(0xA0, &unsigned(0x81, u64::from(tag & 0x7F) + 1));
    let template = tlv(0x81, &[0x67, 0x81, 0x0F, 0x01, 0x02, template]);
    constructed(tag, &[header, template, files.concat()])
}

/// A file of a profile element: its number, and what is said of it.
pub(crate) fn file_of(number: u32, choices: &[Vec<u8>]) -> Vec<u8> {
    constructed(0xA0 | number, choices)
}

pub(crate) fn fcp(parts: &[Vec<u8>]) -> Vec<u8> {
    constructed(0xA1, parts)
}

fn iccid() -> Iccid {
    "8901000000000000019".parse().unwrap()
}

fn usim(files: &[Vec<u8>]) -> FileSystem {
    let aid = tlv(0x84, &[0xA0, 0, 0, 0, 0x87, 0x10, 0x02]);
    let adf = file_of(2, &[fcp(&[aid])]);
    let package = element(0xB3, 4, &[vec![adf], files.to_vec()].concat());
    FileSystem::of_package(&package, &iccid())
}

fn content(files: &FileSystem, identifier: u16) -> &[u8] {
    let (usim, _) = files.applications().next().unwrap();
    files
        .file(files.child(usim, identifier).unwrap())
        .unwrap()
        .content()
}

#[test]
fn contents_are_written_where_the_offsets_say_and_the_rest_is_filled() {
    let size = |octets: u8| tlv(0x80, &[octets]);
    let write = |octets: &[u8]| tlv(0x83, octets);
    let skip = |octets: u8| tlv(0x82, &[octets]);
    let pattern = |tag: u32, octets: &[u8]| tlv(0xA5, &tlv(tag, octets));
    let files = usim(&[
        file_of(0x03, &[fcp(&[]), write(&[1, 2, 3]), skip(2), write(&[4])]),
        file_of(0x07, &[write(&[9, 9, 9])]),
        file_of(0x08, &[fcp(&[size(5), pattern(0xC1, &[1, 0])])]),
        file_of(
            0x0D,
            &[fcp(&[size(5), pattern(0xC2, &[1, 0])]), write(&[7])],
        ),
        file_of(0x0E, &[fcp(&[tlv(0x83, &[0x6F, 0x99]), size(1)])]),
    ]);
    let ff = 0xFF;
    assert_eq!(content(&files, 0x6F07), [1, 2, 3, ff, ff, 4, ff, ff, ff]);
    assert_eq!(content(&files, 0x6F31), [9], "the template knows the size");
    assert_eq!(content(&files, 0x6F38), [1, 0, 0, 0, 0]);
    assert_eq!(content(&files, 0x6F46), [7, 0, 1, 0, 1]);
    assert_eq!(
        content(&files, 0x6F99),
        [ff],
        "the package may choose another number"
    );
}

#[test]
fn files_that_are_created_by_default_are_there_unless_the_package_forbids_it() {
    let files = usim(&[]);
    assert_eq!(content(&files, 0x6FAD), [0, 0, 0, 2]);
    let refused = usim(&[file_of(0x15, &[tlv(0x80, &[])])]);
    let (usim, _) = refused.applications().next().unwrap();
    assert_eq!(refused.child(usim, 0x6FAD), None);
    assert_eq!(refused.child(usim, 0x6F07), None, "an IMSI is not made up");
}

#[test]
fn what_a_package_is_silent_about_comes_from_its_number_and_its_applications() {
    let files = usim(&[]);
    let number = files.file(files.child(0, EF_ICCID).unwrap()).unwrap();
    assert_eq!(hex::encode(number.content()), "981000000000000010f9");
    assert_eq!(number.short, Some(2));
    let list = files.file(files.child(0, EF_DIR).unwrap()).unwrap();
    let expected = "610f4f07a0000000871002500455534d49";
    assert_eq!(hex::encode(list.content())[..22], expected[..22]);
    assert!(hex::encode(list.content()).starts_with("610f4f07a000000087100250045553494dff"));
    let nothing = FileSystem::of_package(&[], &iccid());
    assert_eq!(nothing.applications().count(), 0);
    assert!(nothing.child(0, EF_ICCID).is_some());
}

#[test]
fn optional_elements_add_to_the_latest_application() {
    let aid = |last| tlv(0x84, &[0xA0, 0, 0, 0, 0x87, 0x10, 0x02, last]);
    let package = [
        element(0xB3, 4, &[file_of(2, &[fcp(&[aid(1)])])]),
        element(0xB3, 4, &[file_of(2, &[fcp(&[aid(2)])])]),
        element(0xB4, 5, &[file_of(5, &[tlv(0x83, &[0xAB])])]),
        element(0xB6, 9, &[file_of(2, &[tlv(0x83, &[1])])]),
    ]
    .concat();
    let files = FileSystem::of_package(&package, &iccid());
    let applications: Vec<usize> = files.applications().map(|(index, _)| index).collect();
    assert_eq!(applications.len(), 2);
    assert_eq!(files.child(applications[0], 0x6F3E), None);
    assert!(files.child(applications[1], 0x6F3E).is_some());
}

#[test]
fn an_iot_minimal_profile_has_its_files_in_one_element() {
    let header = constructed(0xA0, &[tlv(0xA9, &tlv(0x80, &[0x10, 0x02, 1, 2, 3, 4, 5]))]);
    let imsi = file_of(9, &[tlv(0x83, &[8; 9])]);
    let package = [header, element(0xBF20, 20, &[imsi])].concat();
    let files = FileSystem::of_package(&package, &iccid());
    let (usim, aid) = files.applications().next().unwrap();
    assert_eq!(
        hex::encode(aid),
        "a000000087100201020304 05".replace(' ', "")
    );
    assert_eq!(
        files
            .file(files.child(usim, 0x6F07).unwrap())
            .unwrap()
            .content(),
        [8; 9]
    );
}

#[test]
fn codes_are_read_with_their_defaults() {
    let pin = constructed(
        0x30,
        &[tlv(0x80, &[0x01]), tlv(0x81, b"1234\xFF\xFF\xFF\xFF")],
    );
    let second = constructed(
        0x30,
        &[
            tlv(0x80, &[0x00, 0x81]),
            tlv(0x81, &[0x39; 8]),
            tlv(0x82, &[0x01]),
            tlv(0x83, &[0x06]),
            tlv(0x84, &[0x00, 0xAA]),
        ],
    );
    let puk = constructed(0x30, &[tlv(0x80, &[0x01]), tlv(0x81, &[0x31; 8])]);
    let header = tlv(0xA0, &tlv(0x81, &[1]));
    let package = [
        constructed(0xA3, &[header.clone(), tlv(0xA1, &puk)]),
        constructed(
            0xA2,
            &[
                header.clone(),
                tlv(0xA1, &constructed(0xA0, &[pin, second])),
            ],
        ),
        constructed(0xA2, &[header, tlv(0xA1, &tlv(0x81, &[0x7F, 0xD0]))]),
    ]
    .concat();
    let files = FileSystem::of_package(&package, &iccid());
    let first = files.pin(0x01).unwrap();
    assert_eq!(
        (first.enabled, first.tries, first.unblocking),
        (true, 3, None)
    );
    let second = files.pin(0x81).unwrap();
    assert_eq!((second.enabled, second.tries), (false, 10));
    assert_eq!(files.puk(0x81).map(|puk| puk.tries), Some(10));
    assert_eq!(files.puk(0x01), None);
    assert!(
        !format!("{files:?}").contains("49, 50, 51"),
        "codes are not shown"
    );
}

#[test]
fn a_foreign_package_creates_no_more_than_a_card_can_hold() {
    let huge = file_of(
        3,
        &[
            fcp(&[tlv(0x80, &[0x7F, 0xFF, 0xFF, 0xFF])]),
            tlv(0x82, &[0xFF; 4]),
        ],
    );
    assert!(content(&usim(&[huge]), 0x6F07).is_empty());
    let large = file_of(8, &[fcp(&[tlv(0x80, &[0x80, 0x00])])]);
    let aid = tlv(0x84, &[0xA0, 0, 0, 0, 0x87, 0x10, 0x02]);
    let adf = file_of(2, &[fcp(&[aid])]);
    let package = element(0xB3, 4, &[adf, large]).repeat(2000);
    let files = FileSystem::of_package(&package, &iccid());
    let octets: usize = files.files.iter().map(|file| file.content().len()).sum();
    assert!(octets <= LARGEST_FILE_SYSTEM && files.files.len() <= MOST_FILES);
}

#[test]
fn no_package_makes_the_reader_fall_over() {
    let aid = tlv(0x84, &[0xA0, 0, 0, 0, 0x87, 0x10, 0x02]);
    let good = element(
        0xB3,
        4,
        &[
            file_of(2, &[fcp(&[aid])]),
            file_of(
                0x16,
                &[fcp(&[tlv(0x82, &[0x42, 0x21, 0, 5]), tlv(0x80, &[20])])],
            ),
        ],
    );
    for at in 0..good.len() {
        for value in [0x00, 0x01, 0x7F, 0x80, 0x84, 0xFF] {
            let mut spoilt = good.clone();
            spoilt[at] = value;
            FileSystem::of_package(&spoilt, &iccid());
            FileSystem::of_package(&spoilt[..at], &iccid());
        }
    }
}

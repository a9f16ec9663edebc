use super::*;

const ALL: UiccCapability = UiccCapability(u64::MAX);

fn header(version: u8, services: &[u8], template: &[u8]) -> Vec<u8> {
    constructed(
        HEADER,
        &[
            tlv(0x80, &[version]),
            tlv(0x81, &[3]),
            tlv(0x82, b"Test"),
            tlv(0x83, &hex::decode("8901000000000000019f").unwrap()),
            constructed(
                0xA5,
                &services.iter().map(|tag| vec![*tag, 0]).collect::<Vec<_>>(),
            ),
            tlv(0xA6, template),
        ],
    )
}

fn element(tag: u32, identification: u16, mandated: bool, content: &[u8]) -> Vec<u8> {
    let mandated = if mandated { tlv(0x80, &[]) } else { Vec::new() };
    let header = constructed(0xA0, &[mandated, unsigned(0x81, identification.into())]);
    constructed(tag, &[header, content.to_vec()])
}

fn read(capability: UiccCapability, package: &[Vec<u8>]) -> Result<ProfileHeader, PeFailure> {
    let mut reader = PackageReader::new(capability);
    reader.push(&package.concat())?;
    reader.finish()
}

#[test]
fn a_package_is_read_wherever_it_is_cut() {
    let package = [
        header(2, &[0x81, 0x84], &[]),
        element(
            0xB0,
            1,
            true,
            &tlv(0x81, &[0x67, 0x81, 0x0F, 0x01, 0x02, 0x01]),
        ),
        element(0xA9, 2, false, &[0x04; 6]),
        element(0xBF21, 300, true, &[]),
        element(END, 4, true, &[]),
    ]
    .concat();
    for size in [1, 7, 100] {
        let mut reader = PackageReader::new(ALL);
        for piece in package.chunks(size) {
            reader.push(piece).unwrap();
        }
        assert_eq!(reader.received(), package.len());
        let header = reader.finish().unwrap();
        assert_eq!(header.iccid.to_string(), "8901000000000000019");
        assert_eq!(header.profile_type.as_deref(), Some("Test"));
    }
}

#[test]
fn the_smallest_package_of_the_specification_is_read() {
    let package = hex::decode(
        concat!(
            "a02080010281010382045465737483 0a89010000000000000019a50481008400a600",
            "aa07a0058000810101",
        )
        .replace(' ', ""),
    );
    assert!(read(ALL, &[package.unwrap()]).is_ok());
}

#[test]
fn order_and_completeness_are_required() {
    let (header, end) = (header(3, &[], &[]), element(END, 9, true, &[]));
    let mf = element(0xB0, 1, true, &[]);
    let cases: [&[Vec<u8>]; 7] = [
        &[mf.clone(), header.clone(), end.clone()],
        &[header.clone(), header.clone(), end.clone()],
        &[header.clone(), mf.clone()],
        &[header.clone(), end.clone(), mf.clone()],
        &[header.clone(), end.clone(), vec![0xB0]],
        &[header.clone(), mf.clone(), mf[..mf.len() - 1].to_vec()],
        &[],
    ];
    for package in cases {
        let refused = read(ALL, package).unwrap_err();
        assert_eq!(
            refused.status,
            PeStatus::INVALID_REQUEST_FORMAT,
            "{package:?}"
        );
    }
}

#[test]
fn what_the_euicc_lacks_is_refused_with_its_own_status() {
    let end = element(END, 9, true, &[]);
    let known = [0x06, 0x06, 0x67, 0x81, 0x0F, 0x01, 0x02, 0x04];
    let mut unknown = known;
    unknown[7] = 99;
    let no_multos = UiccCapability(!UiccCapability::MULTOS.0);
    for (capability, version, service, template, status) in [
        (ALL, 4, 0x81, known, PeStatus::UNSUPPORTED_PROFILE_VERSION),
        (no_multos, 2, 0x8C, known, PeStatus::FEATURE_NOT_SUPPORTED),
        (ALL, 2, 0x9E, known, PeStatus::FEATURE_NOT_SUPPORTED),
        (ALL, 2, 0x81, unknown, PeStatus::TEMPLATE_NOT_SUPPORTED),
    ] {
        let package = [header(version, &[service], &template), end.clone()];
        assert_eq!(read(capability, &package).unwrap_err(), status.into());
    }
    assert!(read(no_multos, &[header(2, &[0x81], &known), end]).is_ok());
}

#[test]
fn an_unknown_element_matters_only_when_it_is_mandated() {
    let end = element(END, 9, true, &[]);
    for (mandated, result) in [(false, None), (true, Some(PeStatus::PE_NOT_SUPPORTED))] {
        for tag in [0xA9, 0xAB, 0xBF30] {
            let package = [
                header(2, &[], &[]),
                element(tag, 11, mandated, &[]),
                end.clone(),
            ];
            let refused = read(ALL, &package).err();
            assert_eq!(refused.map(|failure| failure.status), result);
        }
    }
}

#[test]
fn an_element_that_could_never_be_held_is_refused_by_its_length() {
    let mut reader = PackageReader::new(ALL);
    reader.push(&header(2, &[], &[])).unwrap();
    let refused = reader.push(&[0xA8, 0x83, 0x10, 0x00, 0x00]).unwrap_err();
    assert_eq!(refused.status, PeStatus::NOT_ENOUGH_MEMORY);
    let mut reader = PackageReader::new(ALL);
    assert!(reader.push(&[0xFF; 40]).is_err());
}

#[test]
fn responses_are_those_of_the_grammar() {
    assert_eq!(hex::encode(success_response()), "3007a0053003800100");
    let failure = PeFailure {
        status: PeStatus::TEMPLATE_NOT_SUPPORTED,
        identification: Some(11),
    };
    assert_eq!(
        hex::encode(failure.sima_response()),
        "300ca008300680010981010b8100"
    );
}

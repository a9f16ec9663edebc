use sim_card_emulator::euicc::Settings;
use sim_card_emulator::saip::PackageReader;
use sim_card_emulator::saip::files::FileSystem;

use super::*;

fn iccid(digits: &str) -> Iccid {
    digits.to_owned().try_into().unwrap()
}

#[test]
fn the_smallest_package_is_a_header_and_an_end() {
    let profile = Profile::builder(iccid("89010000000000000019"))
        .name("Test")
        .content(Content::Bare)
        .build();
    assert_eq!(
        hex::encode(&profile.package),
        "a02080010281010382045465737483 0a89010000000000000019a50481008400a600\
         aa07a0058000810101"
            .replace(' ', "")
    );
}

#[test]
fn the_metadata_swaps_the_digits_the_header_does_not() {
    let mut metadata = Metadata::new(
        iccid("8901000000000000019"),
        "Vector SP".into(),
        "Vector Profile".into(),
    );
    metadata.notification_events = vec![NotificationEvent::Enable, NotificationEvent::Delete];
    assert_eq!(
        hex::encode(metadata.to_der("smdp.example.com")),
        "bf25595a0a981000000000000010f99109566563746f72205350920e566563746f722050726f66696c65\
         b6303016800206408110736d64702e6578616d706c652e636f6d3016800204108110736d64702e657861\
         6d706c652e636f6d"
    );
}

#[test]
fn metadata_writes_class_owner_and_policy_rules_when_they_differ_from_the_default() {
    let mut metadata = Metadata::new(Iccid::nth(1), "SP".into(), "Name".into());
    metadata.notification_events.clear();
    metadata.class = ProfileClass::Provisioning;
    metadata.owner = Some(ProfileOwner {
        mcc_mnc: [0x62, 0xF2, 0x20],
        gid1: vec![1],
        gid2: vec![],
    });
    metadata.policy_rules = vec![PolicyRule::Ppr1, PolicyRule::Ppr2];
    let der = hex::encode(metadata.to_der("smdp.example.com"));
    assert!(
        der.ends_with(
            "920 44e616d65 950101 b708800362f220810101 99020560"
                .replace(' ', "")
                .as_str()
        ),
        "{der}"
    );
}

#[test]
fn the_header_of_a_foreign_package_gives_iccid_and_name() {
    let package = hex::decode(
        "a0228001028101038206566563746f72830a8901000000000000019fa50481008400a600aa07a0058000810102",
    )
    .unwrap();
    let profile = Profile::from_package(package.clone()).unwrap();
    assert_eq!(profile.package, package);
    assert_eq!(profile.metadata.iccid, iccid("8901000000000000019"));
    assert_eq!(profile.metadata.profile_name, "Vector");
    assert_eq!(profile.mandatory_services(), [0x81, 0x84]);
}

#[test]
fn what_is_no_package_is_refused_with_the_reason() {
    assert_eq!(Profile::from_package(vec![]), Err(ProfileError::NoHeader));
    assert_eq!(
        Profile::from_package(b"# hello".to_vec()),
        Err(ProfileError::NoHeader)
    );
    assert_eq!(
        Profile::from_package(vec![0xA0, 0x05, 1]),
        Err(ProfileError::NoHeader)
    );
    assert_eq!(
        Profile::from_package(vec![0xA0, 0]),
        Err(ProfileError::NoIccid)
    );
}

#[test]
fn filler_reaches_the_size_asked_for() {
    let sizes = [
        60, 100, 180, 181, 182, 300, 310, 700, 1_000, 5_000, 16_500, 40_000,
    ];
    for content in [Content::Bare, Content::Identity, Content::Whole] {
        let builder = Profile::builder(Iccid::nth(7)).content(content);
        let least = builder.clone().build().package.len();
        for size in sizes {
            let package = builder.clone().size(size).build().package;
            let length = package.len();
            assert!(length <= size.max(least), "{length} for {size}");
            assert!(length + FILLER_SLACK >= size, "{length} for {size}");
            let elements: Vec<u32> = Children::of(&package)
                .map(|element| element.unwrap().tag)
                .collect();
            assert_eq!(
                (elements.first(), elements.last()),
                (Some(&0xA0), Some(&0xAA))
            );
        }
    }
}

/// The files a card makes of a package that it takes only when it is whole.
fn files(profile: &Profile, strict: bool) -> FileSystem {
    let mut reader = PackageReader::new(Settings::default().uicc_capability).strict_content(strict);
    reader.push(&profile.package).unwrap();
    let header = reader.finish().unwrap();
    assert_eq!(header.iccid.to_string(), profile.metadata.iccid.to_string());
    FileSystem::of_package(&profile.package, &header.iccid)
}

fn content(files: &FileSystem, directory: usize, identifier: u16) -> String {
    let index = files.child(directory, identifier).unwrap();
    hex::encode(files.file(index).unwrap().content())
}

#[test]
fn a_modem_finds_number_subscriber_and_network_in_the_files() {
    for (form, strict) in [(Content::Identity, false), (Content::Whole, true)] {
        let profile = Profile::builder(Iccid::nth(42))
            .service_provider("Beispielnetz Österreich")
            .content(form)
            .build();
        let files = files(&profile, strict);
        assert_eq!(content(&files, 0, 0x2FE2), "981099090000000024f6");
        let (usim, aid) = files.applications().next().unwrap();
        assert_eq!(hex::encode(aid), "a0000000871002ffffffff8903020000");
        assert_eq!(content(&files, usim, 0x6F07), "080910100000000024");
        assert_eq!(
            content(&files, usim, 0x6F46),
            "01426569737069656c6e65747a20c39673",
            "cut to what the file holds"
        );
        assert_eq!(content(&files, usim, 0x6FAD), "00000002");
        assert_eq!(content(&files, usim, 0x6F78), "0004");
        assert_eq!(files.pin(1).is_some(), strict);
    }
}

#[test]
fn the_subscriber_is_of_the_test_network_unless_chosen() {
    assert_eq!(Imsi::of(&Iccid::nth(42)).to_string(), "001010000000042");
    let imsi: Imsi = "262019876543210".to_owned().try_into().unwrap();
    assert_eq!(hex::encode(imsi.coded()), "082926108967452301");
    assert!(Imsi::try_from("1234".to_owned()).is_err());
    let profile = Profile::builder(Iccid::nth(42)).imsi(imsi).build();
    let files = files(&profile, false);
    let (usim, _) = files.applications().next().unwrap();
    assert_eq!(content(&files, usim, 0x6F07), "082926108967452301");
}

#[test]
fn the_builder_sets_everything_metadata_has() {
    let owner = ProfileOwner {
        mcc_mnc: [0x00, 0xF1, 0x10],
        gid1: vec![],
        gid2: vec![],
    };
    let profile = Profile::builder(Iccid::nth(1))
        .name("Name")
        .service_provider("Provider")
        .class(ProfileClass::Test)
        .owner(owner.clone())
        .policy_rules([PolicyRule::Ppr1])
        .icon(icon(1))
        .notifications([NotificationEvent::Delete], Some("n.example.com"))
        .build();
    let expected = Metadata {
        iccid: Iccid::nth(1),
        service_provider: "Provider".into(),
        profile_name: "Name".into(),
        class: ProfileClass::Test,
        notification_events: vec![NotificationEvent::Delete],
        notification_address: Some("n.example.com".into()),
        owner: Some(owner),
        policy_rules: vec![PolicyRule::Ppr1],
        icon: icon(1),
    };
    assert_eq!(profile.metadata, expected);
}

#[test]
fn generated_iccids_carry_a_luhn_check_digit() {
    assert_eq!(Iccid::nth(0).to_string(), "8901999000000000004");
    assert_ne!(Iccid::nth(1), Iccid::nth(2));
}

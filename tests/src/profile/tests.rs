use super::*;

fn iccid(digits: &str) -> Iccid {
    digits.to_owned().try_into().unwrap()
}

#[test]
fn the_smallest_package_is_a_header_and_an_end() {
    let profile = Profile::builder(iccid("89010000000000000019"))
        .name("Test")
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
    for size in [60, 100, 180, 181, 182, 300, 310, 5_000, 16_500, 40_000] {
        let package = Profile::builder(Iccid::nth(7)).size(size).build().package;
        assert!(
            package.len() <= size.max(72),
            "{} for {size}",
            package.len()
        );
        assert!(
            package.len() + FILLER_SLACK >= size,
            "{} for {size}",
            package.len()
        );
        let elements: Vec<u32> = Children::of(&package)
            .map(|element| element.unwrap().tag)
            .collect();
        assert_eq!(
            (elements.first(), elements.last()),
            (Some(&0xA0), Some(&0xAA))
        );
    }
}

#[test]
fn generated_iccids_carry_a_luhn_check_digit() {
    assert_eq!(Iccid::nth(0).to_string(), "8901999000000000004");
    assert_ne!(Iccid::nth(1), Iccid::nth(2));
}

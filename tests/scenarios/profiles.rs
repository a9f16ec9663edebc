//! What is done with profiles once they are on the card.

use lpad::api::downloads::DownloadRequest;
use lpad::api::euiccs::ResetRequest;
use lpad::client::ClientError;
use lpad::job::{Answer, Consent, Decision};
use lpad::memory::operations::State;
use lpad::memory::snapshot::ProfileState;
use lpad::memory::snapshot::ProfileState::{Disabled, Enabled};
use lpad::problem::Code;
use lpad_tests::bed::{Bed, EUICC, accepting, succeeded};
use lpad_tests::bench::HOST_NAME;
use rsp_servers::profile::{Content, Iccid, Imsi, PolicyRule, Profile, ProfileClass, ProfileOwner};
use rsp_servers::smdp::OrderRequest;
use sim_card_emulator::modem::Card as _;

#[tokio::test(start_paused = true)]
async fn enabling_a_profile_disables_the_other_and_both_are_reported_in_order() {
    let mut bed = Bed::start().await;
    let (first, second) = (bed.install().await, bed.install().await);
    succeeded(&bed.switch(&first, Enabled).await);
    let operation = bed.switch(&second, Enabled).await;
    succeeded(&operation);
    let result = operation.result.unwrap();
    assert_eq!(result.enabled, Some(true));
    assert_eq!(result.notifications_delivered, 2);
    assert_eq!(result.warnings, [""; 0]);
    assert_eq!(
        states(&bed).await,
        [(first.clone(), Disabled), (second.clone(), Enabled)]
    );
    let received = events(&bed);
    let [.., disable, enable] = &received[..] else {
        panic!("{received:?}");
    };
    assert_eq!((&*disable.0, &disable.1), ("disable", &first));
    assert_eq!((&*enable.0, &enable.1), ("enable", &second));
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_card_that_insists_on_whole_profiles_has_the_subscriber_of_the_one_in_use() {
    let mut bed = Bed::start().await;
    let mut card = bed.bench.card.clone();
    card.configure(|settings| settings.strict_content = true);
    bed.order("SMALL");
    assert_eq!(bed.fail("SMALL").await.code, Code::InstallationFailed);
    for number in [901, 902] {
        let iccid = Iccid::nth(number);
        let profile = Profile::builder(iccid.clone()).content(Content::Whole);
        let matching_id = format!("WHOLE-{number}");
        let order = OrderRequest::with_matching_id(profile.build(), &matching_id);
        bed.bench.smdp.create_order(order);
        succeeded(&bed.download_id(&matching_id).await);
        succeeded(&bed.switch(&iccid.to_string(), Enabled).await);
        let mut transmit = |command: &str| card.transmit(&hex::decode(command).unwrap());
        assert_eq!(transmit("00A4040C07A0000000871002"), [0x90, 0x00]);
        assert_eq!(transmit("00A4000C026F07"), [0x90, 0x00]);
        let imsi = [&Imsi::of(&iccid).coded()[..], &[0x90, 0x00]].concat();
        assert_eq!(transmit("00B0000009"), imsi);
    }
    card.configure(|settings| settings.strict_content = false);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_as_wanted_already_is_a_success_that_touches_nothing() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    for state in [Disabled, Enabled, Enabled, Disabled, Disabled] {
        succeeded(&bed.switch(&iccid, state).await);
        assert_eq!(states(&bed).await, [(iccid.clone(), state)]);
    }
    let again = bed.switch(&iccid, Disabled).await.result.unwrap();
    assert!(again.nothing_to_change);
    let names: Vec<_> = events(&bed).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["install", "enable", "disable"]);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn an_enabled_profile_is_not_deleted_and_a_disabled_one_is() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    bed.switch(&iccid, Enabled).await;
    let refused = bed
        .ended(bed.client.delete(EUICC, &iccid, true).await)
        .await;
    let problem = refused.problem.unwrap();
    assert_eq!(problem.code, Code::ProfileEnabled);
    assert_eq!(problem.title, "The profile is enabled");
    assert_eq!(
        problem.next_step,
        "Disable it, or enable another profile, first."
    );
    let card = problem.card.unwrap();
    assert_eq!(
        (&*card.function, card.result),
        ("ES10c.DeleteProfile", Some(2))
    );
    assert_eq!(states(&bed).await, [(iccid.clone(), Enabled)]);

    bed.switch(&iccid, Disabled).await;
    let deleted = bed
        .ended(bed.client.delete(EUICC, &iccid, true).await)
        .await;
    succeeded(&deleted);
    assert_eq!(deleted.result.unwrap().notifications_delivered, 1);
    assert_eq!(states(&bed).await, []);
    assert_eq!(events(&bed).last().unwrap(), &("delete".to_owned(), iccid));
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_nickname_has_sixty_four_bytes_and_an_empty_one_takes_it_away() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    let nickname = async |bed: &Bed| {
        bed.client.profiles(EUICC).await.unwrap()[0]
            .nickname
            .clone()
    };
    for name in ["Gateway 7", &"ü".repeat(32), "😀 Lager"] {
        succeeded(
            &bed.ended(bed.client.rename(EUICC, &iccid, name).await)
                .await,
        );
        assert_eq!(nickname(&bed).await.as_deref(), Some(name));
    }
    let too_long = format!("{}x", "ü".repeat(32));
    match bed.client.rename(EUICC, &iccid, &too_long).await {
        Err(ClientError::Problem(problem)) => {
            assert_eq!(problem.code, Code::InvalidRequest);
            assert!(problem.detail.contains("64 bytes"), "{}", problem.detail);
        }
        other => panic!("{other:?}"),
    }
    succeeded(&bed.ended(bed.client.rename(EUICC, &iccid, "").await).await);
    assert_eq!(nickname(&bed).await, None);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_profile_that_is_not_there_cannot_be_changed() {
    let mut bed = Bed::start().await;
    bed.install().await;
    let missing = Iccid::nth(77).to_string();
    for operation in [
        bed.switch(&missing, Enabled).await,
        bed.switch(&missing, Disabled).await,
        bed.ended(bed.client.delete(EUICC, &missing, true).await)
            .await,
        bed.ended(bed.client.rename(EUICC, &missing, "x").await)
            .await,
    ] {
        assert_eq!(operation.state, State::Failed, "{:?}", operation.kind);
        let problem = operation.problem.unwrap();
        assert_eq!(problem.code, Code::UnknownProfile, "{problem:?}");
        assert_eq!(problem.next_step, "List the profiles and check the ICCID.");
    }
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn an_iccid_has_eighteen_to_twenty_digits_and_stays_as_it_is() {
    let mut bed = Bed::start().await;
    for digits in [
        "890199900000000018",
        "8901999000000000029",
        "89019990000000000035",
    ] {
        let iccid = Iccid::try_from(digits.to_owned()).unwrap();
        let profile = Profile::builder(iccid).size(1000).build();
        bed.bench
            .smdp
            .create_order(OrderRequest::with_matching_id(profile, digits));
        let operation = bed.download_id(digits).await;
        succeeded(&operation);
        assert_eq!(operation.result.unwrap().iccid.as_deref(), Some(digits));
        succeeded(
            &bed.ended(bed.client.rename(EUICC, digits, "mine").await)
                .await,
        );
        succeeded(&bed.switch(digits, Enabled).await);
        succeeded(&bed.switch(digits, Disabled).await);
        let received = events(&bed);
        assert_eq!(
            received.last().unwrap(),
            &("disable".to_owned(), digits.to_owned())
        );
        let shown = bed.client.profiles(EUICC).await.unwrap();
        assert_eq!(shown[0].iccid, digits);
        assert_eq!(shown[0].nickname.as_deref(), Some("mine"));
        succeeded(
            &bed.ended(bed.client.delete(EUICC, digits, true).await)
                .await,
        );
    }
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_reset_erases_what_it_is_told_to_and_only_with_the_name_said_again() {
    let mut bed = Bed::start().await;
    let mut profile = bed.profile();
    profile.metadata.class = ProfileClass::Test;
    bed.bench
        .smdp
        .create_order(OrderRequest::with_matching_id(profile, "TEST"));
    succeeded(&bed.download_id("TEST").await);
    let operational = bed.install().await;
    succeeded(&bed.switch(&operational, Enabled).await);
    let classes = async |bed: &Bed| -> Vec<String> {
        let profiles = bed.client.profiles(EUICC).await.unwrap();
        profiles.into_iter().map(|profile| profile.class).collect()
    };
    assert_eq!(classes(&bed).await, ["test", "operational"]);

    let wanted = ResetRequest {
        confirm: EUICC.to_owned(),
        test_profiles: true,
        ..ResetRequest::default()
    };
    let unconfirmed = ResetRequest {
        confirm: "yes".to_owned(),
        ..wanted.clone()
    };
    let nothing = ResetRequest {
        test_profiles: false,
        ..wanted.clone()
    };
    for request in [unconfirmed, nothing] {
        match bed.client.reset(EUICC, &request).await {
            Err(ClientError::Problem(problem)) => assert_eq!(problem.code, Code::InvalidRequest),
            other => panic!("{other:?}"),
        }
    }
    succeeded(&bed.ended(bed.client.reset(EUICC, &wanted).await).await);
    assert_eq!(classes(&bed).await, ["operational"]);

    succeeded(
        &bed.ended(bed.client.set_default_smdp(EUICC, HOST_NAME).await)
            .await,
    );
    let all = ResetRequest {
        operational_profiles: true,
        default_smdp: true,
        ..wanted
    };
    // Also the enabled one.
    succeeded(&bed.ended(bed.client.reset(EUICC, &all).await).await);
    assert_eq!(classes(&bed).await, [""; 0]);
    assert_eq!(
        bed.client.addresses(EUICC).await.unwrap().default_smdp,
        None
    );
    assert_eq!(
        events(&bed).last().unwrap(),
        &("delete".to_owned(), operational)
    );
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_reset_with_nothing_to_erase_says_so() {
    let mut bed = Bed::start().await;
    let request = ResetRequest {
        confirm: EUICC.to_owned(),
        operational_profiles: true,
        ..ResetRequest::default()
    };
    let operation = bed.ended(bed.client.reset(EUICC, &request).await).await;
    succeeded(&operation);
    assert!(operation.result.unwrap().nothing_to_change);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn the_default_smdp_is_set_changed_and_taken_away() {
    let mut bed = Bed::start().await;
    for (address, stored) in [
        ("smdp.example.com", Some("smdp.example.com")),
        ("other.example.com", Some("other.example.com")),
        ("https://SMDP.Example.com:443/", Some("smdp.example.com")),
        ("smdp.example.com:8443", Some("smdp.example.com:8443")),
        ("", None),
    ] {
        succeeded(
            &bed.ended(bed.client.set_default_smdp(EUICC, address).await)
                .await,
        );
        let addresses = bed.client.addresses(EUICC).await.unwrap();
        assert_eq!(addresses.default_smdp.as_deref(), stored);
        assert_eq!(addresses.root_smds, "lpa.ds.gsma.com");
    }
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn policy_rules_are_shown_to_the_person_asked_and_then_kept_by_the_card() {
    let mut bed = Bed::start().await;
    let mut profile = bed.profile();
    profile.metadata.policy_rules = vec![PolicyRule::Ppr1, PolicyRule::Ppr2];
    profile.metadata.owner = Some(ProfileOwner {
        mcc_mnc: [0x00, 0xF1, 0x10],
        gid1: Vec::new(),
        gid2: Vec::new(),
    });
    bed.bench
        .smdp
        .create_order(OrderRequest::with_matching_id(profile, "RULES"));
    // Even a client that accepts everything else is asked about these.
    let request = DownloadRequest {
        consent: Consent::Accept,
        ..accepting(&format!("1${HOST_NAME}$RULES"))
    };
    let operation = bed.client.download(EUICC, &request).await.unwrap();
    let asking = bed.client.operation(operation.id, 60).await.unwrap();
    let offer = asking.offer.expect("it is offered");
    assert_eq!(offer.policy_rules, ["ppr1", "ppr2"]);
    assert!(offer.policy_consent_required);
    let accept = Answer {
        answer: Decision::Accept,
        confirmation_code: None,
    };
    bed.client.answer(operation.id, &accept).await.unwrap();
    let ended = bed.client.wait(operation.id).await.unwrap();
    succeeded(&ended);
    let iccid = ended.result.unwrap().iccid.unwrap();

    let deleted = bed
        .ended(bed.client.delete(EUICC, &iccid, true).await)
        .await;
    assert_eq!(deleted.problem.unwrap().code, Code::DisallowedByPolicy);
    succeeded(&bed.switch(&iccid, Enabled).await);
    let disabled = bed.switch(&iccid, Disabled).await.problem.unwrap();
    assert_eq!(disabled.code, Code::DisallowedByPolicy);
    assert_eq!(
        disabled.title,
        "The profile's policy rules do not allow this"
    );
    assert_eq!(states(&bed).await, [(iccid, Enabled)]);
    bed.must_be_sound().await;
}

async fn states(bed: &Bed) -> Vec<(String, ProfileState)> {
    let profiles = bed.client.profiles(EUICC).await.unwrap();
    profiles
        .into_iter()
        .map(|profile| (profile.iccid, profile.state))
        .collect()
}

/// What the server was told, in the order it was told, and about which profile.
fn events(bed: &Bed) -> Vec<(String, String)> {
    let received = bed.bench.smdp.notifications();
    let told = received.iter().map(|notification| {
        let event = notification.event().unwrap();
        (event.names().collect(), notification.iccid().unwrap())
    });
    told.collect()
}

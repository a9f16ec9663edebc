use std::fs;
use std::path::PathBuf;

use es10_apdu::types::Iccid;
use tempfile::TempDir;

use super::*;
use crate::euicc::tests::bench::{Bench, ICCID, ISDR, configuration};
use crate::modem::Card as _;

/// A folder that is gone at the end of the test.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Of the card itself, which makes it.
    fn path(&self) -> PathBuf {
        self.0.path().join("card")
    }

    fn card(&self, identity: &Arc<Identity>) -> Card {
        let folder = StateFolder::open(&self.path()).unwrap();
        Card::in_folder(identity.clone(), Settings::default(), folder).unwrap()
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path().join("profiles")).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

fn transmit(card: &mut Card, command: &str) -> String {
    hex::encode_upper(card.transmit(&hex::decode(command).unwrap()))
}

fn select(card: &mut Card) {
    assert_eq!(transmit(card, "0070000001"), "019000");
    assert!(transmit(card, &format!("01A4040010{ISDR}00")).ends_with("9000"));
}

fn set_default_address(card: &mut Card) -> String {
    transmit(card, "81E2910008BF3F058003616263")
}

fn enable(refresh: bool) -> String {
    let flag = if refresh { "FF" } else { "00" };
    format!("81E2910014BF3111A00C5A0A981000000000000010F98101{flag}")
}

/// An eUICC with one profile that reports being enabled.
fn personalised() -> (Arc<Identity>, NonVolatile) {
    let mut bench = Bench::new();
    bench.install(ICCID, &[configuration(&[[0x06, 0x40]])]);
    (bench.euicc.identity().clone(), bench.euicc.memory().clone())
}

fn enabled(card: &Card) -> Option<String> {
    let iccid = card.inspect(|euicc| euicc.enabled_iccid());
    iccid.map(|iccid| iccid.to_string())
}

#[test]
fn a_card_goes_on_where_it_stopped() {
    let (identity, memory) = personalised();
    let folder = Folder::new();
    let mut card = folder.card(&identity);
    card.restore(memory.clone());
    select(&mut card);
    assert_eq!(transmit(&mut card, &enable(false)), "BF31038001009000");
    drop(card);
    let card = folder.card(&identity);
    assert_eq!(enabled(&card).as_deref(), Some("8901000000000000019"));
    assert_eq!(
        card.memory().profiles[0].package,
        memory.profiles[0].package
    );
    assert_eq!(card.memory().sequence_number, 2);
    assert!(card.open_channels().is_empty());
}

#[test]
fn a_snapshot_with_another_package_for_the_same_profile_is_written() {
    let (identity, mut memory) = personalised();
    let folder = Folder::new();
    let card = folder.card(&identity);
    card.restore(memory.clone());
    memory.profiles[0].package.push(0);
    card.restore(memory.clone());
    drop(card);
    assert_eq!(folder.card(&identity).memory(), memory);
}

#[test]
fn a_profile_has_a_file_with_its_package_as_long_as_it_is_installed() {
    let (identity, memory) = personalised();
    let folder = Folder::new();
    let mut card = folder.card(&identity);
    assert!(folder.files().is_empty());
    card.restore(memory.clone());
    let file = folder.path().join("profiles/8901000000000000019.der");
    assert_eq!(fs::read(&file).unwrap(), memory.profiles[0].package);
    select(&mut card);
    assert_eq!(
        transmit(&mut card, "81E291000FBF330C5A0A981000000000000010F9"),
        "BF33038001009000"
    );
    assert!(folder.files().is_empty());
}

#[test]
fn what_an_interrupted_save_left_is_cleared_away() {
    let (identity, memory) = personalised();
    let folder = Folder::new();
    let card = folder.card(&identity);
    card.restore(memory);
    drop(card);
    let profiles = folder.path().join("profiles");
    fs::write(profiles.join("8901000000000000027.der"), b"stray").unwrap();
    fs::write(profiles.join("8901000000000000019.new"), b"draft").unwrap();
    let _card = folder.card(&identity);
    assert_eq!(folder.files(), ["8901000000000000019.der"]);
}

#[test]
fn a_folder_belongs_to_one_card_and_a_damaged_one_is_named() {
    let (identity, memory) = personalised();
    let folder = Folder::new();
    let card = folder.card(&identity);
    card.restore(memory);
    assert!(matches!(
        StateFolder::open(&folder.path()),
        Err(StateError::InUse(_))
    ));
    drop(card);
    fs::remove_file(folder.path().join("profiles/8901000000000000019.der")).unwrap();
    let missing = StateFolder::open(&folder.path())
        .unwrap()
        .load()
        .unwrap_err();
    assert!(missing.to_string().contains("8901000000000000019.der"));
    fs::write(folder.path().join("state.json"), b"{").unwrap();
    let damaged = StateFolder::open(&folder.path())
        .unwrap()
        .load()
        .unwrap_err();
    assert!(damaged.to_string().contains("state.json"));
}

#[test]
fn power_is_cut_before_or_after_a_command() {
    for (when, kept) in [
        (PowerCut::BeforeExecution, ""),
        (PowerCut::AfterExecution, "abc"),
    ] {
        let (identity, _) = personalised();
        let mut card = Card::new(identity, Settings::default());
        card.cut_power(3, when);
        select(&mut card);
        assert_eq!(set_default_address(&mut card), "");
        assert_eq!(
            transmit(&mut card, "0070000001"),
            "",
            "a dead card answers nothing"
        );
        card.reset();
        assert_eq!(card.memory().default_dp_address, kept);
        assert!(card.open_channels().is_empty());
        select(&mut card);
    }
}

#[test]
fn a_refresh_is_taken_once_and_the_reset_makes_the_switch() {
    let (identity, memory) = personalised();
    let mut card = Card::new(identity, Settings::default());
    card.restore(memory);
    select(&mut card);
    assert_eq!(transmit(&mut card, &enable(true)), "BF3103800100910B");
    assert_eq!(enabled(&card), None);
    let refresh = "D009810301010482028182";
    assert!(transmit(&mut card, "801200000B").starts_with(refresh));
    assert!(!transmit(&mut card, "801200000B").starts_with(refresh));
    card.reset();
    assert_eq!(enabled(&card).as_deref(), Some("8901000000000000019"));
    let events: Vec<i64> = card
        .memory()
        .notifications
        .iter()
        .map(|pending| pending.sequence_number)
        .collect();
    assert_eq!(events, [1, 2]);
}

#[test]
fn a_refresh_waits_until_the_whole_answer_was_fetched() {
    let (identity, memory) = personalised();
    let mut card = Card::new(identity, Settings::default());
    card.restore(memory);
    select(&mut card);
    card.configure(|settings| settings.always_get_response = true);
    assert_eq!(transmit(&mut card, &enable(true)), "6106");
    assert_eq!(transmit(&mut card, "81C0000006"), "BF3103800100910B");
    assert!(transmit(&mut card, "801200000B").starts_with("D009"));
}

#[test]
fn a_watcher_sees_every_call() {
    let (identity, _) = personalised();
    let mut card = Card::new(identity, Settings::default());
    let mut counters = card.counters();
    select(&mut card);
    set_default_address(&mut card);
    transmit(&mut card, "81E2910003BF2E0000");
    card.reset();
    let counters = counters.borrow_and_update().clone();
    assert_eq!((counters.apdus, counters.resets), (4, 1));
    assert_eq!(
        (
            counters.calls(0xBF3F),
            counters.calls(0xBF2E),
            counters.calls(0xBF38)
        ),
        (1, 1, 0)
    );
}

#[test]
fn a_snapshot_can_be_put_back() {
    let (identity, memory) = personalised();
    let mut card = Card::new(identity, Settings::default());
    card.restore(memory.clone());
    select(&mut card);
    transmit(&mut card, &enable(false));
    assert_ne!(card.memory(), memory);
    card.restore(memory.clone());
    assert_eq!(card.memory(), memory);
    assert!(card.open_channels().is_empty());
    let iccid: Iccid = ICCID.parse().unwrap();
    assert_eq!(card.memory().profiles[0].iccid, iccid);
}

#[tokio::test]
async fn a_test_that_waits_for_a_state_is_told_when_it_has_come() {
    let (identity, memory) = personalised();
    let mut card = Card::new(identity, Settings::default());
    let mut state = card.state();
    assert_eq!(
        *state.borrow_and_update(),
        CardState {
            powered: true,
            ..CardState::default()
        }
    );
    card.restore(memory);
    let installed = state.borrow_and_update().clone();
    assert_eq!(installed.installed.len(), 1);
    assert_eq!(
        (installed.enabled, installed.notifications),
        (None, vec![1])
    );
    let mut waiting = state.clone();
    let enabled = tokio::spawn(async move {
        let enabled = waiting.wait_for(|state| state.enabled.is_some()).await;
        enabled.unwrap().notifications.clone()
    });
    select(&mut card);
    assert!(state.has_changed().unwrap());
    assert_eq!(state.borrow_and_update().open_channels, [1]);
    transmit(&mut card, "81F20000");
    assert!(!state.has_changed().unwrap());
    transmit(&mut card, &enable(false));
    assert_eq!(enabled.await.unwrap(), [1, 2]);
    card.cut_power(1, PowerCut::BeforeExecution);
    transmit(&mut card, "81F20000");
    assert!(!state.borrow_and_update().powered);
}

#[test]
fn a_memory_reset_the_power_failed_in_is_finished_when_it_comes_back() {
    let folder = Folder::new();
    let (identity, memory) = personalised();
    let mut card = folder.card(&identity);
    card.restore(memory);
    select(&mut card);
    set_default_address(&mut card);
    card.cut_power(1, PowerCut::DuringExecution);
    assert_eq!(transmit(&mut card, "81E2910007BF3404820205E0"), "");
    let halfway = card.memory();
    assert!(halfway.pending_reset.is_some());
    assert_eq!(halfway.profiles.len(), 1);
    assert_eq!(halfway.default_dp_address, "abc");
    drop(card);
    // Another process finds the folder as it was left.
    let mut card = folder.card(&identity);
    let finished = card.memory();
    assert!(finished.profiles.is_empty() && finished.pending_reset.is_none());
    assert_eq!(finished.default_dp_address, "");
    assert!(folder.files().is_empty());
    select(&mut card);
    assert_eq!(
        transmit(&mut card, "81E2910007BF3404820205E0"),
        "BF34038001019000"
    );
}

#[test]
fn an_answer_is_forced_on_a_shared_card() {
    let (identity, memory) = personalised();
    let mut card = Card::new(identity, Settings::default());
    card.restore(memory);
    select(&mut card);
    card.force(0xBF31, 1, ForcedAnswer::Code(5));
    assert_eq!(transmit(&mut card, &enable(false)), "BF31038001059000");
    assert_eq!(transmit(&mut card, &enable(false)), "BF31038001009000");
}

#[test]
fn the_state_of_a_later_version_is_refused_and_left_as_it_is() {
    let folder = Folder::new();
    let (identity, memory) = personalised();
    let card = folder.card(&identity);
    card.restore(memory);
    drop(card);
    let path = folder.path().join("state.json");
    let text = fs::read_to_string(&path).unwrap();
    let later = text.replace("\"version\": 1", "\"version\": 2");
    assert_ne!(later, text);
    fs::write(&path, &later).unwrap();
    let mut again = StateFolder::open(&folder.path()).unwrap();
    let refused = again.load().unwrap_err();
    assert!(matches!(refused, StateError::Version { version: 2, .. }));
    assert_eq!(fs::read_to_string(&path).unwrap(), later);
}

#[test]
fn the_state_of_an_earlier_version_is_read() {
    let folder = Folder::new();
    let (identity, memory) = personalised();
    let card = folder.card(&identity);
    card.restore(memory.clone());
    drop(card);
    let path = folder.path().join("state.json");
    let text = fs::read_to_string(&path).unwrap();
    let mut state: serde_json::Value = serde_json::from_str(&text).unwrap();
    let root = state.as_object_mut().unwrap();
    for later in ["version", "crls", "pending_reset"] {
        root.remove(later).unwrap();
    }
    let profile = root["profiles"][0].as_object_mut().unwrap();
    profile.remove("configuration").unwrap();
    profile.remove("ci_key_identifier").unwrap();
    fs::write(&path, state.to_string()).unwrap();
    let card = folder.card(&identity);
    assert_eq!(card.memory().notifications, memory.notifications);
    assert_eq!(
        card.memory().profiles[0].package,
        memory.profiles[0].package
    );
    assert!(card.memory().profiles[0].configuration.is_empty());
}

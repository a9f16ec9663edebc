use std::fs::{self, OpenOptions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use es10_apdu::apdu::Channel;
use es10_apdu::channel::Place;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use super::file::NAME;
use super::*;
use crate::config::Route;
use crate::job::{Kind, OperationId};
use crate::memory::digest::Digest;
use crate::memory::link::FoundLink;

#[test]
fn what_is_open_survives_a_restart() {
    let state = State::new();
    let (held, mut journal) = state.open();
    for record in story() {
        journal.append(record).unwrap();
    }
    let before = journal.intent().clone();
    drop((held, journal));
    let (_held, journal) = state.open();
    assert_eq!(*journal.intent(), before);
    let open = &journal.intent().operations[&OperationId(2)];
    assert_eq!(open.transaction_id.as_deref(), Some("AB12"));
    assert_eq!(open.iccid.as_deref(), Some("89000"));
    assert_eq!(
        journal.intent().ports[Path::new("/dev/ttyUSB2")]
            .channel
            .as_ref()
            .unwrap()
            .place,
        Channel::new(1).map(Place::Channel)
    );
}

#[test]
fn a_torn_tail_is_cut_wherever_the_power_went() {
    let state = State::new();
    let mut whole = Vec::new();
    let mut ends = vec![0];
    for record in story() {
        whole.extend(record.line().unwrap().into_bytes());
        ends.push(whole.len());
    }
    for cut in 0..whole.len() {
        let kept = ends.iter().rposition(|end| *end <= cut).unwrap();
        let replay = Replay::of(&whole[..cut]);
        assert_eq!(
            (replay.records.len(), replay.whole),
            (kept, ends[kept]),
            "cut at {cut}"
        );
        let expected = match cut == ends[kept] {
            true => End::Whole,
            false => End::Torn,
        };
        assert_eq!(replay.end, expected, "cut at {cut}");
    }
    for cut in [0, 1, ends[2], ends[2] + 1, whole.len() - 1] {
        state.write(&whole[..cut]);
        let (held, mut journal) = state.open();
        let host = "a".into();
        journal.append(Record::HostPort { host, port: 1 }).unwrap();
        drop((held, journal));
        let (_held, journal) = state.open();
        assert_eq!(
            journal.intent().host_ports.get("a"),
            Some(&1),
            "cut at {cut}"
        );
        assert_eq!(journal.damaged(), [""; 0].map(PathBuf::from));
    }
}

#[test]
fn zeros_in_place_of_the_last_line_are_cut_off() {
    let mut content = lines(&story());
    content.extend([0; 700]);
    assert_eq!(Replay::of(&content).end, End::Torn);
}

#[test]
fn records_behind_a_damage_are_kept_and_the_damaged_file_is_set_aside() {
    let state = State::new();
    let mut content = lines(&story());
    // In the second line, which begins an operation that the third one ends.
    let second = content.iter().position(|octet| *octet == b'\n').unwrap() + 1;
    content[second + 40] ^= 1;
    state.write(&content);
    let (held, journal) = state.open();
    let intent = journal.intent().clone();
    assert_eq!(intent.host_ports.get("smdp.example.com"), Some(&8443));
    assert!(intent.operations.contains_key(&OperationId(2)));
    assert_eq!(intent.last_operation, OperationId(2));
    let damaged = journal.damaged();
    assert_eq!(damaged, [state.path("journal.damaged-1")]);
    assert_eq!(fs::read(&damaged[0]).unwrap(), content);
    drop((held, journal));
    let (_held, journal) = state.open();
    assert_eq!(*journal.intent(), intent);
    assert_eq!(journal.damaged().len(), 1);
}

#[test]
fn a_damaged_journal_of_the_highest_number_is_no_obstacle() {
    let state = State::new();
    state.write(b"this was not written by lpad\n");
    let last = state.path(&format!("journal.damaged-{}", u64::MAX));
    fs::write(&last, "").unwrap();
    let (_held, journal) = state.open();
    assert_eq!(journal.damaged(), [state.path("journal.damaged-1"), last]);
}

#[test]
fn numbers_that_are_used_up_are_no_obstacle() {
    let state = State::new();
    let number = u64::MAX;
    let (operation, format) = (OperationId(number), FORMAT);
    state.write(&lines(&[
        Record::DaemonStarted { number, format },
        Record::LastOperation { operation },
    ]));
    let (_held, mut journal) = state.open();
    assert_eq!(journal.count_start(), number);
    assert_eq!(journal.intent().last_operation, operation);
}

#[test]
fn what_is_in_the_way_of_a_new_journal_is_named() {
    let state = State::new();
    let (_held, mut journal) = state.open();
    let obstacle = state.path("journal.tmp");
    fs::create_dir(&obstacle).unwrap();
    let failed = journal.rewrite().unwrap_err().to_string();
    let named = format!("{} is in the way", obstacle.display());
    assert!(failed.starts_with(&named), "{failed}");
}

#[test]
fn only_a_few_damaged_journals_are_kept() {
    let state = State::new();
    for _ in 0..7 {
        state.write(b"this was not written by lpad\n");
        let _ = state.open();
    }
    let (_held, journal) = state.open();
    let names = [4, 5, 6, 7].map(|n| state.path(&format!("journal.damaged-{n}")));
    assert_eq!(journal.damaged(), names);
}

#[test]
fn a_line_of_a_later_version_is_kept_as_it_is_and_hides_nothing_behind_it() {
    let state = State::new();
    let json = r#"{"type":"of-a-later-version","operation":"9"}"#;
    let foreign = record::line_of(json);
    let mut content = lines(&story()[..3]);
    content.extend(foreign.bytes());
    content.extend(lines(&story()[3..]));
    state.write(&content);
    let (_held, mut journal) = state.open();
    assert_eq!(journal.damaged(), [""; 0].map(PathBuf::from));
    assert!(journal.intent().operations.contains_key(&OperationId(2)));
    let before = journal.intent().clone();
    journal.compact();
    assert_eq!(*journal.intent(), before);
    let kept = fs::read_to_string(state.path(NAME)).unwrap();
    assert!(kept.contains(&foreign), "{kept}");
    assert!(kept.lines().count() < story().len(), "{kept}");
}

#[test]
fn a_journal_of_a_later_format_is_refused_and_left_as_it_is() {
    let state = State::new();
    for (format, is_read) in [
        ("", true),
        (r#","format":1"#, true),
        (r#","format":2"#, false),
        (r#","format":2099999999999"#, false),
    ] {
        let json = format!(r#"{{"type":"daemon-started","number":3{format}}}"#);
        let mut content = record::line_of(&json).into_bytes();
        content.extend(lines(&story()));
        state.write(&content);
        let folder = StateFolder::hold(&state.path("")).unwrap();
        match Journal::open(&folder) {
            Ok(journal) => {
                assert!(is_read, "{json}");
                assert_eq!(journal.intent().starts, 3);
            }
            Err(error) => {
                assert!(!is_read, "{error}");
                assert!(error.to_string().contains("its format is 2"), "{error}");
                assert_eq!(fs::read(state.path(NAME)).unwrap(), content);
            }
        }
    }
}

#[test]
fn a_long_journal_is_compacted_and_says_the_same() {
    let state = State::new();
    let (held, mut journal) = state.open();
    for record in story() {
        journal.append(record).unwrap();
    }
    let before = journal.intent().clone();
    grow(&mut journal, 2 * COMPACT_ABOVE);
    assert!(journal.file.length() < COMPACT_ABOVE);
    assert_eq!(*journal.intent(), before);
    drop((held, journal));
    assert_eq!(*state.open().1.intent(), before);
}

#[test]
fn a_compaction_that_fails_costs_no_record_and_is_tried_again_at_twice_the_size() {
    let state = State::new();
    let (_held, mut journal) = state.open();
    // A folder where the compacted journal would be written.
    let obstacle = state.path("journal.tmp");
    fs::create_dir(&obstacle).unwrap();
    grow(&mut journal, COMPACT_ABOVE + 1000);
    assert!(journal.file.length() > COMPACT_ABOVE);
    assert_eq!(journal.trouble(), None);
    assert!(journal.compact_above > 2 * COMPACT_ABOVE);
    fs::remove_dir(&obstacle).unwrap();
    grow(&mut journal, 2 * COMPACT_ABOVE);
    assert!(journal.file.length() < COMPACT_ABOVE);
}

#[test]
fn a_state_folder_that_was_removed_is_made_again_with_all_that_is_known() {
    let state = State::new();
    let (held, mut journal) = state.open();
    for record in story() {
        journal.append(record).unwrap();
    }
    fs::remove_dir_all(state.path("")).unwrap();
    let host = "b".into();
    journal.append(Record::HostPort { host, port: 2 }).unwrap();
    let before = journal.intent().clone();
    drop((held, journal));
    assert_eq!(*state.open().1.intent(), before);
}

#[test]
fn a_reader_notices_that_the_state_folder_was_removed() {
    let state = State::new();
    let (_held, mut journal) = state.open();
    journal.append(story().remove(1)).unwrap();
    fs::remove_dir_all(state.path("")).unwrap();
    // Nothing can be made where the folder was.
    fs::write(state.folder.path().join("state"), "").unwrap();
    let trouble = journal.trouble().map(str::to_owned);
    assert!(trouble.unwrap().contains("it is a file, not a folder"));
    journal.append(story().remove(2)).unwrap_err();
    fs::remove_file(state.folder.path().join("state")).unwrap();
    journal.append(story().remove(2)).unwrap();
    assert_eq!(journal.trouble(), None);
    assert!(state.path(NAME).exists());
}

#[test]
fn what_has_happened_and_could_not_be_written_is_written_before_the_next_record() {
    for noted in [1, OWED_KEPT + 1] {
        for is_told_to_end in [false, true] {
            let state = State::new();
            let (held, mut journal) = state.open();
            let story = story();
            journal.append(story[1].clone()).unwrap();
            journal.file.is_full = true;
            for _ in 0..noted {
                journal.note(finished(1));
            }
            assert_eq!(journal.intent().ended.len(), 1, "it is true at once");
            journal.append(story[4].clone()).unwrap_err();
            assert_eq!(journal.intent().last_operation, OperationId(1));
            journal.file.is_full = false;
            match is_told_to_end {
                true => journal.make_up(),
                false => journal.append(story[4].clone()).unwrap(),
            }
            assert!(journal.owed.is_empty());
            let before = journal.intent().clone();
            drop((held, journal));
            let (_held, journal) = state.open();
            assert_eq!(*journal.intent(), before);
            assert!(journal.intent().ended.contains_key(&OperationId(1)));
        }
    }
}

#[test]
fn a_start_that_cannot_be_written_is_counted_all_the_same() {
    let state = State::new();
    let (held, mut journal) = state.open();
    journal.file.is_full = true;
    assert_eq!(journal.count_start(), 1);
    assert_eq!(journal.count_start(), 2);
    journal.file.is_full = false;
    journal.append(story().remove(0)).unwrap();
    drop((held, journal));
    assert_eq!(state.open().1.count_start(), 3);
}

#[test]
fn starts_are_counted_over_restarts() {
    let state = State::new();
    for number in 1..4 {
        let (_held, mut journal) = state.open();
        assert_eq!(journal.count_start(), number);
        journal.compact();
    }
}

#[test]
fn a_journal_that_is_no_file_is_refused_and_what_it_names_is_left_alone() {
    let state = State::new();
    let other = state.folder.path().join("other");
    fs::write(&other, "valuable").unwrap();
    for name in [NAME, "lock"] {
        for kind in ["symbolic link", "pipe", "folder"] {
            let state = State::new();
            fs::create_dir(state.path("")).unwrap();
            let path = state.path(name);
            match kind {
                "symbolic link" => symlink(&other, &path).unwrap(),
                "pipe" => mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap(),
                _ => fs::create_dir(&path).unwrap(),
            }
            let refused = StateFolder::hold(&state.path(""))
                .and_then(|folder| Journal::open(&folder))
                .unwrap_err()
                .to_string();
            let expected = format!("{name} is a {kind}, not a file");
            assert!(refused.starts_with(&expected), "{refused}");
        }
    }
    assert_eq!(fs::read_to_string(&other).unwrap(), "valuable");
}

#[test]
fn a_file_of_many_gigabytes_is_set_aside_without_being_read() {
    let state = State::new();
    state.write(&lines(&story()));
    let file = OpenOptions::new().append(true).open(state.path(NAME));
    file.unwrap().set_len(1 << 40).unwrap();
    let (_held, journal) = state.open();
    assert!(journal.intent().operations.contains_key(&OperationId(2)));
    assert_eq!(journal.damaged().len(), 1);
    assert!(journal.file.length() < 2000);
}

#[test]
fn only_the_owner_may_read_it() {
    let state = State::new();
    let (_held, mut journal) = state.open();
    for _ in 0..2 {
        let metadata = fs::metadata(state.path(NAME)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        journal.compact();
    }
}

/// A state folder for one test.
struct State {
    folder: TempDir,
}

impl State {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn open(&self) -> (StateFolder, Journal) {
        let folder = StateFolder::hold(&self.path("")).unwrap();
        let journal = Journal::open(&folder).unwrap();
        (folder, journal)
    }

    fn path(&self, name: &str) -> PathBuf {
        let state = self.folder.path().join("state");
        match name {
            "" => state,
            name => state.join(name),
        }
    }

    fn write(&self, content: &[u8]) {
        fs::create_dir_all(self.path("")).unwrap();
        fs::write(self.path(NAME), content).unwrap();
    }
}

fn lines(records: &[Record]) -> Vec<u8> {
    let lines = records.iter().map(|record| record.line().unwrap());
    lines.collect::<String>().into_bytes()
}

/// Writes records that leave nothing open until so many bytes were written.
fn grow(journal: &mut Journal, bytes: u64) {
    let record = Record::ChannelClosed {
        port: "/dev/other".into(),
    };
    let length = u64::try_from(record.line().unwrap().len()).unwrap();
    for _ in 0..=bytes / length {
        journal.append(record.clone()).unwrap();
    }
}

fn finished(operation: u64) -> Record {
    Record::OperationFinished {
        operation: OperationId(operation),
        ending: Some(Ending::Succeeded),
        details: EndDetails::default(),
    }
}

fn story() -> Vec<Record> {
    let started = |operation, kind| {
        Record::OperationStarted(StartedOperation {
            address: Some("smdp.example.com".into()),
            ..StartedOperation::new(OperationId(operation), "default", kind)
        })
    };
    vec![
        Record::ChannelOpened {
            port: "/dev/ttyUSB2".into(),
            channel: 1,
            session: None,
            boot: "b".into(),
        },
        started(1, Kind::Enable),
        Record::OperationFinished {
            operation: OperationId(1),
            ending: None,
            details: EndDetails::default(),
        },
        Record::HostPort {
            host: "smdp.example.com".into(),
            port: 8443,
        },
        started(2, Kind::Download),
        Record::LoadingBpp {
            operation: OperationId(2),
            transaction_id: "AB12".into(),
            iccid: "89000".into(),
        },
        Record::ChannelOpened {
            port: "/dev/ttyUSB7".into(),
            channel: 0,
            session: Some("00000000038aa32f".into()),
            boot: "b".into(),
        },
        Record::LinkFound {
            port: "/dev/ttyUSB7".into(),
            link: FoundLink {
                start: Digest::of(&[b"Sierra Wireless MC7455"]),
                route: Route::Cgla,
                block_size: 120,
                le: true,
                interindustry: false,
            },
        },
        Record::ModemResetting {
            port: "/dev/ttyUSB7".into(),
            last_line: "AT+CFUN=1".into(),
        },
        Record::ModemReset {
            port: "/dev/ttyUSB7".into(),
        },
        Record::ModemResetting {
            port: "/dev/ttyUSB2".into(),
            last_line: "AT+CFUN=1".into(),
        },
    ]
}

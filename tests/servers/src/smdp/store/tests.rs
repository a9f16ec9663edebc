use std::fs;
use std::os::unix::fs::MetadataExt;

use super::*;
use crate::profile::{Iccid, Profile};
use crate::smdp::order::OrderRequest;

fn folder_with(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(FILE), text).unwrap();
    folder
}

/// What is wrong with this copy; it must still be there afterwards.
fn problem(text: &str) -> String {
    let folder = folder_with(text);
    let error = State::load(folder.path(), 0).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let left = fs::read_to_string(folder.path().join(FILE)).unwrap();
    assert_eq!(left, text);
    error.to_string()
}

#[test]
fn a_damaged_copy_is_an_error_that_names_it_and_is_left_as_it_is() {
    for text in ["", "{", r#"{"version":1,"orders":[{}]}"#, "[]"] {
        let problem = problem(text);
        assert!(problem.contains(FILE), "{problem}");
    }
}

#[test]
fn a_copy_of_a_newer_server_is_an_error_that_says_so() {
    let problem = problem(r#"{"version":9,"orders":{}}"#);
    assert!(problem.contains("its version is 9"), "{problem}");
}

#[test]
fn a_copy_without_a_version_is_read() {
    let folder = folder_with(r#"{"orders":[],"reservations":[]}"#);
    assert!(
        State::load(folder.path(), 0)
            .unwrap()
            .orders
            .all()
            .is_empty()
    );
}

#[test]
fn a_copy_is_readable_by_its_owner_alone_even_when_a_draft_lay_there() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(format!("{FILE}.new")), "left behind").unwrap();
    let mut state = State::default();
    let profile = Profile::builder(Iccid::nth(1)).build();
    state
        .orders
        .create(OrderRequest::with_matching_id(profile, "M-1"));
    state.save(folder.path()).unwrap();
    let file = fs::metadata(folder.path().join(FILE)).unwrap();
    assert_eq!(file.mode() & 0o777, 0o600);
    assert_eq!(State::load(folder.path(), 0).unwrap().orders.all().len(), 1);
}

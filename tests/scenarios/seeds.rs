//! What fuzzing has kept is fed to the same code again, with each run of the tests.

use std::fs;
use std::path::Path;

use lpad_tests::fuzzing;

/// Runs what is kept for a fuzz target.
fn run(target: &str, run: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    let mut count = 0;
    for seed in fs::read_dir(folder.join(target)).unwrap() {
        let seed = seed.unwrap().path();
        // Only seen when it fails.
        eprintln!("{}", seed.display());
        run(&fs::read(seed).unwrap());
        count += 1;
    }
    assert!(count > 3, "{target} has {count} seeds");
}

#[test]
fn every_line_that_was_kept_is_stood() {
    run("at_line", fuzzing::at_line);
}

#[test]
fn every_dialogue_that_was_kept_comes_to_an_end() {
    run("at_answers", fuzzing::at_answers);
}

#[test]
fn every_table_that_was_kept_can_be_used_or_is_refused() {
    run("modem_table", |bytes| {
        fuzzing::modem_table(&String::from_utf8_lossy(bytes));
    });
}

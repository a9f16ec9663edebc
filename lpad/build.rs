//! Takes the white space out of the description of the API, which is a third of it: the file is
//! written for people, what the daemon carries and serves is for programs.

#![allow(clippy::print_stdout, reason = "cargo reads it")]

use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed={DOCUMENT}");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join(DOCUMENT), compact(&fs::read_to_string(DOCUMENT)?))
}

/// JSON without white space between its tokens.
fn compact(json: &str) -> String {
    let (mut in_string, mut is_escaped) = (false, false);
    let is_kept = |character: &char| {
        let is_quote = *character == '"' && !is_escaped;
        is_escaped = *character == '\\' && !is_escaped;
        in_string ^= is_quote;
        in_string || !character.is_ascii_whitespace()
    };
    json.chars().filter(is_kept).collect()
}

const DOCUMENT: &str = "openapi.json";

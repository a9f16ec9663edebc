//! Makes the programs smaller than their source says.

#![allow(clippy::print_stdout, reason = "cargo reads it")]

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    pack(DOCUMENT, compact)?;
    pack(EXAMPLE, str::to_owned)?;
    pack(MODEMS, compact_modems)?;
    println!("cargo::rerun-if-changed={NO_UNWINDING}");
    if discards_unwinding() {
        let script = env::current_dir()?.join(NO_UNWINDING);
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", script.display());
        if libc_takes_packed_relocations() {
            println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        }
        if let Some(folder) = libgcc_folder() {
            println!("cargo::rustc-link-search=native={}", folder.display());
            println!("cargo::rustc-link-lib=static:-bundle=gcc_eh");
        }
    }
    Ok(())
}

/// Where the compiler has the part of libgcc that unwinds. It comes before the shared libgcc that std
/// asks for, which then nothing is needed of: 100 kB less in memory, and one library less.
fn libgcc_folder() -> Option<PathBuf> {
    let library = compilers_file("libgcc_eh.a")?;
    Some(library.parent()?.into())
}

/// Whether the libc that is linked, and with it every newer one, takes the places that hold an address in
/// packed form (DT_RELR): 130 kB less in the file. Those of glibc do since version 2.36.
fn libc_takes_packed_relocations() -> bool {
    let libc = compilers_file("libc.so.6").and_then(|path| fs::read(path).ok());
    let mark = b"GLIBC_ABI_DT_RELR";
    libc.is_some_and(|libc| libc.windows(mark.len()).any(|octets| octets == mark))
}

/// A file of the compiler that links, or of its libraries.
fn compilers_file(name: &str) -> Option<PathBuf> {
    let linker = env::var_os("RUSTC_LINKER").unwrap_or_else(|| "cc".into());
    let output = Command::new(linker)
        .arg(format!("-print-file-name={name}"))
        .output()
        .ok()?;
    let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    // A compiler that has none prints the bare name.
    path.is_absolute().then_some(path)
}

/// Packs a text for `packed.rs`, without what only people need.
fn pack(name: &str, compact: fn(&str) -> String) -> io::Result<()> {
    println!("cargo::rerun-if-changed={name}");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let text = compact(&fs::read_to_string(name)?);
    let packed = lz4_flex::block::compress_prepend_size(text.as_bytes());
    fs::write(out.join(name).with_extension("lz4"), packed)
}

/// JSON without white space between its tokens, a third of it: the file is written for people, what
/// the daemon carries and serves is for programs.
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

/// The table of modems without what is for people: comments, `[modem.page]`, and white space between
/// tokens. A line that ends an entry's key stays one.
fn compact_modems(toml: &str) -> String {
    let mut is_page = false;
    let is_kept = |line: &&str| {
        is_page = *line == PAGE || (is_page && !line.starts_with("[["));
        !is_page && !line.starts_with('#') && !line.is_empty()
    };
    let kept = toml.lines().filter(is_kept).collect::<Vec<_>>().join("\n") + "\n";
    let (mut quote, mut depth) = (None, 0);
    let is_kept = |character: &char| {
        match (quote, *character) {
            (None, '"' | '\'') => quote = Some(*character),
            (Some(open), close) if open == close => quote = None,
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth -= 1,
            _ => {}
        }
        quote.is_some() || !(*character == ' ' || (*character == '\n' && depth > 0))
    };
    kept.chars().filter(is_kept).collect()
}

/// A release ends where it panics, so what only unwinding needs is an eighth of it for nothing. It
/// stays with debug information, where a debugger wants it, and where the linker is not known to do
/// without: in static programs of musl, and with a linker of the user's choice.
fn discards_unwinding() -> bool {
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    is("PROFILE", "release")
        && is("DEBUG", "false")
        && is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && !env::var("CARGO_ENCODED_RUSTFLAGS").is_ok_and(|flags| flags.contains("fuse-ld"))
}

const DOCUMENT: &str = "openapi.json";
const EXAMPLE: &str = "lpad.toml";
const MODEMS: &str = "modems.toml";
const PAGE: &str = "[modem.page]";
const NO_UNWINDING: &str = "no-unwinding.ld";

//! `docs/design.md` and the tree of files say the same.
//!
//! The page has a section for each crate. Every file and folder of the crate's source is named in its
//! section, and everything named there exists. A file and the folder of the same name are one thing,
//! `{a,b}.rs` is two.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The crates by the first words of their sections, and how many levels of their source are named.
const SECTIONS: &[(&str, usize)] = &[
    ("es10-apdu", 1),
    ("es9-client", 1),
    ("lpad", 2),
    ("packaging", 1),
    ("sim-card-emulator", 1),
    ("sim-card-emulator/rsp-common", 1),
    ("tests", 1),
    ("tests/servers", 1),
];

#[test]
fn the_design_names_every_file_and_nothing_else() {
    let mut wrong = Vec::new();
    for (folder, levels) in SECTIONS {
        let named = named(folder);
        let folder = root().join(folder);
        let places = [folder.join("src"), folder.clone()];
        for name in &named {
            let exists = |place: &PathBuf| {
                let path = place.join(name);
                path.is_dir() || path.with_extension("rs").is_file()
            };
            if !places.iter().any(exists) {
                wrong.push(format!("{}: there is no {name}", folder.display()));
            }
        }
        let source = &places[0];
        for name in modules(source, *levels) {
            let is_named = named.contains(&name) || named.contains(&format!("src/{name}"));
            if !is_named {
                wrong.push(format!("{}: {name} is not named", folder.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a crate's section names, without `.rs` and without the stroke of a folder.
fn named(folder: &str) -> BTreeSet<String> {
    let page = fs::read_to_string(root().join("docs/design.md")).unwrap();
    let start = format!("### `{folder}`");
    let section = page.split("\n### ").find(|section| {
        let title = format!("### {}", section.lines().next().unwrap_or_default());
        title.starts_with(&start)
    });
    let section = section.unwrap_or_else(|| panic!("there is no section {start}"));
    let words = section.split('`').skip(1).step_by(2);
    let paths = words.filter(|word| word.ends_with(".rs") || word.ends_with('/'));
    paths.flat_map(alternatives).collect()
}

/// `a/{b,c}.rs` is `a/b` and `a/c`.
fn alternatives(path: &str) -> Vec<String> {
    let path = path.trim_end_matches(".rs").trim_end_matches('/');
    match path.split_once('{') {
        Some((before, rest)) => {
            let (inside, after) = rest.split_once('}').unwrap();
            let names = inside.split(',').map(str::trim);
            names.map(|name| format!("{before}{name}{after}")).collect()
        }
        None => vec![path.to_owned()],
    }
}

/// The modules of a folder, and of the folders in it down to this level.
fn modules(folder: &Path, levels: usize) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if ["lib", "tests"].contains(&&*name) {
            continue;
        }
        if path.is_dir() && levels > 1 && name != "bin" {
            let inside = modules(&path, levels - 1).into_iter();
            found.extend(inside.map(|inner| format!("{name}/{inner}")));
        }
        found.insert(name);
    }
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

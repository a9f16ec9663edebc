//! Debian's `copyright` file, in its machine-readable form (DEP-5): ours, and that of every crate whose code
//! is in the programs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use serde::Deserialize;

/// The file for a package with the programs of these crates of the workspace.
///
/// # Errors
///
/// When cargo cannot tell the crates, or one of them has a licence that has no text here: then somebody
/// has to look at it first.
pub fn file(crates: &[&str]) -> io::Result<String> {
    let metadata = Metadata::read()?;
    let mut used = BTreeSet::new();
    let mut text = HEAD.to_owned();
    for package in metadata.linked(crates) {
        let licences = chosen(package.license.as_deref().unwrap_or_default());
        let is_known = licences.iter().all(|name| licence_text(name).is_some());
        if licences.is_empty() || !is_known {
            return Err(io::Error::other(format!(
                "{}: the licence {:?} is not known to packaging/src/copyright.rs",
                package.name, package.license
            )));
        }
        let holders = package.holders().join("\n           ");
        let (name, version) = (&package.name, &package.version);
        write!(
            text,
            "\nFiles: {name}-{version}/*\nCopyright: {holders}\nLicense: {}\nComment: https://crates.io/crates/{name}/{version}\n",
            licences.join(" and ")
        )
        .expect("a text can grow");
        used.extend(licences);
    }
    used.extend(["Expat".to_owned(), "Apache-2.0".to_owned()]);
    for name in used {
        let lines = licence_text(&name).into_iter().flat_map(str::lines);
        let lines = lines.map(|line| match line.trim_end() {
            "" => " .\n".to_owned(),
            line => format!(" {line}\n"),
        });
        write!(text, "\nLicense: {name}\n{}", lines.collect::<String>()).expect("a text can grow");
    }
    Ok(text)
}

/// What is needed of `cargo metadata`.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    authors: Vec<String>,
    manifest_path: PathBuf,
    source: Option<String>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// Nothing for what is linked.
    kind: Option<String>,
}

impl Metadata {
    fn read() -> io::Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--format-version=1", "--locked"])
            .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(error.into_owned()));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// The crates from elsewhere whose code is linked into these, by name.
    fn linked(&self, crates: &[&str]) -> Vec<&Package> {
        let packages: BTreeMap<_, _> = self.packages.iter().map(|p| (&*p.id, p)).collect();
        let nodes: BTreeMap<_, _> = self.resolve.nodes.iter().map(|n| (&*n.id, n)).collect();
        let roots = self
            .packages
            .iter()
            .filter(|package| package.source.is_none() && crates.contains(&&*package.name));
        let mut open: Vec<_> = roots.map(|package| &*package.id).collect();
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            // A macro runs when the program is built, and is no part of it.
            if packages[id].is_macro() || !seen.insert(id) {
                continue;
            }
            let linked = nodes[id].deps.iter().filter(|dependency| {
                let mut kinds = dependency.dep_kinds.iter();
                kinds.any(|kind| kind.kind.is_none())
            });
            open.extend(linked.map(|dependency| &*dependency.pkg));
        }
        let mut found: Vec<_> = seen.into_iter().map(|id| packages[id]).collect();
        found.retain(|package| package.source.is_some());
        found.sort_by_key(|package| (&package.name, &package.version));
        found
    }
}

impl Package {
    fn is_macro(&self) -> bool {
        let mut targets = self.targets.iter();
        targets.any(|target| target.kind.iter().any(|kind| kind == "proc-macro"))
    }

    /// Who has the copyright: as the crate's own licence files say, or else its authors.
    fn holders(&self) -> Vec<String> {
        let folder = self.manifest_path.parent().unwrap_or_else(|| Path::new(""));
        let mut holders = BTreeSet::new();
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().to_uppercase();
            let is_notice = ["LICEN", "COPY", "NOTICE"]
                .iter()
                .any(|start| name.starts_with(start));
            if is_notice && let Ok(text) = fs::read_to_string(entry.path()) {
                holders.extend(text.lines().filter_map(holder));
            }
        }
        if holders.is_empty() {
            holders.extend(self.authors.iter().cloned());
        }
        if holders.is_empty() {
            holders.insert(format!("the authors of {}", self.name));
        }
        holders.into_iter().collect()
    }
}

/// Who is named in a line that begins as a copyright notice, with the year.
fn holder(line: &str) -> Option<String> {
    let line = line.trim().trim_start_matches(['/', '*', '#', ' ']);
    let rest = line
        .strip_prefix("Copyright")
        .or_else(|| line.strip_prefix("©"))?;
    let rest = rest.trim_start_matches([':', ' ']);
    let rest = rest
        .strip_prefix("(c)")
        .or_else(|| rest.strip_prefix("(C)"))
        .unwrap_or(rest);
    let rest = rest
        .trim_start_matches(['©', ' '])
        .trim_end_matches(['.', ' ']);
    let rest = rest
        .trim_end_matches("All rights reserved")
        .trim_end_matches(['.', ',', ' ']);
    // A form to be filled in, and the headings of licences.
    let is_notice = rest.starts_with(|c: char| c.is_ascii_digit()) || line.contains("(c)");
    (is_notice && !rest.is_empty() && !rest.contains(['[', '{', '<'])).then(|| rest.to_owned())
}

/// The licences a crate is used under, in Debian's names: of alternatives the simplest.
fn chosen(expression: &str) -> Vec<String> {
    let mut chosen = Vec::new();
    for part in expression.replace('/', " OR ").split(" AND ") {
        let part = part.trim_matches(['(', ')', ' ']);
        let mut alternatives: Vec<_> = part.split(" OR ").map(str::trim).collect();
        alternatives.sort_by_key(|name| {
            PREFERRED
                .iter()
                .position(|preferred| preferred == name)
                .unwrap_or(usize::MAX)
        });
        if let Some(name) = alternatives.first().filter(|name| !name.is_empty()) {
            chosen.push(if *name == "MIT" { "Expat" } else { name }.to_owned());
        }
    }
    chosen
}

fn licence_text(name: &str) -> Option<&'static str> {
    match name {
        "Expat" => {
            let text = include_str!("../../LICENSE-MIT");
            text.find("Permission").map(|start| &text[start..])
        }
        "Apache-2.0" => {
            Some("On Debian systems the full text is in /usr/share/common-licenses/Apache-2.0.")
        }
        "MPL-2.0" => {
            Some("On Debian systems the full text is in /usr/share/common-licenses/MPL-2.0.")
        }
        "ISC" => Some(ISC),
        "BSD-3-Clause" => Some(BSD_3_CLAUSE),
        "Zlib" => Some(ZLIB),
        _ => None,
    }
}

/// Of two licences to choose from, the one that is used.
const PREFERRED: &[&str] = &["MIT", "Apache-2.0", "ISC", "BSD-3-Clause"];

const HEAD: &str = "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: lpad
Comment: Every crate whose code is linked into the programs has a paragraph, with the licence it is used
 under and the place of its source.

Files: *
Copyright: 2026 The lpad developers
License: Expat or Apache-2.0

Files: rust/*
Copyright: The Rust Project contributors
License: Expat or Apache-2.0
Comment: The standard library of Rust, and with it the crates addr2line, gimli, hashbrown, memchr,
 miniz_oxide, object and rustc-demangle. https://github.com/rust-lang/rust

Files: libgcc/*
Copyright: Free Software Foundation, Inc.
License: GPL-3+ with GCC-Runtime-Library exception
 The compiler's own library is free software under the GNU General Public License, version 3 or later,
 with the GCC Runtime Library Exception, version 3.1: programs that a compiler has combined with it may be
 conveyed under terms of their own choice. On Debian systems the licence is in
 /usr/share/common-licenses/GPL-3, the exception in /usr/share/doc/libgcc-s1/copyright.
";

const ISC: &str = "\
Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is
hereby granted, provided that the above copyright notice and this permission notice appear in all copies.

THE SOFTWARE IS PROVIDED \"AS IS\" AND THE AUTHOR DISCLAIMS ALL WARRANTIES WITH REGARD TO THIS SOFTWARE
INCLUDING ALL IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE
FOR ANY SPECIAL, DIRECT, INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES WHATSOEVER RESULTING FROM LOSS
OF USE, DATA OR PROFITS, WHETHER IN AN ACTION OF CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING
OUT OF OR IN CONNECTION WITH THE USE OR PERFORMANCE OF THIS SOFTWARE.";

const ZLIB: &str = "\
This software is provided 'as-is', without any express or implied warranty. In no event will the authors
be held liable for any damages arising from the use of this software.

Permission is granted to anyone to use this software for any purpose, including commercial applications,
and to alter it and redistribute it freely, subject to the following restrictions:

1. The origin of this software must not be misrepresented; you must not claim that you wrote the original
   software. If you use this software in a product, an acknowledgment in the product documentation would
   be appreciated but is not required.

2. Altered source versions must be plainly marked as such, and must not be misrepresented as being the
   original software.

3. This notice may not be removed or altered from any source distribution.";

const BSD_3_CLAUSE: &str = "\
Redistribution and use in source and binary forms, with or without modification, are permitted provided
that the following conditions are met:

1. Redistributions of source code must retain the above copyright notice, this list of conditions and
   the following disclaimer.

2. Redistributions in binary form must reproduce the above copyright notice, this list of conditions and
   the following disclaimer in the documentation and/or other materials provided with the distribution.

3. Neither the name of the copyright holder nor the names of its contributors may be used to endorse or
   promote products derived from this software without specific prior written permission.

THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS \"AS IS\" AND ANY EXPRESS OR IMPLIED
WARRANTIES, INCLUDING, BUT NOT LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A
PARTICULAR PURPOSE ARE DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE FOR
ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED
TO, PROCUREMENT OF SUBSTITUTE GOODS OR SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION)
HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING
NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF THIS SOFTWARE, EVEN IF ADVISED OF THE
POSSIBILITY OF SUCH DAMAGE.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_alternatives_one_licence_is_used() {
        for (expression, used) in [
            ("MIT OR Apache-2.0", &["Expat"][..]),
            ("Apache-2.0/MIT", &["Expat"]),
            ("Apache-2.0 AND ISC", &["Apache-2.0", "ISC"]),
            (
                "(Apache-2.0 OR MIT) AND BSD-3-Clause",
                &["Expat", "BSD-3-Clause"],
            ),
            ("MPL-2.0", &["MPL-2.0"]),
            ("", &[]),
        ] {
            assert_eq!(chosen(expression), used, "{expression}");
        }
    }

    #[test]
    fn a_copyright_notice_names_its_holder() {
        for (line, named) in [
            ("Copyright (c) 2018 Ann", Some("2018 Ann")),
            ("// Copyright 2015-2016 Bob.", Some("2015-2016 Bob")),
            ("   Copyright [yyyy] [name of copyright owner]", None),
            ("Copyright License. Subject to the terms", None),
        ] {
            assert_eq!(holder(line).as_deref(), named, "{line}");
        }
    }

    #[test]
    fn the_text_of_our_own_licence_is_there() {
        let text = licence_text("Expat").unwrap_or_default();
        assert!(text.starts_with("Permission is hereby granted"), "{text}");
    }
}

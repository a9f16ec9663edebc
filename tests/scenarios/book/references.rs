//! What pages refer to exists, and no page is out of reach.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::page::{Page, root};

#[test]
fn every_link_leads_to_something() {
    let pages = Page::all();
    let mut wrong = Vec::new();
    for page in &pages {
        for link in &page.links {
            let error = check(&pages, page, &link.text).err();
            wrong.extend(error.map(|error| format!("{}: {}: {error}", link.place, link.text)));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Whether a link of a page leads to a file, to a heading, or at least may lead to a site.
fn check(pages: &[Page], page: &Page, target: &str) -> Result<(), String> {
    if let Some((scheme, rest)) = target.split_once(':') {
        let host = rest.strip_prefix("//").unwrap_or_default();
        let host = host.split('/').next().unwrap_or_default();
        let is_name = host.contains('.') && !host.contains(char::is_whitespace);
        return match scheme {
            "https" if is_name => Ok(()),
            "mailto" if rest.contains('@') => Ok(()),
            _ => Err("no address of a site".to_owned()),
        };
    }
    let (path, anchor) = match target.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor)),
        None => (target, None),
    };
    let path = match path {
        "" => page.path.clone(),
        path => resolved(page, path)?,
    };
    if page.path.starts_with("docs/") && !path.starts_with("docs/") {
        return Err("the book has only what is in docs".to_owned());
    }
    let target = pages.iter().find(|page| page.path == path);
    if target.is_none() && !root().join(&path).exists() {
        return Err("there is no such file".to_owned());
    }
    let Some(anchor) = anchor else {
        return Ok(());
    };
    match target.is_some_and(|page| page.anchors.contains(anchor)) {
        true => Ok(()),
        false => Err("there is no such heading".to_owned()),
    }
}

/// A path beside a page as one from the root of the tree.
fn resolved(page: &Page, path: &str) -> Result<String, String> {
    let mut folder = PathBuf::from(&page.path);
    folder.pop();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => folder.push(name),
            Component::ParentDir if folder.pop() => {}
            Component::CurDir => {}
            _ => return Err("it leads out of the tree".to_owned()),
        }
    }
    Ok(folder.display().to_string())
}

/// Code such as `docs/design.md`, whose first part is a folder of ours.
#[test]
fn every_path_of_the_tree_that_a_page_names_exists() {
    let mut wrong = Vec::new();
    for page in Page::all() {
        for code in &page.code {
            for path in alternatives(&code.text) {
                if is_of_the_tree(&path) && !root().join(&path).exists() {
                    wrong.push(format!("{}: there is no {path}", code.place));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn is_of_the_tree(path: &str) -> bool {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "./_-".contains(letter);
    // `docs/NAME` stands for many.
    let is_name = |part: &str| part.chars().any(|letter| !letter.is_ascii_uppercase());
    let Some((first, rest)) = path.trim_end_matches('/').split_once('/') else {
        return false;
    };
    path.chars().all(is_plain)
        && rest.split('/').all(is_name)
        && first != "target"
        && !first.is_empty()
        && root().join(first).is_dir()
}

/// `a/{b,c}` is `a/b` and `a/c`.
fn alternatives(path: &str) -> Vec<String> {
    let parts = path.split_once('{').and_then(|(before, rest)| {
        let (inside, after) = rest.split_once('}')?;
        Some((before, inside, after))
    });
    match parts {
        Some((before, inside, after)) => {
            let names = inside.split(',').map(str::trim);
            names.map(|name| format!("{before}{name}{after}")).collect()
        }
        None => vec![path.to_owned()],
    }
}

#[test]
fn the_readme_leads_to_every_page_in_one_click() {
    let pages = Page::all();
    let readme = page(&pages, "README.md");
    let linked = targets(readme);
    let missing: Vec<_> = pages
        .iter()
        .map(|page| page.path.as_str())
        .filter(|path| !["README.md", SUMMARY].contains(path))
        // The folder shows them.
        .filter(|path| !path.starts_with("docs/adr/") || !linked.contains("docs/adr"))
        .filter(|path| !path.starts_with('.') && !linked.contains(*path))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_page_of_docs_is_in_the_book_and_says_first_whom_it_is_for() {
    let pages = Page::all();
    let listed = targets(page(&pages, SUMMARY));
    let mut wrong = Vec::new();
    let of_docs = |page: &&Page| page.path.starts_with("docs/") && page.path != SUMMARY;
    for page in pages.iter().filter(of_docs) {
        if !listed.contains(&page.path) {
            wrong.push(format!("{} is not in {SUMMARY}", page.path));
        }
        // Decisions are for those who ask why.
        let is_decision = page.path.starts_with("docs/adr/");
        if !is_decision && !page.opening.starts_with("This page is for ") {
            let opening = &page.opening;
            wrong.push(format!("{}: whom is it for? {opening}", page.path));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn page<'a>(pages: &'a [Page], path: &str) -> &'a Page {
    let found = pages.iter().find(|page| page.path == path);
    found.unwrap_or_else(|| panic!("there is no {path}"))
}

/// The files of the tree a page links.
fn targets(page: &Page) -> BTreeSet<String> {
    let paths = page.links.iter().map(|link| &link.text);
    let paths = paths.map(|link| link.split('#').next().unwrap_or_default());
    paths.filter_map(|path| resolved(page, path).ok()).collect()
}

const SUMMARY: &str = "docs/SUMMARY.md";

#[test]
fn what_leads_nowhere_is_noticed() {
    let pages = [
        Page::parse("docs/one.md", "# One\n\n## `lpad` & two\n\n## A\n\n## A\n"),
        Page::parse("docs/two.md", "# Two\n"),
    ];
    let check = |target| check(&pages, &pages[0], target);
    for target in [
        "three.md",
        "two.md#one",
        "../docs/three.md",
        "../../README.md",
        "#lpad",
        "../README.md",
        "http://example.com",
        "https://localhost",
        "/docs/one.md",
    ] {
        assert!(check(target).is_err(), "{target}");
    }
    for target in [
        "#lpad--two",
        "#a-1",
        "two.md",
        "../docs/two.md#two",
        "https://example.com/a#b",
    ] {
        assert_eq!(check(target), Ok(()), "{target}");
    }
    for path in ["docs/none.md", "lpad/src/none.rs"] {
        assert!(is_of_the_tree(path), "{path}");
    }
    for path in [
        "/etc/lpad",
        "usr/bin",
        "lpad/*",
        "docs",
        "docs/NAME",
        "GET /v1/euiccs",
    ] {
        assert!(!is_of_the_tree(path), "{path}");
    }
}

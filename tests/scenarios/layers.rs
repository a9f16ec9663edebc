//! Imports go one way: no circle of modules in any crate, and floors where a crate has them.
//!
//! A module is a file. What it names with `use`, or with a path that begins with `crate` or `super`,
//! it depends on; a name that a module only passes on (`pub use`) is looked for where it comes from.
//! Three things do not count: what a module uses of the modules inside it, which are parts of it; a
//! crate's root, which only lists; and tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Crates without a circle.
const CRATES: &[&str] = &[
    "es10-apdu/src",
    "es9-client/src",
    "lpad/src",
    "sim-card-emulator/rsp-common/src",
    "sim-card-emulator/src",
    "tests/servers/src",
];

/// Crates and their floors, the highest first. A module imports only from its own floor and from
/// lower ones; one that is not listed stands where the module around it does.
const FLOORS: &[(&str, &[&[&str]])] = &[
    (
        "lpad/src",
        &[
            &["program", "cli"],
            &["daemon", "look"],
            &["check", "client"],
            &["api"],
            // Nothing below decides on what people read, or names it.
            &["problem"],
            &["engine"],
            &["engine::download"],
            &["engine::change", "engine::switch"],
            &["engine::life"],
            &["engine::session", "engine::settle"],
            &["engine::context"],
            &["engine::desk", "engine::first_boot", "engine::watch"],
            &["engine::outbox", "engine::port", "engine::reading"],
            &["engine::handle", "engine::routes", "engine::waiting"],
            &["memory"],
            &["failure"],
            &["dialler", "procedure", "modem", "reach"],
            &["job"],
            &[
                "activation_code",
                "commit",
                "config",
                "files",
                "packed",
                "printable",
                "printed",
                "runtime",
                "secret",
            ],
        ],
    ),
    (
        "sim-card-emulator/src",
        &[
            &["config"],
            &["pty", "vpcd"],
            &["card", "state_folder"],
            &["modem"],
            &["euicc"],
            &["saip"],
        ],
    ),
    (
        "tests/servers/src",
        &[
            &["smds"],
            &["smdp", "rsp"],
            &["clock", "lpa", "network", "profile", "recorder", "web"],
        ],
    ),
];

#[test]
fn no_crate_has_a_circle_of_imports() {
    let circles: Vec<String> = CRATES.iter().flat_map(|path| circles(path)).collect();
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn every_module_imports_only_from_its_floor_and_below() {
    let mut wrong = Vec::new();
    for (path, floors) in FLOORS {
        let modules = Modules::of(path);
        for (module, imports) in modules.imports() {
            let floor = floor(floors, &module).unwrap_or_else(|| panic!("{module} has no floor"));
            for import in imports {
                if super_floor(floors, &import, floor) {
                    wrong.push(format!("{path}: {module} imports from {import}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The number of the floor a module is on, counted from the highest.
fn floor(floors: &[&[&str]], module: &str) -> Option<usize> {
    let is_in = |entry: &str| {
        let rest = module.strip_prefix(entry);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    let entries = floors.iter().enumerate();
    let entries = entries.flat_map(|(number, floor)| floor.iter().map(move |name| (number, name)));
    let found = entries.filter(|(_, name)| is_in(name));
    found
        .max_by_key(|(_, name)| name.len())
        .map(|(number, _)| number)
}

/// Whether a module is on a higher floor than this.
fn super_floor(floors: &[&[&str]], module: &str, floor_below: usize) -> bool {
    floor(floors, module).is_some_and(|number| number < floor_below)
}

/// The circles of a crate, written out; each is taken apart before the next one is looked for.
fn circles(path: &str) -> Vec<String> {
    let mut imports = Modules::of(path).imports();
    let mut found = Vec::new();
    while let Some(circle) = circle(&imports) {
        found.push(format!("{path}: {}", circle.join(" → ")));
        if let [.., last, first] = &circle[..] {
            imports.get_mut(last).unwrap().remove(first);
        }
    }
    found
}

/// The modules of a circle, the first one at both ends.
fn circle(imports: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    let mut finished = BTreeSet::new();
    let mut circles = imports.keys().filter_map(|module| {
        let circle = walk(imports, module, &mut Vec::new(), &mut finished)?;
        Some(circle.into_iter().map(str::to_owned).collect())
    });
    circles.next()
}

/// Goes on from a module; gives the way that led back to one that was passed before.
fn walk<'m>(
    imports: &'m BTreeMap<String, BTreeSet<String>>,
    module: &'m str,
    way: &mut Vec<&'m str>,
    finished: &mut BTreeSet<&'m str>,
) -> Option<Vec<&'m str>> {
    if let Some(start) = way.iter().position(|passed| *passed == module) {
        return Some([&way[start..], &[module]].concat());
    }
    if finished.contains(module) {
        return None;
    }
    way.push(module);
    let next = imports.get(module).into_iter().flatten();
    let found = next
        .into_iter()
        .find_map(|next| walk(imports, next, way, finished));
    way.pop();
    finished.insert(module);
    found
}

/// A path as it is written: its segments, without braces.
type Segments = Vec<String>;

/// The modules of a crate, by their names from the root, which is the empty one.
struct Modules(BTreeMap<Segments, Module>);

/// What a file names.
#[derive(Default)]
struct Module {
    /// Every path in it.
    paths: Vec<Segments>,
    /// What its `use` lines bring, by the name it then has.
    names: BTreeMap<String, Segments>,
}

impl Modules {
    /// Reads a crate, but for its programs.
    fn of(path: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
        let mut modules = BTreeMap::new();
        for file in files(&root) {
            let inside = file.strip_prefix(&root).unwrap().with_extension("");
            let mut name: Segments = inside
                .iter()
                .map(|part| part.to_str().unwrap().to_owned())
                .collect();
            if name == ["lib"] || name.last().is_some_and(|last| last == "mod") {
                name.pop();
            }
            let is_test = |part: &String| part == "tests" || part == "testing";
            if name.first().is_some_and(|first| first == "bin") || name.iter().any(is_test) {
                continue;
            }
            modules.insert(name, Module::read(&fs::read_to_string(&file).unwrap()));
        }
        assert!(modules.len() > 1, "{path} has no modules");
        Self(modules)
    }

    /// The modules each module depends on.
    fn imports(&self) -> BTreeMap<String, BTreeSet<String>> {
        let modules = self.0.iter().filter(|(name, _)| !name.is_empty());
        let imports = modules.map(|(name, module)| {
            let found = module
                .paths
                .iter()
                .filter_map(|path| self.find(name, path, 0));
            let others = found.filter(|other| !other.is_empty() && !other.starts_with(name));
            (
                name.join("::"),
                others.map(|other| other.join("::")).collect(),
            )
        });
        imports.collect()
    }

    /// The module in which what a path leads to is written; `None` for another crate.
    fn find(&self, from: &[String], path: &[String], passed_on: usize) -> Option<Segments> {
        let mut place = from.to_vec();
        for (index, segment) in path.iter().enumerate() {
            match segment.as_str() {
                "crate" => place.clear(),
                "self" => {}
                "super" => drop(place.pop()),
                _ => {
                    place.push(segment.clone());
                    if self.0.contains_key(&place) {
                        continue;
                    }
                    place.pop();
                    if index == 0 {
                        return None;
                    }
                    return match self.0.get(&place)?.names.get(segment) {
                        Some(brought) if passed_on < MOST_PASSED_ON => {
                            self.find(&place, brought, passed_on + 1)
                        }
                        _ => Some(place),
                    };
                }
            }
        }
        Some(place)
    }
}

impl Module {
    fn read(text: &str) -> Self {
        let lines = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        let code = lines.collect::<Vec<_>>().join("\n");
        let code = match code.find("#[cfg(test)]\nmod tests {") {
            Some(tests) => &code[..tests],
            None => &code,
        };
        let mut module = Self::default();
        for (index, _) in code.match_indices("use ") {
            let before = code[..index].chars().next_back();
            if before.is_none_or(char::is_whitespace) {
                for (path, name) in tree(&code[index + 4..], &[]).0 {
                    module.names.insert(name, path.clone());
                    module.paths.push(path);
                }
            }
        }
        for root in ["crate::", "super::"] {
            for (index, _) in code.match_indices(root) {
                let before = code[..index].chars().next_back();
                if before.is_none_or(|letter| !is_part_of_a_name(letter) && letter != ':') {
                    let paths = tree(&code[index..], &[]).0;
                    module.paths.extend(paths.into_iter().map(|(path, _)| path));
                }
            }
        }
        module
    }
}

/// Reads a path and what stands in braces behind it: each path in it and the name it brings, and
/// the text that follows.
fn tree<'t>(text: &'t str, before: &[String]) -> (Vec<(Segments, String)>, &'t str) {
    let mut path = before.to_vec();
    let mut text = text.trim_start();
    loop {
        if let Some(mut inside) = text.strip_prefix('{') {
            let mut all = Vec::new();
            loop {
                let (paths, rest) = tree(inside, &path);
                all.extend(paths);
                inside = rest.trim_start();
                match inside.strip_prefix(',') {
                    Some(rest) => inside = rest.trim_start(),
                    None => return (all, inside.strip_prefix('}').unwrap_or(inside)),
                }
            }
        }
        let end = text.find(|letter| !is_part_of_a_name(letter) && letter != '*');
        let (segment, rest) = text.split_at(end.unwrap_or(text.len()));
        if segment.is_empty() {
            return (Vec::new(), rest);
        }
        if segment != "self" || path.is_empty() {
            path.push(segment.to_owned());
        }
        match rest.strip_prefix("::") {
            Some(rest) => text = rest,
            None => {
                let (name, rest) = match rest.trim_start().strip_prefix("as ") {
                    Some(rest) => {
                        let end = rest.find(|letter| !is_part_of_a_name(letter));
                        rest.split_at(end.unwrap_or(rest.len()))
                    }
                    None => (path.last().map_or(segment, String::as_str), rest),
                };
                let name = name.to_owned();
                return (vec![(path, name)], rest);
            }
        }
    }
}

fn is_part_of_a_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The source files in a folder and the folders in it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut found = Vec::new();
    for path in entries {
        match path.is_dir() {
            true => found.extend(files(&path)),
            false if path.extension().is_some_and(|end| end == "rs") => found.push(path),
            false => {}
        }
    }
    found
}

/// No name is passed on more often.
const MOST_PASSED_ON: usize = 8;

//! The only programs that commands of a page can call: tools a reader has, and ours as `cargo test` has
//! built them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A folder to be the whole `PATH`.
#[derive(Debug)]
pub(super) struct Toolbox {
    folder: TempDir,
}

impl Toolbox {
    /// `None` where a tool is missing, which is said.
    ///
    /// # Panics
    /// When a tool is missing on a machine that checks changes, where `CI` is set.
    pub(super) fn new() -> Option<Self> {
        let toolbox = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let mut missing = Vec::new();
        for name in TOOLS {
            match found(name) {
                Some(path) => symlink(path, toolbox.path().join(name)).unwrap(),
                None => missing.push(*name),
            }
        }
        if !missing.is_empty() {
            assert!(std::env::var_os("CI").is_none(), "missing: {missing:?}");
            eprintln!("there is no {}; nothing is shown", missing.join(", "));
            return None;
        }
        for (name, package, kind) in PROGRAMS {
            let program = built(name, package, kind);
            match *name {
                "lpactl" => toolbox.script(name, &accepting(&program)),
                name => symlink(program, toolbox.path().join(name)).unwrap(),
            }
        }
        toolbox.script("cargo", CARGO);
        Some(toolbox)
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn script(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// What a program prints on standard output, when there is such a program.
pub(super) fn output(name: &str, arguments: &[&str]) -> Option<String> {
    let output: Output = Command::new(name).args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Some(text).filter(|_| output.status.success())
}

fn found(name: &str) -> Option<PathBuf> {
    let path = match name {
        // Wrappers of version managers work in their users' environment only.
        "python3" => output(name, &["-c", "import sys; print(sys.executable)"]),
        "node" => output(name, &["-p", "process.execPath"]),
        name => output("sh", &["-c", &format!("command -v {name}")]),
    };
    path.map(PathBuf::from)
}

/// One of our programs, which is built when nothing has done so before.
pub(super) fn built(name: &str, package: &str, kind: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_demo")).parent().unwrap();
    let path = match kind {
        "--example" => folder.join("examples").join(name),
        _ => folder.join(name),
    };
    if !path.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--locked", "-p", package, kind, name]);
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(build.status().unwrap().success(), "{name} is built");
    }
    path
}

/// `lpactl` where nobody is there to answer the question of a download: the profile is accepted.
fn accepting(lpactl: &Path) -> String {
    format!(
        "#!/bin/sh\n\
         for word; do\n    \
             case $word in download) accept=--yes ;; --yes) accept= ;; esac\n\
         done\n\
         exec '{}' \"$@\" $accept\n",
        lpactl.display()
    )
}

/// `cargo` that runs what is built.
const CARGO: &str = r#"#!/bin/sh
action=$1 name=$1
while shift && [ $# -gt 0 ] && [ "$1" != -- ]; do
    case $1 in --bin | --example | -p) name=$2 ;; esac
done
[ $# -eq 0 ] || shift
case $action in
    demo | run) exec "$name" "$@" ;;
    build) command -v "$name" ;;
    *) echo "cargo $action is not for pages" >&2; exit 1 ;;
esac
"#;

/// What a reader has.
const TOOLS: &[&str] = &[
    "cat", "cp", "curl", "grep", "head", "jq", "mkdir", "node", "openssl", "python3", "sed", "sh",
    "sleep", "sort", "tail", "tr",
];

/// Our own: the package each is in, and what it is there.
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("decode", "es10-apdu", "--example"),
    ("demo", "lpad-tests", "--bin"),
    ("lpactl", "lpad", "--bin"),
    ("lpad", "lpad", "--bin"),
    ("sim-card-emulator", "sim-card-emulator", "--bin"),
    ("smdp", "rsp-servers", "--bin"),
    ("smds", "rsp-servers", "--bin"),
];

//! `lpad --check`, and that the example configuration and the README's commands are right.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use clap::Parser;
use lpad::cli::args::Arguments;
use lpad::config::Config;
use rustix::fs::{CWD, FileType, Mode, mknodat};

#[test]
fn the_example_configuration_is_fine() {
    let printed = lpad(&["--example-config"]);
    assert!(printed.status.success());
    let example = String::from_utf8(printed.stdout).unwrap();
    assert_eq!(example, Config::EXAMPLE);
    let checked = check(&example);
    assert_eq!(checked.code, 0, "{}", checked.err);
    assert_eq!(checked.out, "lpad.toml: fine\n");
    assert_eq!(checked.err, AWAY);
}

#[test]
fn a_port_that_is_looked_for_need_not_be_there() {
    let checked = check("[[euicc]]\nport = \"auto\"\n");
    assert_eq!((checked.code, &*checked.err), (0, ""));
}

#[test]
fn the_commands_of_the_readme_are_understood() {
    let readme = readme();
    let mut commands = 0;
    for line in readme.lines().filter(|line| line.starts_with("lpactl ")) {
        let (command, _) = line.split_once('#').unwrap_or((line, ""));
        let words = command
            .split_whitespace()
            .map(|word| word.trim_matches('\''));
        Arguments::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
        commands += 1;
    }
    assert!(commands > 3, "the README shows lpactl");
}

#[test]
fn a_wrong_configuration_is_told_with_file_line_and_what_to_write() {
    let port = "[[euicc]]\nport = \"/dev/ttyUSB2\"\n";
    for (configuration, message) in [
        (
            "",
            "lpad: lpad.toml: there is no [[euicc]] section; add one with port = \"/dev/…\"\n",
        ),
        (
            "[[euicc]]\nname = \"default\"\n",
            "lpad: lpad.toml:1: missing key \"port\"\n",
        ),
        (
            &format!("{port}blocksize = 3\n"),
            "lpad: lpad.toml:3: unknown key \"blocksize\"; did you mean \"block_size\"?\n",
        ),
        (
            &format!("{port}[euicc.bootstrap]\nwhen = \"sometimes\"\n"),
            "lpad: lpad.toml:4: unknown variant \"sometimes\", expected one of \"empty\", \
             \"always\", \"never\"\n",
        ),
        (
            &format!("{port}block_size = 300\n"),
            "lpad: lpad.toml:3: invalid value: integer \"300\", expected a number up to 255\n",
        ),
        (
            &format!("{port}baud = -1\n"),
            "lpad: lpad.toml:3: invalid value: integer \"-1\", expected a whole number\n",
        ),
        (
            &format!("{port}[euicc.bootstrap]\ndefault_smdp = \"a b\"\n"),
            "lpad: lpad.toml:4: [[euicc]] \"default\": bootstrap default_smdp is wrong: ",
        ),
        (
            &format!("{port}port = \"/dev/ttyUSB3\"\n"),
            "lpad: lpad.toml:3: duplicate key\n",
        ),
        ("[api\n", "lpad: lpad.toml:1: "),
        (
            &format!("{port}\"\\u001b[2J\" = 1\n"),
            "lpad: lpad.toml:3: unknown key \"\\u{1b}[2J\"",
        ),
    ] {
        let checked = check(configuration);
        assert_eq!((checked.code, &*checked.out), (2, ""), "{configuration}");
        assert!(
            checked.err.starts_with(message),
            "{configuration}\n gives {}\n not {message}",
            checked.err
        );
    }
}

#[test]
fn a_group_a_folder_or_a_code_that_is_not_there_is_told() {
    let port = "[[euicc]]\nport = \"/dev/ttyUSB2\"\n";
    for (configuration, message) in [
        (
            "[api]\nadmin_group = \"lpad-nobody\"\n",
            "[api] admin_group: there is no group \"lpad-nobody\"; it lets nobody in\n",
        ),
        (
            "[api]\nreader_group = \"lpad-nobody\"\n",
            "[api] reader_group: there is no group \"lpad-nobody\"; it lets nobody in\n",
        ),
    ] {
        // It may be made later, and a gateway that does not start for it would help nobody.
        let checked = check(&format!("{configuration}{port}"));
        assert_eq!(checked.code, 0, "{configuration}");
        assert_eq!(checked.err, format!("lpad: warning: {message}{AWAY}"));
    }
    let wrong = check(&format!("[trust]\nextra_roots = \"/nowhere/ci.d\"\n{port}"));
    let message = "lpad: lpad.toml: [trust] extra_roots: ";
    assert!(
        wrong.code == 2 && wrong.err.starts_with(message),
        "{}",
        wrong.err
    );
    let bootstrap = format!("{port}[euicc.bootstrap]\n");
    let wrong = check(&format!(
        "{bootstrap}activation_code_file = \"/dev/zero\"\n"
    ));
    assert_eq!(
        wrong.err,
        "lpad: lpad.toml: [[euicc]] \"default\": bootstrap activation_code_file: /dev/zero: \
         it is a device, not a file\n"
    );
    let later = check(&format!(
        "{bootstrap}confirmation_code_file = \"/nowhere/cc\"\n"
    ));
    assert_eq!(later.code, 0, "{}", later.err);
    let folder = tempfile::tempdir().unwrap();
    let code = folder.path().join("code");
    fs::write(&code, "hello$world").unwrap();
    fs::set_permissions(&code, Permissions::from_mode(0o600)).unwrap();
    let path = code.display();
    let malformed = check(&format!("{bootstrap}activation_code_file = \"{path}\"\n"));
    assert_eq!(
        (malformed.code, malformed.err),
        (
            2,
            format!(
                "lpad: lpad.toml: [[euicc]] \"default\": bootstrap activation_code_file: {path}: the \
                 activation code does not start with 1$ (or LPA:1$): its format is not supported\n"
            )
        )
    );
    let root = "[api]\nreader_group = \"root\"\n";
    assert_eq!(check(&format!("{root}{port}")).code, 0);
}

#[test]
fn a_table_of_modems_and_what_overrides_it_are_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("modems.toml");
    let entry = "[[modem]]\nid = \"mine\"\nmodels = [\"X1*\"]\n";
    let euicc = "[[euicc]]\nport = \"/dev/tty\"\n[euicc.modem]\n";
    let path = table.display();
    let fine = "family = \"mine\"\nladder = [{ send = [\"AT+CFUN=16\"], within_s = 90 }]\n";
    for (entries, modem, told) in [
        (entry.to_owned(), fine, String::new()),
        (
            format!("{entry}blocksize = 3\n"),
            "",
            format!("{path}:4: unknown key \"blocksize\"; did you mean \"block_size\"?\n"),
        ),
        (
            format!("{entry}open_s = 0\n"),
            "",
            format!("{path}:4: open_s must be between 1 and 600 seconds\n"),
        ),
        (
            entry.to_owned(),
            "family = \"yours\"\n",
            "lpad.toml: [[euicc]] \"default\": modem family names \"yours\", which no table has\n"
                .to_owned(),
        ),
        (
            entry.to_owned(),
            "imei = [\"CGSN\"]\n",
            "lpad.toml:6: imei has \"CGSN\", which is no AT line\n"
                .to_owned(),
        ),
        (
            entry.to_owned(),
            "models = [\"X\"]\n",
            "lpad.toml:6: [[euicc]] \"default\": modem models belongs into a [[modem]] of a table\n"
                .to_owned(),
        ),
    ] {
        fs::write(&table, &entries).unwrap();
        let checked = check(&format!("[modems]\ntable = \"{path}\"\n{euicc}{modem}"));
        let told = match told.is_empty() {
            true => told,
            false => format!("lpad: {told}"),
        };
        assert_eq!((checked.code == 0, checked.err), (told.is_empty(), told));
    }
    let missing = check(&format!("[modems]\ntable = \"/nowhere/m.toml\"\n{euicc}"));
    assert_eq!(
        (missing.code, &*missing.err),
        (2, "lpad: /nowhere/m.toml: No such file or directory\n")
    );
}

#[test]
fn what_is_in_a_ports_place_and_is_no_port_is_told() {
    for (port, what) in [
        ("/dev/null", "another device"),
        ("/etc/passwd", "a file"),
        ("/dev", "a folder"),
    ] {
        let checked = check(&format!("[[euicc]]\nport = \"{port}\"\n"));
        let message = format!(
            "lpad: lpad.toml: [[euicc]] \"default\": port: {port} is {what}, not a serial port\n"
        );
        assert_eq!((checked.code, &*checked.err), (2, &*message));
    }
    // One device under two names.
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("modem");
    symlink("/dev/tty", &link).unwrap();
    let checked = check(&format!(
        "[[euicc]]\nport = \"/dev/tty\"\n[[euicc]]\nname = \"b\"\nport = \"{}\"\n",
        link.display()
    ));
    let message = format!(
        "lpad: lpad.toml: two [[euicc]] sections use one port: /dev/tty and {} are both /dev/tty\n",
        link.display()
    );
    assert_eq!((checked.code, checked.err), (2, message));
    // A port that is there: a terminal.
    let checked = check("[[euicc]]\nport = \"/dev/tty\"\n");
    assert_eq!(checked.code, 0, "{}", checked.err);
}

#[test]
fn a_code_that_every_user_can_read_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("code");
    fs::write(&file, "1$smdp.example.com$M-1\n").unwrap();
    let path = file.display();
    for (mode, warning) in [(0o640, ""), (0o644, "0644"), (0o602, "0602")] {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let checked = check(&format!(
            "[[euicc]]\nport = \"/dev/ttyUSB2\"\n[euicc.bootstrap]\nactivation_code_file = \"{path}\"\n"
        ));
        assert_eq!((checked.code, &*checked.out), (0, "lpad.toml: fine\n"));
        let expected = match warning {
            "" => AWAY.to_owned(),
            mode => format!(
                "lpad: warning: [[euicc]] \"default\": bootstrap activation_code_file: {path}: every \
                 user may read or change it (mode {mode}); chmod o-rw it\n{AWAY}"
            ),
        };
        assert_eq!(checked.err, expected);
    }
}

#[test]
fn what_may_keep_a_switch_from_a_good_end_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let issuers = folder.path().join("issuers.pem");
    fs::write(&issuers, "nothing\n").unwrap();
    let (issuers, missing) = (issuers.display(), folder.path().join("missing"));
    let missing = missing.display();
    let switch = |lines: &str| {
        let euicc = "[[euicc]]\nport = \"auto\"\n[euicc.modem]\nfamily = \"quectel-bg9x\"\n";
        check(&format!("{euicc}[euicc.switch]\n{lines}"))
    };
    let checked = switch(&format!(
        "check = [{{ https = \"https://a.example\", ca_file = \"{issuers}\" }}]\n"
    ));
    let why = format!("switch check ca_file: {issuers}: no certificate issuer is in it (PEM)\n");
    assert_eq!(checked.code, 2);
    assert!(checked.err.ends_with(&why), "{}", checked.err);
    let checked = switch(&format!(
        "radio_restart_s = 500\n\
         interface = \"lpad-none\"\n\
         check = [{{ https = \"https://a.example/?secret\", ca_file = \"{missing}\" }}]\n\
         [euicc.dialler]\n\
         down = [\"/etc/passwd\"]\n\
         up = [\"{missing}\", \"-q\"]\n"
    ));
    assert_eq!(
        (checked.code, &*checked.out),
        (
            0,
            "lpad.toml: fine\n[[euicc]] \"default\": a profile without service is left after at most \
             12 min, and the one before it is back in service at most 23 min later\n"
        )
    );
    let warnings = [
        "dialler down: /etc/passwd: it cannot be executed".to_owned(),
        format!("dialler up: {missing}: No such file or directory"),
        format!("switch check a.example: {missing}: No such file or directory"),
        "switch check has names only, which a silent name server stops all; add an address".into(),
        "switch interface: lpad-none is not there now; the modem may be off".into(),
        "switch radio_restart_s is not before deadline_s: the radio is not restarted".into(),
        "switch deadline_s: quectel-bg9x may need 900 to find a foreign network".into(),
    ];
    let warnings = warnings.map(|why| format!("lpad: warning: [[euicc]] \"default\": {why}\n"));
    assert_eq!(checked.err, warnings.concat());
    let checked =
        switch("deadline_s = 900\nconfirm = \"client\"\ncheck = [{ tcp = \"192.0.2.10:443\" }]\n");
    assert_eq!((checked.code, &*checked.err), (0, ""));
    let longest =
        "left after at most 28 min, and the one before it is back in service at most 36 min";
    assert!(checked.out.contains(longest), "{}", checked.out);
}

#[test]
fn a_configuration_that_is_not_there_is_told_with_its_path() {
    let output = lpad(&["--check", "--config", "/nowhere/lpad.toml"]);
    let checked = Checked::of(&output);
    assert_eq!(checked.code, 2);
    assert_eq!(
        checked.err,
        "lpad: /nowhere/lpad.toml: No such file or directory\n"
    );
}

/// Standard error is the journal when its device and inode are those that systemd names.
#[test]
fn the_journal_is_told_how_grave_a_line_is() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    // Every user may write where the socket would be, so that the daemon does not start.
    fs::create_dir(place("run")).unwrap();
    fs::set_permissions(place("run"), Permissions::from_mode(0o777)).unwrap();
    let text = format!(
        "[api]\nsocket = \"{}\"\n[[euicc]]\nport = \"/dev/ttyUSB2\"\n",
        place("run/lpad.sock").display()
    );
    fs::write(place("lpad.toml"), text).unwrap();
    fs::set_permissions(place("lpad.toml"), Permissions::from_mode(0o666)).unwrap();
    let log = File::create(place("log")).unwrap();
    let file = log.metadata().unwrap();
    let ours = format!("{}:{}", file.dev(), file.ino());
    for (stream, level, is_journal) in [
        (&*ours, "", true),
        (&*ours, "off", true),
        (&*ours, "error", true),
        ("1:2", "", false),
        ("", "", false),
    ] {
        fs::write(place("log"), "").unwrap();
        let ended = Command::new(env!("CARGO_BIN_EXE_lpad"))
            .arg("--config")
            .arg(place("lpad.toml"))
            .envs([("JOURNAL_STREAM", stream), ("LPAD_LOG", level)])
            .stderr(OpenOptions::new().append(true).open(place("log")).unwrap())
            .status();
        assert_eq!(ended.unwrap().code(), Some(2));
        let said = fs::read_to_string(place("log")).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        let starts = |line: usize, priority: &str, words: &str| {
            let priority = if is_journal { priority } else { "" };
            let (line, begin) = (lines[line], format!("{priority}{words}"));
            assert!(line.starts_with(priority), "{said}");
            assert!(line.contains(words.trim()), "{said}");
            assert!(!is_journal || line.starts_with(&begin), "{said}");
        };
        let mut next = 0;
        if level == "off" {
            starts(next, "<4>", " WARN LPAD_LOG must be one of error, warn");
            next += 1;
        }
        if level != "error" {
            starts(next, "<4>", " WARN ");
            assert!(lines[next].contains("every user may change it"), "{said}");
            next += 1;
        }
        starts(next, "<3>", "lpad: [api] socket ");
        assert_eq!(lines.len(), next + 1, "{said}");
    }
}

#[test]
fn a_configuration_or_issuers_that_every_user_can_change_are_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lpad.toml");
    let roots = folder.path().join("ci.d");
    fs::create_dir(&roots).unwrap();
    let text = format!(
        "[trust]\nextra_roots = \"{}\"\n[[euicc]]\nport = \"/dev/ttyUSB2\"\n",
        roots.display()
    );
    fs::write(&file, text).unwrap();
    fs::set_permissions(&roots, Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
    let checked = Checked::of(&lpad(&["--check", "--config", file.to_str().unwrap()]));
    assert_eq!(checked.code, 0);
    let warnings = [(&file, "0666"), (&roots, "0777")].map(|(path, mode)| {
        let path = path.display();
        format!("lpad: warning: {path}: every user may change it (mode {mode}); chmod o-w it\n")
    });
    assert_eq!(checked.err, warnings.concat() + AWAY);
}

/// What lpad waits for in vain stops no start; what no start can get over ends it, with the exit code
/// after which systemd does not start it again.
#[test]
fn what_no_start_can_use_is_told_by_check_and_start_alike() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    fs::write(place("file"), "").unwrap();
    symlink(place("nowhere"), place("dangling")).unwrap();
    fs::create_dir(place("open")).unwrap();
    fs::set_permissions(place("open"), Permissions::from_mode(0o777)).unwrap();
    let no_socket = "exists and is no socket";
    for (key, name, why) in [
        ("socket", "", no_socket),
        ("socket", "file", no_socket),
        ("socket", "dangling", no_socket),
        ("socket", "file/lpad.sock", "Not a directory"),
        ("socket", "open/lpad.sock", "every user may write to"),
        ("directory", "file", "it is a file, not a folder"),
        ("directory", "dangling", "it is a symbolic link to nothing"),
        (
            "directory",
            "open",
            "others may write to it (mode 0777); chmod 700 it",
        ),
    ] {
        let path = |of: &str| match of == key {
            true => place(name),
            false => place(&format!("{of}-in-order")),
        };
        let configuration = place("lpad.toml");
        let text = format!(
            "[api]\nsocket = \"{}\"\n[state]\ndirectory = \"{}\"\n[[euicc]]\nport = \"/dev/ttyNOWHERE\"\n",
            path("socket").display(),
            path("directory").display()
        );
        fs::write(&configuration, text).unwrap();
        let configuration = configuration.to_str().unwrap();
        for arguments in [
            &["--check", "--config", configuration][..],
            &["--config", configuration],
        ] {
            let ended = Checked::of(&lpad(arguments));
            assert_eq!(ended.code, 2, "{}", ended.err);
            let place = format!("{key} {}: ", path(key).display());
            assert!(
                ended.err.contains(&place) && ended.err.contains(why),
                "{}",
                ended.err
            );
        }
    }
}

#[test]
fn a_configuration_that_is_no_text_or_no_file_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lpad.toml");
    let refused = |path: &str| {
        let ended = Checked::of(&lpad(&["--check", "--config", path]));
        assert_eq!(ended.code, 2);
        ended.err
    };
    let path = file.to_str().unwrap();
    fs::write(&file, b"[api]\n# \xFF\n").unwrap();
    assert_eq!(
        refused(path),
        format!("lpad: {path}:2: this is no text in UTF-8\n")
    );
    assert_eq!(
        refused("/dev/zero"),
        "lpad: /dev/zero: it is a device, not a file\n"
    );
    fs::remove_file(&file).unwrap();
    mknodat(CWD, &file, FileType::Fifo, Mode::RWXU, 0).unwrap();
    assert_eq!(
        refused(path),
        format!("lpad: {path}: it is a pipe, not a file\n")
    );
}

/// What is said of a port that is not there.
const AWAY: &str = "lpad: warning: [[euicc]] \"default\": port: /dev/ttyUSB2 is not there now; the modem \
                    may be off\n";

/// What a check left behind, the folder's name left out.
struct Checked {
    code: i32,
    out: String,
    err: String,
}

impl Checked {
    fn of(output: &Output) -> Self {
        let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
        Self {
            code: output.status.code().unwrap(),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }
}

fn check(configuration: &str) -> Checked {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("check-{number}"));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("lpad.toml");
    fs::write(&file, configuration).unwrap();
    let output = lpad(&["--check", "--config", file.to_str().unwrap()]);
    fs::remove_dir_all(&folder).unwrap();
    let place = format!("{}/", folder.display());
    let Checked { code, out, err } = Checked::of(&output);
    Checked {
        code,
        out: out.replace(&place, ""),
        err: err.replace(&place, ""),
    }
}

fn lpad(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lpad"))
        .args(arguments)
        .output()
        .unwrap()
}

fn readme() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap()
}

//! What a configuration names outside its file: looked at by `lpad --check`, and before a start.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use es9_client::Roots;
use rustix::fs::{major, minor};

use crate::activation_code::ActivationCode;
use crate::api::Socket;
use crate::api::actor::Accounts;
use crate::config::{
    ApiConfig, Check, Config, ConfigError, Confirm, DiallerConfig, EuiccConfig, LONGEST_LOOK,
    SwitchConfig,
};
use crate::dialler::{DOWN, UP};
use crate::files::{kind, read_code};
use crate::memory::state_folder::can_be_own;
use crate::modem::table::Table;
use crate::reach::issuers;

/// Looks for what a running daemon could not use, and gives what it could do with and should not have
/// to. `path` is that of the configuration.
///
/// What may be put right while the daemon runs, such as a code, stops no start.
pub fn check(config: &Config, path: &Path) -> Result<Vec<String>, ConfigError> {
    let unusable = |message| ConfigError::Value {
        path: path.to_owned(),
        line: None,
        message,
    };
    usable(config, true).map_err(unusable)?;
    if let Some(folder) = &config.trust.extra_roots {
        let found = Roots::empty().add_folder(folder);
        found.map_err(|error| unusable(format!("[trust] extra_roots: {error}")))?;
    }
    Table::of(config, path)?;
    let mut euiccs = config.euiccs.iter();
    let wrong = euiccs.find_map(|euicc| {
        let wrong = no_port(euicc).or_else(|| unusable_code(euicc));
        wrong.or_else(|| unusable_issuers(euicc))
    });
    let wrong = wrong.or_else(|| port_of_two(config));
    wrong.map_or(Ok(()), |message| Err(unusable(message)))?;
    let euiccs = config.euiccs.iter();
    let away = euiccs
        .filter_map(missing_port)
        .chain(unreadable_codes(config));
    let alarm = not_runnable(&config.alarm.command);
    let alarm = alarm.map(|why| format!("[alarm] command: {why}"));
    let switching = config.euiccs.iter().flat_map(unwise_switch);
    let warnings = unwise(config, path).into_iter();
    Ok(warnings.chain(away).chain(alarm).chain(switching).collect())
}

/// What a switch of profiles takes at most, where that is configured: for those who have to wait for a box.
pub(crate) fn longest_switches(config: &Config) -> impl Iterator<Item = String> {
    let is_configured = |euicc: &&EuiccConfig| {
        euicc.switch != SwitchConfig::default() || euicc.dialler != DiallerConfig::default()
    };
    config.euiccs.iter().filter(is_configured).map(|euicc| {
        let EuiccConfig {
            name,
            switch,
            dialler,
            ..
        } = euicc;
        let runs_s = |program: &[String], longest: Duration| match program {
            [] => 0,
            _ => longest.as_secs(),
        };
        let down_s = runs_s(&dialler.down, DOWN);
        let try_s = switch.ladder_s + runs_s(&dialler.up, UP) + switch.deadline_s;
        let confirm_s = match switch.confirm {
            Confirm::Auto => 0,
            Confirm::Client => switch.confirm_s,
        };
        let left = (down_s + try_s + confirm_s).div_ceil(60);
        // It is tried twice.
        let back = (down_s + 2 * try_s).div_ceil(60);
        format!(
            "[[euicc]] \"{name}\": a profile without service is left after at most {left} min, and the \
             one before it is back in service at most {back} min later"
        )
    })
}

/// What works and should not be so: every user of this system can do harm by changing the configuration
/// at `path` or the certificate issuers, or by reading a code; or a group lets nobody in.
pub fn unwise(config: &Config, path: &Path) -> Vec<String> {
    let mode = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.mode() & 0o7777);
    let mut warnings = unknown_groups(&config.api);
    for path in [Some(path), config.trust.extra_roots.as_deref()] {
        let Some(path) = path.filter(|path| mode(path) & 0o002 != 0) else {
            continue;
        };
        let (path, mode) = (path.display(), mode(path));
        warnings.push(format!(
            "{path}: every user may change it (mode {mode:04o}); chmod o-w it"
        ));
    }
    for (key, path) in config.euiccs.iter().flat_map(code_files) {
        let mode = mode(path);
        if mode & 0o006 != 0 {
            let path = path.display();
            warnings.push(format!(
                "{key}: {path}: every user may read or change it (mode {mode:04o}); chmod o-rw it"
            ));
        }
    }
    warnings
}

/// Fails when no start can succeed until somebody changes the configuration, or what is in the places it
/// names. The socket's is looked at if lpad `makes_socket`.
pub(crate) fn usable(config: &Config, makes_socket: bool) -> Result<(), String> {
    let socket = &config.api.socket;
    if makes_socket {
        // Who checks may be another user than the daemon's, and see less.
        let is_hidden = |error: &io::Error| {
            error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_some()
        };
        if let Err(error) = Socket::can_be_at(socket)
            && !is_hidden(&error)
        {
            return Err(format!("[api] socket {}: {error}", socket.display()));
        }
    }
    let folder = &config.state.directory;
    state_can_be_in(folder).map_err(|why| format!("[state] directory {}: {why}", folder.display()))
}

/// Whose folder it is shows when the daemon, with its own user, opens it.
fn state_can_be_in(folder: &Path) -> Result<(), String> {
    let metadata = match fs::metadata(folder) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match fs::symlink_metadata(folder) {
                Ok(_) => Err("it is a symbolic link to nothing".to_owned()),
                Err(_) => Ok(()),
            };
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    can_be_own(folder, &metadata)
}

/// What may be wrong with a socket that systemd made: lpad does not change it.
pub(crate) fn socket_handed_over(config: &ApiConfig, path: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    let shown = path.display();
    if *path != config.socket {
        let configured = config.socket.display();
        warnings.push(format!(
            "[api] socket is {configured}, but systemd made {shown}, and that is used; change \
             ListenStream= of lpad.socket or the key"
        ));
    }
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return warnings;
    };
    let (mode, owner) = (metadata.mode() & 0o7777, metadata.gid());
    let accounts = Accounts::read();
    let groups = [
        ("admin_group", Some(&config.admin_group), "SocketGroup="),
        (
            "reader_group",
            config.reader_group.as_ref(),
            "SocketMode=0666",
        ),
    ];
    for (key, name, setting) in groups {
        let Some((name, group)) = name.and_then(|name| Some((name, accounts.group_id(name)?)))
        else {
            continue;
        };
        if mode & 0o002 == 0 && (mode & 0o020 == 0 || group != owner) {
            warnings.push(format!(
                "[api] {key}: members of \"{name}\" cannot open {shown} (group {owner}, mode \
                 {mode:04o}); set {setting} in a drop-in for lpad.socket"
            ));
        }
    }
    warnings
}

/// What is in a port's place and is no port.
fn no_port(euicc: &EuiccConfig) -> Option<String> {
    if !euicc.names_device() {
        return None;
    }
    let metadata = fs::metadata(&euicc.port).ok()?;
    let what = match metadata.file_type().is_char_device() {
        // Opening a port has effects on it, so that the kernel is asked what it is. It says nothing of
        // pseudo terminals.
        true => {
            let (major, minor) = (major(metadata.rdev()), minor(metadata.rdev()));
            let subsystem = format!("/sys/dev/char/{major}:{minor}/subsystem");
            let subsystem = fs::read_link(subsystem).ok()?;
            let is_port = ["tty", "wwan"]
                .map(OsStr::new)
                .contains(&subsystem.file_name()?);
            (!is_port).then_some("another device")?
        }
        false => kind(metadata.file_type()),
    };
    let (name, port) = (&euicc.name, euicc.port.display());
    Some(format!(
        "[[euicc]] \"{name}\": port: {port} is {what}, not a serial port"
    ))
}

/// A port that is not there. A modem may be plugged in later.
fn missing_port(euicc: &EuiccConfig) -> Option<String> {
    if !euicc.names_device() {
        return None;
    }
    let error = fs::metadata(&euicc.port).err()?;
    let (name, port) = (&euicc.name, euicc.port.display());
    (error.kind() == io::ErrorKind::NotFound).then(|| {
        format!("[[euicc]] \"{name}\": port: {port} is not there now; the modem may be off")
    })
}

/// Two sections for one device, which has several names.
fn port_of_two(config: &Config) -> Option<String> {
    let mut seen: Vec<(PathBuf, &EuiccConfig)> = Vec::new();
    for euicc in config.euiccs.iter().filter(|euicc| euicc.names_device()) {
        let Ok(device) = fs::canonicalize(&euicc.port) else {
            continue;
        };
        if let Some((_, other)) = seen.iter().find(|(known, _)| *known == device) {
            let (port, other) = (euicc.port.display(), other.port.display());
            let device = device.display();
            return Some(format!(
                "two [[euicc]] sections use one port: {other} and {port} are both {device}"
            ));
        }
        seen.push((device, euicc));
    }
    None
}

/// A file that is there and holds no code. One that is not there may appear later, and one that may not
/// be read here may well be read by the daemon.
fn unusable_code(euicc: &EuiccConfig) -> Option<String> {
    let wrong = code_files(euicc).find_map(|(key, path)| {
        let error = read_code(path).err()?;
        if [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied].contains(&error.kind()) {
            return None;
        }
        Some(format!("{key}: {}: {error}", path.display()))
    });
    wrong.or_else(|| {
        let (key, path) = code_files(euicc).find(|(key, _)| key.ends_with(ACTIVATION))?;
        let code = read_code(path).ok()?;
        let error = code.expose().parse::<ActivationCode>().err()?;
        Some(format!("{key}: {}: {error}", path.display()))
    })
}

/// Issuers of a check that are there and cannot be used.
fn unusable_issuers(euicc: &EuiccConfig) -> Option<String> {
    let mut checks = euicc.switch.check.iter();
    checks.find_map(|check| {
        let error = issuers(Some(check.ca_file.as_deref()?)).err()?;
        let is_away = [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied];
        let is_wrong = !is_away.contains(&error.kind());
        is_wrong.then(|| in_switch(euicc, &format!("check ca_file: {error}")))
    })
}

/// Why a program that is configured cannot be run, as far as its file tells.
fn not_runnable(words: &[String]) -> Option<String> {
    let program = words.first()?;
    match fs::metadata(program) {
        Ok(metadata) if metadata.is_file() && metadata.mode() & 0o111 != 0 => None,
        Ok(_) => Some(format!("{program}: it cannot be executed")),
        Err(error) => Some(format!("{program}: {error}")),
    }
}

/// What may keep a switch of profiles from coming to a good end.
fn unwise_switch(euicc: &EuiccConfig) -> Vec<String> {
    let (switch, dialler) = (&euicc.switch, &euicc.dialler);
    let mut warnings = Vec::new();
    let checks = switch.check.iter();
    let programs = checks.map(|check| ("switch check", &check.command));
    let programs = programs.chain([("dialler down", &dialler.down), ("dialler up", &dialler.up)]);
    for (key, words) in programs {
        if let Some(why) = not_runnable(words) {
            warnings.push(format!("[[euicc]] \"{}\": {key}: {why}", euicc.name));
        }
    }
    for check in switch.check.iter().filter(|check| check.https.is_some()) {
        let read = issuers(check.ca_file.as_deref());
        let is_away = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        if let Some(error) = read.err().filter(is_away) {
            warnings.push(in_switch(
                euicc,
                &format!("check {}: {error}", check.name()),
            ));
        }
    }
    let is_name = |check: &Check| {
        let target = check.target()?.ok()?;
        let host = target.host.trim_matches(['[', ']']);
        Some(host.parse::<IpAddr>().is_err())
    };
    let mut kinds = switch.check.iter().map(is_name).peekable();
    if kinds.peek().is_some() && kinds.all(|is_name| is_name == Some(true)) {
        let why = "check has names only, which a silent name server stops all; add an address";
        warnings.push(in_switch(euicc, why));
    }
    let (all_s, most_s) = (switch.checks_s(), LONGEST_LOOK.as_secs());
    if all_s > most_s {
        let why = format!(
            "check: the timeouts come to {all_s} s; all together have {most_s} s, so that each is shortened"
        );
        warnings.push(in_switch(euicc, &why));
    }
    if all_s.min(most_s) > switch.deadline_s / 2 {
        let why = format!(
            "check: one look may take more than half of deadline_s = {}",
            switch.deadline_s
        );
        warnings.push(in_switch(euicc, &why));
    }
    let interface = &*switch.interface;
    let is_there = Path::new("/sys/class/net").join(interface).exists();
    if !["", "auto"].contains(&interface) && !is_there {
        let why = format!("interface: {interface} is not there now; the modem may be off");
        warnings.push(in_switch(euicc, &why));
    }
    if switch.radio_restart_s >= switch.deadline_s {
        let why = "radio_restart_s is not before deadline_s: the radio is not restarted";
        warnings.push(in_switch(euicc, why));
    }
    let family = euicc.modem.text("family");
    if SLOW.contains(&family) && switch.deadline_s < PATIENT_S {
        let why = format!("deadline_s: {family} may need {PATIENT_S} to find a foreign network");
        warnings.push(in_switch(euicc, &why));
    }
    warnings
}

fn in_switch(euicc: &EuiccConfig, why: &str) -> String {
    format!("[[euicc]] \"{}\": switch {why}", euicc.name)
}

/// Codes that the daemon's user, as the package makes it, may not read.
fn unreadable_codes(config: &Config) -> Vec<String> {
    let accounts = Accounts::read();
    let Some(daemon) = accounts.user(DAEMON) else {
        return Vec::new();
    };
    let files = config.euiccs.iter().flat_map(code_files);
    let unreadable = files.filter_map(|(key, path)| {
        let metadata = fs::metadata(path).ok()?;
        let (owner, group) = (metadata.uid(), metadata.gid());
        let needed = match () {
            () if owner == daemon.uid => 0o400,
            () if accounts.is_in_group(daemon, group) => 0o040,
            () => 0o004,
        };
        let (mode, path) = (metadata.mode() & 0o7777, path.display());
        (mode & needed == 0).then(|| {
            format!(
                "{key}: {path}: the user {DAEMON} cannot read it (user {owner}, group {group}, mode \
                 {mode:04o}); chown root:{DAEMON} and chmod 640 it"
            )
        })
    });
    unreadable.collect()
}

/// The files with codes and passwords, each with its place in the configuration.
fn code_files(euicc: &EuiccConfig) -> impl Iterator<Item = (String, &Path)> {
    let bootstrap = &euicc.bootstrap;
    let files = [
        (ACTIVATION, &bootstrap.activation_code_file),
        ("confirmation_code_file", &bootstrap.confirmation_code_file),
    ];
    let name = &euicc.name;
    let codes = files.into_iter().filter_map(move |(key, path)| {
        let key = format!("[[euicc]] \"{name}\": bootstrap {key}");
        Some((key, path.as_deref()?))
    });
    let passwords = euicc.profiles.iter().filter_map(move |profile| {
        let key = format!("[[euicc]] \"{name}\": profile password_file");
        Some((key, profile.password_file.as_deref()?))
    });
    codes.chain(passwords)
}

/// The groups that are configured and do not exist. They let nobody in, which is safe: a gateway that
/// does not start for it would help nobody. The admin group of the default need not exist.
fn unknown_groups(config: &ApiConfig) -> Vec<String> {
    let accounts = Accounts::read();
    let admins = Some(&config.admin_group);
    let admins = admins.filter(|name| **name != ApiConfig::default().admin_group);
    let groups = [
        ("admin_group", admins),
        ("reader_group", config.reader_group.as_ref()),
    ];
    let unknown = groups.into_iter().filter_map(|(key, name)| {
        let name = name.filter(|name| accounts.group_id(name).is_none())?;
        Some(format!(
            "[api] {key}: there is no group \"{name}\"; it lets nobody in"
        ))
    });
    unknown.collect()
}

/// Families with modes that look for a network for long, LTE-M and NB-IoT, in the table of modems.
const SLOW: &[&str] = &["quectel-bg9x", "ublox-sara-r4r5", "nordic-nrf91"];
/// What is enough for them, in seconds.
const PATIENT_S: u64 = 900;
const ACTIVATION: &str = "activation_code_file";
/// The user that the packaged unit runs lpad as.
const DAEMON: &str = "lpad";

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_socket_that_systemd_made_elsewhere_or_for_others_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lpad.sock");
        let _listener = UnixListener::bind(&path).unwrap();
        let mut config = ApiConfig {
            socket: path.clone(),
            admin_group: "root".into(),
            reader_group: Some("lpad-nobody".into()),
            ..ApiConfig::default()
        };
        let told = |config: &ApiConfig, mode| {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            socket_handed_over(config, &path)
        };
        let warnings = told(&config, 0o600);
        let why = "members of \"root\" cannot open";
        assert!(
            warnings.len() == 1 && warnings[0].contains(why) && warnings[0].contains("mode 0600"),
            "{warnings:?}"
        );
        assert_eq!(told(&config, 0o666), Vec::<String>::new());
        config.socket = "/run/lpad/lpad.sock".into();
        let warnings = told(&config, 0o666);
        let why = "[api] socket is /run/lpad/lpad.sock, but systemd made ";
        assert!(
            warnings.len() == 1 && warnings[0].starts_with(why),
            "{warnings:?}"
        );
    }
}

//! Finding the AT ports of modems on USB and PCIe, as the kernel tells of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::table::Table;
use crate::config::UsbPorts;

/// A port that may be a modem's AT port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Candidate {
    /// Its device.
    pub path: PathBuf,
    /// Its name that stays, in `/dev/serial`.
    pub stable: Option<PathBuf>,
    /// The device it is part of, as the kernel knows it: what has the same one is one modem.
    pub modem: PathBuf,
    /// The device in its maker's words; empty when it has none.
    pub description: String,
    /// The USB interface it is.
    pub usb: Option<UsbInterface>,
    /// What it is taken for.
    pub verdict: Verdict,
}

/// An interface of a USB device.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UsbInterface {
    /// The numbers of maker and product.
    pub id: (u16, u16),
    /// The interface's number.
    pub number: u8,
    /// Its class, subclass and protocol.
    pub class: [u8; 3],
}

/// What a port is taken for; the better a candidate, the less.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Verdict {
    /// The device says that it is an AT port.
    SaysAt,
    /// The table of modems has it at this place in its list of AT ports.
    ListedAt(u8),
    /// A modem's port of which nothing else is known.
    Unknown,
    /// It speaks something else than AT.
    NotAt(Reason),
    /// Not a modem's, as far as can be told: whatever is behind it would be sent a command.
    NoModem,
}

/// Why a modem's port is not an AT port.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Reason {
    /// The protocol of the interface is that of diagnosis.
    Diagnosis,
    /// The protocol of the interface is that of positions.
    Positions,
    /// The table of modems says so.
    Listed,
    /// A WWAN port of another type.
    Type,
}

impl Verdict {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::SaysAt => "the modem says that it is an AT port",
            Self::ListedAt(_) => "known to be an AT port of this modem",
            Self::Unknown => "may be an AT port",
            Self::NotAt(Reason::Diagnosis) => "for diagnosis, says the modem",
            Self::NotAt(Reason::Positions) => "for positions (NMEA), says the modem",
            Self::NotAt(Reason::Listed) => "known not to be an AT port of this modem",
            Self::NotAt(Reason::Type) => "not of the type AT",
            Self::NoModem => "not known to be a modem's",
        }
    }

    /// Whether a command may be sent there to find out.
    pub fn may_be_asked(self) -> bool {
        self <= Self::Unknown
    }
}

impl Candidate {
    /// The name to configure.
    pub fn name(&self) -> &Path {
        self.stable.as_deref().unwrap_or(&self.path)
    }
}

/// The ports of all modems, and serial ports of other USB devices, the best candidate first. `root` is
/// `/`.
pub fn candidates(root: &Path, modems: &Table) -> Vec<Candidate> {
    let class = |name: &str| {
        let entries = fs::read_dir(root.join("sys/class").join(name));
        let entries = entries.into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let usb = class("tty").into_iter();
    let usb = usb.filter_map(|port| on_usb(root, &port, modems));
    let wwan = class("wwan").into_iter();
    let wwan = wwan.filter_map(|port| on_wwan(root, &port));
    let mut found: Vec<_> = usb.chain(wwan).collect();
    found.sort_by_cached_key(|port| {
        let number = port.usb.map(|usb| usb.number);
        (port.verdict, number, port.path.clone())
    });
    found
}

/// The ports to ask, of the one modem there is.
///
/// # Errors
/// When there is none, or more than one; the text is for people.
pub(super) fn of_one_modem(found: Vec<Candidate>) -> io::Result<Vec<Candidate>> {
    let mut modems: BTreeMap<PathBuf, Vec<Candidate>> = BTreeMap::new();
    for port in found
        .into_iter()
        .filter(|port| port.verdict != Verdict::NoModem)
    {
        modems.entry(port.modem.clone()).or_default().push(port);
    }
    if modems.len() > 1 {
        let named = modems.values().filter_map(|ports| ports.first());
        let named = named.map(|port| format!("{} ({})", port.name().display(), port.description));
        return Err(io::Error::other(format!(
            "there are {} modems; set port to the port of one of them: {}",
            modems.len(),
            named.collect::<Vec<_>>().join(", ")
        )));
    }
    let ports = modems.into_values().flatten();
    let ports: Vec<_> = ports.filter(|port| port.verdict.may_be_asked()).collect();
    match ports.is_empty() {
        true => Err(io::Error::other(
            "no modem with an AT port is found on USB or PCIe",
        )),
        false => Ok(ports),
    }
}

/// The network interface of the modem that has this port, or of the one modem there is if `port` is `None`.
/// Of several, which share a connection, it is the first by name.
pub(crate) fn interface(root: &Path, port: Option<&Path>, modems: &Table) -> Option<String> {
    let wanted = port.and_then(|port| fs::canonicalize(port).ok());
    let mut found = candidates(root, modems).into_iter();
    let port = found.find(|found| match (&wanted, port) {
        (Some(wanted), _) => fs::canonicalize(&found.path).is_ok_and(|path| path == *wanted),
        (None, Some(_)) => false,
        (None, None) => found.verdict != Verdict::NoModem,
    })?;
    let entries = |folder: PathBuf| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path())
    };
    // On USB, the interfaces of the device have it; on PCIe, the modem itself.
    let parts = entries(port.modem.clone()).chain([port.modem]);
    let names = parts.flat_map(|part| entries(part.join("net")));
    let names = names.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
    names.min()
}

/// Whether a port answers `AT`.
pub(super) async fn answers_at(port: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> bool {
    let mut room = MOST_HEARD;
    for _ in 0..QUESTIONS {
        if let Ok(answered) = timeout(ANSWER, ask(port, &mut room)).await {
            return answered.is_ok();
        }
    }
    false
}

/// Asks `AT` and listens until that is answered; fails when the port is gone, or says too much else.
async fn ask(port: &mut (impl AsyncRead + AsyncWrite + Unpin), room: &mut usize) -> io::Result<()> {
    port.write_all(b"AT\r").await?;
    let mut heard = Vec::new();
    loop {
        let mut octets = [0; 256];
        let count = port.read(&mut octets).await?;
        *room = room
            .checked_sub(count)
            .filter(|_| count > 0)
            .ok_or(io::ErrorKind::InvalidData)?;
        heard.extend_from_slice(&octets[..count]);
        // What is still to come may go on with the last line.
        let mut lines: Vec<_> = heard
            .split(|octet| matches!(octet, b'\r' | b'\n'))
            .collect();
        lines.pop();
        // The second is an answer in numbers (ATV0).
        if lines.contains(&&b"OK"[..]) || lines.contains(&&b"0"[..]) {
            return Ok(());
        }
    }
}

fn on_usb(root: &Path, port: &Path, modems: &Table) -> Option<Candidate> {
    let device = fs::canonicalize(port.join("device")).ok()?;
    let interface = device
        .ancestors()
        .find(|folder| folder.join("bInterfaceNumber").exists())?;
    let modem = interface.parent()?;
    let hex = |folder: &Path, name: &str| u16::from_str_radix(&text(&folder.join(name))?, 16).ok();
    let octet = |name: &str| u8::try_from(hex(interface, name)?).ok();
    let usb = UsbInterface {
        id: (hex(modem, "idVendor")?, hex(modem, "idProduct")?),
        number: octet("bInterfaceNumber")?,
        class: [
            octet("bInterfaceClass")?,
            octet("bInterfaceSubClass")?,
            octet("bInterfaceProtocol")?,
        ],
    };
    let id = format!("{:04x}:{:04x}", usb.id.0, usb.id.1);
    let listed = modems.usb_ports(&id);
    let is_modem = !listed.is_empty() || has_modem_driver(&device) || has_network(modem);
    let name = port.file_name()?.to_str()?;
    Some(Candidate {
        path: root.join("dev").join(name),
        stable: stable_name(root, name),
        modem: modem.to_owned(),
        description: described(modem, &id),
        usb: Some(usb),
        verdict: match is_modem {
            true => verdict(usb, &listed),
            false => Verdict::NoModem,
        },
    })
}

fn verdict(usb: UsbInterface, listed: &[UsbPorts]) -> Verdict {
    match usb.class {
        // These protocols are an agreement among modems with Qualcomm's chips.
        [0xFF, _, 0x30] => return Verdict::NotAt(Reason::Diagnosis),
        [0xFF, _, 0x40] => return Verdict::SaysAt,
        [0xFF, _, 0x60] => return Verdict::NotAt(Reason::Positions),
        _ => {}
    }
    // Some numbers are shared by several makers: what one of them has as an AT port is asked.
    let place = |ports: &UsbPorts| ports.at.iter().position(|at| *at == usb.number);
    match listed.iter().find_map(place) {
        Some(place) => Verdict::ListedAt(u8::try_from(place).unwrap_or(u8::MAX)),
        None if listed.iter().any(|ports| ports.avoid.contains(&usb.number)) => {
            Verdict::NotAt(Reason::Listed)
        }
        None => Verdict::Unknown,
    }
}

/// Ports of the kernel's WWAN framework, such as `/dev/wwan0at0`.
fn on_wwan(root: &Path, port: &Path) -> Option<Candidate> {
    // The modem itself, which has no device file, is of this class as well.
    let kind = text(&port.join("type")).filter(|_| port.join("dev").exists())?;
    Some(Candidate {
        path: root.join("dev").join(port.file_name()?),
        stable: None,
        modem: fs::canonicalize(port).ok()?.parent()?.to_owned(),
        description: "a modem on PCIe".to_owned(),
        usb: None,
        verdict: match kind == "AT" {
            true => Verdict::SaysAt,
            false => Verdict::NotAt(Reason::Type),
        },
    })
}

/// Whether the driver of a serial port is for modems only.
fn has_modem_driver(device: &Path) -> bool {
    let driver = fs::read_link(device.join("driver"));
    driver.is_ok_and(|driver| MODEM_DRIVERS.iter().any(|name| driver.ends_with(name)))
}

/// Whether a USB device also has a network interface, or a control port for one.
fn has_network(device: &Path) -> bool {
    let interfaces = fs::read_dir(device).into_iter().flatten().flatten();
    interfaces
        .map(|interface| interface.path())
        .any(|path| path.join("net").exists() || path.join("usbmisc").exists())
}

/// What stays when the order of devices changes: the name by the device's own number, or else by the
/// place it is plugged in.
fn stable_name(root: &Path, name: &str) -> Option<PathBuf> {
    ["by-id", "by-path"].iter().find_map(|folder| {
        let links = fs::read_dir(root.join("dev/serial").join(folder)).ok()?;
        let mut links = links.flatten().map(|link| link.path());
        links.find(|link| fs::read_link(link).is_ok_and(|target| target.ends_with(name)))
    })
}

/// A device in its maker's words, and its numbers.
fn described(device: &Path, id: &str) -> String {
    let words = ["manufacturer", "product"].map(|name| text(&device.join(name)));
    let words = words.into_iter().flatten().filter(|word| !word.is_empty());
    let words = words.map(|word| word.replace(char::is_control, "?"));
    words.chain([id.to_owned()]).collect::<Vec<_>>().join(" ")
}

fn text(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

const MODEM_DRIVERS: [&str; 3] = ["option1", "qcserial", "sierra"];
/// How often a port is asked: some modems lose the first command after it was opened.
const QUESTIONS: u32 = 2;
/// How long an answer is waited for.
const ANSWER: Duration = Duration::from_secs(1);
/// Octets after which a port that talks without having been asked is left alone: positions come
/// without end.
const MOST_HEARD: usize = 2048;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tokio::io::{DuplexStream, duplex};

    use super::*;

    /// Asks a port on which something says `text` for each line it is sent.
    async fn answers(text: &'static str) -> bool {
        let (mut port, theirs) = duplex(1024);
        let (mut reading, mut writing) = tokio::io::split(theirs);
        tokio::spawn(async move {
            while let Ok(octet) = reading.read_u8().await {
                if octet == b'\r' {
                    writing.write_all(text.as_bytes()).await.unwrap();
                }
            }
        });
        answers_at(&mut port).await
    }

    /// Two modems on USB and one on PCIe.
    fn machine() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let make = |path: &str| fs::create_dir_all(root.join(path)).unwrap();
        let write = |path: &str, text: &str| fs::write(root.join(path), text).unwrap();
        make("dev/serial/by-id");
        make("sys/class/tty");
        make("sys/class/wwan");
        for (number, network) in [("1", "wwan0"), ("2", "usb0")] {
            let device = format!("sys/devices/usb1/1-{number}");
            let port = format!("{device}/1-{number}:1.2/ttyUSB{number}");
            make(&format!("{port}/tty/ttyUSB{number}"));
            make(&format!("{device}/1-{number}:1.4/net/{network}"));
            write(&format!("{device}/idVendor"), "2c7c\n");
            write(&format!("{device}/idProduct"), "0125\n");
            for file in [
                "bInterfaceNumber",
                "bInterfaceClass",
                "bInterfaceSubClass",
                "bInterfaceProtocol",
            ] {
                write(&format!("{device}/1-{number}:1.2/{file}"), "02\n");
            }
            let tty = root.join(&port).join(format!("tty/ttyUSB{number}"));
            symlink(root.join(&port), tty.join("device")).unwrap();
            symlink(&tty, root.join(format!("sys/class/tty/ttyUSB{number}"))).unwrap();
            write(&format!("dev/ttyUSB{number}"), "");
        }
        symlink("../../ttyUSB2", root.join("dev/serial/by-id/modem")).unwrap();
        let wwan = "sys/devices/pci0/0000:01:00.0/wwan/wwan0";
        make(&format!("{wwan}/wwan0at0"));
        make(&format!("{wwan}/net/wwan1"));
        write(&format!("{wwan}/wwan0at0/type"), "AT\n");
        write(&format!("{wwan}/wwan0at0/dev"), "511:0\n");
        write("dev/wwan0at0", "");
        symlink(
            root.join(wwan).join("wwan0at0"),
            root.join("sys/class/wwan/wwan0at0"),
        )
        .unwrap();
        folder
    }

    #[test]
    fn the_network_interface_is_that_of_the_port_s_own_device() {
        let machine = machine();
        let table = Table::default();
        for (port, expected) in [
            ("dev/ttyUSB1", Some("wwan0")),
            ("dev/ttyUSB2", Some("usb0")),
            ("dev/serial/by-id/modem", Some("usb0")),
            ("dev/wwan0at0", Some("wwan1")),
            ("dev/ttyS0", None),
        ] {
            let port = machine.path().join(port);
            let found = interface(machine.path(), Some(&port), &table);
            assert_eq!(found.as_deref(), expected, "{}", port.display());
        }
        let any = interface(machine.path(), None, &table);
        assert!(any.is_some(), "{any:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_modem_is_known_by_ok_however_it_is_set() {
        for text in [
            "\r\nOK\r\n",
            "AT\r\r\nOK\r\n",
            "OK\r",
            "0\r",
            "\r\n+CREG: 1\r\n\r\nOK\r\n",
        ] {
            assert!(answers(text).await, "{text:?}");
        }
        for text in [
            "",
            "AT\r",
            "\r\nERROR\r\n",
            "$GPGSA,A,1,,,,*1E\r\n",
            "LOOK",
            "OK",
        ] {
            assert!(!answers(text).await, "{text:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_modem_that_misses_the_first_command_is_asked_again() {
        let (mut port, mut theirs) = duplex(1024);
        let modem = async {
            for _ in 0..2 {
                theirs.read_exact(&mut [0; 3]).await.unwrap();
            }
            theirs.write_all(b"\r\nOK\r\n").await.unwrap();
        };
        assert!(tokio::join!(answers_at(&mut port), modem).0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_port_that_talks_without_end_or_is_gone_is_given_up_at_once() {
        let (mut port, mut theirs): (DuplexStream, _) = duplex(64);
        let begin = tokio::time::Instant::now();
        let positions = async {
            let sentence = b"$GPRMC,,V,,,,,,,,,,N*53\r\n";
            let mut sent = 0;
            while theirs.write_all(sentence).await.is_ok() {
                sent += sentence.len();
            }
            sent
        };
        let asked = async {
            let answered = answers_at(&mut port).await;
            drop(port);
            answered
        };
        let (answered, sent) = tokio::join!(asked, positions);
        assert!(!answered && sent < MOST_HEARD + 256, "{sent}");
        assert_eq!(begin.elapsed(), Duration::ZERO);
        let (mut port, theirs) = duplex(64);
        drop(theirs);
        assert!(!answers_at(&mut port).await);
    }
}

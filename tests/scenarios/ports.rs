//! Finding the modem's port: what is taken for one, which is asked, and which never is.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use es10_apdu::at::Serial;
use lpad::config::EuiccConfig;
use lpad::memory::snapshot::Availability;
use lpad::modem::ports::{Candidate, Reason, Verdict, candidates};
use lpad::modem::table::Table;
use lpad::modem::{Device, OpenPort, SerialPort};
use lpad_tests::bed::Bed;
use sim_card_emulator::pty::Pty;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// The folders `sys` and `dev` of a machine.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        for folder in [
            "sys/class/tty",
            "sys/class/wwan",
            "dev/serial/by-id",
            "dev/serial/by-path",
        ] {
            fs::create_dir_all(machine.root().join(folder)).unwrap();
        }
        // A UART, which is on no bus.
        machine.device("platform/serial8250/tty/ttyS0", &[("dev", "4:64\n")]);
        machine.link(
            "sys/class/tty/ttyS0",
            "devices/platform/serial8250/tty/ttyS0",
        );
        machine
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    /// Plugs a USB device in.
    fn usb(&self, place: &str, id: &str, words: [&str; 2]) {
        let (vendor, product) = id.split_once(':').unwrap();
        let [manufacturer, name] = words;
        let files = [
            ("idVendor", vendor),
            ("idProduct", product),
            ("manufacturer", manufacturer),
            ("product", name),
        ];
        self.device(&format!("usb1/{place}"), &files);
    }

    /// Gives it an interface; `class` is written as class, subclass and protocol in hexadecimal.
    fn interface(&self, place: &str, number: u8, class: &str) -> String {
        let interface = format!("usb1/{place}/{place}:1.{number}");
        let number = format!("{number:02x}");
        let files = [
            ("bInterfaceNumber", &*number),
            ("bInterfaceClass", &class[..2]),
            ("bInterfaceSubClass", &class[2..4]),
            ("bInterfaceProtocol", &class[4..]),
        ];
        self.device(&interface, &files);
        interface
    }

    /// A serial port on such an interface.
    fn port(&self, place: &str, number: u8, class: &str, name: &str, driver: &str) {
        let interface = self.interface(place, number, class);
        let port = format!("{interface}/{name}");
        self.device(&format!("{port}/tty/{name}"), &[("dev", "188:0\n")]);
        self.link(
            &format!("sys/devices/{port}/tty/{name}/device"),
            &format!("devices/{port}"),
        );
        let driver = format!("bus/usb-serial/drivers/{driver}");
        self.link(&format!("sys/devices/{port}/driver"), &driver);
        self.link(
            &format!("sys/class/tty/{name}"),
            &format!("devices/{port}/tty/{name}"),
        );
    }

    /// A port of the WWAN framework.
    fn wwan(&self, name: &str, kind: &str) {
        let port = format!("pci0/wwan/wwan0/{name}");
        self.device(&port, &[("dev", "244:0\n"), ("type", &format!("{kind}\n"))]);
        self.link(
            &format!("sys/class/wwan/{name}"),
            &format!("devices/{port}"),
        );
        self.device("pci0/wwan/wwan0", &[]);
        if !self.root().join("sys/class/wwan/wwan0").exists() {
            self.link("sys/class/wwan/wwan0", "devices/pci0/wwan/wwan0");
        }
    }

    /// Gives a port a name that stays.
    fn name(&self, folder: &str, name: &str, port: &str) -> PathBuf {
        let name = self.root().join("dev/serial").join(folder).join(name);
        symlink(format!("../../{port}"), &name).unwrap();
        name
    }

    /// Puts a terminal where a port is.
    fn terminal(&self, port: &str) -> Pty {
        Pty::open(&self.root().join("dev").join(port)).unwrap()
    }

    fn device(&self, path: &str, files: &[(&str, &str)]) {
        let folder = self.root().join("sys/devices").join(path);
        fs::create_dir_all(&folder).unwrap();
        for (name, content) in files {
            fs::write(folder.join(name), content).unwrap();
        }
    }

    /// A link to something in `sys`.
    fn link(&self, path: &str, target: &str) {
        symlink(self.root().join("sys").join(target), self.root().join(path)).unwrap();
    }

    fn candidates(&self) -> Vec<Candidate> {
        candidates(self.root(), &table())
    }

    /// Checks that these ports are found, the best first, and what each is taken for.
    fn must_have(&self, expected: &[(&str, Verdict)]) {
        let ports = self.candidates();
        let found = ports.iter().map(|port| {
            let name = port.path.file_name().unwrap().to_str().unwrap();
            (name, port.verdict)
        });
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }

    /// An EC25 as the driver `option` shows it.
    fn ec25(&self) {
        self.usb("1-1", "abcd:0125", ["Quectel", "EG25-G"]);
        for (number, name) in [
            (0, "ttyUSB0"),
            (1, "ttyUSB1"),
            (2, "ttyUSB2"),
            (3, "ttyUSB3"),
        ] {
            let class = if number == 0 { "ffffff" } else { "ff0000" };
            self.port("1-1", number, class, name, "option1");
        }
    }
}

/// The table of modems, in which some numbers are as these tests want them.
fn table() -> Table {
    let own = "[[modem]]\nid = \"one\"\nmakers = [\"One\"]\n\
        usb = [\"abcd:0125 at 3 2 avoid 0 1\", \"abcd:9001 at 2 avoid 0 1\"]\n\
        [[modem]]\nid = \"other\"\nmakers = [\"Other\"]\nusb = [\"abcd:9001 avoid 2 4\"]\n";
    Table::parse(own, Path::new("modems.toml")).unwrap()
}

const AVOID: Verdict = Verdict::NotAt(Reason::Listed);

#[test]
fn ports_of_a_modem_are_told_apart_by_the_table() {
    let machine = Machine::new();
    machine.ec25();
    let name = machine.name("by-id", "usb-Quectel_EG25-G-if03-port0", "ttyUSB3");
    machine.name("by-path", "pci-0000:00:14.0-usb-0:1:1.3-port0", "ttyUSB3");
    let by_path = machine.name("by-path", "pci-0000:00:14.0-usb-0:1:1.2-port0", "ttyUSB2");
    machine.must_have(&[
        ("ttyUSB3", Verdict::ListedAt(0)),
        ("ttyUSB2", Verdict::ListedAt(1)),
        ("ttyUSB0", AVOID),
        ("ttyUSB1", AVOID),
    ]);
    let ports = machine.candidates();
    assert_eq!(ports[0].name(), name);
    assert_eq!(ports[1].name(), by_path);
    assert_eq!(ports[2].name(), machine.root().join("dev/ttyUSB0"));
    assert_eq!(ports[0].description, "Quectel EG25-G abcd:0125");
    let usb = ports[0].usb.unwrap();
    assert_eq!((usb.id, usb.number), ((0xABCD, 0x0125), 3));
    assert!(ports.iter().all(|port| port.modem == ports[0].modem));
}

#[test]
fn what_a_modem_says_of_its_ports_comes_before_the_table() {
    let machine = Machine::new();
    machine.usb("1-2", "abcd:0125", ["Quectel", "newer"]);
    for (number, class, name) in [
        (0, "ffff30", "ttyUSB0"),
        (2, "ffff60", "ttyUSB1"),
        (3, "ff0000", "ttyUSB2"),
        (1, "ff0040", "ttyUSB3"),
        (7, "ff0000", "ttyUSB4"),
    ] {
        machine.port("1-2", number, class, name, "option1");
    }
    machine.must_have(&[
        ("ttyUSB3", Verdict::SaysAt),
        ("ttyUSB2", Verdict::ListedAt(0)),
        ("ttyUSB4", Verdict::Unknown),
        ("ttyUSB0", Verdict::NotAt(Reason::Diagnosis)),
        ("ttyUSB1", Verdict::NotAt(Reason::Positions)),
    ]);
}

#[test]
fn numbers_that_several_makers_use_rule_out_what_none_of_them_has() {
    let machine = Machine::new();
    machine.usb("1-1", "abcd:9001", ["SimTech", "SimTech"]);
    for number in [0, 2, 4] {
        machine.port(
            "1-1",
            number,
            "ff0000",
            &format!("ttyUSB{number}"),
            "option1",
        );
    }
    machine.must_have(&[
        ("ttyUSB2", Verdict::ListedAt(0)),
        ("ttyUSB0", AVOID),
        ("ttyUSB4", AVOID),
    ]);
}

#[test]
fn an_adapter_is_no_modem_and_a_device_with_a_network_interface_is_one() {
    let machine = Machine::new();
    machine.usb("1-1", "0403:6001", ["FTDI", "FT232R USB UART"]);
    machine.port("1-1", 0, "ffffff", "ttyUSB0", "ftdi_sio");
    machine.usb("1-2", "2341:0043", ["Arduino", "Uno"]);
    machine.port("1-2", 0, "020201", "ttyACM0", "cdc_acm");
    machine.usb("1-3", "1546:1141", ["u-blox", "TOBY-L2"]);
    machine.port("1-3", 2, "020201", "ttyACM1", "cdc_acm");
    let network = machine.interface("1-3", 0, "020600");
    machine.device(&format!("{network}/net/usb0"), &[]);
    machine.must_have(&[
        ("ttyACM1", Verdict::Unknown),
        ("ttyACM0", Verdict::NoModem),
        ("ttyUSB0", Verdict::NoModem),
    ]);
}

#[test]
fn a_modem_on_pcie_has_its_at_ports_among_others() {
    let machine = Machine::new();
    for (name, kind) in [
        ("wwan0mbim0", "MBIM"),
        ("wwan0at1", "AT"),
        ("wwan0at0", "AT"),
    ] {
        machine.wwan(name, kind);
    }
    machine.must_have(&[
        ("wwan0at0", Verdict::SaysAt),
        ("wwan0at1", Verdict::SaysAt),
        ("wwan0mbim0", Verdict::NotAt(Reason::Type)),
    ]);
    let ports = machine.candidates();
    assert!(ports.iter().all(|port| port.modem == ports[0].modem));
}

/// Opens `port = "auto"` on a machine.
async fn open(port: &mut SerialPort) -> Result<Device<Serial>, String> {
    let opened = timeout(Duration::from_secs(30), port.open()).await;
    let opened = opened.expect("it does not hang");
    opened.map_err(|error| error.to_string())
}

fn auto(machine: &Machine) -> SerialPort {
    SerialPort::below(machine.root(), &EuiccConfig::new("auto"), Arc::new(table()))
}

#[tokio::test]
async fn the_one_modem_is_found_and_ports_that_are_no_at_ports_are_sent_nothing() {
    let mut bed = Bed::over_kernel_devices().await;
    bed.stop().await;
    let machine = Machine::new();
    machine.usb("1-1", "abcd:0001", ["Any", "Modem"]);
    for (number, class) in [(0, "ffff30"), (1, "ffff60"), (2, "ffff40"), (3, "ff0000")] {
        machine.port("1-1", number, class, &format!("ttyUSB{number}"), "option1");
    }
    machine.usb("1-2", "0403:6001", ["FTDI", "FT232R USB UART"]);
    machine.port("1-2", 0, "ffffff", "ttyUSB4", "ftdi_sio");
    let [mut diagnosis, mut positions, mut mute, mut adapter] =
        ["ttyUSB0", "ttyUSB1", "ttyUSB2", "ttyUSB4"].map(|port| machine.terminal(port));
    symlink(
        bed.folder().join("modem"),
        machine.root().join("dev/ttyUSB3"),
    )
    .unwrap();
    machine.name("by-id", "usb-Any_Modem-if03-port0", "ttyUSB3");
    bed.look_for_ports_below(machine.root());
    bed.configuration().euiccs[0].port = "auto".into();
    bed.resume().await;
    bed.must_be_sound().await;
    // When the modem is back, the port that has answered is opened at once.
    bed.bench.modem.hang_up();
    bed.euicc_in(Availability::Unavailable).await;
    bed.plug_in();
    bed.euicc_in(Availability::Ready).await;
    assert_eq!(said_to(&mut mute).await, "AT\rAT\r");
    for port in [&mut diagnosis, &mut positions, &mut adapter] {
        assert_eq!(said_to(port).await, "");
    }
}

/// What has been written to a terminal.
async fn said_to(port: &mut Pty) -> String {
    let mut said = [0; 256];
    let read = timeout(Duration::from_millis(50), port.read(&mut said)).await;
    let count = read.map_or(0, |count| count.unwrap());
    String::from_utf8_lossy(&said[..count]).into_owned()
}

#[tokio::test]
async fn two_modems_are_named_and_neither_is_asked() {
    let machine = Machine::new();
    machine.ec25();
    let name = machine.name("by-id", "usb-Quectel_EG25-G-if03-port0", "ttyUSB3");
    machine.wwan("wwan0at0", "AT");
    let error = open(&mut auto(&machine)).await.unwrap_err();
    assert!(
        error.starts_with("there are 2 modems; set port to the port of one of them:"),
        "{error}"
    );
    for name in [
        name.display().to_string(),
        "Quectel EG25-G".into(),
        "wwan0at0".into(),
    ] {
        assert!(error.contains(&name), "{error}");
    }
}

#[tokio::test]
async fn without_a_modem_or_without_an_answer_that_is_told() {
    let machine = Machine::new();
    machine.usb("1-1", "0403:6001", ["FTDI", "FT232R USB UART"]);
    machine.port("1-1", 0, "ffffff", "ttyUSB0", "ftdi_sio");
    let mut port = auto(&machine);
    let error = open(&mut port).await.unwrap_err();
    assert_eq!(error, "no modem with an AT port is found on USB or PCIe");
    // A modem that is plugged in is noticed.
    let terminal = async {
        machine.usb("1-2", "abcd:0001", ["Any", "Modem"]);
        machine.port("1-2", 2, "ffff40", "ttyUSB1", "option1");
        machine.terminal("ttyUSB1")
    };
    let noticed = async { tokio::join!(port.changed(), terminal).1 };
    let noticed = timeout(Duration::from_secs(30), noticed).await;
    let mut terminal = noticed.expect("it is noticed");
    let path = machine.root().join("dev/ttyUSB1").display().to_string();
    let error = open(&mut port).await.unwrap_err();
    assert_eq!(
        error,
        format!("no port of the modem answers AT; asked were {path}")
    );
    assert_eq!(said_to(&mut terminal).await, "AT\rAT\r");
    // One that was starting is asked again.
    let modem = async {
        terminal.read_exact(&mut [0; 3]).await.unwrap();
        terminal.write_all(b"\r\nOK\r\n").await.unwrap();
    };
    tokio::join!(open(&mut port), modem).0.unwrap();
}

#[tokio::test]
async fn a_port_that_is_in_use_leaves_the_next_one() {
    let machine = Machine::new();
    machine.usb("1-1", "abcd:0001", ["Any", "Modem"]);
    machine.port("1-1", 2, "ffff40", "ttyUSB2", "option1");
    machine.port("1-1", 3, "ffff40", "ttyUSB3", "option1");
    let (_taken, mut free) = (machine.terminal("ttyUSB2"), machine.terminal("ttyUSB3"));
    let _holder = Serial::open(&machine.root().join("dev/ttyUSB2"), 115_200).unwrap();
    let modem = async {
        free.read_exact(&mut [0; 3]).await.unwrap();
        free.write_all(b"\r\nOK\r\n").await.unwrap();
    };
    let mut port = auto(&machine);
    let serial = tokio::join!(open(&mut port), modem).0.unwrap();
    drop(serial);
    drop(free);
    let error = open(&mut auto(&machine)).await.unwrap_err();
    assert!(
        error.contains("ttyUSB2") && error.contains("uses it"),
        "{error}"
    );
}

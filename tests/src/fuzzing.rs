//! What the fuzz targets of `fuzz/` do with their input. The tests do the same with what is kept in
//! `fuzz/seeds`.

use std::path::Path;
use std::time::Duration;

use es10_apdu::at::{AtPort, Cgla, Csim, LineParser, ModemProfile, Pending};
use es10_apdu::es10b::ListNotificationRequest;
use es10_apdu::es10c::ProfileInfoListRequest;
use es10_apdu::isdr::{Isdr, IsdrOptions, close_unnamed};
use es10_apdu::link::LinkOptions;
use es10_apdu::transport::Transport;
use lpad::config::ModemEntry;
use lpad::modem::Identity;
use lpad::modem::table::Table;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::timeout;

/// What a modem may say: the parser takes it in any pieces, and never grows without bound.
pub fn at_line(bytes: &[u8]) {
    let pending = Pending::new("AT+CSIM=14,\"81E2910003BF2E\"");
    let mut parser = LineParser::default();
    for piece in bytes.chunks(7) {
        parser.push(piece);
        while let Some(line) = parser.next(Some(&pending)) {
            let _ = format!("{line:?}");
        }
    }
}

/// A modem that answers each line with the next part of the input, by either route: whatever it says, lpad
/// comes to an end with it in time.
///
/// The first octet says by which route and how the link is used. The parts follow, divided by `1E`; the
/// first letter of each says what becomes of it: `A` a response APDU as the route at hand shows it, `K` an
/// information line with `OK` after it, `E` the command's echo and the rest, `S` nothing at all, `H` the port
/// is closed, and any other the part as it is.
pub fn at_answers(bytes: &[u8]) {
    let Some((&manners, script)) = bytes.split_first() else {
        return;
    };
    let (ours, theirs) = duplex(1024);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime can be made");
    runtime.block_on(async {
        let dialogue = async {
            let ended = timeout(LONGEST, dialogue(AtPort::new(ours), manners)).await;
            ended.expect("it ends in time");
        };
        tokio::join!(modem(theirs, script), dialogue);
    });
}

/// How long all of a dialogue may take at most: each of its questions has its deadline.
const LONGEST: Duration = Duration::from_secs(3600);

async fn dialogue(mut port: AtPort<DuplexStream>, manners: u8) {
    let has = |bit: u8| manners & (1 << bit) != 0;
    if has(0) && port.init(&ModemProfile::default()).await.is_err() {
        return;
    }
    if has(1) {
        port.set_retry(&[0, 3, 14]);
    }
    let link = LinkOptions {
        block_size: if has(2) { 60 } else { 255 },
        terminal_capability: has(3),
        ..LinkOptions::default()
    };
    let options = IsdrOptions {
        link,
        ..IsdrOptions::default()
    };
    match has(4) {
        true => session(Cgla::new(&mut port), &options).await,
        false => session(Csim::new(&mut port), &options).await,
    }
    if has(4) {
        let _ = close_unnamed(&mut Cgla::new(&mut port), &options.link).await;
    }
}

async fn session(transport: impl Transport, options: &IsdrOptions) {
    let Ok(mut isdr) = Isdr::open(transport, options).await else {
        return;
    };
    if let Ok(link) = isdr.adapt().await {
        assert!((1..=options.link.block_size).contains(&link.block_size));
        let _ = isdr.read(&ProfileInfoListRequest::default()).await;
        let _ = isdr.load_segment(&[0x86; 300]).await;
        let _ = isdr.call(&ListNotificationRequest::default()).await;
    }
    let _ = isdr.close().await;
}

async fn modem(mut port: DuplexStream, script: &[u8]) {
    let mut answers = script.split(|&octet| octet == 0x1E);
    let mut line = Vec::new();
    while let Ok(octet) = port.read_u8().await {
        line.push(octet);
        if octet != b'\r' {
            continue;
        }
        let Some(answer) = answers.next() else {
            return;
        };
        let said = match answer.split_first() {
            None | Some((b'S', _)) => Vec::new(),
            Some((b'H', _)) => return,
            Some((b'A', apdu)) => {
                let name = if line.starts_with(b"AT+CGLA") {
                    "+CGLA"
                } else {
                    "+CSIM"
                };
                let apdu = hex::encode_upper(apdu);
                let length = apdu.len();
                format!("\r\n{name}: {length},\"{apdu}\"\r\n\r\nOK\r\n").into_bytes()
            }
            Some((b'K', text)) => [b"\r\n", text, b"\r\n\r\nOK\r\n"].concat(),
            Some((b'E', text)) => [&line, text].concat(),
            Some(_) => answer.to_vec(),
        };
        line.clear();
        if port.write_all(&said).await.is_err() {
            return;
        }
    }
}

/// A table of modems as a user may write it, and a modem that calls itself anything: what can be used holds
/// what it promises, and what cannot is told in one line.
///
/// The first line is the maker and the model of the modem, and the table follows.
pub fn modem_table(text: &str) {
    let (names, text) = text.split_once('\n').unwrap_or_default();
    let (manufacturer, model) = names.split_once(',').unwrap_or_default();
    let identity = Identity {
        manufacturer: Some(manufacturer.to_owned()),
        model: Some(model.to_owned()),
        firmware: None,
    };
    match Table::parse(text, Path::new("modems.toml")) {
        Ok(table) => {
            let known = table.look_up(identity, &ModemEntry::default());
            assert!(!known.family.is_empty());
            assert!((1..=600).contains(&known.habits.open_s));
            let sent = known.habits.ladder.iter().filter(|rung| !rung.together);
            for line in sent.flat_map(|rung| &rung.send) {
                assert!(line.is_ascii() && !line.contains(['\r', '\n']));
                assert!(!known.habits.never.contains(line));
            }
            table.usb_ports(manufacturer);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

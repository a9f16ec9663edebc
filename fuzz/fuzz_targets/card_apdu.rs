//! Command APDUs for the card in any state of a download: any sequence is answered, what the card
//! keeps stays bounded and usable, and power may be lost after each.

#![no_main]

use std::sync::LazyLock;

use es10_apdu::apdu::Response;
use es10_apdu::bpp::Segment;
use libfuzzer_sys::fuzz_target;
use lpad_tests::bench::{Bench, HOST_NAME};
use rsp_servers::lpa::BareLpa;
use rsp_servers::profile::{Iccid, Profile};
use rsp_servers::smdp::OrderRequest;
use sim_card_emulator::euicc::{Env, Euicc};

/// A card, and the segments that a server would send it next.
struct State {
    card: Euicc,
    segments: Vec<Vec<u8>>,
}

/// The card after each step of a download, and with the profile in use.
static STATES: LazyLock<Vec<State>> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made")
        .block_on(states())
});

async fn states() -> Vec<State> {
    let bench = Bench::new();
    let profile = Profile::builder(Iccid::nth(1)).size(1500).build();
    bench
        .smdp
        .create_order(OrderRequest::with_matching_id(profile, "FUZZ"));
    let state = |segments: &[Segment]| State {
        card: bench.card.inspect(Clone::clone),
        segments: segments
            .iter()
            .map(|segment| segment.bytes.to_vec())
            .collect(),
    };
    let mut states = vec![state(&[])];
    let mut lpa = BareLpa::open(bench.direct(), bench.network(), bench.roots())
        .await
        .expect("there is an eUICC");
    let address = HOST_NAME.parse().expect("it is a host name");
    let session = lpa.authenticate(&address, "FUZZ").await;
    let session = session.expect("the server answers");
    states.push(state(&[]));
    let package = lpa.bind(&session).await.expect("the profile is there");
    let mut rest = package.segments();
    while let Some((segment, more)) = rest.split_first() {
        states.push(state(rest));
        rest = more;
        if let Some(result) = lpa.load(segment).await.expect("the card answers") {
            states.push(state(&[]));
            let reported = lpa.report(&session, &result).await;
            reported.expect("the server takes the notification");
            break;
        }
    }
    let last = bench.card.inspect(Clone::clone);
    // Enabled at once, and with a REFRESH that waits to be fetched.
    for refresh in [0x00, 0xFF] {
        let mut run = Run::new(last.clone(), &[]);
        let iccid = last.memory().profiles[0].iccid;
        let head = [0xBF, 0x31, 0x11, 0xA0, 0x0C, 0x5A, 0x0A];
        let enable = [&head, iccid.octets(), &[0x81, 0x01, refresh]].concat();
        run.select();
        assert!(run.store(1, 0x91, &enable).sw.is_success());
        states.push(State {
            card: run.card,
            segments: Vec::new(),
        });
    }
    states
}

/// The same numbers every time, so that a finding repeats.
struct Counting(u8);

impl Env for Counting {
    fn random(&mut self, out: &mut [u8]) {
        for octet in out {
            self.0 = self.0.wrapping_add(1);
            *octet = self.0;
        }
    }
}

struct Run<'a> {
    card: Euicc,
    env: Counting,
    segments: std::slice::Iter<'a, Vec<u8>>,
}

impl<'a> Run<'a> {
    fn new(card: Euicc, segments: &'a [Vec<u8>]) -> Self {
        Self {
            card,
            env: Counting(0),
            segments: segments.iter(),
        }
    }

    /// Opens a channel and selects the ISD-R on it, if there is room.
    fn select(&mut self) {
        self.send(&[0x00, 0x70, 0x00, 0x00, 0x01]);
        let head = [0x01, 0xA4, 0x04, 0x00, 0x10];
        self.send(&[&head[..], &es10_apdu::isdr::ISDR_AID].concat());
    }

    fn send(&mut self, apdu: &[u8]) -> Response {
        let sequence_number = self.card.memory().sequence_number;
        let response = self.card.handle(apdu, &mut self.env);
        assert!(response.data.len() <= 256);
        let (memory, settings) = (self.card.memory(), self.card.settings());
        assert!(memory.sequence_number >= sequence_number);
        assert!(
            memory
                .profiles
                .iter()
                .filter(|profile| profile.enabled)
                .count()
                <= 1
        );
        assert!(self.card.open_channels().len() <= 19);
        let used: usize = memory
            .profiles
            .iter()
            .map(|profile| profile.package.len())
            .sum();
        assert!(used <= settings.memory);
        response
    }

    /// Sends data in STORE DATA blocks, the last of which has this P1.
    fn store(&mut self, channel: u8, last: u8, data: &[u8]) -> Response {
        let mut blocks = data.chunks(255).enumerate().peekable();
        let mut response = self.send(&[]);
        while let Some((number, block)) = blocks.next() {
            let p1 = if blocks.peek().is_some() { 0x11 } else { last };
            let octet = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
            let head = [0x80 | channel, 0xE2, p1, octet(number), octet(block.len())];
            response = self.send(&[&head[..], block].concat());
        }
        response
    }

    fn act(&mut self, kind: u8, data: &[u8]) {
        let argument = kind >> 3;
        match kind & 7 {
            0 => drop(self.send(data)),
            // A whole request, or one that is not finished, needs no luck with headers.
            1 => drop(self.store(argument & 3, 0x91, data)),
            2 => drop(self.store(argument & 3, 0x11, data)),
            3 => self.card.reset(),
            4 => {
                if let Some(segment) = self.segments.next() {
                    self.store(1, 0x91, segment);
                }
            }
            // Any command on any of the channels.
            5 => {
                let mut apdu = data.to_vec();
                if let Some(class) = apdu.first_mut() {
                    *class = match argument {
                        channel @ 0..4 => *class & 0x80 | channel,
                        channel => *class & 0x80 | 0x40 | (channel - 4) & 0x0F,
                    };
                }
                self.send(&apdu);
            }
            // Power is lost; the card goes on with what its flash holds.
            6 => {
                let identity = self.card.identity().clone();
                let settings = self.card.settings().clone();
                self.card = Euicc::new(identity, settings, self.card.memory().clone());
            }
            _ => {
                self.select();
                self.send(&[0x81, 0xC0, 0x00, 0x00, 0x00]);
                self.send(&[0x80, 0x12, 0x00, 0x00, 0x00]);
            }
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&[state, manners], mut rest)) = bytes.split_first_chunk() else {
        return;
    };
    let State { card, segments } = &STATES[usize::from(state) % STATES.len()];
    let mut run = Run::new(card.clone(), segments);
    let settings = run.card.settings_mut();
    settings.always_get_response = manners & 1 != 0;
    settings.isdr_on_basic_channel = manners & 2 != 0;
    settings.v3_answers = manners & 4 != 0;
    settings.cat_busy = manners & 8 != 0;
    settings.uncut_sequences = manners & 16 != 0;
    settings.channels = if manners & 32 != 0 { 19 } else { 3 };
    settings.notifications = if manners & 64 != 0 { 1 } else { 100 };
    // Each piece says what it is and how long.
    while let Some((&[kind, len], more)) = rest.split_first_chunk() {
        let (data, next) = more.split_at(usize::from(len).min(more.len()));
        run.act(kind, data);
        rest = next;
    }
});

//! Bytes for the emulated modem, with any of its quirks and a card with a profile in use: it
//! answers, and never grows without bound.

#![no_main]

use std::sync::{Arc, LazyLock};

use es9_client::ServerAddress;
use libfuzzer_sys::fuzz_target;
use lpad_tests::bench::{Bench, HOST_NAME};
use rsp_servers::lpa::BareLpa;
use rsp_servers::profile::{Iccid, Profile};
use rsp_servers::smdp::OrderRequest;
use sim_card_emulator::card::Card;
use sim_card_emulator::euicc::{Env, Identity as EuiccIdentity, NonVolatile, Settings};
use sim_card_emulator::modem::{Action, Identity, Modem, Quirk};

/// A card with a profile that is enabled.
static CARD: LazyLock<(Arc<EuiccIdentity>, NonVolatile)> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made")
        .block_on(card())
});

async fn card() -> (Arc<EuiccIdentity>, NonVolatile) {
    let bench = Bench::new();
    let profile = Profile::builder(Iccid::nth(1)).size(1500).build();
    bench
        .smdp
        .create_order(OrderRequest::with_matching_id(profile, "FUZZ"));
    let address: ServerAddress = HOST_NAME.parse().expect("it is a host name");
    let lpa = BareLpa::open(bench.direct(), bench.network(), bench.roots()).await;
    let mut lpa = lpa.expect("there is an eUICC");
    let session = lpa.authenticate(&address, "FUZZ").await;
    let session = session.expect("the server answers");
    lpa.download(&session).await.expect("the profile is there");
    let mut memory = bench.card.memory();
    memory.profiles[0].enabled = true;
    (bench.card.inspect(|euicc| euicc.identity().clone()), memory)
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

fuzz_target!(|bytes: &[u8]| {
    let Some((&manners, mut rest)) = bytes.split_first_chunk::<9>() else {
        return;
    };
    let (identity, memory) = &*CARD;
    let env = Box::new(Counting(0));
    let card = Card::with_env(identity.clone(), Settings::default(), env);
    if manners[0] & 1 == 0 {
        card.restore(memory.clone());
    }
    let mut modem = Modem::new(card, Identity::default());
    let control = modem.control();
    control.seed(u64::from(manners[0]));
    if manners[0] & 2 != 0 {
        control.set_network(None, "rejects=11,loses-after=1s".parse().unwrap());
    }
    control.set_quirks(|quirks| {
        for (number, quirk) in Quirk::ALL.into_iter().enumerate() {
            if manners[1 + number / 8 % 8] >> (number % 8) & 1 != 0 {
                quirks.turn_on(quirk);
            }
        }
    });
    // Each piece says what it is and how long.
    while let Some((&[kind, len], more)) = rest.split_first_chunk() {
        let (data, next) = more.split_at(usize::from(len).min(more.len()));
        let hex: String = data.iter().map(|octet| format!("{octet:02X}")).collect();
        let digits = hex.len();
        match kind % 8 {
            0 => modem.push(data),
            1 => modem.push(&[b"AT".as_slice(), data, b"\r"].concat()),
            // Commands that reach the card need no luck with digits and lengths.
            2 => modem.push(format!("AT+CSIM={digits},\"{hex}\"\r").as_bytes()),
            3 => modem.push(format!("AT+CGLA={},{digits},\"{hex}\"\r", kind >> 3).as_bytes()),
            4 => modem.push(b"AT+CCHO=\"A0000005591010FFFFFFFF8900000100\"\r"),
            5 => modem.push(format!("AT+CCHC={}\r", kind >> 3).as_bytes()),
            6 => {
                let text = String::from_utf8_lossy(data);
                modem.push(format!("AT+CRSM=176,28486,0,0,{},{text}\r", kind >> 3).as_bytes());
            }
            _ => control.hang_up(),
        }
        // The longest line makes a bounded number of things to do.
        let mut written = 0;
        for _ in 0..100_000 {
            match modem.next_action() {
                Some(Action::Write(bytes)) => written += bytes.len(),
                Some(_) => {}
                None => break,
            }
        }
        assert!(modem.next_action().is_none() && written < 4 << 20);
        rest = next;
    }
});

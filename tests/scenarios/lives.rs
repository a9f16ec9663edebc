//! Whole lives of a gateway with bad luck chosen by a seed: whatever went wrong, the card and the
//! daemon agree in the end, and the server knows everything.

use std::pin::pin;
use std::time::Duration;

use lpad::api::downloads::DownloadRequest;
use lpad::api::euiccs::ResetRequest;
use lpad::memory::snapshot::ProfileState;
use lpad_tests::bed::{Bed, EUICC, accepting, set_state};
use lpad_tests::bench::{Bench, HOST_NAME};
use rsp_common::pki::{Pki, PkiOptions};
use rsp_servers::smdp::{OrderRequest, OrderState};
use sim_card_emulator::card::PowerCut;
use sim_card_emulator::modem::{Effect, Fault, Moment, Pattern};
use tokio::time::{sleep, timeout};

/// SplitMix64: the same seed gives the same life.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let bounded = (mixed ^ (mixed >> 31)) % u64::from(limit);
        u32::try_from(bounded).unwrap()
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> Option<T> {
        let count = u32::try_from(choices.len()).unwrap();
        (count > 0).then(|| choices[self.below(count) as usize])
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 1
    }
}

/// Lets something go wrong with one of the next APDUs.
fn bad_luck(bed: &Bed, chance: &mut Chance) {
    let nth = 1 + chance.below(70);
    let executed = chance.coin();
    let effect = match chance.below(6) {
        0 => Effect::Error {
            cme: chance.one_of(&[None, Some(13), Some(14)]).flatten(),
            executed,
        },
        1 => Effect::Silence { executed },
        2 => Effect::HangUp { executed },
        3 => Effect::Truncate,
        4 => {
            let when = match executed {
                true => PowerCut::AfterExecution,
                false => PowerCut::BeforeExecution,
            };
            return lose_power(bed, nth, when, chance.coin());
        }
        _ => {
            let moment = match executed {
                true => Moment::BeforeAnswer,
                false => Moment::BeforeExecution,
            };
            let mut hold = bed.bench.modem.hold(Pattern::ANY, nth, moment);
            let late = Duration::from_secs(u64::from(chance.below(600)));
            tokio::spawn(async move {
                hold.reached().await;
                sleep(late).await;
                hold.release();
            });
            return;
        }
    };
    bed.bench.modem.inject(Fault {
        pattern: Pattern::ANY,
        nth,
        effect,
    });
}

fn lose_power(bed: &Bed, nth: u32, when: PowerCut, with_modem: bool) {
    let (card, modem) = (bed.bench.card.clone(), bed.bench.modem.clone());
    let mut counters = card.counters();
    let before = counters.borrow().power_cuts;
    card.cut_power(u64::from(nth), when);
    tokio::spawn(async move {
        let cut = counters.wait_for(|so_far| so_far.power_cuts > before).await;
        drop(cut.unwrap());
        sleep(Duration::from_secs(3)).await;
        match with_modem {
            true => modem.hang_up(),
            false => card.reset(),
        }
    });
}

/// Does something; how it ends does not matter here.
async fn do_something(bed: &mut Bed, chance: &mut Chance, number: u32) {
    let iccids = installed(bed);
    let names: Vec<&str> = iccids.iter().map(String::as_str).collect();
    let client = bed.client.clone();
    let asked = match (chance.below(7), chance.one_of(&names)) {
        (0, Some(iccid)) => set_state(&client, iccid, ProfileState::Enabled).await,
        (1, Some(iccid)) => set_state(&client, iccid, ProfileState::Disabled).await,
        (2, Some(iccid)) => client.delete(EUICC, iccid, true).await,
        (3, Some(iccid)) => client.rename(EUICC, iccid, "Uplink").await,
        (4, _) => client.deliver_notifications(EUICC).await,
        (5, _) => return first_boot(bed, chance).await,
        _ => {
            let matching_id = format!("LIFE-{number}");
            bed.order(&matching_id);
            let request = DownloadRequest {
                enable: chance.coin(),
                ..accepting(&format!("1${HOST_NAME}${matching_id}"))
            };
            client.download(EUICC, &request).await
        }
    };
    let operation = asked.expect("it is queued");
    if chance.below(3) == 0 {
        // Killed at some moment on the way, or after it.
        let moment = Duration::from_millis(u64::from(chance.below(3000)));
        let _ = timeout(moment, client.wait(operation.id)).await;
        bed.kill().await;
        bed.resume().await;
    } else {
        client.wait(operation.id).await.expect("it ends");
    }
}

/// Empties the card, which gets its first profile by itself after the daemon's next start, and maybe
/// kills the daemon meanwhile.
async fn first_boot(bed: &mut Bed, chance: &mut Chance) {
    let everything = ResetRequest {
        confirm: EUICC.to_owned(),
        operational_profiles: true,
        ..ResetRequest::default()
    };
    while !installed(bed).is_empty() {
        bed.ended(bed.client.reset(EUICC, &everything).await).await;
        // Nothing is held up any longer.
        sleep(LONGEST).await;
    }
    let order = OrderRequest::for_eid(bed.profile(), bed.bench.eid());
    let order = bed.bench.smdp.create_order(order);
    let smdp = bed.bench.smdp.clone();
    let comes = smdp.wait_until(|smdp| smdp.order(order).unwrap().state() == OrderState::Installed);
    let mut comes = pin!(timeout(DAYS, comes));
    bed.kill().await;
    bed.resume().await;
    if chance.coin() {
        let moment = Duration::from_secs(u64::from(chance.below(600)));
        if timeout(moment, &mut comes).await.is_ok() {
            return;
        }
        bed.kill().await;
        bed.resume().await;
    }
    comes.await.expect("a first profile comes");
}

fn installed(bed: &Bed) -> Vec<String> {
    let profiles = bed.bench.card.memory().profiles;
    let iccids = profiles.iter().map(|profile| profile.iccid.to_string());
    iccids.collect()
}

async fn live(pki: &Pki, seed: u64) {
    // Only seen when the test fails.
    eprintln!("seed {seed}");
    let mut chance = Chance(seed);
    let mut bed = Bed::with(Bench::with_pki(pki.clone()), "empty").await;
    for number in 0..6 {
        for _ in 0..=chance.below(2) {
            bad_luck(&bed, &mut chance);
        }
        do_something(&mut bed, &mut chance, number).await;
        // Nothing is held up any longer.
        sleep(LONGEST).await;
        bed.settle().await;
        bed.must_tell_the_truth().await;
    }
    bed.bench.modem.clear_faults();
    bed.bench.card.keep_power();
    sleep(LONGEST).await;
    bed.must_be_sound().await;
}

/// Longer than a modem is ever held up.
const LONGEST: Duration = Duration::from_secs(700);
/// How long a first profile may take, with all its back-off.
const DAYS: Duration = Duration::from_secs(3 * 24 * 3600);

#[tokio::test(start_paused = true)]
async fn after_a_life_of_bad_luck_card_daemon_and_server_agree() {
    let pki = Pki::generate(&PkiOptions::default()).unwrap();
    // More of them are tried by hand: LPAD_LIVES=1000.
    let lives = std::env::var("LPAD_LIVES").map_or(12, |count| count.parse().unwrap());
    for seed in 0..lives {
        live(&pki, seed).await;
    }
}

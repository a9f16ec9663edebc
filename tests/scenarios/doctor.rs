//! `lpactl doctor`: what it says of a healthy gateway, and of each that is not, with and without a daemon.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use es10_apdu::at::Serial;
use lpad::api::body::Examination;
use lpad::cli::doctor::checks::{self, Check, Verdict};
use lpad::memory::snapshot::{Availability, ProfileState};
use lpad::modem::table::Table;
use lpad::problem::Code;
use lpad_tests::bed::{Bed, EUICC, succeeded};
use lpad_tests::bench::{Bench, HOST_NAME};
use rsp_common::pki::{Pki, PkiOptions};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sim_card_emulator::modem::{Identity, Moment, Pattern, Preset, Quirk};
use tokio::net::TcpListener;

use crate::lpactl::{Run, command, lpactl};

/// Runs `lpactl doctor` with the bed's configuration.
async fn doctor(bed: &Bed, arguments: &[&str]) -> Run {
    let file = configuration(bed);
    let doctor = ["doctor", "--config", file.to_str().unwrap()];
    lpactl(bed, &[&doctor, arguments].concat()).await
}

/// What it printed, with one blank between columns.
fn lines(run: &Run) -> String {
    let lines = run.out.split('\n').map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let indent = if line.starts_with(' ') { " " } else { "" };
        format!("{indent}{}", words.join(" "))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn configuration(bed: &Bed) -> PathBuf {
    bed.folder().join("lpad.toml")
}

#[tokio::test]
async fn a_healthy_gateway_is_well_through_the_daemon_and_without_one() {
    let mut bed = Bed::over_kernel_devices().await;
    let iccid = bed.install().await;
    succeeded(&bed.switch(&iccid, ProfileState::Enabled).await);
    bed.settle().await;
    let through = doctor(&bed, &[]).await;
    assert_eq!((through.code, &*through.err), (0, ""), "{}", through.out);
    let port = bed.folder().join("modem");
    let told = lines(&through);
    for line in [
        "\n Configuration ok: ",
        "\n Daemon ok: lpad ",
        "\n Clock ok: it says 20",
        &format!("\n Port ok: {} at 115200 baud\n", port.display()),
        "\n Profile ok: handled as generic: ",
        "\n SIM ok: AT+CPIN? says READY; the modem uses the profile 8901…0012\n",
        "\n Channels ok: by AT+CGLA: ",
        "\n Channels ok: by AT+CSIM: ",
        "\n Card ok: EID 8904…",
        ", SGP.22 v2.5.0, ",
        " bytes free, trusts the issuers ",
        "profiles: 1, one is enabled\n",
        "\n Speed ok: 10 times GetEID: ",
        "\nSM-DP+ smdp.example.com\n",
        "\n DNS not looked at: connect_to says 127.0.0.1:",
        "\n TCP ok: connected in ",
        "\n TLS ok: TLS 1.3, in ",
        "\n Certificate ok: smdp.example.com, ",
    ] {
        assert!(told.contains(line), "{line:?} in {told}");
    }
    assert!(bed.bench.card.open_channels().is_empty());
    // Nothing was changed, and the daemon goes on.
    bed.must_tell_the_truth().await;

    bed.stop().await;
    let state = fs::read(bed.folder().join("state/journal.ndjson")).unwrap();
    let alone = doctor(&bed, &["--json"]).await;
    assert_eq!((alone.code, &*alone.err), (0, ""), "{}", alone.out);
    let told = alone.json();
    let verdicts = verdicts(&told);
    assert!(verdicts.contains(&("Daemon".into(), "warning".into())));
    assert!(verdicts.contains(&("Card".into(), "ok".into())));
    let found = &told["euiccs"][0]["found"];
    assert_eq!(found["apdu_us"].as_array().unwrap().len(), 10);
    assert_eq!(found["iccid"], "8901…0012");
    assert!(bed.bench.card.open_channels().is_empty());
    let untouched = fs::read(bed.folder().join("state/journal.ndjson")).unwrap();
    assert_eq!(state, untouched);
    bed.resume().await;
    bed.must_be_sound().await;
}

fn verdicts(report: &Value) -> Vec<(String, String)> {
    let euiccs = report["euiccs"].as_array().unwrap().iter();
    let all = euiccs.chain([report, &report["server"]]);
    let all = all.flat_map(|part| part["checks"].as_array().unwrap());
    let text = |check: &Value, key: &str| check[key].as_str().unwrap().to_owned();
    all.map(|check| (text(check, "what"), text(check, "verdict")))
        .collect()
}

/// A full disk may be what is the matter.
#[tokio::test]
async fn without_room_for_files_of_its_own_the_rest_is_looked_at() {
    let mut bed = Bed::over_kernel_devices().await;
    bed.stop().await;
    let file = configuration(&bed);
    let arguments = ["doctor", "--json", "--config", file.to_str().unwrap()];
    let mut command = command(bed.client.socket(), &arguments);
    command.env("TMPDIR", bed.folder().join("nowhere"));
    let run = crate::lpactl::run(command, "").await;
    assert_eq!(run.code, 7, "{run:?}");
    let verdicts = verdicts(&run.json());
    assert!(verdicts.contains(&("Daemon".into(), "failure".into())));
    assert!(verdicts.contains(&("Certificate".into(), "ok".into())));
}

/// A stop does not wait for it.
#[tokio::test(start_paused = true)]
async fn an_examination_ends_with_the_daemon_and_closes_its_channel() {
    let mut bed = Bed::start().await;
    let quirk = Quirk::ApduTime;
    bed.bench.modem.set_quirks(|quirks| quirks.set(quirk, 1500));
    let modem = bed.bench.modem.clone();
    let mut reached = modem.hold(Pattern::LAST_BLOCK, 2, Moment::BeforeAnswer);
    let client = bed.client.clone();
    let examined = tokio::spawn(async move { client.examine(EUICC).await });
    reached.reached().await;
    reached.release();
    let begun = tokio::time::Instant::now();
    bed.stop().await;
    assert!(begun.elapsed().as_secs() < 15, "{:?}", begun.elapsed());
    assert!(examined.await.unwrap().is_ok_and(|found| found.cut_off));
    assert_eq!(bed.bench.card.open_channels(), [0; 0]);
}

/// Nobody would know of a channel that stays open: without a daemon there is no record.
#[tokio::test]
async fn a_doctor_without_a_daemon_that_is_interrupted_closes_its_channel() {
    let mut bed = Bed::over_kernel_devices().await;
    bed.stop().await;
    for signal in [Signal::INT, Signal::TERM] {
        let modem = bed.bench.modem.clone();
        let mut hold = modem.hold(Pattern::LAST_BLOCK, 1, Moment::BeforeAnswer);
        let file = configuration(&bed);
        let arguments = ["doctor", "--config", file.to_str().unwrap()];
        let mut doctor = command(bed.client.socket(), &arguments).spawn().unwrap();
        hold.reached().await;
        assert_ne!(bed.bench.card.open_channels(), [0; 0]);
        let pid = i32::try_from(doctor.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
        hold.release();
        assert_eq!(doctor.wait().await.unwrap().code(), Some(130));
        assert_eq!(bed.bench.card.open_channels(), [0; 0]);
    }
}

#[tokio::test]
async fn who_holds_the_port_is_named() {
    let mut bed = Bed::over_kernel_devices().await;
    bed.stop().await;
    bed.plug_in();
    let holder = Serial::open(&bed.folder().join("modem"), 115_200).unwrap();
    let held = doctor(&bed, &[]).await;
    assert_eq!((held.code, &*held.err), (7, "Failed checks: 1.\n"));
    let pid = std::process::id().to_string();
    for words in ["\n Port FAILED: ", &pid, "\n Card not looked at: "] {
        assert!(lines(&held).contains(words), "{}", held.out);
    }
    drop(holder);
}

#[tokio::test]
async fn a_daemon_elsewhere_is_noticed_and_left_alone() {
    let bed = Bed::over_kernel_devices().await;
    let nowhere = bed.folder().join("nowhere.sock");
    let nowhere = nowhere.to_str().unwrap();
    let run = doctor(&bed, &["--socket", nowhere, "--json"]).await;
    assert_eq!(run.code, 7, "{run:?}");
    let report = run.json();
    assert_eq!(report["euiccs"], Value::Array(Vec::new()));
    let said = report["checks"].to_string();
    assert!(said.contains("an lpad runs"), "{said}");
    bed.euicc_in(Availability::Ready).await;
    // Without the configuration there is nothing to look at.
    let arguments = ["doctor", "--socket", nowhere, "--config", nowhere];
    let blind = lpactl(&bed, &arguments).await;
    assert_eq!((blind.code, &*blind.err), (7, "Failed checks: 1.\n"));
    let said = lines(&blind);
    assert!(said.contains("\n Configuration not looked at: "), "{said}");
}

#[tokio::test]
async fn a_server_is_looked_at_step_by_step() {
    let bed = Bed::over_kernel_devices().await;
    let well = doctor(&bed, &["--smdp", HOST_NAME]).await;
    assert_eq!(well.code, 0, "{well:?}");

    // A port that nobody listens on, and one where nobody speaks TLS.
    let file = configuration(&bed);
    let text = fs::read_to_string(&file).unwrap();
    let reach = |address: SocketAddr| {
        let known = bed.smdp_address().to_string();
        fs::write(&file, text.replace(&known, &address.to_string())).unwrap();
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    reach(address);
    let refused = doctor(&bed, &[]).await;
    let said = lines(&refused);
    assert_eq!(refused.code, 7);
    assert!(said.contains("\n TCP FAILED: "), "{said}");
    assert!(said.contains("Connection refused"), "{said}");
    assert!(said.contains("\n TLS not looked at: "), "{said}");

    let listener = TcpListener::bind(address).await.unwrap();
    let hangs_up = async { drop(listener.accept().await.unwrap()) };
    let (mute, ()) = tokio::join!(doctor(&bed, &[]), hangs_up);
    let said = lines(&mute);
    assert!(said.contains("\n TCP ok: "), "{said}");
    assert!(said.contains("\n TLS FAILED: "), "{said}");

    // An issuer that is not trusted.
    let other = Bench::with_pki(Pki::generate(&PkiOptions::default()).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    reach(listener.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    other.serve(folder.path(), None, listener).unwrap();
    let strange = doctor(&bed, &[]).await;
    let said = lines(&strange);
    assert_eq!(strange.code, 7);
    assert!(said.contains("\n Certificate FAILED: "), "{said}");
    assert!(said.contains("\n Next "), "{said}");

    let wrong = doctor(&bed, &["--smdp", "a b"]).await;
    assert_eq!(wrong.code, 2, "{wrong:?}");
}

#[tokio::test]
async fn a_bundle_is_new_private_and_without_secrets() {
    let mut bed = Bed::over_kernel_devices().await;
    let iccid = bed.install().await;
    succeeded(&bed.switch(&iccid, ProfileState::Enabled).await);
    let (code, confirmation) = ("1$smdp.example.com$SECRET-MATCHING-ID", "SECRET-CODE-4711");
    let imsi = "001010123456789";
    let codes = bed.folder().join("codes");
    fs::write(&codes, code).unwrap();
    let file = configuration(&bed);
    let configured = fs::read_to_string(&file).unwrap();
    let codes = codes.display();
    let configured = configured.replace(&format!("default_smdp = \"{HOST_NAME}\"\n"), "");
    fs::write(
        &file,
        format!(
            "# {code} {confirmation} {imsi}\n{configured}activation_code_file = \"{codes}\"\n\
             [euicc.modem]\nno_isd_r = \"{code} of {imsi}\"\n"
        ),
    )
    .unwrap();
    let bundle = bed.folder().join("bundle.json");
    let name = bundle.to_str().unwrap();
    let written = doctor(&bed, &["--bundle", name]).await;
    assert_eq!(written.code, 0, "{written:?}");
    assert!(
        written.out.contains("/bundle.json is written."),
        "{}",
        written.out
    );
    let mode = fs::metadata(&bundle).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let content = fs::read_to_string(&bundle).unwrap();
    let told: Value = serde_json::from_str(&content).unwrap();
    assert_eq!(told["report"]["euiccs"][0]["name"], EUICC);
    assert_eq!(
        told["configuration"]["euicc"][0]["bootstrap"]["when"],
        "never"
    );
    let imei = Identity::default().imei;
    let eid = bed.bench.eid();
    for secret in [&*eid, &iccid, &imei, imsi, "SECRET", confirmation] {
        assert!(!content.contains(secret), "{secret} is in {content}");
        assert!(
            !written.out.contains(secret),
            "{secret} is in {}",
            written.out
        );
    }
    // It is there: what a second one would overwrite.
    let again = doctor(&bed, &["--bundle", name]).await;
    assert_eq!(again.code, 2, "{again:?}");
    assert!(
        again.err.contains("File exists") || again.err.contains("exists"),
        "{again:?}"
    );
    assert_eq!(fs::read_to_string(&bundle).unwrap(), content);
}

#[tokio::test]
async fn a_busy_euicc_is_told_and_many_may_ask() {
    let bed = Bed::start().await;
    let examine = || bed.client.examine(EUICC);
    let (one, other) = tokio::join!(examine(), examine());
    for found in [one.unwrap(), other.unwrap()] {
        assert!(
            found.eid.is_some() && found.card_problem.is_none(),
            "{found:?}"
        );
    }
    let mut hold = bed
        .bench
        .modem
        .hold(Pattern::ANY, 1, Moment::BeforeExecution);
    let running = bed.client.deliver_notifications(EUICC).await.unwrap();
    hold.reached().await;
    let busy = doctor(&bed, &["--json"]).await;
    assert_eq!(busy.code, 7, "{busy:?}");
    let said = &busy.json()["euiccs"][0]["checks"][0];
    assert_eq!(
        (&said["what"], &said["verdict"]),
        (&"Examination".into(), &"failure".into())
    );
    let named = format!("(operation {})", running.id);
    assert!(said["says"].as_str().unwrap().ends_with(&named), "{said}");
    hold.release();
    succeeded(&bed.client.wait(running.id).await.unwrap());

    // A client that leaves takes nothing with it.
    let mut hold = bed
        .bench
        .modem
        .hold(Pattern::ANY, 1, Moment::BeforeExecution);
    tokio::select! {
        biased;
        _ = examine() => panic!("it is held"),
        () = async { hold.reached().await; } => {}
    }
    hold.release();
    assert!(examine().await.unwrap().card_problem.is_none());
    bed.settle().await;
}

#[tokio::test]
async fn the_ports_of_modems_are_named() {
    let bed = Bed::start().await;
    let ports = lpactl(&bed, &["doctor", "--ports"]).await;
    assert_eq!(ports.code, 0, "{ports:?}");
    let found = lpad::modem::ports::candidates("/".as_ref(), &Table::default());
    match found.first() {
        None => assert!(
            ports.out.starts_with("No port of a modem is found"),
            "{ports:?}"
        ),
        Some(port) => assert!(
            ports.out.contains(&*port.name().to_string_lossy()),
            "{ports:?}"
        ),
    }
    let listed = lpactl(&bed, &["doctor", "--ports", "--json"]).await;
    assert_eq!(listed.json().as_array().unwrap().len(), found.len());
}

/// The presets with which something does not work, with words of what helps.
const TROUBLES: [(&str, &str); 10] = [
    ("ec800g-6100", "report it with a log"),
    ("rg650e-lpa", "AT+QESIM=\"lpa_enable\",0"),
    ("em061k-noprofile", "enable one in another modem"),
    ("fm350-window-bare", "AT+GTDUALSIM=1"),
    ("sierra-em9191-reject", "use another modem"),
    ("nrf91-noprofile", "enable one in another modem"),
    ("huawei-finals", "use another modem"),
    ("wavecom-filter", "use another modem"),
    ("cinterion-mf-reset", "use another modem"),
    ("sierra-em7455-noprofile", "enable one in another modem"),
];

#[tokio::test(start_paused = true)]
async fn the_trouble_of_every_modem_is_named_with_what_helps() {
    let pki = Pki::generate(&PkiOptions::default()).unwrap();
    // One of them loses long answers, such as a list of profiles.
    let mut stock = Bed::with(Bench::with_pki(pki.clone()), "never").await;
    stock.install().await;
    stock.install().await;
    let long = stock.bench.card.memory();
    let mut wrong = Vec::new();
    for preset in Preset::ALL {
        let name = preset.name();
        let bench = Bench::with_pki(pki.clone());
        let quirk = format!("preset:{name}");
        bench.modem.set_quirks(|set| set.add(&quirk).unwrap());
        if name == "ec800g-6100" {
            bench.card.restore(long.clone());
        }
        let bed = Bed::booted(bench, "never").await;
        bed.euicc_when(EUICC, |euicc| {
            euicc.state == Availability::Ready || euicc.problem.is_some()
        })
        .await;
        tokio::time::sleep(std::time::Duration::from_secs(120)).await;
        let found: Examination = match bed.client.examine(EUICC).await {
            Ok(found) => found,
            Err(error) => panic!("{name}: {error}"),
        };
        let checks = checks::of(&found, "the port");
        let failed: Vec<_> = checks
            .iter()
            .filter(|check| check.verdict == Verdict::Failure)
            .collect();
        let helps = |check: &&&Check, words: &str| {
            let next = check.next_step.as_deref();
            next.is_some_and(|next| next.contains(words))
        };
        let trouble = TROUBLES.iter().find(|(of, _)| *of == name);
        let is_right = match trouble {
            Some((_, words)) => failed.iter().any(|check| helps(&check, words)),
            None => failed.is_empty() && !found.cut_off,
        };
        if !is_right {
            wrong.push(format!("{name}: {checks:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn a_modem_that_is_away_or_silent_is_told() {
    let bed = Bed::without_modem().await;
    let found = bed.client.examine(EUICC).await.unwrap();
    let problem = found.port_problem.as_ref().unwrap();
    assert_eq!(problem.code, Code::ModemUnavailable);
    let checks = checks::of(&found, "the port");
    let told: Vec<_> = checks
        .iter()
        .map(|check| (check.what, check.verdict))
        .collect();
    assert_eq!(
        told,
        [("Port", Verdict::Failure), ("Card", Verdict::NotLookedAt)]
    );
}

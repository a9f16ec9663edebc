//! `lpactl` as people and scripts use it: the real process, its output and its exit code.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::symlink;
use std::process::Stdio;
use std::time::Duration;

use es10_apdu::apdu::StatusWord;
use lpad::api::filter::OperationFilter;
use lpad::config::{BootstrapWhen, EuiccConfig};
use lpad::memory::operations::State;
use lpad::memory::snapshot::{Availability, FirstProfileState};
use lpad::problem::Code;
use lpad_tests::bed::{Bed, EUICC, asking, succeeded};
use lpad_tests::bench::HOST_NAME;
use rsp_servers::smdp::{Calls, Fault, Function, OrderRequest, OrderState};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;
use sim_card_emulator::euicc::{Forced, ForcedAnswer};
use sim_card_emulator::modem::{Moment, Pattern};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::time::{advance, pause, resume, timeout};

use crate::lpactl::{Run, Terminal, command, lpactl, lpactl_fed, run};

#[tokio::test]
async fn the_life_of_a_profile_on_the_command_line() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    said(
        lpactl(&bed, &["profile", "list"]).await,
        "No profile is installed. `lpactl download` brings one.\n",
    );
    let code = format!("LPA:1${HOST_NAME}$M-1");
    let done = lpactl(&bed, &["download", &code, "--yes"]).await;
    assert!(
        done.err.contains("\ninstalling 0 of 3387 bytes\n"),
        "{}",
        done.err
    );
    assert!(
        done.err.lines().all(|line| !line.contains('\r')),
        "{}",
        done.err
    );
    said(
        done,
        "Profile 1 (8901999000000000012) is installed; notifications delivered: 1.\n",
    );
    said(
        lpactl(&bed, &["profile", "enable", "Profile 1"]).await,
        "Profile 1 (8901999000000000012) is enabled; notifications delivered: 1.\n",
    );
    said(
        lpactl(&bed, &["profile", "enable", "8901999000000000012"]).await,
        "Profile 1 (8901999000000000012) was enabled already.\n",
    );
    said(
        lpactl(&bed, &["profile", "rename", "8901999000000000012", "Lager"]).await,
        "Lager (8901999000000000012) is renamed.\n",
    );
    let printed = lpactl(&bed, &["profile", "show", "8901999000000000012F"]).await;
    assert!(printed.out.contains("Lager"), "{printed:?}");
    said(
        lpactl(&bed, &["profile", "list"]).await,
        "ICCID                STATE    NAME   PROVIDER        CLASS\n\
         8901999000000000012  enabled  Lager  Example Mobile  operational\n",
    );
    let shown = lpactl(&bed, &["profile", "show", "Lager"]).await;
    for line in [
        "  Name       Profile 1\n",
        "  Nickname   Lager\n",
        "  State      enabled\n",
    ] {
        assert!(shown.out.contains(line), "{}", shown.out);
    }
    let refused = lpactl(&bed, &["profile", "delete", "Lager", "--yes"]).await;
    assert_eq!(refused.code, 1);
    assert!(
        refused.err.contains("The profile is enabled.\n"),
        "{}",
        refused.err
    );
    assert!(
        refused
            .err
            .contains("Disable it, or enable another profile, first."),
        "{}",
        refused.err
    );
    said(
        lpactl(&bed, &["profile", "disable", "Lager", "--force"]).await,
        "Lager (8901999000000000012) is disabled; notifications delivered: 1.\n",
    );
    said(
        lpactl(&bed, &["profile", "rename", "Lager", ""]).await,
        "The nickname Lager of Profile 1 (8901999000000000012) is removed.\n",
    );
    said(
        lpactl(&bed, &["profile", "rename", "Profile 1", ""]).await,
        "Profile 1 (8901999000000000012) has no nickname.\n",
    );
    said(
        lpactl(
            &bed,
            &["profile", "delete", "Profile 1", "--yes", "--force"],
        )
        .await,
        "Profile 1 (8901999000000000012) is deleted; notifications delivered: 1.\n",
    );
    said(
        lpactl(&bed, &["notification", "list"]).await,
        "No notification waits.\n",
    );
    bed.must_be_sound().await;
}

#[tokio::test]
async fn the_euicc_on_the_command_line() {
    let mut bed = Bed::start().await;
    said(
        lpactl(&bed, &["service"]).await,
        "  Service        not watched\n  Profile        none\n  Switches left  12\n",
    );
    let status = lpactl(&bed, &["status"]).await;
    let eid = bed.bench.eid();
    for line in [
        "default: ready\n",
        "  Enabled        none\n",
        "  Notifications  none waiting\n",
        &eid,
    ] {
        assert!(status.out.contains(line), "{}", status.out);
    }
    said(
        lpactl(&bed, &["euicc", "set-default-smdp", HOST_NAME]).await,
        "The default SM-DP+ is changed.\n",
    );
    let info = lpactl(&bed, &["euicc", "info"]).await;
    for line in [
        "  Default SM-DP+     smdp.example.com\n",
        "  Root SM-DS         lpa.ds.gsma.com\n",
        "  SGP.22             v2.5.0\n",
        &eid,
    ] {
        assert!(info.out.contains(line), "{}", info.out);
    }
    let nothing = lpactl(&bed, &["download", "--default", "--yes"]).await;
    assert_eq!(
        (nothing.code, &*nothing.out),
        (
            6,
            "Nothing to download: the SM-DP+ has no profile for this EID.\n"
        )
    );
    bed.install().await;
    let unasked = lpactl(&bed, &["euicc", "reset", "--operational"]).await;
    assert_eq!(
        (unasked.code, &*unasked.err),
        (2, "This cannot be undone: add --yes to confirm.\n")
    );
    let reset = ["euicc", "reset", "--operational", "--default-smdp", "--yes"];
    said(
        lpactl(&bed, &reset).await,
        "The eUICC is reset; notifications delivered: 1.\n",
    );
    said(
        lpactl(&bed, &["euicc", "reset", "--test", "--yes"]).await,
        "There was nothing to erase.\n",
    );
    let info = lpactl(&bed, &["euicc", "info"]).await;
    assert!(
        info.out.contains("  Default SM-DP+     none\n"),
        "{}",
        info.out
    );
    assert!(bed.client.profiles(EUICC).await.unwrap().is_empty());
    bed.must_be_sound().await;
}

#[tokio::test]
async fn codes_come_from_standard_input_and_from_files() {
    let mut bed = Bed::start().await;
    bed.order("STDIN");
    let code = |id: &str| format!("LPA:1${HOST_NAME}${id}\n");
    let done = lpactl_fed(
        &bed,
        &["download", "-", "--yes", "--enable"],
        &code("STDIN"),
    )
    .await;
    said(
        done,
        "Profile 1 (8901999000000000012) is installed and enabled; notifications delivered: 2.\n",
    );
    for id in ["FILE", "BOTH", "MISSING"] {
        let profile = bed.profile();
        bed.bench.smdp.create_order(OrderRequest {
            confirmation_code: Some("0815".into()),
            ..OrderRequest::with_matching_id(profile, id)
        });
    }
    let file = bed.folder().join("code");
    fs::write(&file, "0815\n").unwrap();
    let file = file.to_str().unwrap();
    let option = "--confirmation-code-file";
    let done = lpactl(
        &bed,
        &["download", code("FILE").trim(), "--yes", option, file],
    )
    .await;
    assert_eq!(done.code, 0, "{}", done.err);
    let both = code("BOTH");
    let arguments = ["download", both.trim(), "--yes", option, "-"];
    let done = lpactl_fed(&bed, &arguments, "0815\n").await;
    assert_eq!(done.code, 0, "{}", done.err);
    let twice = lpactl(&bed, &["download", "-", "--yes", option, "-"]).await;
    assert_eq!(twice.code, 2);
    assert_eq!(
        twice.err,
        "Standard input can hold only one of the codes.\n"
    );
    let nothing = lpactl(&bed, &["download", "-", "--yes"]).await;
    assert_eq!(
        (nothing.code, &*nothing.err),
        (2, "Standard input: its first line is empty.\n")
    );
    let missing = lpactl(&bed, &["download", code("MISSING").trim(), "--yes"]).await;
    assert_eq!(missing.code, 1);
    assert!(
        missing.err.contains("A confirmation code is needed.\n"),
        "{}",
        missing.err
    );
    assert!(
        missing.err.contains("--confirmation-code-file"),
        "{}",
        missing.err
    );
    let again = lpactl(
        &bed,
        &["download", code("MISSING").trim(), "--yes", option, file],
    )
    .await;
    assert_eq!(again.code, 0, "{}", again.err);
    bed.must_be_sound().await;
}

#[tokio::test]
async fn a_code_is_one_line_wherever_it_comes_from() {
    let mut bed = Bed::start().await;
    let profile = bed.profile();
    bed.bench.smdp.create_order(OrderRequest {
        confirmation_code: Some("0815".into()),
        ..OrderRequest::with_matching_id(profile, "M-1")
    });
    let folder = bed.folder().to_owned();
    let place = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let code = format!("1${HOST_NAME}$M-1");
    let option = "--confirmation-code-file";
    let pipe = place("pipe");
    mknodat(CWD, &*pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
    fs::write(place("long"), "1".repeat(5000)).unwrap();
    for (file, why) in [
        ("/dev/zero", "it is a device, not a file"),
        (&*pipe, "it is a pipe, not a file"),
        (&*place("long"), "it has more than 4096 bytes"),
        (&*place("missing"), "No such file or directory"),
    ] {
        let refused = lpactl(&bed, &["download", &code, "--yes", option, file]).await;
        assert_eq!(
            (refused.code, refused.err),
            (2, format!("{file}: {why}.\n"))
        );
    }
    assert!(bed.client.operations().await.unwrap().is_empty());
    // Its reader has the line and does not wait for more.
    fs::write(place("code"), "\u{feff} 0815 \r\nmore").unwrap();
    let arguments = ["download", "-", "--yes", option, &place("code")];
    let mut command = command(bed.client.socket(), &arguments);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let line = format!("\u{feff}{code}\r\n");
    stdin.write_all(line.as_bytes()).await.unwrap();
    let ended = timeout(Duration::from_secs(60), child.wait()).await;
    assert!(ended.expect("it ends").unwrap().success());
    drop(stdin);
    bed.must_be_sound().await;
}

#[tokio::test]
async fn what_is_done_and_cannot_be_shown_has_an_exit_code_of_its_own() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    for (json, state) in [(false, "enable"), (true, "disable")] {
        let mut arguments = vec!["profile", state, &iccid];
        arguments.extend(json.then_some("--json"));
        arguments.extend((state == "disable").then_some("--force"));
        let mut command = command(bed.client.socket(), &arguments);
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let child = command.stdout(full).stderr(Stdio::piped()).spawn();
        let ended = child.unwrap().wait_with_output().await.unwrap();
        assert_eq!(ended.status.code(), Some(8));
        assert!(String::from_utf8(ended.stderr).unwrap().ends_with(
            "It is done, but standard output cannot be written: No space left on device.\n"
        ));
        let profiles = bed.client.profiles(EUICC).await.unwrap();
        assert_eq!(profiles[0].state.name(), format!("{state}d"));
    }
    bed.must_be_sound().await;
}

#[tokio::test]
async fn json_is_the_apis_own_answer() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    let json = async |arguments: &[&str]| -> Value {
        let all = [&["--json"], arguments].concat();
        let run = lpactl(&bed, &all).await;
        assert_eq!((run.code, &*run.err), (0, ""), "{arguments:?}");
        run.json()
    };
    assert_eq!(json(&["status"]).await["euiccs"][0]["state"], "ready");
    assert_eq!(json(&["euicc", "info"]).await["eid"], bed.bench.eid());
    assert_eq!(
        json(&["profile", "list"]).await["profiles"][0]["iccid"],
        *iccid
    );
    assert_eq!(
        json(&["profile", "show", &iccid]).await["state"],
        "disabled"
    );
    assert_eq!(
        json(&["profile", "enable", &iccid]).await["state"],
        "succeeded"
    );
    assert_eq!(
        json(&["notification", "deliver"]).await["kind"],
        "deliver-notifications"
    );
    assert!(json(&["notification", "list"]).await["notifications"].is_array());
    assert_eq!(
        json(&["operation", "list"]).await["operations"][0]["kind"],
        "download"
    );
    assert_eq!(json(&["operation", "show", "1"]).await["id"], "1");
    assert_eq!(
        json(&["operation", "wait", "1"]).await["result"]["iccid"],
        *iccid
    );

    // A failure is the operation with its problem, and nothing else on standard output.
    let code = format!("1${HOST_NAME}$UNKNOWN");
    let failed = lpactl(&bed, &["--json", "download", &code, "--yes"]).await;
    assert_eq!(failed.code, 1);
    let problem = &failed.json()["problem"];
    assert_eq!(problem["code"], "matching-id-refused");
    assert_eq!(
        (&problem["sgp22"]["subject"], &problem["sgp22"]["reason"]),
        (&"8.2.6".into(), &"3.8".into())
    );
    let refused = lpactl(&bed, &["--json", "operation", "show", "99"]).await;
    assert_eq!(refused.code, 2);
    assert_eq!(refused.json()["code"], "unknown-operation");
}

#[tokio::test]
async fn operations_are_listed_shown_waited_for_and_cancelled() {
    let mut bed = Bed::start().await;
    said(
        lpactl(&bed, &["operation", "list"]).await,
        "Nothing has been done yet.\n",
    );
    bed.install().await;
    bed.download_id("UNKNOWN").await;
    let listed = lpactl(&bed, &["operation", "list"]).await;
    said(
        listed,
        "ID  EUICC    WHAT      STATE      OUTCOME\n\
         1   default  download  succeeded  Profile 1 (8901999000000000012) is installed\n\
         2   default  download  failed     The SM-DP+ does not know this activation code, or the code is \
         used up\n",
    );
    let shown = lpactl(&bed, &["operation", "show", "2"]).await;
    assert!(
        shown.out.contains("SM-DP+ says  8.2.6/3.8\n"),
        "{}",
        shown.out
    );
    let waited = lpactl(&bed, &["operation", "wait", "2"]).await;
    assert_eq!(waited.code, 1, "it tells how the operation ended");
    let late = lpactl(&bed, &["operation", "cancel", "1"]).await;
    assert_eq!(late.code, 1);
    assert!(
        late.err.starts_with("The operation has ended.\n"),
        "{}",
        late.err
    );

    let mut hold = bed
        .bench
        .modem
        .hold(Pattern::ANY, 1, Moment::BeforeExecution);
    let first = bed.client.deliver_notifications(EUICC).await.unwrap();
    hold.reached().await;
    let queued = bed.client.deliver_notifications(EUICC).await.unwrap();
    let id = queued.id.to_string();
    said(
        lpactl(&bed, &["operation", "cancel", &id]).await,
        &format!("Operation {id} is cancelled.\n"),
    );
    let cancelled = lpactl(&bed, &["operation", "wait", &id]).await;
    assert_eq!(cancelled.code, 5);
    hold.release();
    let ended = bed.client.wait(first.id).await.unwrap();
    succeeded(&ended);
    bed.must_be_sound().await;
}

#[tokio::test]
async fn events_are_a_line_each() {
    let mut bed = Bed::start().await;
    let mut events = command(bed.client.socket(), &["events", "--after", "0"]);
    let mut events = events.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(events.stdout.take().unwrap()).lines();
    bed.install().await;
    let mut seen = String::new();
    while !seen.contains("download: succeeded") {
        seen.push_str(&lines.next_line().await.unwrap().unwrap());
        seen.push('\n');
    }
    for text in [
        "eUICC default: ready",
        "operation 1 download: queued",
        "download: installing 0 of 3387 bytes",
    ] {
        assert!(seen.contains(text), "{seen}");
    }
}

#[tokio::test]
async fn of_two_euiccs_one_may_be_out_of_reach() {
    let mut bed = Bed::over_kernel_devices().await;
    bed.stop().await;
    let spare = EuiccConfig {
        name: "spare".into(),
        ..EuiccConfig::new("/dev/ttyNOWHERE")
    };
    bed.configuration().euiccs.push(spare);
    bed.resume().await;
    bed.install().await;

    let status = lpactl(&bed, &["status"]).await;
    assert_eq!(status.code, 7, "{status:?}");
    assert_eq!(status.err, "Not ready: spare is unavailable.\n");
    let ready = lpactl(&bed, &["--euicc", "default", "status"]).await;
    assert_eq!(ready.code, 0, "{ready:?}");
    assert!(!ready.out.contains("spare"), "{}", ready.out);
    let (ready, unavailable) = status.out.split_once("\nspare: ").unwrap();
    assert!(ready.contains("\ndefault: ready\n"), "{ready}");
    for text in ["unavailable for ", "/dev/ttyNOWHERE", "  Problem", "  Next"] {
        assert!(unavailable.contains(text), "{unavailable}");
    }
    // The one called default is meant when none is named.
    let listed = lpactl(&bed, &["profile", "list"]).await;
    assert!(listed.out.contains("Profile 1"), "{}", listed.out);
    let refused = lpactl(&bed, &["--euicc", "spare", "profile", "list"]).await;
    assert_eq!((refused.code, &*refused.out), (1, ""));
    assert!(
        refused.err.starts_with("The modem cannot be used.\n"),
        "{}",
        refused.err
    );
    let health = bed.client.health().await.unwrap();
    assert_eq!(health.status, "degraded");
    bed.must_be_sound().await;
}

#[tokio::test]
async fn a_port_that_lpad_itself_uses_is_not_blamed_on_another_program() {
    let mut bed = Bed::over_kernel_devices().await;
    bed.stop().await;
    let port = bed.configuration().euiccs[0].port.clone();
    let twin = bed.folder().join("twin");
    symlink(port, &twin).unwrap();
    let twin = EuiccConfig {
        name: "twin".into(),
        ..EuiccConfig::new(twin)
    };
    bed.configuration().euiccs.push(twin);
    bed.resume().await;
    let refused = bed
        .euicc_when("twin", |euicc| euicc.state == Availability::Unavailable)
        .await;
    let detail = refused.problem.unwrap().detail;
    assert!(detail.contains("lpad itself uses it"), "{detail}");
}

#[tokio::test]
async fn exit_codes_are_those_of_the_help() {
    let mut bed = Bed::start().await;
    let help = lpactl(&bed, &["--help"]).await;
    assert_eq!(help.code, 0);
    for line in [
        "  0  done",
        "  1  the operation failed, or the daemon refused it",
        "  2  the command line or a value in it cannot be used",
        "  3  the daemon cannot be reached",
        "  4  you may not do this",
        "  5  cancelled, declined, postponed or not answered in time",
        "  6  nothing to download",
        "  7  status: an eUICC cannot be used now",
        "  8  it is done, but standard output cannot be written",
    ] {
        assert!(help.out.contains(line), "{}", help.out);
    }
    bed.install().await;
    let unknown = format!("1${HOST_NAME}$UNKNOWN");
    let cases: [(&[&str], i32); 18] = [
        (&["--euicc", "a b", "profile", "list"], 2),
        (&["--euicc", "default?wait=0", "euicc", "info"], 2),
        (&["--euicc", "../other", "euicc", "reset", "--test"], 2),
        (&["--euicc", "nowhere", "operation", "show", "1"], 2),
        (&["--euicc", "nowhere", "events"], 2),
        (&["status"], 0),
        (&["download", &unknown, "--yes"], 1),
        (&["download", "--default", "--yes"], 6),
        (&["download", "no code", "--yes"], 2),
        (&["download", &unknown], 2),
        (&["profile", "delete", "Profile 1"], 2),
        (&["profile", "enable", "8901999000000009999"], 2),
        (&["operation", "show", "99"], 2),
        (&["--euicc", "other", "profile", "list"], 2),
        (&["--euicc", "other", "status"], 2),
        (&["--euicc", "other", "operation", "list"], 2),
        (&["euicc", "set-default-smdp", "no host"], 2),
        (&["dowload"], 2),
    ];
    for (arguments, code) in cases {
        let run = lpactl(&bed, arguments).await;
        assert_eq!(run.code, code, "{arguments:?}: {run:?}");
        assert_eq!(
            run.err.is_empty(),
            code == 0 && arguments[0] != "download",
            "{run:?}"
        );
    }
}

#[tokio::test]
async fn without_a_daemon_there_is_a_hint() {
    let mut bed = Bed::start().await;
    bed.stop().await;
    let gone = lpactl(&bed, &["status"]).await;
    assert_eq!((gone.code, &*gone.out), (3, ""));
    assert!(gone.err.contains("lpad.sock"), "{}", gone.err);
    assert!(gone.err.contains("systemctl status lpad"), "{}", gone.err);
    let mut by_environment = Command::new(env!("CARGO_BIN_EXE_demo"));
    by_environment
        .args(["lpactl", "status"])
        .env("LPAD_SOCKET", bed.client.socket());
    let by_environment = run(by_environment, "").await;
    assert_eq!(by_environment.err, gone.err);
}

#[tokio::test]
async fn without_a_terminal_a_download_must_be_told_to_accept() {
    let mut bed = Bed::start().await;
    let order = bed.order("M-1");
    let refused = lpactl(&bed, &["download", &format!("1${HOST_NAME}$M-1")]).await;
    assert_eq!(refused.code, 2);
    assert_eq!(
        refused.err,
        "There is no terminal to ask on: add --yes to accept the profile.\n"
    );
    let malformed = lpactl(&bed, &["download", "2$smdp.example.com$M-1"]).await;
    assert_eq!(malformed.code, 2);
    assert!(
        malformed
            .err
            .starts_with("The activation code cannot be read."),
        "{malformed:?}"
    );
    assert!(bed.client.operations().await.unwrap().is_empty());
    assert_eq!(bed.bench.smdp.order(order).unwrap().attempts(), 0);
}

#[tokio::test]
async fn a_person_sees_the_offer_and_the_bytes_and_decides() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    let code = format!("1${HOST_NAME}$M-1");
    let mut later = Terminal::run(&bed, &["download", &code]);
    later.shows("[later]: ").await;
    for line in [
        "This profile is offered:",
        "Example Mobile",
        "Profile 1",
        "8901999000000000012",
    ] {
        assert!(later.text().contains(line), "{}", later.text());
    }
    later.types("").await;
    later.shows("The profile was postponed.").await;
    later.shows("Code  not used up").await;
    assert_eq!(later.exit_code().await, 5);

    let mut now = Terminal::run(&bed, &["download", &code]);
    now.shows("[later]: ").await;
    now.types("yes").await;
    now.shows("is installed; notifications delivered: 1.").await;
    let (bar, bytes) = ("installing     [######", " bytes");
    assert!(
        now.text().contains(bar) && now.text().contains(bytes),
        "{:?}",
        now.text()
    );
    assert_eq!(now.exit_code().await, 0);

    let mut delete = Terminal::run(&bed, &["profile", "delete", "Profile 1"]);
    delete
        .shows("Delete Profile 1 (8901999000000000012) for ever? [yes/NO]: ")
        .await;
    delete.types("y").await;
    delete.shows("Nothing was changed.").await;
    assert_eq!(delete.exit_code().await, 5);
    assert_eq!(bed.client.profiles(EUICC).await.unwrap().len(), 1);
    bed.must_be_sound().await;
}

#[tokio::test]
async fn a_person_types_the_confirmation_code_unseen() {
    let mut bed = Bed::start().await;
    let profile = bed.profile();
    bed.bench.smdp.create_order(OrderRequest {
        confirmation_code: Some("0815".into()),
        ..OrderRequest::with_matching_id(profile, "M-1")
    });
    let mut person = Terminal::run(&bed, &["download", "-"]);
    person.shows("Activation code: ").await;
    let code = format!("1${HOST_NAME}$M-1$$1");
    person.types(&code).await;
    person.shows("[later]: ").await;
    assert!(!person.text().contains(&code), "{:?}", person.text());
    person.presses_octets(b"\xE4\n").await;
    person.shows("[later]: ").await;
    person.types("yes").await;
    person.shows("Confirmation code: ").await;
    person.types(" ").await;
    person.shows("Confirmation code: ").await;
    person.types("0815").await;
    person
        .shows("is installed; notifications delivered: 1.")
        .await;
    assert!(!person.text().contains("0815"), "{:?}", person.text());
    assert_eq!(person.exit_code().await, 0);
    bed.must_be_sound().await;
}

#[tokio::test]
async fn a_question_lets_go_at_ctrl_d_and_ctrl_c_and_the_order_stays() {
    let mut bed = Bed::start().await;
    let profile = bed.profile();
    let order = bed.bench.smdp.create_order(OrderRequest {
        confirmation_code: Some("0815".into()),
        ..OrderRequest::with_matching_id(profile, "M-1")
    });
    let code = format!("1${HOST_NAME}$M-1$$1");

    let mut person = Terminal::run(&bed, &["download", &code]);
    person.shows("[later]: ").await;
    person.presses(CTRL_D).await;
    person.shows("The profile was postponed.").await;
    assert_eq!(person.exit_code().await, 5);

    let mut person = Terminal::run(&bed, &["download", &code]);
    person.shows("[later]: ").await;
    person.interrupt().await;
    assert_eq!(person.exit_code().await, 130);

    for exit_code in [5, 130] {
        let mut person = Terminal::run(&bed, &["download", &code]);
        person.shows("[later]: ").await;
        person.types("yes").await;
        person.shows("Confirmation code: ").await;
        assert!(!person.echoes());
        match exit_code {
            130 => person.interrupt().await,
            _ => person.presses(CTRL_D).await,
        }
        person.ends().await;
        assert!(person.echoes());
        assert_eq!(person.exit_code().await, exit_code);
    }
    for operation in bed.client.operations().await.unwrap() {
        let ended = bed.client.wait(operation.id).await.unwrap();
        assert_eq!(ended.problem.unwrap().code, Code::Postponed);
    }
    assert_eq!(bed.bench.smdp.cancellations(), [1, 1, 1, 1]);
    assert_eq!(bed.order_state(order), OrderState::Released);
    bed.must_be_sound().await;
}

#[tokio::test]
async fn a_narrow_terminal_gets_whole_lines() {
    let mut bed = Bed::start().await;
    bed.install().await;
    for arguments in [
        &["profile", "list"][..],
        &["operation", "list"],
        &["status"],
    ] {
        let mut narrow = Terminal::of_width(40, &bed, arguments);
        narrow.ends().await;
        for line in narrow.text().lines() {
            assert!(line.trim_end().chars().count() <= 40, "{line}");
        }
        assert_eq!(narrow.exit_code().await, 0);
    }
    let listed = lpactl(&bed, &["profile", "list"]).await;
    assert!(listed.out.lines().all(|line| line.len() > 40), "{listed:?}");
}

#[tokio::test]
async fn an_operation_is_shown_with_the_times_of_the_person() {
    let mut bed = Bed::start().await;
    bed.install().await;
    let mut show = command(bed.client.socket(), &["operation", "show", "1"]);
    show.env("TZ", "XYZ-3");
    let shown = run(show, "").await;
    let ended = shown.out.lines().find(|line| line.starts_with("  Ended "));
    assert!(
        ended.is_some_and(|line| line.ends_with(" XYZ")),
        "{shown:?}"
    );
    let json = lpactl(&bed, &["--json", "operation", "show", "1"]).await;
    assert!(json.json()["finished_at_s"].is_u64(), "{json:?}");
}

#[tokio::test]
async fn a_word_that_is_nearly_right_comes_with_the_right_one() {
    let bed = Bed::start().await;
    let refused = lpactl(&bed, &["stauts"]).await;
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains("'status'"), "{refused:?}");
}

#[tokio::test]
async fn status_of_a_card_that_is_silent_comes_at_once_and_is_no_success() {
    let bed = Bed::without_modem().await;
    bed.bench.plug_in();
    let _hold = bed
        .bench
        .modem
        .hold(Pattern::ANY, 1, Moment::BeforeExecution);
    let status = timeout(Duration::from_secs(10), lpactl(&bed, &["status"])).await;
    let status = status.expect("it does not wait for the card");
    assert_eq!(status.code, 7, "{status:?}");
    assert!(
        status.err.starts_with("Not ready: default is "),
        "{status:?}"
    );
    assert!(
        status.out.contains("  Trying  opening ") || status.out.contains("  Retry "),
        "{status:?}"
    );
}

#[tokio::test]
async fn status_shows_the_card_that_is_there_now() {
    let mut bed = Bed::start().await;
    let first = bed.euicc_in(Availability::Ready).await.eid.unwrap();
    let status = lpactl(&bed, &["status"]).await;
    assert!(status.out.contains(&first), "{status:?}");
    let other = bed.bench.another_card(OTHER_EID);
    bed.bench.change_card(other);
    later().await;
    let status = lpactl(&bed, &["status"]).await;
    assert!(status.out.contains(OTHER_EID), "{status:?}");
    assert!(!status.out.contains(&first), "{status:?}");
    let json = lpactl(&bed, &["--json", "status"]).await;
    let list: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(list["euiccs"][0]["eid"], OTHER_EID);
}

#[tokio::test]
async fn status_of_a_card_that_fell_silent_tells_what_was_known_of_it() {
    let mut bed = Bed::start().await;
    bed.install().await;
    let _hold = bed
        .bench
        .modem
        .hold(Pattern::ANY, 1, Moment::BeforeExecution);
    later().await;
    let status = timeout(Duration::from_secs(10), lpactl(&bed, &["status"])).await;
    let status = status.expect("it waits only for a moment");
    assert_eq!(status.code, 0, "{status:?}");
    assert!(status.out.contains("  Profiles       1\n"), "{status:?}");
}

#[tokio::test]
async fn status_names_what_cannot_be_read_and_what_is_set_aside() {
    let mut bed = Bed::start().await;
    bed.bench
        .card
        .force(REMOVE_NOTIFICATION, 1, ForcedAnswer::Code(127));
    bed.install().await;
    let status = lpactl(&bed, &["status"]).await;
    let aside = "  Notifications  1 waiting, 1 set aside (see `lpactl notification list`)\n";
    assert!(status.out.contains(aside), "{status:?}");
    bed.stop().await;
    let forced = Forced {
        function: GET_PROFILES_INFO,
        call: None,
        answer: ForcedAnswer::Status(StatusWord(0x6A80)),
    };
    bed.bench.card.configure(|card| card.forced.push(forced));
    bed.resume().await;
    bed.euicc_in(Availability::Ready).await;
    let status = lpactl(&bed, &["status"]).await;
    assert_eq!(status.code, 0, "{status:?}");
    for line in [
        "  Profiles       unknown\n",
        "  Unknown        profile list: ",
    ] {
        assert!(status.out.contains(line), "{status:?}");
    }
}

#[tokio::test]
async fn status_tells_how_it_stands_with_the_first_profile() {
    let mut bed = Bed::start().await;
    let asked = Function::InitiateAuthentication;
    bed.bench
        .smdp
        .set_fault(asked, Calls::Every, Fault::CloseConnection);
    bed.stop().await;
    let bootstrap = &mut bed.configuration().euiccs[0].bootstrap;
    bootstrap.when = BootstrapWhen::Empty;
    bootstrap.default_smdp = Some(HOST_NAME.into());
    bootstrap.jitter_s = 0;
    bed.resume().await;
    let backs_off = async {
        let mut events = bed.client.events(None).await.unwrap();
        loop {
            let euicc = bed.client.euicc(EUICC).await.unwrap();
            let state = euicc.first_profile.map(|first_profile| first_profile.state);
            if state == Some(FirstProfileState::BackingOff) {
                return;
            }
            events.next().await.unwrap();
        }
    };
    timeout(Duration::from_secs(30), backs_off).await.unwrap();
    let status = lpactl(&bed, &["status"]).await;
    let (_, line) = status.out.split_once("  First profile  ").unwrap();
    let line = line.lines().next().unwrap();
    assert!(line.contains("0 of 12 attempts used, last: "), "{line}");
    bed.bench.smdp.clear_faults();
}

#[tokio::test]
async fn a_change_succeeds_though_the_events_have_too_many_readers() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    let mut readers = Vec::new();
    while let Ok(reader) = bed.client.events(None).await {
        readers.push(reader);
    }
    let enabled = lpactl(&bed, &["profile", "enable", &iccid]).await;
    assert_eq!(enabled.code, 0, "{enabled:?}");
    assert!(enabled.out.contains("is enabled"), "{enabled:?}");
    bed.order("M-1");
    let code = format!("1${HOST_NAME}$M-1");
    let done = lpactl(&bed, &["download", &code, "--yes"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.out.contains("Profile 2"), "{done:?}");
    drop(readers);
    bed.must_be_sound().await;
}

#[tokio::test]
async fn a_name_with_invisible_characters_is_shown_with_escapes() {
    let mut bed = Bed::start().await;
    let mut profile = bed.profile();
    profile.metadata.profile_name = "\u{202e}emcA\u{200b}".into();
    bed.bench
        .smdp
        .create_order(OrderRequest::with_matching_id(profile, "M-1"));
    let code = format!("1${HOST_NAME}$M-1");
    let shown = "\\u{202e}emcA\\u{200b}";
    let mut outputs = vec![lpactl(&bed, &["download", &code, "--yes"]).await];
    for arguments in [
        &["profile", "list"][..],
        &["profile", "show", "8901999000000000012"],
        &["operation", "list"],
        &["operation", "show", "1"],
    ] {
        outputs.push(lpactl(&bed, arguments).await);
    }
    for run in outputs {
        assert!(run.out.contains(shown), "{run:?}");
        assert!(!run.out.contains(['\u{202e}', '\u{200b}']), "{run:?}");
    }
    let json = lpactl(&bed, &["--json", "profile", "list"]).await.json();
    assert_eq!(json["profiles"][0]["name"], "\u{202e}emcA\u{200b}");
}

#[tokio::test]
async fn a_download_whose_lpactl_is_gone_is_postponed_at_once_and_others_are_told_who_is_asked() {
    let mut bed = Bed::start().await;
    let order = bed.order("M-1");
    let code = format!("1${HOST_NAME}$M-1");
    for signal in ["TERM", "KILL"] {
        let mut asked = Terminal::run(&bed, &["download", &code]);
        asked.shows("[later]: ").await;
        let filter = OperationFilter {
            state: Some(State::AwaitingAnswer),
            ..OperationFilter::default()
        };
        let asking = bed.client.operations_of(&filter).await;
        let asking = asking.unwrap().remove(0);
        let pid = asking.client.unwrap().pid.unwrap();
        assert_eq!(Some(pid), asked.pid());
        assert!(asking.asked_at_s.is_some());

        let mut behind = command(bed.client.socket(), &["notification", "deliver"]);
        let behind = behind.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut behind = behind.spawn().unwrap();
        let mut said = BufReader::new(behind.stderr.take().unwrap()).lines();
        let mut text = String::new();
        while !text.contains("operation cancel") {
            text.push_str(&said.next_line().await.unwrap().unwrap());
        }
        let id = asking.id;
        assert!(
            text.contains(&format!(
                "Operation {id} (download) comes first and waits for an answer from demo (process {pid}"
            )),
            "{text}"
        );
        assert!(text.contains(&format!("lpactl operation answer {id} accept")));

        let kill = Command::new("kill")
            .args([format!("-{signal}"), pid.to_string()])
            .status();
        assert!(kill.await.unwrap().success());
        let ended = timeout(Duration::from_secs(60), bed.client.wait(id)).await;
        let ended = ended.expect("it is postponed at once").unwrap();
        assert_eq!(ended.problem.unwrap().code, Code::Postponed);
        assert!(behind.wait().await.unwrap().success());
    }
    assert_eq!(bed.bench.smdp.cancellations(), [1, 1]);
    assert_eq!(bed.order_state(order), OrderState::Released);
    bed.must_be_sound().await;
}

#[tokio::test]
async fn a_question_can_be_answered_by_another_lpactl() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    let offered = bed.offered(&asking(&format!("1${HOST_NAME}$M-1"))).await;
    let id = offered.id.to_string();
    let answered = lpactl(&bed, &["operation", "answer", &id, "accept"]).await;
    assert_eq!(answered.code, 0, "{answered:?}");
    assert!(answered.out.contains("Profile 1"), "{answered:?}");
    let late = lpactl(&bed, &["operation", "answer", &id, "decline"]).await;
    assert_eq!(late.code, 1, "{late:?}");
}

#[tokio::test]
async fn a_list_of_a_card_that_is_gone_says_how_old_it_is() {
    let mut bed = Bed::start().await;
    bed.install().await;
    let now = lpactl(&bed, &["profile", "list"]).await;
    assert_eq!(now.err, "", "{now:?}");
    bed.bench.unplug();
    bed.euicc_in(Availability::Unavailable).await;
    for list in ["profile", "notification"] {
        let old = lpactl(&bed, &[list, "list"]).await;
        assert_eq!(old.code, 0, "{old:?}");
        assert!(old.err.starts_with("Note: This is "), "{old:?}");
        assert!(old.err.contains("the card cannot be read now"), "{old:?}");
    }
    let json = lpactl(&bed, &["--json", "profile", "list"]).await;
    let list: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(list["problem"]["code"], "modem-unavailable", "{list}");
    assert!(list["read_at_s"].is_u64(), "{list}");
    assert_eq!(json.err, "", "{json:?}");
}

#[tokio::test]
async fn a_name_that_means_several_profiles_is_refused_whatever_kind_of_name_it_is() {
    let mut bed = Bed::start().await;
    bed.install().await;
    bed.install().await;
    let renamed = lpactl(&bed, &["profile", "rename", "Profile 2", "Profile 1"]).await;
    assert_eq!(renamed.code, 0, "{renamed:?}");
    let refused = lpactl(&bed, &["profile", "delete", "Profile 1", "--yes"]).await;
    assert_eq!(refused.code, 2, "{refused:?}");
    assert_eq!(
        refused.err,
        "Several profiles are called \"Profile 1\"; use the ICCID.\n"
    );
    assert_eq!(bed.client.profiles(EUICC).await.unwrap().len(), 2);
    // The other one still has a name of its own.
    let deleted = lpactl(&bed, &["profile", "delete", "Profile 2", "--yes"]).await;
    assert_eq!(deleted.code, 0, "{deleted:?}");
}

#[tokio::test]
async fn what_is_known_of_an_euicc_is_shown_beside_what_is_not() {
    let mut bed = Bed::start().await;
    bed.stop().await;
    bed.bench.card.configure(|card| {
        card.forced.push(Forced {
            function: GET_CONFIGURED_ADDRESSES,
            call: None,
            answer: ForcedAnswer::Status(StatusWord(0x6A80)),
        });
    });
    bed.resume().await;
    let info = lpactl(&bed, &["euicc", "info"]).await;
    assert_eq!(info.code, 0, "{info:?}");
    assert!(info.out.contains("  EID "), "{info:?}");
    assert!(info.out.contains("  Unknown "), "{info:?}");
    assert!(!info.out.contains("Default SM-DP+"), "{info:?}");
}

/// So much later that the card is read again: what was read a moment ago is not.
async fn later() {
    pause();
    advance(Duration::from_secs(3)).await;
    resume();
}

/// It did what was asked, and said so in these words.
#[track_caller]
fn said(run: Run, words: &str) {
    assert_eq!((run.code, &*run.out), (0, words), "{}", run.err);
}

const CTRL_D: &str = "\x04";
const OTHER_EID: &str = "89049032123451234512345678909965";
/// RemoveNotificationFromList.
const REMOVE_NOTIFICATION: u32 = 0xBF30;
/// GetEuiccConfiguredAddresses.
const GET_CONFIGURED_ADDRESSES: u32 = 0xBF3C;
/// GetProfilesInfo.
const GET_PROFILES_INFO: u32 = 0xBF2D;

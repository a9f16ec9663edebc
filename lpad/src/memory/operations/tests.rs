//! An operation's life, in every order.

use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use es10_apdu::types::{PprIds, ProfileClass};
use tempfile::TempDir;

use super::*;
use crate::config::History;
use crate::failure::{JobFailure, PortFailure};
use crate::job::{Offer, Reply, Stage};
use crate::memory::events::Events;
use crate::memory::journal::Journal;
use crate::memory::state_folder::StateFolder;
use crate::problem::{Code, Problem};
use crate::runtime::clock::Clock;
use crate::secret::Secret;

/// The operations of a daemon that was never started before.
fn operations() -> Life {
    let folder = tempfile::tempdir().unwrap();
    let life = Life::begin(folder.path());
    Life {
        _folder: Some(folder),
        ..life
    }
}

/// One life of the daemon, as far as operations are concerned.
struct Life {
    operations: Operations,
    journal: SharedJournal,
    _state: StateFolder,
    _folder: Option<TempDir>,
}

impl Deref for Life {
    type Target = Operations;

    fn deref(&self) -> &Operations {
        &self.operations
    }
}

impl Life {
    fn begin(folder: &Path) -> Self {
        let state = StateFolder::hold(folder).unwrap();
        let journal = SharedJournal::new(Journal::open(&state).unwrap());
        Self {
            operations: Operations::new(
                Events::new(1),
                Clock::system(),
                journal.clone(),
                Problem::told,
            ),
            journal,
            _state: state,
            _folder: None,
        }
    }

    /// An operation that changes the card from now on.
    fn started(&self, kind: Kind, request: Option<RequestKey>) -> Ticket {
        let asked = Asked {
            request,
            ..Asked::by_lpad()
        };
        let ticket = self.operations.start("default", None, kind, asked);
        let ticket = ticket.unwrap();
        ticket.begin();
        let started = StartedOperation::new(ticket.id(), "default", kind);
        let record = Record::OperationStarted(started);
        self.journal.append(record).unwrap();
        ticket
    }
}

fn key(name: &str, uid: u32, body: &str) -> RequestKey {
    RequestKey::new(name, uid, "DELETE", "/v1/x", body.as_bytes())
}

fn under(request: RequestKey) -> Asked {
    Asked {
        request: Some(request),
        ..Asked::by_lpad()
    }
}

fn offer(confirmation_code_required: bool) -> Offer {
    Offer {
        iccid: "89000123456789012341".parse().unwrap(),
        service_provider: String::new(),
        profile_name: String::new(),
        class: ProfileClass::OPERATIONAL,
        policy_rules: PprIds::default(),
        policy_consent_required: false,
        confirmation_code_required,
    }
}

/// How far an operation was that ended with the daemon.
fn interruption(ended: &Operation) -> Option<Interruption> {
    match ended.failure.as_deref() {
        Some(JobFailure::Interrupted(how)) => Some(*how),
        _ => None,
    }
}

fn accept(code: Option<&str>) -> Answer {
    Answer {
        answer: Decision::Accept,
        confirmation_code: code.map(Secret::new),
    }
}

#[tokio::test]
async fn an_operation_goes_from_queued_to_succeeded() {
    let operations = operations();
    let ticket = operations
        .start("default", None, Kind::Enable, Asked::by_lpad())
        .unwrap();
    let id = ticket.id();
    assert_eq!(operations.find(id).unwrap().state, State::Queued);
    assert!(ticket.begin());
    ticket.stage(Stage::Enabling);
    assert_eq!(operations.find(id).unwrap().stage, Some(Stage::Enabling));
    ticket.succeed(Achievement::default());
    let ended = operations.wait(id, Duration::from_secs(60)).await.unwrap();
    assert_eq!(
        (ended.state, ended.stage),
        (State::Succeeded, Some(Stage::Done))
    );
    assert!(ended.finished_at_s.is_some());
}

#[tokio::test]
async fn a_ticket_that_is_dropped_ends_the_operation_as_interrupted() {
    let operations = operations();
    let ticket = operations
        .start("default", None, Kind::Enable, Asked::by_lpad())
        .unwrap();
    let id = ticket.id();
    drop(ticket);
    let ended = operations.find(id).unwrap();
    assert_eq!(interruption(&ended), Some(Interruption::Running));
}

#[tokio::test]
async fn a_queued_operation_is_cancelled_at_once_and_never_begins() {
    let operations = operations();
    let ticket = operations
        .start("default", None, Kind::Enable, Asked::by_lpad())
        .unwrap();
    assert_eq!(
        operations.cancel(ticket.id()).unwrap().state,
        State::Cancelled
    );
    assert!(!ticket.begin());
    assert_eq!(
        operations.cancel(ticket.id()),
        Err(OperationError::Ended(ticket.id()))
    );
}

#[tokio::test]
async fn a_running_operation_hears_that_it_is_cancelled() {
    let operations = operations();
    let ticket = operations
        .start("default", None, Kind::Download, Asked::by_lpad())
        .unwrap();
    ticket.begin();
    assert_eq!(
        operations.cancel(ticket.id()).unwrap().state,
        State::Running
    );
    ticket.cancelled().await;
    assert!(ticket.commit().is_err());
    let id = ticket.id();
    ticket.fail(JobFailure::Cancelled);
    assert_eq!(operations.find(id).unwrap().state, State::Cancelled);
}

#[tokio::test]
async fn past_the_point_of_no_return_it_can_no_longer_be_cancelled() {
    let operations = operations();
    let ticket = operations
        .start("default", None, Kind::Download, Asked::by_lpad())
        .unwrap();
    ticket.begin();
    assert!(ticket.commit().is_ok());
    assert!(!operations.find(ticket.id()).unwrap().cancellable);
    let refused = operations.cancel(ticket.id()).unwrap_err();
    assert_eq!(refused, OperationError::PastPointOfNoReturn(ticket.id()));
}

#[tokio::test(start_paused = true)]
async fn an_offer_waits_for_its_answer_and_wants_the_code_with_it() {
    let operations = operations();
    let ticket = operations
        .start("default", None, Kind::Download, Asked::by_lpad())
        .unwrap();
    let id = ticket.id();
    ticket.begin();
    let asking =
        tokio::spawn(async move { ticket.ask(offer(true), Duration::from_secs(300)).await });
    let asked = operations.wait(id, Duration::from_secs(1)).await.unwrap();
    assert_eq!(asked.state, State::AwaitingAnswer);
    assert!(asked.offer.unwrap().confirmation_code_required);
    let refused = operations.answer(id, accept(None), None).unwrap_err();
    assert_eq!(refused, OperationError::CodeMissing(id));
    operations.answer(id, accept(Some("1234")), None).unwrap();
    assert_eq!(asking.await.unwrap(), Reply::Answered(accept(Some("1234"))));
    let refused = operations.answer(id, accept(None), None).unwrap_err();
    assert_eq!(refused, OperationError::NotAsking(id));
}

#[tokio::test(start_paused = true)]
async fn an_offer_nobody_answers_times_out() {
    let operations = operations();
    let ticket = operations
        .start("default", None, Kind::Download, Asked::by_lpad())
        .unwrap();
    ticket.begin();
    let reply = ticket.ask(offer(false), Duration::from_secs(300)).await;
    assert_eq!(reply, Reply::TimedOut);
}

#[tokio::test]
async fn the_queue_of_an_euicc_is_bounded_and_names_its_holder() {
    let operations = operations();
    let tickets: Vec<Ticket> = (0..QUEUE_LENGTH)
        .map(|_| {
            operations
                .start("default", None, Kind::Enable, Asked::by_lpad())
                .unwrap()
        })
        .collect();
    let refused = operations
        .start("default", None, Kind::Enable, Asked::by_lpad())
        .unwrap_err();
    assert_eq!(refused, OperationError::QueueFull(tickets[0].id()));
    assert!(
        operations
            .start("other", None, Kind::Enable, Asked::by_lpad())
            .is_ok()
    );
}

#[tokio::test]
async fn a_repeated_request_finds_the_operation_it_started() {
    let operations = operations();
    let request = key("k", 0, "");
    assert_eq!(operations.repeated(&request), Ok(None));
    let ticket = operations
        .start("default", None, Kind::Enable, under(request.clone()))
        .unwrap();
    let found = operations.repeated(&request).unwrap().unwrap();
    assert_eq!(found.id, ticket.id());
    assert_eq!(
        operations.repeated(&key("k", 0, "other")),
        Err(OperationError::KeyReused(ticket.id()))
    );
    // Keys of different users have nothing to do with each other.
    assert_eq!(operations.repeated(&key("k", 1, "other")), Ok(None));
}

#[tokio::test]
async fn a_queued_operation_that_was_killed_is_told_as_never_begun_and_answers_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let life = Life::begin(folder.path());
    let request = key("k", 0, "");
    let ticket = life
        .operations
        .start("default", None, Kind::Rename, under(request.clone()));
    let id = ticket.as_ref().unwrap().id();
    // Killed: nothing of it is written.
    drop(life);
    drop(ticket);
    for _ in 0..3 {
        let life = Life::begin(folder.path());
        let known = life.operations.find(id).unwrap();
        assert_eq!((known.state, known.kind), (State::Failed, Kind::Rename));
        assert_eq!(interruption(&known), Some(Interruption::Queued));
        let found = life.operations.repeated(&request).unwrap().unwrap();
        assert_eq!(found.id, id);
        let next = life
            .operations
            .start("default", None, Kind::Delete, Asked::by_lpad());
        assert!(next.unwrap().id() > id);
    }
}

#[tokio::test]
async fn the_daemons_end_tells_what_waits_the_same_as_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let life = Life::begin(folder.path());
    let ticket = life
        .operations
        .start("default", None, Kind::Rename, Asked::by_lpad());
    let ticket = ticket.unwrap();
    let id = ticket.id();
    life.operations.end_all();
    assert!(!ticket.begin());
    let told = life.operations.find(id).unwrap();
    drop((ticket, life));
    let after = Life::begin(folder.path()).operations.find(id).unwrap();
    assert_eq!(
        (after.state, interruption(&after)),
        (told.state, interruption(&told))
    );
}

#[tokio::test]
async fn what_was_done_is_not_done_again_for_the_same_key_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let life = Life::begin(folder.path());
    let done = life.started(Kind::Delete, Some(key("done", 0, "")));
    let id = done.id();
    done.succeed(Achievement::default());
    let failed = life.started(Kind::Delete, Some(key("failed", 0, "")));
    let failed_id = failed.id();
    failed.fail(JobFailure::NoDefaultSmdp);
    drop(life);
    let life = Life::begin(folder.path());
    for (name, id, state) in [
        ("done", id, State::Succeeded),
        ("failed", failed_id, State::Failed),
    ] {
        let found = life.operations.repeated(&key(name, 0, "")).unwrap();
        let found = found.unwrap();
        assert_eq!((found.id, found.state), (id, state));
        assert_eq!(
            life.operations.repeated(&key(name, 0, "other")),
            Err(OperationError::KeyReused(id))
        );
    }
}

#[tokio::test]
async fn how_operations_ended_is_told_after_every_restart() {
    let folder = tempfile::tempdir().unwrap();
    let life = Life::begin(folder.path());
    let done = life.started(Kind::Delete, None);
    let failed = life.started(Kind::Download, None);
    let cancelled = life
        .operations
        .start("default", None, Kind::Enable, Asked::by_lpad());
    let never_begun = life
        .operations
        .start("default", None, Kind::Rename, Asked::by_lpad());
    let (cancelled, never_begun) = (cancelled.unwrap(), never_begun.unwrap());
    let ids = [done.id(), failed.id(), cancelled.id(), never_begun.id()];
    let achieved = Achievement {
        iccid: "89000123456789012341".parse().ok(),
        profile_name: Some("Acme IoT".into()),
        enabled: Some(false),
        nothing_to_download: true,
        nothing_to_change: true,
        notifications_delivered: 2,
        notifications_pending: 1,
        warnings: vec!["Not all of it.".into()],
        details_unknown: false,
    };
    done.succeed(achieved);
    failed.stage(Stage::Authenticating);
    failed.progress(Progress { done: 1, total: 2 });
    failed.fail(JobFailure::NoDefaultSmdp);
    life.operations.cancel(cancelled.id()).unwrap();
    let told = ids.map(|id| life.operations.find(id).unwrap());
    // Killed: nothing is written of the last one.
    drop((life, cancelled, never_begun));
    for _ in 0..3 {
        let life = Life::begin(folder.path());
        let known = ids.map(|id| life.operations.find(id).unwrap());
        let [done, failed, cancelled, never_begun] = &known;
        let [told_done, told_failed, told_cancelled, told_never_begun] = &told;
        assert_eq!(done, told_done);
        let problem = |operation: &Operation| operation.failure.as_deref().map(Problem::from);
        assert_eq!(problem(failed), problem(told_failed));
        let without_failure = |operation: &Operation| Operation {
            failure: None,
            ..operation.clone()
        };
        assert_eq!(without_failure(failed), without_failure(told_failed));
        assert_eq!(problem(cancelled), problem(told_cancelled));
        assert_eq!(without_failure(cancelled), without_failure(told_cancelled));
        assert_eq!(interruption(never_begun), Some(Interruption::Queued));
        assert_eq!(never_begun.created_at_s, told_never_begun.created_at_s);
        assert!(never_begun.finished_at_s.is_some() && !never_begun.cancellable);
    }
}

#[tokio::test]
async fn of_an_end_that_an_older_lpad_wrote_nothing_is_claimed() {
    let folder = tempfile::tempdir().unwrap();
    let life = Life::begin(folder.path());
    let ends = [Ending::Succeeded, Ending::Failed];
    let ids = ends.map(|ending| {
        let ticket = life.started(Kind::Download, None);
        life.journal.note(Record::OperationFinished {
            operation: ticket.id(),
            ending: Some(ending),
            details: EndDetails::default(),
        });
        ticket.id()
    });
    drop(life);
    for _ in 0..2 {
        let life = Life::begin(folder.path());
        let [done, failed] = ids.map(|id| life.operations.find(id).unwrap());
        assert_eq!(done.state, State::Succeeded);
        let nothing = Achievement {
            details_unknown: true,
            ..Achievement::default()
        };
        assert_eq!(done.result, Some(nothing));
        let problem = Problem::from(&**failed.failure.as_ref().unwrap());
        assert_eq!(problem.code, Code::FailedEarlier);
        assert!(
            problem.detail.ends_with("its reason was not kept."),
            "{problem}"
        );
        // It was not before it was asked for.
        assert_eq!(done.finished_at_s, Some(done.created_at_s));
        assert_eq!(failed.finished_at_s, Some(failed.created_at_s));
    }
}

#[tokio::test]
async fn the_journal_keeps_few_words_and_no_code_that_somebody_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let life = Life::begin(folder.path());
    let ticket = life.started(Kind::Download, None);
    ticket.keeps_secret(vec![Secret::new("M-SECRET"), Secret::default()]);
    ticket.succeed(Achievement {
        warnings: vec!["M-SECRET ".repeat(1000)],
        ..Achievement::default()
    });
    drop(life);
    let journal = std::fs::read_to_string(folder.path().join("journal.ndjson")).unwrap();
    assert!(!journal.contains("M-SECRET"), "{journal}");
    assert!(journal.contains("… … "), "{journal}");
    assert!(journal.len() < 3000, "{journal}");
}

#[tokio::test]
async fn when_the_numbers_are_used_up_nothing_more_is_begun() {
    let folder = tempfile::tempdir().unwrap();
    let life = Life::begin(folder.path());
    let operation = OperationId(u64::MAX - 1);
    life.journal.note(Record::LastOperation { operation });
    drop(life);
    let life = Life::begin(folder.path());
    let last = life
        .operations
        .start("default", None, Kind::Delete, Asked::by_lpad());
    assert_eq!(last.unwrap().id(), OperationId(u64::MAX));
    let refused = life
        .operations
        .start("default", None, Kind::Delete, Asked::by_lpad());
    assert!(matches!(refused, Err(OperationError::Unwritable(_))));
}

#[tokio::test]
async fn what_ended_before_a_restart_is_no_event_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let life = Life::begin(folder.path());
    life.started(Kind::Delete, None)
        .succeed(Achievement::default());
    drop(life);
    let life = Life::begin(folder.path());
    let mut follower = life.operations.shared.events.follow(Some(0));
    let next = life
        .operations
        .start("default", None, Kind::Enable, Asked::by_lpad());
    let Change::Operation(first) = follower.next().await.unwrap().change else {
        panic!("no operation");
    };
    assert_eq!(first.id, next.unwrap().id());
}

#[tokio::test]
async fn what_was_under_way_runs_until_the_card_has_told_and_keeps_those_who_watch() {
    let folder = tempfile::tempdir().unwrap();
    let life = Life::begin(folder.path());
    let request = key("k", 0, "");
    let ticket = life.started(Kind::Delete, Some(request.clone()));
    let id = ticket.id();
    drop((ticket, life));
    let life = Life::begin(folder.path());
    let running = life.operations.repeated(&request).unwrap().unwrap();
    assert_eq!((running.id, running.state), (id, State::Running));
    assert!(!running.cancellable);
    let waiting = life.operations.clone();
    let waiting = tokio::spawn(async move { waiting.wait(id, Duration::from_secs(60)).await });
    tokio::task::yield_now().await;
    life.operations.restore(Operation {
        state: State::Succeeded,
        ..running
    });
    let told = waiting.await.unwrap().unwrap();
    assert_eq!(told.state, State::Succeeded);
    assert!(life.journal.look(|intent| intent.operations.is_empty()));
    let again = life.operations.repeated(&request).unwrap().unwrap();
    assert_eq!(again.state, State::Succeeded);
}

#[tokio::test]
async fn an_operation_in_doubt_stays_open_and_changes_when_the_card_has_told() {
    let life = operations();
    let ticket = life.started(Kind::Delete, None);
    let id = ticket.id();
    let gone = || JobFailure::from(PortFailure::Gone);
    ticket.fail(JobFailure::in_doubt(gone(), Some(gone())));
    let failed = life.operations.find(id).unwrap();
    assert_eq!(failed.state, State::Failed);
    assert!(
        life.journal
            .look(|intent| intent.operations.contains_key(&id))
    );
    let mut watching = life.operations.watch(id).unwrap();
    let resumed = life.operations.resume(failed);
    assert_eq!(watching.borrow_and_update().state, State::Running);
    resumed.succeed(Achievement::default());
    assert!(watching.has_changed().unwrap());
    assert_eq!(watching.borrow().state, State::Succeeded);
    assert!(life.journal.look(|intent| intent.operations.is_empty()));
}

#[tokio::test]
async fn a_dropped_ticket_leaves_the_journal_open() {
    let life = operations();
    let ticket = life.started(Kind::Delete, None);
    let id = ticket.id();
    drop(ticket);
    assert_eq!(life.operations.find(id).unwrap().state, State::Failed);
    assert!(
        life.journal
            .look(|intent| intent.operations.contains_key(&id))
    );
}

#[tokio::test]
async fn an_operation_left_on_another_card_is_told_and_stays_open() {
    let life = operations();
    let ticket = life.started(Kind::Delete, None);
    let id = ticket.id();
    // As after a restart, when nobody holds it.
    std::mem::forget(ticket);
    let eid = "89049032123451234512345678901235".parse().ok();
    let started = StartedOperation {
        eid,
        ..StartedOperation::new(id, "default", Kind::Delete)
    };
    life.operations.leave(&started);
    let left = life.operations.find(id).unwrap();
    assert_eq!(left.state, State::Failed);
    assert_eq!(interruption(&left), Some(Interruption::CardAway(eid)));
    assert!(
        life.journal
            .look(|intent| intent.operations.contains_key(&id))
    );
}

#[tokio::test]
async fn an_operation_that_goes_on_behind_another_port_is_not_left() {
    let life = operations();
    let id = life.started(Kind::Download, None).id();
    let ticket = life.operations.resume(life.operations.find(id).unwrap());
    let started = StartedOperation {
        eid: "89049032123451234512345678901235".parse().ok(),
        ..StartedOperation::new(id, "default", Kind::Download)
    };
    life.operations.leave(&started);
    assert_eq!(life.operations.find(id).unwrap().state, State::Running);
    ticket.succeed(Achievement::default());
}

#[tokio::test]
async fn an_operation_whose_number_cannot_be_kept_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let life = Life::begin(&state);
    std::fs::remove_dir_all(&state).unwrap();
    std::fs::write(&state, "").unwrap();
    let refused = life
        .operations
        .start("default", None, Kind::Delete, Asked::by_lpad());
    assert!(matches!(refused, Err(OperationError::Unwritable(_))));
    assert!(life.operations.list().is_empty());
    std::fs::remove_file(&state).unwrap();
    let started = life
        .operations
        .start("default", None, Kind::Delete, Asked::by_lpad());
    assert_eq!(started.unwrap().id(), OperationId(1));
}

#[tokio::test]
async fn only_the_latest_operations_are_kept() {
    let operations = operations();
    let history = History::MOST.operations;
    for _ in 0..history + 3 {
        operations
            .start("default", None, Kind::Enable, Asked::by_lpad())
            .unwrap()
            .succeed(Achievement::default());
    }
    assert_eq!(operations.list().len(), history);
    assert_eq!(
        operations.find(OperationId(3)),
        Err(OperationError::Unknown(OperationId(3)))
    );
}

#[tokio::test]
async fn of_many_stages_the_latest_are_kept_and_none_is_told_twice_in_a_row() {
    let folder = tempfile::tempdir().unwrap();
    let life = Life::begin(folder.path());
    let ticket = life.started(Kind::Enable, None);
    let id = ticket.id();
    for _ in 0..100 {
        for stage in [Stage::Verifying, Stage::Verifying, Stage::Returning] {
            ticket.stage(stage);
        }
    }
    ticket.succeed(Achievement::default());
    let told = life.operations.find(id).unwrap();
    assert_eq!(told.stages.len(), STAGES_KEPT);
    let mut stages = told.stages.iter().rev().map(|entry| entry.stage);
    assert_eq!(stages.next(), Some(Stage::Done));
    assert!(
        stages
            .clone()
            .step_by(2)
            .all(|stage| stage == Stage::Returning)
    );
    assert!(
        stages
            .skip(1)
            .step_by(2)
            .all(|stage| stage == Stage::Verifying)
    );
    drop(life);
    let life = Life::begin(folder.path());
    assert_eq!(life.operations.find(id).unwrap(), told);
}

#[tokio::test]
async fn one_that_is_in_doubt_is_known_until_the_card_has_told_however_many_end_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let life = Life::begin(folder.path());
    let doubt = life.started(Kind::Delete, Some(key("k", 0, "")));
    let id = doubt.id();
    doubt.stage(Stage::Deleting);
    drop(doubt);
    for _ in 0..2 * History::MOST.operations {
        life.started(Kind::Rename, None)
            .succeed(Achievement::default());
    }
    let known = life.operations.repeated(&key("k", 0, "")).unwrap().unwrap();
    assert_eq!((known.id, known.state), (id, State::Failed));
    life.operations.restore(Operation {
        state: State::Succeeded,
        result: Some(Achievement::default()),
        failure: None,
        finished_at_s: Some(u64::MAX),
        ..Operation::new(id, "default", Kind::Delete)
    });
    let told = life.operations.find(id).unwrap();
    assert_eq!((told.state, told.by_itself), (State::Succeeded, true));
    let stages: Vec<_> = told.stages.iter().map(|entry| entry.stage).collect();
    assert_eq!(stages, [Stage::Deleting, Stage::Done]);
}

#[tokio::test]
async fn bytes_are_events_only_once_per_percent() {
    let operations = operations();
    let events = operations.shared.events.clone();
    let mut follower = events.follow(Some(0));
    let ticket = operations
        .start("default", None, Kind::Download, Asked::by_lpad())
        .unwrap();
    for done in 0..=10_000 {
        ticket.progress(Progress {
            done,
            total: 10_000,
        });
    }
    drop(ticket);
    let mut count = 0;
    loop {
        let event = follower.next().await.unwrap();
        count += 1;
        let Change::Operation(operation) = event.change else {
            panic!("{event:?}");
        };
        if operation.state == State::Failed {
            break;
        }
    }
    assert_eq!(count, 1 + 101 + 1);
}

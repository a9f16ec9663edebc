//! An operation's life, in every order.

use std::time::Duration;

use super::*;
use crate::job::Reply;
use crate::memory::events::Events;
use crate::problem::Code;
use crate::runtime::clock::Clock;
use crate::secret::Secret;

fn operations() -> Operations {
    Operations::new(Events::new(1), Clock::system(), OperationId(0))
}

fn offer(confirmation_code_required: bool) -> Offer {
    Offer {
        confirmation_code_required,
        ..Offer::default()
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
    let ticket = operations.start("default", Kind::Enable, None).unwrap();
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
    let ticket = operations.start("default", Kind::Enable, None).unwrap();
    let id = ticket.id();
    drop(ticket);
    let ended = operations.find(id).unwrap();
    assert_eq!(ended.problem.unwrap().code, Code::Interrupted);
}

#[tokio::test]
async fn a_queued_operation_is_cancelled_at_once_and_never_begins() {
    let operations = operations();
    let ticket = operations.start("default", Kind::Enable, None).unwrap();
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
    let ticket = operations.start("default", Kind::Download, None).unwrap();
    ticket.begin();
    assert_eq!(
        operations.cancel(ticket.id()).unwrap().state,
        State::Running
    );
    ticket.cancelled().await;
    assert!(ticket.commit().is_err());
    let id = ticket.id();
    ticket.fail(Problem::new(Code::Cancelled));
    assert_eq!(operations.find(id).unwrap().state, State::Cancelled);
}

#[tokio::test]
async fn past_the_point_of_no_return_it_can_no_longer_be_cancelled() {
    let operations = operations();
    let ticket = operations.start("default", Kind::Download, None).unwrap();
    ticket.begin();
    assert!(ticket.commit().is_ok());
    assert!(!operations.find(ticket.id()).unwrap().cancellable);
    let refused = operations.cancel(ticket.id()).unwrap_err();
    assert_eq!(refused, OperationError::PastPointOfNoReturn(ticket.id()));
}

#[tokio::test(start_paused = true)]
async fn an_offer_waits_for_its_answer_and_wants_the_code_with_it() {
    let operations = operations();
    let ticket = operations.start("default", Kind::Download, None).unwrap();
    let id = ticket.id();
    ticket.begin();
    let asking =
        tokio::spawn(async move { ticket.ask(offer(true), Duration::from_secs(300)).await });
    let asked = operations.wait(id, Duration::from_secs(1)).await.unwrap();
    assert_eq!(asked.state, State::AwaitingAnswer);
    assert!(asked.offer.unwrap().confirmation_code_required);
    let refused = operations.answer(id, accept(None)).unwrap_err();
    assert_eq!(refused, OperationError::CodeMissing(id));
    operations.answer(id, accept(Some("1234"))).unwrap();
    assert_eq!(asking.await.unwrap(), Reply::Answered(accept(Some("1234"))));
    let refused = operations.answer(id, accept(None)).unwrap_err();
    assert_eq!(refused, OperationError::NotAsking(id));
}

#[tokio::test(start_paused = true)]
async fn an_offer_nobody_answers_times_out() {
    let operations = operations();
    let ticket = operations.start("default", Kind::Download, None).unwrap();
    ticket.begin();
    let reply = ticket.ask(offer(false), Duration::from_secs(300)).await;
    assert_eq!(reply, Reply::TimedOut);
}

#[tokio::test]
async fn the_queue_of_an_euicc_is_bounded_and_names_its_holder() {
    let operations = operations();
    let tickets: Vec<Ticket> = (0..QUEUE_LENGTH)
        .map(|_| operations.start("default", Kind::Enable, None).unwrap())
        .collect();
    let refused = operations.start("default", Kind::Enable, None).unwrap_err();
    assert_eq!(refused, OperationError::QueueFull(tickets[0].id()));
    assert!(operations.start("other", Kind::Enable, None).is_ok());
}

#[tokio::test]
async fn a_repeated_request_finds_the_operation_it_started() {
    let operations = operations();
    let request = RequestKey {
        key: "k".into(),
        digest: [1; 32],
    };
    assert_eq!(operations.repeated(&request), Ok(None));
    let ticket = operations
        .start("default", Kind::Enable, Some(request.clone()))
        .unwrap();
    let found = operations.repeated(&request).unwrap().unwrap();
    assert_eq!(found.id, ticket.id());
    let other = RequestKey {
        digest: [2; 32],
        ..request
    };
    assert_eq!(
        operations.repeated(&other),
        Err(OperationError::KeyReused(ticket.id()))
    );
}

#[tokio::test]
async fn only_the_latest_operations_are_kept() {
    let operations = operations();
    for _ in 0..HISTORY_KEPT + 3 {
        operations
            .start("default", Kind::Enable, None)
            .unwrap()
            .succeed(Achievement::default());
    }
    assert_eq!(operations.list().len(), HISTORY_KEPT);
    assert_eq!(
        operations.find(OperationId(3)),
        Err(OperationError::Unknown(OperationId(3)))
    );
}

#[tokio::test]
async fn bytes_are_events_only_once_per_percent() {
    let events = Events::new(1);
    let operations = Operations::new(events.clone(), Clock::system(), OperationId(0));
    let mut follower = events.follow(Some(0));
    let ticket = operations.start("default", Kind::Download, None).unwrap();
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
        if event.data["state"] == "failed" {
            break;
        }
    }
    assert_eq!(count, 1 + 101 + 1);
}

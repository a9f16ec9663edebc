use std::sync::Mutex;

use tokio::time::sleep;

use super::*;
use crate::transport::script::Script;
use crate::transport::{DeviceRefusal, DeviceRefusalKind, Fault, Garbled, TransportError};

const SECOND: Duration = Duration::from_secs(1);
const SELECT: &str = "01A4040002A0B0";

#[derive(Debug, Default)]
struct Record(Mutex<Vec<RecordedChannel>>);

impl ChannelRecord for Record {
    fn open_channels(&self) -> Vec<RecordedChannel> {
        self.0.lock().unwrap().clone()
    }

    fn opened(&self, place: &Place) {
        let recorded = RecordedChannel {
            place: place.clone(),
            selected: false,
        };
        self.0.lock().unwrap().push(recorded);
    }

    fn selected(&self, place: &Place) {
        let mut open = self.0.lock().unwrap();
        let recorded = open.iter_mut().find(|open| open.place == *place);
        recorded.unwrap().selected = true;
    }

    fn closed(&self, place: &Place) {
        self.0.lock().unwrap().retain(|open| open.place != *place);
    }
}

async fn open<'s>(
    script: &'s mut Script,
    record: &Arc<Record>,
) -> Result<LogicalChannel<&'s mut Script>, OpenError> {
    let application = Application {
        aids: vec![Aid::from_octets(&[0xA0, 0xB0]).unwrap()],
        proof: proof(),
    };
    let link = LinkOptions::default();
    LogicalChannel::open(script, &application, &link, Some(record.clone())).await
}

fn place(number: u8) -> Place {
    Place::Channel(Channel::new(number).unwrap())
}

fn proof() -> Proof {
    Proof {
        question: Command::new(0x80, 0xE2, 0x91, 0x00),
        answer: vec![0xBF, 0x3E],
    }
}

#[tokio::test]
async fn an_opened_channel_is_remembered_until_it_is_closed() {
    let record = Arc::new(Record::default());
    for select in ["9000", "6121", "6F0284009000"] {
        let mut script = Script::new([
            ("0070000001", "019000"),
            (SELECT, select),
            ("0070800100", "9000"),
        ]);
        let channel = open(&mut script, &record).await.unwrap();
        let selected = RecordedChannel {
            place: channel.place().clone(),
            selected: true,
        };
        assert_eq!(record.open_channels(), [selected]);
        channel.close().await.unwrap();
        assert_eq!(record.open_channels(), []);
        script.finish();
    }
}

#[tokio::test]
async fn a_channel_without_the_application_is_closed_again() {
    let record = Arc::new(Record::default());
    let mut script = Script::new([
        ("0070000001", "019000"),
        (SELECT, "6A82"),
        ("0070800100", "9000"),
    ]);
    let error = open(&mut script, &record).await.unwrap_err();
    let sw = StatusWord::NOT_FOUND;
    assert_eq!(error, OpenError::Select { sw });
    assert_eq!(error.outcome(), Outcome::Refused);
    assert_eq!(record.open_channels(), []);
    script.finish();
}

#[tokio::test(start_paused = true)]
async fn a_modem_that_fails_at_the_first_command_on_a_channel_is_asked_again() {
    let record = Arc::new(Record::default());
    let refusal = DeviceRefusal::new(DeviceRefusalKind::Other, &"phone failure");
    let mut script = Script::new([("0070000001", "019000")])
        .then_lost(SELECT, Fault::Device(refusal))
        .then(SELECT, "9000");
    open(&mut script, &record).await.unwrap();
    script.finish();
}

#[tokio::test]
async fn channels_above_three_use_the_further_coding() {
    let record = Arc::new(Record::default());
    let mut script = Script::new([
        ("0070000001", "6C01"),
        ("0070000001", "059000"),
        ("41A4040002A0B0", "9000"),
        ("C1E2910001BF", "6103"),
        ("C1C0000003", "BF2E009000"),
        ("0070800500", "9000"),
    ]);
    let mut channel = open(&mut script, &record).await.unwrap();
    let command = Command {
        data: vec![0xBF],
        ..Command::new(0x80, 0xE2, 0x91, 0x00)
    };
    let response = channel.transmit(command, SECOND.into()).await.unwrap();
    assert_eq!(response.data, [0xBF, 0x2E, 0x00]);
    channel.close().await.unwrap();
    script.finish();
}

#[tokio::test]
async fn without_a_free_channel_the_own_leak_is_closed_before_anything_else() {
    let record = Arc::new(Record::default());
    record.opened(&place(2));
    let mut script = Script::new([
        ("0070000001", "6A81"),
        ("0070800200", "9000"),
        ("0070000001", "029000"),
        ("02A4040002A0B0", "9000"),
    ]);
    open(&mut script, &record).await.unwrap();
    script.finish();
}

#[tokio::test]
async fn without_a_free_channel_and_a_leak_the_first_three_are_closed() {
    let record = Arc::new(Record::default());
    let mut script = Script::new([
        ("0070000001", "6881"),
        ("0070800100", "6881"),
        ("0070800200", "9000"),
        ("0070800300", "6881"),
        ("0070000001", "6A81"),
    ]);
    let error = open(&mut script, &record).await.unwrap_err();
    let sw = StatusWord::FUNCTION_NOT_SUPPORTED;
    assert_eq!(error, OpenError::ManageChannel { sw });
    script.finish();
}

#[tokio::test]
async fn an_earlier_process_s_channels_are_closed_and_nothing_else() {
    let record = Record::default();
    record.opened(&place(3));
    let mut script = Script::new([("0070800300", "6881")]);
    close_recorded(&mut script, &record, &proof(), &LinkOptions::default())
        .await
        .unwrap();
    assert_eq!(record.open_channels(), []);
    script.finish();
}

#[tokio::test]
async fn a_channel_the_modem_does_not_let_be_closed_stays_remembered() {
    let record = Record::default();
    record.opened(&place(3));
    let refusal = DeviceRefusal::new(DeviceRefusalKind::Other, &"ERROR");
    let error = Fault::Device(refusal);
    let mut script = Script::default().then_lost("0070800300", error);
    close_recorded(&mut script, &record, &proof(), &LinkOptions::default())
        .await
        .unwrap();
    let kept = RecordedChannel {
        place: place(3),
        selected: false,
    };
    assert_eq!(record.open_channels(), [kept]);
    script.finish();
}

async fn gather(script: &mut Script) -> Result<Response, TransportError> {
    let command = Command::new(0x81, 0xE2, 0x91, 0x00);
    exchange(script, &command, GetResponseClass::AsCommand, SECOND.into()).await
}

#[tokio::test]
async fn a_response_in_pieces_is_put_together() {
    let mut script = Script::new([
        ("81E29100", "AA6100"),
        ("81C0000000", "BBCC6101"),
        ("81C0000001", "6C02"),
        ("81C0000002", "DDEE910B"),
    ]);
    let response = gather(&mut script).await.unwrap();
    assert_eq!(response.data, [0xAA, 0xBB, 0xCC, 0xDD, 0xEE]);
    assert_eq!(response.sw, StatusWord(0x910B));
    script.finish();
}

#[tokio::test]
async fn a_card_that_announces_data_and_gives_none_is_not_asked_forever() {
    let mut script = Script::new([
        ("81E29100", "6100"),
        ("81C0000000", "6100"),
        ("81C0000000", "6100"),
    ]);
    assert_eq!(
        gather(&mut script).await.unwrap_err(),
        Garbled::Endless.into()
    );
    script.finish();
}

#[tokio::test]
async fn an_answer_that_was_announced_and_does_not_come_is_lost() {
    for script in [
        Script::new([("81E29100", "6115"), ("81C0000015", "9000")]),
        Script::new([("81E29100", "BF2D6115"), ("81C0000015", "9000")]),
    ] {
        let mut script = script;
        let error = gather(&mut script).await.unwrap_err();
        assert_eq!(error, Garbled::Unfetched.into());
        script.finish();
    }
}

#[tokio::test]
async fn a_response_of_more_than_64_kib_is_cut_off() {
    let piece = "AA".repeat(256) + "6100";
    let pieces = std::iter::repeat_n(("81C0000000", piece.as_str()), 257);
    let mut script = Script::new(std::iter::once(("81E29100", "6100")).chain(pieces));
    assert_eq!(
        gather(&mut script).await.unwrap_err(),
        Garbled::Endless.into()
    );
    script.finish();
}

#[tokio::test]
async fn a_command_that_was_executed_is_unknown_when_its_answer_cannot_be_fetched() {
    let mut script = Script::new([("81E29100", "6106")]);
    script = script.then_not_sent("81C0000006", Fault::Closed);
    let error = gather(&mut script).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown);
    script.finish();
}

#[tokio::test]
async fn a_command_with_a_wrong_le_that_cannot_be_sent_again_was_not_executed() {
    let mut script = Script::new([("81E29100", "6C06")]);
    script = script.then_not_sent("81E2910006", Fault::Closed);
    let error = gather(&mut script).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotReached);
    script.finish();
}

/// A card whose every answer takes 20 seconds, and which never ends to announce more.
struct Slow;

impl Transport for Slow {
    async fn transmit(
        &mut self,
        _: &Command,
        deadline: Deadline,
    ) -> Result<Response, TransportError> {
        let answer = sleep(20 * SECOND);
        match tokio::time::timeout_at(deadline.until(), answer).await {
            Ok(()) => Ok(Response::parse(&[0xAA, 0x61, 0x00]).unwrap()),
            Err(_) => Err(TransportError::unanswered(deadline.fault())),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_that_of_a_whole_answer() {
    let begin = tokio::time::Instant::now();
    let command = Command::new(0x81, 0xE2, 0x91, 0x00);
    let deadline = Deadline::after(60 * SECOND);
    let error = exchange(&mut Slow, &command, GetResponseClass::AsCommand, deadline)
        .await
        .unwrap_err();
    let after = 60 * SECOND;
    assert_eq!(error.fault, Fault::Timeout { after });
    assert_eq!(begin.elapsed(), after);
}

#[tokio::test]
async fn a_channel_on_which_the_application_was_selected_is_closed_if_it_still_answers_there() {
    const QUESTION: &str = "83E29100";
    let cases: [(&[(&str, &str)], bool); 5] = [
        (&[(QUESTION, "BF3E009000")], true),
        // The card was left between two blocks.
        (&[(QUESTION, "6985"), (QUESTION, "BF3E009000")], true),
        // Nothing is open there, or another program's application.
        (&[(QUESTION, "6881"), (QUESTION, "6881")], false),
        (&[(QUESTION, "6E00"), (QUESTION, "6E00")], false),
        (&[(QUESTION, "9000"), (QUESTION, "9000")], false),
    ];
    for (asked, is_closed) in cases {
        let record = Record::default();
        record.opened(&place(3));
        record.selected(&place(3));
        let mut script = Script::new(asked.iter().copied());
        if is_closed {
            script = script.then("0070800300", "9000");
        }
        close_recorded(&mut script, &record, &proof(), &LinkOptions::default())
            .await
            .unwrap();
        assert_eq!(record.open_channels(), []);
        script.finish();
    }
}

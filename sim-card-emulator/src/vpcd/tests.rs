use rsp_common::pki::{Pki, PkiOptions};
use tokio::io::{DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::*;
use crate::card::PowerCut;
use crate::euicc::tests::bench::{Bench, ISDR};
use crate::euicc::{Identity, Settings};

/// The reader's end of the connection.
struct Reader(DuplexStream);

impl Reader {
    async fn write(&mut self, message: &[u8]) {
        let length = u16::try_from(message.len()).unwrap().to_be_bytes();
        self.0.write_all(&length).await.unwrap();
        self.0.write_all(message).await.unwrap();
    }

    async fn read(&mut self) -> String {
        let length = self.0.read_u16().await.unwrap();
        let mut message = vec![0; length.into()];
        self.0.read_exact(&mut message).await.unwrap();
        hex::encode_upper(message)
    }

    async fn apdu(&mut self, command: &str) -> String {
        self.write(&hex::decode(command).unwrap()).await;
        self.read().await
    }

    /// Whether the card has closed the connection.
    async fn is_closed(&mut self) -> bool {
        self.0.read(&mut [0]).await.unwrap() == 0
    }
}

fn card() -> Card {
    let pki = Pki::generate(&PkiOptions::default()).unwrap();
    Card::new(Identity::from_pki(&pki).unwrap(), Settings::default())
}

fn put_in(card: &Card) -> (Reader, JoinHandle<Result<Ended, VpcdError>>) {
    let (reader, stream) = duplex(64);
    let mut card = card.clone();
    let served = tokio::spawn(async move { serve(&mut card, stream).await });
    (Reader(reader), served)
}

#[tokio::test(start_paused = true)]
async fn a_reader_powers_the_card_and_reads_the_eid() {
    let card = card();
    let (mut reader, served) = put_in(&card);
    reader.write(&[POWER_OFF]).await;
    reader.write(&[POWER_ON]).await;
    reader.write(&[GET_ATR]).await;
    assert_eq!(reader.read().await, hex::encode_upper(card.atr()));
    assert_eq!(reader.apdu("0070000001").await, "019000");
    let selected = reader.apdu(&format!("01A4040010{ISDR}00")).await;
    assert!(selected.starts_with("6F1F8410A0000005591010"));
    assert_eq!(
        reader.apdu("81E2910006BF3E035C015A00").await,
        "BF3E125A10890490321234512345123456789012359000"
    );
    assert_eq!(card.open_channels(), [1]);
    reader.write(&[RESET]).await;
    assert_eq!(reader.apdu("81F2000C").await, "6881");
    assert_eq!(card.counters().borrow().resets, 2);
    drop(reader);
    assert_eq!(served.await.unwrap().unwrap(), Ended::ReaderGone);
}

#[tokio::test(start_paused = true)]
async fn a_reset_by_the_reader_makes_the_switch_that_waited_for_it() {
    let mut bench = Bench::new();
    bench.install("8901000000000000019F", &[]);
    let card = card();
    card.restore(bench.euicc.memory().clone());
    let (mut reader, _served) = put_in(&card);
    reader.apdu("0070000001").await;
    reader.apdu(&format!("01A4040010{ISDR}00")).await;
    let enable = "81E2910014BF3111A00C5A0A981000000000000010F98101FF";
    assert_eq!(reader.apdu(enable).await, "BF3103800100910B");
    assert_eq!(card.inspect(|euicc| euicc.enabled_iccid()), None);
    reader.write(&[POWER_OFF]).await;
    reader.write(&[POWER_ON]).await;
    assert_eq!(reader.apdu("00A4000C022FE2").await, "9000");
    assert_eq!(reader.apdu("00B000000A").await, "981000000000000010F99000");
}

#[tokio::test(start_paused = true)]
async fn a_card_that_loses_its_power_is_pulled_out() {
    let card = card();
    let (mut reader, served) = put_in(&card);
    card.cut_power(2, PowerCut::AfterExecution);
    assert_eq!(reader.apdu("0070000001").await, "019000");
    reader.write(&hex::decode("0070000001").unwrap()).await;
    assert!(reader.is_closed().await);
    assert_eq!(served.await.unwrap().unwrap(), Ended::PowerLost);
    let (mut reader, _served) = put_in(&card);
    reader.write(&[POWER_ON]).await;
    assert_eq!(reader.apdu("0070000001").await, "019000");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_message_of_the_reader_ends_the_connection() {
    let card = card();
    let (mut reader, served) = put_in(&card);
    reader.write(&[]).await;
    assert!(matches!(served.await.unwrap(), Err(VpcdError::Empty)));
    let (mut reader, served) = put_in(&card);
    reader.write(&[3]).await;
    assert!(matches!(served.await.unwrap(), Err(VpcdError::Control(3))));
    let (mut reader, served) = put_in(&card);
    reader.0.write_all(&[0x00, 0x05, 0x00]).await.unwrap();
    assert!(matches!(served.await.unwrap(), Err(VpcdError::Stalled)));
    let (mut reader, served) = put_in(&card);
    reader.0.write_all(&[0x00]).await.unwrap();
    drop(reader);
    assert!(matches!(served.await.unwrap(), Err(VpcdError::Io(_))));
}

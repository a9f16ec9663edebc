//! Many cards in one process.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use es10_apdu::at::{AtPort, Csim, ModemProfile};
use es10_apdu::es10a::{EuiccConfiguredAddressesRequest, SetDefaultDpAddressRequest};
use es10_apdu::es10c::GetEuiccDataRequest;
use es10_apdu::isdr::{Isdr, IsdrOptions};
use es10_apdu::types::Eid;
use rsp_common::pki::{Pki, PkiOptions};
use sim_card_emulator::card::Card;
use sim_card_emulator::euicc::{Identity, Settings};
use sim_card_emulator::modem::{self, Modem};
use tokio::io::{DuplexStream, duplex};
use tokio::task::JoinSet;

const CARDS: usize = 1000;

#[tokio::test]
async fn a_thousand_cards_in_modems_are_used_at_the_same_time() {
    let pki = Pki::generate(&PkiOptions::default()).unwrap();
    let identity = Arc::new(Identity::from_pki(&pki).unwrap());
    let cards: Vec<Card> = (0..CARDS)
        .map(|_| Card::new(identity.clone(), Settings::default()))
        .collect();
    let mut lpas = JoinSet::new();
    for (number, card) in cards.iter().enumerate() {
        let (port, line) = duplex(1024);
        let mut modem = Modem::new(card.clone(), modem::Identity::default());
        tokio::spawn(async move { modem::serve(&mut modem, line, None).await });
        lpas.spawn(personalise(port, number));
    }
    while let Some(eid) = lpas.join_next().await {
        assert_eq!(eid.unwrap(), identity.eid());
    }
    for (number, card) in cards.iter().enumerate() {
        assert_eq!(card.memory().default_dp_address, address(number));
        assert!(card.state().borrow().open_channels.is_empty());
        assert_eq!(card.counters().borrow().calls(0xBF3F), 1);
    }
}

/// What a small LPA does: the EID is read, and an address is set and read back.
async fn personalise(port: DuplexStream, number: usize) -> Eid {
    let mut port = AtPort::new(port);
    port.init(&ModemProfile::default()).await.unwrap();
    let mut card = Isdr::open(Csim::new(&mut port), &IsdrOptions::default())
        .await
        .unwrap();
    let eid = card.call(&GetEuiccDataRequest::default()).await.unwrap();
    let request = SetDefaultDpAddressRequest {
        default_dp_address: address(number).into(),
    };
    card.call(&request).await.unwrap();
    let request = EuiccConfiguredAddressesRequest {};
    let addresses = card.call(&request).await.unwrap();
    assert_eq!(addresses.default_dp_address, Some(address(number).into()));
    card.close().await.unwrap();
    eid.eid_value
}

fn address(number: usize) -> String {
    format!("smdp-{number}.example.com")
}

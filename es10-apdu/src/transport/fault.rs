//! Faults between card and LPA, chosen by a seed so that a failure can be repeated.

use std::time::Duration;

use super::{Fault, Transport, TransportError};
use crate::apdu::{Command, Response};

/// Loses command and response APDUs, so many in a thousand.
#[derive(Debug)]
pub struct FaultInjector<T> {
    inner: T,
    rates: FaultRates,
    state: u64,
}

/// How often what goes wrong, of a thousand APDUs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FaultRates {
    /// The command does not reach the card, and the sender knows.
    pub not_sent: u16,
    /// The command is lost, and the sender cannot know.
    pub command_lost: u16,
    /// The card executes the command, and its response is lost.
    pub response_lost: u16,
}

impl<T> FaultInjector<T> {
    /// Breaks what goes through `inner`; the same seed breaks the same APDUs.
    pub fn new(inner: T, rates: FaultRates, seed: u64) -> Self {
        Self {
            inner,
            rates,
            state: seed,
        }
    }

    /// The transport beneath.
    pub fn into_inner(self) -> T {
        self.inner
    }

    /// A number below 1000 (SplitMix64: short, and its quality is more than enough here).
    fn draw(&mut self) -> u16 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        u16::try_from((mixed ^ (mixed >> 31)) % 1000).expect("a remainder of 1000 fits")
    }
}

impl<T: Transport> Transport for FaultInjector<T> {
    async fn transmit(
        &mut self,
        command: &Command,
        deadline: Duration,
    ) -> Result<Response, TransportError> {
        let lost = Fault::Timeout { after: deadline };
        let FaultRates {
            not_sent,
            command_lost,
            response_lost,
        } = self.rates;
        let draw = self.draw();
        if draw < not_sent {
            return Err(TransportError::not_sent(lost));
        }
        if draw < not_sent.saturating_add(command_lost) {
            return Err(TransportError::unanswered(lost));
        }
        let result = self.inner.transmit(command, deadline).await;
        match draw
            < not_sent
                .saturating_add(command_lost)
                .saturating_add(response_lost)
        {
            true => Err(TransportError::unanswered(lost)),
            false => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::script::Script;

    async fn pattern(seed: u64) -> Vec<bool> {
        let script = Script::new((0..64).map(|_| ("00700000", "9000")));
        let rates = FaultRates {
            response_lost: 300,
            ..FaultRates::default()
        };
        let mut faulty = FaultInjector::new(script, rates, seed);
        let command = Command::new(0x00, 0x70, 0x00, 0x00);
        let mut pattern = Vec::new();
        for _ in 0..64 {
            let result = faulty.transmit(&command, Duration::from_secs(1)).await;
            pattern.push(result.is_ok());
        }
        faulty.into_inner().finish();
        pattern
    }

    #[tokio::test]
    async fn the_same_seed_breaks_the_same_apdus() {
        let pattern_of_seven = pattern(7).await;
        assert_eq!(pattern_of_seven, pattern(7).await);
        assert_ne!(pattern_of_seven, pattern(8).await);
        let lost = pattern_of_seven.iter().filter(|ok| !**ok).count();
        assert!((8..32).contains(&lost), "{lost} of 64");
    }
}

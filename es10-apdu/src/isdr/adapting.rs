//! Finding out how the link to the card wants to be used, by questions that change nothing.

use std::time::Duration;

use tracing::debug;

use super::{CallError, Isdr};
use crate::apdu::StatusWord;
use crate::channel::Persistence;
use crate::es10c::{GetEuiccDataRequest, ProfileInfoListRequest as GetProfilesInfo};
use crate::function::Es10Function;
use crate::link::{GetResponseClass, Le, LinkOptions};
use crate::tlv;
use crate::transport::{Deadline, Fault, Garbled, Transport};

impl<T: Transport> Isdr<T> {
    /// Finds out how this link wants to be used: whether commands carry Le, which class byte GET
    /// RESPONSE has, and how long a block may be. The options that work are used from now on, and are
    /// returned to be remembered.
    ///
    /// Each question has the deadline of one call. It is asked again as [`Isdr::read`] does.
    ///
    /// # Errors
    /// When no way gets an answer. Not every application and modem that opens a channel can be talked
    /// to on it.
    ///
    /// # Cancel safety
    /// May be repeated.
    pub async fn adapt(&mut self) -> Result<LinkOptions, CallError> {
        self.find_form().await?;
        self.find_block_size().await?;
        Ok(self.link.clone())
    }

    /// Asks for the EID with and without Le until the answer is there: some links lose an answer that was
    /// asked for without Le, and others refuse Le. The class byte to which an announced answer comes is
    /// found on the way.
    async fn find_form(&mut self) -> Result<(), CallError> {
        let LinkOptions {
            le, get_response, ..
        } = self.link;
        let request = GetEuiccDataRequest::default();
        let mut first = None;
        for le in [le, le.other()] {
            self.link.le = le;
            let lost = match self.read(&request).await {
                Ok(_) => return Ok(()),
                Err(error) if error.may_be_a_matter_of_form() => error,
                Err(error) => return Err(error),
            };
            debug!(error = %lost, ?le, "not in this form");
            first.get_or_insert(lost);
        }
        self.link.le = le;
        self.set_get_response(get_response);
        first.map_or(Ok(()), Err)
    }

    /// Sends a long question in one block, shorter and shorter until one gets through. What the card
    /// says to it does not matter.
    async fn find_block_size(&mut self) -> Result<(), CallError> {
        let wanted = self.link.block_size;
        let shorter = BLOCK_SIZES.into_iter().filter(|&size| size < wanted);
        let mut failure = None;
        for size in std::iter::once(wanted).chain(shorter) {
            self.link.block_size = size;
            match self.ask_in_one_block(size).await {
                Err(CallError::Transport { command, error }) => {
                    if error.is_gone() {
                        return Err(CallError::Transport { command, error });
                    }
                    debug!(%error, size, "no block of this size gets through");
                    failure.get_or_insert(CallError::Transport { command, error });
                }
                _ => return Ok(()),
            }
        }
        self.link.block_size = wanted;
        failure.map_or(Ok(()), Err)
    }

    async fn ask_in_one_block(&mut self, size: u8) -> Result<(), CallError> {
        let longest = LONG_QUESTION.min(self.link.deadlines.last_block);
        let deadline = Deadline::after(longest);
        let question = long_question(size);
        let mut persistence = Persistence::default();
        let mut is_again = false;
        loop {
            match self
                .store(GetProfilesInfo::NAME, &question, longest, Some(deadline))
                .await
            {
                Err(CallError::Transport { error, .. })
                    if persistence.again(&error, deadline).await => {}
                // Noise says nothing of the length.
                Err(CallError::Transport { error, .. })
                    if matches!(error.fault, Fault::Garbled(_)) && !is_again =>
                {
                    is_again = true;
                }
                ended => return ended.map(drop),
            }
        }
    }

    /// From now on GET RESPONSE has this class byte.
    pub(super) fn set_get_response(&mut self, class: GetResponseClass) {
        self.link.get_response = class;
        self.channel.set_get_response(class);
    }
}

impl CallError {
    /// Whether the answer may be there in another form of the question.
    fn may_be_a_matter_of_form(&self) -> bool {
        match self {
            Self::Codec { .. } => true,
            Self::Status { sw, .. } => *sw == StatusWord::WRONG_LENGTH,
            Self::Transport { error, .. } => {
                matches!(
                    error.fault,
                    Fault::Garbled(Garbled::Endless | Garbled::Unfetched)
                )
            }
            Self::EarlyAnswer { .. } | Self::TooLong { .. } => false,
        }
    }
}

impl Le {
    fn other(self) -> Self {
        match self {
            Self::Absent => Self::Zero,
            Self::Zero => Self::Absent,
        }
    }
}

impl GetResponseClass {
    pub(super) fn other(self) -> Self {
        match self {
            Self::AsCommand => Self::Interindustry,
            Self::Interindustry => Self::AsCommand,
        }
    }
}

/// GetProfilesInfo for the same tag again and again, SGP.22 v2.5 section 5.7.15: the longest one that
/// fits into a block of this size.
fn long_question(size: u8) -> Vec<u8> {
    let question = |octets: usize| {
        let mut tags = [0x9F, 0x70].repeat(octets / 2);
        if octets % 2 == 1 {
            tags.push(0x5A);
        }
        tlv::encode(GetProfilesInfo::TAG.into(), &tlv::encode(TAG_LIST, &tags))
    };
    let fitting = (0..=usize::from(size)).rev().map(question);
    let mut fitting = fitting.filter(|question| question.len() <= usize::from(size));
    fitting.next().unwrap_or_default()
}

/// Sizes of blocks that are tried when a longer one does not get through: 120 is what most LPAs use,
/// 60 fits into lines of 160 characters.
const BLOCK_SIZES: [u8; 3] = [120, 60, 32];
const TAG_LIST: u32 = 0x5C;
/// What a modem gets that may not answer a long line at all.
const LONG_QUESTION: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asn1;
    use crate::isdr::IsdrOptions;
    use crate::isdr::tests::{EID, EID_ANSWER, OPEN};
    use crate::transport::script::Script;
    use crate::transport::{DeviceRefusal, DeviceRefusalKind, Outcome};

    const EID_LE: &str = "81E2910006BF3E035C015A00";

    fn block(size: u8, le: &str) -> String {
        let question = hex::encode_upper(long_question(size));
        format!("81E29100{size:02X}{question}{le}")
    }

    async fn adapt(script: &mut Script) -> Result<LinkOptions, CallError> {
        let mut isdr = Isdr::open(script, &IsdrOptions::default()).await.unwrap();
        isdr.adapt().await
    }

    #[test]
    fn a_long_question_fills_a_block() {
        for size in [255, 254, 120, 119, 60, 32] {
            let question = long_question(size);
            assert_eq!(question.len(), usize::from(size));
            asn1::read::<GetProfilesInfo>(&question).unwrap();
        }
        assert!((125..=133).contains(&long_question(133).len()));
        assert!(long_question(1).is_empty());
    }

    #[tokio::test]
    async fn a_link_as_it_was_thought_to_be_costs_two_questions() {
        let script = Script::new(OPEN).then(EID, EID_ANSWER);
        let mut script = script.then(&block(255, ""), "6A80");
        assert_eq!(adapt(&mut script).await, Ok(LinkOptions::default()));
        script.finish();
    }

    #[tokio::test]
    async fn an_answer_that_gets_lost_without_le_is_asked_for_with_le() {
        // What cannot be read is read twice: it may have been noise.
        let script = Script::new(OPEN).then(EID, "9000").then(EID, "9000");
        let script = script
            .then(EID_LE, EID_ANSWER)
            .then(&block(255, "00"), "6A80");
        let mut script = script;
        let link = adapt(&mut script).await.unwrap();
        assert_eq!(link.le, Le::Zero);
        script.finish();
    }

    #[tokio::test]
    async fn an_answer_that_comes_to_one_class_byte_only_is_fetched_with_that() {
        let fetch = |class: &str| format!("{class}C0000015");
        let script = Script::new(OPEN);
        let script = script.then(EID, "6115").then(&fetch("81"), "9000");
        let script = script.then(EID, "6115").then(&fetch("01"), EID_ANSWER);
        let mut script = script.then(&block(255, ""), "6A80");
        let link = adapt(&mut script).await.unwrap();
        assert_eq!(link.get_response, GetResponseClass::Interindustry);
        assert_eq!(link.le, Le::Absent);
        script.finish();
    }

    #[tokio::test(start_paused = true)]
    async fn blocks_are_made_shorter_until_one_gets_through() {
        let refused = || Fault::Device(DeviceRefusal::new(DeviceRefusalKind::Other, &"ERROR"));
        let mut script = Script::new(OPEN).then(EID, EID_ANSWER);
        for size in [255, 120] {
            for _ in 0..3 {
                script = script.then_lost(&block(size, ""), refused());
            }
        }
        let mut script = script.then(&block(60, ""), "BF2D02A0009000");
        let link = adapt(&mut script).await.unwrap();
        assert_eq!(link.block_size, 60);
        script.finish();
    }

    #[tokio::test]
    async fn a_card_that_refuses_is_not_asked_in_another_form() {
        let mut script = Script::new(OPEN).then(EID, "6985");
        let error = adapt(&mut script).await.unwrap_err();
        assert_eq!(error.outcome(), Outcome::Refused);
        script.finish();
    }
}

//! Typed calls to the ISD-R: the only place where codec meets channel.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tracing::debug;

use crate::apdu::{Channel, Command, Response, StatusWord, ins};
use crate::asn1::{CodecError, Raw};
use crate::channel::{
    self, Application, ChannelRecord, LogicalChannel, OpenError, Persistence, Place, Proof,
};
use crate::es10b::ProfileInstallationResult;
use crate::es10c::GetEuiccDataRequest;
use crate::function::{Effect, Es10Function};
use crate::link::LinkOptions;
use crate::store_data::{Blocks, P1_LAST, TooLong};
use crate::transport::{Deadline, Fault, Garbled, Outcome, Transport, TransportError};
use crate::types::Aid;

mod adapting;

/// The application identifier of the ISD-R, SGP.02 and SGP.22 v2.5 section 2.4.3.
pub const ISDR_AID: [u8; 16] = [
    0xA0, 0x00, 0x00, 0x05, 0x59, 0x10, 0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x89, 0x00, 0x00, 0x01, 0x00,
];

/// The ISD-R of an eUICC, selected on a logical channel of its own.
///
/// Only [`Isdr::read`] sends anything twice: whether another command may be repeated is for the
/// caller to decide by [`CallError::outcome`]. End with [`Isdr::close`]; see [`LogicalChannel`] for
/// what happens when that is not possible.
#[derive(Debug)]
pub struct Isdr<T> {
    channel: LogicalChannel<T>,
    link: LinkOptions,
}

impl<T: Transport> Isdr<T> {
    /// Opens a logical channel and selects the ISD-R on it.
    ///
    /// # Cancel safety
    /// As [`LogicalChannel::open`].
    pub async fn open(transport: T, options: &IsdrOptions) -> Result<Self, OpenError> {
        let IsdrOptions { aids, link, record } = options;
        let application = Application {
            aids: aids.clone(),
            proof: proof(link),
        };
        let channel = LogicalChannel::open(transport, &application, link, record.clone()).await?;
        let link = link.clone();
        Ok(Self { channel, link })
    }

    /// Goes on with an ISD-R that was opened before, over the same kind of transport.
    pub fn resume(transport: T, place: Place, options: &IsdrOptions) -> Self {
        let IsdrOptions { link, record, .. } = options;
        let channel = LogicalChannel::resume(transport, place, link, record.clone());
        let link = link.clone();
        Self { channel, link }
    }

    /// Calls an ES10 function.
    ///
    /// # Errors
    /// When the card refuses the command, its answer is lost, or it cannot be read. A refusal
    /// inside the answer is no error here: it is part of `F::Response`.
    ///
    /// # Cancel safety
    /// Whether the card executed the function is unknown once its last block was sent. The next
    /// call starts with block 0, which makes the card forget unfinished ones.
    pub async fn call<F: Es10Function>(&mut self, function: &F) -> Result<F::Response, CallError> {
        let longest = self.link.deadlines.last_block;
        let request = function.to_der();
        let answer = self.store(F::NAME, &request, longest, None).await?;
        response::<F>(&answer)
    }

    /// Calls a function that changes nothing, and once more when its answer was garbled or the
    /// card or modem failed at it. A card that is busy is asked until it is not. All this happens
    /// within the deadline of one call.
    pub async fn read<F: Es10Function>(&mut self, function: &F) -> Result<F::Response, CallError> {
        let der = function.to_der();
        let answer = self.exchange(Request::of::<F>(&der)).await?;
        response::<F>(&answer)
    }

    /// Sends one segment of a bound profile package; the last one, or one that the card does not
    /// like, is answered with the result of the installation.
    ///
    /// SGP.22 v2.5 section 5.7.6, LoadBoundProfilePackage. All segments have to go over one
    /// channel, with nothing in between.
    ///
    /// # Cancel safety
    /// The installation may have ended with this segment; the notification list of the card tells.
    pub async fn load_segment(
        &mut self,
        segment: &[u8],
    ) -> Result<Option<Raw<ProfileInstallationResult>>, CallError> {
        let longest = self.link.deadlines.load_bpp;
        let answer = self.store(LOAD_BPP, segment, longest, None).await?;
        if answer.is_empty() {
            return Ok(None);
        }
        let command = LOAD_BPP;
        Raw::from_ber(&answer)
            .map(Some)
            .map_err(|error| CallError::Codec { command, error })
    }

    /// Closes the logical channel, see [`LogicalChannel::close`].
    pub async fn close(self) -> Result<(), TransportError> {
        self.channel.close().await
    }

    /// How the link is used, with what was found out since the ISD-R was opened.
    pub fn link(&self) -> &LinkOptions {
        &self.link
    }

    /// The logical channel or session.
    pub fn place(&self) -> &Place {
        self.channel.place()
    }

    /// The answer to a request, which can be read. One that changes nothing is read again as
    /// [`Self::read`] says; any other is sent once, as [`Self::call`] does.
    ///
    /// It knows no function and is behind a pointer: as a part of the futures above it would be in the
    /// program once for every function.
    ///
    /// # Cancel safety
    /// As [`Self::call`].
    pub fn exchange<'a>(&'a mut self, request: Request<'a>) -> Exchange<'a> {
        let Request {
            name,
            effect,
            der,
            check,
        } = request;
        Box::pin(async move {
            let longest = self.link.deadlines.last_block;
            let deadline = Deadline::after(longest);
            let until = (effect == Effect::Reads).then_some(deadline);
            let mut persistence = Persistence::default();
            let mut is_again = false;
            loop {
                let answer = self.store(name, der, longest, until).await;
                let answer = answer.and_then(|answer| check(&answer).map(|()| answer));
                let error = match answer {
                    Err(error) if until.is_some() && !deadline.has_passed() => error,
                    answered => return answered,
                };
                // Refusals of the modem come first: right after a reset or a switch it is busy with
                // the card for seconds, and that must not use up the one repetition for noise.
                if let CallError::Transport { error, .. } = &error
                    && persistence.again(error, deadline).await
                {
                    continue;
                }
                if is_again || !error.is_worth_reading_again() {
                    return Err(error);
                }
                is_again = true;
                debug!(%error, "reading again");
            }
        })
    }

    /// Sends a payload in STORE DATA blocks and returns the answer to the last one. Each block has
    /// a deadline of its own, but none goes beyond `until`.
    ///
    /// Before the last block the card only collects. When the modem refuses one of those, all are sent
    /// again from block 0, at which the card forgets what it has.
    fn store<'a>(
        &'a mut self,
        command: &'static str,
        payload: &'a [u8],
        last_block: Duration,
        until: Option<Deadline>,
    ) -> Exchange<'a> {
        Box::pin(async move {
            let LinkOptions { block_size, le, .. } = self.link;
            // The channel puts its own number into the class byte. The numbers of the blocks begin at 0
            // for every command and every segment, at which a card drops what is unfinished.
            let blocks = Blocks::new(Channel::BASIC, payload, block_size, le.field());
            let blocks = blocks.map_err(|error| CallError::TooLong { command, error })?;
            let collected = Deadline::after(self.link.deadlines.block);
            let collected = until.map_or(collected, |until| collected.at_most(until));
            let mut persistence = Persistence::default();
            loop {
                let unsent = match self.send(command, blocks.clone(), last_block, until).await {
                    Ok(answer) => return Ok(answer),
                    Err(unsent) => unsent,
                };
                let may_be_sent_again = match &unsent {
                    Unsent {
                        error: CallError::Transport { error, .. },
                        last: false,
                    } => persistence.again(error, collected).await,
                    _ => false,
                };
                if !may_be_sent_again {
                    return Err(unsent.error);
                }
            }
        })
    }

    /// Sends blocks and returns the answer to the last one.
    async fn send(
        &mut self,
        command: &'static str,
        blocks: Blocks<'_>,
        last_block: Duration,
        until: Option<Deadline>,
    ) -> Result<Vec<u8>, Unsent> {
        let mut answer = Vec::new();
        for block in blocks {
            let (last, number) = (block.p1 == P1_LAST, block.p2);
            let unsent = |error| Unsent { error, last };
            let longest = match last {
                true => last_block,
                false => self.link.deadlines.block,
            };
            // The deadline of a block begins when the block is sent: a long command may take longer
            // than one block may.
            let own = Deadline::after(longest);
            let deadline = until.map_or(own, |until| own.at_most(until));
            let result = self.channel.transmit(block, deadline).await;
            if let Err(error) = &result
                && error.fault == Fault::Garbled(Garbled::Unfetched)
            {
                // It may come to the other class byte; this answer is lost.
                self.set_get_response(self.link.get_response.other());
            }
            let Response { data, sw } =
                result.map_err(|error| unsent(CallError::Transport { command, error }))?;
            // A warning with data says something of the data, which are there. Without data it can
            // only mean the command, which was not executed as it should be.
            if !(sw.is_success() || sw.is_warning() && !data.is_empty()) {
                return Err(unsent(CallError::Status { command, sw, last }));
            }
            answer = data;
            if !last && !answer.is_empty() {
                // Only the result of an installation may come early: the card has given up.
                return match answer.starts_with(&PIR_TAG) && command == LOAD_BPP {
                    true => Ok(answer),
                    false => Err(unsent(CallError::EarlyAnswer { command, number })),
                };
            }
        }
        Ok(answer)
    }
}

/// A command that broke off, and whether at its last block.
struct Unsent {
    error: CallError,
    last: bool,
}

/// Closes channels with the ISD-R that an earlier process has left open: one that was selected must
/// still answer GetEID.
///
/// # Errors
/// As [`channel::close_recorded`].
///
/// # Cancel safety
/// May be repeated.
pub async fn close_recorded(
    transport: &mut impl Transport,
    record: &dyn ChannelRecord,
    link: &LinkOptions,
) -> Result<(), TransportError> {
    channel::close_recorded(transport, record, &proof(link), link).await
}

/// Closes sessions with the ISD-R whose names were lost.
///
/// # Errors
/// As [`channel::close_unnamed`].
///
/// # Cancel safety
/// May be repeated.
pub async fn close_unnamed(
    transport: &mut impl Transport,
    link: &LinkOptions,
) -> Result<(), TransportError> {
    channel::close_unnamed(transport, &proof(link), link).await
}

/// GetEID, which no other application of a card answers.
fn proof(link: &LinkOptions) -> Proof {
    let question = Command {
        data: GetEuiccDataRequest::default().to_der(),
        le: link.le.field(),
        ..Command::new(0x80, ins::STORE_DATA, P1_LAST, 0x00)
    };
    let answer = GetEuiccDataRequest::TAG.to_be_bytes().to_vec();
    Proof { question, answer }
}

/// How the ISD-R is reached.
#[derive(Clone, Debug)]
pub struct IsdrOptions {
    /// The applications to try, in this order. Cards outside the standard have others than
    /// [`ISDR_AID`].
    pub aids: Vec<Aid>,
    /// How the link to the card wants to be used.
    pub link: LinkOptions,
    /// Where the open channel is remembered beyond the life of this process.
    pub record: Option<Arc<dyn ChannelRecord>>,
}

impl Default for IsdrOptions {
    fn default() -> Self {
        let aid = Aid::from_octets(&ISDR_AID).expect("16 octets are an AID");
        Self {
            aids: vec![aid],
            link: LinkOptions::default(),
            record: None,
        }
    }
}

/// An ES10 function that gave no answer to read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CallError {
    /// The card answered, and not in the form of the function.
    #[error("{command}: the card's answer cannot be read")]
    Codec {
        /// The function.
        command: &'static str,
        /// What is wrong.
        #[source]
        error: CodecError,
    },
    /// The card answered before it had the whole command.
    #[error("{command}: the card answered block {number} of an unfinished command")]
    EarlyAnswer {
        /// The function.
        command: &'static str,
        /// The block's number.
        number: u8,
    },
    /// The card refused the command.
    #[error("{command}: the card answered {sw}")]
    Status {
        /// The function.
        command: &'static str,
        /// Its status word.
        sw: StatusWord,
        /// Whether the card had the whole command.
        last: bool,
    },
    /// The command is longer than STORE DATA can carry.
    #[error("{command}: {error}")]
    TooLong {
        /// The function.
        command: &'static str,
        /// By how much.
        #[source]
        error: TooLong,
    },
    /// No answer came.
    #[error("{command}: {error}")]
    Transport {
        /// The function.
        command: &'static str,
        /// Why not.
        #[source]
        error: TransportError,
    },
}

impl CallError {
    /// What the card has done.
    ///
    /// A status word is a refusal, but for those that report a breakdown of the card at work; an
    /// answer that cannot be read says nothing either.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Codec { .. } | Self::EarlyAnswer { .. } => Outcome::Unknown,
            // Before the last block the card only collects: it cannot have broken down at work.
            Self::Status { sw, last, .. } if *last && sw.is_breakdown() => Outcome::Unknown,
            Self::Status { .. } => Outcome::Refused,
            Self::TooLong { .. } => Outcome::NotReached,
            Self::Transport { error, .. } => error.outcome(),
        }
    }

    /// Whether the same question may get a better answer: one came at once and was of no use. After
    /// silence the time is used up, and without a port there is no way to ask.
    fn is_worth_reading_again(&self) -> bool {
        match self {
            Self::Transport { error, .. } => {
                error.sent && matches!(error.fault, Fault::Device(_) | Fault::Garbled(_))
            }
            error => error.outcome() == Outcome::Unknown,
        }
    }

    /// The function that was called.
    pub fn command(&self) -> &'static str {
        match *self {
            Self::Codec { command, .. }
            | Self::EarlyAnswer { command, .. }
            | Self::Status { command, .. }
            | Self::TooLong { command, .. }
            | Self::Transport { command, .. } => command,
        }
    }
}

/// The answer to a request, to be waited for.
pub type Exchange<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, CallError>> + Send + 'a>>;

/// What the call of a function is without its type.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Interface and function.
    pub name: &'static str,
    /// What it does to the eUICC.
    pub effect: Effect,
    der: &'a [u8],
    check: fn(&[u8]) -> Result<(), CallError>,
}

impl<'a> Request<'a> {
    /// That of a function with its request in DER.
    pub fn of<F: Es10Function>(der: &'a [u8]) -> Self {
        Self {
            name: F::NAME,
            effect: F::EFFECT,
            der,
            check: |answer| response::<F>(answer).map(drop),
        }
    }
}

/// Reads the answer to a function.
///
/// # Errors
/// When it is no such answer.
pub fn response<F: Es10Function>(answer: &[u8]) -> Result<F::Response, CallError> {
    F::response(answer).map_err(|error| CallError::Codec {
        command: F::NAME,
        error,
    })
}

const LOAD_BPP: &str = "ES10b.LoadBoundProfilePackage";
/// ProfileInstallationResult.
const PIR_TAG: [u8; 2] = [0xBF, 0x37];

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tokio::time::Instant;

    use super::*;
    use crate::es10b::{AuthenticateServerRequest, GetEuiccChallengeRequest};
    use crate::link::Le;
    use crate::transport::script::Script;
    use crate::transport::{DeviceRefusal, DeviceRefusalKind};

    pub(super) const OPEN: [(&str, &str); 2] = [
        ("0070000001", "019000"),
        ("01A4040010A0000005591010FFFFFFFF8900000100", "9000"),
    ];
    const CHALLENGE: &str = "81E2910003BF2E00";

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../vectors/vectors.json")).unwrap()
    }

    fn options(block_size: u8) -> IsdrOptions {
        let link = LinkOptions {
            block_size,
            ..LinkOptions::default()
        };
        IsdrOptions {
            link,
            ..IsdrOptions::default()
        }
    }

    /// Opens the ISD-R, calls GetEUICCChallenge and returns the error.
    async fn refused(script: Script) -> CallError {
        let mut isdr = Isdr::open(script, &options(255)).await.unwrap();
        isdr.call(&GetEuiccChallengeRequest {}).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_long_request_goes_out_in_blocks_and_its_answer_comes_back_typed() {
        let vectors = vectors();
        let hex = |name: &str| vectors["es10"][name].as_str().unwrap();
        let request = hex::decode(hex("authenticateServerRequest")).unwrap();
        let request: AuthenticateServerRequest = crate::asn1::read(&request).unwrap();
        let apdus = vectors["authenticateServerApdus"].as_array().unwrap();
        // The vectors carry Le.
        let apdus: Vec<&str> = apdus.iter().map(|apdu| apdu.as_str().unwrap()).collect();
        let (last, first) = apdus.split_last().unwrap();
        let answer = format!("{}9000", hex("authenticateServerResponse"));
        let select = format!("{}00", OPEN[1].0);
        let script = Script::new([OPEN[0], (&select, "9000")]);
        let blocks = first
            .iter()
            .fold(script, |script, apdu| script.then(apdu, "9000"));
        let mut script = blocks.then(last, &answer).then("0070800100", "9000");
        let mut options = options(255);
        options.link.le = Le::Zero;
        let mut isdr = Isdr::open(&mut script, &options).await.unwrap();
        isdr.call(&request).await.unwrap();
        isdr.close().await.unwrap();
        script.finish();
    }

    #[tokio::test]
    async fn a_status_word_is_a_refusal_that_names_the_function() {
        let error = refused(Script::new(OPEN).then(CHALLENGE, "6985")).await;
        assert_eq!(error.outcome(), Outcome::Refused);
        assert_eq!(
            error.to_string(),
            "ES10b.GetEUICCChallenge: the card answered 6985 (conditions of use not satisfied)"
        );
    }

    #[tokio::test]
    async fn what_a_card_that_broke_down_has_done_is_unknown() {
        for sw in ["6F00", "6581", "6400"] {
            let error = refused(Script::new(OPEN).then(CHALLENGE, sw)).await;
            assert_eq!(error.outcome(), Outcome::Unknown, "{sw}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_lost_or_unreadable_leaves_the_outcome_unknown() {
        let lost = Fault::Garbled(Garbled::NoResponse);
        let error = refused(Script::new(OPEN).then_lost(CHALLENGE, lost)).await;
        assert_eq!(error.outcome(), Outcome::Unknown);
        let error = refused(Script::new(OPEN).then(CHALLENGE, "BF3E009000")).await;
        assert_eq!(error.outcome(), Outcome::Unknown);
    }

    #[tokio::test]
    async fn a_waiting_refresh_is_success() {
        let answer = format!("BF2E128010{}910B", "5A".repeat(16));
        let script = Script::new(OPEN).then(CHALLENGE, &answer);
        let mut isdr = Isdr::open(script, &options(255)).await.unwrap();
        isdr.call(&GetEuiccChallengeRequest {}).await.unwrap();
    }

    #[tokio::test]
    async fn a_command_that_cannot_fit_is_not_begun() {
        let script = Script::new(OPEN);
        let mut isdr = Isdr::open(script, &options(1)).await.unwrap();
        let error = isdr.load_segment(&[0; 257]).await.unwrap_err();
        assert_eq!(error.outcome(), Outcome::NotReached);
    }

    #[tokio::test]
    async fn the_last_segment_gives_the_signed_result() {
        let vectors = vectors();
        let result = vectors["es10"]["pirSuccess"].as_str().unwrap();
        let script = Script::new(OPEN)
            .then("81E2910002A000", "9000")
            .then("81E2910002A100", &format!("{result}9000"));
        let mut isdr = Isdr::open(script, &options(255)).await.unwrap();
        assert_eq!(isdr.load_segment(&[0xA0, 0x00]).await, Ok(None));
        let loaded = isdr.load_segment(&[0xA1, 0x00]).await.unwrap().unwrap();
        assert_eq!(hex::encode(loaded.bytes()), result);
    }

    #[tokio::test]
    async fn a_card_may_end_an_installation_early_and_nothing_else() {
        let vectors = vectors();
        let result = vectors["es10"]["pirError"].as_str().unwrap();
        let early = Script::new(OPEN).then("81E2110001A0", &format!("{result}9000"));
        let mut isdr = Isdr::open(early, &options(1)).await.unwrap();
        assert!(isdr.load_segment(&[0xA0, 0x00]).await.unwrap().is_some());
        let early = Script::new(OPEN).then("81E2110001BF", "BF2E009000");
        let mut isdr = Isdr::open(early, &options(1)).await.unwrap();
        let error = isdr.call(&GetEuiccChallengeRequest {}).await.unwrap_err();
        assert!(matches!(error, CallError::EarlyAnswer { number: 0, .. }));
    }

    pub(super) const EID: &str = "81E2910006BF3E035C015A";
    pub(super) const EID_ANSWER: &str = "BF3E125A10890490321234512345123456789012359000";

    #[tokio::test]
    async fn what_changes_nothing_is_read_again_once_after_noise() {
        for noise in ["BF2E125A109000", "6F00"] {
            let mut script = Script::new(OPEN).then(EID, noise).then(EID, EID_ANSWER);
            let mut isdr = Isdr::open(&mut script, &options(255)).await.unwrap();
            isdr.read(&GetEuiccDataRequest::default()).await.unwrap();
            script.finish();
        }
        for garbled in [Garbled::NoResponse, Garbled::Form] {
            let script = Script::new(OPEN).then_lost(EID, garbled.into());
            let mut script = script.then(EID, EID_ANSWER);
            let mut isdr = Isdr::open(&mut script, &options(255)).await.unwrap();
            isdr.read(&GetEuiccDataRequest::default()).await.unwrap();
            script.finish();
        }
    }

    #[tokio::test]
    async fn a_challenge_that_was_lost_in_noise_is_asked_for_again() {
        let answer = format!("BF2E128010{}9000", "22".repeat(16));
        let noise = format!("BF2E128011{}9000", "11".repeat(16));
        let mut script = Script::new(OPEN)
            .then(CHALLENGE, &noise)
            .then(CHALLENGE, &answer);
        let mut isdr = Isdr::open(&mut script, &options(255)).await.unwrap();
        let read = isdr.read(&GetEuiccChallengeRequest {}).await.unwrap();
        assert_eq!(read.euicc_challenge.octets(), [0x22; 16]);
        script.finish();
    }

    #[tokio::test]
    async fn what_stays_noise_is_not_read_a_third_time() {
        let noise = "BF2E009000";
        let mut script = Script::new(OPEN).then(EID, noise).then(EID, noise);
        let mut isdr = Isdr::open(&mut script, &options(255)).await.unwrap();
        let read = isdr.read(&GetEuiccDataRequest::default()).await;
        assert!(matches!(read, Err(CallError::Codec { .. })));
        script.finish();
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_card_is_read_as_soon_as_it_is_free_but_within_the_deadline() {
        let busy = || Fault::Device(DeviceRefusal::new(DeviceRefusalKind::Busy, &"SIM busy"));
        let read = GetEuiccDataRequest::default();
        let script = (0..5).fold(Script::new(OPEN), |script, _| script.then_lost(EID, busy()));
        let mut script = script.then(EID, EID_ANSWER);
        let mut isdr = Isdr::open(&mut script, &options(255)).await.unwrap();
        isdr.read(&read).await.unwrap();
        script.finish();
        let script = (0..99).fold(Script::new(OPEN), |script, _| script.then_lost(EID, busy()));
        let mut isdr = Isdr::open(script, &options(255)).await.unwrap();
        let begin = Instant::now();
        isdr.read(&read).await.unwrap_err();
        assert!(begin.elapsed() <= isdr.link.deadlines.last_block);
    }

    #[tokio::test]
    async fn a_refusal_is_not_asked_for_twice() {
        let mut script = Script::new(OPEN).then(EID, "6A88");
        let mut isdr = Isdr::open(&mut script, &options(255)).await.unwrap();
        let read = isdr.read(&GetEuiccDataRequest::default()).await;
        assert_eq!(read.unwrap_err().outcome(), Outcome::Refused);
        script.finish();
    }
}

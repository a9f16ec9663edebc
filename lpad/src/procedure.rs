//! The procedures of SGP.22 chapter 3 as plain async functions.
//!
//! They know a [`Card`] and a [`Server`] and nothing else: no clock, no file, no user. What they
//! need a decision for they return as a value.

use std::fmt;

use es9_client::{Connect, Es9Client, Es9Function, ServerAddress};
use es10_apdu::asn1::Raw;
use es10_apdu::es10b::ProfileInstallationResult;
use es10_apdu::function::Es10Function;
use es10_apdu::isdr::{self, CallError, Exchange, Isdr, Request};
use es10_apdu::transport::{Fault, Outcome, Transport};

pub mod download;
pub mod euicc;
pub mod interruptible;
pub mod notifications;
pub mod profiles;

/// An eUICC whose ISD-R is selected.
pub trait Card: Send {
    /// Calls an ES10 function.
    ///
    /// # Cancel safety
    /// As [`Isdr::call`]: the card may have executed the function.
    fn call<F: Es10Function>(
        &mut self,
        function: &F,
    ) -> impl Future<Output = Result<F::Response, CallError>> + Send {
        async {
            let der = function.to_der();
            let answer = self.exchange(Request::of::<F>(&der)).await?;
            isdr::response::<F>(&answer)
        }
    }

    /// The answer to a request, as [`Isdr::exchange`]; all that a call is but its types.
    fn exchange<'a>(&'a mut self, request: Request<'a>) -> Exchange<'a>;

    /// Sends one segment of a Bound Profile Package.
    fn load_segment(
        &mut self,
        segment: &[u8],
    ) -> impl Future<Output = Result<Option<Raw<ProfileInstallationResult>>, CallError>> + Send;
}

impl<T: Transport> Card for Isdr<T> {
    fn exchange<'a>(&'a mut self, request: Request<'a>) -> Exchange<'a> {
        Self::exchange(self, request)
    }

    async fn load_segment(
        &mut self,
        segment: &[u8],
    ) -> Result<Option<Raw<ProfileInstallationResult>>, CallError> {
        Self::load_segment(self, segment).await
    }
}

/// Calls a function, and once more when the card has certainly not executed it: it was not reached,
/// or answered with a status word. Cards do that once after a command that was cut off between its
/// blocks: they still wait for the next one of those.
pub(crate) async fn call_with_retry<F: Es10Function>(
    card: &mut impl Card,
    function: &F,
) -> Result<F::Response, CallError> {
    match card.call(function).await {
        Err(error) if error.outcome() != Outcome::Unknown => {
            tracing::info!(%error, function = F::NAME, "not executed: once more");
            card.call(function).await
        }
        answer => answer,
    }
}

/// RSP servers, each under its address.
pub trait Server: Sync {
    /// Calls an ES9+ function.
    ///
    /// # Cancel safety
    /// The server may have executed the function.
    fn call<F: Es9Function>(
        &self,
        address: &ServerAddress,
        function: &F,
    ) -> impl Future<Output = Result<F::Response, ServerError>> + Send;
}

/// A call to a server that brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The server failed or refused.
    #[error(transparent)]
    Failed(#[from] es9_client::Error),
    /// The job was cancelled while the server was waited for.
    #[error("the server was not waited for any longer")]
    Interrupted,
}

impl ServerError {
    /// As [`es9_client::Error::is_local`].
    pub fn is_local(&self) -> bool {
        match self {
            Self::Failed(error) => error.is_local(),
            Self::Interrupted => false,
        }
    }
}

impl<C: Connect> Server for Es9Client<C> {
    async fn call<F: Es9Function>(
        &self,
        address: &ServerAddress,
        function: &F,
    ) -> Result<F::Response, ServerError> {
        Ok(Self::call(self, address, function).await?)
    }
}

/// An ES10 function that did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum FunctionError {
    /// It was not executed, or its outcome is unknown.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The eUICC said no.
    #[error("{function}: {refusal}")]
    Refused {
        /// The function.
        function: &'static str,
        /// The eUICC's result.
        refusal: Refusal,
    },
}

impl FunctionError {
    /// What the card has done.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Call(error) => error.outcome(),
            Self::Refused { .. } => Outcome::Refused,
        }
    }

    /// Whether the way to the card is lost; otherwise only this call failed. A garbled answer is
    /// still an answer: the card is there.
    pub(crate) fn loses_card(&self) -> bool {
        matches!(self, Self::Call(CallError::Transport { error, .. })
            if !matches!(error.fault, Fault::Garbled(_)))
    }

    /// The refusal of `F` with the given result.
    pub(crate) fn refused<F: Es10Function>(code: i64, text: &dyn fmt::Display) -> Self {
        let refusal = Refusal {
            code,
            text: text.to_string(),
        };
        Self::Refused {
            function: F::NAME,
            refusal,
        }
    }
}

/// Judges the result of a function in which 0 is the only success.
fn accepted<F: Es10Function>(code: i64, text: &dyn fmt::Display) -> Result<(), FunctionError> {
    match code {
        0 => Ok(()),
        _ => Err(FunctionError::refused::<F>(code, text)),
    }
}

/// A result of an ES10 function other than ok.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// Its number in the ASN.1 module.
    pub code: i64,
    /// Its meaning, with the number.
    pub text: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

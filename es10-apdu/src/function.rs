//! What every ES10 function has.

use rasn::Encode;

use crate::asn1::{self, CodecError, Extensible};

/// A request that an eUICC answers.
///
/// The type is the request of the ASN.1 module; sending it is [`Isdr::call`](crate::isdr::Isdr).
pub trait Es10Function: Encode + Send + Sized + Sync {
    /// Interface and function as SGP.22 writes them.
    const NAME: &'static str;
    /// The section of SGP.22 v2.5 that defines it.
    const SECTION: &'static str;
    /// The tag of request and answer.
    const TAG: u16;
    /// What it does to the eUICC.
    const EFFECT: Effect;
    /// What the eUICC answers.
    type Response: Extensible + Send;

    /// The request in DER.
    fn to_der(&self) -> Vec<u8> {
        asn1::encode(self)
    }

    /// Reads an answer, tolerantly.
    fn response(bytes: &[u8]) -> Result<Self::Response, CodecError> {
        asn1::read(bytes)
    }
}

/// What a function does to the eUICC.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Effect {
    /// Nothing that a second call does not do as well: it may be called again whatever became of it.
    Reads,
    /// It moves a session with a server on; what is stored on the eUICC stays the same.
    Session,
    /// It changes what is stored.
    Changes,
}

/// `Request => Response, name, section, tag, effect;` for each function.
macro_rules! functions {
    (@ reads) => { crate::function::Effect::Reads };
    (@ session) => { crate::function::Effect::Session };
    (@ changes) => { crate::function::Effect::Changes };
    ($($request:ty => $response:ty, $name:literal, $section:literal, $tag:literal, $effect:ident;)+) => {$(
        impl crate::function::Es10Function for $request {
            const NAME: &'static str = $name;
            const SECTION: &'static str = $section;
            const TAG: u16 = $tag;
            const EFFECT: crate::function::Effect = crate::function::functions!(@ $effect);
            type Response = $response;
        }
    )+};
}

pub(crate) use functions;

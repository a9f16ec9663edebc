//! The other end of a session.

use rsp_common::key::PublicKey;

use crate::smdp::order::OrderId;

/// An authenticated eUICC.
#[derive(Clone, Debug)]
pub(in crate::smdp) struct Client {
    pub(in crate::smdp) order: OrderId,
    pub(in crate::smdp) eid: String,
    pub(in crate::smdp) key: PublicKey,
    /// smdpSignature2 with its tag, which the eUICC signs too.
    pub(in crate::smdp) smdp_signature2: Vec<u8>,
}

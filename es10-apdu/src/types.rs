//! Value types that several functions share.

mod bits;
mod code;
mod eid;
mod iccid;
mod octets;
mod oid;
mod operator;
mod text;

pub use bits::{NotificationEvent, PprFlags, PprIds, ResetOptions, RspCapability, UiccCapability};
pub(crate) use code::result_code;
pub use code::{IconType, ProfileClass, ProfileState};
pub use eid::{Eid, EidError};
pub use iccid::{Iccid, IccidError};
pub use octets::{
    Aid, Certificate, Challenge, HashCc, LengthError, OneTimeKey, Signature, SubjectKeyIdentifier,
    TransactionId, VersionType,
};
pub use oid::{Oid, OidError};
pub use operator::{NotificationConfigurationInformation, OperatorId};
pub use text::Text;

//! The names of the functions.

use crate::rsp::names::functions_by_name;

/// A function of ES9+.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Function {
    /// ES9+.InitiateAuthentication, SGP.22 v2.5 section 5.6.1.
    InitiateAuthentication,
    /// ES9+.AuthenticateClient, SGP.22 v2.5 section 5.6.3.
    AuthenticateClient,
    /// ES9+.GetBoundProfilePackage, SGP.22 v2.5 section 5.6.2.
    GetBoundProfilePackage,
    /// ES9+.CancelSession, SGP.22 v2.5 section 5.6.5.
    CancelSession,
    /// ES9+.HandleNotification, SGP.22 v2.5 section 5.6.4.
    HandleNotification,
}

impl Function {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::InitiateAuthentication,
        Self::AuthenticateClient,
        Self::GetBoundProfilePackage,
        Self::CancelSession,
        Self::HandleNotification,
    ];

    /// Its name in the URL.
    pub fn name(self) -> &'static str {
        match self {
            Self::InitiateAuthentication => "initiateAuthentication",
            Self::AuthenticateClient => "authenticateClient",
            Self::GetBoundProfilePackage => "getBoundProfilePackage",
            Self::CancelSession => "cancelSession",
            Self::HandleNotification => "handleNotification",
        }
    }

    /// The function behind a path.
    pub(in crate::smdp) fn of_path(path: &str) -> Option<Self> {
        let name = path.strip_prefix("/gsma/rsp2/es9plus/")?;
        Self::ALL
            .into_iter()
            .find(|function| function.name() == name)
    }
}

functions_by_name!(Function);

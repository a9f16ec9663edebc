//! The functions of an SM-DS.

use crate::rsp::names::functions_by_name;

/// A function of ES11 or ES12.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Function {
    /// ES11.InitiateAuthentication, SGP.22 v2.5 section 5.8.1.
    InitiateAuthentication,
    /// ES11.AuthenticateClient, SGP.22 v2.5 section 5.8.2.
    AuthenticateClient,
    /// ES12.RegisterEvent, SGP.22 v2.5 section 5.4.1.
    RegisterEvent,
    /// ES12.DeleteEvent, SGP.22 v2.5 section 5.4.2.
    DeleteEvent,
}

impl Function {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::InitiateAuthentication,
        Self::AuthenticateClient,
        Self::RegisterEvent,
        Self::DeleteEvent,
    ];

    /// Its name in the URL.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InitiateAuthentication => "initiateAuthentication",
            Self::AuthenticateClient => "authenticateClient",
            Self::RegisterEvent => "registerEvent",
            Self::DeleteEvent => "deleteEvent",
        }
    }

    /// The path it is called under; ES11 shares those of ES9+.
    pub fn path(self) -> String {
        let interface = match self {
            Self::InitiateAuthentication | Self::AuthenticateClient => "es9plus",
            Self::RegisterEvent | Self::DeleteEvent => "es12",
        };
        format!("/gsma/rsp2/{interface}/{}", self.name())
    }

    /// The function behind a path.
    pub(super) fn of_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.path() == path)
    }
}

functions_by_name!(Function);

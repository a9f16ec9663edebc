//! What the API can be asked, and the request it comes in.

use es10_apdu::types::Iccid;
use hyper::Method;
use serde::de::DeserializeOwned;

use super::filter::OperationFilter;
use super::json;
use super::status::ErrorResponse;
use crate::config::Locked;
use crate::job::{Answer, Job, OperationId, Switch, Verdict};
use crate::problem::{Code, Problem};

/// Everything the API can be asked.
#[derive(Clone, Debug)]
pub enum Action {
    /// Is the daemon well?
    Health,
    /// Which version is it?
    Version,
    /// The description of the API.
    OpenApi,
    /// All eUICCs.
    Euiccs,
    /// One eUICC.
    Euicc {
        /// Its name.
        euicc: String,
        /// How long to wait at most until the card was read again.
        wait_s: u64,
    },
    /// Examine the way to an eUICC.
    Examine {
        /// The eUICC.
        euicc: String,
    },
    /// The server addresses on an eUICC.
    Addresses {
        /// The eUICC.
        euicc: String,
        /// How long to wait at most until the card was read again.
        wait_s: u64,
    },
    /// How it stands with an eUICC's service.
    Service {
        /// The eUICC.
        euicc: String,
    },
    /// The profiles on an eUICC.
    Profiles {
        /// The eUICC.
        euicc: String,
        /// How long to wait at most until the card was read again.
        wait_s: u64,
    },
    /// One profile on an eUICC.
    Profile {
        /// The eUICC.
        euicc: String,
        /// The profile.
        iccid: Iccid,
        /// How long to wait at most until the card was read again.
        wait_s: u64,
    },
    /// The notifications that wait on an eUICC.
    Notifications {
        /// The eUICC.
        euicc: String,
        /// How long to wait at most until the card was read again.
        wait_s: u64,
    },
    /// One notification that waits on an eUICC.
    Notification {
        /// The eUICC.
        euicc: String,
        /// Its sequence number.
        number: i64,
        /// How long to wait at most until the card was read again.
        wait_s: u64,
    },
    /// Start an operation.
    Start {
        /// The eUICC.
        euicc: String,
        /// What to do.
        job: Job,
        /// Whether it may wait behind other operations.
        may_wait: bool,
        /// Questions are asked only while the client's connection lasts.
        attended: bool,
    },
    /// The operations.
    Operations(OperationFilter),
    /// One operation, once it has settled or this many seconds have passed.
    Operation {
        /// The operation.
        id: OperationId,
        /// How long to wait at most.
        wait_s: u64,
    },
    /// Answer an operation's offer.
    Answer {
        /// The operation.
        id: OperationId,
        /// The answer.
        answer: Answer,
    },
    /// Stop an operation.
    Cancel(OperationId),
    /// Say what is to become of a switch of profiles.
    Decide {
        /// The operation.
        id: OperationId,
        /// Whether the new profile stays.
        verdict: Verdict,
    },
    /// Follow what happens.
    Events {
        /// The last event the reader saw.
        last_seen: Option<u64>,
    },
}

impl Action {
    /// What the caller must be allowed to do.
    pub fn access(&self) -> Access {
        match self {
            Self::Start { .. }
            | Self::Examine { .. }
            | Self::Answer { .. }
            | Self::Cancel(_)
            | Self::Decide { .. } => Access::Change,
            _ => Access::Read,
        }
    }
}

impl Action {
    /// What of it the configuration may leave to root; `is_test` tells whether a profile is one for tests.
    pub(super) fn lock(&self, is_test: impl Fn(&str, Iccid) -> bool) -> Option<Locked> {
        let Self::Start { euicc, job, .. } = self else {
            return None;
        };
        match job {
            Job::Download(_) | Job::SetDefaultSmdp { download: true, .. } => Some(Locked::Download),
            Job::Reset(_) => Some(Locked::Reset),
            Job::Enable(Switch { iccid, .. })
            | Job::Disable { iccid, .. }
            | Job::Delete { iccid, .. } => is_test(euicc, *iccid).then_some(Locked::TestProfile),
            _ => None,
        }
    }
}

/// What a caller may do.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Access {
    /// Nothing.
    None,
    /// Look.
    Read,
    /// Look and change.
    Change,
}

/// The parts of an HTTP request that decide what it asks.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path, without the query.
    pub path: &'a str,
    /// The query.
    pub query: Option<&'a str>,
    /// The `Last-Event-ID` header.
    pub last_event_id: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

impl Request<'_> {
    pub(super) fn only_get(&self, action: Action) -> Result<Action, ErrorResponse> {
        match *self.method {
            Method::GET => Ok(action),
            _ => Err(self.not_allowed(&["GET"])),
        }
    }

    pub(super) fn start(&self, euicc: &str, job: Job) -> Result<Action, Problem> {
        self.start_attended(euicc, job, false)
    }

    pub(super) fn start_attended(
        &self,
        euicc: &str,
        job: Job,
        attended: bool,
    ) -> Result<Action, Problem> {
        Ok(Action::Start {
            euicc: euicc.to_owned(),
            job,
            may_wait: self.flag("queue", true)?,
            attended,
        })
    }

    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        json::read(self.body)
    }

    /// How long the client waits, from the query, or else this long.
    pub(super) fn wait(&self, unsaid_s: u64) -> Result<u64, Problem> {
        match self.number("wait") {
            None => Ok(unsaid_s),
            Some(Some(seconds @ 0..=LONGEST_WAIT_S)) => Ok(seconds),
            Some(_) => Err(invalid(format!(
                "wait is a number of seconds up to {LONGEST_WAIT_S}."
            ))),
        }
    }

    /// The number that a key of the query says; inside, `None` when it says something else.
    pub(super) fn number(&self, key: &str) -> Option<Option<u64>> {
        let digits = |text: &&str| text.bytes().all(|octet| octet.is_ascii_digit());
        let said = self.value_of(key)?;
        Some(Some(said).filter(digits).and_then(|said| said.parse().ok()))
    }

    /// Whether a key of the query says `true`, or else what holds when nothing is said.
    pub(super) fn flag(&self, key: &str, unsaid: bool) -> Result<bool, Problem> {
        match self.value_of(key) {
            None => Ok(unsaid),
            Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(invalid(format!("{key} is either true or false."))),
        }
    }

    /// The value of a key of the query.
    pub(super) fn value_of(&self, key: &str) -> Option<&str> {
        let mut pairs = self.pairs();
        pairs.find_map(|(name, value)| (name == key).then_some(value))
    }

    /// Checks that the query has each of these keys at most once, and nothing else.
    ///
    /// # Errors
    ///
    /// When it has: a misspelt key would be passed over in silence.
    pub(super) fn only_query(&self, keys: &[&str]) -> Result<(), Problem> {
        let is_known = |pair: &(&str, &str)| keys.contains(&pair.0);
        let is_once = keys
            .iter()
            .all(|key| self.pairs().filter(|(name, _)| name == key).count() <= 1);
        if self.pairs().all(|pair| is_known(&pair)) && is_once {
            return Ok(());
        }
        let known: Vec<_> = keys.iter().map(|key| format!("\"{key}=…\"")).collect();
        let detail = match known.as_slice() {
            [] => format!("{} takes no query.", self.path),
            known => format!("the query takes only {}, once.", known.join(" and ")),
        };
        Err(invalid(detail))
    }

    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.query.unwrap_or_default().split('&');
        let pairs = pairs.filter(|pair| !pair.is_empty());
        pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    pub(super) fn not_found(&self) -> ErrorResponse {
        let problem = Problem::new(Code::NotFound);
        problem.detail(format!("there is no {}.", self.path)).into()
    }

    pub(super) fn not_allowed(&self, methods: &[&str]) -> ErrorResponse {
        let (path, takes) = (self.path, methods.join(" and "));
        let problem = Problem::new(Code::MethodNotAllowed);
        let problem = problem.detail(format!("{path} takes {takes}, not {}.", self.method));
        ErrorResponse {
            allow: methods.iter().map(ToString::to_string).collect(),
            ..problem.into()
        }
    }
}

/// The request cannot be understood, for this reason.
pub(super) fn invalid(why: String) -> Problem {
    Problem::new(Code::InvalidRequest).detail(why)
}

/// The longest `?wait=`.
pub const LONGEST_WAIT_S: u64 = 60;
/// How long a reader of the card waits who does not say.
pub(super) const CARD_S: u64 = 30;

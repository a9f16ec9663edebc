//! A request's method, path and body become an [`Action`]; nothing is done here.

use hyper::Method;
use serde::de::DeserializeOwned;

use super::problem::{Code, Problem};
use super::{downloads, euiccs, events, notifications, operations, profiles};
use crate::engine::Job;
use crate::operation::{Answer, OperationId};

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
    Euicc(String),
    /// The server addresses on an eUICC.
    Addresses(String),
    /// The profiles on an eUICC.
    Profiles(String),
    /// One profile on an eUICC.
    Profile {
        /// The eUICC.
        euicc: String,
        /// The profile.
        iccid: String,
    },
    /// The notifications that wait on an eUICC.
    Notifications(String),
    /// Start an operation.
    Start {
        /// The eUICC.
        euicc: String,
        /// What to do.
        job: Job,
        /// Tells a repeated request from a new one.
        idempotency_key: Option<String>,
    },
    /// All operations.
    Operations,
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
            Self::Start { .. } | Self::Answer { .. } | Self::Cancel(_) => Access::Change,
            _ => Access::Read,
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
    /// The `Idempotency-Key` header.
    pub idempotency_key: Option<&'a str>,
    /// The `Last-Event-ID` header.
    pub last_event_id: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

impl Request<'_> {
    /// Tells what is asked.
    ///
    /// # Errors
    ///
    /// When the path or method is unknown, or the query or body cannot be read.
    pub fn route(&self) -> Result<Action, Problem> {
        let segments: Vec<&str> = self.path.trim_matches('/').split('/').collect();
        let ["v1", rest @ ..] = segments.as_slice() else {
            return Err(self.not_found());
        };
        match rest {
            ["health"] => self.only_get(Action::Health),
            ["version"] => self.only_get(Action::Version),
            ["openapi.json"] => self.only_get(Action::OpenApi),
            ["events"] => events::route(self),
            ["operations", rest @ ..] => operations::route(self, rest),
            ["euiccs"] => self.only_get(Action::Euiccs),
            ["euiccs", euicc, "profiles", rest @ ..] => profiles::route(self, euicc, rest),
            ["euiccs", euicc, "downloads"] => downloads::route(self, euicc),
            ["euiccs", euicc, "notifications", rest @ ..] => {
                notifications::route(self, euicc, rest)
            }
            ["euiccs", euicc, rest @ ..] => euiccs::route(self, euicc, rest),
            _ => Err(self.not_found()),
        }
    }

    pub(super) fn only_get(&self, action: Action) -> Result<Action, Problem> {
        match *self.method {
            Method::GET => Ok(action),
            _ => Err(self.not_allowed(&["GET"])),
        }
    }

    pub(super) fn start(&self, euicc: &str, job: Job) -> Action {
        let idempotency_key = self.idempotency_key.map(str::to_owned);
        Action::Start {
            euicc: euicc.to_owned(),
            job,
            idempotency_key,
        }
    }

    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice(self.body).map_err(|error| {
            // The position helps; the text might quote a secret.
            let what = match error.classify() {
                serde_json::error::Category::Data => error.to_string(),
                _ => format!(
                    "the body is no JSON (line {}, column {})",
                    error.line(),
                    error.column()
                ),
            };
            Problem::new(Code::InvalidRequest).detail(format!("{what}."))
        })
    }

    /// The value of `key` in the query.
    ///
    /// # Errors
    ///
    /// When the query has any other key.
    pub(super) fn only_query(&self, key: &str) -> Result<Option<&str>, Problem> {
        let mut value = None;
        for pair in self
            .query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            match pair.split_once('=') {
                Some((name, text)) if name == key => value = Some(text),
                _ => {
                    let detail = format!("the query knows only \"{key}=…\".");
                    return Err(Problem::new(Code::InvalidRequest).detail(detail));
                }
            }
        }
        Ok(value)
    }

    pub(super) fn not_found(&self) -> Problem {
        Problem::new(Code::NotFound).detail(format!("there is no {}.", self.path))
    }

    pub(super) fn not_allowed(&self, methods: &[&str]) -> Problem {
        let (path, takes) = (self.path, methods.join(" and "));
        let problem = Problem::new(Code::MethodNotAllowed);
        Problem {
            allow: methods.iter().map(ToString::to_string).collect(),
            ..problem.detail(format!("{path} takes {takes}, not {}.", self.method))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Consent, Download, DownloadSource, ResetScope};
    use crate::operation::Decision;

    fn route(line: &str, body: &str) -> Result<Action, Problem> {
        let (method, target) = line.split_once(' ').unwrap();
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        Request {
            method: &method.parse().unwrap(),
            path,
            query,
            idempotency_key: None,
            last_event_id: None,
            body: body.as_bytes(),
        }
        .route()
    }

    fn starts(job: Job) -> Action {
        Action::Start {
            euicc: "default".into(),
            job,
            idempotency_key: None,
        }
    }

    #[test]
    fn every_resource_has_its_action() {
        let default = || "default".to_owned();
        let iccid = || "89001234567890123457".to_owned();
        let at = |path: &str| format!("/v1/euiccs/default{path}");
        let profile = at("/profiles/89001234567890123457");
        let download = |source, consent, enable| {
            starts(Job::Download(Download {
                source,
                confirmation_code: None,
                consent,
                enable,
            }))
        };
        let cases = [
            ("GET /v1/health".into(), "", Action::Health),
            ("GET /v1/version".into(), "", Action::Version),
            ("GET /v1/openapi.json".into(), "", Action::OpenApi),
            ("GET /v1/euiccs".into(), "", Action::Euiccs),
            (
                "GET /v1/euiccs/default".into(),
                "",
                Action::Euicc(default()),
            ),
            (
                format!("GET {}", at("/addresses")),
                "",
                Action::Addresses(default()),
            ),
            (
                format!("PUT {}", at("/addresses")),
                r#"{"default_smdp":"smdp.example.com"}"#,
                starts(Job::SetDefaultSmdp("smdp.example.com".into())),
            ),
            (
                format!("GET {}", at("/profiles")),
                "",
                Action::Profiles(default()),
            ),
            (
                format!("GET {profile}"),
                "",
                Action::Profile {
                    euicc: default(),
                    iccid: iccid(),
                },
            ),
            (
                format!("PATCH {profile}"),
                r#"{"state":"enabled"}"#,
                starts(Job::Enable(iccid())),
            ),
            (
                format!("PATCH {profile}"),
                r#"{"state":"disabled"}"#,
                starts(Job::Disable(iccid())),
            ),
            (
                format!("PATCH {profile}"),
                r#"{"nickname":"spare"}"#,
                starts(Job::Rename {
                    iccid: iccid(),
                    nickname: "spare".into(),
                }),
            ),
            (
                format!("DELETE {profile}"),
                "",
                starts(Job::Delete(iccid())),
            ),
            (
                format!("POST {}", at("/downloads")),
                r#"{"default":true,"consent":"accept","enable":true}"#,
                download(DownloadSource::DefaultSmdp, Consent::Accept, true),
            ),
            (
                format!("POST {}", at("/downloads")),
                r#"{"activation_code":"1$smdp.example.com$A-1"}"#,
                download(
                    DownloadSource::ActivationCode("1$smdp.example.com$A-1".parse().unwrap()),
                    Consent::Ask,
                    false,
                ),
            ),
            (
                format!("POST {}", at("/downloads")),
                r#"{"smdp":"smdp.example.com"}"#,
                download(
                    DownloadSource::Smdp("smdp.example.com".parse().unwrap()),
                    Consent::Ask,
                    false,
                ),
            ),
            (
                format!("GET {}", at("/notifications")),
                "",
                Action::Notifications(default()),
            ),
            (
                format!("POST {}", at("/notifications/deliver")),
                "",
                starts(Job::DeliverNotifications),
            ),
            (
                format!("POST {}", at("/reset")),
                r#"{"confirm":"default","operational_profiles":true}"#,
                starts(Job::Reset(ResetScope {
                    operational_profiles: true,
                    test_profiles: false,
                    default_smdp: false,
                })),
            ),
            ("GET /v1/operations".into(), "", Action::Operations),
            (
                "GET /v1/operations/7?wait=30".into(),
                "",
                Action::Operation {
                    id: OperationId(7),
                    wait_s: 30,
                },
            ),
            (
                "DELETE /v1/operations/7".into(),
                "",
                Action::Cancel(OperationId(7)),
            ),
            (
                "POST /v1/operations/7/cancel".into(),
                "",
                Action::Cancel(OperationId(7)),
            ),
            (
                "POST /v1/operations/7/answer".into(),
                r#"{"answer":"decline"}"#,
                Action::Answer {
                    id: OperationId(7),
                    answer: Answer {
                        answer: Decision::Decline,
                        confirmation_code: None,
                    },
                },
            ),
            (
                "GET /v1/events".into(),
                "",
                Action::Events { last_seen: None },
            ),
        ];
        for (line, body, action) in cases {
            let routed =
                route(&line, body).unwrap_or_else(|problem| panic!("{line} {body}: {problem}"));
            assert_eq!(
                format!("{routed:?}"),
                format!("{action:?}"),
                "{line} {body}"
            );
        }
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_its_reason() {
        let profile = "/v1/euiccs/default/profiles/89001234567890123457";
        let cases = [
            ("GET /".to_owned(), "", Code::NotFound),
            ("GET /v2/health".into(), "", Code::NotFound),
            ("GET /v1/euiccs/default/nothing".into(), "", Code::NotFound),
            ("POST /v1/health".into(), "", Code::MethodNotAllowed),
            (format!("PUT {profile}"), "", Code::MethodNotAllowed),
            (
                "GET /v1/euiccs/default/downloads".into(),
                "",
                Code::MethodNotAllowed,
            ),
            (
                "GET /v1/euiccs/default/profiles/x".into(),
                "",
                Code::UnknownProfile,
            ),
            ("GET /v1/operations/x".into(), "", Code::UnknownOperation),
            (
                "GET /v1/operations/1?wait=61".into(),
                "",
                Code::InvalidRequest,
            ),
            (
                "GET /v1/operations/1?for=1".into(),
                "",
                Code::InvalidRequest,
            ),
            (format!("PATCH {profile}"), "{}", Code::InvalidRequest),
            (format!("PATCH {profile}"), "{", Code::InvalidRequest),
            (
                format!("PATCH {profile}"),
                r#"{"state":"enabled","nickname":"x"}"#,
                Code::InvalidRequest,
            ),
            (
                format!("PATCH {profile}"),
                r#"{"stat":"enabled"}"#,
                Code::InvalidRequest,
            ),
            (
                "POST /v1/euiccs/default/downloads".into(),
                "{}",
                Code::InvalidRequest,
            ),
            (
                "POST /v1/euiccs/default/downloads".into(),
                r#"{"default":true,"smdp":"a.b"}"#,
                Code::InvalidRequest,
            ),
            (
                "POST /v1/euiccs/default/downloads".into(),
                r#"{"smdp":"http://a.b"}"#,
                Code::InvalidAddress,
            ),
            (
                "POST /v1/euiccs/default/downloads".into(),
                r#"{"activation_code":"2$a.b$c"}"#,
                Code::InvalidActivationCode,
            ),
            (
                "PUT /v1/euiccs/default/addresses".into(),
                r#"{"default_smdp":"a b"}"#,
                Code::InvalidAddress,
            ),
            (
                "POST /v1/euiccs/default/reset".into(),
                r#"{"confirm":"other","operational_profiles":true}"#,
                Code::InvalidRequest,
            ),
            (
                "POST /v1/euiccs/default/reset".into(),
                r#"{"confirm":"default"}"#,
                Code::InvalidRequest,
            ),
        ];
        for (line, body, code) in cases {
            let problem = route(&line, body).unwrap_err();
            assert_eq!(problem.code, code, "{line} {body}: {problem}");
        }
    }

    #[test]
    fn only_starting_answering_and_cancelling_change_anything() {
        assert_eq!(Action::Profiles("default".into()).access(), Access::Read);
        assert_eq!(Action::Events { last_seen: None }.access(), Access::Read);
        assert_eq!(starts(Job::DeliverNotifications).access(), Access::Change);
        assert_eq!(Action::Cancel(OperationId(1)).access(), Access::Change);
    }
}

//! Which path asks for what: method, path and body become an [`Action`]; nothing is done here.

use super::action::{Action, Request};
use super::filter::OperationFilter;
use super::status::ErrorResponse;
use super::{downloads, euiccs, events, notifications, operations, profiles};
use crate::job::Job;

/// Tells what is asked.
pub fn route(request: &Request<'_>) -> Result<Action, ErrorResponse> {
    let segments: Vec<&str> = request.path.trim_matches('/').split('/').collect();
    let ["v1", rest @ ..] = segments.as_slice() else {
        return Err(request.not_found());
    };
    let action = resource(request, rest)?;
    request.only_query(match &action {
        Action::Euicc { .. }
        | Action::Addresses { .. }
        | Action::Profiles { .. }
        | Action::Profile { .. }
        | Action::Notifications { .. }
        | Action::Notification { .. }
        | Action::Operation { .. } => &["wait"],
        Action::Operations(_) => OperationFilter::KEYS,
        Action::Start {
            job: Job::Delete { .. } | Job::RemoveNotification { .. },
            ..
        } => &["force", "queue"],
        Action::Start { .. } => &["queue"],
        _ => &[],
    })?;
    Ok(action)
}

fn resource(request: &Request<'_>, path: &[&str]) -> Result<Action, ErrorResponse> {
    match path {
        ["health"] => request.only_get(Action::Health),
        ["version"] => request.only_get(Action::Version),
        ["openapi.json"] => request.only_get(Action::OpenApi),
        ["events"] => events::route(request),
        ["operations", rest @ ..] => operations::route(request, rest),
        ["euiccs"] => request.only_get(Action::Euiccs),
        ["euiccs", euicc, "profiles", rest @ ..] => profiles::route(request, euicc, rest),
        ["euiccs", euicc, "downloads"] => downloads::route(request, euicc),
        ["euiccs", euicc, "notifications", rest @ ..] => notifications::route(request, euicc, rest),
        ["euiccs", euicc, rest @ ..] => euiccs::route(request, euicc, rest),
        _ => Err(request.not_found()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::action::Access;
    use super::*;
    use crate::config::Locked;
    use crate::job::{
        Answer, Consent, Decision, Download, DownloadSource, OperationId, ResetScope, Switch,
        Verdict,
    };
    use crate::memory::operations::State;
    use crate::problem::{Code, Problem};

    fn route(line: &str, body: &str) -> Result<Action, Problem> {
        let (method, target) = line.split_once(' ').unwrap();
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        super::route(&Request {
            method: &method.parse().unwrap(),
            path,
            query,
            last_event_id: None,
            body: body.as_bytes(),
        })
        .map_err(|refused| refused.problem)
    }

    fn starts(job: Job) -> Action {
        Action::Start {
            euicc: "default".into(),
            job,
            may_wait: true,
            attended: false,
        }
    }

    #[test]
    fn every_resource_has_its_action() {
        let default = || "default".to_owned();
        let number = || "89001234567890123457".parse().unwrap();
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
                Action::Euicc {
                    euicc: default(),
                    wait_s: 30,
                },
            ),
            (
                format!("GET {}", at("/addresses")),
                "",
                Action::Addresses {
                    euicc: default(),
                    wait_s: 30,
                },
            ),
            (
                format!("PUT {}", at("/addresses")),
                r#"{"default_smdp":"smdp.example.com"}"#,
                starts(Job::SetDefaultSmdp {
                    address: "smdp.example.com".into(),
                    download: false,
                }),
            ),
            (
                format!("GET {}", at("/service")),
                "",
                Action::Service { euicc: default() },
            ),
            (
                format!("GET {}", at("/profiles")),
                "",
                Action::Profiles {
                    euicc: default(),
                    wait_s: 30,
                },
            ),
            (
                format!("GET {profile}?wait=0"),
                "",
                Action::Profile {
                    euicc: default(),
                    iccid: number(),
                    wait_s: 0,
                },
            ),
            (
                format!("PATCH {profile}"),
                r#"{"state":"enabled"}"#,
                starts(Job::Enable(Switch::to(number()))),
            ),
            (
                format!("PATCH {profile}"),
                r#"{"state":"disabled"}"#,
                starts(Job::Disable {
                    iccid: number(),
                    force: false,
                }),
            ),
            (
                format!("PATCH {profile}"),
                r#"{"nickname":"spare"}"#,
                starts(Job::Rename {
                    iccid: number(),
                    nickname: "spare".into(),
                }),
            ),
            (
                format!("DELETE {profile}"),
                "",
                starts(Job::Delete {
                    iccid: number(),
                    force: false,
                }),
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
                Action::Notifications {
                    euicc: default(),
                    wait_s: 30,
                },
            ),
            (
                format!("POST {}", at("/notifications/deliver")),
                "",
                starts(Job::DeliverNotifications(None)),
            ),
            (
                format!("GET {}", at("/notifications/7?wait=0")),
                "",
                Action::Notification {
                    euicc: default(),
                    number: 7,
                    wait_s: 0,
                },
            ),
            (
                format!("POST {}", at("/notifications/7/deliver")),
                "",
                starts(Job::DeliverNotifications(Some(7))),
            ),
            (
                format!("DELETE {}", at("/notifications/7?force=true")),
                "",
                starts(Job::RemoveNotification {
                    number: 7,
                    force: true,
                }),
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
            (
                "GET /v1/operations".into(),
                "",
                Action::Operations(OperationFilter::default()),
            ),
            (
                "GET /v1/operations?state=awaiting-answer&since=7".into(),
                "",
                Action::Operations(OperationFilter {
                    state: Some(State::AwaitingAnswer),
                    since_s: Some(7),
                    ..OperationFilter::default()
                }),
            ),
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
                "POST /v1/operations/7/revert".into(),
                "",
                Action::Decide {
                    id: OperationId(7),
                    verdict: Verdict::Revert,
                },
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
            (
                "GET /v1/operations/1?wait=1&wait=2".into(),
                "",
                Code::InvalidRequest,
            ),
            (
                "DELETE /v1/operations/1?wait=1".into(),
                "",
                Code::InvalidRequest,
            ),
            (
                "GET /v1/operations?state=asleep".into(),
                "",
                Code::InvalidRequest,
            ),
            (
                "GET /v1/operations?kind=Enable".into(),
                "",
                Code::InvalidRequest,
            ),
            (
                "GET /v1/operations?since=yesterday".into(),
                "",
                Code::InvalidRequest,
            ),
            (
                "POST /v1/euiccs/default/notifications/deliver?queue=no".into(),
                "",
                Code::InvalidRequest,
            ),
            ("GET /v1/operations/+1".into(), "", Code::UnknownOperation),
            ("GET /v1/operations/01".into(), "", Code::UnknownOperation),
            ("GET /v1/operations/0".into(), "", Code::UnknownOperation),
            ("GET /v1/health?x".into(), "", Code::InvalidRequest),
            (
                "POST /v1/euiccs/default/notifications/deliver?now=1".into(),
                "",
                Code::InvalidRequest,
            ),
            ("GET /v1/events?wait=1".into(), "", Code::InvalidRequest),
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
        assert_eq!(Action::Euiccs.access(), Access::Read);
        assert_eq!(Action::Events { last_seen: None }.access(), Access::Read);
        assert_eq!(
            starts(Job::DeliverNotifications(None)).access(),
            Access::Change
        );
        assert_eq!(Action::Cancel(OperationId(1)).access(), Access::Change);
    }

    #[test]
    fn what_may_be_left_to_root_is_told_by_what_it_does() {
        let iccid = "89001234567890123457".parse().unwrap();
        let lock = |job: Job, is_test| starts(job).lock(|_, _| is_test);
        let set = |download| Job::SetDefaultSmdp {
            address: "smdp.example.com".into(),
            download,
        };
        let force = false;
        for (job, of_test, of_other) in [
            (
                Job::Delete { iccid, force },
                Some(Locked::TestProfile),
                None,
            ),
            (
                Job::Disable { iccid, force },
                Some(Locked::TestProfile),
                None,
            ),
            (set(true), Some(Locked::Download), Some(Locked::Download)),
            (set(false), None, None),
            (Job::DeliverNotifications(None), None, None),
        ] {
            assert_eq!(lock(job.clone(), true), of_test);
            assert_eq!(lock(job, false), of_other);
        }
        let wiped = route(
            "POST /v1/euiccs/default/reset",
            r#"{"confirm":"default","test_profiles":true}"#,
        );
        let lock = wiped.unwrap().lock(|_, _| false);
        assert_eq!(lock, Some(Locked::Reset));
    }
}

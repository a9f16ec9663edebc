//! What stands around a function's output: HTTP status and `functionExecutionStatus`.

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::status::StatusCodeData;

/// An HTTP answer whose body has arrived completely.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status code.
    pub status: u16,
    /// The value of the `Content-Type` header, for messages only.
    pub content_type: Option<String>,
    /// The body, empty if there was none.
    pub body: Bytes,
}

impl Answer {
    /// Reads the output of a function that was executed.
    ///
    /// SGP.22 v2.5 section 6.5.1.4. Some servers leave `header` out on success: complete output
    /// without it is accepted.
    pub fn output<T: DeserializeOwned>(&self) -> Result<T, AnswerError> {
        let body = self.json_body()?;
        match self.parse::<Envelope>(body)?.header {
            Some(header) => header.check()?,
            None => tracing::warn!("the server's answer has no header object"),
        }
        Ok(self.parse(body)?)
    }

    /// Reads the answer of a function without output, where only `header` can tell success.
    pub fn executed(&self) -> Result<(), AnswerError> {
        self.parse::<Envelope>(self.json_body()?)?
            .header
            .ok_or(ProtocolError::NoHeader)?
            .check()
    }

    /// Reads the acknowledgement of a notification: status 204 without a body.
    ///
    /// SGP.22 v2.5 section 6.3. Status 200 with `Executed-Success` is accepted too; status 200
    /// alone acknowledges nothing: it may come from a captive portal.
    pub fn acknowledged(&self) -> Result<(), AnswerError> {
        if self.status == 204 {
            return Ok(());
        }
        self.executed()?;
        tracing::info!("the server acknowledged a notification with status 200 instead of 204");
        Ok(())
    }

    /// The body of an answer with status 200, without a byte order mark.
    fn json_body(&self) -> Result<&[u8], AnswerError> {
        if self.status != 200 && self.status != 204 {
            return Err(AnswerError::Http(self.status));
        }
        let body = self
            .body
            .strip_prefix(BYTE_ORDER_MARK)
            .unwrap_or(&self.body);
        match body.trim_ascii().is_empty() {
            true => Err(ProtocolError::NoBody.into()),
            false => Ok(body),
        }
    }

    fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, ProtocolError> {
        serde_json::from_slice(body).map_err(|error| {
            let reason = shorten(error.to_string());
            match error.is_data() {
                true => ProtocolError::Member { reason },
                false => ProtocolError::NotJson {
                    content_type: self.content_type.clone().map(shorten),
                    reason,
                },
            }
        })
    }
}

/// Why an answer brings no output.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum AnswerError {
    /// The HTTP status is not one of a function that was executed.
    #[error("HTTP status {0}")]
    Http(u16),
    /// The answer is not what SGP.22 says.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The server refused to execute the function.
    #[error("{status}: {data}")]
    Status {
        /// The execution status.
        status: ExecutionStatus,
        /// Subject and reason; both are empty when the server gave none.
        data: StatusCodeData,
    },
}

/// What is wrong with an answer.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// It is not HTTP.
    #[error("the answer is not HTTP/1.1: {reason}")]
    NotHttp {
        /// What the parser found.
        reason: String,
    },
    /// The body is compressed.
    #[error("the answer has the content coding {:?}, which was not asked for", shorten(coding.clone()))]
    Encoded {
        /// The value of `Content-Encoding`.
        coding: String,
    },
    /// There is no body where there should be one.
    #[error("the answer has no body")]
    NoBody,
    /// The body is not JSON.
    #[error("the answer is not JSON{}: {reason}", of_type(content_type.as_deref()))]
    NotJson {
        /// What the server says the body is.
        content_type: Option<String>,
        /// What the parser found.
        reason: String,
    },
    /// A member is missing or has an impossible value.
    #[error("the answer cannot be read: {reason}")]
    Member {
        /// Which member and what is wrong with it.
        reason: String,
    },
    /// Nothing says whether the function was executed.
    #[error("the answer has no functionExecutionStatus")]
    NoHeader,
    /// The request cannot be written as JSON.
    #[error("the request cannot be written: {reason}")]
    Request {
        /// What the serialiser found.
        reason: String,
    },
}

/// The `status` of functionExecutionStatus.
///
/// SGP.22 v2.5 section 6.5.1.4. Unknown values are kept, and count as failures.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(transparent)]
pub struct ExecutionStatus(String);

impl ExecutionStatus {
    /// Whether the function was executed.
    pub fn is_success(&self) -> bool {
        matches!(&*self.0, "Executed-Success" | "Executed-WithWarning")
    }
}

impl fmt::Display for ExecutionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_debug().fmt(f)
    }
}

#[derive(Deserialize)]
struct Envelope {
    header: Option<Header>,
}

#[derive(Deserialize)]
struct Header {
    #[serde(rename = "functionExecutionStatus")]
    function_execution_status: FunctionExecutionStatus,
}

impl Header {
    fn check(self) -> Result<(), AnswerError> {
        let FunctionExecutionStatus { status, data } = self.function_execution_status;
        // A refusal stays one even when its codes cannot be read.
        let data = data.and_then(|data| StatusCodeData::deserialize(data).ok());
        match (status.is_success(), data) {
            (true, None) => Ok(()),
            (true, Some(data)) => {
                tracing::warn!(%status, %data, "the server executed the function with a remark");
                Ok(())
            }
            (false, data) => Err(AnswerError::Status {
                status,
                data: data.unwrap_or_default(),
            }),
        }
    }
}

#[derive(Deserialize)]
struct FunctionExecutionStatus {
    status: ExecutionStatus,
    #[serde(rename = "statusCodeData")]
    data: Option<serde_json::Value>,
}

/// Keeps what a server sent from flooding a log.
fn shorten(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MESSAGE_LENGTH) {
        text.truncate(end);
        text.push('…');
    }
    text
}

fn of_type(content_type: Option<&str>) -> String {
    content_type.map_or_else(String::new, |name| format!(" but {name}"))
}

const BYTE_ORDER_MARK: &[u8] = &[0xEF, 0xBB, 0xBF];
const MESSAGE_LENGTH: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Output {
        value: u32,
    }

    #[test]
    fn output_is_read_with_a_header_without_one_and_after_a_byte_order_mark() {
        let success =
            r#"{"header":{"functionExecutionStatus":{"status":"Executed-Success"}},"value":7}"#;
        let warning = r#"{"header":{"functionExecutionStatus":{"status":"Executed-WithWarning",
            "statusCodeData":{"subjectCode":"8.1","reasonCode":"4.3"}}},"value":7,"other":[]}"#;
        for body in [success, warning, r#"{"value":7}"#, "\u{FEFF}{\"value\":7}"] {
            assert_eq!(answer(200, body).output::<Output>().unwrap().value, 7);
        }
    }

    #[test]
    fn a_failed_answer_gives_the_codes_as_text() {
        let body = r#"{"header":{"functionExecutionStatus":{"status":"Failed","statusCodeData":
            {"subjectCode":"8.8.5","reasonCode":"4.10","message":"expired"}}},"value":7}"#;
        let Err(AnswerError::Status { status, data }) = answer(200, body).output::<Output>() else {
            panic!("not a failure");
        };
        assert_eq!(status.to_string(), "Failed");
        assert_eq!((&*data.subject_code, &*data.reason_code), ("8.8.5", "4.10"));
    }

    #[test]
    fn a_failed_answer_needs_no_codes_and_an_unknown_status_is_a_failure() {
        for status in [
            r#"{"status":"Failed"}"#,
            r#"{"status":"Expired","statusCodeData":null}"#,
            r#"{"status":"Executed-Perhaps"}"#,
            r#"{"status":"Failed","statusCodeData":{"subjectCode":8.1,"reasonCode":null}}"#,
        ] {
            let body = format!(r#"{{"header":{{"functionExecutionStatus":{status}}}}}"#);
            let error = answer(200, &body).output::<Output>().unwrap_err();
            assert!(matches!(error, AnswerError::Status { .. }), "{error}");
        }
    }

    #[test]
    fn a_notification_is_acknowledged_by_204_or_by_an_executed_status_only() {
        let executed = r#"{"header":{"functionExecutionStatus":{"status":"Executed-Success"}}}"#;
        let failed = r#"{"header":{"functionExecutionStatus":{"status":"Failed"}}}"#;
        assert!(answer(204, "").acknowledged().is_ok());
        assert!(answer(200, executed).acknowledged().is_ok());
        for (status, body) in [
            (200, ""),
            (200, "{}"),
            (200, failed),
            (202, ""),
            (500, executed),
        ] {
            assert!(
                answer(status, body).acknowledged().is_err(),
                "{status} {body}"
            );
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_apart() {
        let read = |status, body| answer(status, body).output::<Output>().unwrap_err();
        assert_eq!(read(302, ""), AnswerError::Http(302));
        assert_eq!(read(204, ""), ProtocolError::NoBody.into());
        assert_eq!(read(200, " \r\n"), ProtocolError::NoBody.into());
        let html = read(200, "<html>").to_string();
        assert!(
            html.starts_with("the answer is not JSON but text/plain: "),
            "{html}"
        );
        let missing = read(200, "{}").to_string();
        assert!(missing.contains("missing field `value`"), "{missing}");
        assert_eq!(
            answer(200, "{}").executed().unwrap_err(),
            ProtocolError::NoHeader.into()
        );
    }

    #[test]
    fn a_message_about_a_servers_text_stays_short() {
        let body = format!(r#"{{"value":"{}"}}"#, "é".repeat(5000));
        let error = answer(200, &body).output::<Output>().unwrap_err();
        assert!(error.to_string().chars().count() < 300);
    }

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status,
            content_type: Some("text/plain".to_owned()),
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }
}

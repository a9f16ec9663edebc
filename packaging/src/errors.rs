//! The codes that errors have, as `docs/error-codes.md`.

use es9_client::StatusCodeData;
use lpad::api::status::status_of;
use lpad::cli::problem_exit_code;
use lpad::problem::{Code, Problem};

use crate::commands;

/// `docs/error-codes.md`.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    page +=
        "| code | what it means | what to do | retry | HTTP | exit |\n|---|---|---|---|---|---|\n";
    for code in Code::ALL {
        let problem = Problem::new(*code);
        let name = code.name();
        page += &format!(
            "| <a id=\"{name}\"></a>`{name}` | {} | {} | {} | {} | {} |\n",
            problem.title,
            problem.next_step,
            if problem.retryable { "yes" } else { "no" },
            status_of(*code),
            problem_exit_code(*code),
        );
    }
    page += SERVERS;
    page += "| subject | reason | what it means | what to do | code |\n|---|---|---|---|---|\n";
    for (subject, reason) in StatusCodeData::known() {
        let data = StatusCodeData {
            subject_code: subject.to_owned(),
            reason_code: reason.to_owned(),
            ..StatusCodeData::default()
        };
        let meaning = data.meaning();
        let name = Code::from(&data).name();
        page += &format!(
            "| {subject} | {reason} | {} | {} | [`{name}`](#{name}) |\n",
            meaning.title,
            meaning.next_step.advice(),
        );
    }
    page += EXIT_CODES;
    page += &commands::exit_codes(&commands::lpactl());
    page += DAEMON_EXIT_CODES;
    for (code, meaning) in commands::DAEMON_EXIT_CODES {
        page += &format!("| {code} | {meaning} |\n");
    }
    page
}

const HEAD: &str = "\
# Error codes

This page is for those who look up what an error of lpad or `lpactl` means, and for those who write
programs that handle errors.

## Problems

Every error response, and every operation that has failed, carries a problem document
([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)). Its `code` is one of these and does not change
between versions; `detail` says what happened this time, and `next_step` what to do about it. *Retry*
says whether the same request may succeed later (`retryable` in the document), *HTTP* is the status of
the response, and *exit* is the exit code of `lpactl`.

";

const SERVERS: &str = "
## What an SM-DP+ refuses

An SM-DP+ or SM-DS that refuses a request gives a subject and a reason from SGP.22 section 5.2.6. The
problem document has them in `sgp22`, and its `code` is the one in the last column.

";

const EXIT_CODES: &str = "
## Exit codes of lpactl

";

const DAEMON_EXIT_CODES: &str = "
## Exit codes of lpad

| code | meaning |
|---|---|
";

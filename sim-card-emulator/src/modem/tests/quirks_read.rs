//! Quirks of what a modem reads: lines, digits, commands.

use super::*;

#[test]
fn line_limit() {
    dialogue(
        &mut quirky(&["line-limit=24"]),
        &[
            (
                "AT+CSIM=10,\"0070000001\"",
                "\r\n+CSIM: 6,\"019000\"\r\n\r\nOK\r\n",
            ),
            (STORE, BARE_ERROR),
        ],
    );
}

#[test]
fn line_limit_silent() {
    dialogue(
        &mut quirky(&["line-limit-silent=24"]),
        &[(STORE, ""), ("AT", DONE)],
    );
}

#[test]
fn csim_line_limit() {
    dialogue(
        &mut quirky(&["csim-line-limit=24"]),
        &[
            (
                "AT+CSIM=10,\"0070000001\"",
                "\r\n+CSIM: 6,\"019000\"\r\n\r\nOK\r\n",
            ),
            (STORE, BARE_ERROR),
            (OPEN, "\r\n+CCHO: 2\r\n\r\nOK\r\n"),
        ],
    );
}

#[test]
fn upper_case_only() {
    let lower = "AT+CSIM=14,\"80e2910002bf2e\"";
    shows("preset:ideal", lower, STORED);
    shows("upper-case-only", lower, BARE_ERROR);
}

#[test]
fn quotes_optional() {
    let bare = "AT+CSIM=14,80E2910002BF2E";
    shows("preset:ideal", bare, "\r\n+CME ERROR: 50\r\n");
    shows("quotes-optional", bare, STORED);
}

#[test]
fn quotes_required() {
    shows("quotes-required", "AT+CSIM=14,80E2910002BF2E", BARE_ERROR);
    shows("quotes-required", STORE, STORED);
}

#[test]
fn test_form_silent() {
    dialogue(
        &mut quirky(&["test-form-silent"]),
        &[
            ("AT+CCHO=?", ""),
            ("AT+CSIM=?", ""),
            (OPEN, OPENED),
            ("AT+CMEE=?", "\r\n+CMEE: (0-2)\r\n\r\nOK\r\n"),
        ],
    );
}

#[test]
fn test_form_error() {
    dialogue(
        &mut quirky(&["test-form-error"]),
        &[("AT+CGLA=?", BARE_ERROR), (OPEN, OPENED)],
    );
}

#[test]
fn test_form_usage() {
    dialogue(
        &mut quirky(&["test-form-usage"]),
        &[
            ("AT+CCHO=?", "\r\n+CCHO: <dfname>\r\n\r\nOK\r\n"),
            (
                "AT+CGLA=?",
                "\r\n+CGLA: <sessionid>,<length>,<command>\r\n\r\nOK\r\n",
            ),
            ("AT+CCHC=?", "\r\n+CCHC: <sessionid>\r\n\r\nOK\r\n"),
            ("AT+CSIM=?", "\r\n+CSIM: <length>,<command>\r\n\r\nOK\r\n"),
        ],
    );
}

#[test]
fn no_csim() {
    dialogue(
        &mut quirky(&["no-csim"]),
        &[
            (STORE, BARE_ERROR),
            ("AT+CSIM=?", BARE_ERROR),
            (OPEN, OPENED),
        ],
    );
}

#[test]
fn no_ccho() {
    dialogue(
        &mut quirky(&["no-ccho"]),
        &[
            (OPEN, BARE_ERROR),
            ("AT+CGLA=1,8,\"80700000\"", BARE_ERROR),
            ("AT+CCHC=1", BARE_ERROR),
            (STORE, STORED),
        ],
    );
}

#[test]
fn crsm_refused() {
    dialogue(
        &mut quirky(&["crsm-refused"]),
        &[
            ("AT+CRSM=176,12258,0,0,10", "\r\n+CME ERROR: 3\r\n"),
            ("AT+QCCID", "\r\n+QCCID: 8901000000000000019\r\n\r\nOK\r\n"),
        ],
    );
}

#[test]
fn iccid_padded() {
    let padded = "\r\n+CCID: 8901000000000000019F\r\n\r\nOK\r\n";
    shows("iccid-padded", "AT+CCID", padded);
}

#[test]
fn iccid_of_start() {
    let mut modem = quirky(&["iccid-of-start", "restart-stays"]);
    let told = |iccid: &str| format!("\r\n+CCID: {iccid}\r\n\r\nOK\r\n");
    dialogue(&mut modem, &[("AT+CCID", &told(ICCID))]);
    let next = "8901000000000000027";
    modem.card().next_iccid = Some(next.to_owned());
    dialogue(
        &mut modem,
        &[
            ("AT+CFUN=0", DONE),
            ("AT+CFUN=1", DONE),
            ("AT+CCID", &told(ICCID)),
        ],
    );
    talk(&mut modem, "AT+CFUN=1,1\r");
    talk(&mut modem, "ATE0\r");
    dialogue(&mut modem, &[("AT+CCID", &told(next))]);
}

#[test]
fn a_modem_may_have_no_command_for_the_iccid() {
    for command in ["AT+CCID", "AT+ICCID", "AT+QCCID"] {
        shows("iccid-refused", command, "\r\nERROR\r\n");
    }
}

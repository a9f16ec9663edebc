use super::*;

fn info(text: &str) -> Line {
    Line::Information(text.to_owned())
}

fn urc(text: &str) -> Line {
    Line::Urc(text.to_owned())
}

const OK: Line = Line::Final(ResultCode::Ok);
const ERROR: Line = Line::Final(ResultCode::Error);
const CSIM: &str = "AT+CSIM=10,\"0070000001\"";

/// What a modem wrote after which command, and the lines in it.
fn table() -> Vec<(&'static str, &'static str, Vec<Line>)> {
    let cme = |code| Line::Final(ResultCode::Cme(Cme(code)));
    vec![
        ("AT", "\r\nOK\r\n", vec![OK]),
        ("AT", "AT\r\r\nOK\r\n", vec![Line::Echo, OK]),
        ("AT", "\0\0\r\nOK\r\n", vec![OK]),
        (
            "ATI",
            "Quectel\r\nEC25\r\n\r\nOK\r\n",
            vec![info("Quectel"), info("EC25"), OK],
        ),
        ("AT", "AT\r0\r", vec![Line::Echo, OK]),
        ("AT+CFUN=9", "4\r", vec![ERROR]),
        ("AT+CCHO=\"A0\"", "\r\n1\r\n\r\nOK\r\n", vec![info("1"), OK]),
        ("AT+CCHO=\"A0\"", "4\r\nOK\r\n", vec![info("4"), OK]),
        (
            CSIM,
            "+CSIM: 6,\"019000\"\r\n\r\nOK\r\n",
            vec![info("+CSIM: 6,\"019000\""), OK],
        ),
        (
            CSIM,
            "+CSIM: 6,\"019000\"\rOK\r\n",
            vec![info("+CSIM: 6,\"019000\""), OK],
        ),
        (
            CSIM,
            "+CSIM: 6,\"019000\"OK\r\n",
            vec![info("+CSIM: 6,\"019000\""), OK],
        ),
        (
            CSIM,
            "+CSIM:4,\"611A\"\n\nOK\n",
            vec![info("+CSIM:4,\"611A\""), OK],
        ),
        (
            CSIM,
            "T+CSIM=10,\"0070000001\"\r\nERROR\r\n",
            vec![Line::Echo, ERROR],
        ),
        (
            CSIM,
            "at+csim=10, \"0070000001\"\r\r\nOK\r\n",
            vec![Line::Echo, OK],
        ),
        (CSIM, "+CME ERROR: 13\r\n", vec![cme(13)]),
        (CSIM, "+CME ERROR:14\r\n", vec![cme(14)]),
        (CSIM, "+CME ERROR: SIM  busy\r\n", vec![cme(14)]),
        (CSIM, "+CME ERROR: simnotinserted\r\n", vec![cme(10)]),
        (
            CSIM,
            "+CME ERROR: Parameters error\r\n",
            vec![Line::Final(ResultCode::CmeText(
                "Parameters error".to_owned(),
            ))],
        ),
        (
            CSIM,
            "+CMS ERROR: 500\r\n",
            vec![Line::Final(ResultCode::Cms("500".to_owned()))],
        ),
        (
            CSIM,
            "COMMAND NOT SUPPORT\r\n",
            vec![Line::Final(ResultCode::CommandNotSupported)],
        ),
        (
            CSIM,
            "+CREG: 1,\"1A2B\"\r\n+CSIM: 4,\"9000\"\r\n+CGEV: ME PDN DEACT 1\r\nOK\r\n",
            vec![
                urc("+CREG: 1,\"1A2B\""),
                info("+CSIM: 4,\"9000\""),
                urc("+CGEV: ME PDN DEACT 1"),
                OK,
            ],
        ),
        (
            CSIM,
            "+CUSD: 0,\"OK\",15\r\n+COPS: 0,0,\"ERRNET\"\r\nRDY\r\nNO CARRIER\r\nERROR\r\n",
            vec![
                urc("+CUSD: 0,\"OK\",15"),
                urc("+COPS: 0,0,\"ERRNET\""),
                urc("RDY"),
                urc("NO CARRIER"),
                ERROR,
            ],
        ),
        (
            "AT+CPIN?",
            "+CPIN: READY\r\nOK\r\n",
            vec![info("+CPIN: READY"), OK],
        ),
        (
            "AT+CPIN?",
            "+CPINX: 1\r\nOK\r\n",
            vec![urc("+CPINX: 1"), OK],
        ),
        (
            "AT",
            "^SCKS: 1\r\n%XSIM: 1\r\n#QSS: 0\r\nOK\r\n",
            vec![urc("^SCKS: 1"), urc("%XSIM: 1"), urc("#QSS: 0"), OK],
        ),
        (
            "AT",
            "\u{fffd}garbage\r\nOK\r\n",
            vec![info("\u{fffd}garbage"), OK],
        ),
    ]
}

fn lines(parser: &mut LineParser, pending: &Pending) -> Vec<Line> {
    std::iter::from_fn(|| parser.next(Some(pending))).collect()
}

#[test]
fn every_known_way_of_answering_is_understood() {
    for (command, bytes, expected) in table() {
        let mut parser = LineParser::default();
        parser.push(bytes.as_bytes());
        assert_eq!(
            lines(&mut parser, &Pending::new(command)),
            expected,
            "{bytes:?}"
        );
    }
}

#[test]
fn it_does_not_matter_where_the_bytes_are_cut() {
    for (command, bytes, expected) in table() {
        let pending = Pending::new(command);
        for cut in 0..bytes.len() {
            let mut parser = LineParser::default();
            let (first, second) = bytes.as_bytes().split_at(cut);
            parser.push(first);
            let mut seen = lines(&mut parser, &pending);
            parser.push(second);
            seen.extend(lines(&mut parser, &pending));
            assert_eq!(seen, expected, "{bytes:?} cut at {cut}");
        }
    }
}

#[test]
fn an_idle_port_gives_unsolicited_codes_and_stray_results() {
    let mut parser = LineParser::default();
    parser.push(b"\r\n+CEREG: 5\r\nEC25\r\n+CSIM: 4,\"9000\"\r\nOK\r\n");
    let lines: Vec<_> = std::iter::from_fn(|| parser.next(None)).collect();
    let late = info("+CSIM: 4,\"9000\"");
    assert_eq!(lines, [urc("+CEREG: 5"), info("EC25"), late, OK]);
}

#[test]
fn a_line_without_end_is_not_kept() {
    let mut parser = LineParser::default();
    let pending = Pending::new("AT");
    for _ in 0..64 {
        parser.push(&[b'A'; 8192]);
        assert_eq!(parser.next(Some(&pending)), None);
        assert!(parser.buffer.len() <= LINE_LIMIT + 8192);
    }
    parser.push(b"\r\nOK\r\n");
    assert_eq!(lines(&mut parser, &pending), [Line::Overlong, OK]);
}

#[test]
fn a_payload_is_that_of_the_own_command_only() {
    let pending = Pending::new(CSIM);
    assert_eq!(pending.payload("+CSIM: 4,\"9000\""), Some("4,\"9000\""));
    assert_eq!(pending.payload("+csim:4,9000"), Some("4,9000"));
    assert_eq!(pending.payload("+CSIMX: 4"), None);
    assert_eq!(pending.payload("+CGLA: 4,\"9000\""), None);
    assert_eq!(Pending::new("AT").payload("+CSIM: 4"), None);
}

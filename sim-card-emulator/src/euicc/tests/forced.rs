use es10_apdu::apdu::StatusWord;
use es10_apdu::es10b::{ErrorReason, PrepareDownloadResponse};
use es10_apdu::types::NotificationEvent;

use super::bench::{Authenticate, Bench, ICCID, Prepare, error_of, signature_of};
use crate::euicc::{Forced, ForcedAnswer};

/// Makes one call give that answer.
fn force(bench: &mut Bench, function: u32, call: u32, answer: ForcedAnswer) {
    bench.euicc.settings_mut().forced.push(Forced {
        function,
        call: Some(call),
        answer,
    });
}

fn send(bench: &mut Bench, request: &str) -> Result<String, StatusWord> {
    let answer = bench.send(&hex::decode(request).unwrap())?;
    Ok(hex::encode_upper(answer))
}

#[test]
fn every_function_with_codes_gives_any_of_them_and_does_nothing() {
    let requests = [
        ("BF28", "BF2800", "BF280381"),
        ("BF29", "BF29105A0A981000000000000010F990024142", "BF290380"),
        ("BF2B", "BF2B00", "BF2B0381"),
        ("BF2D", "BF2D00", "BF2D0381"),
        ("BF30", "BF3003800101", "BF300380"),
        (
            "BF31",
            "BF3111A00C5A0A981000000000000010F9810100",
            "BF310380",
        ),
        (
            "BF32",
            "BF3211A00C5A0A981000000000000010F9810100",
            "BF320380",
        ),
        ("BF33", "BF330C5A0A981000000000000010F9", "BF330380"),
        ("BF34", "BF3404820205E0", "BF340380"),
        ("BF35", "BF3505A003020105", "BF350381"),
        ("BF3F", "BF3F058003612E62", "BF3F0380"),
        ("BF41", "BF410680010181017F", "BF410381"),
    ];
    let mut bench = Bench::new();
    bench.install(ICCID, &[]);
    let memory = bench.euicc.memory().clone();
    for (function, request, answer) in requests {
        let function = u32::from_str_radix(function, 16).unwrap();
        for code in 0..=127 {
            force(&mut bench, function, 1, ForcedAnswer::Code(code));
            let expected = format!("{answer}01{code:02X}");
            assert_eq!(send(&mut bench, request), Ok(expected));
        }
        assert_eq!(*bench.euicc.memory(), memory);
        let busy = StatusWord(0x9300);
        force(&mut bench, function, 1, ForcedAnswer::Status(busy));
        assert_eq!(send(&mut bench, request), Err(busy));
    }
    assert!(bench.euicc.settings().forced.is_empty());
}

#[test]
fn the_answer_comes_at_the_call_it_is_wanted_for() {
    let mut bench = Bench::new();
    bench.install(ICCID, &[]);
    let enable = "BF3111A00C5A0A981000000000000010F9810100";
    let disable = "BF3211A00C5A0A981000000000000010F9810100";
    force(&mut bench, 0xBF31, 2, ForcedAnswer::Code(5));
    assert_eq!(send(&mut bench, enable), Ok("BF3103800100".into()));
    send(&mut bench, disable).unwrap();
    assert_eq!(send(&mut bench, enable), Ok("BF3103800105".into()));
    // A card that lies.
    force(&mut bench, 0xBF31, 1, ForcedAnswer::Code(0));
    assert_eq!(send(&mut bench, enable), Ok("BF3103800100".into()));
    assert_eq!(bench.euicc.enabled_iccid(), None);
    assert_eq!(send(&mut bench, enable), Ok("BF3103800100".into()));
    assert!(bench.euicc.enabled_iccid().is_some());
    bench.euicc.settings_mut().forced.push(Forced {
        function: 0xBF20,
        call: None,
        answer: ForcedAnswer::Code(1),
    });
    for _ in 0..3 {
        let problem = Err(StatusWord::TECHNICAL_PROBLEM);
        assert_eq!(send(&mut bench, "BF2000"), problem);
    }
}

#[test]
fn a_card_that_lies_announces_the_refresh_that_was_wanted() {
    let mut bench = Bench::new();
    bench.install(ICCID, &[]);
    let memory = bench.euicc.memory().clone();
    for (function, refresh) in [(0xBF31, true), (0xBF32, true), (0xBF31, false)] {
        force(&mut bench, function, 1, ForcedAnswer::Code(0));
        let low = if function == 0xBF31 { "31" } else { "32" };
        let flag = if refresh { "FF" } else { "00" };
        let request = format!("BF{low}11A00C5A0A981000000000000010F98101{flag}");
        let answer = format!("BF{low}03800100");
        assert_eq!(send(&mut bench, &request), Ok(answer));
        assert_eq!(bench.euicc.take_refresh(), refresh);
        bench.euicc.reset();
        bench.select();
        assert_eq!(*bench.euicc.memory(), memory);
    }
}

#[test]
fn authentication_and_preparation_are_refused_with_any_code_and_go_on_after_that() {
    let mut bench = Bench::new();
    let request = Authenticate::new(&bench.pki);
    let challenge = bench.challenge();
    for code in (1..=14).chain([127]) {
        force(&mut bench, 0xBF38, 1, ForcedAnswer::Code(code));
        let answer = bench.send(&request.to_der(&challenge)).unwrap();
        let expected = format!("BF3817A1158010{}0201{code:02X}", "07".repeat(16));
        assert_eq!(hex::encode_upper(answer), expected);
    }
    let signature = signature_of(bench.authenticate_with(&challenge, &request));
    let prepare = Prepare::new(&bench.pki, signature);
    for code in [1, 2, 3, 4, 5, 127] {
        force(&mut bench, 0xBF21, 1, ForcedAnswer::Code(code));
        let PrepareDownloadResponse::DownloadResponseError(error) = bench.prepare(&prepare) else {
            panic!("the download was accepted");
        };
        assert_eq!(error.download_error_code.0, code);
    }
    let ok = bench.prepare(&prepare);
    assert!(matches!(ok, PrepareDownloadResponse::DownloadResponseOk(_)));
}

#[test]
fn an_installation_fails_for_any_reason_at_any_segment() {
    for (tag, call, part) in [
        (0xBF36, 1, 0),
        (0xA0, 1, 1),
        (0xA1, 1, 2),
        (0x88, 1, 2),
        (0xA3, 1, 5),
        (0x86, 2, 5),
    ] {
        for reason in [10, 31, 32, 99, 127] {
            let mut bench = Bench::new();
            force(&mut bench, tag, call, ForcedAnswer::Code(reason));
            let segments = bench.session().segments();
            let result = bench.load(&segments).unwrap();
            let error = error_of(&result);
            assert_eq!(error.error_reason, ErrorReason(reason));
            assert_eq!(error.bpp_command_id.0, part, "{tag:X}");
            let memory = bench.euicc.memory();
            assert!(memory.profiles.is_empty() && memory.installing.is_none());
            let [kept] = &memory.notifications[..] else {
                panic!("there is not one result");
            };
            assert_eq!(kept.event, NotificationEvent::INSTALL.0);
            bench.install(ICCID, &[]);
        }
    }
}

#[test]
fn a_status_word_inside_a_package_leaves_the_session_to_be_cancelled() {
    let mut bench = Bench::new();
    let segments = bench.session().segments();
    force(
        &mut bench,
        0x86,
        1,
        ForcedAnswer::Status(StatusWord::INCORRECT_DATA),
    );
    for segment in &segments[..5] {
        assert_eq!(bench.send(segment), Ok(Vec::new()));
    }
    let refused = bench.send(&segments[5]);
    assert_eq!(refused, Err(StatusWord::INCORRECT_DATA));
    assert!(bench.euicc.memory().notifications.is_empty());
    let cancel = format!("BF41158010{}810105", "07".repeat(16));
    let cancelled = send(&mut bench, &cancel).unwrap();
    assert!(cancelled.contains("5F3740"), "{cancelled} is not signed");
    bench.install(ICCID, &[]);
}

//! What a server may answer, its certificate, and what a person may paste as activation code.

#![no_main]

use es9_client::es9::*;
use es9_client::{Answer, Certificate, Es9Function, ServerAddress};
use libfuzzer_sys::fuzz_target;
use lpad::activation_code::ActivationCode;

fuzz_target!(|bytes: &[u8]| {
    for status in [200, 204, 500] {
        let answer = Answer {
            status,
            content_type: Some("application/json".to_owned()),
            body: bytes.to_vec().into(),
        };
        let _ = InitiateAuthenticationRequest::response(&answer);
        let _ = AuthenticateClientRequest::response(&answer);
        let _ = GetBoundProfilePackageRequest::response(&answer);
        let _ = CancelSessionRequestEs9::response(&answer);
        let _ = HandleNotification::response(&answer);
    }
    let _ = Certificate::parse(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = text.parse::<ServerAddress>();
        let _ = text.parse::<ActivationCode>();
    }
});

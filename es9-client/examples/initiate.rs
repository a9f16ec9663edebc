//! Opens an RSP session with an SM-DP+, to see whether it can be reached and trusted.
//!
//! ```text
//! cargo run -p es9-client --example initiate -- smdp.example.com [FOLDER-WITH-ISSUERS]
//! ```
//!
//! It poses as an eUICC that knows one certificate issuer after the other. No session goes further
//! than its first step, and no order is touched.

#![allow(clippy::print_stdout, reason = "an example prints what it finds")]

use std::path::Path;
use std::process::ExitCode;

use es9_client::es9::InitiateAuthenticationRequest;
use es9_client::{Certificate, Error, Es9Client, KeyId, Opaque, Options, Roots, TcpConnect};

type AnyError = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), AnyError> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments
        .next()
        .ok_or("usage: initiate ADDRESS [FOLDER]")?
        .parse()?;
    let mut roots = Roots::gsma();
    if let Some(folder) = arguments.next() {
        roots.add_folder(Path::new(&folder))?;
    }
    let client = Es9Client::new(TcpConnect::new(), roots.clone(), Options::default());
    client.connect(&address).await?;
    println!("{address} has a certificate that can be trusted.");
    for root in roots.iter() {
        let request = InitiateAuthenticationRequest {
            euicc_challenge: challenge()?,
            euicc_info1: euicc_info1(root.key_id()),
            smdp_address: address.host().to_owned(),
        };
        match client.call(&address, &request).await {
            Ok(answer) => {
                let signer = Certificate::parse(&answer.server_certificate)?;
                let owner = signer.registered_ids().join(", ");
                println!("{}: session {}", root.name(), answer.transaction_id);
                println!(
                    "    {}, {owner}, until {}",
                    signer.subject(),
                    signer.not_after()
                );
            }
            Err(Error::Status { data, .. }) => {
                println!("{}: {} ({data})", root.name(), data.meaning().title);
            }
            Err(error) => return Err(error.into()),
        }
    }
    client.close().await;
    Ok(())
}

/// EUICCInfo1 of an eUICC with version 2.2.2 and one certificate issuer for both directions.
///
/// SGP.22 v2.5 section 5.7.8, tag BF20.
fn euicc_info1(issuer: &KeyId) -> Opaque {
    let id = tlv(&[0x04], &issuer.0);
    let content = [
        tlv(&[0x82], &[2, 2, 2]),
        tlv(&[0xA9], &id),
        tlv(&[0xAA], &id),
    ];
    tlv(&[0xBF, 0x20], &content.concat()).into()
}

/// A TLV of fewer than 128 bytes, as all of these are.
fn tlv(tag: &[u8], value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len()).unwrap_or(u8::MAX);
    [tag, &[length], value].concat()
}

fn challenge() -> Result<Opaque, AnyError> {
    let mut challenge = [0; 16];
    let provider = rustls::crypto::ring::default_provider();
    provider
        .secure_random
        .fill(&mut challenge)
        .map_err(|_| "no random numbers")?;
    Ok(Opaque::from(&challenge[..]))
}

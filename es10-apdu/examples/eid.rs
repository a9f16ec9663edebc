//! Prints the EID of the eUICC behind a serial port: `cargo run -p es10-apdu --example eid -- PORT`.
#![allow(clippy::print_stdout, reason = "it is a program")]

use std::error::Error;
use std::path::Path;

use es10_apdu::at::{AtPort, Csim, ModemProfile, Serial};
use es10_apdu::es10c::GetEuiccDataRequest;
use es10_apdu::isdr::{Isdr, IsdrOptions};
use es10_apdu::transport::trace::Trace;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: eid PORT")?;
    let mut port = AtPort::new(Serial::open(Path::new(&path), 115_200)?);
    port.init(&ModemProfile::default()).await?;
    let transport = Trace::new(Csim::new(&mut port));
    let mut isdr = Isdr::open(transport, &IsdrOptions::default()).await?;
    let answer = isdr.call(&GetEuiccDataRequest::default()).await;
    // The channel is closed whatever came of the call.
    isdr.close().await?;
    println!("{}", answer?.eid_value);
    println!("{:?}", port.statistics());
    Ok(())
}

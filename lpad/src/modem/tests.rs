use es10_apdu::at::AtPort;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

/// A modem that gives each command the next of its answers.
pub(super) fn modem(answers: &'static [&'static str]) -> AtPort<DuplexStream> {
    let (ours, mut theirs) = duplex(1024);
    tokio::spawn(async move {
        for answer in answers {
            let mut octet = [0];
            while octet[0] != b'\r' {
                theirs.read_exact(&mut octet).await.unwrap();
            }
            theirs.write_all(answer.as_bytes()).await.unwrap();
        }
        // Stays plugged in.
        let _ = theirs.read_u8().await;
    });
    AtPort::new(ours)
}

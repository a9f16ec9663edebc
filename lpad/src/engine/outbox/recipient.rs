//! A recipient of notifications.

use es9_client::{AddressError, ServerAddress};

use crate::memory::journal::SharedJournal;

/// A recipient: one name for one server, however its address is written.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Recipient(String);

impl Recipient {
    /// The recipient at an address: in lower case, without the port that is meant anyway.
    pub(super) fn of(address: &str) -> Self {
        let written = match address.parse::<ServerAddress>() {
            Ok(server) => server.to_string(),
            // It is shown and set aside; until then it needs a name.
            Err(_) => address.to_owned(),
        };
        Self(written.to_ascii_lowercase())
    }

    /// The recipient's name.
    pub(super) fn name(&self) -> &str {
        &self.0
    }

    /// Where the recipient is reached: on the port it was reached on before, when it names none.
    pub(super) fn server(&self, journal: &SharedJournal) -> Result<ServerAddress, AddressError> {
        let server: ServerAddress = self.0.parse()?;
        let port = journal.look(|intent| intent.host_ports.get(server.host()).copied());
        Ok(match port {
            Some(port) if !self.0.contains(':') => server.with_port(port),
            _ => server,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_is_one_recipient_however_it_is_written() {
        let recipient = Recipient::of("smdp.example.com");
        for address in [
            "SMDP.Example.COM",
            "smdp.example.com:443",
            "https://smdp.example.com/",
        ] {
            assert_eq!(Recipient::of(address), recipient, "{address}");
        }
        assert_ne!(Recipient::of("smdp.example.com:8443"), recipient);
        assert_ne!(Recipient::of("no address"), recipient);
    }
}

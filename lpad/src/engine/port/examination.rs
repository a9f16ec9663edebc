//! Looking at the whole way to the card: port, modem, each route, and the card itself.

use std::time::Duration;

use es10_apdu::link::LinkOptions;
use tokio::time::{Instant, sleep, timeout};

use super::CardPort;
use crate::config::Route;
use crate::engine::reading::CardState;
use crate::failure::{JobFailure, PortFailure};
use crate::memory::examination::{Examination, ExaminedRoute};
use crate::modem::{Device, OpenPort, ReportedProfile};
use crate::procedure::euicc;
use crate::secret::Shortened;

impl<O: OpenPort> CardPort<O> {
    /// Looks at everything between here and the card, until it is told to `stop`. Nothing is changed, and
    /// what is known of the routes stays as it was.
    ///
    /// # Cancel safety
    /// A channel may stay open; it is in the record.
    pub(crate) async fn examine(&mut self, stop: impl Future<Output = ()>) -> Examination {
        let mut found = Examination::default();
        found.is_cut_off = tokio::select! {
            biased;
            () = self.look(&mut found) => false,
            () = sleep(LONGEST) => true,
            () = stop => true,
        };
        if found.is_cut_off {
            // The link may be left as another route was tried with.
            self.routes.doubt();
        }
        // As after each operation; one that stays open is in the record.
        let _ = timeout(CLOSING, self.close_orphans_if_any()).await;
        found
    }

    async fn look(&mut self, found: &mut Examination) {
        if let Err(failure) = self.at().await {
            found.port = Some(failure);
            return;
        }
        found.modem = self.modem();
        if found.modem.is_some() {
            self.look_at_modem(found).await;
        }
        if let Err(failure) = self.look_at_card(found).await {
            found.card = Some(failure);
        }
        for route in self.routes.order() {
            let is_known = found.routes.iter().any(|known| known.route == route);
            if !is_known {
                let used = self.options.link.clone();
                let tried = self.try_and_close(route).await;
                self.options.link = used;
                found.routes.push(ExaminedRoute {
                    route,
                    found: tried,
                });
            }
        }
    }

    async fn look_at_modem(&mut self, found: &mut Examination) {
        let shortened = |number: String| Shortened(&number).to_string();
        found.imei = self.imei().await.ok().flatten().map(shortened);
        let longest = Duration::from_secs(self.habits().question_s);
        if let Ok(Some(port)) = self.at().await.map(Device::modem) {
            let said = port.query("AT+CPIN?", longest).await;
            found.sim = match said {
                Ok(said) => said.unwrap_or_default(),
                Err(error) => error.fault.to_string(),
            };
        }
        let profile = self.wait_for_profile(None, Duration::ZERO).await;
        if let Ok(ReportedProfile::Iccid(iccid)) = profile {
            found.iccid = Some(shortened(iccid));
        }
    }

    async fn look_at_card(&mut self, found: &mut Examination) -> Result<(), JobFailure> {
        let mut card = self.session().await?;
        let (place, route) = (card.isdr.place().to_string(), card.route);
        let read = async {
            let state = CardState::read(&mut card).await?;
            found.eid = Some(Shortened(&state.eid.to_string()).to_string());
            found.info = state.info;
            found.addresses = state.addresses;
            found.profiles = state.profiles;
            for _ in 0..QUESTIONS {
                let begun = Instant::now();
                euicc::eid(&mut card).await?;
                found.times.push(begun.elapsed());
            }
            Ok(())
        };
        let read = read.await;
        card.close().await;
        let link = self.options.link.clone();
        found.routes.push(ExaminedRoute {
            route,
            found: Ok((place, link)),
        });
        read
    }

    async fn try_and_close(&mut self, route: Route) -> Result<(String, LinkOptions), JobFailure> {
        if self.record.may_be_open() {
            self.close_orphans().await?;
        }
        let (place, link) = self.adapt(route).await?;
        let opened = place.to_string();
        let closed = self.isdr_at(place, route)?.close().await;
        closed.map_err(PortFailure::from)?;
        Ok((opened, link))
    }
}

/// How often the card is asked for the same, to see how fast it is.
const QUESTIONS: usize = 10;
/// How long it may take, which is less than a client waits for an answer.
const LONGEST: Duration = Duration::from_secs(75);
/// How long a channel that is left may take to be closed.
const CLOSING: Duration = Duration::from_secs(10);

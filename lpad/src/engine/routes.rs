//! Which of the routes to the card works with this modem.

use es10_apdu::isdr::CallError;
use es10_apdu::link::LinkOptions;
use es10_apdu::transport::{DeviceRefusalKind, Fault};

use crate::config::{ApduPath, Route};
use crate::failure::{JobFailure, PortFailure};
use crate::modem::FoundLink;
use crate::procedure::FunctionError;

/// The routes to a card, and what is known of them.
///
/// Whether a modem has a command is not asked with `=?`: some fail at the question and know the
/// command. The real ones are tried, and what works is remembered with the modem.
#[derive(Debug)]
pub(super) struct Routes {
    asked: ApduPath,
    /// Those of the modem's profile, in the order in which they are tried.
    preferred: Vec<Route>,
    modem: String,
    known: Option<Route>,
    /// A modem failed at a package on this one: the others go first.
    lost_a_package: Option<Route>,
}

impl Routes {
    pub(super) fn new(asked: ApduPath) -> Self {
        Self {
            asked,
            preferred: vec![Route::Cgla, Route::Csim],
            modem: String::new(),
            known: None,
            lost_a_package: None,
        }
    }

    /// A port was opened to this modem; `found` is what worked with it before, `preferred` what its
    /// entry in the table says. Gives `found` back when it is to be used.
    pub(super) fn recall(
        &mut self,
        found: Option<FoundLink>,
        modem: String,
        preferred: &[Route],
    ) -> Option<FoundLink> {
        // What is known not to work is tried all the same: firmware changes.
        if !preferred.is_empty() {
            self.preferred = preferred.to_vec();
        }
        let found = found.filter(|found| self.order().contains(&found.route));
        if self.modem != modem {
            self.lost_a_package = None;
        }
        self.modem = modem;
        self.known = found.as_ref().map(|found| found.route);
        found
    }

    /// A route works like this.
    pub(super) fn found(&mut self, route: Route, link: &LinkOptions) -> FoundLink {
        self.known = Some(route);
        FoundLink::of(&self.modem, route, link)
    }

    pub(super) fn is_known(&self) -> bool {
        self.known.is_some()
    }

    /// What worked does not any more.
    pub(super) fn forget(&mut self) {
        self.known = None;
    }

    /// The modem refused a part of a package. Some do so whenever the card works for long, on one route
    /// only; so the next session takes another one if there is one.
    pub(super) fn lost_a_package(&mut self) {
        self.lost_a_package = self.known.take();
    }

    /// The route in use, or that is tried first.
    pub(super) fn current(&self) -> Route {
        let first = || self.order().first().copied();
        self.known.or_else(first).unwrap_or(Route::Csim)
    }

    /// The routes in the order in which they are tried.
    pub(super) fn order(&self) -> Vec<Route> {
        match self.asked {
            ApduPath::Cgla => vec![Route::Cgla],
            ApduPath::Csim => vec![Route::Csim],
            ApduPath::Auto => {
                let mut order = self.preferred.clone();
                order.sort_by_key(|&route| Some(route) == self.lost_a_package);
                order
            }
        }
    }

    /// Whether this failure says that a route which worked does not any more. A lost answer does not
    /// say so.
    pub(super) fn is_refused(&self, failure: &JobFailure) -> bool {
        let is_refused = matches!(
            failure,
            JobFailure::ModemRefusedChannel { .. } | JobFailure::NoIsdr { .. }
        );
        is_refused && self.order().len() > 1
    }

    /// Whether after this failure another route may work.
    pub(super) fn may_be_another(failure: &JobFailure) -> bool {
        match failure {
            JobFailure::ModemRefusedChannel { .. }
            | JobFailure::CardRefusedChannel(_)
            | JobFailure::NoIsdr { .. } => true,
            JobFailure::Port(PortFailure::Lost(error)) => !error.is_gone(),
            JobFailure::Function(FunctionError::Call(CallError::Transport { error, .. })) => {
                !error.is_gone()
            }
            JobFailure::Function(_) => true,
            _ => false,
        }
    }
}

fn means_unknown_command(fault: &Fault) -> bool {
    use DeviceRefusalKind::{NotAllowed, Other};
    matches!(fault, Fault::Device(refusal) if matches!(refusal.kind, NotAllowed | Other))
}

/// The one of two failures on different routes that says more: what the card says goes before what
/// the modem says, and the first one before the second.
pub(super) fn more_telling(first: Option<JobFailure>, second: JobFailure) -> JobFailure {
    let rank = |failure: &JobFailure| match failure {
        JobFailure::NoIsdr { .. } => 0,
        JobFailure::Function(_) => 1,
        JobFailure::CardRefusedChannel(_) => 2,
        // A modem without the command says no more than that.
        JobFailure::ModemRefusedChannel { error, .. } if !means_unknown_command(&error.fault) => 3,
        JobFailure::ModemRefusedChannel { .. } => 4,
        _ => 5,
    };
    match first {
        Some(first) if rank(&first) <= rank(&second) => first,
        _ => second,
    }
}

#[cfg(test)]
mod tests {
    use es10_apdu::apdu::StatusWord;
    use es10_apdu::transport::{DeviceRefusal, TransportError};

    use super::*;

    fn modem_refused() -> JobFailure {
        let refusal = DeviceRefusal::new(DeviceRefusalKind::Other, &"ERROR");
        JobFailure::ModemRefusedChannel {
            error: TransportError::not_sent(Fault::Device(refusal)),
            hint: None,
        }
    }

    #[test]
    fn a_route_that_was_found_is_used_for_the_same_modem_only() {
        let mut routes = Routes::new(ApduPath::Auto);
        assert_eq!(routes.recall(None, "a".to_owned(), &[]), None);
        assert_eq!(routes.current(), Route::Cgla);
        let found = routes.found(Route::Csim, &LinkOptions::default());
        assert_eq!(routes.current(), Route::Csim);
        assert!(routes.recall(None, "b".to_owned(), &[]).is_none() && !routes.is_known());
        let mut forced = Routes::new(ApduPath::Cgla);
        assert_eq!(forced.recall(Some(found), "a".to_owned(), &[]), None);
        assert_eq!(forced.order(), [Route::Cgla]);
    }

    #[test]
    fn after_a_lost_package_the_other_route_goes_first_and_the_same_one_stays_possible() {
        let mut routes = Routes::new(ApduPath::Auto);
        routes.found(Route::Cgla, &LinkOptions::default());
        routes.lost_a_package();
        assert!(!routes.is_known());
        assert_eq!(routes.order(), [Route::Csim, Route::Cgla]);
    }

    #[test]
    fn what_the_card_says_goes_before_what_the_modem_says() {
        let no_isdr = || JobFailure::NoIsdr {
            sw: StatusWord::NOT_FOUND,
            hint: None,
        };
        let failure = more_telling(Some(modem_refused()), no_isdr());
        assert!(matches!(failure, JobFailure::NoIsdr { .. }));
        let failure = more_telling(Some(no_isdr()), modem_refused());
        assert!(matches!(failure, JobFailure::NoIsdr { .. }));
    }
}

//! Which of the routes to the card works with this modem.

use es10_apdu::isdr::CallError;
use es10_apdu::link::LinkOptions;
use es10_apdu::transport::{DeviceRefusalKind, Fault};

use crate::config::{ApduPath, Route};
use crate::failure::{JobFailure, PortFailure};
use crate::memory::digest::Digest;
use crate::memory::link::{FoundLink, start_of};
use crate::procedure::FunctionError;

/// The routes to a card, and what is known of them.
///
/// Whether a modem has a command is not asked with `=?`: some fail at the question and know the
/// command. The real ones are tried, and what works is remembered with the modem.
#[derive(Debug)]
pub(super) struct Routes {
    asked: ApduPath,
    /// Those that are tried.
    routes: Vec<Route>,
    /// What is known was found out from this.
    start: Digest,
    /// The one that worked last.
    known: Option<Route>,
    /// Whether the known one works as it is used; else it is tried anew, and first.
    is_proven: bool,
    /// How often it came into doubt since a session by it went well.
    doubts: u32,
    /// A modem failed at a package on this one: the others go first.
    lost_a_package: Option<Route>,
}

impl Routes {
    pub(super) fn new(asked: ApduPath) -> Self {
        Self {
            asked,
            routes: Vec::new(),
            // No modem yet.
            start: Digest::of(&[]),
            known: None,
            is_proven: false,
            doubts: 0,
            lost_a_package: None,
        }
    }

    /// A port was opened to a modem, and the link is to be used like this at first: what is found out
    /// begins from there. `None` when it is as it was, and what is known of the routes still holds.
    pub(super) fn start(
        &mut self,
        modem: &str,
        preferred: &[Route],
        link: &LinkOptions,
    ) -> Option<Digest> {
        let routes = match self.asked {
            ApduPath::Cgla => vec![Route::Cgla],
            ApduPath::Csim => vec![Route::Csim],
            // What is known not to work is tried all the same: firmware changes.
            ApduPath::Auto if preferred.is_empty() => vec![Route::Cgla, Route::Csim],
            ApduPath::Auto => preferred.to_vec(),
        };
        let start = start_of(modem, &routes, link);
        if self.start == start {
            return None;
        }
        self.known = None;
        self.is_proven = false;
        self.doubts = 0;
        self.lost_a_package = None;
        self.routes = routes;
        self.start = start;
        Some(start)
    }

    /// What worked from the same start before.
    pub(super) fn recall(&mut self, found: &FoundLink) {
        self.known = Some(found.route);
        self.is_proven = true;
    }

    /// A route works like this.
    pub(super) fn found(&mut self, route: Route, link: &LinkOptions) -> FoundLink {
        if self.known != Some(route) {
            self.doubts = 0;
        }
        self.known = Some(route);
        self.is_proven = true;
        FoundLink::new(self.start, route, link)
    }

    /// The route that works as it is used.
    pub(super) fn proven(&self) -> Option<Route> {
        self.known.filter(|_| self.is_proven)
    }

    /// The one that worked last, as far as is known.
    pub(super) fn known(&self) -> Option<Route> {
        self.known
    }

    /// An answer was lost, or of no use: it may be the way it was asked for, which is looked at anew
    /// before the next session. If that does not help, another route goes first.
    pub(super) fn doubt(&mut self) {
        if self.is_proven {
            self.doubts += 1;
        }
        self.is_proven = false;
    }

    /// A session ended in which nothing was doubted.
    pub(super) fn went_well(&mut self) {
        self.doubts = 0;
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

    /// The routes in the order in which they are tried.
    pub(super) fn order(&self) -> Vec<Route> {
        let mut order = self.routes.clone();
        order.sort_by_key(|&route| {
            let route = Some(route);
            let did_not_help = self.doubts >= DOUBTS && route == self.known;
            (
                route == self.lost_a_package || did_not_help,
                route != self.known,
            )
        });
        order
    }

    /// Whether this failure says that a route which worked does not any more. Silence does not say so,
    /// nor does a modem that is busy.
    pub(super) fn is_refused(&self, failure: &JobFailure) -> bool {
        let is_refused = match failure {
            JobFailure::ModemRefusedChannel { error, .. } => !error.is_busy(),
            JobFailure::NoIsdr { .. } => true,
            JobFailure::Port(PortFailure::Lost(error)) => matches!(error.fault, Fault::Garbled(_)),
            _ => false,
        };
        is_refused && self.routes.len() > 1
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

/// In doubt so often, a route was looked at anew in vain.
const DOUBTS: u32 = 2;

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

    fn auto(modem: &str) -> Routes {
        let mut routes = Routes::new(ApduPath::Auto);
        routes.start(modem, &[], &LinkOptions::default());
        routes
    }

    #[test]
    fn a_route_that_was_found_is_used_from_the_same_start_only() {
        let mut routes = auto("a");
        assert_eq!(routes.order(), [Route::Cgla, Route::Csim]);
        routes.found(Route::Csim, &LinkOptions::default());
        assert_eq!(routes.proven(), Some(Route::Csim));
        let is_same = |routes: &mut Routes, modem: &str, preferred: &[Route], block_size| {
            let link = LinkOptions {
                block_size,
                ..LinkOptions::default()
            };
            let start = routes.start(modem, preferred, &link);
            start.is_none()
        };
        assert!(is_same(&mut routes, "a", &[], 255) && routes.proven().is_some());
        assert!(!is_same(&mut routes, "b", &[], 255) && routes.proven().is_none());
        assert!(!is_same(&mut routes, "b", &[Route::Csim, Route::Cgla], 255));
        assert!(!is_same(&mut routes, "b", &[], 120));
    }

    #[test]
    fn a_route_in_doubt_is_tried_first() {
        let mut routes = auto("a");
        routes.found(Route::Csim, &LinkOptions::default());
        routes.doubt();
        assert_eq!(routes.proven(), None);
        assert_eq!(routes.order(), [Route::Csim, Route::Cgla]);
    }

    #[test]
    fn a_route_that_was_looked_at_anew_in_vain_goes_last_until_it_went_well() {
        let mut routes = auto("a");
        for _ in 0..2 {
            routes.found(Route::Cgla, &LinkOptions::default());
            // Several answers of a session count as one.
            routes.doubt();
            routes.doubt();
        }
        assert_eq!(routes.order(), [Route::Csim, Route::Cgla]);
        routes.found(Route::Cgla, &LinkOptions::default());
        routes.went_well();
        routes.doubt();
        assert_eq!(routes.order(), [Route::Cgla, Route::Csim]);
    }

    #[test]
    fn after_a_lost_package_the_other_route_goes_first_and_the_same_one_stays_possible() {
        let mut routes = auto("a");
        routes.found(Route::Cgla, &LinkOptions::default());
        routes.lost_a_package();
        assert_eq!(routes.proven(), None);
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

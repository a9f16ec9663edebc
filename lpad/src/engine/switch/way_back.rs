//! Which profile is tried next when one got no service.

use es10_apdu::types::{Iccid, ProfileClass};

use crate::config::EuiccConfig;
use crate::job::Reason;
use crate::memory::journal::OpenSwitch;
use crate::memory::snapshot::Profile;

/// The next profile to bring into service; `None` when each was tried.
///
/// The one before comes first, if it was in service; a profile that was not is no rescue, and the one that
/// was last in service goes before it. A test profile never gives service.
pub(super) fn next(
    open: &OpenSwitch,
    last_good: Option<Iccid>,
    config: &EuiccConfig,
    profiles: &[Profile],
) -> Option<Iccid> {
    let first = match open.was_in_service {
        true => [open.from, last_good],
        false => [last_good, open.from],
    };
    let of_class = |class: ProfileClass| {
        let of_class = profiles
            .iter()
            .filter(move |profile| profile.class == class);
        let any = of_class.map(|profile| profile.iccid);
        any.filter(|_| config.fallback_any)
    };
    let mut order = first
        .into_iter()
        .flatten()
        .chain(config.fallback.iter().copied())
        .chain(of_class(ProfileClass::OPERATIONAL))
        .chain(of_class(ProfileClass::PROVISIONING));
    order.find(|&iccid| {
        let is_usable =
            |profile: &Profile| profile.iccid == iccid && profile.class != ProfileClass::TEST;
        let failed = open.failed.iter().filter(|tried| tried.iccid == iccid);
        let may_fail = match open.was_in_service && open.from == Some(iccid) {
            true => TRIES_OF_THE_ONE_BEFORE,
            false => 1,
        };
        profiles.iter().any(is_usable) && failed.count() < may_fail
    })
}

/// The profile that stays in use when none is in service: the one that was in service last, unless it has
/// been refused since. One that the card has no more is of no use.
pub(super) fn rest(open: &OpenSwitch, last_good: Option<Iccid>, profiles: &[Profile]) -> Iccid {
    let is_there = |iccid: &Iccid| profiles.iter().any(|profile| profile.iccid == *iccid);
    let is_refused = |iccid: &Iccid| {
        let mut failed = open.failed.iter().filter(|tried| tried.iccid == *iccid);
        failed.any(|tried| matches!(tried.reason, Reason::Denied | Reason::CardRefused))
    };
    let from = open.from.filter(is_there);
    let last_good = last_good.filter(is_there);
    let promising = [last_good, from].into_iter().flatten();
    let mut promising = promising.filter(|iccid| !is_refused(iccid));
    promising.next().or(from).unwrap_or(open.to)
}

/// The one that was in service a moment ago may need a reset of the modem.
const TRIES_OF_THE_ONE_BEFORE: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{OperationId, Tried};

    const OLD: &str = "8901999000000000012";
    const NEW: &str = "8901999000000000020";
    const GOOD: &str = "8901999000000000038";
    const SPARE: &str = "8901999000000000046";

    fn iccid(text: &str) -> Iccid {
        text.parse().unwrap()
    }

    fn open(was_in_service: bool) -> OpenSwitch {
        let eid = "89049032123451234512345678901235".parse().unwrap();
        OpenSwitch {
            was_in_service,
            looks: 1,
            deadline_s: 420,
            ..OpenSwitch::new(OperationId(1), eid, Some(iccid(OLD)), iccid(NEW))
        }
    }

    /// What is tried, one after the other.
    fn order(
        mut open: OpenSwitch,
        last_good: Option<&str>,
        config: &EuiccConfig,
        profiles: &[Profile],
    ) -> Vec<String> {
        let mut order = Vec::new();
        let mut candidate = open.to;
        loop {
            let tried = Tried::of(candidate, Reason::NotRegistered);
            open.failed.push(tried);
            match next(&open, last_good.map(iccid), config, profiles) {
                Some(next) => candidate = next,
                None => return order,
            }
            order.push(candidate.to_string());
        }
    }

    #[test]
    fn the_one_before_gets_two_tries_if_it_was_in_service_and_each_other_one() {
        let config = EuiccConfig::new("/dev/ttyUSB2");
        let profiles = [OLD, NEW, GOOD, SPARE].map(Profile::of);
        assert_eq!(
            order(open(true), Some(GOOD), &config, &profiles),
            [OLD, OLD, GOOD, SPARE]
        );
        assert_eq!(
            order(open(false), Some(GOOD), &config, &profiles),
            [GOOD, OLD, SPARE]
        );
        assert_eq!(order(open(true), None, &config, &profiles[..2]), [OLD, OLD]);
    }

    #[test]
    fn without_service_the_one_that_had_it_last_stays_unless_it_is_refused_or_gone() {
        let profiles = [OLD, NEW, GOOD].map(Profile::of);
        let mut open = open(false);
        assert_eq!(rest(&open, Some(iccid(GOOD)), &profiles), iccid(GOOD));
        assert_eq!(rest(&open, Some(iccid(GOOD)), &profiles[..2]), iccid(OLD));
        assert_eq!(rest(&open, None, &profiles[1..]), iccid(NEW));
        for refused in [GOOD, OLD] {
            let tried = Tried::of(iccid(refused), Reason::Denied);
            open.failed.push(tried);
            assert_eq!(rest(&open, Some(iccid(GOOD)), &profiles), iccid(OLD));
        }
    }

    #[test]
    fn the_configured_order_goes_before_any_other_profile_and_a_test_profile_never() {
        let mut config = EuiccConfig::new("/dev/ttyUSB2");
        config.fallback = vec![iccid(SPARE)];
        let mut profiles = [OLD, NEW, GOOD, SPARE].map(Profile::of);
        assert_eq!(
            order(open(true), None, &config, &profiles),
            [OLD, OLD, SPARE, GOOD]
        );
        config.fallback_any = false;
        assert_eq!(
            order(open(true), None, &config, &profiles),
            [OLD, OLD, SPARE]
        );
        profiles[3].class = ProfileClass::TEST;
        assert_eq!(order(open(true), None, &config, &profiles), [OLD, OLD]);
        config.fallback_any = true;
        profiles[3].class = ProfileClass::PROVISIONING;
        config.fallback.clear();
        assert_eq!(
            order(open(true), None, &config, &profiles),
            [OLD, OLD, GOOD, SPARE]
        );
    }
}

//! ES10c.eUICCMemoryReset (SGP.22 v2.5 section 5.7.19): states and policy rules do not count.

use es10_apdu::apdu::StatusWord;
use es10_apdu::asn1::encode;
use es10_apdu::es10c::{EuiccMemoryResetRequest, EuiccMemoryResetResponse, ResetResult};
use es10_apdu::types::{NotificationEvent, ProfileClass, ResetOptions};

use super::profiles::recipients;
use super::session::Session;
use super::{Euicc, Profile, Refresh};

impl Euicc {
    pub(super) fn memory_reset(
        &mut self,
        request: EuiccMemoryResetRequest,
    ) -> Result<Vec<u8>, StatusWord> {
        let options = self.known_options(request.reset_options);
        let result = self.check_reset(options);
        if result == ResetResult::OK {
            self.session = Session::default();
            self.report_interruption();
            // From here on it is done, at the latest when the power comes back.
            self.flash().pending_reset = Some(options.0);
            if self.power_fails_halfway {
                return Err(StatusWord::TECHNICAL_PROBLEM);
            }
            let enabled_goes = self
                .enabled()
                .is_some_and(|profile| is_doomed(profile, options));
            self.finish_memory_reset();
            if enabled_goes {
                self.refresh = Some(Refresh::Waiting);
            }
        }
        Ok(encode(&EuiccMemoryResetResponse {
            reset_result: result,
        }))
    }

    /// Does what a memory reset has promised.
    pub(super) fn finish_memory_reset(&mut self) {
        let Some(options) = self.memory.pending_reset.map(ResetOptions) else {
            return;
        };
        if options.contains(ResetOptions::RESET_DEFAULT_SMDP_ADDRESS) {
            self.flash().default_dp_address.clear();
        }
        self.delete(|profile| is_doomed(profile, options));
        self.flash().pending_reset = None;
    }

    fn check_reset(&self, options: ResetOptions) -> ResetResult {
        let profiles = self.memory.profiles.iter();
        let doomed = profiles.filter(|profile| is_doomed(profile, options));
        let notifications = doomed.map(|profile| recipients(profile, NotificationEvent::DELETE));
        let notifications: Vec<usize> = notifications.collect();
        let address = options.contains(ResetOptions::RESET_DEFAULT_SMDP_ADDRESS)
            && !self.memory.default_dp_address.is_empty();
        if self.cat_busy() {
            ResetResult::CAT_BUSY
        } else if notifications.is_empty() && !address {
            ResetResult::NOTHING_TO_DELETE
        } else if self.has_room_for(notifications.iter().sum()) {
            ResetResult::OK
        } else {
            ResetResult::UNDEFINED_ERROR
        }
    }

    /// Options of version 3 are no options to a card of version 2.
    fn known_options(&self, options: ResetOptions) -> ResetOptions {
        let of_v2 = ResetOptions::DELETE_OPERATIONAL_PROFILES
            | ResetOptions::DELETE_FIELD_LOADED_TEST_PROFILES
            | ResetOptions::RESET_DEFAULT_SMDP_ADDRESS;
        if self.settings.v3_answers {
            options
        } else {
            ResetOptions(options.0 & of_v2.0)
        }
    }
}

/// Whether a memory reset with these options deletes the profile.
fn is_doomed(profile: &Profile, options: ResetOptions) -> bool {
    match profile.class() {
        ProfileClass::TEST => options.contains(ResetOptions::DELETE_FIELD_LOADED_TEST_PROFILES),
        ProfileClass::PROVISIONING => options.contains(ResetOptions::DELETE_PROVISIONING_PROFILES),
        _ => options.contains(ResetOptions::DELETE_OPERATIONAL_PROFILES),
    }
}

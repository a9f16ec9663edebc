//! ES6.UpdateMetadata: what the operator of the profile in use changes over the air.

use es10_apdu::asn1::Raw;
use rsp_common::der::{Tlv, constructed};

use super::Euicc;
use super::loading::check_values;

/// Why metadata was not changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// Only the operator of the profile in use can reach the card.
    #[error("no profile is enabled")]
    NoProfile,
    /// The request is malformed, or names something that cannot be changed.
    #[error("not a request to update metadata")]
    Malformed,
    /// Policy rules can be taken away, not added.
    #[error("the request adds a policy rule")]
    AddsRule,
}

impl Euicc {
    /// Changes metadata of the profile in use, as its operator does over the air.
    ///
    /// SGP.22 v2.5 section 5.4.1, tag BF2A: names, icon, service specific data, and policy rules,
    /// which can be taken away only.
    ///
    /// # Errors
    ///
    /// When no profile is enabled, or the request is not one that can be granted; nothing is
    /// changed then.
    pub fn update_metadata(&mut self, request: &[u8]) -> Result<(), UpdateError> {
        let request = Tlv::exact(request).filter(|request| request.tag == 0xBF2A);
        let changes = request.and_then(|request| request.children());
        let changes = changes.ok_or(UpdateError::Malformed)?;
        if !changes
            .iter()
            .all(|change| CHANGEABLE.contains(&change.tag))
        {
            return Err(UpdateError::Malformed);
        }
        let profile = self
            .memory
            .profiles
            .iter()
            .position(|profile| profile.enabled);
        let profile = profile.ok_or(UpdateError::NoProfile)?;
        let old = &self.memory.profiles[profile].metadata;
        let parts = Tlv::exact(old.bytes()).and_then(|old| old.children());
        let parts = parts.ok_or(UpdateError::Malformed)?;
        let merged = ORDER.iter().filter_map(|tag| {
            let mut candidates = changes.iter().chain(&parts);
            candidates.find(|part| part.tag == *tag)
        });
        let merged: Vec<Vec<u8>> = merged.map(|part| part.bytes.to_vec()).collect();
        let new = Raw::from_ber(&constructed(0xBF25, &merged));
        let new = new.map_err(|_| UpdateError::Malformed)?;
        check_values(&new).map_err(|_| UpdateError::Malformed)?;
        if !old.rules().contains(new.rules()) {
            return Err(UpdateError::AddsRule);
        }
        self.flash().profiles[profile].metadata = new;
        Ok(())
    }
}

const CHANGEABLE: [u32; 6] = [0x91, 0x92, 0x93, 0x94, 0x99, 0xBF22];
/// The data objects of StoreMetadata as the module orders them.
const ORDER: [u32; 10] = [0x5A, 0x91, 0x92, 0x93, 0x94, 0x95, 0xB6, 0xB7, 0x99, 0xBF22];

//! ES10b.LoadCRL: which certificates of servers count no more (SGP.22 v2.5 section 5.7.12).

use es10_apdu::apdu::StatusWord;
use es10_apdu::asn1::{List, Open, encode};
use es10_apdu::es10b::{
    LoadCrlError, LoadCrlRequest, LoadCrlResponse, LoadCrlResponseOk, PartialCrlNumber,
};
use es10_apdu::types::RspCapability;
use rsp_common::certificate::Certificate;
use rsp_common::crl::RevocationList;

use super::{Crl, Euicc};

impl Euicc {
    pub(super) fn supports_crl(&self) -> bool {
        let capability = self.settings.rsp_capability;
        capability.contains(RspCapability::CRL_SUPPORT)
    }

    pub(super) fn load_crl(&mut self, request: LoadCrlRequest) -> Result<Vec<u8>, StatusWord> {
        let answer = match self.keep_crl(request.crl.bytes()) {
            Ok(missing) => LoadCrlResponse::LoadCrlResponseOk(Open(LoadCrlResponseOk {
                missing_parts: Some(List::from(missing)).filter(|parts| !parts.is_empty()),
            })),
            Err(error) => LoadCrlResponse::LoadCrlResponseError(error),
        };
        Ok(encode(&answer))
    }

    /// Whether a list of its issuer names the certificate.
    pub(super) fn is_revoked(&self, certificate: &Certificate) -> bool {
        self.crls().any(|(_, list)| list.revokes(certificate))
    }

    /// Checks and keeps a list; gives the parts of it that are missing.
    fn keep_crl(&mut self, der: &[u8]) -> Result<Vec<PartialCrlNumber>, LoadCrlError> {
        let list = RevocationList::parse(der).map_err(|_| LoadCrlError::INVALID_CRL_FORMAT)?;
        let issuer = self.issuer(list.issuer_key());
        let issuer = issuer.ok_or(LoadCrlError::VERIFICATION_KEY_NOT_FOUND)?;
        if !list.is_signed_by(issuer) {
            return Err(LoadCrlError::INVALID_SIGNATURE);
        }
        self.check_place(&list)?;
        let kept = self.crls().filter(|(_, old)| !replaces(&list, old));
        let mut kept: Vec<Crl> = kept.map(|(crl, _)| crl.clone()).collect();
        let occupied: usize = kept.iter().map(|crl| crl.der.len()).sum();
        if occupied + der.len() > self.memory_for_crls() || kept.len() >= MOST_CRLS {
            return Err(LoadCrlError::NOT_ENOUGH_MEMORY_SPACE);
        }
        kept.push(Crl { der: der.to_vec() });
        self.flash().crls = kept;
        Ok(self.missing_parts(&list))
    }

    /// A fresher list is not replaced, and a delta needs its base.
    fn check_place(&self, list: &RevocationList) -> Result<(), LoadCrlError> {
        let fresher = |old: &RevocationList| {
            old.number() > list.number() || old.this_update() > list.this_update()
        };
        let mut known = self.crls().filter(|(_, old)| is_of_kind(old, list));
        if known.any(|(_, old)| fresher(&old)) {
            return Err(LoadCrlError::FRESHER_CRL_ALREADY_LOADED);
        }
        let Some(base) = list.base() else {
            return Ok(());
        };
        let is_base = |old: &RevocationList| {
            old.base().is_none()
                && old.issuer_key() == list.issuer_key()
                && old.number() >= base
                && self.missing_parts(old).is_empty()
        };
        if self.crls().any(|(_, old)| is_base(&old)) {
            Ok(())
        } else {
            Err(LoadCrlError::BASE_CRL_MISSING)
        }
    }

    fn missing_parts(&self, list: &RevocationList) -> Vec<PartialCrlNumber> {
        let total = list.part().map_or(0, |part| part.total);
        let loaded = |number| {
            self.crls().any(|(_, other)| {
                is_of_kind(&other, list)
                    && other.number() == list.number()
                    && other.part().is_some_and(|part| part.number == number)
            })
        };
        let missing = (1..=total).filter(|number| !loaded(*number));
        missing
            .filter_map(|number| i64::try_from(number).ok())
            .map(PartialCrlNumber)
            .collect()
    }

    fn crls(&self) -> impl Iterator<Item = (&Crl, RevocationList)> {
        let crls = self.memory.crls.iter();
        crls.filter_map(|crl| Some((crl, RevocationList::parse(&crl.der).ok()?)))
    }

    fn memory_for_crls(&self) -> usize {
        let present: usize = self.memory.crls.iter().map(|crl| crl.der.len()).sum();
        self.free_memory() + present
    }

    fn issuer(&self, key_identifier: &[u8]) -> Option<&Certificate> {
        self.identity.issuer(key_identifier)
    }
}

/// Whether both are whole lists, or deltas, of one issuer.
fn is_of_kind(one: &RevocationList, other: &RevocationList) -> bool {
    one.issuer_key() == other.issuer_key() && one.base().is_some() == other.base().is_some()
}

/// A list takes the place of older ones, and a whole list that of the deltas before it.
fn replaces(new: &RevocationList, old: &RevocationList) -> bool {
    if is_of_kind(new, old) {
        return old.number() < new.number() || old.part() == new.part();
    }
    let superseded = new.base().is_none() && old.number() <= new.number();
    superseded && old.issuer_key() == new.issuer_key()
}

const MOST_CRLS: usize = 64;

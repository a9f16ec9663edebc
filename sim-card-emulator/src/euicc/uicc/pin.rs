//! VERIFY PIN and the counters behind it, ETSI TS 102 221 sections 11.1.9 and 11.1.13.

use es10_apdu::apdu::{Command, StatusWord};

use crate::euicc::{Euicc, PinFailures};

impl Euicc {
    /// Without data it tells how often the PIN may still be wrong.
    pub(in crate::euicc) fn verify_pin(
        &mut self,
        command: &Command,
    ) -> Result<Vec<u8>, StatusWord> {
        if command.p1 != 0 {
            return Err(StatusWord::INCORRECT_P1_P2);
        }
        let files = self.files();
        let pin = files
            .pin(command.p2)
            .ok_or(StatusWord::REFERENCED_DATA_NOT_FOUND)?;
        let left = pin.tries.saturating_sub(self.failures(pin.reference));
        match command.data.len() {
            0 => return Err(tries_left(left)),
            _ if left == 0 => return Err(BLOCKED),
            _ if !pin.enabled => return Err(DISABLED),
            8 => {}
            _ => return Err(StatusWord::WRONG_LENGTH),
        }
        if command.data == pin.value {
            self.verified_pins.insert(pin.reference);
            self.count_failures(pin.reference, 0);
            return Ok(Vec::new());
        }
        self.verified_pins.remove(&pin.reference);
        self.count_failures(pin.reference, pin.tries - left + 1);
        Err(tries_left(left - 1))
    }

    /// UNBLOCK PIN without data tells how often the PUK may be wrong; PINs cannot be changed.
    pub(in crate::euicc) fn unblock_pin(
        &mut self,
        command: &Command,
    ) -> Result<Vec<u8>, StatusWord> {
        if command.p1 != 0 {
            return Err(StatusWord::INCORRECT_P1_P2);
        }
        let files = self.files();
        let puk = files
            .puk(command.p2)
            .ok_or(StatusWord::REFERENCED_DATA_NOT_FOUND)?;
        match command.data.len() {
            0 => Err(tries_left(puk.tries)),
            _ => Err(StatusWord::FUNCTION_NOT_SUPPORTED),
        }
    }

    fn failures(&self, reference: u8) -> u8 {
        let iccid = self.enabled_iccid();
        let counted = self.memory.pin_failures.iter();
        let mut counted = counted.filter(|failures| Some(failures.iccid) == iccid);
        counted
            .find(|failures| failures.reference == reference)
            .map_or(0, |failures| failures.count)
    }

    /// Keeps the number of failures in flash; profiles that are gone are forgotten with it.
    fn count_failures(&mut self, reference: u8, count: u8) {
        let Some(iccid) = self.enabled_iccid() else {
            return;
        };
        if self.failures(reference) == count {
            return;
        }
        let installed: Vec<_> = self
            .memory
            .profiles
            .iter()
            .map(|profile| profile.iccid)
            .collect();
        let counters = &mut self.flash().pin_failures;
        counters.retain(|failures| {
            installed.contains(&failures.iccid)
                && (failures.iccid, failures.reference) != (iccid, reference)
        });
        if count > 0 {
            counters.push(PinFailures {
                iccid,
                reference,
                count,
            });
        }
    }
}

fn tries_left(left: u8) -> StatusWord {
    match left {
        0 => BLOCKED,
        left => StatusWord(0x63C0 | u16::from(left.min(15))),
    }
}

/// The PIN was wrong too often.
const BLOCKED: StatusWord = StatusWord(0x6983);
/// The PIN is not asked for.
const DISABLED: StatusWord = StatusWord(0x6984);

//! Answers that are given because a test wants them, without anything being done.

use es10_apdu::apdu::StatusWord;
use es10_apdu::es10b::ErrorReason;
use rsp_common::der::{Tlv, constructed, signed, tlv};

use super::{Euicc, ForcedAnswer, Refresh};

impl Euicc {
    /// The answer wanted for this call of the function; one that was for this call only is gone.
    pub(super) fn take_forced(&mut self, function: u32) -> Option<ForcedAnswer> {
        let mut answer = None;
        self.settings.forced.retain_mut(|forced| {
            if forced.function != function {
                return true;
            }
            if let Some(call) = forced.call.filter(|call| *call > 1) {
                forced.call = Some(call - 1);
                return true;
            }
            let first = answer.is_none();
            answer = answer.or(Some(forced.answer));
            // What holds for every call stays, and so does what another one was quicker than.
            forced.call.is_none() || !first
        });
        answer
    }

    pub(super) fn answer_forced(
        &mut self,
        function: u32,
        request: &[u8],
        answer: ForcedAnswer,
    ) -> Result<Vec<u8>, StatusWord> {
        let code = match answer {
            ForcedAnswer::Status(status) => return Err(status),
            ForcedAnswer::Code(code) => code,
        };
        if code == 0 && wants_refresh(function, request) {
            self.refresh = Some(Refresh::Waiting);
        }
        match function {
            0xBF29 | 0xBF30..=0xBF34 | 0xBF3F => Ok(tlv(function, &signed(0x80, code))),
            0xBF28 | 0xBF2B | 0xBF2D | 0xBF35 | 0xBF41 => Ok(tlv(function, &signed(0x81, code))),
            0xBF21 | 0xBF38 => {
                let transaction_id = transaction_id(request).ok_or(StatusWord::INCORRECT_DATA)?;
                let error = [tlv(0x80, transaction_id), signed(0x02, code)];
                Ok(tlv(function, &constructed(0xA1, &error)))
            }
            0xBF36 => self.refuse_package(ErrorReason(code)),
            _ => Err(StatusWord::TECHNICAL_PROBLEM),
        }
    }

    pub(super) fn answer_segment(&mut self, answer: ForcedAnswer) -> Result<Vec<u8>, StatusWord> {
        match answer {
            ForcedAnswer::Status(status) => Err(status),
            ForcedAnswer::Code(code) => Ok(self.refuse_segment(ErrorReason(code))),
        }
    }
}

/// Whether a switch of profiles with the refresh flag is asked for.
fn wants_refresh(function: u32, request: &[u8]) -> bool {
    let parts = Tlv::exact(request).and_then(|request| request.children());
    let flag = parts.and_then(|parts| parts.last().copied());
    matches!(function, 0xBF31 | 0xBF32) && flag.is_some_and(|flag| flag.bytes == [0x81, 1, 0xFF])
}

/// The transactionId a server signed.
fn transaction_id(request: &[u8]) -> Option<&[u8]> {
    let signed = *Tlv::exact(request)?.children()?.first()?;
    let id = *signed.children()?.first()?;
    (id.tag == 0x80).then_some(id.value)
}

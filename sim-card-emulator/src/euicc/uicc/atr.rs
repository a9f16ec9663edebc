//! The answer to reset.

use crate::euicc::Euicc;

impl Euicc {
    /// The answer to reset, ETSI TS 102 221 section 6.3: T=0 and faster than the default,
    /// every supply voltage, an eUICC.
    pub fn atr(&self) -> Vec<u8> {
        // Card capabilities, third octet: channels are assigned by the card or by the terminal.
        let channels = 0x18 | self.settings.channels.min(7);
        let historical = [
            &[0x80, 0x31, 0xE0, 0x73, 0xFE, 0x21, channels, 0x67][..],
            b"lpad-vc",
        ]
        .concat();
        let interface = [0x96, 0x80, 0x3F, 0xC7, 0x82];
        let mut atr = vec![0x3B, 0x9F];
        atr.extend(interface);
        atr.extend(historical);
        atr.push(atr[1..].iter().fold(0, |check, octet| check ^ octet));
        atr
    }
}

#[cfg(test)]
mod tests {
    use crate::euicc::tests::bench::Bench;

    #[test]
    fn the_answer_to_reset_is_complete_and_checks() {
        let mut bench = Bench::new();
        let atr = bench.euicc.atr();
        let expected = "3B9F96803FC7828031E073FE211B676C7061642D766353";
        assert_eq!(hex::encode_upper(&atr), expected);
        assert_eq!(atr[1..].iter().fold(0, |check, octet| check ^ octet), 0);
        // Y1 and 15 historical octets: TA1, TD1, TA2 is not there, TD2, TA3 and TB3.
        assert_eq!(usize::from(atr[1] & 0x0F), atr.len() - 2 - 5 - 1);
        bench.euicc.settings_mut().channels = 19;
        assert_eq!(bench.euicc.atr()[13], 0x1F);
    }
}

//! The device, as servers want it described.

use es10_apdu::asn1::Open;
use es10_apdu::es10b::{DeviceCapabilities, DeviceInfo};
use es10_apdu::types::VersionType;

/// The device the eUICC is in.
#[derive(Clone, Debug, Default)]
pub struct Device {
    /// The IMEI, 15 digits or 14 without the check digit; `None` when the modem does not tell.
    pub imei: Option<String>,
}

impl Device {
    pub(super) fn info(&self) -> DeviceInfo {
        let digits: Vec<u8> = self
            .imei
            .iter()
            .flat_map(|imei| {
                imei.bytes()
                    .filter(u8::is_ascii_digit)
                    .map(|digit| digit - b'0')
            })
            .collect();
        let swapped = |digits: &[u8]| -> Vec<u8> {
            let nibble = |pair: &[u8], at: usize| pair.get(at).copied().unwrap_or(0xF);
            digits
                .chunks(2)
                .map(|pair| nibble(pair, 1) << 4 | nibble(pair, 0))
                .collect()
        };
        let tac = match digits.get(..8) {
            Some(tac) => swapped(tac),
            None => vec![0; 4],
        };
        let imei = (digits.len() == 15).then(|| {
            let mut octets = swapped(&digits[..14]);
            // The check digit stands in the high half of the last octet.
            octets.push(digits[14] << 4 | 0xF);
            octets
        });
        let release = |major| Some(VersionType([major, 0, 0]));
        let device_capabilities = Open(DeviceCapabilities {
            gsm_supported_release: release(9),
            utran_supported_release: release(9),
            eutran_epc_supported_release: release(9),
            ..DeviceCapabilities::default()
        });
        DeviceInfo {
            tac: tac.into(),
            device_capabilities,
            imei: imei.map(Into::into),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_imei_is_coded_with_its_check_digit_in_the_high_half() {
        let device = Device {
            imei: Some("356938035643809".into()),
        };
        let info = device.info();
        assert_eq!(hex::encode(&info.tac), "53968330");
        assert_eq!(hex::encode(info.imei.unwrap()), "539683306534089f");
        let unknown = Device::default().info();
        assert_eq!((unknown.tac.len(), unknown.imei), (4, None));
    }
}

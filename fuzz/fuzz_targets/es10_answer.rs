//! What a card may answer: every function reads it without panic, and what was read can be written
//! and read again. A package is cut, or refused, and its segments are the package.

#![no_main]

use es10_apdu::asn1::{self, Extensible};
use es10_apdu::bpp::BoundProfilePackage;
use es10_apdu::es10a::*;
use es10_apdu::es10b::*;
use es10_apdu::es10c::*;
use es10_apdu::function::Es10Function;
use es10_apdu::tlv::Tree;
use libfuzzer_sys::fuzz_target;

fn read<F: Es10Function>(bytes: &[u8])
where
    F: Extensible,
    F::Response: rasn::Encode,
{
    if let Ok(answer) = F::response(bytes) {
        let written = asn1::encode(&answer);
        assert!(
            F::response(&written).is_ok(),
            "what was written cannot be read"
        );
    }
    if let Ok(request) = asn1::read::<F>(bytes) {
        let written = request.to_der();
        assert!(
            asn1::read::<F>(&written).is_ok(),
            "what was written cannot be read"
        );
    }
}

fuzz_target!(|bytes: &[u8]| {
    read::<EuiccConfiguredAddressesRequest>(bytes);
    read::<SetDefaultDpAddressRequest>(bytes);
    read::<GetEuiccInfo1Request>(bytes);
    read::<GetEuiccInfo2Request>(bytes);
    read::<GetEuiccChallengeRequest>(bytes);
    read::<AuthenticateServerRequest>(bytes);
    read::<PrepareDownloadRequest>(bytes);
    read::<CancelSessionRequest>(bytes);
    read::<ListNotificationRequest>(bytes);
    read::<RetrieveNotificationsListRequest>(bytes);
    read::<NotificationSentRequest>(bytes);
    read::<GetRatRequest>(bytes);
    read::<ProfileInfoListRequest>(bytes);
    read::<EnableProfileRequest>(bytes);
    read::<DisableProfileRequest>(bytes);
    read::<DeleteProfileRequest>(bytes);
    read::<SetNicknameRequest>(bytes);
    read::<GetEuiccDataRequest>(bytes);
    read::<EuiccMemoryResetRequest>(bytes);
    let _ = asn1::read::<ProfileInstallationResult>(bytes);
    let _ = asn1::read::<StoreMetadataRequest>(bytes);
    let _ = Tree(bytes).to_string();
    if let Ok(package) = BoundProfilePackage::cut(bytes) {
        let together: Vec<u8> = package
            .segments()
            .iter()
            .flat_map(|segment| segment.bytes.clone())
            .collect();
        assert_eq!(together, bytes);
        let _ = package.initialise_secure_channel();
        let _ = package.store_metadata();
    }
});

//! The download procedure without an LPA's checks and without a modem, to reach a state of card and
//! server quickly.

use std::{error::Error, time::Duration};

use es9_client::{
    Connect, Es9Client, ServerAddress,
    es9::{
        AuthenticateClientRequest, GetBoundProfilePackageRequest, HandleNotification,
        InitiateAuthenticationRequest,
    },
};
use es10_apdu::{
    apdu::{Command, Response},
    asn1::{Open, Raw, read},
    bpp::BoundProfilePackage,
    es10b::{
        AuthenticateServerRequest, CtxParams1, CtxParamsForCommonAuthentication,
        DeviceCapabilities, DeviceInfo, GetEuiccChallengeRequest, GetEuiccInfo1Request,
        NotificationSentRequest, PrepareDownloadRequest,
    },
    isdr::{Isdr, IsdrOptions},
    transport::{Garbled, Transport, TransportError},
    types::{Certificate, Signature, VersionType},
};
use sim_card_emulator::{card::Card, modem::Card as _};

use crate::bench::HOST_NAME;

/// How far a download has come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// The ISD-R is selected, and the card has given a challenge.
    Challenged,
    /// The card has accepted the server.
    Authenticated,
    /// The card has made a one-time key and waits for the package, which has these segments.
    Prepared(Vec<Vec<u8>>),
    /// So many segments are loaded, and the card waits for more.
    Loading(usize),
    /// The profile is installed, and the notification waits.
    Installed,
    /// The notification is delivered and removed, and the channel closed.
    Reported,
}

/// Downloads a profile from [`HOST_NAME`], delivers its notification and removes it, calling
/// `after` after each step.
///
/// # Errors
///
/// When card or server refuse, or what they say cannot be read.
///
/// # Cancel safety
///
/// The channel stays open, and the session with it.
pub async fn download<C: Connect>(
    card: &Card,
    server: &Es9Client<C>,
    matching_id: &str,
    mut after: impl FnMut(Step),
) -> Result<(), Box<dyn Error>> {
    let address: ServerAddress = HOST_NAME.parse()?;
    let mut isdr = Isdr::open(Direct(card.clone()), &IsdrOptions::default()).await?;
    let challenge = isdr.call(&GetEuiccChallengeRequest {}).await?;
    after(Step::Challenged);
    let info = isdr.call(&GetEuiccInfo1Request {}).await?;
    let request = InitiateAuthenticationRequest {
        euicc_challenge: challenge.euicc_challenge.octets().into(),
        euicc_info1: info.bytes().into(),
        smdp_address: HOST_NAME.to_owned(),
    };
    let initiated = server.call(&address, &request).await?;
    let context = CtxParamsForCommonAuthentication {
        matching_id: Some(matching_id.into()),
        device_info: Open(DeviceInfo {
            tac: vec![0x94, 0x10, 0x54, 0x30].into(),
            device_capabilities: Open(DeviceCapabilities {
                eutran_epc_supported_release: Some(VersionType([15, 0, 0])),
                ..DeviceCapabilities::default()
            }),
            imei: None,
        }),
    };
    let request = AuthenticateServerRequest {
        server_signed1: Raw::from_ber(&initiated.server_signed1)?,
        server_signature1: Signature::from_ber(&initiated.server_signature1)?,
        euicc_ci_pk_id_to_be_used: read(&initiated.euicc_ci_pk_id_to_be_used)?,
        server_certificate: Certificate::from_ber(&initiated.server_certificate)?,
        ctx_params1: CtxParams1::CtxParamsForCommonAuthentication(Open(context)),
    };
    let authenticated = isdr.call(&request).await?;
    after(Step::Authenticated);
    let request = AuthenticateClientRequest {
        transaction_id: initiated.transaction_id.clone(),
        authenticate_server_response: authenticated.bytes().into(),
    };
    let offer = server.call(&address, &request).await?;
    let request = PrepareDownloadRequest {
        smdp_signed2: Raw::from_ber(&offer.smdp_signed2)?,
        smdp_signature2: Signature::from_ber(&offer.smdp_signature2)?,
        hash_cc: None,
        smdp_certificate: Certificate::from_ber(&offer.smdp_certificate)?,
    };
    let prepared = isdr.call(&request).await?;
    let request = GetBoundProfilePackageRequest {
        transaction_id: initiated.transaction_id,
        prepare_download_response: prepared.bytes().into(),
    };
    let bound = server.call(&address, &request).await?;
    let package = BoundProfilePackage::cut(&bound.bound_profile_package)?;
    let segments = package.segments();
    let octets = segments.iter().map(|segment| segment.bytes.to_vec());
    after(Step::Prepared(octets.collect()));
    for (number, segment) in segments.iter().enumerate() {
        if let Some(result) = isdr.load_segment(&segment.bytes).await? {
            after(Step::Installed);
            let pending_notification = result.bytes().into();
            let request = HandleNotification {
                pending_notification,
            };
            server.call(&address, &request).await?;
            break;
        }
        after(Step::Loading(number + 1));
    }
    let seq_number = 1;
    isdr.call(&NotificationSentRequest { seq_number }).await?;
    isdr.close().await?;
    after(Step::Reported);
    Ok(())
}

/// A card without a modem.
#[derive(Debug)]
pub struct Direct(pub Card);

impl Transport for Direct {
    async fn transmit(
        &mut self,
        command: &Command,
        _: Duration,
    ) -> Result<Response, TransportError> {
        // A card without power answers nothing.
        let answer = self.0.transmit(&command.to_bytes());
        Response::parse(&answer).map_err(|error| Garbled::from(error).into())
    }
}

#[cfg(test)]
mod tests {
    use es9_client::Options;

    use super::*;
    use crate::bench::Bench;
    use crate::profile::{Iccid, Profile};
    use crate::smdp::OrderRequest;

    #[tokio::test(start_paused = true)]
    async fn a_profile_is_downloaded_step_by_step() {
        let bench = Bench::new();
        let profile = Profile::builder(Iccid::nth(1)).size(3000).build();
        let order = OrderRequest::with_matching_id(profile, "M-1");
        bench.smdp.create_order(order);
        let server = Es9Client::new(bench.network(), bench.roots(), Options::default());
        let mut steps = Vec::new();
        download(&bench.card, &server, "M-1", |step| {
            let state = bench.card.state().borrow().clone();
            steps.push((step, state.installed.len(), state.notifications.len()));
        })
        .await
        .unwrap();
        let (Step::Prepared(segments), 0, 0) = steps.remove(2) else {
            panic!("{steps:?}");
        };
        let loading = (1..segments.len()).map(|loaded| (Step::Loading(loaded), 0, 0));
        let mut expected = vec![(Step::Challenged, 0, 0), (Step::Authenticated, 0, 0)];
        expected.extend(loading);
        expected.extend([(Step::Installed, 1, 1), (Step::Reported, 1, 0)]);
        assert_eq!(steps, expected);
        assert!(bench.card.open_channels().is_empty());
    }
}

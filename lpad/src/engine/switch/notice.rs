//! Making the modem use what the card says.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::{AfterEnable, EuiccConfig};
use crate::engine::port::{CardPort, Must};
use crate::failure::JobFailure;
use crate::modem::{OpenPort, ReportedProfile};

/// Waits until the modem uses what it should. One that does not by itself is reset, by one rung of its
/// ladder after the other.
pub(super) async fn make_notice<O: OpenPort>(
    port: &mut CardPort<O>,
    expected: Option<&str>,
    config: &EuiccConfig,
    must: Must,
) -> Result<ReportedProfile, JobFailure> {
    #[cfg(feature = "pcsc")]
    if config.reader().is_some() {
        port.restart_card().await?;
        let expected = expected.map(str::to_owned);
        return Ok(expected.map_or(ReportedProfile::None, ReportedProfile::Iccid));
    }
    let strategy = config.after_enable;
    let by_itself = Duration::from_secs(port.habits().refresh_s);
    let by_itself = match strategy {
        AfterEnable::Radio => ReportedProfile::NotReported,
        AfterEnable::Auto | AfterEnable::Nothing => port
            .wait_for_profile(expected, by_itself)
            .await
            .unwrap_or(ReportedProfile::NotReported),
    };
    let is_over = match strategy {
        AfterEnable::Radio => false,
        AfterEnable::Nothing => true,
        // A modem that does not tell is not reset on suspicion: it would lose its connection.
        AfterEnable::Auto => by_itself.proves(expected) || port.tells_no_profile(),
    };
    if is_over {
        return Ok(by_itself);
    }
    let mut noticed = Ok(by_itself);
    let end = Instant::now() + Duration::from_secs(config.switch.ladder_s);
    for rung in port.habits().ladder.clone() {
        tracing::info!(%rung, "the modem does not notice by itself: resetting it");
        if let Err(failure) = port.reset(&rung, must).await {
            if matches!(failure, JobFailure::Journal(_)) {
                return Err(failure);
            }
            let failure = failure.shortened();
            tracing::warn!(failure, "this reset did not work");
        }
        let left = end.saturating_duration_since(Instant::now());
        let within = Duration::from_secs(rung.within_s()).min(left);
        noticed = port.wait_for_profile(expected, within).await;
        let is_over = match &noticed {
            Ok(answer) => answer.proves(expected) || port.tells_no_profile(),
            Err(_) => false,
        };
        if is_over || Instant::now() >= end {
            break;
        }
    }
    noticed
}

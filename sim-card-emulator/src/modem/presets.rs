//! Modems people have, as combinations of quirks.

use std::str::FromStr;

use super::quirks::error::QuirkError;

/// A modem of the field, or an ideal one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Preset {
    name: &'static str,
    quirks: &'static [&'static str],
}

impl Preset {
    /// All there are.
    pub const ALL: [Self; 21] = [
        Self::new("ideal", &[]),
        Self::new("uart115200-echo", &["echo-stuck", "restart-stays"]),
        Self::new(
            "quectel-eg25",
            &[
                "cgla-get-response",
                "csim-channels-dead",
                "quotes-required",
                "test-form-usage",
                "cchc-line",
                "cchc-always-ok",
                "apdu-time=50ms",
                "refresh-time=2s",
                "restart-leaves-after=1s",
                "restart-absent=38s",
            ],
        ),
        Self::new(
            "quectel-ec20-bpp-error",
            &["get-response", "last-block-error=8", "apdu-time=50ms"],
        ),
        Self::new("qdc507-csim8", &["csim-limit=8"]),
        Self::new(
            "ec800g-6100",
            &["no-ccho", "loop-6100", "glued-result", "apdu-time=80ms"],
        ),
        Self::new(
            "eg916q",
            &[
                "crsm-refused",
                "radio-off-hangs-up=3s",
                "reboots-after=200",
                "apdu-time=100ms",
            ],
        ),
        Self::new(
            "rg650e-lpa",
            &["internal-lpa", "ignores-refresh", "quotes-required"],
        ),
        Self::new("em05g", &["test-form-error"]),
        Self::new("em061k-noprofile", &["empty-no-session"]),
        Self::new(
            "fm350-window-bare",
            &[
                "ccho-bare",
                "isdr-window=60s",
                "test-form-silent",
                "empty-euicc",
                "stale-input",
                "restart-leaves-after=47s",
                "restart-absent=30s",
            ],
        ),
        Self::new("sierra-mc7455-handle", &["ccho-handle", "test-form-error"]),
        Self::new("sierra-em9191-reject", &["isdr-refused", "cchc-missing"]),
        Self::new("telit-le910-ch2-lock", &["first-channel=2", "telit-lock"]),
        Self::new("nrf91-noprofile", &["empty-no-card"]),
        Self::new("ml307r-catbusy", &["stuck-refresh", "ccho-bare"]),
        Self::new(
            "huawei-finals",
            &["huawei-results", "no-ccho", "csim-basic-only"],
        ),
        Self::new(
            "wavecom-filter",
            &["wavecom-filter", "no-ccho", "cpin-without-result"],
        ),
        Self::new("cinterion-mf-reset", &["cinterion-filter", "no-ccho"]),
        Self::new("dw5821e-csim-only", &["no-ccho"]),
        Self::new("xmm-le-required", &["le-required"]),
    ];

    /// The names `preset:NAME` knows.
    pub const NAMES: [&'static str; Self::ALL.len()] = {
        let mut names = [""; Self::ALL.len()];
        let mut index = 0;
        while index < names.len() {
            names[index] = Self::ALL[index].name;
            index += 1;
        }
        names
    };

    /// What it is called.
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// Its quirks, as [`super::Quirks::add`] reads them.
    pub const fn quirks(self) -> &'static [&'static str] {
        self.quirks
    }

    const fn new(name: &'static str, quirks: &'static [&'static str]) -> Self {
        Self { name, quirks }
    }
}

impl FromStr for Preset {
    type Err = QuirkError;

    fn from_str(name: &str) -> Result<Self, QuirkError> {
        let found = Self::ALL.into_iter().find(|preset| preset.name == name);
        found.ok_or_else(|| QuirkError::Preset {
            name: name.to_owned(),
            known: &Self::NAMES,
        })
    }
}

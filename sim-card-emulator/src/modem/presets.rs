//! Modems people have: what they say they are, as combinations of quirks.

use std::str::FromStr;

use super::quirks::error::QuirkError;

/// A modem of the field, or an ideal one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Preset {
    name: &'static str,
    /// Maker, model and firmware; empty where the emulator's own holds.
    identity: [&'static str; 3],
    /// What is known of the way to the card.
    known: &'static str,
    quirks: &'static [&'static str],
}

impl Preset {
    /// All there are.
    pub const ALL: [Self; 37] = [
        Self::new("ideal", ["", "", ""], "no such modem", &[]),
        Self::new(
            "uart115200-echo",
            ["", "", ""],
            "no such modem",
            &["echo-stuck", "restart-stays"],
        ),
        Self::new(
            "quectel-eg25",
            ["Quectel", "EG25", "EG25GGBR07A08M2G"],
            "AT+CGLA works, AT+CSIM does not",
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
            ["Quectel", "EC20F", ""],
            "AT+CSIM works, AT+CGLA loses the end of a package",
            &[
                "cgla-get-response",
                "cgla-last-block-error=8",
                "raw-61xx",
                "max-sessions=1",
                "quotes-required",
                "apdu-time=50ms",
                "restart-leaves-after=1s",
                "restart-absent=38s",
            ],
        ),
        Self::new(
            "quectel-ec20-csim",
            ["Quectel", "EC20", ""],
            "AT+CSIM works, on one channel; AT+CCHO does nothing",
            &["no-ccho", "raw-61xx", "max-sessions=1", "quotes-required"],
        ),
        Self::new(
            "quectel-eg95",
            ["Quectel", "EG95", ""],
            "AT+CSIM works with a second try, AT+CGLA is not known",
            &["phone-failure-once", "quotes-required"],
        ),
        Self::new(
            "qdc507-csim8",
            ["BAIWANG", "QDC507", ""],
            "AT+CGLA works, AT+CSIM does not",
            &[
                "csim-limit=8",
                "raw-61xx",
                "quotes-required",
                "ignores-refresh",
                "iccid-commands=+QCCID",
                "restart-leaves-after=1s",
                "restart-absent=38s",
            ],
        ),
        Self::new(
            "ec800g-6100",
            ["Quectel", "EC800G", ""],
            "AT+CSIM gives no answers, AT+CGLA is not known",
            &["no-ccho", "loop-6100", "glued-result", "apdu-time=80ms"],
        ),
        Self::new(
            "quectel-ec200",
            ["Quectel", "EC200A", ""],
            "AT+CSIM works, AT+CGLA is not known",
            &["no-ccho", "raw-61xx", "urc-before-echo"],
        ),
        Self::new(
            "quectel-bg95-s5",
            ["Quectel", "BG95-S5", ""],
            "AT+CSIM works, AT+CGLA is not known",
            &[
                "raw-61xx",
                "empty-iccid=89000123456789012358",
                "iccid-commands=+QCCID,+CCID",
                "reset-commands=+QPOWD=1",
            ],
        ),
        Self::new(
            "eg916q",
            ["Quectel", "EG916Q-GL", "EG916QGLLGR01A03M04"],
            "AT+CGLA works, AT+CSIM is not known",
            &[
                "crsm-refused",
                "ignores-refresh",
                "radio-off-drops=3s",
                "reboots-after=200",
                "quotes-required",
                "iccid-commands=+QCCID",
                "apdu-time=100ms",
            ],
        ),
        Self::new(
            "quectel-rm520n",
            ["Quectel", "RM520N-GL", "RM520NGLAAR03A03M4G"],
            "AT+CGLA works, AT+CSIM is not known",
            &[
                "cgla-get-response",
                "quotes-required",
                "empty-iccid=89111111111111111111",
                "empty-ready",
                "restart-leaves-after=1s",
                "restart-absent=30s",
            ],
        ),
        Self::new(
            "quectel-rm530n",
            ["Quectel", "RM530N-GL", ""],
            "AT+CGLA works, AT+CSIM is not known",
            &[
                "cgla-get-response",
                "quotes-required",
                "radio-off-restarts",
                "restart-leaves-after=1s",
                "restart-absent=30s",
            ],
        ),
        Self::new(
            "rg650e-lpa",
            ["Quectel", "RG650E-EU", ""],
            "AT+CGLA works once the modem's LPA is off, AT+CSIM is not known",
            &[
                "internal-lpa",
                "ignores-refresh",
                "quotes-required",
                "cgla-get-response",
                "urc-before-result",
                "restart-absent=30s",
            ],
        ),
        Self::new(
            "em05g",
            ["Quectel", "EM05-G", "EM05GFAR07A07M1G"],
            "AT+CGLA works, AT+CSIM is not known",
            &["test-form-error", "cgla-get-response", "quotes-required"],
        ),
        Self::new(
            "em061k-noprofile",
            ["Quectel", "EM061K-GL", ""],
            "AT+CGLA works with a profile enabled, AT+CSIM is not known",
            &["empty-no-session", "cgla-get-response", "quotes-required"],
        ),
        Self::new(
            "fm350-window-bare",
            ["Fibocom Wireless Inc.", "FM350-GL", ""],
            "AT+CGLA works in a window, AT+CSIM for reading",
            &[
                "ccho-bare",
                "isdr-window=60s",
                "test-form-silent",
                "empty-euicc",
                "stale-input",
                "ignores-refresh",
                "cgsn-silent",
                "iccid-commands=+ICCID,+CCID",
                "reset-commands=+CFUN=15",
                "restart-leaves-after=47s",
                "restart-absent=30s",
            ],
        ),
        Self::new(
            "fibocom-fm150",
            ["Fibocom Wireless Inc.", "FM150-AE", ""],
            "AT+CGLA works on the FG132, AT+CSIM is not known",
            &[
                "test-form-error",
                "identity-named",
                "cgsn-silent",
                "iccid-commands=+ICCID,+CCID",
                "reset-commands=+CFUN=15",
            ],
        ),
        Self::new(
            "xmm-le-required",
            ["Fibocom Wireless Inc.", "L860-GL", ""],
            "AT+CGLA works with Le, AT+CSIM is not known",
            &[
                "le-required",
                "iccid-commands=+CCID,+ICCID",
                "reset-commands=+CFUN=16,+CFUN=15",
            ],
        ),
        Self::new(
            "simcom-sim7600",
            ["SIMCOM INCORPORATED", "SIMCOM_SIM7600G-H", ""],
            "AT+CSIM works, there is no AT+CGLA",
            &[
                "no-ccho",
                "raw-61xx",
                "ignores-refresh",
                "iccid-commands=+CICCID",
                "reset-commands=+CRESET,+CFUN=6",
            ],
        ),
        Self::new(
            "simcom-sim7080",
            ["SIMCOM_Ltd", "SIMCOM_SIM7080", ""],
            "not known",
            &["iccid-commands=+CCID", "iccid-bare"],
        ),
        Self::new(
            "simcom-a7908e",
            ["INCORPORATED", "A7908E", ""],
            "AT+CGLA works, AT+CSIM is not known",
            &[
                "raw-61xx",
                "no-blank",
                "iccid-commands=+CICCID",
                "reset-commands=+CRESET",
            ],
        ),
        Self::new(
            "sierra-mc7455-handle",
            ["Sierra Wireless, Incorporated", "MC7455", ""],
            "AT+CGLA works, AT+CSIM too",
            &[
                "ccho-handle",
                "test-form-error",
                "late-refresh=10s",
                "iccid-commands=!ICCID?",
                "reset-commands=!RESET",
            ],
        ),
        Self::new(
            "sierra-em7455-noprofile",
            [
                "Sierra Wireless, Incorporated",
                "EM7455",
                "SWI9X30C_02.38.00.00",
            ],
            "AT+CGLA works, AT+CSIM with a profile enabled",
            &[
                "ccho-handle",
                "empty-no-csim",
                "bare-terminal-capability",
                "iccid-commands=!ICCID?",
                "reset-commands=!RESET",
            ],
        ),
        Self::new(
            "sierra-em9191-reject",
            ["Sierra Wireless, Incorporated", "EM9191", ""],
            "AT+CGLA does not work, AT+CSIM is not known",
            &[
                "isdr-refused",
                "cchc-missing",
                "iccid-commands=!ICCID?",
                "reset-commands=!RESET",
            ],
        ),
        Self::new(
            "telit-le910-ch2-lock",
            ["Telit", "LE910C1-NF", ""],
            "AT+CSIM works, AT+CGLA by the maker's manual",
            &[
                "first-channel=2",
                "telit-lock",
                "iccid-commands=#CCID,+CCID,+ICCID",
                "reset-commands=#SIMDET,#REBOOT",
            ],
        ),
        Self::new(
            "nrf91-noprofile",
            ["Nordic Semiconductor ASA", "nRF9151-LACA", ""],
            "AT+CGLA and AT+CSIM work with a profile enabled",
            &[
                "empty-no-card",
                "iccid-commands=%XICCID",
                "iccid-padded",
                "reset-commands=+CFUN=40",
                "restart-stays",
            ],
        ),
        Self::new(
            "ml307r-catbusy",
            ["CMCC", "ML307R", ""],
            "AT+CGLA works, AT+CSIM for TERMINAL CAPABILITY at least",
            &[
                "stuck-refresh",
                "card-keeps-power",
                "ccho-bare",
                "cgsn-serial",
                "iccid-commands=+MCCID,+ICCID",
                "reset-commands=+MREBOOT=0",
                "restart-stays",
            ],
        ),
        Self::new(
            "sara-r510",
            ["u-blox", "SARA-R510S", ""],
            "not known",
            &[
                "no-blank",
                "cfun-time=60s",
                "iccid-commands=+CCID",
                "reset-commands=+CFUN=16",
                "restart-stays",
            ],
        ),
        Self::new(
            "neoway-n58",
            ["Neoway", "N58", ""],
            "not known",
            &["iccid-commands=$MYCCID", "iccid-quoted"],
        ),
        Self::new(
            "mediatek-cpe",
            ["MediaTek", "T750", ""],
            "AT+CGLA works, AT+CSIM does not",
            &[
                "raw-61xx",
                "get-response-class",
                "csim-no-select",
                "ccho-bare",
                "cchc-always-ok",
                "max-sessions=5",
                "iccid-commands=+ICCID",
            ],
        ),
        Self::new(
            "huawei-finals",
            ["Huawei Technologies Co., Ltd.", "MS2372h-517", ""],
            "neither way works",
            &[
                "huawei-results",
                "no-ccho",
                "csim-basic-only",
                "iccid-commands=^ICCID?",
                "reset-commands=^RESET,+CFUN=16",
            ],
        ),
        Self::new(
            "wavecom-filter",
            ["WAVECOM", "Q2686", ""],
            "neither way works",
            &[
                "wavecom-filter",
                "no-ccho",
                "cpin-without-result",
                "iccid-commands=+CCID",
                "iccid-quoted",
            ],
        ),
        Self::new(
            "cinterion-mf-reset",
            ["SIEMENS", "AC75", ""],
            "neither way works",
            &["cinterion-filter", "no-ccho", "iccid-commands=^SCID"],
        ),
        Self::new(
            "dw5821e-csim-only",
            ["Dell", "DW5821e-eSIM", ""],
            "AT+CSIM works, there is no AT+CGLA",
            &[
                "no-ccho",
                "iccid-commands=+ICCID",
                "reset-commands=+RESET",
                "restart-absent=30s",
            ],
        ),
        Self::new(
            "foxconn-t99w696",
            ["Foxconn", "T99W696", ""],
            "AT+CSIM works in upper case, there is no AT+CGLA",
            &[
                "no-ccho",
                "upper-case-only",
                "iccid-commands=+ICCID",
                "reset-commands=+RESET",
                "restart-absent=30s",
            ],
        ),
        Self::new(
            "meig-slm770a",
            ["MEIG", "SLM770A", ""],
            "not known",
            &["iccid-commands=+ICCID", "reset-commands=+RESET"],
        ),
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

    /// What the modem answers to `AT+CGMI`; empty when that is left to the emulator.
    pub const fn maker(self) -> &'static str {
        self.identity[0]
    }

    /// What the modem answers to `AT+CGMM`; empty when that is left to the emulator.
    pub const fn model(self) -> &'static str {
        self.identity[1]
    }

    /// What the modem answers to `AT+CGMR`; empty where no real one is known.
    pub const fn firmware(self) -> &'static str {
        self.identity[2]
    }

    /// Which of the two ways to the card real modems of this kind are known to have.
    pub const fn known(self) -> &'static str {
        self.known
    }

    /// Its quirks, as [`super::Quirks::add`] reads them.
    pub const fn quirks(self) -> &'static [&'static str] {
        self.quirks
    }

    const fn new(
        name: &'static str,
        identity: [&'static str; 3],
        known: &'static str,
        quirks: &'static [&'static str],
    ) -> Self {
        Self {
            name,
            identity,
            known,
            quirks,
        }
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

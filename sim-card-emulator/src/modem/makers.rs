//! Commands that each maker has named in its own way.

/// The commands of all makers that tell the ICCID; with a question mark where a maker wants one.
pub(super) const ICCID_COMMANDS: [&str; 14] = [
    "+CCID",
    "+ICCID",
    "+QCCID",
    "+CICCID",
    "+MCCID",
    "+SQNCCID",
    "+ZGETICCID",
    "#CCID",
    "!ICCID?",
    "^ICCID?",
    "^SCID",
    "%XICCID",
    "$MYCCID",
    "#ICCID?",
];

/// The commands of all makers that restart something. `+CFUN=40` and `#SIMDET` stand for their
/// counterparts as well.
pub(super) const RESET_COMMANDS: [&str; 12] = [
    "+CFUN=6",
    "+CFUN=15",
    "+CFUN=16",
    "+CFUN=40",
    "#REBOOT",
    "#SIMDET",
    "!RESET",
    "^RESET",
    "+CRESET",
    "+RESET",
    "+MREBOOT=0",
    "+QPOWD=1",
];

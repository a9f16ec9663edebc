//! Every quirk: its name, what its value counts, which modems it imitates, and what it does.

use super::super::makers::{ICCID_COMMANDS, RESET_COMMANDS};
use super::{Kind, Quirks};

/// One line per quirk: its variant, its name, what its value counts, and what it does.
macro_rules! quirks {
    ($($variant:ident $name:literal $kind:expr, $imitates:literal, $about:literal;)*) => {
        /// A way in which a modem differs from a well-behaved one, all the time.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Quirk {
            $(#[doc = concat!($about, "\n\nImitates ", $imitates, ".")] $variant,)*
        }

        impl Quirk {
            /// All there are.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// What it is called, for example on a command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What its value counts, and what it is when it is left out.
            pub const fn kind(self) -> Kind {
                match self { $(Self::$variant => $kind,)* }
            }

            /// What the modem does.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => $about,)* }
            }

            /// The real modems that do so.
            pub const fn imitates(self) -> &'static str {
                match self { $(Self::$variant => $imitates,)* }
            }
        }

        impl Quirks {
            /// The names that [`Quirks::add`] knows.
            pub const NAMES: [&'static str; Quirk::ALL.len()] = [$($name),*];
        }
    };
}

quirks! {
    // What is written: echo, lines, results.
    EchoStuck "echo-stuck" Kind::Flag, "modems whose echo `ATE0` does not switch off",
        "The echo stays on after `ATE0`.";
    EchoReturns "echo-returns" Kind::Flag, "modems that forget `ATE0`",
        "The echo is on again after every `AT+CFUN` and every REFRESH.";
    LowerCase "lower-case" Kind::Flag, "the Android emulator and some Quectel firmware",
        "Answers carry hexadecimal digits in lower case.";
    Unquoted "unquoted" Kind::Flag, "the Android emulator",
        "Answers carry hexadecimal digits without quotation marks.";
    NoBlank "no-blank" Kind::Flag, "SIMCom A7908E, u-blox SARA-R5",
        "Answers have no blank after the colon.";
    SpacedDigits "spaced-digits" Kind::Flag, "modems that print octets apart",
        "Answers have a blank between two octets.";
    LengthInOctets "length-in-octets" Kind::Flag, "modems that count octets, not digits",
        "The length in an answer counts octets.";
    WrongLength "wrong-length" Kind::Flag, "modems that lose the end of an answer",
        "Answers announce two digits more than there are.";
    TruncatedAnswers "truncated-answers" Kind::Count(64), "modems with short buffers",
        "Digits beyond so many are missing; the length is the true one.";
    NoEmptyLine "no-empty-line" Kind::Flag, "modems that save the empty line",
        "No empty line stands before the final result.";
    GluedResult "glued-result" Kind::Flag, "Quectel EC800G as logged",
        "The final result stands in the answer's line: `+CSIM: 4,\"9000\"OK`.";
    CrOnly "cr-only" Kind::Flag, "modems that end lines with CR alone",
        "Lines end with CR and no LF.";
    CmeShouted "cme-shouted" Kind::Flag, "modems in `AT+CMEE=2` with words of their own",
        "Errors come in words whatever `AT+CMEE` says: `+CME ERROR:SIMBUSY`.";
    HuaweiResults "huawei-results" Kind::Flag, "Huawei MU509 and EM770W",
        "Errors are `COMMAND NOT SUPPORT` and `TOO MANY PARAMETERS`.";
    CpinWithoutResult "cpin-without-result" Kind::Flag, "Wavecom M1306",
        "`AT+CPIN?` is answered without a final result.";
    VerboseOff "verbose-off" Kind::Flag, "a modem that another program left in `ATV0`",
        "Results are digits until `ATV1`.";
    IdentityNamed "identity-named" Kind::Flag, "some Fibocom modems",
        "`AT+CGMI`, `AT+CGMM` and `AT+CGMR` answer with their name and in quotation marks.";
    QuietOn "quiet-on" Kind::Flag, "a modem that another program left in `ATQ1`",
        "There are no final results until `ATQ0`.";

    // When it is written.
    Mute "mute" Kind::Flag, "a diagnostic port, or a modem that hangs",
        "Nothing is answered at all.";
    SplitWrites "split-writes" Kind::Count(7), "USB modems whose answers come in several reads",
        "Output leaves in pieces of so many octets, 10 ms apart.";
    SplitAtRandom "split-at-random" Kind::Count(64), "modems behind a multiplexer",
        "Output leaves in pieces of one to so many octets, by chance.";
    UrcFlood "urc-flood" Kind::Count(20), "modems that tell everything they notice",
        "So many unsolicited codes come in every place of every exchange.";
    UrcBeforeEcho "urc-before-echo" Kind::Flag, "modems whose codes overtake the echo",
        "`+CREG: 1,\"1A2B\",\"01234567\",7` comes before every echo.";
    UrcBeforeAnswer "urc-before-answer" Kind::Flag, "u-blox modules",
        "`+CEREG: 5` comes before the first line of every answer.";
    UrcBeforeResult "urc-before-result" Kind::Flag, "Quectel RG650E",
        "`+CGEV: ME PDN DEACT 1` comes before every final result.";
    UrcWithResults "urc-with-results" Kind::Flag, "networks that send texts and odd names",
        "Codes with the words OK and ERROR in them come around every answer.";
    UrcAtRandom "urc-at-random" Kind::Count(25), "modems on the move",
        "In every place of an exchange a code comes with a chance of so many percent.";
    LateAnswer "late-answer" Kind::Time(300_000), "modems that answer after the client gave up",
        "The first last block of a STORE DATA chain is answered so late.";
    DropFirst "drop-first" Kind::Count(1), "modems that lose the first command on a port",
        "So many command lines are not heard after the port was opened.";
    StaleInput "stale-input" Kind::Flag, "Fibocom FM350",
        "Old codes wait for the client that opens the port.";
    NulFirst "nul-first" Kind::Flag, "modems whose UART starts up with zeros",
        "NUL octets lead the first output on a port.";

    // What is read.
    LineLimit "line-limit" Kind::Count(256), "Telit UC864 (80 characters)",
        "Command lines of more characters are an error.";
    LineLimitSilent "line-limit-silent" Kind::Count(256), "modems with short buffers",
        "Command lines of more characters are not answered.";
    CsimLineLimit "csim-line-limit" Kind::Count(256), "modems with a short buffer for APDUs",
        "`AT+CSIM` in a line of more characters is an error.";
    UpperCaseOnly "upper-case-only" Kind::Flag, "Foxconn T99W696",
        "APDUs with digits in lower case are an error.";
    QuotesOptional "quotes-optional" Kind::Flag, "Android's emulator, which wants none",
        "APDUs may come without quotation marks.";
    QuotesRequired "quotes-required" Kind::Flag, "Quectel modems",
        "An APDU without quotation marks is a bare `ERROR`.";
    TestFormSilent "test-form-silent" Kind::Flag, "Fibocom FM350",
        "`=?` of the commands for APDUs is not answered.";
    TestFormError "test-form-error" Kind::Flag, "Fibocom FG132, Quectel EM05-G, Sierra EM7590",
        "`=?` of the commands for APDUs is an error, although they work.";
    TestFormUsage "test-form-usage" Kind::Flag, "Quectel EC20",
        "`=?` of the commands for APDUs is answered with a line about their use.";
    NoCsim "no-csim" Kind::Flag, "modems with AT+CCHO alone",
        "There is no `AT+CSIM`.";
    NoCcho "no-ccho" Kind::Flag, "SIMCom SIM7600, Dell DW5821e",
        "There is no `AT+CCHO`, `AT+CGLA` and `AT+CCHC`.";
    CrsmRefused "crsm-refused" Kind::Flag, "Quectel EG916Q",
        "`AT+CRSM` gets `+CME ERROR: 3`.";
    IccidCommands "iccid-commands" Kind::Words(&ICCID_COMMANDS, &["+CICCID"]),
        "SIMCom SIM7600, and each maker in its own way",
        "The ICCID is told by these commands alone; `AT+CICCID` answers `+ICCID:`.";
    IccidBare "iccid-bare" Kind::Flag, "SIMCom SIM7080",
        "The ICCID stands alone in its line.";
    IccidQuoted "iccid-quoted" Kind::Flag, "Neoway N58, Sierra WP76",
        "The ICCID stands in quotation marks.";
    IccidRefused "iccid-refused" Kind::Flag, "modems without a command for the ICCID",
        "Commands that tell the ICCID are an error.";
    IccidPadded "iccid-padded" Kind::Flag, "Nordic nRF91, and some Quectel firmware",
        "The ICCID comes with the `F` that fills it up.";
    IccidOfStart "iccid-of-start" Kind::Flag, "modems that look at the card once",
        "The first ICCID since the modem started is told until it restarts.";
    CgsnSerial "cgsn-serial" Kind::Flag, "China Mobile ML307R",
        "`AT+CGSN` answers a serial number; `AT+CGSN=1` tells the IMEI.";
    CgsnSilent "cgsn-silent" Kind::Flag, "some Fibocom FM150 and FM350",
        "`AT+CGSN` is not answered, with or without a number.";

    RegistrationLevels "registration-levels" Kind::Count(2), "modems that tell no cause",
        "`AT+CREG` and its kind go up to this level, and not to 3 or 5.";
    DeniedSearching "denied-searching" Kind::Flag, "Nordic nRF91",
        "A modem that was refused says that it searches (2), not that it is denied (3).";
    RetryDenied "retry-denied" Kind::Flag, "modems that tell the last answer of a network",
        "A modem that was refused for a time says that it is denied (3), although it tries again.";

    // APDUs.
    ApduTime "apdu-time" Kind::Time(80), "a card that takes its time (45 to 170 ms are usual)",
        "Every APDU takes so long.";
    ApduJitter "apdu-jitter" Kind::Time(50), "a modem that has other work to do",
        "Every APDU takes up to so much longer, by chance.";
    LastBlockTime "last-block-time" Kind::Time(45_000), "a card that installs a profile",
        "The last block of a STORE DATA chain takes so long.";
    OpenTime "open-time" Kind::Time(2000), "modems that are slow to open a channel",
        "`AT+CCHO` takes so long.";
    GetResponse "get-response" Kind::Flag, "Quectel EC25 and EG25 over AT+CGLA",
        "The modem runs GET RESPONSE by itself and joins the data.";
    CglaGetResponse "cgla-get-response" Kind::Flag, "modems with different code behind AT+CSIM",
        "The modem runs GET RESPONSE by itself for `AT+CGLA` only.";
    Raw61xx "raw-61xx" Kind::Flag, "SIMCom SIM7600, Quectel EC200A and BG96",
        "What a command with data and without Le gets waits behind `61xx` for GET RESPONSE.";
    GetResponseClass "get-response-class" Kind::Flag, "MediaTek CPE",
        "GET RESPONSE with class `80` gets `9000` and no data, with class `00` the data.";
    Loop6100 "loop-6100" Kind::Flag, "Quectel EC800G",
        "GET RESPONSE gets `6100` and no data, again and again.";
    LeRequired "le-required" Kind::Flag, "Intel XMM7560 (Fibocom L860)",
        "A command with data and without Le gets `9000` and loses its answer.";
    LeForbidden "le-forbidden" Kind::Flag, "modems that pass TPDUs on as they are",
        "A command with data and Le gets `6700`.";
    WrongLe "wrong-le" Kind::Flag, "cards behind T=0",
        "A command that wants all there is gets `6Cxx`, and is to come again with that Le.";
    CglaLastBlockError "cgla-last-block-error" Kind::Count(8), "Quectel EC20F and EG25",
        "The same as `last-block-error`, for `AT+CGLA` only.";
    LastBlockError "last-block-error" Kind::Count(8), "modems that give up on a slow card",
        "`ERROR` answers last blocks from this number on, which the card has executed.";
    LastBlockLost "last-block-lost" Kind::Count(8), "modems that give up on a slow card",
        "`ERROR` answers last blocks from this number on, which the card never sees.";
    PhoneFailureOnce "phone-failure-once" Kind::Flag, "Quectel EG95",
        "SELECT right after a channel was opened gets `+CME ERROR: 0`, the next one works.";
    CsimLimit "csim-limit" Kind::Count(8), "Baiwang QDC507",
        "`AT+CSIM` with an APDU of more octets is not answered.";
    CsimNoSelect "csim-no-select" Kind::Flag, "MediaTek CPE",
        "`AT+CSIM` passes no SELECT by name; it gets `6A82` (which status word is not known).";
    WavecomFilter "wavecom-filter" Kind::Flag, "Wavecom modules, Moxa G2150I",
        "`AT+CSIM` passes few instructions and exact lengths, else `+CME ERROR: 3`.";
    CinterionFilter "cinterion-filter" Kind::Flag, "Siemens AC75 and MC75",
        "`AT+CSIM` passes commands on files, and selects the MF after each.";
    CsimBasicOnly "csim-basic-only" Kind::Flag, "Huawei MS2372h",
        "`AT+CSIM` opens no channel and passes nothing on one.";
    CsimChannelsDead "csim-channels-dead" Kind::Flag, "Quectel EG25, Alcatel IK41",
        "`AT+CSIM` opens channels, but what goes to them is an error.";
    TelitLock "telit-lock" Kind::Flag, "Telit modems, whose SIM others lock",
        "`AT+CSIM=1` and `AT+CSIM=0` take the card from the modem and give it back (`#QSS`).";
    RebootsAfter "reboots-after" Kind::Count(50), "Quectel EG916Q",
        "The modem reboots by itself once, at this APDU.";

    // Sessions.
    CchoBare "ccho-bare" Kind::Flag, "Fibocom FM350 (3GPP TS 27.007 prints it so)",
        "`AT+CCHO` answers the session number alone in its line.";
    CchoHandle "ccho-handle" Kind::Flag, "Sierra MC7455 and EM7590",
        "`AT+CCHO` answers a handle of 16 digits, which must come back as it is.";
    SessionNumbers "session-numbers" Kind::Count(4), "modems that count sessions, not channels",
        "Sessions are numbered from here, whatever the channel.";
    AnswerWithSession "answer-with-session" Kind::Flag, "modems that repeat the session",
        "`AT+CGLA` answers with the session before the length.";
    ClassUntouched "class-untouched" Kind::Flag, "modems that pass AT+CGLA on as it is",
        "The class byte of `AT+CGLA` reaches the card as the client wrote it.";
    FirstChannel "first-channel" Kind::Count(2), "Telit LE910C1",
        "The modem keeps the channels below this one for itself.";
    MaxSessions "max-sessions" Kind::Count(1), "Quectel EC20",
        "There are no more sessions than so many; channels opened by `AT+CSIM` count (`6A81`).";
    LeakedSessions "leaked-sessions" Kind::Count(1), "a client that was killed",
        "So many sessions are open from the start, until they are closed or the card is reset.";
    CchcLine "cchc-line" Kind::Flag, "Quectel EC20",
        "`AT+CCHC` answers a line `+CCHC` first.";
    CchcMissing "cchc-missing" Kind::Flag, "Sierra EM9191",
        "There is no `AT+CCHC`.";
    CchcAlwaysOk "cchc-always-ok" Kind::Flag, "Quectel EC20",
        "`AT+CCHC` is `OK` for sessions that never were.";
    IsdrRefused "isdr-refused" Kind::Flag, "Sierra EM9191",
        "The ISD-R gets `+CME ERROR: Parameters error`, over `AT+CSIM` too (there not known).";
    IsdrWindow "isdr-window" Kind::Time(60_000), "Fibocom FM350",
        "The modem's LPA takes the ISD-R so long after the start, from `AT+CSIM` too (there not known), \
        and lends it as long again, ten minutes after `AT+GTDUALSIM=1`.";
    InternalLpa "internal-lpa" Kind::Flag, "Quectel RG650E",
        "The modem's LPA has the ISD-R, over `AT+CSIM` too (there not known), until \
        `AT+QESIM=\"lpa_enable\",0` and a restart.";

    // The card's start, and an eUICC without an enabled profile.
    NoTerminalCapability "no-terminal-capability" Kind::Flag, "modems older than eUICCs",
        "The modem starts a card without TERMINAL CAPABILITY.";
    BareTerminalCapability "bare-terminal-capability" Kind::Flag, "Sierra EM7455",
        "The modem tells the card of no LPA, which refuses the ISD-R (`6985`) until it is told.";
    NoProfileStateChange "no-profile-state-change" Kind::Flag, "modems older than eUICCs",
        "The modem's TERMINAL PROFILE does not know REFRESH with \"eUICC Profile State Change\".";
    BusyAtStart "busy-at-start" Kind::Count(3), "modems that are still reading the card",
        "So many commands get `+CME ERROR: 14` after each start of the card.";
    BusyAtRandom "busy-at-random" Kind::Count(10), "modems that share the card",
        "A command gets `+CME ERROR: 14` with a chance of so many percent.";
    EmptySimFailure "empty-sim-failure" Kind::Flag, "Nordic nRF91",
        "Without an enabled profile, questions about the card get `+CME ERROR: 13`.";
    EmptyNotReady "empty-not-ready" Kind::Flag, "several Quectel modems",
        "Without an enabled profile, `AT+CPIN?` answers `NOT READY`.";
    EmptyEuicc "empty-euicc" Kind::Flag, "MediaTek T700 (Fibocom FM350)",
        "Without an enabled profile, `AT+CPIN?` answers `EMPTY_EUICC`.";
    EmptyNoSession "empty-no-session" Kind::Flag, "Quectel EM061K",
        "Without an enabled profile, no channel opens, by `AT+CSIM` neither (there not known).";
    EmptyNoCsim "empty-no-csim" Kind::Flag, "Sierra EM7455",
        "Without an enabled profile, `AT+CSIM` is an error, and nothing reaches the card.";
    EmptyIccid "empty-iccid"
        Kind::Words(&["89000123456789012358", "89111111111111111111"], &["89000123456789012358"]),
        "Quectel BG95-S5, and RM520N with ones",
        "Without an enabled profile, this ICCID is told.";
    EmptyReady "empty-ready" Kind::Flag, "Quectel RM520N",
        "Without an enabled profile, `AT+CPIN?` answers `READY`, and `AT+CIMI` ones.";
    EmptyNoCard "empty-no-card" Kind::Flag, "Nordic nRF9151",
        "Without an enabled profile, everything for the card gets `+CME ERROR: 13`.";

    // REFRESH, radio and restart.
    IgnoresRefresh "ignores-refresh" Kind::Flag, "Quectel RG650E",
        "The modem ignores a REFRESH that the card asks for.";
    StuckRefresh "stuck-refresh" Kind::Flag, "China Mobile ML307R",
        "A REFRESH is never fetched, and until the card is reset APDUs get `+CME ERROR: 4`.";
    LateRefresh "late-refresh" Kind::Time(10_000), "Sierra MC7455",
        "A REFRESH is fetched at once and acted on so late; until then ES10 gets `6985`.";
    RefreshTime "refresh-time" Kind::Time(2000), "every real modem (0.5 to 10 s)",
        "A REFRESH takes so long; the card is not ready meanwhile.";
    RefreshHangsUp "refresh-hangs-up" Kind::Time(5000), "Quectel EG25",
        "A REFRESH takes the port away for so long.";
    RestartLeavesAfter "restart-leaves-after" Kind::Time(47_000), "Fibocom FM350",
        "After `AT+CFUN=1,1` the port stays so long (else 0.5 s) before it goes away.";
    RestartAbsent "restart-absent" Kind::Time(30_000), "Fibocom FM350, Quectel EG25",
        "After `AT+CFUN=1,1` the port is away for so long (else 3 s).";
    RestartStays "restart-stays" Kind::Flag, "modules on a real UART",
        "`AT+CFUN=1,1` restarts the modem and leaves the port.";
    RadioOffDrops "radio-off-drops" Kind::Time(3000), "Quectel EG916Q",
        "`AT+CFUN=0` takes the port away for so long, and the radio stays off until an `AT+CFUN=1`, \
        which may be in the same write.";
    RadioOffHangsUp "radio-off-hangs-up" Kind::Time(3000), "modems that restart without their radio",
        "`AT+CFUN=0` takes the port away for so long, and the modem restarts.";
    CfunTime "cfun-time" Kind::Time(60_000), "u-blox SARA (up to 3 minutes)",
        "`AT+CFUN` takes so long.";
    RadioBusy "radio-busy" Kind::Count(2), "modems that are still switching off",
        "After `AT+CFUN=0` or `4`, so many `AT+CFUN=1` get `+CME ERROR: 14`.";
    CardKeepsPower "card-keeps-power" Kind::Flag, "China Mobile ML307R",
        "No command takes the card's power, a restart neither; it goes with the modem's.";
    ResetCommands "reset-commands" Kind::Words(&RESET_COMMANDS, &RESET_COMMANDS),
        "each maker in its own way",
        "The modem has these commands as well, see below.";
    RadioOffRestarts "radio-off-restarts" Kind::Flag, "Quectel RM530N",
        "`AT+CFUN=0` restarts the modem with its radio on.";
    RadioKept "radio-kept" Kind::Flag, "modems that keep `AT+CFUN` in their flash",
        "`AT+CFUN=0` and `4` hold over a restart.";
    SleepsAfter "sleeps-after" Kind::Time(60_000), "u-blox SARA in power saving mode (PSM)",
        "A registered modem that is not asked for anything for so long sleeps (`+UUPSMR: 1`), and \
        hears nothing for a minute (`+UUPSMR: 0`).";
}

//! The table of problems: name, retryable, title, next step.

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $retryable:literal,
       $title:literal, $next:literal;)*) => {
        /// The stable name of a kind of problem.
        #[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
        #[cfg_attr(feature = "openapi", derive(schemars::JsonSchema), schemars(rename = "ProblemCode"))]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name used in the API.
            pub fn name(self) -> &'static str {
                self.row().0
            }

            pub(super) fn row(self) -> (&'static str, bool, &'static str, &'static str) {
                match self {
                    $(Self::$variant => ($name, $retryable, $title, $next),)*
                }
            }
        }
    };
}

// One line per code: name, retryable, title, next step.
codes! {
    /// The caller may not do this.
    Forbidden = "forbidden", false,
        "You may not do this", "Run the command as root or as a member of the admin group.";
    /// No such resource.
    NotFound = "not-found", false,
        "There is no such path", "Look the path up with GET /v1/openapi.json.";
    /// No such eUICC.
    UnknownEuicc = "unknown-euicc", false,
        "There is no eUICC of this name", "List the eUICCs with `lpactl status` or GET /v1/euiccs.";
    /// No such operation.
    UnknownOperation = "unknown-operation", false,
        "There is no such operation", "List the operations with `lpactl operation list` or GET /v1/operations; old ones are forgotten.";
    /// No such profile.
    UnknownProfile = "unknown-profile", false,
        "There is no such profile on the card", "List the profiles and check the ICCID.";
    /// No such notification.
    UnknownNotification = "unknown-notification", false,
        "There is no such notification on the card", "List those that wait with `lpactl notification list`; what was delivered is gone.";
    /// A notification that was not delivered is not removed.
    NotificationUndelivered = "notification-undelivered", false,
        "The notification was not delivered", "Deliver it, or remove it with force if its recipient is gone for good.";
    /// The path exists, the method does not.
    MethodNotAllowed = "method-not-allowed", false,
        "This cannot be done with the resource", "Look the methods up with GET /v1/openapi.json.";
    /// The body or query cannot be read.
    InvalidRequest = "invalid-request", false,
        "The request cannot be understood", "Correct what `detail` names.";
    /// The body is too large.
    BodyTooLarge = "body-too-large", false,
        "The body is too large", "Send at most 64 KiB.";
    /// The body took too long.
    RequestTimeout = "request-timeout", true,
        "The request did not arrive in time", "Send the whole request at once.";
    /// Too many clients follow the events, or wait.
    TooManyReaders = "too-many-readers", true,
        "Too many clients follow the events or wait", "Let some of them end, or raise max_connections under [api].";
    /// Every connection is taken by a request under way.
    TooManyConnections = "too-many-connections", true,
        "Too many clients ask at the same time", "Try again in a moment, or raise max_connections under [api].";
    /// The activation code does not follow its grammar.
    InvalidActivationCode = "invalid-activation-code", false,
        "The activation code cannot be read", "Check the code against the one you were given; it begins with LPA:1$ or 1$.";
    /// The address is no host name.
    InvalidAddress = "invalid-address", false,
        "The address cannot be used", "Give the SM-DP+ as a host name such as smdp.example.com.";
    /// The configuration does not allow this SM-DP+.
    SmdpNotAllowed = "smdp-not-allowed", false,
        "Profiles of this SM-DP+ are not allowed here", "Add its host to smdp_allowed under [[euicc]], if it is to be trusted.";
    /// No SM-DP+ address is known.
    NoDefaultSmdp = "no-default-smdp", false,
        "No default SM-DP+ is known", "Set one with `lpactl euicc set-default-smdp ADDRESS`, or use an activation code.";
    /// Too many operations wait.
    Busy = "busy", true,
        "The eUICC is busy", "Wait until the operation named here has ended, or cancel it.";
    /// The idempotency key was used for something else.
    IdempotencyKeyReused = "idempotency-key-reused", false,
        "The Idempotency-Key was used for another request", "Use a new key for a new request.";
    /// The operation has ended.
    OperationEnded = "operation-ended", false,
        "The operation has ended", "Look at its result.";
    /// Too late to cancel.
    PastPointOfNoReturn = "past-point-of-no-return", false,
        "The operation can no longer be cancelled", "Wait until it has ended.";
    /// Nothing is asked.
    NotAwaitingAnswer = "not-awaiting-answer", false,
        "The operation does not wait for an answer", "Look at its state.";
    /// The confirmation code is missing.
    ConfirmationCodeRequired = "confirmation-code-required", false,
        "A confirmation code is needed", "Give the confirmation code you got from the operator; lpactl takes it with --confirmation-code-file.";
    /// The confirmation code is wrong.
    ConfirmationCodeRefused = "confirmation-code-refused", false,
        "The confirmation code is wrong", "Check the confirmation code and download again; too many wrong ones close the order.";
    /// A client cancelled it.
    Cancelled = "cancelled", false,
        "The operation was cancelled", "Start it again when you want it.";
    /// The person who was asked declined the profile.
    Declined = "declined", false,
        "The profile was declined", "Ask the operator for a new activation code if this was a mistake.";
    /// The person who was asked postponed the profile.
    Postponed = "postponed", true,
        "The profile was postponed", "Download again when you want it; the order can still be used.";
    /// No answer came in time.
    NoAnswer = "no-answer", true,
        "The profile was not accepted in time", "Download again, with --yes to accept it at once.";
    /// Profile policy rules are not acceptable.
    PolicyRulesForbidden = "policy-rules-forbidden", false,
        "The card's rules do not allow this profile's policy rules", "Ask the operator for a profile without policy rules.";
    /// Profile policy rules stand against it.
    DisallowedByPolicy = "disallowed-by-policy", false,
        "The profile's policy rules do not allow this", "Ask the operator of the profile.";
    /// The profile is enabled and must not be.
    ProfileEnabled = "profile-enabled", false,
        "The profile is enabled", "Disable it, or enable another profile, first.";
    /// The profile is there already.
    ProfileInstalled = "profile-installed", false,
        "The profile is installed already", "List the profiles; nothing has to be downloaded.";
    /// The card has no room.
    CardFull = "card-full", false,
        "The card does not have enough memory", "Delete a profile that is not needed and try again.";
    /// A proactive session runs on the card.
    CardBusy = "card-busy", true,
        "The card is busy with the modem", "Try again in a minute; if it stays busy, reset the modem.";
    /// The SM-DP+ refused.
    ServerRefused = "server-refused", false,
        "The SM-DP+ refused", "Ask the operator, with the subject and reason given here.";
    /// The matching identifier is unknown or used.
    MatchingIdRefused = "matching-id-refused", false,
        "The SM-DP+ does not know this activation code, or the code is used up", "Check the code, or ask the operator for a new one.";
    /// The server has nothing for this EID; inside the daemon only, an operation succeeds with it.
    NothingToDownload = "nothing-to-download", true,
        "The SM-DP+ has nothing for this eUICC", "Ask the operator whether a profile was made for this EID.";
    /// The order is for another eUICC.
    EidRefused = "eid-refused", false,
        "The order is for another eUICC", "Use the code on the device it was made for, or ask the operator.";
    /// The operator prepares the order still.
    NotReleased = "not-released", true,
        "The operator has not released the profile yet", "Try again later; if this persists, ask the operator.";
    /// The order has expired or is closed.
    OrderClosed = "order-closed", false,
        "The download order is closed", "Ask the operator for a new activation code.";
    /// The server has a problem of its own.
    ServerFailed = "server-failed", true,
        "The SM-DP+ failed", "Try again later; if this persists, tell the operator.";
    /// The server cannot be reached.
    ServerUnreachable = "server-unreachable", true,
        "The SM-DP+ cannot be reached", "Check the network, name resolution and firewall of this machine.";
    /// The server took too long.
    ServerTimeout = "server-timeout", true,
        "The SM-DP+ did not answer in time", "Try again later; if this persists, tell the operator.";
    /// The server is not who it should be.
    ServerNotTrusted = "server-not-trusted", false,
        "The SM-DP+ could not prove who it is", "Check the address and this machine's clock; for a private issuer, see [trust] extra_roots.";
    /// The server sent something wrong.
    ServerGarbled = "server-garbled", false,
        "The answer of the SM-DP+ cannot be used", "Tell the operator of the SM-DP+.";
    /// The card refused.
    CardRefused = "card-refused", false,
        "The card refused", "Restart the modem and try again; if the card refuses again, ask its maker, with the function and result given here.";
    /// The card refused the profile package.
    InstallationFailed = "installation-failed", false,
        "The card could not install the profile", "Ask the operator for a new profile; the error was reported to the SM-DP+.";
    /// The card's answer cannot be read.
    CardGarbled = "card-garbled", false,
        "The card's answer cannot be understood", "Try again; if this persists, report it with a log at level debug.";
    /// The card has no ISD-R.
    NoEuicc = "no-euicc", true,
        "The card is not an SGP.22 eUICC", "Check that the card is an SGP.22 eUICC and that its slot is selected.";
    /// Another card is in the slot.
    OtherCard = "other-card", false,
        "Another card is in the slot", "Check the EID, and ask again if this card is meant.";
    /// A part of the card cannot be read.
    PartUnknown = "part-unknown", true,
        "A part of the card that this needs cannot be read", "Try again; if the part stays unknown, restart the modem.";
    /// The modem does not pass commands on to the card.
    ModemRefused = "modem-refused", true,
        "The modem does not let the card be used", "Check that a card is in the slot, that its PIN is not asked for, and that the modem takes AT+CGLA or AT+CSIM.";
    /// The card gives no logical channel.
    NoChannel = "no-channel", true,
        "The card gives no logical channel", "Stop other programs that use the card, and restart the modem, which frees all logical channels.";
    /// Not even `AT` is answered.
    ModemSilent = "modem-silent", true,
        "Nothing answers on the modem's port", "Check port and baud under [[euicc]].";
    /// The modem is not there.
    ModemUnavailable = "modem-unavailable", true,
        "The modem cannot be used", "Check the modem, its port in the configuration, and that no other program uses the port.";
    /// The modem took too long.
    ModemTimeout = "modem-timeout", true,
        "The modem did not answer in time", "Try again; if it stays silent, reset the modem.";
    /// The modem would pass nothing on to the card any more.
    LastProfile = "last-profile", false,
        "The modem needs an enabled profile", "Enable another profile, which disables this one; or set needs_profile = false in [euicc.modem], if the card is to be left without one.";
    /// The card did not switch.
    CardNotSwitched = "card-not-switched", false,
        "The card accepted the switch but did not switch", "Restart the modem, look at the profile list and try again.";
    /// The modem did not take the new profile.
    SwitchNotConfirmed = "switch-not-confirmed", false,
        "The card switched, but the modem still uses the old profile", "Restart the modem.";
    /// The new profile got no service, and was left again.
    SwitchReverted = "switch-reverted", false,
        "The profile got no service; the previous one is in use again", "Check subscription and APN of the profile, with the reason given here, then try again.";
    /// Neither the new nor the previous profile got service.
    SwitchDiverted = "switch-diverted", false,
        "Neither the new nor the previous profile got service; another one is in use", "Check both subscriptions.";
    /// No profile got service.
    SwitchStranded = "switch-stranded", true,
        "No profile of this card gets service here", "Check antenna and coverage.";
    /// No client confirmed the new profile.
    NotConfirmed = "not-confirmed", true,
        "Nobody confirmed the new profile in time; the previous one is in use again", "Check the way to the box over the new profile, then try again.";
    /// The box would be left without a profile that it can use.
    WouldStrand = "would-strand", false,
        "This would leave the box without a usable profile", "Enable another profile instead; or use force.";
    /// The profile is to be kept.
    ProfileKept = "profile-kept", false,
        "The profile is to be kept", "Take keep off the profile in the configuration; or use force.";
    /// The profile could not be left again.
    NoWayBack = "no-way-back", false,
        "The profile forbids that it is disabled, so that lpad could not go back", "Accept it expressly, with --accept-no-return.";
    /// The daemon was stopped on the way.
    Interrupted = "interrupted", true,
        "lpad was stopped before this had ended", "The card has been read again: look at its profiles, then try again.";
    /// It failed before a start of the daemon, and its reason was not kept.
    FailedEarlier = "failed-earlier", false,
        "The operation failed before lpad was restarted", "Look at the card's profiles and at the log of that time, then ask again if it is still wanted.";
    /// lpad cannot write its state.
    StateUnwritable = "state-unwritable", true,
        "lpad cannot write its state", "Check free space and permissions of the state folder.";
    /// A journal was damaged; lpad goes on with what can be read of it.
    JournalDamaged = "journal-damaged", false,
        "The journal was damaged", "Check the medium, then look at the files named here and remove them; operations from before may be missing.";
    /// A mistake in lpad.
    Internal = "internal", false,
        "lpad has a bug", "Report this with the log.";
}

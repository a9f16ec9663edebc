//! What `lpactl` can be told on its command line.

use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::{Args, Parser, Subcommand, ValueEnum};

use super::time::moment;
use crate::config::Confirm;
use crate::job::{Decision, Kind, OperationId};
use crate::memory::operations::State;

/// Manage the eSIM of this gateway.
#[derive(Debug, Parser)]
#[command(
    name = "lpactl",
    version,
    after_help = EXIT_CODES,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Arguments {
    /// The daemon's socket [default: $LPAD_SOCKET or /run/lpad/lpad.sock]
    #[arg(long, global = true, help_heading = GENERAL, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Print the JSON of the API
    #[arg(long, global = true, help_heading = GENERAL)]
    pub json: bool,
    /// Which eUICC, if there are several
    #[arg(long, global = true, help_heading = GENERAL, value_name = "NAME")]
    pub euicc: Option<String>,
    /// Do not wait behind another operation of the eUICC: fail at once
    #[arg(long, global = true, help_heading = GENERAL)]
    pub no_queue: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What `lpactl` does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the daemon, its eUICCs and what they are doing
    Status,
    /// The eUICC itself
    #[command(subcommand)]
    Euicc(EuiccCommand),
    /// Show whether the profile in use is in service, and what lpad does next about it
    Service,
    /// The profiles on the eUICC
    #[command(subcommand)]
    Profile(ProfileCommand),
    /// Download and install a profile
    Download(DownloadArguments),
    /// The notifications waiting for delivery
    #[command(subcommand)]
    Notification(NotificationCommand),
    /// What the daemon is doing and has done
    #[command(subcommand)]
    Operation(OperationCommand),
    /// Examine port, modem, card, clock and server, and say what to do; also without a daemon
    Doctor(DoctorArguments),
    /// Show events as they happen, until interrupted
    Events {
        /// Start after this event
        #[arg(long, value_name = "ID")]
        after: Option<u64>,
    },
}

/// `lpactl euicc …`.
#[derive(Debug, Subcommand)]
pub enum EuiccCommand {
    /// Show the eUICC: EID, versions, memory, addresses
    Info,
    /// Store the address of the default SM-DP+ on the eUICC
    SetDefaultSmdp {
        /// Its host name; "" removes it
        address: String,
        /// Ask there for a profile as soon as the address is stored, in an operation of its own
        #[arg(long)]
        download: bool,
    },
    /// Erase profiles, or the default SM-DP+ address, for ever
    Reset(ResetArguments),
}

/// `lpactl euicc reset …`.
#[derive(Args, Debug)]
pub struct ResetArguments {
    /// What is erased
    #[command(flatten)]
    pub scope: ResetScopeArguments,
    /// Do not ask for confirmation
    #[arg(long)]
    pub yes: bool,
}

/// What `lpactl euicc reset` erases.
#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
pub struct ResetScopeArguments {
    /// Erase operational profiles
    #[arg(long)]
    pub operational: bool,
    /// Erase test profiles that were loaded in the field
    #[arg(long)]
    pub test: bool,
    /// Erase the default SM-DP+ address
    #[arg(long)]
    pub default_smdp: bool,
}

/// `lpactl profile …`.
#[derive(Debug, Subcommand)]
pub enum ProfileCommand {
    /// List the profiles
    List,
    /// Show one profile
    Show {
        /// Its ICCID or name
        profile: String,
    },
    /// Switch to this profile, and back if it gets no service
    Enable(EnableArguments),
    /// Stop using this profile
    Disable {
        /// Its ICCID or name
        profile: String,
        /// Even if it is the one in use: the box is then without a network
        #[arg(long)]
        force: bool,
    },
    /// Give the profile a name of your own
    Rename {
        /// Its ICCID or name
        profile: String,
        /// The new name; "" removes it
        nickname: String,
    },
    /// Delete the profile for ever
    Delete {
        /// Its ICCID or name
        profile: String,
        /// Even if it is the last operational one, or is to be kept
        #[arg(long)]
        force: bool,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
}

/// `lpactl profile enable …`.
#[derive(Args, Debug)]
pub struct EnableArguments {
    /// Its ICCID or name
    pub profile: String,
    /// Whether you have to confirm it, with lpactl operation confirm, or it goes back
    #[arg(long, value_enum, value_name = "WHO")]
    pub confirm: Option<ConfirmArgument>,
    /// How long it may take to get service, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub deadline: Option<u64>,
    /// Do not look whether it gets service, and do not go back
    #[arg(long, conflicts_with_all = ["confirm", "deadline"])]
    pub no_verify: bool,
    /// Even if its rules do not allow that it is ever disabled
    #[arg(long)]
    pub accept_no_return: bool,
}

/// Who confirms a switch.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ConfirmArgument {
    /// lpad: it is in service
    Auto,
    /// You, over the new profile
    Client,
}

impl From<ConfirmArgument> for Confirm {
    fn from(who: ConfirmArgument) -> Self {
        match who {
            ConfirmArgument::Auto => Self::Auto,
            ConfirmArgument::Client => Self::Client,
        }
    }
}

/// `lpactl download …`.
#[derive(Args, Debug)]
pub struct DownloadArguments {
    /// Where the profile is
    #[command(flatten)]
    pub source: SourceArguments,
    /// Enable the profile once it is installed
    #[arg(long)]
    pub enable: bool,
    /// Accept the profile without asking, unless it has policy rules
    #[arg(long)]
    pub yes: bool,
    /// The file with the confirmation code, or - for standard input
    #[arg(long, value_name = "FILE")]
    pub confirmation_code_file: Option<PathBuf>,
}

/// Where `lpactl download` finds the profile.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct SourceArguments {
    /// The activation code (LPA:1$…), or - to read it from standard input
    #[arg(value_name = "CODE")]
    pub code: Option<String>,
    /// Ask the default SM-DP+ for a profile reserved for this EID
    #[arg(long)]
    pub default: bool,
    /// Ask this SM-DP+ for a profile reserved for this EID
    #[arg(long, value_name = "ADDRESS")]
    pub smdp: Option<String>,
}

/// `lpactl doctor …`.
#[derive(Args, Debug)]
pub struct DoctorArguments {
    /// Only name the ports that may be a modem's
    #[arg(long, conflicts_with_all = ["smdp", "bundle"])]
    pub ports: bool,
    /// The SM-DP+ to connect to [default: the one on the card, else the configured one]
    #[arg(long, value_name = "ADDRESS")]
    pub smdp: Option<String>,
    /// Write what was found to this new file, safe to attach to a public issue
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,
    /// The daemon's configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/lpad/lpad.toml")]
    pub config: PathBuf,
}

/// `lpactl notification …`.
#[derive(Debug, Subcommand)]
pub enum NotificationCommand {
    /// List the notifications waiting for delivery
    List,
    /// Show one notification
    Show {
        /// Its number
        number: u64,
    },
    /// Deliver the waiting notifications now
    Deliver {
        /// Only the one with this number, and those that its server has to get before it
        number: Option<u64>,
    },
    /// Remove a notification that was not delivered
    Remove {
        /// Its number
        number: u64,
        /// Even though its server never hears of it
        #[arg(long)]
        force: bool,
    },
}

/// `lpactl operation …`.
#[derive(Debug, Subcommand)]
pub enum OperationCommand {
    /// List the operations
    List(ListArguments),
    /// Show one operation
    Show {
        /// Its number
        id: OperationId,
    },
    /// Wait until the operation has ended, and show how it ended
    Wait {
        /// Its number
        id: OperationId,
    },
    /// Answer the question that a download asks
    Answer {
        /// Its number
        id: OperationId,
        /// The answer
        answer: AnswerArgument,
        /// The file with the confirmation code, or - for standard input
        #[arg(long, value_name = "FILE")]
        confirmation_code_file: Option<PathBuf>,
    },
    /// Cancel the operation, if that is still possible
    Cancel {
        /// Its number
        id: OperationId,
    },
    /// Confirm the new profile: it stays
    Confirm {
        /// The number of the switch
        id: OperationId,
    },
    /// Go back to the profile before
    Revert {
        /// The number of the switch
        id: OperationId,
    },
}

/// `lpactl operation list …`.
#[derive(Args, Debug)]
pub struct ListArguments {
    /// Only those in this state
    #[arg(long, value_enum)]
    pub state: Option<State>,
    /// Only those of this kind
    #[arg(long, value_enum)]
    pub kind: Option<Kind>,
    /// Only those that had not ended before this time: so long ago (30min, 2h, 7d), or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<u64>,
}

impl ValueEnum for State {
    fn value_variants<'a>() -> &'a [Self] {
        Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

impl ValueEnum for Kind {
    fn value_variants<'a>() -> &'a [Self] {
        Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

/// An answer to the question of a download.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum AnswerArgument {
    /// Download the profile
    Accept,
    /// Never download it: the order is used up
    Decline,
    /// Not now: the order can still be used
    Postpone,
}

impl From<AnswerArgument> for Decision {
    fn from(answer: AnswerArgument) -> Self {
        match answer {
            AnswerArgument::Accept => Self::Accept,
            AnswerArgument::Decline => Self::Decline,
            AnswerArgument::Postpone => Self::Postpone,
        }
    }
}

const GENERAL: &str = "General options";

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the operation failed, or the daemon refused it
  2  the command line or a value in it cannot be used
  3  the daemon cannot be reached, or does not answer
  4  you may not do this
  5  cancelled, declined, postponed or not answered in time
  6  nothing to download
  7  status: an eUICC cannot be used now, or lpad cannot write its state; doctor: something failed
  8  it is done, but standard output cannot be written
  9  the profile got no service or was not confirmed; the one before is in use again
  10  neither of the two got service; another profile is in use
  11  no profile of the card gets service
  130  interrupted";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_download_has_exactly_one_source() {
        let parse = |line: &str| Arguments::try_parse_from(line.split(' '));
        assert!(parse("lpactl download").is_err());
        assert!(parse("lpactl download 1$a.b$c --default").is_err());
        assert!(parse("lpactl download - --enable --yes").is_ok());
        assert!(parse("lpactl --json download --smdp a.b").is_ok());
        assert!(parse("lpactl euicc reset").is_err());
        assert!(parse("lpactl euicc reset --test --operational").is_ok());
    }

    #[test]
    fn operations_are_listed_by_state_kind_and_time() {
        let parse = |line: &str| Arguments::try_parse_from(line.split(' '));
        let all = "lpactl operation list --state failed --kind set-default-smdp --since 2h";
        assert!(parse(all).is_ok());
        for wrong in ["--state asleep", "--kind dance", "--since 2", "--since"] {
            assert!(parse(&format!("lpactl operation list {wrong}")).is_err());
        }
    }
}

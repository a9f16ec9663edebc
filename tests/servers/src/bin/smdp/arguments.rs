//! The command line.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Parser;
use rsp_common::certificate::Role;
use rsp_common::pki::Variant;
use rsp_servers::smdp::{
    ConfigFile, Fault, FaultPlan, Function, Named, PackageFault, ReservationFaultPlan, TlsChoice,
};

use super::Error;

/// A test SM-DP+: serves profiles to eUICCs over ES9+, right ones and on demand wrong ones.
///
/// It is a whole SM-DP+ of SGP.22 version 2 for tests: it authenticates itself and eUICCs, binds
/// profile packages, takes orders and reservations, and verifies what eUICCs report. Point any LPA
/// at it whose eUICC and trust store know its certificate issuer; the one in the folder given with
/// --pki is made when the folder is empty. What an LPA must survive is provoked by name: --fault
/// breaks one call of one function, --tls changes what is met before that.
#[derive(Parser)]
#[command(verbatim_doc_comment, after_long_help = help())]
pub(super) struct Arguments {
    /// A configuration file in TOML; everything here can stand there too, and orders.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print a configuration file with every key, and end.
    #[arg(long)]
    pub(super) example_config: bool,
    /// Where to serve ES9+ over TLS, and the reservation API.
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Where to serve the private admin API over plain HTTP, and the reservation API as well.
    #[arg(long, value_name = "HOST:PORT")]
    admin: Option<String>,
    /// The FQDN to answer to; the first name in the TLS certificate when left out.
    #[arg(long, value_name = "FQDN")]
    host_name: Option<String>,
    /// Folder of the PKI; a fresh one is made there when it is empty.
    #[arg(long, value_name = "DIR")]
    pki: Option<PathBuf>,
    /// Folder of profiles to serve: MATCHING-ID.der, with an optional MATCHING-ID.toml beside it.
    #[arg(long, value_name = "DIR")]
    profiles: Option<PathBuf>,
    /// Folder to keep orders and reservations in.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// User of the reservation API.
    #[arg(long, value_name = "SID")]
    account_sid: Option<String>,
    /// Password of the reservation API.
    #[arg(long, value_name = "TOKEN")]
    auth_token: Option<String>,
    /// Where an SM-DS is reached whose name does not lead there; can be repeated.
    #[arg(long, value_name = "FQDN=HOST:PORT", value_parser = target)]
    connect_to: Vec<(String, String)>,
    /// What clients meet where they expect TLS.
    #[arg(long, value_name = "NAME")]
    tls: Option<TlsChoice>,
    /// Something that goes wrong, in every call of a function or in the N-th; can be repeated.
    #[arg(long, value_name = "FUNCTION[:N]=NAME[=VALUE]")]
    fault: Vec<FaultPlan<Function>>,
    /// What the reservation API does wrong, always or the N-th time; can be repeated.
    #[arg(long, value_name = "[N:]NAME[=CODE]")]
    reservation_fault: Vec<ReservationFaultPlan>,
}

impl Arguments {
    /// The configuration file with what the command line says in its place.
    pub(super) fn settle(self) -> Result<ConfigFile, Error> {
        let mut file = match &self.config {
            Some(path) => ConfigFile::read(path)?,
            None => ConfigFile::default(),
        };
        for (setting, given) in [
            (&mut file.listen, self.listen),
            (&mut file.admin, self.admin),
            (&mut file.host_name, self.host_name),
            (&mut file.account_sid, self.account_sid),
            (&mut file.auth_token, self.auth_token),
        ] {
            *setting = given.or_else(|| setting.take());
        }
        for (setting, given) in [
            (&mut file.pki, self.pki),
            (&mut file.profiles, self.profiles),
            (&mut file.state, self.state),
        ] {
            *setting = given.or_else(|| setting.take());
        }
        if let Some(tls) = self.tls {
            file.tls = tls;
        }
        file.faults.extend(self.fault);
        file.reservation_faults.extend(self.reservation_fault);
        file.connect_to.extend(self.connect_to);
        Ok(file)
    }
}

fn target(text: &str) -> Result<(String, String), &'static str> {
    let (host, target) = text.split_once('=').ok_or("it is not FQDN=HOST:PORT")?;
    Ok((host.to_owned(), target.to_owned()))
}

/// Examples and the names there are.
fn help() -> String {
    let mut help = String::from(EXAMPLES);
    let functions = Function::ALL.map(Function::name).join("\n  ");
    // Writing into a string cannot fail.
    let _ = writeln!(help, "\nFunctions, for --fault:\n  {functions}");
    for (title, names) in [
        ("Faults, for --fault:", Fault::NAMES),
        (
            "Faults of a package, for --fault getBoundProfilePackage=package=NAME:",
            PackageFault::NAMES,
        ),
        ("What is met instead of TLS, for --tls:", TlsChoice::NAMES),
    ] {
        let _ = writeln!(help, "\n{title}");
        for name in names {
            list(&mut help, name);
        }
    }
    let _ = writeln!(help, "{RESERVATION_FAULTS}");
    let _ = writeln!(
        help,
        "\nCertificates, for --fault initiateAuthentication=certificate=NAME (dpauth-...),\n\
         --fault authenticateClient=certificate=NAME (dppb-...) and --tls certificate=NAME (dptls-...):"
    );
    let of_server = [Role::DpAuth, Role::DpPb, Role::DpTls];
    for variant in Variant::all().filter(|variant| of_server.contains(&variant.role())) {
        let named = Named {
            name: variant.name(),
            value: None,
            about: variant.explanation(),
        };
        list(&mut help, &named);
    }
    help.trim_end().to_owned()
}

/// One name, and below it what it does in lines of reasonable length.
fn list(help: &mut String, name: &Named) {
    let _ = write!(help, "  {name}");
    let mut column = usize::MAX;
    for word in name.about.split_whitespace() {
        if column.saturating_add(word.len()) > WIDTH {
            help.push_str("\n     ");
            column = 5;
        }
        let _ = write!(help, " {word}");
        column += word.len() + 1;
    }
    help.push('\n');
}

const EXAMPLES: &str = "\
Examples:
  smdp --listen 127.0.0.1:8443 --pki pki --profiles profiles
      Serves each profiles/NAME.der to every LPA that shows the matching ID NAME.
  smdp --example-config > smdp.toml; smdp --config smdp.toml
      Serves what the file says.
  smdp --config smdp.toml --tls expired
      Shows a certificate that has expired.
  smdp --config smdp.toml --fault authenticateClient:2=http-status=503
      Answers the second AuthenticateClient with HTTP status 503.
  smdp --config smdp.toml --fault getBoundProfilePackage=package=flipped-mac=86:2
      Delivers packages whose second piece of the profile has a wrong MAC.
  smdp --config smdp.toml --reservation-fault 2:fails=22001
      Cannot reserve a profile for the second customer who asks.
  smdp --config smdp.toml --admin 127.0.0.1:8080
  curl -d '\"cancelSession=silence\"' http://127.0.0.1:8080/admin/v1/faults
  curl http://127.0.0.1:8080/admin/v1/notifications
      Plans a fault while the server runs, and shows what eUICCs have reported.
";

const RESERVATION_FAULTS: &str = "
Faults of the reservation API, for --reservation-fault:
  unauthorized, too-many-requests, unavailable
      Answers 401, 429 or 503.
  silence
      Takes the request and says nothing.
  fails, fails=<CODE>
      The reservation fails, with this error_code.
  stuck
      The reservation stays reserving.";

const WIDTH: usize = 96;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use rsp_servers::smdp::Calls;

    use super::*;

    fn settled(arguments: &[&str]) -> ConfigFile {
        let arguments = ["smdp"].iter().chain(arguments);
        Arguments::try_parse_from(arguments)
            .unwrap()
            .settle()
            .unwrap()
    }

    #[test]
    fn the_help_lists_every_name_with_what_it_does() {
        let help = Arguments::command().render_long_help().to_string();
        for names in [Fault::NAMES, PackageFault::NAMES, TlsChoice::NAMES] {
            for name in names {
                assert!(help.contains(&format!("\n  {name}\n")), "{name}");
                assert!(name.about.ends_with('.'), "{name}");
            }
        }
        let longest = help.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(WIDTH + 16), "{longest:?}");
    }

    #[test]
    fn the_examples_of_the_help_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("smdp.toml");
        std::fs::write(&file, ConfigFile::EXAMPLE).unwrap();
        let commands = EXAMPLES
            .lines()
            .filter_map(|line| line.trim().strip_prefix("smdp "));
        let commands: Vec<_> = commands.filter(|line| !line.contains('>')).collect();
        assert_eq!(commands.len(), 6);
        for command in commands {
            let command = command.replace("smdp.toml", file.to_str().unwrap());
            settled(&command.split(' ').collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_command_line_overrules_the_file_and_adds_to_its_faults() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("smdp.toml");
        let text = "listen = \"a:1\"\nadmin = \"b:2\"\ntls = \"close\"\n[[fault]]\n\
                    function = \"cancelSession\"\nfault = \"silence\"\n";
        std::fs::write(&path, text).unwrap();
        let file = settled(&[
            "--config",
            path.to_str().unwrap(),
            "--listen",
            "c:3",
            "--tls",
            "tls1.3",
            "--fault",
            "cancelSession:2=bom",
        ]);
        assert_eq!(file.listen.as_deref(), Some("c:3"));
        assert_eq!(file.admin.as_deref(), Some("b:2"));
        assert_eq!(file.tls, TlsChoice::Tls13);
        assert_eq!(file.faults[0].fault, Fault::Silence);
        assert_eq!(file.faults[1].calls, Calls::Nth(2));
    }

    #[test]
    fn a_name_that_is_none_is_refused_with_the_nearest_one() {
        let refused = |arguments: &[&str]| {
            let arguments = ["smdp"].iter().chain(arguments);
            Arguments::try_parse_from(arguments)
                .err()
                .unwrap()
                .to_string()
        };
        assert!(refused(&["--tls", "expierd"]).contains("did you mean \"expired\"?"));
        let fault = refused(&["--fault", "authenticateClient=htp-status=1"]);
        assert!(fault.contains("did you mean \"http-status\"?"), "{fault}");
        assert!(refused(&["--fault", "silence"]).contains("FUNCTION=NAME"));
    }
}

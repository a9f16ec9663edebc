//! `sim-card-emulator pki`: makes and explains folders of certificates and keys.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use es10_apdu::types::Eid;
use rsp_common::key::Curve;
use rsp_common::pki::{Pki, PkiOptions, Variant, explain};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes a fresh PKI: CI, EUM, eUICC, SM-DP+ and SM-DS, with the shapes of SGP.26
    ///
    /// The folder is what --pki of this program and of the test SM-DP+ takes: certificates in DER
    /// (ci.der, eum.der, euicc.der, dpauth.der, dppb.der, dptls.der, dsauth.der, dstls.der), and
    /// beside each its private key in PEM (*.key). Further issuers are in the sub-folders ci2, ci3
    /// and so on. An LPA that shall trust the servers is given the ci.der above dptls.der.
    ///
    /// A folder that holds something is left alone.
    #[command(after_help = NEW_EXAMPLES)]
    New(New),
    /// Explains a folder: whose each certificate is, what it says, whether its chain verifies
    Show {
        /// The folder
        dir: PathBuf,
    },
    /// Lists the variants of certificates that `pki new --variant` knows, and what comes of each
    Variants,
}

#[derive(Args, Debug)]
pub(crate) struct New {
    /// The folder; it must be empty or missing
    dir: PathBuf,
    /// Curve of the issuer; several times for several issuers, the preferred one first
    ///
    /// TLS is always on NIST P-256: without it another issuer is made for TLS alone.
    #[arg(long = "curve", value_name = "CURVE", default_value = "nist")]
    #[arg(value_parser = PossibleValuesParser::new(Curve::NAMES))]
    curves: Vec<String>,
    /// The eUICC's number; its first 8 digits are what the EUM may issue for
    #[arg(long, value_name = "32 DIGITS")]
    eid: Option<Eid>,
    /// Host name of the SM-DP+, for its TLS certificate; may be given several times
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    /// Object identifier of the SM-DP+
    #[arg(long, value_name = "OID")]
    oid: Option<String>,
    /// Host name of the SM-DS, for its TLS certificate; may be given several times
    #[arg(long = "smds-host", value_name = "NAME")]
    smds_hosts: Vec<String>,
    /// One certificate as it must not be; see `pki variants`; several for several certificates
    #[arg(long = "variant", value_name = "NAME", hide_possible_values = true)]
    #[arg(value_parser = PossibleValuesParser::new(Variant::NAMES))]
    variants: Vec<String>,
}

const NEW_EXAMPLES: &str = "\
Examples:
  sim-card-emulator pki new /tmp/pki --host smdp.example.com
  sim-card-emulator pki new /tmp/pki --curve nist --curve brainpool
  sim-card-emulator pki new /tmp/pki --variant euicc-expired";

pub(crate) fn act(command: &Command, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    match command {
        Command::New(new) => make(new)?,
        Command::Show { dir } => {
            let pki = load(dir)?;
            write!(out, "{}", explain(&pki, SystemTime::now()))?;
        }
        Command::Variants => {
            for variant in Variant::all() {
                writeln!(out, "{}\n    {}", variant.name(), variant.explanation())?;
            }
        }
    }
    Ok(())
}

fn make(new: &New) -> Result<(), Box<dyn Error>> {
    let dir = &new.dir;
    if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(format!("{}: the folder is not empty", dir.display()).into());
    }
    let mut options = PkiOptions {
        curves: new
            .curves
            .iter()
            .map(|name| name.parse())
            .collect::<Result<_, _>>()?,
        ..PkiOptions::default()
    };
    if let Some(eid) = new.eid {
        options.eid = eid.to_string();
        if !eid.has_valid_check_digits() {
            tracing::warn!("the check digits of the EID are wrong");
        }
    }
    for (names, given) in [
        (&mut options.host_names, &new.hosts),
        (&mut options.smds_host_names, &new.smds_hosts),
    ] {
        if !given.is_empty() {
            names.clone_from(given);
        }
    }
    if let Some(oid) = &new.oid {
        options.smdp_oid.clone_from(oid);
    }
    let mut pki = Pki::generate(&options)?;
    for name in &new.variants {
        name.parse::<Variant>()?.apply(&mut pki, options.now)?;
    }
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent)?;
    }
    Ok(pki.save(dir)?)
}

/// A folder without any certificate is a mistake.
fn load(dir: &Path) -> Result<Pki, Box<dyn Error>> {
    fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let pki = Pki::load(dir)?;
    if pki.hierarchies().all(|one| one.roles().next().is_none()) {
        return Err(format!("{}: there is no certificate", dir.display()).into());
    }
    Ok(pki)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(subcommand)]
        command: Command,
    }

    fn run(line: &[&str]) -> Result<String, Box<dyn Error>> {
        let program = Program::try_parse_from([&["pki"], line].concat())?;
        let mut out = Vec::new();
        act(&program.command, &mut out)?;
        Ok(String::from_utf8(out)?)
    }

    #[test]
    fn a_new_folder_is_explained_and_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("a/pki");
        let dir = dir.to_str().unwrap();
        let line = ["new", dir, "--curve", "brainpool", "--host", "dp.test"];
        run(&[&line[..], &["--oid", "2.999.10.1"]].concat()).unwrap();
        let text = run(&["show", dir]).unwrap();
        for said in [
            "brainpoolP256r1, euicc.key fits",
            "serialNumber=89049032123451234512345678901235",
            "O=RSP Test EUM, serialNumber=89049032",
            "DNS dp.test, RID 2.999.10.1",
            "ci2/dptls.der  SM-DP+, TLS (CERT.DPtls)",
            "verified with ci.der",
        ] {
            assert!(text.contains(said), "{said} is missing in\n{text}");
        }
        assert!(
            !text.contains("WRONG") && !text.contains("EXPIRED"),
            "{text}"
        );
        let error = run(&["new", dir]).unwrap_err();
        assert!(
            error.to_string().ends_with("the folder is not empty"),
            "{error}"
        );
    }

    #[test]
    fn a_variant_shows_in_the_explanation() {
        for (variant, said) in [
            ("euicc-expired", "EXPIRED"),
            ("dptls-not-yet-valid", "NOT VALID YET"),
            (
                "dppb-tampered-signature",
                "WRONG: the certificate's signature is wrong",
            ),
            ("eid-outside-eum-range", "WRONG: the eUICC's EID"),
            ("dptls-chain-b", "1 subordinate CA above it"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let dir = folder.path().to_str().unwrap();
            run(&["new", dir, "--variant", variant]).unwrap();
            let text = run(&["show", dir]).unwrap();
            assert!(text.contains(said), "{said} is missing in\n{text}");
            assert!(run(&["variants"]).unwrap().contains(variant));
        }
    }

    #[test]
    fn a_folder_without_certificates_is_said_to_be_one() {
        let folder = tempfile::tempdir().unwrap();
        let error = run(&["show", folder.path().to_str().unwrap()]).unwrap_err();
        assert!(
            error.to_string().ends_with("there is no certificate"),
            "{error}"
        );
        assert!(run(&["new", "/tmp/x", "--variant", "no-such"]).is_err());
    }
}

//! The table of modems: `modems.toml`, which is built in, and one of the user's.
//!
//! Nothing of the built-in table is kept: one entry at a time is read when a modem is recognised.

use std::fmt;
use std::path::Path;

use serde::Deserialize;

use super::identity::Identity;
use crate::config::{Config, ConfigError, Habits, ModemEntry, UsbPorts, Verdict};
use crate::packed;

/// The table of modems.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The user's entries, which come before those that are built in.
    own: Vec<ModemEntry>,
}

/// What the table has of a modem.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Known {
    /// What it says of itself.
    pub identity: Identity,
    /// The name of the entry.
    pub family: String,
    /// Why it was taken.
    pub because: Because,
    /// How much is known of lpad's work with it.
    pub verdict: Verdict,
    /// How it is to be handled.
    pub habits: Habits,
}

/// Why an entry was taken.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Because {
    /// No entry names the modem.
    #[default]
    NoneFits,
    /// Its patterns fit.
    Fits,
    /// The configuration names it.
    Configured,
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoneFits => "no entry of the table names this modem",
            Self::Fits => "the table knows this modem",
            Self::Configured => "the configuration says how this modem is handled",
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "modem")]
    modems: Vec<ModemEntry>,
}

impl Table {
    /// The table that a configuration names, which has to fit the configuration; `path` is that of the
    /// configuration, for messages only.
    pub fn of(config: &Config, path: &Path) -> Result<Self, ConfigError> {
        let table = match &config.modems.table {
            Some(table) => Self::load(table)?,
            None => Self::default(),
        };
        for euicc in &config.euiccs {
            let checked = table.check(&euicc.modem);
            checked.map_err(|(key, why)| ConfigError::Value {
                path: path.to_owned(),
                line: None,
                message: format!("[[euicc]] \"{}\": modem {key} {why}", euicc.name),
            })?;
        }
        Ok(table)
    }

    /// Reads a table of the user's.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(&ConfigError::read_text(path)?, path)
    }

    /// Reads and checks the text of a table; `path` is for messages only.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let file: File =
            toml::from_str(text).map_err(|error| ConfigError::syntax(path, text, &error))?;
        let table = Self { own: file.modems };
        for (index, entry) in table.own.iter().enumerate() {
            let wrong = |message: String| ConfigError::Value {
                path: path.to_owned(),
                line: None,
                message: match entry.text("id") {
                    "" => format!("[[modem]] number {}: {message}", index + 1),
                    id => format!("[[modem]] \"{id}\": {message}"),
                },
            };
            let names_modems = entry.get("makers").or_else(|| entry.get("models"));
            let id = entry.text("id");
            if id.is_empty() || names_modems.is_none() {
                return Err(wrong("it needs id, and makers or models".to_owned()));
            }
            if table.own[..index]
                .iter()
                .any(|other| other.text("id") == id)
            {
                return Err(wrong("an entry before it has the same id".to_owned()));
            }
            table
                .check(entry)
                .map_err(|(key, why)| wrong(format!("{key} {why}")))?;
        }
        Ok(table)
    }

    /// Looks at an entry, or at what the configuration has in place of one.
    pub(crate) fn check(&self, entry: &ModemEntry) -> Result<(), (&'static str, String)> {
        let family = entry.text("family");
        if !family.is_empty() && self.named(family).is_none() {
            return Err(("family", format!("names \"{family}\", which no table has")));
        }
        let mut above = self.named(family);
        for _ in 0..MOST_FAMILIES {
            above = above.and_then(|entry| self.named(entry.text("family")));
        }
        if above.is_some() {
            return Err((
                "family",
                format!("leads to more than {MOST_FAMILIES} others"),
            ));
        }
        // What the family forbids may be sent no more than what the entry forbids itself.
        self.whole(entry.clone()).check()
    }

    /// What is known of a modem: by its own words, unless the configuration names a family.
    pub fn look_up(&self, identity: Identity, configured: &ModemEntry) -> Known {
        let (found, because) = match self.named(configured.text("family")) {
            Some(found) => (Some(found), Because::Configured),
            None => (self.find(|entry| fits(entry, &identity)), Because::Fits),
        };
        let found = found.unwrap_or_default();
        let family = found.text("id").to_owned();
        let because = match family == GENERIC && because == Because::Fits {
            true => Because::NoneFits,
            false => because,
        };
        let mut whole = self.whole(configured.clone().over(found));
        // It was told when the configuration was checked, unless only the modem's name shows it.
        for (key, line) in whole.leave_out_forbidden() {
            let line = super::shown(&line);
            tracing::warn!(
                key,
                line,
                family,
                "this modem must not be sent that; it is left out"
            );
        }
        Known {
            identity,
            family,
            because,
            verdict: whole.verdict(),
            habits: whole.habits(),
        }
    }

    /// Which interfaces of a USB device with this number (`2c7c:0125`) are AT ports, as each entry
    /// that has it says: some numbers are shared by several makers.
    pub fn usb_ports(&self, id: &str) -> Vec<UsbPorts> {
        let entries = self.own.iter().cloned().chain(built_in());
        let ports = entries.flat_map(|entry| entry.texts("usb").unwrap_or_default());
        let ports = ports.filter_map(|usb| UsbPorts::parse(&usb));
        ports
            .filter(|ports| ports.id.eq_ignore_ascii_case(id))
            .collect()
    }

    /// An entry with what its families and `generic` say of the keys it leaves out.
    fn whole(&self, mut entry: ModemEntry) -> ModemEntry {
        for _ in 0..MOST_FAMILIES {
            let Some(family) = self.named(entry.text("family")) else {
                break;
            };
            entry = entry.over(family);
        }
        let built_in = packed::MODEMS.text();
        let generic = built_in.rsplit(ENTRY).next();
        let generic = generic.and_then(|text| toml::from_str(text).ok());
        entry.over(generic.unwrap_or_default())
    }

    fn named(&self, id: &str) -> Option<ModemEntry> {
        self.find(|entry| !id.is_empty() && entry.text("id") == id)
    }

    fn find(&self, wanted: impl Fn(&ModemEntry) -> bool) -> Option<ModemEntry> {
        let own = self.own.iter().find(|entry| wanted(entry)).cloned();
        own.or_else(|| built_in().find(wanted))
    }
}

/// The built-in entries, read one by one.
fn built_in() -> impl Iterator<Item = ModemEntry> {
    let text = packed::MODEMS.text();
    let mut at = 0;
    std::iter::from_fn(move || {
        let entries = text[at..].strip_prefix(ENTRY)?;
        let entry = entries.split(ENTRY).next()?;
        at += ENTRY.len() + entry.len();
        toml::from_str(entry).ok()
    })
}

fn fits(entry: &ModemEntry, identity: &Identity) -> bool {
    let fits = |key, name: &Option<String>| {
        let name = name.as_deref().unwrap_or_default();
        let patterns = entry.texts(key);
        patterns.is_none_or(|patterns| patterns.iter().any(|pattern| matches(pattern, name)))
    };
    fits("makers", &identity.manufacturer) && fits("models", &identity.model)
}

/// Whether a text fits a pattern, where `*` stands for any letters; without regard to case.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, whole) = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == whole;
    };
    let Some(mut text) = whole.strip_prefix(first) else {
        return false;
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    text.ends_with(last)
}

/// How an entry begins.
const ENTRY: &str = "[[modem]]\n";
/// The entry for modems that no other one fits.
pub(crate) const GENERIC: &str = "generic";
/// How many families a family may have, each above the other.
const MOST_FAMILIES: usize = 4;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use es10_apdu::link::{GetResponseClass, Le};

    use super::*;
    use crate::config::Route;

    const SOURCE: &str = include_str!("../../modems.toml");

    fn identity(manufacturer: &str, model: &str) -> Identity {
        Identity {
            manufacturer: Some(manufacturer.to_owned()),
            model: Some(model.to_owned()),
            firmware: None,
        }
    }

    fn look_up(manufacturer: &str, model: &str) -> Known {
        let identity = identity(manufacturer, model);
        Table::default().look_up(identity, &ModemEntry::default())
    }

    fn parse(text: &str) -> Result<Table, String> {
        Table::parse(text, Path::new("modems.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_built_in_is_what_the_file_says() {
        let file: File = toml::from_str(SOURCE).unwrap();
        let without_page = |entry: ModemEntry| {
            assert!(entry.get("page").is_some(), "{entry:?}");
            entry.without("page")
        };
        let source: Vec<_> = file.modems.into_iter().map(without_page).collect();
        assert_eq!(built_in().collect::<Vec<_>>(), source);
    }

    #[test]
    fn every_built_in_entry_can_be_used_and_the_last_one_leaves_nothing_out() {
        let mut ids = BTreeSet::new();
        let table = Table::default();
        for entry in built_in() {
            let id = entry.text("id").to_owned();
            table
                .check(&entry)
                .unwrap_or_else(|why| panic!("{id}: {why:?}"));
            assert!(ids.insert(id.clone()), "{id} is there twice");
            let is_general = entry.get("makers").is_none();
            assert_eq!(is_general, id == GENERIC, "{id} names no maker");
        }
        let generic = built_in().last().unwrap();
        assert_eq!(generic.text("id"), GENERIC);
        assert_eq!(generic.left_out(), [""; 0]);
    }

    #[test]
    fn a_modem_is_found_by_its_own_words() {
        for (manufacturer, model, family) in [
            ("Quectel", "EC25", "quectel-ec25"),
            ("QUECTEL", "ec25efar06a01m4g", "quectel-ec25"),
            ("Quectel", "EG25", "quectel-ec25"),
            ("Quectel", "EC20F", "quectel-ec20"),
            ("Quectel", "EC200U", "quectel-ec200"),
            ("Quectel", "EG91-E", "quectel-eg9x"),
            ("Quectel", "EG916Q-GL", "quectel-eg91x"),
            ("Quectel", "EG95", "quectel-eg9x"),
            ("Quectel", "BG95-M3", "quectel-bg9x"),
            ("Quectel", "RM530N-GL", "quectel-rm530n"),
            ("Quectel", "RM520N-GL", "quectel-rm5xx"),
            ("Quectel", "RG650E-EU", "quectel-rg650"),
            ("Quectel", "EM061K-GL", "quectel-em061k"),
            ("Quectel", "EM05-G", "quectel-em"),
            ("Quectel", "QDC507", "baiwang-qdc507"),
            ("SIMCOM INCORPORATED", "SIMCOM_SIM7600G-H", "simcom-sim7600"),
            ("SIMCOM_Ltd", "SIM7080G", "simcom-sim70xx"),
            ("SIMCOM INCORPORATED", "A7670E-FASE", "simcom-a76xx"),
            (
                "SIMCOM INCORPORATED",
                "SIMCOM_SIM8262E-M2",
                "simcom-sim82xx",
            ),
            ("Telit", "LE910C1-NF", "telit-le910c"),
            ("Telit", "ME910C1-E1", "telit-me910"),
            ("Telit", "FN990A28", "telit-5g"),
            ("u-blox", "SARA-R510S-01B", "ublox-sara-r4r5"),
            ("u-blox", "LARA-R6001D", "ublox-lara-toby"),
            ("Sierra Wireless, Incorporated", "MC7455", "sierra-74xx"),
            ("Sierra Wireless, Incorporated", "EM9191", "sierra-em919x"),
            ("Sierra Wireless, Incorporated", "WP7607-1", "sierra-wp"),
            ("Sierra Wireless", "HL7812", "sierra-hl78"),
            ("Fibocom Wireless Inc.", "L850 LTE Module", "fibocom-xmm"),
            ("Fibocom Wireless Inc.", "FM150-AE", "fibocom-qcom"),
            ("Fibocom Wireless Inc.", "FM350-GL", "fibocom-fm350"),
            ("Fibocom", "L610-EU", "fibocom-l610"),
            ("Nordic Semiconductor ASA", "nRF9160-SICA", "nordic-nrf91"),
            ("Cinterion", "PLS62-W", "thales-lte"),
            ("Cinterion", "EHS6", "siemens-old"),
            ("Huawei Technologies Co., Ltd.", "ME909s-120", "huawei"),
            ("ZTE CORPORATION", "MF823", "zte-gosuncn"),
            ("MEIG INCORPORATED", "SLM770A", "meig"),
            ("Neoway", "N720", "neoway"),
            ("CMCC", "ML307R", "cmcc-ml307"),
            ("AirM2M", "Air780E", "luat-air"),
            ("SEQUANS Communications", "GM02S", "sequans-monarch"),
            ("QUALCOMM INCORPORATED", "T99W175", "foxconn-dell"),
            ("MediaTek Inc.", "T750", "mediatek-cpe"),
            ("Unisoc", "anything", "unisoc-generic"),
            ("WAVECOM MODEM", "MULTIBAND 900E 1800", "wavecom-old"),
            ("lpad", "sim-card-emulator", "generic"),
            ("Quectel", "XY99", "generic"),
            ("", "", "generic"),
        ] {
            let known = look_up(manufacturer, model);
            assert_eq!(known.family, family, "{manufacturer} {model}");
            let is_general = family == GENERIC;
            assert_eq!(known.because == Because::NoneFits, is_general);
        }
    }

    #[test]
    fn every_built_in_entry_is_reached_by_a_modem_of_its_own() {
        for entry in built_in() {
            let id = entry.text("id").to_owned();
            let name = |patterns: Option<Vec<String>>| {
                let patterns = patterns.unwrap_or_default();
                patterns.first().map(|name| name.replace('*', ""))
            };
            let identity = Identity {
                manufacturer: name(entry.texts("makers")),
                model: name(entry.texts("models")),
                firmware: None,
            };
            let known = Table::default().look_up(identity, &ModemEntry::default());
            assert_eq!(known.family, id);
        }
    }

    #[test]
    fn what_an_entry_leaves_out_is_as_in_its_family_and_then_in_generic() {
        let habits = look_up("Quectel", "EC20").habits;
        assert_eq!(habits.apdu, [Route::Csim, Route::Cgla]);
        assert_eq!(habits.iccid[0], "AT+QCCID");
        assert!(habits.not_registered.contains("MBN"));
        assert_eq!((habits.open_s, habits.block_size), (20, 255));
        assert_eq!(habits.ladder.len(), 2);
        assert_eq!(
            look_up("MTK", "T700").habits.get_response_class,
            GetResponseClass::Interindustry
        );
        assert_eq!(look_up("Fibocom", "L850-GL").habits.le, Le::Zero);
        assert!(!look_up("CMCC", "ML307R").habits.refresh_flag);
        assert_eq!(look_up("WAVECOM", "Q2686").habits.apdu, []);
        assert_eq!(look_up("WAVECOM", "Q2686").verdict, Verdict::KnownNotToWork);
    }

    #[test]
    fn own_entries_come_first_and_the_configuration_overrides_every_one() {
        let table = parse(
            "[[modem]]\nid = \"mine\"\nmodels = [\"EC25-AF*\"]\nfamily = \"quectel-ec25\"\n\
             refresh_s = 30\nusb = [\"2C7C:0125 at 4\"]\n[modem.page]\nanything = 1\n\
             [[modem]]\nid = \"generic\"\nmakers = [\"lpad\"]\nopen_s = 7\n",
        )
        .unwrap();
        let none = ModemEntry::default();
        let known = table.look_up(identity("Quectel", "EC25-AFX"), &none);
        assert_eq!((&*known.family, known.because), ("mine", Because::Fits));
        assert_eq!((known.habits.refresh_s, known.habits.open_s), (30, 20));
        assert_eq!(known.habits.iccid[0], "AT+QCCID");
        let known = table.look_up(identity("lpad", "sim-card-emulator"), &none);
        assert_eq!(known.habits.open_s, 7);
        let configured: ModemEntry =
            toml::from_str("family = \"mine\"\nopen_s = 9\nladder = []").unwrap();
        let known = table.look_up(identity("lpad", "sim-card-emulator"), &configured);
        let Known {
            because, habits, ..
        } = known;
        assert_eq!(because, Because::Configured);
        assert_eq!(
            (habits.open_s, habits.refresh_s, habits.ladder.len()),
            (9, 30, 0)
        );
        let ports: Vec<_> = table.usb_ports("2c7c:0125");
        let ports: Vec<_> = ports.iter().map(|ports| ports.at.as_slice()).collect();
        assert_eq!(ports, [&[4][..], &[2, 3], &[2, 3]]);
    }

    #[test]
    fn a_line_that_a_modem_must_not_be_sent_is_left_out() {
        let text = "iccid = [\"AT+CSIM=1\", \"AT#CCID\"]\n\
                    ladder = [{ send = [\"at+csim=0\"] }, { send = [\"AT#REBOOT\"] }]";
        let configured: ModemEntry = toml::from_str(text).unwrap();
        let telit = identity("Telit", "LE910C1-NF");
        let habits = Table::default().look_up(telit, &configured).habits;
        assert_eq!(habits.iccid, ["AT#CCID"]);
        assert_eq!(
            (habits.ladder.len(), &*habits.ladder[0].send[0]),
            (1, "AT#REBOOT")
        );
    }

    #[test]
    fn a_pattern_stands_for_any_letters_without_regard_to_case() {
        for (pattern, text, fits) in [
            ("EC25", "ec25", true),
            ("EC25", "EC25-E", false),
            ("EC25*", "EC25-E", true),
            ("*SIM76*", "SIMCOM_SIM7600G", true),
            ("*SIM76*", "SIM7500", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "abc", true),
            ("a*bc*c", "abc", false),
            ("a*a", "a", false),
            ("*", "", true),
            ("", "", true),
            ("\u{dc}*", "\u{dc}x", true),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_table_is_told_with_its_key() {
        let entry = "[[modem]]\nid = \"a\"\nmodels = [\"b\"]\n";
        for (text, told) in [
            (
                "[[modem]]\nid = \"a\"\n",
                "[[modem]] \"a\": it needs id, and makers or models",
            ),
            (
                "[[modem]]\nmodels = []\n",
                "[[modem]] number 1: it needs id",
            ),
            ("[modem]\n", "modems.toml:1: invalid type: map"),
            (
                "[[modems]]\n",
                "modems.toml:1: unknown key \"modems\"; did you mean \"modem\"?",
            ),
            (
                &format!("{entry}iccids = []"),
                "unknown key \"iccids\"; did you mean \"iccid\"?",
            ),
            (
                &format!("{entry}le = \"no\""),
                "modems.toml:4: le must be \"absent\" or \"zero\"",
            ),
            (
                &format!("{entry}apdu = [\"qmi\"]"),
                "modems.toml:4: apdu must be \"cgla\" or \"csim\"",
            ),
            (
                &format!("{entry}open_s = \"1\""),
                "modems.toml:4: open_s must be a whole number",
            ),
            (
                &format!("{entry}retry = [70000]"),
                "retry must be at most 65535",
            ),
            (
                &format!("{entry}block_size = 15"),
                "modems.toml:4: block_size must be between 16 and 255 bytes",
            ),
            (
                &format!("{entry}open_s = 0"),
                "open_s must be between 1 and 600 seconds",
            ),
            (
                &format!("{entry}refresh_s = 601"),
                "refresh_s must be between 0 and 600 seconds",
            ),
            (
                &format!("{entry}iccid = [\"+CCID\"]"),
                "iccid has \"+CCID\", which is no AT line",
            ),
            (
                &format!("{entry}imei = [\"AT\\rAT\"]"),
                "imei has \"AT\\rAT\", which is no AT line",
            ),
            (
                &format!("{entry}never = [{}]", "\"AT\",".repeat(9)),
                "never has more than 8 lines",
            ),
            (
                &format!("{entry}ladder = [{}]", "{},".repeat(9)),
                "ladder has more than 8 rungs",
            ),
            (
                &format!("{entry}ladder = [{{ sned = [] }}]"),
                "ladder has a rung with the unknown key \"sned\"",
            ),
            (
                &format!("{entry}ladder = [{{ run = [\"sh\"] }}]"),
                "ladder has a program whose path",
            ),
            (
                &format!("{entry}ladder = [{{ run = [\"/a\"], send = [\"AT\"] }}]"),
                "ladder has a rung with both send and run",
            ),
            (
                &format!("{entry}ladder = [{{ within_s = 601 }}]"),
                "1 to 600 s for the profile",
            ),
            (&format!("{entry}usb = [\"2c7c\"]"), "usb is like"),
            (
                &format!("{entry}usb = [\"2c7c:0125 3\"]"),
                "and \"2c7c:0125 3\" is not",
            ),
            (
                &format!("{entry}no_isd_r = \"a\\nb\""),
                "no_isd_r is too long, or not one line",
            ),
            (
                &format!("{entry}family = \"b\""),
                "family names \"b\", which no table has",
            ),
            (
                &format!("{entry}never = [\"AT+X\"]\nladder = [{{ send = [\"at+x\"] }}]"),
                "ladder has \"at+x\", which \"never\" forbids",
            ),
            (
                &format!("{entry}never = [\"AT+X \"]\niccid = [\"AT+X\"]"),
                "iccid has \"AT+X\", which \"never\" forbids",
            ),
            (
                &format!("{entry}line_limit = 74"),
                "modems.toml:4: line_limit must be 0, or at least 75 characters",
            ),
            (
                &format!("{entry}{entry}"),
                "\"a\": an entry before it has the same id",
            ),
            (
                &format!(
                    "{entry}family = \"nordic-nrf91\"\nladder = [{{ send = [\"AT+CFUN=0\"] }}]"
                ),
                "ladder has \"AT+CFUN=0\", which \"never\" forbids",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(told), "{text}\n gives {error}\n not {told}");
        }
        // Families that name each other.
        let circle = "[[modem]]\nid = \"a\"\nmodels = [\"a\"]\nfamily = \"b\"\n\
                      [[modem]]\nid = \"b\"\nmodels = [\"b\"]\nfamily = \"a\"\n";
        let error = parse(circle).unwrap_err();
        assert!(
            error.contains("family leads to more than 4 others"),
            "{error}"
        );
    }
}

//! Names and values of quirks.

use super::*;

#[test]
fn a_value_is_read_as_what_the_quirk_counts() {
    let mut quirks = Quirks::default();
    for (text, quirk, value) in [
        ("mute", Quirk::Mute, 1),
        ("split-writes", Quirk::SplitWrites, 7),
        ("split-writes=64", Quirk::SplitWrites, 64),
        ("apdu-time", Quirk::ApduTime, 80),
        ("apdu-time=5", Quirk::ApduTime, 5000),
        ("apdu-time=1.5s", Quirk::ApduTime, 1500),
        ("apdu-time=20ms", Quirk::ApduTime, 20),
        ("iccid-commands=+CCID", Quirk::IccidCommands, 1),
        ("iccid-commands=+QCCID,+CCID", Quirk::IccidCommands, 0b101),
    ] {
        quirks.add(text).unwrap();
        assert_eq!(quirks.value(quirk), Some(value), "{text}");
    }
}

#[test]
fn names_are_unique_and_every_quirk_says_what_it_does() {
    let mut names = Quirks::NAMES.to_vec();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Quirk::ALL.len());
    for quirk in Quirk::ALL {
        let name = quirk.name();
        let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
        assert!(name.chars().all(plain), "{name}");
        assert!(quirk.about().ends_with('.') && !quirk.imitates().is_empty());
    }
}

#[test]
fn the_documentation_has_them_all() {
    let page = include_str!("../../../../docs/modem-quirks.md");
    for quirk in Quirk::ALL {
        let value = quirk.kind().usual();
        let (name, about) = (quirk.name(), quirk.about());
        let row = format!("| `{name}{value}` | {about} | {} |", quirk.imitates());
        assert!(page.contains(&row), "{row}");
        if let Kind::Words(words, _) = quirk.kind() {
            for word in words {
                assert!(page.contains(&format!("`{word}`")), "{name}: {word}");
            }
        }
    }
    for preset in Preset::ALL {
        let quirks: Vec<String> = preset
            .quirks()
            .iter()
            .map(|quirk| format!("`{quirk}`"))
            .collect();
        let quirks = match quirks.is_empty() {
            true => "none".to_owned(),
            false => quirks.join(", "),
        };
        let tells = [preset.maker(), preset.model(), preset.firmware()];
        let tells = tells.join(" ");
        let tells = tells.trim();
        let (name, known) = (preset.name(), preset.known());
        let row = format!("| `{name}` | {tells} | {known} | {quirks} |");
        assert!(page.contains(&row), "{row}");
    }
}

#[test]
fn every_preset_is_made_of_quirks() {
    for name in Preset::NAMES {
        let mut quirks = Quirks::default();
        quirks.add(&format!("preset:{name}")).unwrap();
        assert_eq!(quirks.preset().unwrap().name(), name);
        assert_eq!(quirks.values.is_empty(), name == "ideal", "{name}");
    }
}

#[test]
fn what_fits_no_quirk_is_refused_with_what_would() {
    for (text, words) in [
        ("no-such", "there are echo-stuck, "),
        ("preset:no-such", "there are ideal, "),
        ("mute=2", "takes no value"),
        ("split-writes=x", "takes a number"),
        ("apdu-time=soon", "takes a time like 500ms or 2s"),
        ("apdu-time=-1", "takes a time"),
        ("iccid-commands=+CIMI", "takes words that are known for it"),
        ("reset-commands=", "takes words that are known for it"),
        ("apdu-time=1e9", "takes a time"),
        ("apdu-time=999999s", "takes a time"),
    ] {
        let error = Quirks::default().add(text).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
}

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
        let value = match quirk.kind() {
            Kind::Flag => String::new(),
            Kind::Count(count) => format!("={count}"),
            Kind::Time(time) if time % 1000 == 0 => format!("={}s", time / 1000),
            Kind::Time(time) => format!("={time}ms"),
        };
        let (name, about) = (quirk.name(), quirk.about());
        let row = format!("| `{name}{value}` | {about} | {} |", quirk.imitates());
        assert!(page.contains(&row), "{row}");
    }
    for preset in Preset::ALL {
        let quirks: Vec<String> = preset
            .quirks()
            .iter()
            .map(|quirk| format!("`{quirk}`"))
            .collect();
        let row = format!("| `{}` | {} |", preset.name(), quirks.join(", "));
        assert!(quirks.is_empty() || page.contains(&row), "{row}");
    }
}

#[test]
fn every_preset_is_made_of_quirks() {
    for name in Preset::NAMES {
        let mut quirks = Quirks::default();
        quirks.add(&format!("preset:{name}")).unwrap();
        assert_eq!(quirks == Quirks::default(), name == "ideal", "{name}");
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
        ("apdu-time=1e9", "takes a time"),
        ("apdu-time=999999s", "takes a time"),
    ] {
        let error = Quirks::default().add(text).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
}

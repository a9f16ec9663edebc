use super::*;

fn parse(text: &str) -> Result<Config, String> {
    parse_with(text, &[])
}

fn parse_with(text: &str, knobs: &[(&str, &str)]) -> Result<Config, String> {
    let knobs = knobs
        .iter()
        .map(|(knob, value)| ((*knob).to_owned(), (*value).to_owned()));
    let knobs: Vec<_> = knobs.collect();
    Config::parse(text, Path::new("a.toml"), &knobs).map_err(|error| error.to_string())
}

/// The example with every key that has no default given the value that is shown for it.
fn whole_example() -> String {
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix('#') {
        Some(key) if key.starts_with(|first: char| first.is_ascii_lowercase()) => key,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The keys a section may have, as the error for an unknown one names them.
fn known_keys(section: &str) -> Vec<String> {
    let error = toml::from_str::<Config>(&format!("{section}\nx = 1"));
    let message = error.unwrap_err().message().to_owned();
    let names = message.split('`').skip(1).step_by(2).skip(1);
    names.map(str::to_owned).collect()
}

#[test]
fn the_example_holds_the_defaults() {
    let example = parse(EXAMPLE).unwrap();
    assert_eq!(format!("{example:?}"), format!("{:?}", Config::default()));
}

#[test]
fn the_example_names_and_explains_every_key() {
    let whole = whole_example();
    parse(&whole).unwrap();
    let whole: toml::Table = toml::from_str(&whole).unwrap();
    let sections = known_keys("");
    assert!(sections.contains(&"card".to_owned()));
    for section in sections {
        let shown = whole.get(&section).and_then(toml::Value::as_table);
        let shown = shown.unwrap_or_else(|| panic!("the example has no [{section}]"));
        for key in known_keys(&format!("[{section}]")) {
            assert!(shown.contains_key(&key), "[{section}] has no {key}");
        }
    }
    let mut before = "";
    for line in EXAMPLE.lines().filter(|line| !line.starts_with(']')) {
        let is_key = line
            .trim_start_matches('#')
            .starts_with(|c: char| c.is_ascii_lowercase());
        let is_explained = before.starts_with("# ") || line.contains(" # ");
        assert!(!is_key || is_explained, "{line} is not explained");
        before = line;
    }
}

#[test]
fn an_empty_file_is_a_configuration() {
    assert_eq!(
        parse("").unwrap().modem.identity(),
        modem::Identity::default()
    );
}

#[test]
fn a_mistake_is_named_with_its_line() {
    for (text, expected) in [
        ("[modem]\nimei = \"49\"", "a.toml:2: an IMEI has 15 digits"),
        ("[identity]\neid = \"1\"", "a.toml:2: "),
        (
            "[modem]\nquirks = [\"mud\"]",
            "a.toml:2: there is no quirk \"mud\"",
        ),
        (
            "[crad]\nmemory = 1",
            "a.toml:1: unknown key \"crad\"; did you mean \"card\"?",
        ),
        (
            "[card]\n\nchanels = 1",
            "a.toml:3: unknown key \"chanels\"; did you mean \"channels\"?",
        ),
        (
            "[pty]\nbaud = -1",
            "a.toml:2: invalid value: integer \"-1\"",
        ),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.starts_with(expected), "{text} gives {error}");
    }
}

#[test]
fn a_knob_of_the_card_is_put_over_the_file() {
    let file = "[card]\nmemory = 1000\nchannels = 1";
    let knobs = [
        ("channels", "2"),
        ("root_ds_address", "ds.example.com"),
        ("v3_answers", "true"),
    ];
    let config = parse_with(file, &knobs).unwrap();
    let expected = Settings {
        memory: 1000,
        channels: 2,
        root_ds_address: "ds.example.com".to_owned(),
        v3_answers: true,
        ..Settings::default()
    };
    assert_eq!(config.card, expected);
    for (knob, value, message) in [
        (
            "chanels",
            "2",
            "--card chanels=2: unknown key \"chanels\"; did you mean \"channels\"?",
        ),
        (
            "channels",
            "300",
            "--card channels=300: invalid value: integer \"300\", expected u8",
        ),
    ] {
        assert_eq!(parse_with(file, &[(knob, value)]).unwrap_err(), message);
    }
}

#[test]
fn a_modem_gets_the_habits_and_the_network_it_shall_have() {
    let text = "[modem]\nquirks = [\"split-writes=1\"]\nseed = 5\nnetwork = \"never\"\n\
        networks = { \"8901000000000000019\" = \"registers-after=5s,roaming\" }";
    let config = parse(text).unwrap().modem;
    let control = ModemControl::default();
    config.apply(&control);
    let quirk = modem::Quirk::SplitWrites;
    control.set_quirks(|quirks| assert_eq!(quirks.value(quirk), Some(1)));
    assert_eq!(Ok(config.network), "never".parse());
    let network: Network = "registers-after=5s,roaming".parse().unwrap();
    let expected = [("8901000000000000019".to_owned(), network)];
    assert_eq!(config.networks, BTreeMap::from(expected));
    let error = parse("[modem]\nnetwork = \"maybe\"").unwrap_err();
    assert!(
        error.contains("a.toml:2: no network is like \"maybe\""),
        "{error}"
    );
}

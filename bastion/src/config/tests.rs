//! What a file may say, what it means, and how it is told what is wrong.

use super::*;

fn complaint(text: &str) -> String {
    Config::parse(text).unwrap_err().to_string()
}

#[test]
fn a_file_without_any_key_is_the_default_and_an_empty_one_is_refused() {
    assert_eq!(
        format!("{:?}", Config::parse("# nothing\n").unwrap()),
        format!("{:?}", Config::default())
    );
    let error = Source::default().load_from(b" \n").unwrap_err();
    let said =
        "/etc/bastion/bastion.toml is empty; write a comment into it if the defaults are wanted";
    assert_eq!(error.to_string(), said);
}

#[test]
fn an_unknown_key_is_named() {
    let error = complaint("listen_address = \"0.0.0.0:22\"");
    assert!(error.contains("unknown field `listen_address`"), "{error}");
}

#[test]
fn max_startups_is_a_number_or_three() {
    let parse = |value: &str| Config::parse(&format!("max_startups = {value}"));
    assert_eq!(parse("7").unwrap().max_startups, MaxStartups::all_at(7));
    assert_eq!(
        parse("\"10:30:60\"").unwrap().max_startups,
        "10:30:60".parse().unwrap()
    );
    for wrong in ["0", "\"10:30\"", "true"] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn times_are_written_as_people_write_them() {
    assert_eq!(
        Config::parse("login_grace_time = \"2m\"")
            .unwrap()
            .login_grace_time
            .as_secs(),
        120
    );
    let error = complaint("login_grace_time = \"soon\"");
    assert!(error.contains("\"soon\" is not a time"), "{error}");
    let error = complaint("idle_timeout = 28800");
    assert!(
        error.contains("expected a time, such as \"30s\""),
        "{error}"
    );
    let error = complaint("channel_timeout = { session = 60 }");
    assert!(
        error.contains("expected a time, such as \"30s\""),
        "{error}"
    );
}

#[test]
fn addresses_are_a_list_and_have_ports() {
    for (wrong, said) in [
        (
            "\"0.0.0.0:22\"",
            "expected a list of addresses, such as [\"0.0.0.0:22\"]",
        ),
        (
            "[\"localhost:22\"]",
            "\"localhost:22\" is not an address and a port",
        ),
        ("[\"0.0.0.0\"]", "\"0.0.0.0\" is not an address and a port"),
    ] {
        let error = complaint(&format!("listen = {wrong}"));
        assert!(error.contains(said), "{error}");
    }
    assert_eq!(
        Config::parse("listen = [\"[::]:22\"]")
            .unwrap()
            .listen
            .len(),
        1
    );
}

#[test]
fn a_channel_that_may_be_idle_is_of_a_kind_that_there_is() {
    let check = |kind: &str| {
        let text = format!("channel_timeout = {{ {kind:?} = \"8h\" }}");
        Config::parse(&text).unwrap().check()
    };
    for kind in [
        "session:*",
        "session:shell",
        "session:subsystem:x",
        "*",
        "direct-tcpip",
    ] {
        assert!(check(kind).is_ok(), "{kind}");
    }
    let error = check("sesion").unwrap_err().to_string();
    assert!(error.contains("channel_timeout = { \"sesion\""), "{error}");
}

#[test]
fn a_subsystem_is_a_name_and_a_command() {
    let config =
        Config::parse("subsystem = { sftp = \"/usr/lib/openssh/sftp-server -R\" }").unwrap();
    assert_eq!(config.subsystem["sftp"], "/usr/lib/openssh/sftp-server -R");
    assert!(config.check().is_ok());
    assert_eq!(Config::default().subsystem["sftp"], "internal-sftp");
}

#[test]
fn forwarding_is_configured_in_the_words_of_sshd_config() {
    let text = "permit_open = [\"localhost:18789\"]\ngateway_ports = \"clientspecified\"\nstream_local_bind_mask = \"0111\"";
    let config = Config::parse(text).unwrap();
    assert_eq!(config.stream_local_bind_mask, 0o111);
    assert_eq!(config.gateway_ports, GatewayPorts::ClientSpecified);
    let error = complaint("deny_open = [\"169.254.169.254\"]");
    assert!(
        error.contains("deny_open") && error.contains("write host:port"),
        "{error}"
    );
    let error = complaint("stream_local_bind_mask = \"0999\"");
    assert!(error.contains("\"0999\" is not a umask"), "{error}");
}

#[test]
fn the_command_line_wins() {
    let overrides = Overrides {
        logins: vec![("a".into(), "b".into())],
        ..Overrides::default()
    };
    let source = Source {
        file: None,
        overrides,
    };
    let config = source.load().unwrap();
    assert_eq!(config.logins, BTreeMap::from([("a".into(), "b".into())]));
}

#[test]
fn nonsense_is_refused_with_a_remedy() {
    let mut config = Config {
        logins: BTreeMap::new(),
        ..Config::default()
    };
    assert!(config.check().unwrap_err().to_string().contains("name one"));
    for command in ["", " ", "internal-sftp -P vanish", "a\0b"] {
        let subsystem = BTreeMap::from([("sftp".into(), command.into())]);
        config = Config {
            subsystem,
            ..Config::default()
        };
        assert!(
            config
                .check()
                .unwrap_err()
                .to_string()
                .starts_with("subsystem = "),
            "{command}"
        );
    }
    config = Config {
        max_sessions: 0,
        ..Config::default()
    };
    assert!(
        config
            .check()
            .unwrap_err()
            .to_string()
            .contains("max_sessions = 0")
    );
}

/// What the README's table says of each key: its name and its default.
fn table() -> Vec<(&'static str, &'static str)> {
    let keys = include_str!("../../README.md").split("## Events").next();
    keys.unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|row| {
            let (key, rest) = row.split_once("` | ").unwrap();
            (key, rest.split(" | ").next().unwrap())
        })
        .collect()
}

#[test]
fn every_key_is_once_in_the_readme() {
    let error = complaint("no_such_key = 0");
    let (_, listed) = error.split_once("expected one of ").unwrap();
    let mut known: Vec<_> = listed.split('`').skip(1).step_by(2).collect();
    let mut written: Vec<_> = table().into_iter().map(|(key, _)| key).collect();
    known.sort_unstable();
    written.sort_unstable();
    assert!(known.len() > 40, "{error}");
    assert_eq!(written, known);
}

#[test]
fn the_defaults_in_the_readme_are_those_there_are() {
    let readme = include_str!("../../README.md");
    let (_, block) = readme.split_once("```toml\n").unwrap();
    let mut text = block.split("```").next().unwrap().to_owned();
    let default = Config::default();
    for (key, value) in table() {
        match value {
            "none" | "below" => {}
            _ => text += &format!("{key} = {}\n", value.trim_matches('`')),
        }
    }
    let written = Config::parse(&text).unwrap();
    assert_eq!(format!("{written:?}"), format!("{default:?}"), "{text}");
}

#[test]
fn the_examples_can_be_used() {
    let readme = include_str!("../../../README.md");
    let (_, block) = readme.split_once("```toml\n").unwrap();
    let example = include_str!("../../../image/bastion.toml");
    for text in [block.split("```").next().unwrap(), example] {
        Config::parse(text).unwrap().check().unwrap();
    }
}

/// What the fuzzer begins with.
#[test]
fn every_key_is_a_seed_of_the_fuzzer() {
    let seed = include_str!("../../../fuzz/seeds/configuration/all");
    let seed: toml::Table = seed.parse().unwrap();
    for (key, _) in table() {
        assert!(seed.contains_key(key), "no seed of {key}");
    }
}

#[test]
fn a_file_that_cannot_be_looked_for_may_be_there() {
    use super::source::may_be_there;
    let folder = tempfile::tempdir().unwrap();
    assert!(!may_be_there(&folder.path().join("bastion.toml")));
    // As in a folder that may not be entered, which stops no superuser.
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(may_be_there(&file.join("bastion.toml")));
}

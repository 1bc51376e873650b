//! What may be forwarded, rule by rule.

use super::*;

fn rules() -> ForwardingRules {
    ForwardingRules::default()
}

fn connects(
    rules: &ForwardingRules,
    host: &str,
    address: &str,
) -> Result<SocketAddr, NotPermitted> {
    rules.may_connect(host, address.parse().unwrap())
}

#[test]
fn every_default_is_an_entry() {
    assert_eq!(rules().deny_open.len(), DENY_OPEN.len());
    assert_eq!(
        (rules().permit_open.len(), rules().permit_listen.len()),
        (1, 1)
    );
}

#[test]
fn by_default_this_machine_and_the_network_are_open() {
    for (host, address) in [
        ("localhost", "127.0.0.1:18789"),
        ("localhost", "[::1]:18789"),
        ("127.0.0.1", "127.0.0.1:18789"),
        ("pomerium", "172.30.0.10:443"),
        ("example.org", "[2001:db8::1]:443"),
    ] {
        assert_eq!(
            connects(&rules(), host, address),
            Ok(address.parse().unwrap()),
            "{host}"
        );
    }
}

#[test]
fn by_default_link_local_and_metadata_addresses_are_denied_however_they_are_written() {
    for (host, address) in [
        ("169.254.169.254", "169.254.169.254:80"),
        ("169.254.0.1", "169.254.0.1:80"),
        ("innocent.example", "169.254.169.254:80"),
        ("::ffff:169.254.169.254", "[::ffff:169.254.169.254]:80"),
        ("64:ff9b::a9fe:a9fe", "[64:ff9b::a9fe:a9fe]:80"),
        ("fe80::1", "[fe80::1]:80"),
        ("febf::1", "[febf::1]:80"),
        ("fd00:ec2::254", "[fd00:ec2::254]:80"),
        ("fd20:ce::254", "[fd20:ce::254]:80"),
        ("100.100.100.200", "100.100.100.200:80"),
        ("168.63.129.16", "168.63.129.16:32526"),
        ("192.0.0.192", "192.0.0.192:80"),
        ("metadata.google.internal", "192.0.2.7:80"),
    ] {
        let verdict = connects(&rules(), host, address);
        assert!(
            matches!(verdict, Err(NotPermitted::Denied { .. })),
            "{host}: {verdict:?}"
        );
    }
}

#[test]
fn a_denied_name_is_not_even_resolved() {
    for name in [
        "metadata.google.internal",
        "METADATA.google.internal.",
        "metadata",
    ] {
        assert!(rules().may_resolve(name, 80).is_err(), "{name}");
    }
    assert!(rules().may_resolve("metadata.example.org", 80).is_ok());
    assert!(rules().may_resolve("localhost", 18789).is_ok());
}

#[test]
fn what_connects_to_this_machine_is_judged_as_this_machine() {
    let mut rules = rules();
    rules.deny_open = patterns(&["localhost:5432"]);
    for (host, address, connected) in [
        ("0.0.0.0", "0.0.0.0:18789", "127.0.0.1:18789"),
        ("::", "[::]:18789", "[::1]:18789"),
        (
            "::ffff:0.0.0.0",
            "[::ffff:0.0.0.0]:18789",
            "127.0.0.1:18789",
        ),
        (
            "::ffff:127.0.0.1",
            "[::ffff:127.0.0.1]:18789",
            "127.0.0.1:18789",
        ),
    ] {
        assert_eq!(
            connects(&rules, host, address),
            Ok(connected.parse().unwrap()),
            "{host}"
        );
        let denied = address.replace("18789", "5432");
        assert!(connects(&rules, host, &denied).is_err(), "{denied}");
    }
}

#[test]
fn a_narrow_permit_open_permits_what_it_lists() {
    let mut rules = rules();
    rules.permit_open = patterns(&["localhost:18789", "git.example.org:443", "/run/app/*.sock"]);
    assert!(connects(&rules, "localhost", "127.0.0.1:18789").is_ok());
    assert!(connects(&rules, "git.example.org", "192.0.2.1:443").is_ok());
    assert!(rules.may_connect_unix(Path::new("/run/app/a.sock")).is_ok());
    for (host, address) in [
        ("localhost", "127.0.0.1:22"),
        ("192.0.2.1", "192.0.2.1:443"),
        // Its owner may point it anywhere: not at what is denied.
        ("git.example.org", "169.254.169.254:443"),
    ] {
        assert!(connects(&rules, host, address).is_err(), "{host}");
    }
    assert!(
        rules
            .may_connect_unix(Path::new("/run/other.sock"))
            .is_err()
    );
    rules.permit_open = patterns(&["none"]);
    assert!(connects(&rules, "localhost", "127.0.0.1:18789").is_err());
}

#[test]
fn by_default_the_sockets_that_stand_for_the_host_are_denied() {
    for path in [
        "/var/run/docker.sock",
        "/run/docker.sock",
        "/run/user/1000/docker.sock",
        "/run/podman/podman.sock",
        "/run/containerd/containerd.sock",
        "/run/crio/crio.sock",
        "/host/var/run/docker.sock",
    ] {
        assert!(rules().may_connect_unix(Path::new(path)).is_err(), "{path}");
    }
    assert!(
        rules()
            .may_connect_unix(Path::new("/tmp/vscode-ipc.sock"))
            .is_ok()
    );
}

#[test]
fn gateway_ports_decide_where_to_listen() {
    use GatewayPorts::{ClientSpecified, No, Yes};
    for (gateway_ports, host, expected) in [
        (No, "localhost", "127.0.0.1 ::1"),
        (No, "", "127.0.0.1 ::1"),
        (No, "0.0.0.0", "127.0.0.1 ::1"),
        (No, "10.0.0.1", "127.0.0.1 ::1"),
        (No, "127.0.0.1", "127.0.0.1"),
        (No, "::1", "::1"),
        (Yes, "localhost", "0.0.0.0 ::"),
        (ClientSpecified, "", "0.0.0.0 ::"),
        (ClientSpecified, "*", "0.0.0.0 ::"),
        (ClientSpecified, "localhost", "127.0.0.1 ::1"),
        (ClientSpecified, "10.0.0.1", "10.0.0.1"),
    ] {
        let rules = ForwardingRules {
            gateway_ports,
            ..rules()
        };
        let addresses = rules.may_listen(host, 8080, false).unwrap();
        let shown: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        assert_eq!(shown.join(" "), expected, "{gateway_ports:?} {host}");
    }
    let rules = ForwardingRules {
        gateway_ports: ClientSpecified,
        ..rules()
    };
    assert!(rules.may_listen("example.org", 8080, false).is_err());
}

#[test]
fn reserved_ports_are_for_the_superuser_and_for_those_that_are_named() {
    let mut rules = rules();
    for (port, superuser, permitted) in [
        (80, false, false),
        (80, true, true),
        (1023, false, false),
        (1024, false, true),
        (0, false, true),
    ] {
        assert_eq!(
            rules.may_listen("localhost", port, superuser).is_ok(),
            permitted,
            "{port}"
        );
    }
    rules.permit_listen = patterns(&["localhost:80", "*:8080"]);
    assert!(rules.may_listen("localhost", 80, false).is_ok());
    assert!(rules.may_listen("", 8080, false).is_ok());
    assert!(rules.may_listen("localhost", 8081, false).is_err());
    assert!(
        rules.may_listen("localhost", 0, false).is_err(),
        "any port is more than is listed"
    );
    rules.gateway_ports = GatewayPorts::Yes;
    assert!(
        rules.may_listen("localhost", 80, false).is_err(),
        "that would be all addresses"
    );
}

//! bastion.toml: what is accepted can be used, and what is not is an error that says something.
#![no_main]

use std::net::SocketAddr;
use std::path::Path;

use bastion::config::Source;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let config = match Source::default().load_from(input) {
        Ok(config) => config,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let _limits = config.limits(None);
    let _permits = config.permits();
    let forwarding = config.forwarding_rules();
    let metadata: SocketAddr = "169.254.169.254:80".parse().expect("an address");
    let decided = forwarding.may_connect("169.254.169.254", metadata);
    // The default stands unless the file says otherwise, by this key and no other.
    let text = std::str::from_utf8(input).expect("accepted, and not text");
    let table: toml::Table = text.parse().expect("accepted, and not TOML");
    if !table.contains_key("deny_open") {
        assert!(decided.is_err());
    }
    let _decided = forwarding.may_connect_unix(Path::new("/run/docker.sock"));
    let _decided = forwarding.may_listen("127.0.0.1", 1, true);
});

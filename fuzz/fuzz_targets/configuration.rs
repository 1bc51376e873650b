//! bastion.toml: what is accepted can be used, and what is not is an error that says something.
#![no_main]

use std::net::SocketAddr;
use std::path::Path;

use bastion::config::Config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let config = match Config::parse(text) {
        Ok(config) => config,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let _limits = config.limits(None);
    let _terms = config.terms();
    let forwarding = config.forwarding_rules();
    let metadata: SocketAddr = "169.254.169.254:80".parse().expect("an address");
    // The default stands unless the file says otherwise.
    if !text.contains("deny_open") && !text.contains("\\") && !text.contains('"') {
        assert!(forwarding.may_connect("169.254.169.254", metadata).is_err());
    }
    let _decided = forwarding.may_connect_unix(Path::new("/run/docker.sock"));
    let _decided = forwarding.may_listen("127.0.0.1", 1, true);
});

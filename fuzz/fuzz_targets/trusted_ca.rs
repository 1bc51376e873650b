//! The file of trusted keys: each key of what is accepted is a line of it, read by ssh-key likewise.
#![no_main]

use bastion::policy::TrustedUserCaKeys;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let keys = match TrustedUserCaKeys::parse(text, "file") {
        Ok(keys) => keys,
        Err(error) => {
            let error = error.to_string();
            assert!(!error.contains(char::is_control), "{error:?}");
            return;
        }
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().map(str::trim);
    let mut read = 0;
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let name = line.split_whitespace().next().unwrap_or_default();
        assert!(
            !name.contains("-cert-v01") && !name.starts_with("sk-"),
            "{line}"
        );
        // A comment is nothing to us, and ssh-key is particular about it.
        let key: Vec<&str> = line.split_ascii_whitespace().take(2).collect();
        let by_ssh_key = ssh_key::PublicKey::from_openssh(&key.join(" "));
        let by_ssh_key = by_ssh_key.expect("accepted here alone");
        let blob = by_ssh_key.to_bytes().expect("accepted here alone");
        let key = bastion::policy::PublicKey::from_bytes(&blob).expect("a line that is no key");
        assert!(keys.contains(&key));
        read += 1;
    }
    assert!(read > 0);
});

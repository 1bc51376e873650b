//! A list of revoked keys, OpenSSH's or plain: every key of a plain list that is accepted is revoked,
//! as ssh-key reads it; no list holds more than its bytes can say.
#![no_main]

use bastion::policy::{PublicKey, RevokedKeys};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let list = match RevokedKeys::parse(input, "file") {
        Ok(list) => list,
        Err(error) => {
            let error = error.to_string();
            assert!(!error.contains(char::is_control), "{error:?}");
            return;
        }
    };
    assert!(list.len() <= input.len());
    if input.starts_with(b"SSHKRL\n\0") {
        return;
    }
    let text = String::from_utf8_lossy(input);
    for line in text.lines().map(str::trim) {
        let key: Vec<&str> = line.split_ascii_whitespace().take(2).collect();
        let Ok(key) = ssh_key::PublicKey::from_openssh(&key.join(" ")) else {
            continue;
        };
        let blob = key.to_bytes().expect("a key");
        if let Ok(key) = PublicKey::from_bytes(&blob) {
            assert!(list.contains_key(&key), "{line}");
        }
    }
});

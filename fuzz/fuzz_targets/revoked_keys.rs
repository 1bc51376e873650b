//! Lists of revoked keys, as `ssh-keygen -k` writes them and as plain keys: any bytes are a list or
//! an error, and a key that a plain list names is revoked by it.
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
    assert_eq!(list.is_empty(), list.len() == 0);
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    for line in text.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().take(2).collect();
        let Ok(key) = ssh_key::PublicKey::from_openssh(&words.join(" ")) else {
            continue;
        };
        let blob = key.to_bytes().expect("a key that was read");
        if let Ok(key) = PublicKey::from_bytes(&blob) {
            assert!(list.contains_key(&key), "{line}");
        }
    }
});

//! The seeds that certificates are fuzzed from, and what becomes of them with a byte changed: what
//! we read, `ssh-keygen -L` reads likewise, and what it cannot read, we cannot.

use std::fs;
use std::path::Path;

use bastion::policy::{CertificateType, KeyType, UserCertificate};

use crate::key_pair::ca;
use crate::mint::string;
use crate::reference::as_ssh_keygen_lists;
use crate::ssh_keygen;

/// Who asks, before the certificate: see fuzz/fuzz_targets/certificate.rs.
const HEAD: usize = 16;

#[derive(Default)]
struct Seen {
    both: usize,
    neither: usize,
    /// Refused by us for a reason of our own.
    stricter: usize,
}

impl Seen {
    fn compare(&mut self, what: &str, certificate: &[u8]) {
        let length = usize::from(certificate[3]);
        let Ok(name) = std::str::from_utf8(&certificate[4..4 + length]) else {
            return;
        };
        let ours = UserCertificate::parse(certificate);
        // What a parsed certificate is refused for afterwards, ssh-keygen does not read at all.
        let ours = ours.ok().filter(|ours| {
            let kind = ours.certificate_type();
            ours.signature_is_valid() && !matches!(kind, CertificateType::Other(_))
        });
        let theirs =
            ssh_keygen::lists(name, certificate).filter(|listed| listed.contains("Valid:"));
        match (ours, theirs) {
            (Some(ours), Some(theirs)) => {
                // Texts that are not ASCII, and years of more than four digits, are shown by each
                // in its own way.
                let year_10_000 = 253_402_300_800;
                let dates = [ours.valid_after(), ours.valid_before()];
                let readable = dates
                    .iter()
                    .all(|&date| date < year_10_000 || date == u64::MAX);
                if readable && theirs.is_ascii() && !theirs.contains('\\') {
                    assert_eq!(as_ssh_keygen_lists(&ours), theirs, "{what}");
                }
                self.both += 1;
            }
            (None, None) => self.neither += 1,
            (None, Some(_)) => self.stricter += 1,
            // Whether a point is on its curve is found out by whoever verifies with it: see
            // `keys::a_point_off_the_curve_verifies_nothing`.
            (Some(ours), None) if ours.public_key().algorithm().name().starts_with("ecdsa") => {}
            (Some(ours), None) => panic!("{what}: ssh-keygen cannot read {ours:?}"),
        }
    }
}

#[test]
fn seeds_read_as_by_ssh_keygen_with_a_byte_changed_or_not() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/certificate");
    let ca = ca(KeyType::Ed25519);
    let sign = |fields: &[u8]| {
        let to_be_signed = [fields, &string(&ca.blob)].concat();
        let signature = string(ca.sign(&to_be_signed));
        [to_be_signed, signature].concat()
    };
    let mut seen = Seen::default();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = fs::read(&path).unwrap().split_off(HEAD);
        if name.starts_with("raw-") {
            seen.compare(&name, &bytes);
            continue;
        }
        seen.compare(&name, &sign(&bytes));
        // Behind the type's name, which says how to read the rest.
        for at in (4 + usize::from(bytes[3])..bytes.len()).step_by(13) {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            seen.compare(&format!("{name}, byte {at} changed"), &sign(&changed));
        }
    }
    // Each of the three happens: else this would compare nothing.
    let Seen {
        both,
        neither,
        stricter,
    } = seen;
    assert!(both > 100 && neither > 20, "{both} {neither} {stricter}");
    assert!(stricter < both / 2, "{both} {neither} {stricter}");
}

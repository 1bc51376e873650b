//! Key revocation lists as `ssh-keygen -k` would not make them.

use std::fs;

use bastion::policy::{KeyType, RevokedKeys};

use crate::key_pair::ca;
use crate::mint::{Fields, string};
use crate::revocation::{by_openssh, subjects};

/// A list by hand: its sections, each with its type.
fn krl(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = b"SSHKRL\n\0\0\0\0\x01".to_vec();
    bytes.extend([0; 24]);
    bytes.extend([string(""), string("a comment")].concat());
    for (kind, content) in sections {
        bytes.push(*kind);
        bytes.extend(string(content));
    }
    bytes
}

/// A certificates section for any CA, with these sections in it.
fn of_any_ca(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    of_ca(b"", sections)
}

fn of_ca(ca: &[u8], sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut content = [string(ca), string("")].concat();
    for (kind, section) in sections {
        content.push(*kind);
        content.extend(string(section));
    }
    krl(&[(1, content)])
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_be_bytes())
        .collect()
}

fn extension(critical: u8) -> Vec<u8> {
    [string("new@example.com"), vec![critical], string("x")].concat()
}

fn bitmap(offset: u64, bits: &[u8]) -> Vec<u8> {
    [numbers(&[offset]), string(bits)].concat()
}

/// Name, list, what is said of it; and whether OpenSSH (9.2 and later) refuses it too.
struct List(&'static str, Vec<u8>, &'static str, bool);

#[rustfmt::skip]
fn lists() -> Vec<List> {
    let good = ca(KeyType::Ed25519).blob.clone();
    let mut version = krl(&[]);
    version[11] = 2;
    let certificate = Fields::default().sign(ca(KeyType::Ed25519));
    let dsa = string("ssh-dss");
    let trailing = |mut section: Vec<u8>| { section.push(0); section };
    let mut longest = vec![0x7f; 2048];
    let mut too_long = vec![0x7f; 2049];
    longest[0] = 1;
    too_long[0] = 1;
    vec![
        List("nothing", krl(&[]), "0 entries", false),
        List("version 2", version, "its format version is 2, and only 1 is known", true),
        List("cut off", krl(&[])[..20].into(), "it ends in the middle of the date", true),
        List("an unknown section", krl(&[(6, vec![])]), "it has a section of the unknown type 6", true),
        List("an unknown certificate section", of_any_ca(&[(0x24, vec![])]), "it has a section of the unknown type 36", true),
        List("a signature", [krl(&[(4, good.clone())]), string("x")].concat(), "it has a signature, which is not supported; sign with ssh-keygen -Y sign instead", true),
        List("a critical extension", krl(&[(255, extension(1))]), "it has the critical extension \"new@example.com\", which is not known", true),
        List("a critical extension, oddly so", krl(&[(255, extension(2))]), "it has the critical extension \"new@example.com\", which is not known", true),
        List("another extension", krl(&[(255, extension(0))]), "0 entries", false),
        List("a critical extension of certificates", of_any_ca(&[(0x39, extension(1))]), "it has the critical extension \"new@example.com\", which is not known", true),
        List("another extension of certificates", of_any_ca(&[(0x39, extension(0)), (0x20, numbers(&[5]))]), "1 entries", false),
        List("an extension with more behind", krl(&[(255, trailing(extension(0)))]), "1 bytes follow the extension", true),
        List("serials", of_any_ca(&[(0x20, numbers(&[1, 2, 2, u64::MAX]))]), "4 entries", false),
        List("the serial 0", of_any_ca(&[(0x20, numbers(&[1, 0]))]), "it revokes the serial numbers 0 to 0, which is no range of numbers from 1 on", true),
        List("half a serial", of_any_ca(&[(0x20, vec![0; 4])]), "it ends in the middle of the serial number", true),
        List("a range", of_any_ca(&[(0x21, numbers(&[1, u64::MAX]))]), "1 entries", false),
        List("a range from 0", of_any_ca(&[(0x21, numbers(&[0, 5]))]), "it revokes the serial numbers 0 to 5, which is no range of numbers from 1 on", true),
        List("a range backwards", of_any_ca(&[(0x21, numbers(&[5, 4]))]), "it revokes the serial numbers 5 to 4, which is no range of numbers from 1 on", true),
        List("two ranges in one", of_any_ca(&[(0x21, numbers(&[5, 6, 7, 8]))]), "16 bytes follow the range of serial numbers", true),
        List("a bitmap", of_any_ca(&[(0x22, bitmap(10, &[0x12, 0x34]))]), "1 entries", false),
        List("a bitmap of nothing", of_any_ca(&[(0x22, bitmap(0, &[]))]), "1 entries", false),
        List("a bitmap with zeros in front", of_any_ca(&[(0x22, bitmap(0, &[0, 0, 2]))]), "1 entries", false),
        List("a bitmap with the serial 0", of_any_ca(&[(0x22, bitmap(0, &[3]))]), "its bitmap of serial numbers is negative, too long or runs past the last number", true),
        List("a negative bitmap", of_any_ca(&[(0x22, bitmap(1, &[0x80]))]), "its bitmap of serial numbers is negative, too long or runs past the last number", true),
        List("the longest bitmap", of_any_ca(&[(0x22, bitmap(1, &longest))]), "1 entries", false),
        List("a longer bitmap", of_any_ca(&[(0x22, bitmap(1, &too_long))]), "its bitmap of serial numbers is negative, too long or runs past the last number", true),
        List("a bitmap to the last number", of_any_ca(&[(0x22, bitmap(u64::MAX - 1, &[3]))]), "1 entries", false),
        List("a bitmap past the last number", of_any_ca(&[(0x22, bitmap(u64::MAX - 1, &[4]))]), "its bitmap of serial numbers is negative, too long or runs past the last number", true),
        List("key ids", of_any_ca(&[(0x23, [string("a"), string("b\0")].concat())]), "2 entries", false),
        List("a NUL in a key id", of_any_ca(&[(0x23, string("a\0b"))]), "its key id has a NUL in it", true),
        List("a CA", of_ca(&good, &[(0x20, numbers(&[1]))]), "1 entries", false),
        List("a certificate for a CA", of_ca(&certificate, &[]), "one of its keys is not as it should be: it is a certificate (ssh-ed25519-cert-v01@openssh.com), where a plain public key is needed", false),
        List("half a CA", of_ca(&good[..40], &[]), "one of its keys is not as it should be: it ends in the middle of the Ed25519 key", true),
        List("a CA of an unknown kind", of_ca(&string("ssh-new"), &[]), "one of its keys is not as it should be: keys of type \"ssh-new\" are not supported; use Ed25519, ECDSA or RSA", true),
        List("keys", krl(&[(2, [string(&good), string(&dsa)].concat())]), "1 entries", false),
        List("a certificate for a key", krl(&[(2, string(&certificate))]), "one of its keys is not as it should be: it is a certificate (ssh-ed25519-cert-v01@openssh.com), where a plain public key is needed", false),
        List("hashes", krl(&[(3, string([7; 20])), (5, string([7; 32]))]), "2 entries", false),
        List("a SHA-1 that is a SHA-256", krl(&[(3, string([7; 32]))]), "one of its fingerprints has 32 bytes", true),
        List("a SHA-256 that is a SHA-1", krl(&[(5, string([7; 20]))]), "one of its fingerprints has 20 bytes", true),
        List("more behind the sections", [krl(&[]), vec![2]].concat(), "it ends in the middle of the section", true),
    ]
}

#[test]
fn lists_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let subjects = &subjects(folder)[..3];
    for List(name, bytes, expected, refused_there) in lists() {
        let said = match RevokedKeys::parse(&bytes, "krl") {
            Ok(list) => format!("{} entries", list.len()),
            Err(error) => error.to_string(),
        };
        let sentence = match expected.ends_with(" entries") {
            true => expected.to_owned(),
            false => format!(
                "krl is a key revocation list that cannot be used: {expected}; make it anew with ssh-keygen -k"
            ),
        };
        assert_eq!(said, sentence, "{name}");
        // OpenSSH 9.2 knows no extensions, and looks at signatures.
        if !name.contains("extension") {
            fs::write(folder.join("krl"), &bytes).unwrap();
            let there = by_openssh(folder, "krl", subjects);
            assert_eq!(there.is_none(), refused_there, "{name}: OpenSSH");
        }
    }
}

/// As many nested lengths as fit: no stack to overflow, no memory to claim.
#[test]
fn a_list_that_promises_much_costs_little() {
    let mut bytes = krl(&[]);
    bytes.extend([&[1][..], &u32::MAX.to_be_bytes()].concat());
    assert!(RevokedKeys::parse(&bytes, "krl").is_err());
    let mut nested = Vec::new();
    for _ in 0..10_001 {
        nested = [&[1][..], &string(&nested)].concat();
    }
    assert!(RevokedKeys::parse(&of_ca(b"", &[(0x20, nested)]), "krl").is_err());
}

//! Plain keys, and the file of trusted CA keys.

use bastion::policy::{KeyType, MalformedKey, PublicKey, SignatureError, TrustedUserCaKeys};
use ssh_key::LineEnding;
use ssh_key::encoding::base64::{Base64, Encoding};

use crate::key_pair::{ca, public_line, user};
use crate::mint::{Fields, string};
use crate::ssh_keygen;

#[test]
fn keys_and_fingerprints_are_openssh_s() {
    for key_type in KeyType::ALL {
        let pair = user(key_type);
        let key = PublicKey::from_bytes(&pair.blob).unwrap();
        assert_eq!(key.algorithm(), key_type);
        assert_eq!(key.as_bytes(), pair.blob);
        assert_eq!(key.fingerprint(), ssh_keygen::fingerprint(&pair.line()));
        // One encoding each, which serde keeps to.
        let json = serde_json::to_string(&key).unwrap();
        assert_eq!(serde_json::from_str::<PublicKey>(&json).unwrap(), key);
    }
    assert!(serde_json::from_str::<PublicKey>("[0,0,0,1,65]").is_err());
}

#[test]
fn signatures_verify_by_their_own_key_only() {
    for key_type in KeyType::ALL {
        let signature = user(key_type).sign(b"message");
        let verified = user(key_type).public_key().verify(b"message", &signature);
        assert_eq!(
            verified.unwrap().security_key.is_some(),
            key_type.is_security_key()
        );
        assert!(
            user(key_type)
                .public_key()
                .verify(b"massage", &signature)
                .is_err()
        );
        for other in KeyType::ALL {
            assert!(
                ca(other)
                    .public_key()
                    .verify(b"message", &signature)
                    .is_err()
            );
        }
    }
}

/// What is odd about a key, and what is said of it.
struct Odd(&'static str, Vec<u8>, &'static str);

fn rsa(exponent: &[u8], modulus: &[u8]) -> Vec<u8> {
    [string("ssh-rsa"), string(exponent), string(modulus)].concat()
}

/// A canonical number of so many bits, all ones.
fn ones(bits: usize) -> Vec<u8> {
    let mut bytes = vec![0xff; bits.div_ceil(8) + 1];
    bytes[0] = 0;
    bytes[1] >>= bits.div_ceil(8) * 8 - bits;
    let needless_zero = bytes[1] < 0x80;
    bytes[usize::from(needless_zero)..].to_vec()
}

fn p256(curve: &str, point: &[u8]) -> Vec<u8> {
    [string("ecdsa-sha2-nistp256"), string(curve), string(point)].concat()
}

fn ed25519(key: &[u8]) -> Vec<u8> {
    [string("ssh-ed25519"), string(key)].concat()
}

#[rustfmt::skip]
fn odd_keys() -> Vec<Odd> {
    let p256_point = &user(KeyType::EcdsaP256).blob[4 + 19 + 4 + 8 + 4..];
    let mut compressed = p256_point[..33].to_vec();
    compressed[0] = 2 + (p256_point[64] & 1);
    let mut hybrid = p256_point.to_vec();
    hybrid[0] = 6 + (p256_point[64] & 1);
    let mut even = ones(2048);
    *even.last_mut().unwrap() -= 1;
    let e = &[1, 0, 1];
    vec![
        Odd("nothing", vec![], "it ends in the middle of the key type"),
        Odd("DSA", [string("ssh-dss"), string("p")].concat(), "keys of type \"ssh-dss\" are not supported; use Ed25519, ECDSA or RSA"),
        Odd("a name that steers terminals", string("\x1b[2J"), "keys of type \"\\u{1b}[2J\" are not supported; use Ed25519, ECDSA or RSA"),
        Odd("a certificate", string("ssh-ed25519-cert-v01@openssh.com"), "it is a certificate (ssh-ed25519-cert-v01@openssh.com), where a plain public key is needed"),
        Odd("a certificate to come", string("ssh-ed25519-cert-v02@openssh.com"), "it is a certificate (ssh-ed25519-cert-v02@openssh.com), where a plain public key is needed"),
        Odd("bytes behind", [ed25519(&[9; 32]), vec![0]].concat(), "1 bytes follow the public key"),
        Odd("Ed25519, 31 bytes", ed25519(&[9; 31]), "its Ed25519 key has 31 bytes, not 32"),
        Odd("Ed25519, 33 bytes", ed25519(&[9; 33]), "its Ed25519 key has 33 bytes, not 32"),
        Odd("Ed25519, zeros", ed25519(&[0; 32]), "its Ed25519 key is a point of small order, for which anybody can sign"),
        Odd("RSA, 2047 bits", rsa(e, &ones(2047)), "its RSA modulus has 2047 bits; 2048 to 8192 are accepted"),
        Odd("RSA, 1024 bits", rsa(e, &ones(1024)), "its RSA modulus has 1024 bits; 2048 to 8192 are accepted"),
        Odd("RSA, 2048 bits", rsa(e, &ones(2048)), "ok"),
        Odd("RSA, 2049 bits", rsa(e, &ones(2049)), "ok"),
        Odd("RSA, 8192 bits", rsa(e, &ones(8192)), "ok"),
        Odd("RSA, 8193 bits", rsa(e, &ones(8193)), "its RSA modulus has 8193 bits; 2048 to 8192 are accepted"),
        Odd("RSA, a needless zero", rsa(e, &[&[0], &ones(2048)[..]].concat()), "its RSA modulus is not a canonically encoded positive number"),
        Odd("RSA, a zero before the exponent", rsa(&[0, 1, 0, 1], &ones(2048)), "its RSA exponent is not a canonically encoded positive number"),
        Odd("RSA, negative", rsa(e, &ones(2048)[1..]), "its RSA modulus is not a canonically encoded positive number"),
        Odd("RSA, no modulus", rsa(e, &[]), "its RSA modulus is not a canonically encoded positive number"),
        Odd("RSA, a modulus of zero", rsa(e, &[0]), "its RSA modulus is not a canonically encoded positive number"),
        Odd("RSA, an even modulus", rsa(e, &even), "its RSA modulus is even, 1 or too large"),
        Odd("RSA, the exponent 0", rsa(&[], &ones(2048)), "its RSA exponent is not a canonically encoded positive number"),
        Odd("RSA, the exponent 1", rsa(&[1], &ones(2048)), "its RSA exponent is even, 1 or too large"),
        Odd("RSA, the exponent 2", rsa(&[2], &ones(2048)), "its RSA exponent is even, 1 or too large"),
        Odd("RSA, the exponent 3", rsa(&[3], &ones(2048)), "ok"),
        Odd("RSA, the exponent 2^32-1", rsa(&[0, 255, 255, 255, 255], &ones(2048)), "ok"),
        Odd("RSA, the exponent 2^32+1", rsa(&[1, 0, 0, 0, 1], &ones(2048)), "its RSA exponent is even, 1 or too large"),
        Odd("P-256", p256("nistp256", p256_point), "ok"),
        Odd("P-256 of another curve", p256("nistp384", p256_point), "an ecdsa-sha2-nistp256 key names the curve \"nistp384\""),
        Odd("P-256, compressed", p256("nistp256", &compressed), "its ecdsa-sha2-nistp256 point is not an uncompressed point of that curve's length"),
        Odd("P-256, hybrid", p256("nistp256", &hybrid), "its ecdsa-sha2-nistp256 point is not an uncompressed point of that curve's length"),
        Odd("P-256, infinity", p256("nistp256", &[0]), "its ecdsa-sha2-nistp256 point is not an uncompressed point of that curve's length"),
        Odd("P-256, no point", p256("nistp256", &[]), "its ecdsa-sha2-nistp256 point is not an uncompressed point of that curve's length"),
        Odd("P-256, too short", p256("nistp256", &p256_point[..64]), "its ecdsa-sha2-nistp256 point is not an uncompressed point of that curve's length"),
    ]
}

#[test]
fn odd_keys_are_refused_with_a_reason() {
    for Odd(name, bytes, expected) in odd_keys() {
        let actual = match PublicKey::from_bytes(&bytes) {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(actual, expected, "{name}");
    }
}

/// A point that is on no curve parses, and verifies nothing.
#[test]
fn a_point_off_the_curve_verifies_nothing() {
    let pair = user(KeyType::EcdsaP256);
    let mut bytes = pair.blob.clone();
    *bytes.last_mut().unwrap() ^= 1;
    let key = PublicKey::from_bytes(&bytes).unwrap();
    assert!(key.verify(b"message", &pair.sign(b"message")).is_err());
}

/// Points of small order, and the signature that anybody can make for one: shows that the check is needed.
#[test]
fn points_of_small_order_are_refused() {
    use signature::Verifier;
    let order_8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05";
    let order_8_too = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a";
    let near_p = |lowest| format!("{lowest}{}7f", "ff".repeat(30));
    let low = |lowest| format!("{lowest}{}", "00".repeat(31));
    let mut forged = 0;
    for hex in [
        low("00"),
        low("01"),
        near_p("ec"),
        near_p("ed"),
        near_p("ee"),
        order_8.to_owned(),
        order_8_too.to_owned(),
    ] {
        let digits = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let mut point = [0; 32];
        for (index, byte) in point.iter_mut().enumerate() {
            *byte = digits(index * 2);
        }
        for sign in [0, 0x80] {
            point[31] = point[31] & 0x7f | sign;
            let key = PublicKey::from_bytes(&ed25519(&point));
            assert_eq!(key, Err(MalformedKey::SmallOrder), "{hex}");
            // R is the neutral element, S is zero.
            let mut forgery = [0; 64];
            forgery[0] = 1;
            let forgery = ssh_key::Signature::new(ssh_key::Algorithm::Ed25519, forgery).unwrap();
            let key = ssh_key::public::KeyData::Ed25519(ssh_key::public::Ed25519PublicKey(point));
            let forgeable = |message: u8| key.verify(&[message], &forgery).is_ok();
            forged += usize::from((0..64).any(forgeable));
        }
    }
    assert!(forged >= 7, "the library refuses them by now: {forged}");
    let order_of_the_base_point = [&[0x58][..], &[0x66; 31]].concat();
    assert!(PublicKey::from_bytes(&ed25519(&order_of_the_base_point)).is_ok());
}

#[test]
fn sha1_has_an_error_of_its_own() {
    let signature = [string("ssh-rsa"), string([1; 256])].concat();
    let key = user(KeyType::Rsa).public_key();
    assert_eq!(
        key.verify(b"message", &signature),
        Err(SignatureError::Sha1)
    );
    let name = "ssh-dss".to_owned();
    let signature = [string(&name), string([1; 40])].concat();
    let wrong = SignatureError::WrongAlgorithm {
        algorithm: name,
        key_type: KeyType::Rsa,
    };
    assert_eq!(key.verify(b"message", &signature), Err(wrong));
}

/// RFC 8017 knows no other length, but some agents leave out the zeros in front; OpenSSH takes those.
#[test]
fn rsa_signatures_may_lack_zeros_in_front() {
    let pair = user(KeyType::Rsa);
    let value_of = |message: &[u8]| pair.sign(message)[4 + "rsa-sha2-512".len() + 4..].to_vec();
    let (message, value) = (0_u32..)
        .map(u32::to_be_bytes)
        .map(|message| (message, value_of(&message)))
        .find(|(_, value)| value[0] == 0)
        .unwrap();
    let again = |value: &[u8]| [string("rsa-sha2-512"), string(value)].concat();
    let key = pair.public_key();
    for good in [&value[..], &value[1..]] {
        assert!(key.verify(&message, &again(good)).is_ok());
    }
    let algorithm = "rsa-sha2-512";
    for (odd, error) in [
        (
            &[&[0], &value[..]].concat()[..],
            SignatureError::Value { algorithm },
        ),
        (&value[2..], SignatureError::Wrong { algorithm }),
        (&value[..255], SignatureError::Wrong { algorithm }),
        (b"", SignatureError::Wrong { algorithm }),
    ] {
        assert_eq!(key.verify(&message, &again(odd)), Err(error));
    }
}

/// A CA file, and what is said of it.
struct File(&'static str, String, &'static str);

#[rustfmt::skip]
fn ca_files() -> Vec<File> {
    let one = ca(KeyType::Ed25519).line();
    let of_rsa = ca(KeyType::Rsa).line();
    let private = ca(KeyType::Ed25519).private.to_openssh(LineEnding::LF).unwrap().to_string();
    let certificate = Fields::default().sign(ca(KeyType::Ed25519));
    let certificate_name = "ssh-ed25519-cert-v01@openssh.com";
    let small = ["ssh-rsa ", &Base64::encode_string(&rsa(&[1, 0, 1], &ones(1024)))].concat();
    vec![
        File("one key", one.clone(), "1 key"),
        File("no line feed", one.trim_end().to_owned(), "1 key"),
        File("no comment", one.trim_end().trim_end_matches(" test").to_owned(), "1 key"),
        File("a comment of words", one.replace("test", "Pomerium User CA # 2026"), "1 key"),
        File("a comment on private keys", one.replace("test", "not the PRIVATE KEY"), "1 key"),
        File("Windows line ends", one.replace('\n', "\r\n"), "1 key"),
        File("tabs", one.replace(' ', "\t"), "1 key"),
        File("a byte order mark", format!("\u{feff}{one}"), "1 key"),
        File("two keys for a rotation", format!("# old\n{one}\n  # new\n{of_rsa}\n\n"), "2 keys"),
        File("a key twice", format!("{one}{one}"), "1 key"),
        File("every kind", crate::trial::KINDS_OF_CA.map(|kind| ca(kind).line()).concat(), "5 keys"),
        File("nothing", String::new(), "ca.pub holds no CA key, so nobody could log in; put the Pomerium User CA's public key in it, one line as in pomerium_user_ca_key.pub"),
        File("comments only", "# here\n\n".into(), "ca.pub holds no CA key, so nobody could log in; put the Pomerium User CA's public key in it, one line as in pomerium_user_ca_key.pub"),
        File("a private key", private.clone(), "ca.pub, line 1: this is a private key; put the CA's public key here (the file ending in .pub, or what ssh-keygen -y prints), and keep the private key where only Pomerium reads it"),
        File("a private key behind a public one", format!("{one}\n{private}"), "ca.pub, line 3: this is a private key; put the CA's public key here (the file ending in .pub, or what ssh-keygen -y prints), and keep the private key where only Pomerium reads it"),
        File("a certificate", public_line(certificate_name, &certificate), "ca.pub, line 1: this is a certificate, which cannot be a CA; put the CA's plain public key here"),
        File("a certificate under a key's name", public_line("ssh-ed25519", &certificate), "ca.pub, line 1: this is a certificate, which cannot be a CA; put the CA's plain public key here"),
        File("a certificate's name", one.replace("ssh-ed25519", certificate_name), "ca.pub, line 1: this is a certificate, which cannot be a CA; put the CA's plain public key here"),
        File("options", format!("cert-authority {one}"), "ca.pub, line 1: the line does not start with a key type (ssh-ed25519, ecdsa-sha2-nistp256, ssh-rsa …); remove options such as cert-authority before it"),
        File("a known_hosts line", format!("@cert-authority * {one}"), "ca.pub, line 1: the line does not start with a key type (ssh-ed25519, ecdsa-sha2-nistp256, ssh-rsa …); remove options such as cert-authority before it"),
        File("a bad line behind a good one", format!("{one}nonsense\n"), "ca.pub, line 2: the line does not start with a key type (ssh-ed25519, ecdsa-sha2-nistp256, ssh-rsa …); remove options such as cert-authority before it"),
        File("a security key", ca(KeyType::SkEd25519).line(), "ca.pub, line 1: sk-ssh-ed25519@openssh.com keys are not accepted as a CA; use Ed25519, ECDSA or RSA"),
        File("DSA", public_line("ssh-dss", &string("ssh-dss")), "ca.pub, line 1: the key is not accepted: keys of type \"ssh-dss\" are not supported; use Ed25519, ECDSA or RSA"),
        File("no key", "ssh-ed25519\n".into(), "ca.pub, line 1: the key after \"ssh-ed25519\" is not complete base64; copy the line again, whole"),
        File("base64 cut off", one[..42].into(), "ca.pub, line 1: the key after \"ssh-ed25519\" is not complete base64; copy the line again, whole"),
        File("a key cut off", one[..60].into(), "ca.pub, line 1: the key is not accepted: it ends in the middle of the Ed25519 key"),
        File("another kind's name", of_rsa.replace("ssh-rsa", "ssh-ed25519"), "ca.pub, line 1: the line says \"ssh-ed25519\" and its key is of type ssh-rsa; copy the line again, whole"),
        File("the name of a signature algorithm", of_rsa.replace("ssh-rsa", "ssh-rsa2"), "ca.pub, line 1: the line says \"ssh-rsa2\" and its key is of type ssh-rsa; copy the line again, whole"),
        File("a small RSA key", small, "ca.pub, line 1: the key is not accepted: its RSA modulus has 1024 bits; 2048 to 8192 are accepted"),
    ]
}

#[test]
fn files_of_ca_keys() {
    for File(name, text, expected) in ca_files() {
        let actual = match TrustedUserCaKeys::parse(&text, "ca.pub") {
            Ok(keys) if keys.iter().count() == 1 => "1 key".to_owned(),
            Ok(keys) => format!("{} keys", keys.iter().count()),
            Err(error) => error.to_string(),
        };
        assert_eq!(actual, expected, "{name}");
    }
}

#[test]
fn trusted_keys_are_exactly_those_of_the_file() {
    let (one, two) = (ca(KeyType::Ed25519), ca(KeyType::Rsa));
    let trusted = TrustedUserCaKeys::parse(&(one.line() + &two.line()), "ca.pub").unwrap();
    assert!(trusted.contains(&one.public_key()));
    assert!(trusted.contains(&two.public_key()));
    assert!(!trusted.contains(&user(KeyType::Ed25519).public_key()));
    let fingerprints: Vec<String> = trusted.fingerprints().collect();
    let expected = [one, two].map(|pair| ssh_keygen::fingerprint(&pair.line()));
    assert_eq!(fingerprints, expected);
    let json = serde_json::to_string(&trusted).unwrap();
    assert_eq!(
        serde_json::from_str::<TrustedUserCaKeys>(&json).unwrap(),
        trusted
    );
    let security_key = serde_json::to_string(&[ca(KeyType::SkEd25519).public_key()]).unwrap();
    assert!(serde_json::from_str::<TrustedUserCaKeys>(&security_key).is_err());
}

#[test]
fn nobody_trusts_nobody() {
    let nobody = TrustedUserCaKeys::nobody();
    assert_eq!(nobody.iter().count(), 0);
    assert!(
        KeyType::ALL
            .iter()
            .all(|kind| !nobody.contains(&ca(*kind).public_key()))
    );
    let json = serde_json::to_string(&nobody).unwrap();
    assert_eq!(
        serde_json::from_str::<TrustedUserCaKeys>(&json).unwrap(),
        nobody
    );
}

/// The text may be a private key: no error quotes it.
#[test]
fn errors_quote_no_key() {
    let private = ca(KeyType::Ed25519)
        .private
        .to_openssh(LineEnding::LF)
        .unwrap();
    for line in private.lines().filter(|line| !line.contains("PRIVATE KEY")) {
        let error = TrustedUserCaKeys::parse(line, "ca.pub")
            .unwrap_err()
            .to_string();
        assert!(!error.contains(line), "{error}");
    }
}

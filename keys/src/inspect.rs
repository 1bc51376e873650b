//! What a file of keys or certificates says, in the words of `ssh-keygen -l` and `-L`.
//!
//! Everything here comes from the file, and goes to a terminal: control characters are escaped.

use crate::certificate::{
    Certificate, CertificateError, CertificateKind, CertificateOption, SignatureError,
};
use crate::openssh::{self, KeyError};
use crate::validity::Validity;
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, EcdsaCurve, HashAlg, PublicKey};
use std::fmt;

/// One key or certificate of a file.
#[derive(Debug)]
pub enum Inspected {
    /// A key; of a private key, its public half.
    Key(PublicKey),
    /// A certificate.
    Certificate(Box<Certificate>),
}

/// Why a line could not be inspected.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It holds no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It holds a certificate that does not decode.
    #[error("holds a certificate that is of no use: {0}")]
    Certificate(#[from] CertificateError),
}

/// Reads a private key's text, or lines of public keys and certificates; each comes with the
/// number of its line, from 1.
pub fn inspect(text: &str) -> Result<Vec<(usize, Inspected)>, (usize, InspectError)> {
    if openssh::is_pem(text) {
        let key = openssh::locked_private_key(text).map_err(|error| (1, error.into()))?;
        return Ok(vec![(1, Inspected::Key(key.into()))]);
    }
    openssh::content_lines(text)
        .map(|(number, line)| match inspect_line(line) {
            Ok(inspected) => Ok((number, inspected)),
            Err(error) => Err((number, error)),
        })
        .collect()
}

fn inspect_line(line: &str) -> Result<Inspected, InspectError> {
    let (algorithm, blob, _) = openssh::fields(line)?;
    match Algorithm::new_certificate(algorithm) {
        Ok(_) => Ok(Inspected::Certificate(Box::new(Certificate::decode(
            &blob,
        )?))),
        Err(_) => Ok(Inspected::Key(openssh::public_key(line)?)),
    }
}

impl Inspected {
    /// Whether a certificate's signature is the one of the CA that it names. Keys have none.
    pub fn verify(&self) -> Result<(), SignatureError> {
        match self {
            Self::Key(_) => Ok(()),
            Self::Certificate(certificate) => certificate.verify(),
        }
    }
}

impl fmt::Display for Inspected {
    /// One line without its end for a key, and for a certificate a block of lines with theirs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "{}", KeyLine(key)),
            Self::Certificate(certificate) => certificate.fmt(f),
        }
    }
}

impl fmt::Display for Certificate {
    /// The block of indented lines of `ssh-keygen -L`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_certificate(f, self)
    }
}

/// `256 SHA256:… comment (ED25519)`, as `ssh-keygen -l` shows a key.
#[derive(Debug)]
pub struct KeyLine<'a>(pub &'a PublicKey);

impl fmt::Display for KeyLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.0;
        let comment = match key.comment().as_str_lossy() {
            "" => "no comment",
            comment => comment,
        };
        let (bits, fingerprint) = (bits(key.key_data()), key.fingerprint(HashAlg::Sha256));
        let kind = kind(key.key_data());
        write!(f, "{bits} {fingerprint} {} ({kind})", Escaped(comment))
    }
}

fn write_certificate(f: &mut fmt::Formatter<'_>, certificate: &Certificate) -> fmt::Result {
    let (subject, spec) = (&certificate.subject, &certificate.spec);
    let algorithm = subject.algorithm();
    let whom = match spec.kind {
        CertificateKind::User => "user",
        CertificateKind::Host => "host",
        CertificateKind::Unknown(_) => "unknown",
    };
    let name = algorithm.to_certificate_type();
    writeln!(f, "        Type: {name} {whom} certificate")?;
    let fingerprint = subject.fingerprint(HashAlg::Sha256);
    writeln!(
        f,
        "        Public key: {}-CERT {fingerprint}",
        kind(subject)
    )?;
    let ca = &certificate.signature_key;
    let (ca_kind, fingerprint) = (kind(ca), ca.fingerprint(HashAlg::Sha256));
    let signature = certificate.signature.algorithm();
    writeln!(
        f,
        "        Signing CA: {ca_kind} {fingerprint} (using {signature})"
    )?;
    writeln!(f, "        Key ID: \"{}\"", Escaped(&spec.key_id))?;
    writeln!(f, "        Serial: {}", spec.serial)?;
    let validity = Validity {
        after: spec.valid_after,
        before: spec.valid_before,
    };
    writeln!(f, "        Valid: {validity}")?;
    write_list(f, "Principals", &spec.principals, |f, name| {
        write!(f, "{}", Escaped(name))
    })?;
    write_list(
        f,
        "Critical Options",
        &spec.critical_options,
        |f, option| write_option(f, option, &CRITICAL_VALUES, &CRITICAL_FLAGS),
    )?;
    write_list(f, "Extensions", &spec.extensions, |f, option| {
        write_option(f, option, &[], &EXTENSION_FLAGS)
    })
}

// The names that ssh-keygen knows.
const CRITICAL_VALUES: [&str; 2] = ["force-command", "source-address"];
const CRITICAL_FLAGS: [&str; 1] = ["verify-required"];
const EXTENSION_FLAGS: [&str; 6] = [
    "permit-X11-forwarding",
    "permit-agent-forwarding",
    "permit-port-forwarding",
    "permit-pty",
    "permit-user-rc",
    "no-touch-required",
];

fn write_list<T>(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    entries: &[T],
    write_entry: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    if entries.is_empty() {
        return writeln!(f, "        {title}: (none)");
    }
    writeln!(f, "        {title}: ")?;
    for entry in entries {
        write!(f, "                ")?;
        write_entry(f, entry)?;
        writeln!(f)?;
    }
    Ok(())
}

/// As `show_options` of ssh-keygen.c: the values of options that it knows, the bytes of others.
fn write_option(
    f: &mut fmt::Formatter<'_>,
    option: &CertificateOption,
    values: &[&str],
    flags: &[&str],
) -> fmt::Result {
    let name = option.name.as_str();
    write!(f, "{}", Escaped(name))?;
    match option.value() {
        Some(value) if values.contains(&name) => {
            write!(f, " {}", Escaped(&value))
        }
        _ if !option.data.is_empty() => {
            write!(f, " UNKNOWN OPTION: ")?;
            for byte in &option.data {
                write!(f, "{byte:02x}")?;
            }
            write!(f, " (len {})", option.data.len())
        }
        _ if flags.contains(&name) => Ok(()),
        _ => write!(f, " UNKNOWN FLAG OPTION"),
    }
}

/// ssh-keygen's word for a type of key.
fn kind(key: &KeyData) -> &'static str {
    match key {
        KeyData::Dsa(_) => "DSA",
        KeyData::Ecdsa(_) => "ECDSA",
        KeyData::Ed25519(_) => "ED25519",
        KeyData::Rsa(_) => "RSA",
        KeyData::SkEcdsaSha2NistP256(_) => "ECDSA-SK",
        KeyData::SkEd25519(_) => "ED25519-SK",
        _ => "UNKNOWN",
    }
}

/// The length of the modulus or of the curve's field, in bits.
fn bits(key: &KeyData) -> usize {
    let significant = |bytes: Option<&[u8]>| {
        let bytes = bytes.unwrap_or_default();
        let zeros = bytes.first().map_or(0, |byte| byte.leading_zeros());
        (bytes.len() * 8).saturating_sub(zeros as usize)
    };
    match key {
        KeyData::Rsa(key) => significant(key.n().as_positive_bytes()),
        KeyData::Dsa(key) => significant(key.p().as_positive_bytes()),
        KeyData::Ecdsa(key) => match key.curve() {
            EcdsaCurve::NistP256 => 256,
            EcdsaCurve::NistP384 => 384,
            EcdsaCurve::NistP521 => 521,
        },
        _ => 256,
    }
}

/// Text from a file, fit for a terminal.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c.is_control() {
                true => write!(f, "{}", c.escape_default())?,
                false => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

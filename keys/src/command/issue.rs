//! `bastion-keygen issue`: sign a certificate.

use super::option;
use anyhow::bail;
use clap::builder::NonEmptyStringValueParser;
use keys::certificate::{self, Certificate, CertificateKind, CertificateOption, CertificateSpec};
use keys::file::{self, FileError, Mode, Owner};
use keys::generate::KeyKind;
use keys::pair;
use keys::pomerium::{EXTENSIONS, USER_CA_KEY};
use keys::validity::ValiditySpec;
use ssh_key::PublicKey;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(clap::Args)]
#[command(
    after_help = "The certificate is written beside the key: KEY.pub gets KEY-cert.pub, which \
        `ssh -i KEY` finds by itself. A certificate that is there already is replaced."
)]
pub(crate) struct Arguments {
    /// The CA's private key
    #[arg(long, value_name = "FILE", default_value = USER_CA_KEY)]
    ca: PathBuf,

    /// The public key to certify
    #[arg(long, value_name = "FILE", required_unless_present = "out")]
    public_key: Option<PathBuf>,

    /// Make a fresh Ed25519 key in this file, and certify that
    #[arg(long, value_name = "FILE", conflicts_with = "public_key")]
    out: Option<PathBuf>,

    /// A login name that the certificate is for, or with --host a host name; can be repeated
    /// or given as a list with commas
    #[arg(
        long,
        value_name = "NAME",
        required = true,
        value_delimiter = ',',
        value_parser = NonEmptyStringValueParser::new()
    )]
    principal: Vec<String>,

    /// How long: `1h`, `-5m:+1h`, `20270131Z:20270201Z` (UTC), `always:forever`; without a
    /// beginning it begins a minute ago
    #[arg(
        long,
        value_name = "FROM:TO",
        default_value = "1h",
        allow_hyphen_values = true
    )]
    validity: ValiditySpec,

    /// The CA's number for the certificate; 0 for none
    #[arg(long, value_name = "N", default_value_t = 0)]
    serial: u64,

    /// What logs call the certificate
    #[arg(long, value_name = "TEXT", default_value = "bastion-keygen")]
    key_id: String,

    /// A critical option: force-command=COMMAND, source-address=CIDR[,CIDR…] or
    /// verify-required; can be repeated
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = option::critical_option)]
    option: Vec<CertificateOption>,

    /// An extension, such as permit-pty; can be repeated [default: the five of Pomerium's
    /// certificates, and none with --host]
    #[arg(long, value_name = "NAME", value_parser = option::extension)]
    extension: Vec<CertificateOption>,

    /// No extensions
    #[arg(long, conflicts_with = "extension")]
    no_extensions: bool,

    /// Certify a host key
    #[arg(long, conflicts_with = "option")]
    host: bool,
}

pub(crate) fn run(arguments: &Arguments, out: &mut impl Write) -> anyhow::Result<()> {
    // What can be wrong is looked at before a key is made.
    let spec = spec(arguments)?;
    let ca = file::read_private_key(&arguments.ca)?;
    let (subject, path) = subject(arguments)?;
    let blob = certificate::sign(&spec, &subject, &ca)?;
    let comment = subject.comment().as_str_lossy();
    let line = certificate::to_openssh(&blob, comment)? + "\n";
    file::replace(&path, &line, Mode::Public, Owner::Folder)?;

    writeln!(out, "made {}:", path.display())?;
    write!(out, "{}", Certificate::decode(&blob)?)?;
    Ok(())
}

fn spec(arguments: &Arguments) -> anyhow::Result<CertificateSpec> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let validity = arguments.validity.at(now)?;
    let extensions = match (arguments.extension.as_slice(), arguments.host) {
        ([], false) if !arguments.no_extensions => EXTENSIONS.map(CertificateOption::flag).into(),
        (given, _) => given.to_vec(),
    };
    Ok(CertificateSpec {
        kind: match arguments.host {
            true => CertificateKind::Host,
            false => CertificateKind::User,
        },
        serial: arguments.serial,
        key_id: arguments.key_id.clone(),
        principals: arguments.principal.clone(),
        valid_after: validity.after,
        valid_before: validity.before,
        critical_options: option::sorted(arguments.option.clone())?,
        extensions: option::sorted(extensions)?,
    })
}

/// The key to certify, and where its certificate goes.
fn subject(arguments: &Arguments) -> anyhow::Result<(PublicKey, PathBuf)> {
    if let Some(path) = &arguments.out {
        let certificate = file::with_suffix(path, "-cert.pub");
        check_replaceable(&certificate)?;
        let key = pair::make_pair(path, KeyKind::Ed25519, &arguments.key_id)?;
        return Ok((key.into(), certificate));
    }
    let Some(path) = &arguments.public_key else {
        bail!("no key to certify");
    };
    let subject = file::read_public_key(path)?;
    // As ssh-keygen -s: KEY.pub gets KEY-cert.pub.
    let stem = match path.extension() {
        Some(extension) if extension == "pub" => path.with_extension(""),
        _ => path.clone(),
    };
    let certificate = file::with_suffix(&stem, "-cert.pub");
    check_replaceable(&certificate)?;
    Ok((subject, certificate))
}

/// A certificate may be replaced; anything else by that name may not.
fn check_replaceable(path: &Path) -> anyhow::Result<()> {
    match file::read_text(path) {
        Err(FileError::NotFound(_)) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(text) => match keys::inspect::inspect(&text).as_deref() {
            Ok([(_, keys::inspect::Inspected::Certificate(_))]) => Ok(()),
            _ => Err(FileError::Exists(path.to_owned()).into()),
        },
    }
}

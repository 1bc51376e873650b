//! `bastion-keygen` without a command: make what is missing.

use keys::inspect::KeyLine;
use keys::pair::{self, KeyPair};
use keys::pomerium::{self, USER_CA_KEY};
use keys::trusted_ca::{self, Installed, Others};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The end of the help.
pub(crate) const ROTATION: &str = "\
Changing the User CA: move pomerium_user_ca_key and its .pub away and run with
--add-installed-ca, which makes a new CA and lets bastion trust both. Give the new key to
Pomerium (`bastion-keygen show`). Once logins work and the old CA's last certificate has
expired, run with --replace-installed-ca, which ends the trust in the old CA. Was its key stolen,
run with that at once: nobody is let in then until Pomerium has the new key.";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The folder of the keys
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,

    /// The data folder of the containers, made where missing; the CA's public key goes to
    /// pomerium-ssh/pomerium_user_ca_key.pub in it [default: openclaw-data in the folder of the
    /// keys]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Where another CA is installed, trust both
    #[arg(long, conflicts_with = "replace_installed_ca")]
    add_installed_ca: bool,

    /// Where another CA is installed, trust it no more
    #[arg(long)]
    replace_installed_ca: bool,
}

pub(crate) fn run(arguments: &Arguments, out: &mut impl Write) -> anyhow::Result<()> {
    // The report waits for the end: nobody who stops reading it stops the making of keys.
    let mut report = Vec::new();
    let done = make(arguments, &mut report);
    let written = report.iter().try_for_each(|line| writeln!(out, "{line}"));
    done?;
    written?;
    writeln!(out, "\nNext, give Pomerium the private keys; to see them:")?;
    match arguments.dir.as_os_str() == "." {
        true => writeln!(out, "  bastion-keygen show")?,
        false => writeln!(
            out,
            "  bastion-keygen show --dir {}",
            arguments.dir.display()
        )?,
    }
    Ok(())
}

fn make(arguments: &Arguments, report: &mut Vec<String>) -> anyhow::Result<()> {
    let data_dir = match &arguments.data_dir {
        Some(given) => given.clone(),
        None => arguments.dir.join("openclaw-data"),
    };
    let path = data_dir.join(trusted_ca::INSTALLED);
    let others = match (arguments.add_installed_ca, arguments.replace_installed_ca) {
        (true, _) => Others::Add,
        (_, true) => Others::Replace,
        _ => Others::Keep,
    };
    if !arguments.dir.join(USER_CA_KEY).exists() {
        // Keys that cannot be used are not to lie about like those that can.
        trusted_ca::check_room_for_a_new_one(&path, others)?;
    }
    let mut ca = None;
    pomerium::ensure_pomerium_keys(&arguments.dir, |pair| {
        report_pair(&pair, report);
        if pair.path.ends_with(USER_CA_KEY) {
            ca = Some(pair.key.public_key().clone());
        }
    })?;
    let Some(ca) = ca else {
        anyhow::bail!("no User CA key was made");
    };
    report_installed(&path, &trusted_ca::install(&path, &ca, others)?, report);
    Ok(())
}

fn report_pair(pair: &KeyPair, report: &mut Vec<String>) {
    let word = |made| if made { "made" } else { "kept" };
    let (path, key) = (pair.path.display(), KeyLine(pair.key.public_key()));
    report.push(format!("{} {path}: {key}", word(pair.made)));
    let public = pair::public_path(&pair.path);
    let source = match pair.public_made && !pair.made {
        true => ", from the private key",
        false => "",
    };
    report.push(format!(
        "{} {}{source}",
        word(pair.public_made),
        public.display()
    ));
}

fn report_installed(path: &Path, installed: &Installed, report: &mut Vec<String>) {
    let path = path.display();
    report.push(match installed {
        Installed::Made => format!("made {path}"),
        Installed::Kept(others) if others.is_empty() => format!("kept {path}"),
        Installed::Kept(others) => format!(
            "kept {path}, which also trusts {}; --replace-installed-ca ends that",
            trusted_ca::fingerprints(others),
        ),
        Installed::Added(others) => format!(
            "made {path}, which still trusts {}; --replace-installed-ca ends that",
            trusted_ca::fingerprints(others),
        ),
        Installed::Replaced(others) => format!(
            "made {path}, which no longer trusts {}",
            trusted_ca::fingerprints(others),
        ),
    });
}

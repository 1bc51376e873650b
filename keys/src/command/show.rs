//! `bastion-keygen show`: Pomerium's SSH settings, private keys and all.

use keys::host_keys::HOST_KEYS;
use keys::pomerium::{self, SSH_ADDRESS, USER_CA_KEY};
use serde::Serialize;
use std::io::Write;
use std::path::PathBuf;
use zeroize::Zeroizing;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The folder of the keys
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,

    /// Where Pomerium listens for SSH
    #[arg(long, value_name = "ADDRESS", default_value = SSH_ADDRESS)]
    ssh_address: String,

    /// Print JSON with the keys of Pomerium Zero's API: sshAddress, sshHostKeys, sshUserCaKey
    #[arg(long)]
    json: bool,
}

/// The names are those of Pomerium Zero's API, at `/organizations/…/clusters/…/settings`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Settings<'a> {
    ssh_address: &'a str,
    ssh_host_keys: Vec<&'a str>,
    ssh_user_ca_key: &'a str,
}

pub(crate) fn run(arguments: &Arguments, out: &mut impl Write) -> anyhow::Result<()> {
    let keys = pomerium::read_pomerium_keys(&arguments.dir)?;
    let settings = Settings {
        ssh_address: &arguments.ssh_address,
        ssh_host_keys: keys.host_keys.iter().map(|key| key.as_str()).collect(),
        ssh_user_ca_key: &keys.user_ca_key,
    };
    match arguments.json {
        true => {
            let json = Zeroizing::new(serde_json::to_string_pretty(&settings)?);
            writeln!(out, "{}", *json)?;
        }
        false => write_page(out, &settings)?,
    }
    Ok(())
}

/// In the order and under the names of Pomerium Zero's page "SSH settings".
fn write_page(out: &mut impl Write, settings: &Settings<'_>) -> std::io::Result<()> {
    writeln!(out, "SSH Address:\n\n{}\n", settings.ssh_address)?;
    let count = settings.ssh_host_keys.len();
    for (index, (key, (name, _))) in settings.ssh_host_keys.iter().zip(HOST_KEYS).enumerate() {
        let number = index + 1;
        writeln!(
            out,
            "SSH Host Keys, {number} of {count} ({name}):\n\n{}\n",
            key.trim()
        )?;
    }
    let key = settings.ssh_user_ca_key.trim();
    writeln!(out, "SSH User CA Key ({USER_CA_KEY}):\n\n{key}")
}

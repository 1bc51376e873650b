//! `bastion-keygen sandbox`: the keys between OpenClaw and its sandbox.

use keys::sandbox;
use std::io::Write;
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(
    about = "Make the keys between OpenClaw and the sandbox of its subagents",
    long_about = "Make the keys between OpenClaw and the sandbox of its subagents: a CA of its \
        own, the sandbox's host keys, and OpenClaw's certificate, which permits nothing but to run \
        programs in the sandbox. Existing keys are kept; a second run completes what is missing. \
        Once the containers have run, the folders belong to them, and it takes root."
)]
pub(crate) struct Arguments {
    /// The folder of the keys
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,

    /// The data folder of the containers [default: openclaw-data in the folder of the keys]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments, out: &mut impl Write) -> anyhow::Result<()> {
    let data = match &arguments.data_dir {
        Some(given) => given.clone(),
        None => arguments.dir.join("openclaw-data"),
    };
    for (path, made) in sandbox::ensure(&arguments.dir, &data)? {
        let word = if made { "made" } else { "kept" };
        writeln!(out, "{word} {}", path.display())?;
    }
    Ok(())
}

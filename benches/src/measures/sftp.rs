//! Files, by OpenSSH's sftp: a large one, and many small ones.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use crate::openssh;
use crate::report::{Report, Target};
use crate::server::Server;
use crate::subject::Bench;

const ROUNDS: usize = 3;

pub(super) fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir_in(bench.fixture.folder())?;
    let (large, files) = (bench.count(1 << 30, 4 << 20), bench.count(2000, 20));
    let from = folder.path().join("from");
    fs::create_dir_all(from.join("small"))?;
    fs::File::create(from.join("large"))?.set_len(large as u64)?;
    for number in 0..files {
        fs::write(from.join(format!("small/{number}")), [7; 4096])?;
    }
    let servers = bench.servers()?;
    if let Some(without) = servers
        .iter()
        .find(|server| batch(bench, server, "pwd\n").is_err())
    {
        eprintln!("  {:?} has no SFTP: left out", without.kind);
        return Ok(());
    }
    let mebibytes = large as f64 / f64::from(1 << 20);
    let [put, get, put_small, get_small] = bench.in_turns(&servers, ROUNDS, |server| {
        let to = tempfile::tempdir_in(folder.path())?;
        let run = |command: &str, name: &str, from: &Path, to: &Path| {
            batch(
                bench,
                server,
                &format!("{command} {}/{name} {}/\n", from.display(), to.display()),
            )
        };
        let (there, back) = (to.path().join("there"), to.path().join("back"));
        fs::create_dir(&there)?;
        fs::create_dir(&back)?;
        Ok([
            mebibytes / run("put", "large", &from, &there)?,
            mebibytes / run("get", "large", &there, &back)?,
            files as f64 / run("put -r", "small", &from, &there)?,
            files as f64 / run("get -r", "small", &there, &back)?,
        ])
    })?;
    report.add("SFTP, a large file up", "MiB/s", put, Target::AtLeast(1.0));
    report.add(
        "SFTP, a large file down",
        "MiB/s",
        get,
        Target::AtLeast(1.0),
    );
    report.add(
        format!("SFTP, {files} files of 4 KiB up"),
        "1/s",
        put_small,
        Target::AtLeast(1.0),
    );
    report.add(
        format!("SFTP, {files} files of 4 KiB down"),
        "1/s",
        get_small,
        Target::AtLeast(1.0),
    );
    Ok(())
}

/// Seconds that these commands take.
fn batch(bench: &Bench, server: &Server, commands: &str) -> anyhow::Result<f64> {
    let file = bench.fixture.folder().join("batch");
    fs::write(&file, commands)?;
    let mut sftp = openssh::client("sftp", bench, server);
    sftp.arg("-b")
        .arg(&file)
        .arg("127.0.0.1")
        .stdin(Stdio::null());
    Ok(openssh::time(&mut sftp)?.as_secs_f64())
}

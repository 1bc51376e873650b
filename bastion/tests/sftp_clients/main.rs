//! File transfer by the programs that people use, through a bastion that really runs.
//!
//! What is not installed here is said to be skipped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that fails by panic has failed; clippy.toml exempts test functions only"
)]

#[path = "../support/mod.rs"]
mod support;

mod host;
mod openssh;
mod others;
mod subsystem;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use host::Host;
use support::{output, text};

/// A folder with what is hard to transfer: an empty file, one of an odd size larger than any
/// window, many small ones, names with blanks, a folder in a folder, a script.
fn folder_to_transfer(at: &Path) {
    fs::create_dir_all(at.join("in a folder/deeper")).unwrap();
    fs::write(at.join("empty"), "").unwrap();
    let large: Vec<u8> = (0..5_000_017_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    fs::write(at.join("large"), large).unwrap();
    for number in 0..100 {
        fs::write(
            at.join(format!("in a folder/small {number}")),
            format!("content {number}"),
        )
        .unwrap();
    }
    fs::write(at.join("in a folder/deeper/script"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(
        at.join("in a folder/deeper/script"),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
}

/// Every file of a folder: by its path, its content and whether it can be executed.
fn content(of: &Path) -> BTreeMap<PathBuf, (Vec<u8>, bool)> {
    let mut all = BTreeMap::new();
    let mut folders = vec![of.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            if metadata.is_dir() {
                folders.push(path);
            } else {
                let executable = metadata.permissions().mode() & 0o100 != 0;
                let relative = path.strip_prefix(of).unwrap().to_owned();
                all.insert(relative, (fs::read(&path).unwrap(), executable));
            }
        }
    }
    all
}

/// Not by assert_eq: nobody wants to read five megabytes.
fn assert_same(one: &Path, other: &Path) {
    let (one, other) = (content(one), content(other));
    assert_eq!(
        one.keys().collect::<Vec<_>>(),
        other.keys().collect::<Vec<_>>()
    );
    for (path, file) in &one {
        assert!(file == &other[path], "{} differs", path.display());
    }
}

fn assert_success(output: &Output) {
    let complaints = text(&output.stderr);
    assert!(output.status.success(), "{}: {complaints}", output.status);
}

/// Runs commands of sftp(1); stops at the first that fails.
fn sftp(host: &Host, commands: &str) -> Output {
    let batch = host.folder().join("batch");
    fs::write(&batch, commands).unwrap();
    output(host.client("sftp").arg("-b").arg(batch).arg("bastion"))
}

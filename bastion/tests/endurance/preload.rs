//! A library that stands between bastion and the system, loaded into every part of it, and a file
//! by which a test tells it what to do.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use crate::support::{Server, as_root};

/// So many bytes does the file have, zeros to begin with.
const LENGTH: usize = 8;

/// What a test and its library share: the library has the file mapped.
pub(crate) struct Shared(fs::File);

impl Shared {
    pub(crate) fn write(&self, at: u64, bytes: &[u8]) {
        self.0.write_all_at(bytes, at).unwrap();
    }

    pub(crate) fn read<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.read_exact_at(&mut bytes, at).unwrap();
        bytes
    }
}

/// A server with the library of this source, which is beside this file; none without root or a C
/// compiler.
pub(crate) fn start(source: &str, config: &str) -> Option<(Server, Shared)> {
    if !as_root() {
        eprintln!("skipped: not root");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("shared"), [0; LENGTH]).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    compile(source, &path("preload.so"), &path("shared"))?;
    let shared = fs::File::options()
        .read(true)
        .write(true)
        .open(path("shared"));
    let shared = Shared(shared.unwrap());
    // Every part starts with an empty environment: what LD_PRELOAD says would not reach it.
    let script =
        "cp -a /etc @/etc && echo @/preload.so > @/etc/ld.so.preload && mount --bind @/etc /etc";
    let script = script.replace('@', folder.path().to_str().unwrap());
    let server = Server::start_after(folder, &script, config)?;
    Some((server, shared))
}

fn compile(source: &str, library: &Path, shared: &Path) -> Option<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/endurance");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror"])
        .arg(format!("-DSHARED=\"{}\"", shared.display()))
        .args([Path::new("-o"), library, &folder.join(source)])
        .arg("-ldl")
        .status();
    let Ok(status) = compiled else {
        eprintln!("skipped: no C compiler");
        return None;
    };
    assert!(status.success());
    Some(())
}

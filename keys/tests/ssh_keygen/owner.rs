//! Whose the keys are that root makes, as `docker compose run` and sudo do.

use crate::reference::Folder;
use keys::host_keys;
use std::fs;
use std::os::unix::fs::{chown, lchown};

const SOMEBODY: (u32, u32) = (4711, 4712);
const CLAW: (u32, u32) = (1001, 1001);
const ROOT: (u32, u32) = (0, 0);

/// A folder of somebody's, where root runs the tests; nobody else can give one away.
fn somebodys_folder() -> Option<Folder> {
    let folder = Folder::new();
    if folder.owner(".") != ROOT {
        eprintln!("SKIPPED: only root can make files for others");
        return None;
    }
    chown(folder.path(), Some(SOMEBODY.0), Some(SOMEBODY.1)).unwrap();
    Some(folder)
}

/// All files and folders below, as `find` names them.
fn below(folder: &Folder, name: &str) -> Vec<String> {
    let entries = fs::read_dir(folder.join(name)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let paths = names.map(|entry| format!("{name}/{entry}"));
    paths
        .flat_map(|path| match folder.join(&path).is_dir() {
            true => [vec![path.clone()], below(folder, &path)].concat(),
            false => vec![path],
        })
        .collect()
}

#[test]
fn what_root_makes_belongs_to_whom_the_folder_belongs_to() {
    let Some(folder) = somebodys_folder() else {
        return;
    };
    folder.run(&[]);
    folder.run(&["sandbox"]);
    let arguments = ["--ca", "sandbox_ca_key", "--principal", "x", "--out", "x"];
    folder.run(&[["issue"].as_slice(), &arguments].concat());
    let made = below(&folder, ".");
    // Two CAs, six host keys and their halves, a user's key, and what lies in five folders.
    assert!(made.len() > 30, "{made:?}");
    for name in made {
        assert_eq!(folder.owner(&name), SOMEBODY, "{name}");
    }
    assert_eq!(folder.mode("pomerium_user_ca_key"), 0o600);
    assert_eq!(folder.mode("openclaw-data/sandbox/client"), 0o755);
}

/// What the containers have taken over stays theirs, and gets new files of theirs.
#[test]
fn a_second_run_fits_the_containers() {
    let Some(folder) = somebodys_folder() else {
        return;
    };
    folder.run(&[]);
    folder.run(&["sandbox"]);
    let (client, trusted) = ("openclaw-data/sandbox/client", "openclaw-data/pomerium-ssh");
    for name in [vec![client.to_owned()], below(&folder, client)].concat() {
        lchown(folder.join(&name), Some(CLAW.0), Some(CLAW.1)).unwrap();
    }
    chown(folder.join(trusted), Some(0), Some(0)).unwrap();
    for name in ["id_ed25519", "id_ed25519.pub", "known_hosts"] {
        folder.remove(&format!("{client}/{name}"));
    }
    folder.remove(&format!("{trusted}/pomerium_user_ca_key.pub"));
    folder.run(&[]);
    folder.run(&["sandbox"]);
    for name in below(&folder, client) {
        assert_eq!(folder.owner(&name), CLAW, "{name}");
    }
    for name in below(&folder, trusted) {
        assert_eq!(folder.owner(&name), ROOT, "{name}");
    }
}

/// A server that runs as root has keys of root's wherever they are: nobody else may read them.
#[test]
fn a_servers_own_keys_stay_its_own() {
    let Some(folder) = somebodys_folder() else {
        return;
    };
    host_keys::ensure_host_keys(folder.path(), "bastion").unwrap();
    for name in below(&folder, ".") {
        assert_eq!(folder.owner(&name), ROOT, "{name}");
    }
}

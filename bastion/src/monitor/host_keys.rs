//! The host keys in the state folder: made where missing, and read for each gate.

use std::io::ErrorKind;
use std::path::Path;

use keys::host_keys::HOST_KEYS;

use super::MonitorError;
use super::audit::Event;
use crate::ipc::HostKey;
use crate::sys::files;

/// The folder, under the state folder, that the gate has for a root: empty, and root's.
pub(super) const EMPTY_ROOT: &str = "empty";
/// OpenSSH's MAX_KEY_FILE_SIZE, in bytes.
const MAX_HOST_KEY: u64 = 1024 * 1024;

/// Makes the host keys that are missing; says of each what it is.
pub(super) fn ensure_host_keys(folder: &Path) -> Result<Vec<Event>, MonitorError> {
    make_folder(folder).map_err(unusable(folder))?;
    check_state_folder(folder)?;
    match make_folder(&folder.join(EMPTY_ROOT)) {
        // The fence says that it has none.
        Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => {}
        made => made.map_err(unusable(folder))?,
    }
    let keys = keys::host_keys::ensure_host_keys(folder, "bastion").map_err(unusable(folder))?;
    Ok(keys.iter().map(host_key).collect())
}

/// Whether the folder, and each host key that is in it, is where nobody else could have put it. What is
/// not there is no harm: it is made.
fn check_state_folder(folder: &Path) -> Result<(), MonitorError> {
    let is_there = |path: &Path| path.symlink_metadata().is_ok();
    let key_files = HOST_KEYS.iter().map(|(name, _)| folder.join(name));
    let checked = match is_there(folder) {
        true => files::check_folder_relied_on(folder).and_then(|()| {
            key_files
                .filter(|path| is_there(path))
                .try_for_each(|path| files::read_relied_on(&path, MAX_HOST_KEY).map(drop))
        }),
        false => Ok(()),
    };
    checked.map_err(unusable(folder))
}

/// Whether the host keys that are there can be used.
pub(super) fn check_host_keys(folder: &Path) -> Result<(), MonitorError> {
    check_state_folder(folder)?;
    keys::host_keys::check_host_keys(folder).map_err(unusable(folder))
}

/// The private halves, read anew for each gate so that the monitor need not keep them. One that has
/// gone meanwhile is made again, of which there is something to say.
pub(super) fn read_host_keys(folder: &Path) -> Result<(Vec<HostKey>, Vec<Event>), MonitorError> {
    check_state_folder(folder)?;
    let keys = keys::host_keys::ensure_host_keys(folder, "bastion").map_err(unusable(folder))?;
    let made = keys.iter().filter(|key| key.made).map(host_key).collect();
    let private = keys.iter().map(|key| {
        let text = key.key.to_openssh(ssh_key::LineEnding::LF);
        text.map(HostKey).map_err(unusable(folder))
    });
    Ok((private.collect::<Result<_, _>>()?, made))
}

/// That there is this host key.
fn host_key(key: &keys::host_keys::HostKeyFile) -> Event {
    Event::HostKey {
        file: key.path.display().to_string(),
        made: key.made,
        fingerprint: key.key.fingerprint(ssh_key::HashAlg::Sha256).to_string(),
    }
}

/// What is wrong with the host keys of this folder.
fn unusable<E>(folder: &Path) -> impl Fn(E) -> MonitorError
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    |error| MonitorError::HostKeys {
        folder: folder.into(),
        source: error.into(),
    }
}

/// Makes a folder for our eyes only, and its parents, where missing.
fn make_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

//! The programs that the tests run: the real ssh-keygen, and ours.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder of one test, removed afterwards.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.join(name), content).unwrap();
        self.join(name)
    }

    /// A private key's file: 0600.
    pub(crate) fn write_private(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.write(name, content);
        self.chmod(name, 0o600);
        path
    }

    pub(crate) fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn mode(&self, name: &str) -> u32 {
        let metadata = fs::symlink_metadata(self.join(name)).unwrap();
        metadata.permissions().mode() & 0o7777
    }

    /// User and group.
    pub(crate) fn owner(&self, name: &str) -> (u32, u32) {
        let metadata = fs::symlink_metadata(self.join(name)).unwrap();
        (metadata.uid(), metadata.gid())
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.join(name)).unwrap();
    }

    /// The names in the folder, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path()).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Runs ssh-keygen in the folder; what it prints.
    pub(crate) fn ssh_keygen(&self, arguments: &[&str]) -> String {
        let output = self.try_ssh_keygen(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs ssh-keygen in the folder.
    pub(crate) fn try_ssh_keygen(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("ssh-keygen");
        command.args(arguments).current_dir(self.path());
        command.env("TZ", "UTC").output().unwrap()
    }

    /// Makes a key with ssh-keygen; returns its path.
    pub(crate) fn ssh_key(&self, name: &str, type_and_bits: &[&str]) -> PathBuf {
        let mut arguments = vec!["-q", "-N", "", "-C", "a comment", "-f", name, "-t"];
        arguments.extend(type_and_bits);
        self.ssh_keygen(&arguments);
        self.join(name)
    }

    /// The command `bastion-keygen`, to be run in the folder.
    pub(crate) fn bastion_keygen(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bastion-keygen"));
        command.args(arguments).current_dir(self.path());
        command
    }

    /// Runs `bastion-keygen` in the folder, successfully and silently; what it prints.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.bastion_keygen(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        assert!(output.stderr.is_empty(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs `bastion-keygen` in the folder, which fails; the sentence.
    pub(crate) fn fail(&self, arguments: &[&str]) -> String {
        let output = self.bastion_keygen(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        let sentence = stderr.strip_prefix("bastion-keygen: ").unwrap();
        let sentence = sentence.strip_suffix('\n').unwrap();
        assert!(!sentence.contains('\n'), "{sentence:?}");
        sentence.to_owned()
    }

    /// Runs `bastion-keygen` with a command line that it does not understand; what it says.
    pub(crate) fn misuse(&self, arguments: &[&str]) -> String {
        let output = self.bastion_keygen(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

//! A bastion that OpenSSH's clients, and what uses them, know as the host `bastion`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use keys::certificate::{CertificateOption, CertificateSpec};

use crate::support::{Server, User, missing};

pub(crate) struct Host {
    pub(crate) server: Server,
    user: User,
}

impl Host {
    /// With these lines in its bastion.toml. `None` where OpenSSH's clients are not installed.
    pub(crate) fn start(configuration: &str) -> Option<Self> {
        Self::start_with(configuration, |_| {})
    }

    /// For a user whose certificate permits nothing but this command.
    pub(crate) fn start_forced(command: &str) -> Option<Self> {
        let forced = CertificateOption::with_value("force-command", command).unwrap();
        Self::start_with("", |spec| spec.critical_options.push(forced))
    }

    fn start_with(configuration: &str, edit: impl FnOnce(&mut CertificateSpec)) -> Option<Self> {
        if ["ssh", "sftp", "scp"].into_iter().any(missing) {
            return None;
        }
        let server = Server::start_with(configuration, &[]);
        let user = server.user_with(edit);
        let (port, key) = (server.address.port(), user.key().display().to_string());
        let config = format!(
            "Host bastion\nHostName 127.0.0.1\nPort {port}\nUser claw\nBatchMode yes\nIdentitiesOnly yes\n\
             IdentityFile {key}\nCertificateFile {key}-cert.pub\nIdentityAgent none\n\
             UserKnownHostsFile /dev/null\nStrictHostKeyChecking no\nLogLevel ERROR\n"
        );
        fs::write(user.folder().join("ssh_config"), config).unwrap();
        Some(Self { server, user })
    }

    /// A client that is configured to know this bastion.
    pub(crate) fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .arg("-F")
            .arg(self.folder().join("ssh_config"))
            .stdin(Stdio::null());
        command
    }

    /// The same as a line, for programs that start ssh by themselves.
    pub(crate) fn ssh(&self) -> String {
        format!("ssh -F {}", self.folder().join("ssh_config").display())
    }

    pub(crate) fn folder(&self) -> &Path {
        self.user.folder()
    }

    /// Three new folders: here, there, and where what was there comes back to.
    pub(crate) fn three_folders(&self) -> (PathBuf, PathBuf, PathBuf) {
        let folder = tempfile::tempdir_in(self.folder()).unwrap().keep();
        let make = |name: &str| {
            let path = folder.join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        (make("local"), make("remote"), make("back"))
    }
}

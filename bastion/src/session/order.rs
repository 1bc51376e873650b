//! What a client's request for a program comes to, by configuration and certificate.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::ipc::{Program, SessionSetup};
use crate::sftp;
use crate::sys::spawn;

/// What is to be executed: the login shell, for itself or for a command, or our own SFTP server.
pub(super) struct Order {
    pub(super) file: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) original_command: Option<OsString>,
}

impl Order {
    pub(super) fn new(setup: &SessionSetup, program: Program) -> Result<Self, String> {
        let asked = Asked::new(setup, program)?;
        if let Some(forced) = &setup.force_command {
            let is_sftp = sftp::internal_sftp(forced).is_some();
            if is_sftp && !matches!(asked, Asked::Subsystem(_)) {
                // Who expects something else would wait for it, and the server for him.
                return Err("this login permits SFTP only".into());
            }
            let order = Self::configured(setup, forced)?;
            return Ok(Self {
                original_command: asked.original_command(),
                ..order
            });
        }
        match asked {
            Asked::Command(command) => Self::command(setup, command),
            Asked::Subsystem(command) => Self::configured(setup, command),
            Asked::Shell => {
                // A dash before its name makes it a login shell.
                let mut zeroth = OsString::from("-");
                zeroth.push(shell_name(setup));
                Ok(Self::shell(setup, vec![zeroth]))
            }
        }
    }

    /// A command of the configuration or of a certificate, where `internal-sftp` is a word of its
    /// own (sshd_config(5)).
    fn configured(setup: &SessionSetup, command: &str) -> Result<Self, String> {
        let Some(words) = sftp::internal_sftp(command) else {
            return Self::command(setup, command.as_bytes().to_owned());
        };
        // Options that it does not know are for itself to refuse, where the user sees why.
        let arguments = ["bastion", "sftp-server"]
            .into_iter()
            .chain(words)
            .map(OsString::from)
            .collect();
        Ok(Self {
            file: spawn::OURSELVES.into(),
            arguments,
            original_command: None,
        })
    }

    /// Whether it is our own server, which asks nothing of its descriptors but bytes.
    pub(super) fn is_ours(&self) -> bool {
        self.file == Path::new(spawn::OURSELVES)
    }

    fn command(setup: &SessionSetup, command: Vec<u8>) -> Result<Self, String> {
        free_of_nul(&command)?;
        let arguments = vec![
            shell_name(setup).to_owned(),
            "-c".into(),
            OsString::from_vec(command),
        ];
        Ok(Self::shell(setup, arguments))
    }

    fn shell(setup: &SessionSetup, arguments: Vec<OsString>) -> Self {
        Self {
            file: setup.account.shell.clone(),
            arguments,
            original_command: None,
        }
    }
}

/// What a client asks for, if there is such a thing. With a forced command it is that command's to
/// make of it what it likes, unless that is internal-sftp.
enum Asked<'a> {
    Shell,
    Command(Vec<u8>),
    /// The command that the configuration has for it.
    Subsystem(&'a str),
}

impl<'a> Asked<'a> {
    fn new(setup: &'a SessionSetup, program: Program) -> Result<Self, String> {
        match program {
            Program::Shell => Ok(Self::Shell),
            Program::Exec(command) => free_of_nul(&command).map(|()| Self::Command(command)),
            Program::Subsystem(name) => match setup.config.subsystem.get(&name) {
                Some(command) => Ok(Self::Subsystem(command)),
                None => Err(format!("there is no subsystem '{}'", name.escape_default())),
            },
        }
    }

    /// SSH_ORIGINAL_COMMAND, as sshd sets it: of a subsystem that is its command, not its name.
    fn original_command(self) -> Option<OsString> {
        match self {
            Self::Shell => None,
            Self::Command(command) => Some(OsString::from_vec(command)),
            Self::Subsystem(command) => Some(command.into()),
        }
    }
}

fn free_of_nul(command: &[u8]) -> Result<(), String> {
    match command.contains(&0) {
        true => Err("a command cannot contain a NUL byte".to_owned()),
        false => Ok(()),
    }
}

fn shell_name(setup: &SessionSetup) -> &OsStr {
    setup.account.shell.file_name().unwrap_or(OsStr::new("sh"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::SocketAddr;

    use super::*;
    use crate::ipc::{ConnectionId, SessionConfig};
    use crate::policy::Permits;
    use crate::policy::forwarding::ForwardingRules;
    use crate::sys::account::Account;

    fn setup(force_command: Option<&str>) -> SessionSetup {
        let account = Account {
            name: "claw".into(),
            uid: 1000,
            gid: 1000,
            groups: vec![1000],
            home: "/home/claw".into(),
            shell: "/bin/bash".into(),
        };
        let address = SocketAddr::from(([127, 0, 0, 1], 22));
        let subsystem = [
            ("sftp", "internal-sftp -u 027"),
            ("netconf", "/usr/bin/netconf --fast"),
        ];
        SessionSetup {
            account,
            become_account: false,
            connection: ConnectionId(1),
            peer: address,
            local: address,
            permits: Permits::ALL,
            force_command: force_command.map(str::to_owned),
            config: SessionConfig {
                subsystem: BTreeMap::from(
                    subsystem.map(|(name, command)| (name.into(), command.into())),
                ),
                accept_env: Vec::new(),
                environment: Vec::new(),
                terminal_group: None,
                no_new_privileges: false,
                permit_network: true,
                print_motd: true,
                program_limits: spawn::ProgramLimits {
                    descriptors: 1024,
                    processes: None,
                    dump: 0,
                },
                forwarding: ForwardingRules::default(),
            },
        }
    }

    fn order(
        force_command: Option<&str>,
        program: Program,
    ) -> (String, Vec<OsString>, Option<OsString>) {
        let order = Order::new(&setup(force_command), program).unwrap();
        (
            order.file.display().to_string(),
            order.arguments,
            order.original_command,
        )
    }

    #[test]
    fn a_subsystem_is_its_command() {
        let subsystem = |name: &str| Program::Subsystem(name.to_owned());
        let (file, arguments, _) = order(None, subsystem("sftp"));
        assert_eq!(file, spawn::OURSELVES);
        assert_eq!(arguments, ["bastion", "sftp-server", "-u", "027"]);
        let (file, arguments, _) = order(None, subsystem("netconf"));
        assert_eq!(file, "/bin/bash");
        assert_eq!(arguments, ["bash", "-c", "/usr/bin/netconf --fast"]);
        let refused = Order::new(&setup(None), subsystem("n\0pe")).err().unwrap();
        assert_eq!(refused, "there is no subsystem 'n\\u{0}pe'");
    }

    #[test]
    fn a_forced_command_takes_the_place_of_everything() {
        for (program, original) in [
            (Program::Shell, None),
            (Program::Exec(b"id".into()), Some("id")),
            (
                Program::Subsystem("sftp".into()),
                Some("internal-sftp -u 027"),
            ),
        ] {
            let (_, arguments, asked) = order(Some("/bin/date"), program);
            assert_eq!(arguments, ["bash", "-c", "/bin/date"]);
            assert_eq!(asked, original.map(OsString::from));
        }
        let sftp = Program::Subsystem("sftp".into());
        let (file, arguments, asked) = order(Some("internal-sftp -R"), sftp);
        assert_eq!(file, spawn::OURSELVES);
        assert_eq!(arguments, ["bastion", "sftp-server", "-R"]);
        assert_eq!(asked, Some("internal-sftp -u 027".into()));
        for other in [Program::Shell, Program::Exec(b"id".into())] {
            let refused = Order::new(&setup(Some("internal-sftp -R")), other);
            assert_eq!(refused.err().unwrap(), "this login permits SFTP only");
        }
        // What could not be asked for without it is refused as without it.
        for nothing in [
            Program::Subsystem("nope".into()),
            Program::Exec(b"a\0b".into()),
        ] {
            assert!(Order::new(&setup(Some("/bin/date")), nothing).is_err());
        }
    }
}

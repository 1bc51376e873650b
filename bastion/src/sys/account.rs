//! Accounts of the machine, and becoming one of them for good.

use std::ffi::CString;
use std::path::PathBuf;

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An account of the machine, as its name service (`getpwnam(3)`) describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its user id.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
    /// All its groups, the primary one among them (`getgrouplist(3)`).
    pub groups: Vec<u32>,
    /// Its home folder.
    pub home: PathBuf,
    /// Its login shell; `/bin/sh` where the passwd entry has none.
    pub shell: PathBuf,
}

/// Why an account cannot be used.
#[derive(Debug, Error)]
pub enum AccountError {
    /// No such account.
    #[error(
        "there is no account '{0}' on this machine; make it, or map the login name to one that exists"
    )]
    Unknown(String),
    /// The name service failed.
    #[error("the account '{name}' cannot be looked up: {source}")]
    Lookup {
        /// The account's name.
        name: String,
        /// What the name service said.
        source: nix::Error,
    },
    /// The identity could not be taken on, or could be left again.
    #[error("cannot become '{name}' (uid {uid}): {what}")]
    Switch {
        /// The account's name.
        name: String,
        /// The account's user id.
        uid: u32,
        /// What went wrong.
        what: String,
    },
}

impl Account {
    /// Looks an account up by its name.
    pub fn by_name(name: &str) -> Result<Self, AccountError> {
        let user = User::from_name(name)
            .map_err(|source| AccountError::Lookup {
                name: name.into(),
                source,
            })?
            .ok_or_else(|| AccountError::Unknown(name.into()))?;
        Self::from_user(user)
    }

    /// The account that this process runs as.
    pub fn current() -> Result<Self, AccountError> {
        let uid = Uid::effective();
        let user = User::from_uid(uid)
            .map_err(|source| AccountError::Lookup {
                name: uid.to_string(),
                source,
            })?
            .ok_or_else(|| AccountError::Unknown(uid.to_string()))?;
        Self::from_user(user)
    }

    fn from_user(user: User) -> Result<Self, AccountError> {
        let lookup = |source| AccountError::Lookup {
            name: user.name.clone(),
            source,
        };
        let name = CString::new(user.name.clone()).map_err(|_| lookup(nix::Error::EINVAL))?;
        let groups = getgrouplist(&name, user.gid).map_err(lookup)?;
        let shell = match user.shell.as_os_str().is_empty() {
            true => PathBuf::from("/bin/sh"),
            false => user.shell.clone(),
        };
        Ok(Self {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            groups: groups.into_iter().map(Gid::as_raw).collect(),
            home: user.dir.clone(),
            shell,
            name: user.name,
        })
    }

    /// Whether this is the superuser's account, by whatever name.
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// Takes on this identity: groups, then gid, then uid, as real, effective and saved ids;
    /// then checks that the old one cannot come back. To be called in a process of one thread.
    pub fn assume(&self) -> Result<(), AccountError> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
        self.step("setgroups", nix::unistd::setgroups(&groups))?;
        self.step("setresgid", nix::unistd::setresgid(gid, gid, gid))?;
        self.step("setresuid", nix::unistd::setresuid(uid, uid, uid))?;
        self.check_assumed(uid, gid)
    }

    fn check_assumed(&self, uid: Uid, gid: Gid) -> Result<(), AccountError> {
        let uids = self.step("getresuid", nix::unistd::getresuid())?;
        let gids = self.step("getresgid", nix::unistd::getresgid())?;
        let held = uids.real == uid
            && uids.effective == uid
            && uids.saved == uid
            && gids.real == gid
            && gids.effective == gid
            && gids.saved == gid;
        if !held {
            return Err(self.failed("the ids are not what was set".into()));
        }
        if !uid.is_root() && nix::unistd::setuid(Uid::from_raw(0)).is_ok() {
            return Err(self.failed("root could be regained".into()));
        }
        Ok(())
    }

    fn step<T>(&self, call: &str, result: nix::Result<T>) -> Result<T, AccountError> {
        result.map_err(|error| self.failed(format!("{call}: {error}")))
    }

    fn failed(&self, what: String) -> AccountError {
        AccountError::Switch {
            name: self.name.clone(),
            uid: self.uid,
            what,
        }
    }
}

/// The group that terminals belong to, `tty`, where the machine has it.
pub fn terminal_group() -> Option<u32> {
    Group::from_name("tty")
        .ok()
        .flatten()
        .map(|group| group.gid.as_raw())
}

/// Whether this process runs as the superuser.
pub fn running_as_root() -> bool {
    Uid::effective().is_root()
}

//! Which accounts of the machine the parts run as, settled once at the start.

use std::collections::BTreeMap;
use std::io;

use caps::Capability;
use thiserror::Error;

use crate::config::Config;
use crate::sys::account::{Account, AccountError, running_as_root};
use crate::sys::process;

/// Whom the gate falls back to where its own account does not exist.
const NOBODY: &str = "nobody";

/// Why the configured accounts cannot be used.
#[derive(Debug, Error)]
pub enum AccountsError {
    /// One does not exist.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// Started without root, for somebody else.
    #[error(
        "the login name '{login}' stands for the account '{account}', but bastion was started by \
         '{own}' and cannot become another; start it as root, or say --login {login}={own}"
    )]
    NotOurs {
        /// The login name.
        login: String,
        /// Its account.
        account: String,
        /// The account that bastion runs as.
        own: String,
    },
    /// The gate would be somebody who logs in, or the superuser.
    #[error(
        "the network process cannot run as '{0}', which is the superuser or somebody who logs in; \
         make an account of its own (useradd --system bastion) and name it by gate_user"
    )]
    GateUser(String),
    /// Root without leave.
    #[error(
        "the login name '{login}' stands for the superuser's account '{account}'; name another, or \
         set permit_root_login = true in bastion.toml"
    )]
    Root {
        /// The login name.
        login: String,
        /// Its account.
        account: String,
    },
}

/// The accounts of the gate and of every login.
pub(super) struct Accounts {
    by_name: BTreeMap<String, Account>,
    gate: Option<Account>,
    as_root: bool,
}

impl Accounts {
    /// Looks up every account that the configuration names.
    pub(super) fn check(config: &Config) -> Result<Self, AccountsError> {
        let as_root = running_as_root();
        let own = Account::current()?;
        let mut by_name = BTreeMap::new();
        for (login, name) in &config.logins {
            let account = Account::by_name(name)?;
            if !as_root && account.uid != own.uid {
                let (login, account) = (login.clone(), name.clone());
                return Err(AccountsError::NotOurs {
                    login,
                    account,
                    own: own.name,
                });
            }
            if account.is_root() && !config.permit_root_login {
                return Err(AccountsError::Root {
                    login: login.clone(),
                    account: name.clone(),
                });
            }
            by_name.insert(name.clone(), account);
        }
        let gate = match as_root {
            true => {
                Some(Account::by_name(&config.gate_user).or_else(|_| Account::by_name(NOBODY))?)
            }
            false => None,
        };
        if let Some(gate) = &gate
            && (gate.is_root() || by_name.values().any(|account| account.uid == gate.uid))
        {
            return Err(AccountsError::GateUser(gate.name.clone()));
        }
        // An unprivileged process needs no group but its own.
        let gate = gate.map(|account| Account {
            groups: vec![account.gid],
            ..account
        });
        Ok(Self {
            by_name,
            gate,
            as_root,
        })
    }

    /// Whom the gate becomes; nobody else where bastion was not started as root.
    pub(super) fn gate(&self) -> Option<&Account> {
        self.gate.as_ref()
    }

    /// The account of this name, if a login stands for it.
    pub(super) fn by_name(&self, name: &str) -> Option<&Account> {
        self.by_name.get(name)
    }

    /// Whether the other parts have to become their accounts first.
    pub(super) fn as_root(&self) -> bool {
        self.as_root
    }

    /// Gives up every capability but those that starting and ending the other parts takes.
    pub(super) fn keep_few_capabilities(&self) -> io::Result<()> {
        process::keep_capabilities(&[
            Capability::CAP_SETUID,
            Capability::CAP_SETGID,
            Capability::CAP_KILL,
            // For the gate's empty root, wherever new privileges are forbidden to us.
            Capability::CAP_SYS_CHROOT,
        ])
    }
}

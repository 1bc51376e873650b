//! The environment of a program: that of a login, what the container passes on, what the client
//! may add.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::ipc::SessionSetup;
use crate::policy::wildcard::matches;

/// The most variables, and the most bytes of one, that a client may set.
const MAX_VARIABLES: usize = 128;
const MAX_VALUE: usize = 32 * 1024;

/// Where nobody says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// All variables of a program. `of_system` are those of /etc/environment, `terminal` is the value
/// of TERM and the terminal's path.
pub(super) fn for_program(
    setup: &SessionSetup,
    of_system: &[(String, String)],
    client: &[(String, String)],
    original_command: Option<&OsStr>,
    terminal: Option<(&str, &Path)>,
) -> Vec<(OsString, OsString)> {
    let mut all: BTreeMap<OsString, OsString> = BTreeMap::new();
    let mut set = |name: &str, value: OsString| {
        if is_c_string(&value) {
            all.insert(name.into(), value);
        }
    };
    // What the client asks for comes first, so that nothing it says stands in place of ours.
    for (name, value) in client.iter().take(MAX_VARIABLES) {
        if acceptable(&setup.config.accept_env, name) && value.len() <= MAX_VALUE {
            set(name, value.into());
        }
    }
    set("PATH", PATH.into());
    for (name, value) in of_system.iter().chain(&setup.config.environment) {
        set(name, value.into());
    }
    let account = &setup.account;
    set("HOME", account.home.clone().into());
    set("USER", account.name.clone().into());
    set("LOGNAME", account.name.clone().into());
    set("SHELL", account.shell.clone().into());
    let (peer, local) = (setup.peer, setup.local);
    let connection = format!(
        "{} {} {} {}",
        peer.ip(),
        peer.port(),
        local.ip(),
        local.port()
    );
    set("SSH_CONNECTION", connection.into());
    set(
        "SSH_CLIENT",
        format!("{} {} {}", peer.ip(), peer.port(), local.port()).into(),
    );
    if let Some(command) = original_command {
        set("SSH_ORIGINAL_COMMAND", command.into());
    }
    if let Some((term, path)) = terminal {
        // As sshd: without any a shell sets one.
        if !term.is_empty() {
            set("TERM", term.into());
        }
        set("SSH_TTY", path.into());
    }
    all.into_iter().collect()
}

/// Whether a client may set a variable: an ordinary name that the configuration lists, and
/// none that is known to steer the dynamic linker, a shell's start, or what an interpreter loads.
fn acceptable(accept_env: &[String], name: &str) -> bool {
    let ordinary = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let steering = [
        "LD_",
        "GLIBC_",
        "MALLOC_",
        "PYTHON",
        "PERL",
        "RUBY",
        "NODE_",
        "GIT_",
        "SSH_",
        "BASH_FUNC",
        "JAVA_",
        "JDK_JAVA_",
        "_JAVA_",
        "LUA_",
        "DOTNET_",
        "PHP",
        "OPENSSL_",
        "R_",
        "GEM_",
        "BUNDLE_",
        "NPM_CONFIG_",
        "npm_config_",
    ]
    .iter()
    .any(|prefix| name.starts_with(prefix) && name != "GIT_PROTOCOL")
        || matches!(
            name,
            "BASH_ENV"
                | "ENV"
                | "IFS"
                | "PATH"
                | "HOME"
                | "SHELL"
                | "SHELLOPTS"
                | "BASHOPTS"
                | "PROMPT_COMMAND"
                | "PS4"
                | "ZDOTDIR"
                | "GCONV_PATH"
                | "LOCPATH"
                | "NLSPATH"
                | "TMPDIR"
                | "USER"
                | "LOGNAME"
        );
    let named = !name.is_empty() && name.len() <= 256 && name.bytes().all(ordinary);
    named && !steering && accept_env.iter().any(|pattern| matches(pattern, name))
}

/// Whether a variable's value can be given to a program at all.
fn is_c_string(value: &OsStr) -> bool {
    !value.as_bytes().contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pattern_lets_the_linker_or_a_shell_be_steered() {
        let all = ["*".to_owned()];
        for name in [
            "LD_PRELOAD",
            "LD_LIBRARY_PATH",
            "BASH_ENV",
            "ENV",
            "PATH",
            "IFS",
            "JAVA_TOOL_OPTIONS",
            "_JAVA_OPTIONS",
            "LUA_INIT",
            "DOTNET_STARTUP_HOOKS",
            "PHPRC",
            "OPENSSL_CONF",
            "A=B",
            "",
            "A B",
        ] {
            assert!(!acceptable(&all, name), "{name}");
        }
        assert!(acceptable(&all, "GIT_PROTOCOL"));
        assert!(!acceptable(&[], "LANG"));
    }
}

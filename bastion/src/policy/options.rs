//! What a certificate's critical options and extensions mean.
//!
//! draft-ietf-sshm-cert, formerly PROTOCOL.certkeys, "Critical options" and "Extensions"; verify-required
//! is described in OpenSSH's PROTOCOL.u2f.

use serde::{Deserialize, Serialize};

use super::certificate::NamedData;
use super::refusal::Refusal;
use super::source_address::SourceAddresses;
use super::wire::{Reader, WireError};

/// What limits a certificate's use. All of it is understood, or there is no value of this type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CriticalOptions {
    pub(super) force_command: Option<String>,
    pub(super) source_address: Option<SourceAddresses>,
    pub(super) verify_required: bool,
}

impl CriticalOptions {
    pub(super) fn read(options: &[NamedData]) -> Result<Self, Refusal> {
        let mut read = Self::default();
        for NamedData { name, data } in options {
            let malformed = |problem| malformed(name, problem);
            match name.as_str() {
                "force-command" => {
                    read.force_command = Some(force_command(data).map_err(malformed)?);
                }
                "source-address" => {
                    let list = packed_text(data, "address list").map_err(malformed)?;
                    let list = SourceAddresses::parse(list).map_err(malformed)?;
                    read.source_address = Some(list);
                }
                "verify-required" => {
                    no_data(name, data)?;
                    read.verify_required = true;
                }
                _ => return Err(Refusal::UnknownCriticalOption { name: name.clone() }),
            }
        }
        Ok(read)
    }
}

/// What somebody permits: a certificate by its extensions, the configuration, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permits {
    /// Terminals.
    pub pty: bool,
    /// Forwarding of ports and sockets, either way.
    pub port_forwarding: bool,
    /// Forwarding of the user's authentication agent.
    pub agent_forwarding: bool,
}

impl Permits {
    /// Everything.
    pub const ALL: Self = Self {
        pty: true,
        port_forwarding: true,
        agent_forwarding: true,
    };

    /// What both permit.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            pty: self.pty && other.pty,
            port_forwarding: self.port_forwarding && other.port_forwarding,
            agent_forwarding: self.agent_forwarding && other.agent_forwarding,
        }
    }
}

/// A certificate's extensions. Absent means no.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extensions {
    pub(super) permits: Permits,
    pub(super) no_touch_required: bool,
}

impl Extensions {
    /// As OpenSSH does, refuses a certificate whose known extension has data: whoever put it there
    /// meant something that is not understood.
    pub(super) fn read(extensions: &[NamedData]) -> Result<Self, Refusal> {
        let mut read = Self::default();
        for NamedData { name, data } in extensions {
            match name.as_str() {
                "permit-pty" => read.permits.pty = true,
                "permit-port-forwarding" => read.permits.port_forwarding = true,
                "permit-agent-forwarding" => read.permits.agent_forwarding = true,
                "no-touch-required" => read.no_touch_required = true,
                // Known, so checked, and never granted: there is no X11 here, and no ~/.ssh/rc.
                "permit-X11-forwarding" | "permit-user-rc" => {}
                _ => continue,
            }
            no_data(name, data)?;
        }
        Ok(read)
    }
}

fn force_command(data: &[u8]) -> Result<String, String> {
    let command = packed_text(data, "command")?;
    if command.is_empty() {
        return Err("its command is empty".to_owned());
    }
    // It could not be handed to a program, but for the part before it.
    if command.contains('\0') {
        return Err("its command contains a NUL".to_owned());
    }
    Ok(command.to_owned())
}

/// The data of these options is itself a `string`, inside the `string` that every option's data is.
fn packed_text<'a>(data: &'a [u8], what: &'static str) -> Result<&'a str, String> {
    let read = || {
        let mut reader = Reader::new(data);
        let text = reader.text(what)?;
        reader.finish(what)?;
        Ok(text)
    };
    read().map_err(|error: WireError| error.to_string())
}

fn no_data(name: &str, data: &[u8]) -> Result<(), Refusal> {
    if data.is_empty() {
        return Ok(());
    }
    let problem = format!("it takes no data and has {} bytes of it", data.len());
    Err(malformed(name, problem))
}

fn malformed(name: &str, problem: String) -> Refusal {
    Refusal::MalformedOption {
        name: name.to_owned(),
        problem,
    }
}

//! What is measured, a file for each.

mod bare_exchange;
mod command;
mod forwarding;
mod growth;
mod handshake;
mod host_keys;
mod keystroke;
mod logins;
mod memory;
mod primitives;
mod sftp;
mod start;
mod throughput;

use clap::ValueEnum;

use crate::report::Report;
use crate::subject::Bench;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Measure {
    /// Processor time of a login by certificate
    Handshake,
    /// Logins a second, with 1 to 64 clients
    Logins,
    /// Login, `true`, exit
    Command,
    /// Memory of idle sessions
    Memory,
    /// Bytes through a command, down and up
    Throughput,
    /// Files
    Sftp,
    /// A forwarded TCP port
    Forwarding,
    /// From a key pressed to its echo
    Keystroke,
    /// From start to listening and to the first login
    Start,
    /// The same login with other kinds of host key
    HostKeys,
    /// Logins beside 10 to 4,000 open sessions
    Growth,
}

impl Measure {
    pub(crate) const ALL: [Self; 11] = [
        Self::Handshake,
        Self::Logins,
        Self::Command,
        Self::Memory,
        Self::Throughput,
        Self::Sftp,
        Self::Forwarding,
        Self::Keystroke,
        Self::Start,
        Self::HostKeys,
        Self::Growth,
    ];

    pub(crate) fn run(self, bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
        match self {
            Self::Handshake => handshake::measure(bench, report),
            Self::Logins => logins::measure(bench, report),
            Self::Command => command::measure(bench, report),
            Self::Memory => memory::measure(bench, report),
            Self::Throughput => throughput::measure(bench, report),
            Self::Sftp => sftp::measure(bench, report),
            Self::Forwarding => forwarding::measure(bench, report),
            Self::Keystroke => keystroke::measure(bench, report),
            Self::Start => start::measure(bench, report),
            Self::HostKeys => host_keys::measure(bench, report),
            Self::Growth => growth::measure(bench, report),
        }
    }
}

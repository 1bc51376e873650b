//! What is measured: one server or two, in turns.

use std::path::PathBuf;

use crate::accounting::Group;
use crate::fixture::Fixture;
use crate::server::{self, Kind, Server};

/// A run of this program.
pub(crate) struct Bench {
    pub(crate) fixture: Fixture,
    pub(crate) bastion: PathBuf,
    pub(crate) quick: bool,
    without_sshd: bool,
}

/// A value for bastion and, where it is there and took part, for sshd.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rounds {
    pub(crate) bastion: Vec<f64>,
    pub(crate) sshd: Vec<f64>,
}

impl Bench {
    pub(crate) fn new(bastion: PathBuf, quick: bool, without_sshd: bool) -> anyhow::Result<Self> {
        let fixture = Fixture::new()?;
        if !without_sshd && !server::has_sshd() {
            eprintln!("sshd is not installed: bastion is measured alone");
        }
        Ok(Self {
            fixture,
            bastion,
            quick,
            without_sshd,
        })
    }

    pub(crate) fn with_sshd(&self) -> bool {
        !self.without_sshd && server::has_sshd()
    }

    pub(crate) fn has_groups(&self) -> bool {
        Group::new("try").is_some()
    }

    /// A number of things to do: few in a smoke run.
    pub(crate) fn count(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }

    pub(crate) fn start(&self, kind: Kind) -> anyhow::Result<Server> {
        Server::start(kind, &self.bastion, &self.fixture)
    }

    /// Fresh servers of each kind.
    pub(crate) fn servers(&self) -> anyhow::Result<Vec<Server>> {
        let mut servers = vec![self.start(Kind::Bastion)?];
        if self.with_sshd() {
            servers.push(self.start(Kind::Sshd)?);
        }
        Ok(servers)
    }

    /// Measures each server in turns, round after round, `N` values at a time.
    pub(crate) fn in_turns<const N: usize>(
        &self,
        servers: &[Server],
        rounds: usize,
        mut measure: impl FnMut(&Server) -> anyhow::Result<[f64; N]>,
    ) -> anyhow::Result<[Rounds; N]> {
        let mut all: [Rounds; N] = std::array::from_fn(|_| Rounds::default());
        for _ in 0..self.count(rounds, 1) {
            for server in servers {
                for (rounds, value) in all.iter_mut().zip(measure(server)?) {
                    rounds.of(server.kind).push(value);
                }
            }
        }
        Ok(all)
    }
}

impl Rounds {
    pub(crate) fn of(&mut self, kind: Kind) -> &mut Vec<f64> {
        match kind {
            Kind::Bastion => &mut self.bastion,
            Kind::Sshd => &mut self.sshd,
        }
    }

    /// bastion's value in terms of sshd's of the same round.
    pub(crate) fn ratios(&self) -> Vec<f64> {
        self.bastion
            .iter()
            .zip(&self.sshd)
            .map(|(ours, theirs)| ours / theirs)
            .collect()
    }
}

//! What is listened at for a connection (RFC 4254 §7.1), by the numbers that the session knows it by.

use std::collections::HashMap;

use crate::ipc::{ListenAddress, ListenerNumber};

#[derive(Default)]
pub(super) struct Listeners {
    by_number: HashMap<ListenerNumber, ListenAddress>,
    last: ListenerNumber,
}

impl Listeners {
    /// A number for this one, unless it is there already.
    pub(super) fn add(&mut self, at: ListenAddress) -> Option<ListenerNumber> {
        if self.has(&at) {
            return None;
        }
        self.last += 1;
        self.by_number.insert(self.last, at);
        Some(self.last)
    }

    /// Port 0 turned out to be this one, by which the client will call it from now on.
    pub(super) fn set_port(&mut self, number: ListenerNumber, allocated: u16) {
        if let Some(ListenAddress::Tcp { port, .. }) = self.by_number.get_mut(&number) {
            *port = allocated.into();
        }
    }

    pub(super) fn remove(&mut self, at: &ListenAddress) -> Option<ListenerNumber> {
        let found = self.by_number.iter().find(|(_, other)| *other == at);
        let number = found.map(|(&number, _)| number)?;
        self.by_number.remove(&number);
        Some(number)
    }

    pub(super) fn get(&self, number: ListenerNumber) -> Option<&ListenAddress> {
        self.by_number.get(&number)
    }

    pub(super) fn has(&self, at: &ListenAddress) -> bool {
        self.by_number.values().any(|other| other == at)
    }
}

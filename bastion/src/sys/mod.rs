//! System calls behind safe functions: the only module of this crate that allows `unsafe`.
//!
//! Every descriptor made here is an [`std::os::fd::OwnedFd`] with close-on-exec; what a child is
//! to inherit is named when it is spawned.
#![allow(unsafe_code)]

pub mod account;
pub mod clock;
pub mod files;
pub mod network;
pub mod process;
pub mod pty;
pub mod read;
pub mod readiness;
pub mod relay;
pub mod resolver;
pub mod sandbox;
pub mod scheduling;
pub mod signals;
pub mod socket;
pub mod spawn;

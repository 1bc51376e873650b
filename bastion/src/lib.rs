//! bastion: an SSH server that lets in nobody but holders of a user certificate signed by the
//! Pomerium User CA.
//!
//! The parts, in the order in which data meets them:
//!
//! | module | process | what it does |
//! | --- | --- | --- |
//! | [`config`] | | `bastion.toml` and the command line, checked |
//! | [`gate`] | the gate, unprivileged and fenced in | TCP, SSH, authentication, channels |
//! | [`policy`] | gate and monitor | who may log in, and to what: pure |
//! | [`monitor`] | the monitor, trusted | decides again, starts the others, writes the log |
//! | [`session`] | one for each connection, as the account | programs, terminals, environment, what is forwarded |
//! | [`sftp`] | a program of a session | file transfer |
//! | [`ipc`] | | what the parts say to each other |
//! | [`healthcheck`] | | asks a running server whether it is well |
//! | [`sys`] | | system calls; the only module with `unsafe` |
#![deny(unsafe_code)]

pub mod config;
pub mod gate;
pub mod healthcheck;
pub mod ipc;
pub mod monitor;
pub mod policy;
pub mod session;
pub mod sftp;
pub mod sys;

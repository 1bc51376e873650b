//! SSH keys and certificates for bastion and for Pomerium in front of it.
//!
//! Pure, from the inside out:
//! - [`openssh`]: OpenSSH's text forms of keys
//! - [`generate`]: fresh keys
//! - [`validity`], [`certificate`]: what a CA says about a key, signed
//! - [`inspect`]: what a key or certificate says, for people
//!
//! With files:
//! - [`file`](mod@file): reading with the checks that a key deserves, writing that never overwrites
//! - [`pair`]: a private key and its public key side by side
//! - [`host_keys`]: an SSH server's three, for bastion itself and for Pomerium
//! - [`pomerium`]: what Pomerium needs, and the certificate that it makes
//! - [`sandbox`]: the keys between OpenClaw and the sandbox of its subagents
//! - [`trusted_ca`]: the CA's public key where bastion reads it
//!
//! The program `bastion-keygen` is a command line around these.

#![forbid(unsafe_code)]

pub mod certificate;
pub mod file;
pub mod generate;
pub mod host_keys;
pub mod inspect;
pub mod openssh;
pub mod pair;
pub mod pomerium;
pub mod sandbox;
pub mod trusted_ca;
pub mod validity;

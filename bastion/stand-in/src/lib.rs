//! A double of Pomerium's SSH proxy, for trying and testing `bastion` without Pomerium: it mints
//! the certificates that Pomerium mints, and is as strict towards the server behind it.
//!
//! It has its own SSH, both roles, so that its transport is not that of the server under test
//! (russh), and it can send anything. From the bottom up:
//! - [`wire`], [`message`]: data types, message numbers
//! - [`transport`]: packets and keys
//! - [`signing`], [`authentication`]: who one is
//! - [`strict`]: what Pomerium does not forgive a server
//! - [`upstream`]: Pomerium's client; [`downstream`]: its server; [`proxy`]: the two together
//! - [`client`]: a client for tests, which may also misbehave

#![forbid(unsafe_code)]

pub mod authentication;
pub mod client;
pub mod downstream;
pub mod message;
pub mod proxy;
pub mod signing;
pub mod strict;
pub mod transport;
pub mod upstream;
pub mod wire;

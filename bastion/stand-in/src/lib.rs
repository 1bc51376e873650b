//! A double of Pomerium's SSH proxy.
pub mod message;
pub mod strict;
pub mod transport;
pub mod wire;

//! The library `keys` and the program `bastion-keygen` beside the real ssh-keygen: each reads
//! what the other makes.
#![cfg(test)]

mod certificate;
mod damaged_certificate;
mod inspect;
mod issue;
mod make;
mod owner;
mod private_key;
mod public_keys;
mod reference;
mod sandbox;
mod show;
mod trusted_ca;

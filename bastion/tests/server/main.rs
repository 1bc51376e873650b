//! bastion as its users meet it: the real binary, the real `ssh`.

#[path = "../support/mod.rs"]
mod support;

mod accounting;
mod administration;
mod authentication;
mod environment;
mod hangup;
mod isolation;
mod programs;
mod terminal;

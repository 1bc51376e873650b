//! Forwarding as its users meet it: the real binary, the real `ssh`, services and clients of ours.
#![allow(unreachable_pub, reason = "a test binary exports nothing")]

#[path = "../support/mod.rs"]
mod support;

mod agent;
mod direct;
mod flow;
mod master;
mod multiplexing;
mod permissions;
mod remote;
mod services;

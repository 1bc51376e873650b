//! `pomerium-stand-in`: see `--help`.

#![forbid(unsafe_code)]

use anyhow::Context;
use clap::Parser;
use pomerium_stand_in::proxy::{self, Report, Route, Settings};
use pomerium_stand_in::transport::{Cipher, Config, HostKeys, KexMethod, MAX_PACKET_LENGTH, Mac};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// A double of Pomerium's SSH proxy: log in with `ssh LOGIN@ROUTE@127.0.0.1 -p 2200`.
///
/// Users need no account. Towards the route's server it does what Pomerium does: it presents a
/// fresh certificate for LOGIN, signed by the User CA, and ends the connection when the server
/// breaks one of Pomerium's rules, which it then prints.
#[derive(Parser)]
struct Arguments {
    /// Where to listen; with port 0, any free port.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:2200")]
    listen: String,
    /// Private host keys in OpenSSH's format, in Pomerium's order. They are shown to users, and
    /// their types are what the server's host key may be of.
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    host_key: Vec<PathBuf>,
    /// The Pomerium User CA's private key.
    #[arg(long, value_name = "FILE")]
    user_ca_key: PathBuf,
    /// A server that users can reach.
    #[arg(long, value_name = "NAME=HOST:PORT", required = true, num_args = 1..)]
    route: Vec<Route>,
    /// Offer the server this cipher only; may be repeated.
    #[arg(long, value_name = "NAME")]
    cipher: Vec<Cipher>,
    /// Offer the server this key exchange method only; may be repeated.
    #[arg(long, value_name = "NAME")]
    kex: Vec<KexMethod>,
    /// Offer the server this MAC only; may be repeated.
    #[arg(long, value_name = "NAME")]
    mac: Vec<Mac>,
    /// Start a key exchange with the server after so many bytes in a direction (at least 256).
    #[arg(long, value_name = "BYTES")]
    rekey_after: Option<u64>,
    /// Take no larger packet_length from the server: 16384 finds the packets that stall Pomerium
    /// v0.32.
    #[arg(long, value_name = "BYTES", default_value_t = MAX_PACKET_LENGTH)]
    max_packet_length: u32,
    /// Let users in at once, with no key and no questions (for `ssh -o BatchMode=yes`).
    #[arg(long)]
    accept_none: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let settings = Arc::new(settings(&arguments)?);
    let listener = TcpListener::bind(&arguments.listen)
        .await
        .with_context(|| format!("cannot listen on {}", arguments.listen))?;
    let address = listener.local_addr()?;
    writeln!(std::io::stdout(), "listening on {address}")?;
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        () = proxy::serve(listener, settings) => {}
        _ = terminated.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(())
}

fn settings(arguments: &Arguments) -> anyhow::Result<Settings> {
    let read = |path: &PathBuf| keys::file::read_private_key(path);
    let host_keys = arguments
        .host_key
        .iter()
        .map(read)
        .collect::<Result<Vec<_>, _>>()?;
    let host_keys = Arc::new(HostKeys::new(host_keys));
    let mut upstream = Config::client(host_keys.algorithms());
    if !arguments.cipher.is_empty() {
        upstream.offer.restrict_ciphers(&arguments.cipher);
    }
    if !arguments.kex.is_empty() {
        upstream.offer.restrict_kex(&arguments.kex);
    }
    if !arguments.mac.is_empty() {
        upstream.offer.restrict_macs(&arguments.mac);
    }
    upstream.rekey_after = arguments.rekey_after.map(|bytes| bytes.max(256));
    upstream.max_packet_length = arguments.max_packet_length;
    Ok(Settings {
        routes: arguments.route.clone(),
        host_keys,
        user_ca_key: Arc::new(read(&arguments.user_ca_key)?),
        upstream,
        accept_none: arguments.accept_none,
        report: Box::new(print),
    })
}

fn print(report: &Report) {
    let mark = if report.violation.is_some() {
        "VIOLATION "
    } else {
        ""
    };
    // Nobody may be reading; that is no reason to stop.
    writeln!(std::io::stderr(), "{mark}{}: {}", report.peer, report.text).unwrap_or_default();
}

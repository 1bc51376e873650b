//! A forwarded TCP port (`ssh -L`) to an echo on this machine.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::openssh;
use crate::report::{Report, Target};
use crate::server::Server;
use crate::subject::Bench;

const ROUNDS: usize = 5;
/// No answer takes this long.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let echo = start_echo()?;
    let servers = bench.servers()?;
    for server in &servers {
        if Forwarding::start(bench, server, echo)
            .and_then(|forwarding| forwarding.connect_once())
            .is_err()
        {
            eprintln!("  {:?} forwards nothing: left out", server.kind);
            return Ok(());
        }
    }
    let (bytes, connections) = (bench.count(512 << 20, 1 << 20), bench.count(1000, 10));
    let [speed, rate] = bench.in_turns(&servers, ROUNDS, |server| {
        let forwarding = Forwarding::start(bench, server, echo)?;
        let took = forwarding.there_and_back(bytes)?;
        let started = Instant::now();
        for _ in 0..connections {
            forwarding.connect_once()?;
        }
        let mebibytes = bytes as f64 / f64::from(1 << 20);
        Ok([
            mebibytes / took,
            connections as f64 / started.elapsed().as_secs_f64(),
        ])
    })?;
    report.add(
        "forwarded TCP, there and back",
        "MiB/s",
        speed,
        Target::AtLeast(1.0),
    );
    report.add(
        "forwarded TCP, connections one after another",
        "1/s",
        rate,
        Target::AtLeast(1.0),
    );
    Ok(())
}

/// Sends back what it gets, for as long as this program runs.
fn start_echo() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let (mut from, mut to) = (&stream, &stream);
                // The other end may go when it likes.
                let _gone = std::io::copy(&mut from, &mut to);
                let _gone = stream.shutdown(Shutdown::Write);
            });
        }
    });
    Ok(address)
}

/// `ssh -L`, until it is dropped.
struct Forwarding {
    ssh: Child,
    address: SocketAddr,
}

impl Forwarding {
    fn start(bench: &Bench, server: &Server, to: SocketAddr) -> anyhow::Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = openssh::client("ssh", bench, server);
        command.args(["-N", "-L", &format!("{address}:{to}"), "127.0.0.1"]);
        let forwarding = Self {
            ssh: command.spawn()?,
            address,
        };
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            if started.elapsed() > PATIENCE {
                bail!("ssh does not listen");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(forwarding)
    }

    fn connect(&self) -> anyhow::Result<TcpStream> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    fn connect_once(&self) -> anyhow::Result<()> {
        let mut stream = self.connect()?;
        stream.write_all(b"x")?;
        Ok(stream.read_exact(&mut [0])?)
    }

    /// Seconds until so many bytes have come back.
    fn there_and_back(&self, bytes: usize) -> anyhow::Result<f64> {
        let mut stream = self.connect()?;
        let mut sender = stream.try_clone()?;
        let started = Instant::now();
        let sending = std::thread::spawn(move || {
            let chunk = vec![0; 64 * 1024];
            (0..bytes / chunk.len()).try_for_each(|_| sender.write_all(&chunk))
        });
        let mut chunk = vec![0; 64 * 1024];
        for _ in 0..bytes / chunk.len() {
            stream.read_exact(&mut chunk)?;
        }
        let took = started.elapsed().as_secs_f64();
        match sending.join() {
            Ok(sent) => sent?,
            Err(_) => bail!("the sending thread panicked"),
        }
        Ok(took)
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        // It may be gone by itself.
        let _gone = self.ssh.kill();
        let _gone = self.ssh.wait();
    }
}

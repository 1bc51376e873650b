//! What the system itself takes for a login: the packets of one over a bare socket, with nothing
//! computed and nobody asked.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::bail;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// As often as each side has its turn in a login by certificate, from the version to the last word.
const TURNS: usize = 9;
/// About as much as is said at a time.
const PACKET: [u8; 256] = [7; 256];
/// No answer takes this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Milliseconds of processor time, of the serving side, for each of so many connections.
pub(super) fn cpu_of_each(connections: usize) -> anyhow::Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let client = std::thread::spawn(move || (0..connections).try_for_each(|_| visit(address)));
    let before = cpu_of_this_thread()?;
    for _ in 0..connections {
        serve(&listener.accept()?.0)?;
    }
    let took = cpu_of_this_thread()? - before;
    match client.join() {
        Ok(visited) => visited?,
        Err(_) => bail!("the client's thread panicked"),
    }
    Ok(took as f64 / connections as f64 / 1e3)
}

/// The server has the first word and the client the last one, which is that it goes.
fn serve(mut stream: &TcpStream) -> std::io::Result<()> {
    prepare(stream)?;
    let mut packet = PACKET;
    for _ in 0..TURNS {
        stream.write_all(&PACKET)?;
        if stream.read(&mut packet)? == 0 {
            break;
        }
    }
    Ok(())
}

fn visit(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    prepare(&stream)?;
    let mut packet = PACKET;
    for turn in 1..=TURNS {
        stream.read_exact(&mut packet)?;
        if turn < TURNS {
            stream.write_all(&PACKET)?;
        }
    }
    Ok(())
}

fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))
}

/// In microseconds.
fn cpu_of_this_thread() -> nix::Result<i64> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD)?;
    Ok((usage.user_time() + usage.system_time()).num_microseconds())
}

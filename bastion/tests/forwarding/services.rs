//! Services and clients at both ends of a forwarded connection. No wait of theirs is without limit.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::support::LIMIT;

/// What a stream of either kind can do.
pub trait Stream: Read + Write + Send + Sized + 'static {
    fn finish_writing(&self) -> io::Result<()>;
    fn limit(&self) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn finish_writing(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn limit(&self) -> io::Result<()> {
        self.set_read_timeout(Some(LIMIT))?;
        self.set_write_timeout(Some(LIMIT))
    }
}

impl Stream for UnixStream {
    fn finish_writing(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn limit(&self) -> io::Result<()> {
        self.set_read_timeout(Some(LIMIT))?;
        self.set_write_timeout(Some(LIMIT))
    }
}

/// A TCP service on loopback that does this with each connection.
pub fn tcp_service(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            thread::spawn(move || {
                stream.limit().unwrap();
                serve(stream);
            });
        }
    });
    address
}

/// The same at a path.
pub fn unix_service(path: &Path, serve: impl Fn(UnixStream) + Clone + Send + 'static) {
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            thread::spawn(move || {
                stream.limit().unwrap();
                serve(stream);
            });
        }
    });
}

/// Reads to the end, and only then answers: with all of it, backwards.
pub fn answer_backwards(mut stream: impl Stream) {
    let mut all = Vec::new();
    if stream.read_to_end(&mut all).is_ok() {
        all.reverse();
        // A client that is gone wants no answer.
        let _gone = stream.write_all(&all);
    }
}

/// Says hello and finishes writing; then reads to the end, and tells how much that was.
pub fn greet_and_count() -> (impl Fn(TcpStream) + Clone + Send + 'static, Receiver<usize>) {
    let (tell, told): (Sender<usize>, _) = channel();
    let serve = move |mut stream: TcpStream| {
        stream.write_all(b"hello").unwrap();
        stream.finish_writing().unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        tell.send(all.len()).unwrap();
    };
    (serve, told)
}

/// Sends a question, says that this is all, and reads the answer.
pub fn ask(stream: impl Stream, question: &[u8]) -> Vec<u8> {
    try_ask(stream, question).unwrap()
}

pub fn try_ask(mut stream: impl Stream, question: &[u8]) -> io::Result<Vec<u8>> {
    stream.limit()?;
    stream.write_all(question)?;
    stream.finish_writing()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

pub fn ask_unix(path: &Path, question: &[u8]) -> Vec<u8> {
    ask(UnixStream::connect(path).unwrap(), question)
}

/// Whether a forwarded socket leads to [`answer_backwards`].
pub fn leads_there(path: &Path) -> bool {
    let stream = UnixStream::connect(path).unwrap();
    try_ask(stream, b"there").is_ok_and(|answer| answer == b"ereht")
}

/// Bytes that are not all the same.
pub fn pattern(length: usize) -> Vec<u8> {
    (0_u32..)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .take(length)
        .collect()
}

//! What russh's server does for each packet, counted where its stream is called.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use russh::keys::{Algorithm, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::server::{Auth, ChannelOpenHandle, Handle, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelMsg, Error, Preferred, client, kex, server};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    for kex in [kex::MLKEM768X25519_SHA256, kex::CURVE25519] {
        key_exchange(kex).await;
    }
    reads_for_each_packet().await;
    a_channel_that_nobody_reads().await;
    output_put_together().await;
}

async fn key_exchange(kex: kex::Name) {
    let mut all = Vec::new();
    for _ in 0..200 {
        all.push(Connection::open(kex).await.took);
    }
    all.sort();
    println!(
        "{}: {:?} for both sides' key exchange",
        kex.as_ref(),
        all[100]
    );
}

async fn reads_for_each_packet() {
    // Fewer than a channel holds unread.
    const PACKETS: usize = 90;
    let connection = Connection::open(kex::CURVE25519).await;
    let channel = connection.channel().await;
    let before = connection.counts.reads.load(Relaxed);
    for _ in 0..PACKETS {
        channel.make_writer().write_all(&[0; 1000]).await.unwrap();
    }
    channel.eof().await.unwrap();
    while connection.server.ended.load(Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let reads = connection.counts.reads.load(Relaxed) - before;
    println!("{reads} reads for {PACKETS} packets that were there to be read");
    channel.close().await.unwrap();
}

/// Its window is granted again when data arrive, not when they are taken: once the queue between
/// is full, the connection is not read any more, for no channel.
async fn a_channel_that_nobody_reads() {
    let connection = Connection::open(kex::CURVE25519).await;
    let channel = connection.channel().await;
    let taken = Arc::<AtomicUsize>::default();
    let count = taken.clone();
    let flood = tokio::spawn(async move {
        let mut writer = channel.make_writer();
        while writer.write_all(&[0; 32 * 1024]).await.is_ok() {
            count.fetch_add(32, Relaxed);
        }
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    let window = server::Config::default().window_size / 1024;
    let taken = taken.load(Relaxed);
    println!("{taken} KiB taken for a channel that nobody reads, with a window of {window} KiB");
    let another = connection.client.channel_open_session();
    let opens = tokio::time::timeout(Duration::from_secs(3), another)
        .await
        .is_ok();
    println!("another channel of the same connection opens meanwhile: {opens}");
    flood.abort();
}

async fn output_put_together() {
    let connection = Connection::open(kex::CURVE25519).await;
    let mut channel = connection.channel().await;
    let (handle, id) = connection.server.handle.lock().unwrap().clone().unwrap();
    tokio::spawn(async move {
        for _ in 0..200 {
            let _closed = handle.data(id, vec![0; 32 * 1024]).await;
        }
    });
    let mut received = 0;
    while received < 200 * 32 * 1024 {
        if let Some(ChannelMsg::Data { data }) = channel.wait().await {
            received += data.len();
        }
    }
    let most = connection.counts.largest_write.load(Relaxed) / 1024;
    println!("{most} KiB of output are encrypted before the first of them is written");
}

struct Connection {
    client: client::Handle<Client>,
    server: Server,
    counts: Arc<Counts>,
    took: Duration,
}

impl Connection {
    async fn open(kex: kex::Name) -> Self {
        let (here, there) = tokio::io::duplex(64 << 20);
        let (counts, server) = (Arc::<Counts>::default(), Server::default());
        let key = || PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap();
        let config = server::Config {
            keys: vec![key()],
            event_buffer_size: 64,
            ..Default::default()
        };
        let (stream, handler) = (Counted(there, counts.clone()), server.clone());
        tokio::spawn(async move {
            let running = server::run_stream(Arc::new(config), stream, handler).await;
            let _ended = running.unwrap().await;
        });
        let config = client::Config {
            preferred: Preferred {
                kex: vec![kex].into(),
                ..Default::default()
            },
            ..Default::default()
        };
        let started = Instant::now();
        let mut client = client::connect_stream(Arc::new(config), here, Client)
            .await
            .unwrap();
        let took = started.elapsed();
        let user = PrivateKeyWithHashAlg::new(Arc::new(key()), None);
        assert!(
            client
                .authenticate_publickey("user", user)
                .await
                .unwrap()
                .success()
        );
        Self {
            client,
            server,
            counts,
            took,
        }
    }

    async fn channel(&self) -> Channel<client::Msg> {
        self.client.channel_open_session().await.unwrap()
    }
}

/// Accepts everybody, and takes nothing from a channel.
#[derive(Clone, Default)]
struct Server {
    handle: Arc<Mutex<Option<(Handle, ChannelId)>>>,
    open: Arc<Mutex<Vec<Channel<Msg>>>>,
    ended: Arc<AtomicUsize>,
}

impl server::Handler for Server {
    type Error = Error;

    async fn auth_publickey(&mut self, _: &str, _: VerifiedPublicKey<'_>) -> Result<Auth, Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Error> {
        *self.handle.lock().unwrap() = Some((session.handle(), channel.id()));
        self.open.lock().unwrap().push(channel);
        reply.accept().await;
        Ok(())
    }

    async fn channel_eof(&mut self, _: ChannelId, _: &mut Session) -> Result<(), Error> {
        self.ended.fetch_add(1, Relaxed);
        Ok(())
    }
}

struct Client;

impl client::Handler for Client {
    type Error = Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Error> {
        Ok(true)
    }
}

#[derive(Default)]
struct Counts {
    reads: AtomicUsize,
    largest_write: AtomicUsize,
}

/// The server's stream.
struct Counted(DuplexStream, Arc<Counts>);

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let polled = Pin::new(&mut self.0).poll_read(cx, to);
        self.1
            .reads
            .fetch_add(usize::from(polled.is_ready()), Relaxed);
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.1.largest_write.fetch_max(from.len(), Relaxed);
        Pin::new(&mut self.0).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

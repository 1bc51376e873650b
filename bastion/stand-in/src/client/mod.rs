//! A client for tests: does what a test says, message by message or as a whole, keeps the books of
//! windows, and holds the server to Pomerium's rules unless told otherwise.
//!
//! ```no_run
//! # async fn example(key: ssh_key::PrivateKey, certificate: Vec<u8>) -> Result<(), pomerium_stand_in::client::Error> {
//! use pomerium_stand_in::client::{Client, Options};
//! let mut client = Client::connect("127.0.0.1:2222", Options::pomerium()).await?;
//! client.authenticate("claw", &key, &certificate).await?.success()?;
//! let output = client.exec("id -un").await?;
//! assert_eq!((output.stdout.as_slice(), output.exit_status), (&b"claw\n"[..], Some(0)));
//! # Ok(()) }
//! ```

mod bulk;
mod channel;
mod login;
mod options;

pub use bulk::Output;
pub use channel::{ChannelEvent, OpenFailure};
pub use login::Authentication;
pub use options::Options;

use crate::message::{
    Disconnect, SSH_MSG_CHANNEL_FAILURE, SSH_MSG_CHANNEL_OPEN, SSH_MSG_CHANNEL_OPEN_CONFIRMATION,
    SSH_MSG_DEBUG, SSH_MSG_DISCONNECT, SSH_MSG_EXT_INFO, SSH_MSG_GLOBAL_REQUEST, SSH_MSG_IGNORE,
    SSH_MSG_REQUEST_FAILURE, SSH_MSG_REQUEST_SUCCESS, SSH_MSG_UNIMPLEMENTED,
    SSH_MSG_USERAUTH_BANNER, SSH2_MSG_PING, SSH2_MSG_PONG, describe, name,
};
use crate::strict::{ServerRules, Verdict, Violation};
use crate::transport::{self, EXT_INFO, Event, Forgery, Role, Transport};
use crate::upstream::ping_extension;
use crate::wire::{Malformed, Reader, Writer};
use bytes::Bytes;
use channel::Channel;
use std::collections::{BTreeMap, VecDeque};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::time::timeout;

/// What went wrong, or what the server did.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Of the transport: violations, SSH_MSG_DISCONNECT, a closed connection.
    #[error(transparent)]
    Transport(#[from] transport::Error),
    /// The server sent more data than a window or a maximum packet size allows.
    #[error("channel {channel}: {sent} bytes of data, allowed were {allowed}")]
    Window {
        /// Our number.
        channel: u32,
        /// Bytes in the message.
        sent: u64,
        /// Bytes left in the window, or the maximum packet size.
        allowed: u64,
    },
    /// The server refused a channel.
    #[error("the server refused the channel: {0}")]
    OpenFailure(OpenFailure),
    /// The server refused a request that the method depends on.
    #[error("the server refused {0:?}")]
    Refused(String),
    /// The user is not authenticated.
    #[error("not authenticated: {0:?}")]
    Unauthenticated(Authentication),
    /// A message that the method did not wait for.
    #[error("unexpected message: {}", describe(*.0))]
    Unexpected(u8),
    /// No such channel.
    #[error("there is no channel {0}")]
    NoChannel(u32),
}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Self::Transport(violation.into())
    }
}

impl Error {
    /// The rule that the server broke, if that is what happened.
    pub fn violation(&self) -> Option<&Violation> {
        match self {
            Self::Transport(transport::Error::Violation(violation)) => Some(violation),
            _ => None,
        }
    }

    /// The server's SSH_MSG_DISCONNECT, if that is what happened.
    pub fn disconnect(&self) -> Option<&Disconnect> {
        match self {
            Self::Transport(transport::Error::Disconnected(disconnect)) => Some(disconnect),
            _ => None,
        }
    }
}

/// A connection to a server.
pub struct Client {
    transport: Transport,
    rules: Option<ServerRules>,
    options: Options,
    banners: Vec<String>,
    extensions: BTreeMap<String, Vec<u8>>,
    channels: BTreeMap<u32, Channel>,
    next_channel: u32,
    /// Replies to our global requests: what follows REQUEST_SUCCESS, or nothing.
    global_replies: VecDeque<Option<Bytes>>,
    global_requests: Vec<Bytes>,
}

impl Client {
    /// Connects, exchanges versions and keys, and sends EXT_INFO.
    pub async fn connect(address: impl ToSocketAddrs, options: Options) -> Result<Self, Error> {
        let mut client = Self::dial(address, options).await?;
        client.exchange_keys().await?;
        Ok(client)
    }

    /// Connects and exchanges versions, nothing more.
    pub async fn dial(address: impl ToSocketAddrs, options: Options) -> Result<Self, Error> {
        let connecting = timeout(options.limit, TcpStream::connect(address)).await;
        let stream = connecting.map_err(|_| transport::Error::TimedOut("connecting"))?;
        let stream = stream.map_err(transport::Error::from)?;
        stream.set_nodelay(true).map_err(transport::Error::from)?;
        Self::over(stream, options).await
    }

    /// Exchanges versions over any stream.
    pub async fn over<S>(stream: S, options: Options) -> Result<Self, Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut config = options.config.clone();
        config.exchange_limit = options.limit;
        Ok(Self {
            transport: Transport::open(stream, Role::Client, config).await?,
            rules: options.strict.then(ServerRules::new),
            options,
            banners: Vec::new(),
            extensions: BTreeMap::new(),
            channels: BTreeMap::new(),
            next_channel: 0,
            global_replies: VecDeque::new(),
            global_requests: Vec::new(),
        })
    }

    /// The first key exchange, and EXT_INFO.
    pub async fn exchange_keys(&mut self) -> Result<(), Error> {
        self.transport.exchange_keys().await?;
        let [_, ext_info_s] = EXT_INFO;
        if self.options.ext_info && self.transport.peer_listed(ext_info_s) {
            self.transport.send(&ping_extension())?;
        }
        Ok(())
    }

    /// A key exchange that we start, to its end. Data that arrives meanwhile is kept.
    pub async fn rekey(&mut self) -> Result<(), Error> {
        let before = self.transport.exchanges();
        self.transport.start_exchange()?;
        while self.transport.exchanges() == before {
            self.pump().await?;
        }
        self.flush().await
    }

    /// The transport below, for all that has no method here.
    pub fn transport(&mut self) -> &mut Transport {
        &mut self.transport
    }

    /// Banners so far.
    pub fn banners(&self) -> &[String] {
        &self.banners
    }

    /// The value of an extension in the server's EXT_INFO, such as `server-sig-algs`.
    pub fn extension(&self, name: &str) -> Option<&[u8]> {
        self.extensions.get(name).map(Vec::as_slice)
    }

    /// Global requests of the server so far, whole.
    pub fn global_requests(&self) -> &[Bytes] {
        &self.global_requests
    }

    /// Sends a message; during a key exchange it waits until that is over.
    pub async fn send(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.queue(payload)?;
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), Error> {
        let flushed = timeout(self.options.limit, self.transport.flush()).await;
        Ok(flushed.map_err(|_| transport::Error::TimedOut("writing"))??)
    }

    fn queue(&mut self, payload: &[u8]) -> Result<(), Error> {
        if let Some(rules) = &mut self.rules {
            rules.sent(payload);
        }
        Ok(self.transport.send(payload)?)
    }

    /// Sends a payload at once, whatever the state of the connection.
    pub async fn send_raw(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.forge(payload, Forgery::default()).await
    }

    /// Sends a payload at once, in a packet as wrong as `forgery` wants it.
    pub async fn forge(&mut self, payload: &[u8], forgery: Forgery) -> Result<(), Error> {
        if let Some(rules) = &mut self.rules {
            rules.sent(payload);
        }
        self.transport.forge(payload, forgery)?;
        self.flush().await
    }

    /// The next message as it is, checked against the rules but not acted upon;
    /// SSH_MSG_DISCONNECT is an error. Not to be mixed with methods that wait for something.
    pub async fn recv(&mut self) -> Result<Bytes, Error> {
        loop {
            if let Some(payload) = self.step().await? {
                return Ok(payload);
            }
        }
    }

    /// How the connection ends, if it does so now, whatever else still arrives.
    pub async fn ended(&mut self) -> Error {
        loop {
            if let Err(error) = self.pump().await {
                return error;
            }
        }
    }

    /// The next message that is not the transport's own, or `None` if something else happened.
    async fn step(&mut self) -> Result<Option<Bytes>, Error> {
        let next = timeout(self.options.limit, self.transport.next(true)).await;
        let event = next.map_err(|_| transport::Error::TimedOut("a message"))??;
        let Event::Message(payload) = event else {
            return Ok(None);
        };
        if let Some(rules) = &mut self.rules {
            // A new number is nothing wrong; Pomerium answers it likewise.
            if rules.received(&payload)? == Verdict::Unimplemented {
                let sequence = self.transport.last_received();
                let reply = Writer::message(SSH_MSG_UNIMPLEMENTED).u32(sequence);
                self.transport.send(&reply.into_vec())?;
            }
        }
        if payload.first() == Some(&SSH_MSG_DISCONNECT) {
            let number = SSH_MSG_DISCONNECT;
            let malformed = |source| Violation::Malformed { number, source };
            let disconnect = Disconnect::parse(&payload).map_err(malformed)?;
            return Err(transport::Error::Disconnected(disconnect).into());
        }
        Ok(Some(payload))
    }

    /// Takes one message and files it where the method that waits for it looks.
    async fn pump(&mut self) -> Result<(), Error> {
        let Some(payload) = self.step().await? else {
            return Ok(());
        };
        let number = payload.first().copied().unwrap_or_default();
        let malformed = |source: Malformed| Violation::Malformed { number, source };
        match number {
            SSH_MSG_EXT_INFO => self.take_ext_info(&payload).map_err(malformed)?,
            SSH_MSG_USERAUTH_BANNER => {
                let mut reader = Reader::new(payload.get(1..).unwrap_or_default());
                self.banners
                    .push(reader.text().map_err(malformed)?.to_owned());
            }
            SSH_MSG_REQUEST_SUCCESS => self.global_replies.push_back(Some(payload.slice(1..))),
            SSH_MSG_REQUEST_FAILURE => self.global_replies.push_back(None),
            SSH_MSG_GLOBAL_REQUEST => self.take_global_request(payload).map_err(malformed)??,
            SSH2_MSG_PING => {
                let pong = payload.get(1..).unwrap_or_default();
                self.transport.send_parts(&[&[SSH2_MSG_PONG], pong])?;
            }
            // Nobody here answers one.
            SSH_MSG_CHANNEL_OPEN => {}
            SSH_MSG_CHANNEL_OPEN_CONFIRMATION..=SSH_MSG_CHANNEL_FAILURE => {
                self.take_channel_message(number, &payload)?;
            }
            SSH_MSG_IGNORE | SSH_MSG_DEBUG | SSH_MSG_UNIMPLEMENTED | SSH2_MSG_PONG => {}
            _ if name(number).is_none() => {}
            _ => return Err(Error::Unexpected(number)),
        }
        Ok(())
    }

    fn take_ext_info(&mut self, payload: &[u8]) -> Result<(), Malformed> {
        let mut reader = Reader::new(payload.get(1..).unwrap_or_default());
        for _ in 0..reader.u32()? {
            let name = reader.text()?.to_owned();
            self.extensions.insert(name, reader.string()?.to_vec());
        }
        Ok(())
    }

    /// Every global request is refused, except hostkeys-00, which Pomerium does not answer.
    fn take_global_request(&mut self, payload: Bytes) -> Result<Result<(), Error>, Malformed> {
        let mut reader = Reader::new(payload.get(1..).unwrap_or_default());
        let name = reader.string()?;
        let answered = reader.bool()? && name != b"hostkeys-00@openssh.com";
        self.global_requests.push(payload);
        Ok(if answered {
            self.queue(&[SSH_MSG_REQUEST_FAILURE])
        } else {
            Ok(())
        })
    }

    /// Sends a global request that wants a reply, and waits for it: what follows
    /// REQUEST_SUCCESS, or `None` for REQUEST_FAILURE.
    pub async fn global_request(
        &mut self,
        name: &str,
        fields: &[u8],
    ) -> Result<Option<Bytes>, Error> {
        let request = Writer::message(SSH_MSG_GLOBAL_REQUEST)
            .string(name)
            .bool(true);
        self.send(&request.bytes(fields).into_vec()).await?;
        loop {
            if let Some(reply) = self.global_replies.pop_front() {
                return Ok(reply);
            }
            self.pump().await?;
        }
    }
}

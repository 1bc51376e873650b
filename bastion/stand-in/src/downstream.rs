//! Pomerium's SSH server towards its users, who get in here without an account: the first key that
//! proves itself will do, and who has none, answers keyboard-interactive with no questions.

use crate::authentication::{request, signed_data};
use crate::message::{
    Disconnect, SSH_DISCONNECT_PROTOCOL_ERROR, SSH_MSG_DEBUG, SSH_MSG_DISCONNECT, SSH_MSG_EXT_INFO,
    SSH_MSG_IGNORE, SSH_MSG_SERVICE_ACCEPT, SSH_MSG_SERVICE_REQUEST, SSH_MSG_UNIMPLEMENTED,
    SSH_MSG_USERAUTH_FAILURE, SSH_MSG_USERAUTH_INFO_REQUEST, SSH_MSG_USERAUTH_INFO_RESPONSE,
    SSH_MSG_USERAUTH_PK_OK, SSH_MSG_USERAUTH_REQUEST,
};
use crate::signing;
use crate::strict::Violation;
use crate::transport::{Config, EXT_INFO, Error, Event, Role, Transport};
use crate::wire::{Malformed, Reader, Writer};
use bytes::Bytes;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// How long a user may take to read our last words.
const FAREWELL: Duration = Duration::from_secs(5);

/// Requests after which a user has tried often enough.
const MAX_REQUESTS: usize = 20;

/// pomerium/envoy-custom common.h, `SupportedSigningAlgorithms`.
const SERVER_SIG_ALGS: [&str; 6] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
];

/// The connection with a user.
pub struct Downstream {
    transport: Transport,
}

impl Downstream {
    /// Exchanges versions.
    pub async fn open<S>(stream: S, config: Config) -> Result<Self, Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Ok(Self {
            transport: Transport::open(stream, Role::Server, config).await?,
        })
    }

    /// Keys and EXT_INFO.
    pub async fn start(&mut self) -> Result<(), Error> {
        self.transport.exchange_keys().await?;
        let [ext_info_c, _] = EXT_INFO;
        if self.transport.peer_listed(ext_info_c) {
            let ext_info = Writer::message(SSH_MSG_EXT_INFO)
                .u32(3)
                .string("ping@openssh.com")
                .string("0")
                .string("ext-info-in-auth@openssh.com")
                .string("0")
                .string("server-sig-algs")
                .name_list(&SERVER_SIG_ALGS);
            self.transport.send(&ext_info.into_vec())?;
        }
        Ok(())
    }

    /// Sends a last SSH_MSG_DISCONNECT and closes.
    pub async fn close(mut self, disconnect: &[u8]) {
        // A dead socket cannot be told.
        self.transport.send(disconnect).unwrap_or_default();
        self.transport.close(FAREWELL).await;
    }

    /// The transport below.
    pub fn transport(&mut self) -> &mut Transport {
        &mut self.transport
    }

    /// Takes the user's requests until one is good enough, and returns the user name with the
    /// route. SSH_MSG_USERAUTH_SUCCESS is left to the caller, for it depends on the upstream.
    pub async fn authenticate(&mut self, accept_none: bool) -> Result<String, Error> {
        let mut requests = 0;
        loop {
            let payload = self.message().await?;
            let number = payload.first().copied().unwrap_or_default();
            let malformed = |source| Violation::Malformed { number, source };
            match number {
                SSH_MSG_IGNORE | SSH_MSG_DEBUG | SSH_MSG_UNIMPLEMENTED | SSH_MSG_EXT_INFO => {}
                SSH_MSG_SERVICE_REQUEST => self.service(&payload).map_err(malformed)?,
                SSH_MSG_USERAUTH_REQUEST if requests < MAX_REQUESTS => {
                    requests += 1;
                    let answer = self.request(&payload, accept_none).map_err(malformed)?;
                    match answer {
                        Answer::Accepted(user) => return Ok(user),
                        Answer::Reply(reply) => self.transport.send(&reply)?,
                        Answer::Ask(user) => {
                            self.ask_nothing().await?;
                            return Ok(user);
                        }
                    }
                }
                _ => return Err(Violation::Unexpected { number }.into()),
            }
        }
    }

    async fn message(&mut self) -> Result<Bytes, Error> {
        loop {
            let Event::Message(payload) = self.transport.next(true).await? else {
                continue;
            };
            if payload.first() == Some(&SSH_MSG_DISCONNECT) {
                let number = SSH_MSG_DISCONNECT;
                let malformed = |source| Violation::Malformed { number, source };
                return Err(Error::Disconnected(
                    Disconnect::parse(&payload).map_err(malformed)?,
                ));
            }
            return Ok(payload);
        }
    }

    fn service(&mut self, payload: &[u8]) -> Result<(), Malformed> {
        let mut reader = Reader::new(payload);
        reader.u8()?;
        let service = reader.string()?;
        let reply = match service {
            b"ssh-userauth" => Writer::message(SSH_MSG_SERVICE_ACCEPT)
                .string(service)
                .into_vec(),
            _ => Disconnect {
                reason: SSH_DISCONNECT_PROTOCOL_ERROR,
                description: "Invalid Argument: invalid service name".to_owned(),
            }
            .to_payload(),
        };
        // A dead socket shows at the next read.
        self.transport.send(&reply).unwrap_or_default();
        Ok(())
    }

    fn request(&self, payload: &[u8], accept_none: bool) -> Result<Answer, Malformed> {
        let mut reader = Reader::new(payload);
        reader.u8()?;
        let user = reader.text()?.to_owned();
        let service = reader.string()?;
        let method = reader.string()?;
        match method {
            _ if service != b"ssh-connection" => Ok(Answer::refused()),
            b"none" if accept_none => Ok(Answer::Accepted(user)),
            b"publickey" => self.publickey(user, reader),
            b"keyboard-interactive" => Ok(Answer::Ask(user)),
            _ => Ok(Answer::refused()),
        }
    }

    /// RFC 4252 section 7: any key will do, if the user has it.
    fn publickey(&self, user: String, mut reader: Reader<'_>) -> Result<Answer, Malformed> {
        let signed = reader.bool()?;
        let (algorithm, blob) = (reader.text()?, reader.string()?);
        if !signed {
            let ok = Writer::message(SSH_MSG_USERAUTH_PK_OK)
                .string(algorithm)
                .string(blob);
            return Ok(Answer::Reply(ok.into_vec()));
        }
        let signature = reader.string()?;
        let covered = request(&user, "publickey")
            .bool(true)
            .string(algorithm)
            .string(blob);
        let covered = signed_data(self.transport.session_id(), covered);
        match signing::verify(blob, algorithm, signature, &covered) {
            Ok(()) => Ok(Answer::Accepted(user)),
            Err(_) => Ok(Answer::refused()),
        }
    }

    /// RFC 4256 section 3.2 with no prompts: the client answers at once, and nobody is asked.
    async fn ask_nothing(&mut self) -> Result<(), Error> {
        let ask = Writer::message(SSH_MSG_USERAUTH_INFO_REQUEST);
        self.transport
            .send(&ask.string("").string("").string("").u32(0).into_vec())?;
        let reply = self.message().await?;
        match reply.first().copied().unwrap_or_default() {
            SSH_MSG_USERAUTH_INFO_RESPONSE => Ok(()),
            number => Err(Violation::Unexpected { number }.into()),
        }
    }
}

enum Answer {
    Accepted(String),
    Reply(Vec<u8>),
    Ask(String),
}

impl Answer {
    fn refused() -> Self {
        let methods = ["publickey", "keyboard-interactive"];
        let failure = Writer::message(SSH_MSG_USERAUTH_FAILURE)
            .name_list(&methods)
            .bool(false);
        Self::Reply(failure.into_vec())
    }
}

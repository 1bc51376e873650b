//! The proxy: each user's connection, matched with one to the upstream that the user name asks for.

mod channels;
mod relay;

use crate::downstream::Downstream;
use crate::message::{
    Disconnect, SSH_DISCONNECT_BY_APPLICATION, SSH_DISCONNECT_CONNECTION_LOST,
    SSH_DISCONNECT_HOST_NOT_ALLOWED_TO_CONNECT, SSH_DISCONNECT_PROTOCOL_ERROR,
    SSH_DISCONNECT_SERVICE_NOT_AVAILABLE, SSH_MSG_DEBUG, SSH_MSG_DISCONNECT, SSH_MSG_IGNORE,
    SSH_MSG_UNIMPLEMENTED, SSH_MSG_USERAUTH_SUCCESS,
};
use crate::strict::Violation;
use crate::transport::{self, Config, HostKeys};
use crate::upstream::{self, Heard, Identity, Upstream};
use relay::Relay;
use ssh_key::PrivateKey;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

/// How long a user may take to log in.
const LOGIN_GRACE: Duration = Duration::from_secs(120);
/// How long connecting to the upstream may take (Pomerium's `connect_timeout`).
const CONNECT: Duration = Duration::from_secs(10);
/// How long the upstream may take to accept or refuse the certificate.
const UPSTREAM_GRACE: Duration = Duration::from_secs(60);

/// Which upstream a route's name stands for.
#[derive(Debug, Clone)]
pub struct Route {
    /// What follows the last `@` of the user name.
    pub name: String,
    /// Host and port.
    pub address: String,
}

impl std::str::FromStr for Route {
    type Err = String;

    fn from_str(route: &str) -> Result<Self, String> {
        let (name, address) = route.split_once('=').ok_or("expected NAME=HOST:PORT")?;
        Ok(Self {
            name: name.to_owned(),
            address: address.to_owned(),
        })
    }
}

/// What the proxy is told to be.
pub struct Settings {
    /// Where users may go.
    pub routes: Vec<Route>,
    /// Towards users; also what the upstream's key must be one of.
    pub host_keys: Arc<HostKeys>,
    /// Signs the certificates.
    pub user_ca_key: Arc<PrivateKey>,
    /// Towards the upstream.
    pub upstream: Config,
    /// Let users in without any proof, which Pomerium never does.
    pub accept_none: bool,
    /// Told what happens.
    pub report: Box<dyn Fn(&Report) + Send + Sync>,
}

/// Something that happened to a connection.
#[derive(Debug, Clone)]
pub struct Report {
    /// The user's address.
    pub peer: SocketAddr,
    /// What, as a sentence.
    pub text: String,
    /// The rule that the upstream broke, if it did.
    pub violation: Option<Violation>,
}

/// How a connection ends.
enum End {
    /// The user left; there is nobody to tell.
    UserLeft(String),
    /// The user is told this.
    Tell(Disconnect, String),
    /// The upstream broke a rule.
    Violation(Violation),
    /// The upstream's own SSH_MSG_DISCONNECT goes to the user as it is.
    Verbatim(bytes::Bytes),
}

/// Serves users until the task is dropped.
pub async fn serve(listener: TcpListener, settings: Arc<Settings>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                tokio::spawn(connection(stream, peer, settings.clone()));
            }
            // ECONNABORTED, EMFILE: the next one may fare better, a moment later.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, settings: Arc<Settings>) {
    let report = |text: String, violation: Option<Violation>| {
        (settings.report)(&Report {
            peer,
            text,
            violation,
        });
    };
    // Interactive traffic is small packets; a socket that refuses is slower, not wrong.
    stream.set_nodelay(true).unwrap_or_default();
    let config = Config::server(settings.host_keys.clone());
    let mut user = match Downstream::open(stream, config).await {
        Ok(user) => user,
        Err(error) => return report(format!("no SSH: {error}"), None),
    };
    let end = converse(&mut user, &settings).await;
    let (last_words, text, violation) = match end {
        End::UserLeft(text) => return report(text, None),
        End::Tell(disconnect, text) => (disconnect.to_payload(), text, None),
        End::Violation(violation) => {
            let payload = violation.to_disconnect().to_payload();
            let rule = violation.rule();
            (
                payload,
                format!("the upstream broke a rule: {violation} [{rule}]"),
                Some(violation),
            )
        }
        End::Verbatim(payload) => (
            payload.to_vec(),
            "the upstream disconnected".to_owned(),
            None,
        ),
    };
    report(text, violation);
    user.close(&last_words).await;
}

/// From the user's key exchange to the end.
async fn converse(user: &mut Downstream, settings: &Settings) -> End {
    let admitted = async {
        user.start().await?;
        user.authenticate(settings.accept_none).await
    };
    let user_name = match timeout(LOGIN_GRACE, admitted).await {
        Ok(Ok(user_name)) => user_name,
        Ok(Err(error)) => return user_error(error),
        Err(_) => {
            return tell(
                SSH_DISCONNECT_BY_APPLICATION,
                "Deadline Exceeded: login grace time",
            );
        }
    };
    // The login name is what precedes the last `@` (pomerium/envoy-custom service_userauth.cc).
    let (login_name, route) = user_name.rsplit_once('@').unwrap_or((&user_name, ""));
    let Some(route) = settings.routes.iter().find(|known| known.name == route) else {
        let known: Vec<&str> = settings
            .routes
            .iter()
            .map(|route| route.name.as_str())
            .collect();
        let text = format!("no route named {route:?}; log in as NAME@ROUTE, routes: {known:?}");
        return tell(SSH_DISCONNECT_HOST_NOT_ALLOWED_TO_CONNECT, &text);
    };
    let identity = Identity::now(login_name, settings.user_ca_key.clone());
    match timeout(UPSTREAM_GRACE, connect(user, route, settings, identity)).await {
        Ok(Ok(upstream)) => {
            let mut relay = Relay::new(user, upstream, settings.host_keys.clone());
            let end = relay.run().await;
            relay.flush_upstream().await;
            end
        }
        Ok(Err(end)) => end,
        Err(_) => tell(SSH_DISCONNECT_BY_APPLICATION, "Deadline Exceeded: upstream"),
    }
}

/// Connects and authenticates at the upstream, and only then tells the user of success.
async fn connect(
    user: &mut Downstream,
    route: &Route,
    settings: &Settings,
    identity: Identity,
) -> Result<Upstream, End> {
    let opening = async {
        let stream = match timeout(CONNECT, TcpStream::connect(&route.address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(unreachable(route, &error.to_string())),
            Err(_) => return Err(unreachable(route, "timed out")),
        };
        stream.set_nodelay(true).unwrap_or_default();
        Upstream::connect(stream, settings.upstream.clone(), identity)
            .await
            .map_err(upstream_error)
    };
    let mut upstream = tokio::select! {
        opened = opening => opened?,
        end = user_leaves(user) => return Err(end),
    };
    loop {
        let heard = tokio::select! {
            heard = upstream.next(true) => heard.map_err(upstream_error)?,
            end = user_leaves(user) => return Err(end),
        };
        match heard {
            Heard::Banner(payload) => user.transport().send(&payload).map_err(user_error)?,
            Heard::Success => {
                user.transport()
                    .send(&[SSH_MSG_USERAUTH_SUCCESS])
                    .map_err(user_error)?;
                return Ok(upstream);
            }
            Heard::Disconnect(payload) => return Err(End::Verbatim(payload)),
            Heard::Message(payload) => {
                let number = payload.first().copied().unwrap_or_default();
                return Err(End::Violation(Violation::Unexpected { number }));
            }
            Heard::Drained => {}
        }
    }
}

/// Waits for the end of a user who has nothing to say until the upstream has decided.
async fn user_leaves(user: &mut Downstream) -> End {
    loop {
        match user.transport().next(true).await {
            Ok(transport::Event::Message(payload)) => match payload.first() {
                Some(&(SSH_MSG_IGNORE | SSH_MSG_DEBUG | SSH_MSG_UNIMPLEMENTED)) => {}
                Some(&SSH_MSG_DISCONNECT) => return End::UserLeft("the user left".to_owned()),
                number => {
                    let number = number.copied().unwrap_or_default();
                    return user_error(Violation::Unexpected { number }.into());
                }
            },
            Ok(_) => {}
            Err(error) => return user_error(error),
        }
    }
}

fn tell(reason: u32, description: &str) -> End {
    let description = description.to_owned();
    End::Tell(
        Disconnect {
            reason,
            description: description.clone(),
        },
        description,
    )
}

fn unreachable(route: &Route, why: &str) -> End {
    let description = "Unavailable: connection_failure".to_owned();
    let disconnect = Disconnect {
        reason: SSH_DISCONNECT_SERVICE_NOT_AVAILABLE,
        description,
    };
    End::Tell(
        disconnect,
        format!("cannot connect to {}: {why}", route.address),
    )
}

/// The user's connection failed, or the user broke a rule.
fn user_error(error: transport::Error) -> End {
    match error {
        transport::Error::Violation(violation) => {
            let text = format!("the user broke a rule: {violation} [{}]", violation.rule());
            End::Tell(violation.to_disconnect(), text)
        }
        error => End::UserLeft(format!("the user's connection ended: {error}")),
    }
}

/// The upstream's connection failed; the sentences are Pomerium's as far as they are known.
fn upstream_error(error: upstream::Error) -> End {
    use transport::Error;
    let text = format!("the upstream's connection ended: {error}");
    let (reason, description) = match error {
        upstream::Error::PermissionDenied => (SSH_DISCONNECT_PROTOCOL_ERROR, "Permission Denied"),
        upstream::Error::Transport(Error::Violation(violation)) => {
            return End::Violation(violation);
        }
        upstream::Error::Transport(Error::Closed | Error::Io(_)) => (
            SSH_DISCONNECT_CONNECTION_LOST,
            "Unavailable: connection_termination",
        ),
        upstream::Error::Transport(Error::Inauthentic(_)) => (
            SSH_DISCONNECT_PROTOCOL_ERROR,
            "Invalid Argument: failed to decrypt packet",
        ),
        upstream::Error::Transport(Error::Disconnected(_)) => {
            let number = SSH_MSG_DISCONNECT;
            let disconnect = Violation::DuringKeyExchange { number }.to_disconnect();
            return End::Tell(disconnect, text);
        }
        _ => (
            SSH_DISCONNECT_PROTOCOL_ERROR,
            "Invalid Argument: key exchange failed",
        ),
    };
    End::Tell(
        Disconnect {
            reason,
            description: description.to_owned(),
        },
        text,
    )
}

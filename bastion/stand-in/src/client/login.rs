//! Services and authentication (RFC 4252).

use super::{Client, Error};
use crate::authentication::publickey_request;
use crate::message::{
    SSH_MSG_DEBUG, SSH_MSG_EXT_INFO, SSH_MSG_IGNORE, SSH_MSG_SERVICE_ACCEPT,
    SSH_MSG_SERVICE_REQUEST, SSH_MSG_UNIMPLEMENTED, SSH_MSG_USERAUTH_BANNER,
    SSH_MSG_USERAUTH_FAILURE, SSH_MSG_USERAUTH_PK_OK, SSH_MSG_USERAUTH_SUCCESS,
};
use crate::strict::Violation;
use crate::transport;
use crate::wire::{Malformed, Reader, Writer};
use bytes::Bytes;
use ssh_key::PrivateKey;

/// The server's answer to a request for authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication {
    /// SSH_MSG_USERAUTH_SUCCESS.
    Success,
    /// SSH_MSG_USERAUTH_FAILURE.
    Failure {
        /// "authentications that can continue".
        methods: Vec<String>,
        /// "partial success".
        partial: bool,
    },
    /// Message 60, whole: PK_OK or INFO_REQUEST. Pomerium's rules forbid it.
    Continue(Bytes),
}

impl Authentication {
    /// An error unless it is a success.
    pub fn success(self) -> Result<(), Error> {
        match self {
            Self::Success => Ok(()),
            other => Err(Error::Unauthenticated(other)),
        }
    }
}

impl Client {
    /// SSH_MSG_SERVICE_REQUEST, and the answer.
    pub async fn request_service(&mut self, service: &str) -> Result<(), Error> {
        let request = Writer::message(SSH_MSG_SERVICE_REQUEST).string(service);
        self.send(&request.into_vec()).await?;
        match self.authentication_message().await? {
            accept if accept.first() == Some(&SSH_MSG_SERVICE_ACCEPT) => Ok(()),
            other => Err(Error::Unexpected(
                other.first().copied().unwrap_or_default(),
            )),
        }
    }

    /// As Pomerium: the service, then one signed request. `blob` is a certificate's, or a plain
    /// key's; the algorithm is the one that its first field names.
    pub async fn authenticate(
        &mut self,
        user: &str,
        key: &PrivateKey,
        blob: &[u8],
    ) -> Result<Authentication, Error> {
        let name = Reader::new(blob).text().unwrap_or_default();
        let algorithm = match name {
            "ssh-rsa-cert-v01@openssh.com" => "rsa-sha2-512-cert-v01@openssh.com",
            "ssh-rsa" => "rsa-sha2-512",
            other => other,
        };
        self.authenticate_as(user, algorithm, blob, key).await
    }

    /// Likewise, under an algorithm of your choice.
    pub async fn authenticate_as(
        &mut self,
        user: &str,
        algorithm: &str,
        blob: &[u8],
        key: &PrivateKey,
    ) -> Result<Authentication, Error> {
        self.request_service("ssh-userauth").await?;
        let session_id = self.transport.session_id();
        let request = publickey_request(session_id, user, algorithm, blob, key)
            .map_err(transport::Error::from)?;
        self.request_authentication(&request).await
    }

    /// Sends an SSH_MSG_USERAUTH_REQUEST, and waits for the answer.
    pub async fn request_authentication(
        &mut self,
        request: &[u8],
    ) -> Result<Authentication, Error> {
        self.send(request).await?;
        let answer = self.authentication_message().await?;
        let number = answer.first().copied().unwrap_or_default();
        let malformed = |source: Malformed| Violation::Malformed { number, source };
        match number {
            SSH_MSG_USERAUTH_SUCCESS => Ok(Authentication::Success),
            SSH_MSG_USERAUTH_FAILURE => {
                let mut reader = Reader::new(answer.get(1..).unwrap_or_default());
                let methods = reader.name_list().map_err(malformed)?;
                let partial = reader.bool().map_err(malformed)?;
                Ok(Authentication::Failure { methods, partial })
            }
            SSH_MSG_USERAUTH_PK_OK => Ok(Authentication::Continue(answer)),
            other => Err(Error::Unexpected(other)),
        }
    }

    /// The next message that answers something, with banners and extensions filed.
    async fn authentication_message(&mut self) -> Result<Bytes, Error> {
        loop {
            let payload = self.recv().await?;
            let number = payload.first().copied().unwrap_or_default();
            let malformed = |source| Violation::Malformed { number, source };
            match number {
                SSH_MSG_EXT_INFO => self.take_ext_info(&payload).map_err(malformed)?,
                SSH_MSG_USERAUTH_BANNER => {
                    let mut reader = Reader::new(payload.get(1..).unwrap_or_default());
                    self.banners
                        .push(reader.text().map_err(malformed)?.to_owned());
                }
                SSH_MSG_IGNORE | SSH_MSG_DEBUG | SSH_MSG_UNIMPLEMENTED => {}
                _ => return Ok(payload),
            }
        }
    }
}

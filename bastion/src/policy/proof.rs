//! Proof that the peer holds the certified private key (RFC 4252, Section 7).
//!
//! The gate speaks to the network and may have been taken over. So the monitor does not take its word
//! that a user signed in: it asks for what the user signed, and checks the signature itself.

use serde::{Deserialize, Serialize};

use super::certificate::UserCertificate;
use super::public_key::KeyType;
use super::refusal::printable;
use super::signature::{SecurityKeyFlags, SignatureError};
use super::wire::{Reader, WireError, put_string};

/// A user's signature and what it is over.
///
/// What it cannot show is that the session identifier is of a key exchange with *this* server: only
/// whoever did that exchange knows. A gate that was taken over can show a proof twice, which whoever
/// grants on it prevents by granting once on a session identifier; and it can show one that the same
/// certificate's holder made for another server, which nothing here can tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The first key exchange's hash (RFC 4253, Section 7.2), without a length.
    pub session_id: Vec<u8>,
    /// The payload of SSH_MSG_USERAUTH_REQUEST from its message number up to, and not including, the
    /// signature.
    pub request: Vec<u8>,
    /// The signature: `string` algorithm, `string` value, without the length that precedes them in
    /// the message.
    pub signature: Vec<u8>,
}

/// Why a proof does not prove anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// No key exchange of SSH makes a hash of that length.
    #[error("a session identifier of {len} bytes is not the hash of a key exchange")]
    SessionId {
        /// How many bytes there are.
        len: usize,
    },
    /// The request's fields are not laid out as they should be.
    #[error("the authentication request is malformed: {0}")]
    Encoding(#[from] WireError),
    /// The signed request is another message, or asks for something else.
    #[error("the signed request's {field} is {actual}, not {expected}")]
    Field {
        /// The field that differs.
        field: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        actual: String,
    },
    /// The request names SHA-1.
    #[error("the request names the algorithm {algorithm}, which is SHA-1 and no longer safe")]
    Sha1 {
        /// The request's algorithm name.
        algorithm: &'static str,
    },
    /// The signed request is for another certificate or key.
    #[error("the signed request is for another certificate")]
    OtherCertificate,
    /// The signature is of another algorithm than the signed request says.
    #[error("the request names the algorithm {named}, and the signature is of type {actual}")]
    OtherAlgorithm {
        /// What the request says.
        named: &'static str,
        /// What the signature is.
        actual: &'static str,
    },
    /// The certified key did not make the signature.
    #[error("the user's signature is not accepted: {0}")]
    Signature(#[source] SignatureError),
}

impl Proof {
    /// Checks that the holder of the certificate's private key asked, in this session, to log in as
    /// `login_name` with this certificate. Returns what a security key says of how it was used.
    pub fn verify(
        &self,
        certificate: &UserCertificate,
        login_name: &str,
    ) -> Result<Option<SecurityKeyFlags>, ProofError> {
        // SHA-1 to SHA-512. A length is checked because the identifier is what ties the signature to
        // a session: nobody may pass off another signed message as one by cutting it elsewhere.
        if !(20..=64).contains(&self.session_id.len()) {
            let len = self.session_id.len();
            return Err(ProofError::SessionId { len });
        }
        let algorithm = self.check_request(certificate, login_name)?;
        let mut signed = Vec::new();
        put_string(&mut signed, &self.session_id);
        signed.extend_from_slice(&self.request);
        let verified = certificate
            .public_key()
            .verify(&signed, &self.signature)
            .map_err(ProofError::Signature)?;
        if verified.signature_algorithm != algorithm.signature {
            return Err(ProofError::OtherAlgorithm {
                named: algorithm.request,
                actual: verified.signature_algorithm,
            });
        }
        Ok(verified.security_key)
    }

    /// Every field of the request is compared with what it must be, none is skipped.
    fn check_request(
        &self,
        certificate: &UserCertificate,
        login_name: &str,
    ) -> Result<UserauthAlgorithm, ProofError> {
        const SSH_MSG_USERAUTH_REQUEST: u8 = 50;
        // RFC 4251 reads any other number as TRUE as well, and asks that nobody sends one.
        const TRUE: u8 = 1;
        let mut request = Reader::new(&self.request);
        expect_number(
            "message number",
            request.u8("message number")?,
            SSH_MSG_USERAUTH_REQUEST,
        )?;
        expect_text("user name", request.text("user name")?, login_name)?;
        expect_text("service", request.text("service")?, "ssh-connection")?;
        expect_text("method", request.text("method")?, "publickey")?;
        expect_number("signature flag", request.u8("signature flag")?, TRUE)?;
        let algorithm = UserauthAlgorithm::find(
            certificate.public_key().algorithm(),
            request.text("public key algorithm")?,
        )?;
        if request.string("public key")? != certificate.as_bytes() {
            return Err(ProofError::OtherCertificate);
        }
        request.finish("public key")?;
        Ok(algorithm)
    }
}

fn expect_number(field: &'static str, actual: u8, expected: u8) -> Result<(), ProofError> {
    if actual == expected {
        return Ok(());
    }
    Err(ProofError::Field {
        field,
        expected: expected.to_string(),
        actual: actual.to_string(),
    })
}

fn expect_text(field: &'static str, actual: &str, expected: &str) -> Result<(), ProofError> {
    if actual == expected {
        return Ok(());
    }
    let quoted = |text| format!("\"{}\"", printable(text, 64));
    Err(ProofError::Field {
        field,
        expected: quoted(expected),
        actual: quoted(actual),
    })
}

/// A "public key algorithm name" of a request, and the algorithm of the signature that goes with it.
struct UserauthAlgorithm {
    request: &'static str,
    signature: &'static str,
}

impl UserauthAlgorithm {
    fn find(key_type: KeyType, name: &str) -> Result<Self, ProofError> {
        // In a request, unlike in the certificate itself, RSA is named by its hash (RFC 8332, Section 3).
        const RSA: [UserauthAlgorithm; 2] = [
            UserauthAlgorithm {
                request: "rsa-sha2-256-cert-v01@openssh.com",
                signature: "rsa-sha2-256",
            },
            UserauthAlgorithm {
                request: "rsa-sha2-512-cert-v01@openssh.com",
                signature: "rsa-sha2-512",
            },
        ];
        let certificate_name = key_type.certificate_name();
        if key_type == KeyType::Rsa {
            if name == certificate_name {
                let algorithm = certificate_name;
                return Err(ProofError::Sha1 { algorithm });
            }
            if let Some(algorithm) = RSA.into_iter().find(|rsa| rsa.request == name) {
                return Ok(algorithm);
            }
        } else if name == certificate_name {
            return Ok(Self {
                request: certificate_name,
                signature: key_type.name(),
            });
        }
        Err(ProofError::Field {
            field: "public key algorithm",
            expected: match key_type {
                KeyType::Rsa => "that of an RSA certificate with SHA-2".to_owned(),
                _ => certificate_name.to_owned(),
            },
            actual: format!("\"{}\"", printable(name, 64)),
        })
    }
}

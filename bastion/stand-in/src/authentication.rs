//! The requests of the user authentication protocol (RFC 4252).

use crate::message::SSH_MSG_USERAUTH_REQUEST;
use crate::signing::{self, SignatureError};
use crate::wire::Writer;
use ssh_key::PrivateKey;

/// What every request starts with: user, service `ssh-connection`, method.
pub fn request(user: &str, method: &str) -> Writer {
    Writer::message(SSH_MSG_USERAUTH_REQUEST)
        .string(user)
        .string("ssh-connection")
        .string(method)
}

/// "publickey" without a signature: would this key do? (RFC 4252 section 7)
pub fn publickey_query(user: &str, algorithm: &str, blob: &[u8]) -> Vec<u8> {
    request(user, "publickey")
        .bool(false)
        .string(algorithm)
        .string(blob)
        .into_vec()
}

/// "publickey" with a signature; `blob` is the public key's or the certificate's.
pub fn publickey_request(
    session_id: &[u8],
    user: &str,
    algorithm: &str,
    blob: &[u8],
    key: &PrivateKey,
) -> Result<Vec<u8>, SignatureError> {
    let request = request(user, "publickey")
        .bool(true)
        .string(algorithm)
        .string(blob);
    let signed = signed_data(session_id, request.clone());
    let signature = signing::sign(key, &plain_algorithm(algorithm), &signed)?;
    Ok(request.string(signature).into_vec())
}

/// What the signature covers: the session identifier, then the request up to it.
pub fn signed_data(session_id: &[u8], request: Writer) -> Vec<u8> {
    Writer::new()
        .string(session_id)
        .bytes(request.into_vec())
        .into_vec()
}

/// The algorithm that a certificate's key signs with: the name without its `-cert-v01`.
pub fn plain_algorithm(name: &str) -> String {
    name.replacen("-cert-v01@openssh.com", "", 1)
}

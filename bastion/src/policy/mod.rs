//! Who may log in: a pure decision.
//!
//! Nothing in here does I/O, waits, or reads a clock: bytes, a clock reading and a peer address come
//! in; [`Permissions`], or a [`Refusal`] with its evidence, goes out. The gate decides with it, and the
//! monitor, which trusts nothing that the gate says, decides again with the same functions:
//!
//! ```text
//! certificate's bytes ─────────▶ UserCertificate::parse ─┐
//! session id, request, signature ▶ Proof::verify ────────┤
//! login name, source address, now ▶ AuthRequest ─────────┼─ authorize ─▶ Permissions | Refusal
//! CAs, accounts, configuration ──▶ Rules ────────────────┘
//! ```
//!
//! | file | holds |
//! | --- | --- |
//! | `wire.rs` | a bounded reader of RFC 4251's data types; every byte from outside passes through it |
//! | `public_key.rs` | [`PublicKey`]: one plain key, strictly parsed |
//! | `signature.rs` | [`PublicKey::verify`]: which signatures count, SHA-1 not among them |
//! | `certificate.rs` | [`UserCertificate`]: the fields of a certificate, not yet believed |
//! | `options.rs`, `source_address.rs` | what its critical options and extensions mean |
//! | `trusted_ca.rs` | [`TrustedUserCaKeys`]: the CAs whose word counts |
//! | `revoked_keys.rs`, `krl.rs` | [`RevokedKeys`]: keys and certificates that no longer count |
//! | `authorize.rs` | [`authorize`]: the rules in their order, and [`Permissions`], which only it can make |
//! | `decide.rs` | [`decide`]: all of it in one step, from a request's bytes to the verdict |
//! | `proof.rs` | [`Proof`]: that the peer holds the certified private key (RFC 4252, Section 7) |
//! | `refusal.rs` | [`Refusal`]: every reason, for the audit log and, cut down, for the user |
//! | `forwarding.rs`, `endpoint.rs` | [`forwarding::ForwardingRules`]: what may be connected to and listened at |
//! | `lifetime.rs` | [`lifetime::Limits`]: how long a connection may go on |
//! | `startups.rs` | [`startups::MaxStartups`]: how many may be there before they log in, and who goes |
//! | `wildcard.rs` | `*` and `?` as in sshd_config |
//! | `utc.rs` | seconds since the epoch as RFC 3339 |
//!
//! `ssh-key` is used for key arithmetic alone. None of its decoders is called: they follow a certificate
//! inside a certificate without limit, and they normalise what they read. Here an encoding that is not
//! the canonical one is refused, with a reason.

mod authorize;
mod certificate;
mod decide;
mod endpoint;
pub mod forwarding;
mod krl;
pub mod lifetime;
mod options;
mod proof;
mod public_key;
mod refusal;
mod revoked_keys;
mod signature;
mod source_address;
pub mod startups;
mod trusted_ca;
mod utc;
pub mod wildcard;
mod wire;

pub use self::authorize::{AuthRequest, Permissions, Rules, authorize, check_standing};
pub use self::certificate::{CertificateType, MalformedCertificate, NamedData, UserCertificate};
pub use self::decide::{Decision, LoginRequest, decide, decide_on_offered};
pub use self::krl::MalformedKrl;
pub use self::options::Permits;
pub use self::proof::{Proof, ProofError};
pub use self::public_key::{KeyType, MalformedKey, PublicKey};
pub use self::refusal::{Refusal, printable};
pub use self::revoked_keys::{NotAPublicKey, Revocations, RevokedKeys, RevokedKeysError};
pub use self::signature::{SecurityKeyFlags, SignatureError, Verified};
pub use self::trusted_ca::{NotACaKey, TrustedUserCaKeys, TrustedUserCaKeysError};
pub use self::utc::rfc3339;
pub use self::wire::WireError;

//! The SFTP server: version 3 of the protocol (draft-ietf-secsh-filexfer-02) with the extensions
//! that OpenSSH's clients use (section 4 of OpenSSH's PROTOCOL).
//!
//! It is a program like any other of a session: this same binary, started on a channel as the
//! account, that reads requests at its standard input and answers them at its standard output, one
//! after the other. What ends other programs ends it: the end of its input, a hang-up, a limit.
//!
//! ```text
//! bytes ─ packet ─▶ Request ─ requests ─▶ Reply ─ reply ─▶ bytes
//!                                │
//!                          handles, files
//! ```
//!
//! It behaves as OpenSSH's sftp-server does. Where it does not, the comment says so and why.

mod attributes;
mod extensions;
mod handles;
mod listing;
mod options;
pub mod packet;
mod permitted;
pub mod reply;
mod requests;
mod server;
mod status;

pub use attributes::Attributes;
pub use options::{Options, internal_sftp};
pub use server::{SftpError, run};
pub use status::{Status, StatusCode};

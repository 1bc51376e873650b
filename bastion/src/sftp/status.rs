//! SSH_FXP_STATUS: how a request went (§7).

use std::borrow::Cow;
use std::io;

use nix::errno::Errno;

/// SSH_FX_*: the codes of version 3 that a server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[expect(missing_docs, reason = "they are named as in the draft")]
pub enum StatusCode {
    Ok = 0,
    Eof = 1,
    NoSuchFile = 2,
    PermissionDenied = 3,
    Failure = 4,
    BadMessage = 5,
    OpUnsupported = 8,
}

/// A status with the sentence that the user may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The code.
    pub code: StatusCode,
    /// The sentence.
    pub message: Cow<'static, str>,
}

impl Status {
    pub(super) const OK: Self = Self::new(StatusCode::Ok, "Success");
    pub(super) const EOF: Self = Self::new(StatusCode::Eof, "End of file");
    pub(super) const READ_ONLY: Self =
        Self::new(StatusCode::PermissionDenied, "This server is read-only");
    pub(super) const PROHIBITED: Self = Self::new(
        StatusCode::PermissionDenied,
        "This request is not permitted",
    );
    pub(super) const UNSUPPORTED: Self =
        Self::new(StatusCode::OpUnsupported, "Operation unsupported");

    pub(super) const fn new(code: StatusCode, message: &'static str) -> Self {
        Self {
            code,
            message: Cow::Borrowed(message),
        }
    }

    pub(super) const fn failure(message: &'static str) -> Self {
        Self::new(StatusCode::Failure, message)
    }
}

/// As sftp-server's errno_to_portable, so that clients which tell codes apart see the same ones.
/// The sentence is the system's own: "No space left on device" where sftp-server says "Failure".
impl From<Errno> for Status {
    fn from(error: Errno) -> Self {
        let code = match error {
            Errno::ENOENT | Errno::ENOTDIR | Errno::EBADF | Errno::ELOOP => StatusCode::NoSuchFile,
            Errno::EPERM | Errno::EACCES | Errno::EFAULT => StatusCode::PermissionDenied,
            Errno::ENAMETOOLONG | Errno::EINVAL => StatusCode::BadMessage,
            Errno::ENOSYS => StatusCode::OpUnsupported,
            _ => StatusCode::Failure,
        };
        Self::new(code, error.desc())
    }
}

impl From<io::Error> for Status {
    fn from(error: io::Error) -> Self {
        match (error.raw_os_error(), error.kind()) {
            (Some(number), _) => Errno::from_raw(number).into(),
            // The standard library's word for a path with a NUL byte.
            (None, io::ErrorKind::InvalidInput) => Errno::EINVAL.into(),
            (None, _) => Self {
                code: StatusCode::Failure,
                message: error.to_string().into(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_sftp_server() {
        for (error, code) in [
            (Errno::ENOENT, StatusCode::NoSuchFile),
            (Errno::ELOOP, StatusCode::NoSuchFile),
            (Errno::EACCES, StatusCode::PermissionDenied),
            (Errno::EPERM, StatusCode::PermissionDenied),
            (Errno::EROFS, StatusCode::Failure),
            (Errno::EINVAL, StatusCode::BadMessage),
            (Errno::ENOSPC, StatusCode::Failure),
            (Errno::EDQUOT, StatusCode::Failure),
            (Errno::EEXIST, StatusCode::Failure),
            (Errno::ENOSYS, StatusCode::OpUnsupported),
        ] {
            assert_eq!(Status::from(error).code, code, "{error}");
            assert_eq!(Status::from(io::Error::from(error)).code, code, "{error}");
        }
        assert_eq!(
            Status::from(Errno::ENOSPC).message,
            "No space left on device"
        );
    }

    #[test]
    fn a_path_with_a_nul_byte_is_a_bad_message() {
        let error = std::fs::metadata("a\0b").unwrap_err();
        assert_eq!(Status::from(error).code, StatusCode::BadMessage);
    }
}

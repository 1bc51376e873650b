//! The fields of each message: one missing, or a byte too many, is fatal in Pomerium, which decodes
//! every message that it knows and passes the rest on (pomerium/envoy-custom wire/messages.cc).

use crate::message::{
    SSH_MSG_CHANNEL_CLOSE, SSH_MSG_CHANNEL_DATA, SSH_MSG_CHANNEL_EOF,
    SSH_MSG_CHANNEL_EXTENDED_DATA, SSH_MSG_CHANNEL_FAILURE, SSH_MSG_CHANNEL_OPEN,
    SSH_MSG_CHANNEL_OPEN_CONFIRMATION, SSH_MSG_CHANNEL_OPEN_FAILURE, SSH_MSG_CHANNEL_REQUEST,
    SSH_MSG_CHANNEL_SUCCESS, SSH_MSG_CHANNEL_WINDOW_ADJUST, SSH_MSG_DEBUG, SSH_MSG_DISCONNECT,
    SSH_MSG_EXT_INFO, SSH_MSG_GLOBAL_REQUEST, SSH_MSG_IGNORE, SSH_MSG_NEWKEYS,
    SSH_MSG_REQUEST_FAILURE, SSH_MSG_SERVICE_ACCEPT, SSH_MSG_SERVICE_REQUEST,
    SSH_MSG_UNIMPLEMENTED, SSH_MSG_USERAUTH_BANNER, SSH_MSG_USERAUTH_FAILURE,
    SSH_MSG_USERAUTH_SUCCESS, SSH2_MSG_PING, SSH2_MSG_PONG,
};
use crate::wire::{Malformed, Reader};

#[derive(Clone, Copy)]
enum Field {
    Bool,
    U32,
    String,
    NameList,
    /// All that follows, whatever it is.
    Rest,
    /// A name, and if it is a known one, the fields that must follow all others.
    Type(&'static [(&'static str, &'static [Field])]),
}

use Field::{Bool, NameList, Rest, String, Type, U32};

/// Channel types whose own fields Pomerium decodes.
const CHANNEL_TYPES: &[(&str, &[Field])] = &[
    ("session", &[]),
    ("x11", &[String, U32]),
    ("forwarded-tcpip", &[String, U32, String, U32]),
    ("direct-tcpip", &[String, U32, String, U32]),
];
const CHANNEL_REQUESTS: &[(&str, &[Field])] = &[
    ("pty-req", &[String, U32, U32, U32, U32, String]),
    ("shell", &[]),
    ("window-change", &[U32, U32, U32, U32]),
];
const GLOBAL_REQUESTS: &[(&str, &[Field])] = &[
    ("tcpip-forward", &[String, U32]),
    ("cancel-tcpip-forward", &[String, U32]),
];

fn fields(number: u8) -> &'static [Field] {
    match number {
        SSH_MSG_DISCONNECT => &[U32, String, String],
        SSH_MSG_IGNORE | SSH_MSG_SERVICE_REQUEST | SSH_MSG_SERVICE_ACCEPT => &[String],
        SSH2_MSG_PING | SSH2_MSG_PONG => &[String],
        SSH_MSG_UNIMPLEMENTED => &[U32],
        SSH_MSG_DEBUG => &[Bool, String, String],
        SSH_MSG_USERAUTH_FAILURE => &[NameList, Bool],
        SSH_MSG_USERAUTH_BANNER => &[String, String],
        SSH_MSG_NEWKEYS | SSH_MSG_USERAUTH_SUCCESS | SSH_MSG_REQUEST_FAILURE => &[],
        SSH_MSG_GLOBAL_REQUEST => &[Type(GLOBAL_REQUESTS), Bool],
        SSH_MSG_CHANNEL_OPEN => &[Type(CHANNEL_TYPES), U32, U32, U32],
        SSH_MSG_CHANNEL_OPEN_CONFIRMATION => &[U32, U32, U32, U32, Rest],
        SSH_MSG_CHANNEL_OPEN_FAILURE => &[U32, U32, String, String],
        SSH_MSG_CHANNEL_WINDOW_ADJUST => &[U32, U32],
        SSH_MSG_CHANNEL_DATA => &[U32, String],
        SSH_MSG_CHANNEL_EXTENDED_DATA => &[U32, U32, String],
        SSH_MSG_CHANNEL_EOF | SSH_MSG_CHANNEL_CLOSE => &[U32],
        SSH_MSG_CHANNEL_SUCCESS | SSH_MSG_CHANNEL_FAILURE => &[U32],
        SSH_MSG_CHANNEL_REQUEST => &[U32, Type(CHANNEL_REQUESTS), Bool],
        _ => &[Rest],
    }
}

/// Whether the payload has the fields of its message, and nothing else.
pub fn check_layout(payload: &[u8]) -> Result<(), Malformed> {
    let mut reader = Reader::new(payload);
    let number = reader.u8()?;
    if number == SSH_MSG_EXT_INFO {
        return check_ext_info(reader);
    }
    let after = read(&mut reader, fields(number))?;
    read(&mut reader, after)?;
    reader.finish()
}

/// Reads fields, and returns those that a [`Type`] among them adds at the end.
fn read(reader: &mut Reader<'_>, fields: &[Field]) -> Result<&'static [Field], Malformed> {
    let mut after: &'static [Field] = &[];
    for field in fields {
        match field {
            Bool => drop(reader.bool()?),
            U32 => drop(reader.u32()?),
            String => drop(reader.string()?),
            NameList => drop(reader.name_list()?),
            Rest => drop(reader.rest()),
            Type(known) => {
                let name = reader.string()?;
                let known = known.iter().find(|(known, _)| known.as_bytes() == name);
                after = known.map_or(&[Rest], |(_, fields)| fields);
            }
        }
    }
    Ok(after)
}

/// RFC 8308 section 2.3.
fn check_ext_info(mut reader: Reader<'_>) -> Result<(), Malformed> {
    for _ in 0..reader.u32()? {
        let name = reader.string()?;
        let value = reader.string()?;
        if name == b"server-sig-algs" {
            let list = std::str::from_utf8(value).map_err(|_| Malformed::Text)?;
            if !list.is_empty() && list.split(',').any(str::is_empty) {
                return Err(Malformed::NameList);
            }
        }
    }
    reader.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Writer;

    #[test]
    fn a_byte_more_or_less_is_noticed() {
        let open = |kind: &str| Writer::message(90).string(kind).u32(0).u32(1).u32(2);
        let request = |kind: &str| Writer::message(98).u32(0).string(kind).bool(true);
        let rows = [
            (Writer::message(94).u32(0).string("x"), Ok(())),
            (
                Writer::message(94).u32(0).string("x").u8(0),
                Err(Malformed::Trailing(1)),
            ),
            (Writer::message(94).u32(0), Err(Malformed::Short)),
            (open("session"), Ok(())),
            (open("session").u8(0), Err(Malformed::Trailing(1))),
            (open("auth-agent@openssh.com").u8(0), Ok(())),
            (
                open("direct-tcpip").string("h").u32(1).string("o"),
                Err(Malformed::Short),
            ),
            (
                open("direct-tcpip").string("h").u32(1).string("o").u32(2),
                Ok(()),
            ),
            (request("shell"), Ok(())),
            (request("shell").u8(0), Err(Malformed::Trailing(1))),
            (request("exit-status").u32(0), Ok(())),
            (
                Writer::message(51).string("publickey,").bool(false),
                Err(Malformed::NameList),
            ),
            (Writer::message(51).string("").bool(false), Ok(())),
            (Writer::message(52).u8(0), Err(Malformed::Trailing(1))),
            (Writer::message(7).u32(1).string("a").string("b"), Ok(())),
            (
                Writer::message(7).u32(2).string("a").string("b"),
                Err(Malformed::Short),
            ),
            (Writer::message(250).u32(7), Ok(())),
        ];
        for (writer, expected) in rows {
            let payload = writer.into_vec();
            assert_eq!(check_layout(&payload), expected, "{payload:?}");
        }
    }
}

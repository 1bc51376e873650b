//! Packets byte by byte, and bytes that are none.

use proptest::prelude::*;

use super::*;

/// A packet from hexadecimal digits; anything else is for the reader.
fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .chars()
        .filter_map(|c| c.to_digit(16))
        .map(|d| d as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

#[test]
fn a_length_is_known_as_soon_as_it_is_there() {
    assert_eq!(length(&[0, 0, 0]), Ok(None));
    assert_eq!(length(&[0, 0, 1, 2, 9, 9]), Ok(Some(258)));
    assert_eq!(length(&[0, 4, 0, 0]), Ok(Some(MAX_PACKET)));
    assert_eq!(length(&[0, 4, 0, 1]), Err(Malformed::Length(262_145)));
    assert_eq!(length(&[0, 0, 0, 0]), Err(Malformed::Length(0)));
}

#[test]
fn requests_have_the_fields_of_the_draft() {
    let path = Path::new("a");
    for (packet, request) in [
        (
            "03 00000009 00000001 61 0000001a 00000004 000001a4",
            Request::Open {
                path,
                flags: OpenFlags(0x1a),
                attributes: Attributes {
                    permissions: Some(0o644),
                    ..Attributes::default()
                },
            },
        ),
        (
            "04 00000009 00000002 0102",
            Request::Close { handle: &[1, 2] },
        ),
        (
            "05 00000009 00000001 07 0000000000000010 00000020",
            Request::Read {
                handle: &[7],
                offset: 16,
                length: 32,
            },
        ),
        (
            "06 00000009 00000001 07 0000000000000010 00000002 6869",
            Request::Write {
                handle: &[7],
                offset: 16,
                data: b"hi",
            },
        ),
        (
            "0e 00000009 00000001 61 0000000b 0000000000000005 00000001 00000002 00000003 00000004",
            Request::Mkdir {
                path,
                attributes: Attributes {
                    size: Some(5),
                    owner: Some((1, 2)),
                    times: Some((3, 4)),
                    permissions: None,
                },
            },
        ),
        (
            "14 00000009 00000001 61 00000001 62",
            Request::Symlink {
                target: path,
                link: Path::new("b"),
            },
        ),
        ("63 00000009 ff", Request::Unknown { kind: 0x63 }),
        (
            "c8 00000009 00000001 7a",
            Request::Extended(Extended::Unknown { name: b"z" }),
        ),
    ] {
        assert_eq!(
            decode(&bytes(packet)),
            Ok(Packet::Request { id: 9, request }),
            "{packet}"
        );
    }
    assert_eq!(
        decode(&bytes("01 00000003 ff")),
        Ok(Packet::Init { version: 3 })
    );
}

#[test]
fn no_packet_that_is_cut_short_is_a_request() {
    for whole in [
        "03 00000009 00000001 61 0000001a 8000000f 0000000000000005 00000001 00000002 00000003
         00000004 00000005 00000001 00000001 61 00000001 62",
        "06 00000009 00000001 07 0000000000000010 00000002 6869",
        "12 00000009 00000001 61 00000001 62",
    ] {
        let whole = bytes(whole);
        assert!(decode(&whole).is_ok());
        for end in 0..whole.len() {
            assert!(decode(&whole[..end]).is_err(), "{end}");
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_packet_or_an_error(packet: Vec<u8>) {
        let _any = decode(&packet);
    }

    #[test]
    fn any_fields_are_a_request_or_an_error(kind in 1_u8..22, fields: Vec<u8>) {
        let packet: Vec<u8> = [kind, 0, 0, 0, 1].into_iter().chain(fields).collect();
        let _any = decode(&packet);
    }

    #[test]
    fn attributes_are_read_as_they_are_written(
        size: Option<u64>,
        owner: Option<(u32, u32)>,
        permissions: Option<u32>,
        times: Option<(u32, u32)>,
    ) {
        let attributes = Attributes { size, owner, permissions, times };
        let mut packet = bytes("09 00000001 00000000");
        attributes.encode(&mut packet);
        let request = Request::Setstat { path: Path::new(""), attributes };
        prop_assert_eq!(decode(&packet), Ok(Packet::Request { id: 1, request }));
    }
}

//! Packets of SFTP: any bytes give a request or an error, and a request holds nothing that was not
//! in the packet.
#![no_main]

use bastion::sftp::packet::{MAX_PACKET, Packet, Request, decode, length};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    match length(input) {
        Ok(Some(length)) => assert!((1..=MAX_PACKET).contains(&length)),
        Ok(None) => assert!(input.len() < 4),
        Err(_) => {}
    }
    let Ok(packet) = decode(input) else { return };
    let inside = |part: &[u8]| {
        let (outer, inner) = (input.as_ptr_range(), part.as_ptr_range());
        assert!(part.is_empty() || (outer.start <= inner.start && inner.end <= outer.end));
    };
    if let Packet::Request { request, .. } = &packet {
        match request {
            Request::Write { handle, data, .. } => {
                inside(handle);
                inside(data);
            }
            Request::Read { handle, .. } | Request::Close { handle } => inside(handle),
            Request::Open { path, .. } | Request::Remove { path } => {
                inside(path.as_os_str().as_encoded_bytes());
            }
            _ => {}
        }
    }
    // What is cut short is another packet or none, and never a panic.
    for end in (0..input.len()).rev().take(16) {
        let _cut_short = decode(&input[..end]);
    }
});

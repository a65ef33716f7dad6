//! A tiny job that tells whether a server serves: for `lsdistcc` and `distcc --doctor`, in any protocol.

use super::Version;
use super::lzo::Encoder;
use super::request::{encode_file, encode_head, encode_pump_head};

/// Bytes of a good answer's start.
pub const START: usize = 24;

/// What a server answers first when it has compiled: the protocol, and status 0.
pub fn good_start(protocol: u32) -> Vec<u8> {
    format!("DONE{protocol:08x}STAT00000000").into_bytes()
}

/// `COMPILER -c hello.c -o hello.o`, as stock's `lsdistcc` sends it (reference `client.md` section 5.6).
pub fn request(compiler: &str, protocol: u32, source: &[u8]) -> Vec<u8> {
    let argv = [compiler, "-c", "hello.c", "-o", "hello.o"];
    let mut body = Vec::new();
    match protocol {
        1 => body.extend_from_slice(source),
        _ => Encoder::new().compress(source, &mut body),
    }
    let mut bytes = Vec::new();
    match protocol {
        1 => encode_head(Version::Plain, &argv, body.len() as u32, &mut bytes),
        2 => encode_head(Version::Lzo, &argv, body.len() as u32, &mut bytes),
        _ => {
            encode_pump_head(b"/", &argv, 1, &mut bytes);
            encode_file(b"/hello.c", body.len() as u32, &mut bytes);
        }
    }
    bytes.extend_from_slice(&body);
    bytes
}

//! What the codec's tests share.

use super::request::{Decoder, Event};
use super::{Error, Version};

/// A small repeatable generator (xorshift64*).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    pub fn bytes(&mut self, max: usize) -> Vec<u8> {
        (0..self.below(max + 1)).map(|_| self.below(256) as u8).collect()
    }

    pub fn bytes_without_nul(&mut self, max: usize) -> Vec<u8> {
        (0..self.below(max + 1)).map(|_| 1 + self.below(255) as u8).collect()
    }
}

/// Cuts `bytes` into pieces of random sizes.
pub fn split_points<'a>(random: &mut Random, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(1 + random.below(bytes.len().min(40)));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// All events of a request put together.
#[derive(Debug, Default, PartialEq)]
pub struct OwnedRequest {
    pub version: Option<Version>,
    pub argv: Vec<Vec<u8>>,
    pub source: Vec<u8>,
    pub complete: bool,
}

pub fn owned_request_events(pieces: &[&[u8]]) -> Result<OwnedRequest, Error> {
    let mut decoder = Decoder::new();
    let mut got = OwnedRequest::default();
    for piece in pieces {
        let mut input = *piece;
        while let Some(event) = decoder.next(&mut input)? {
            match event {
                Event::Version(version) => got.version = Some(version),
                Event::Command(argv) => got.argv = argv,
                Event::SourceStart(_) => {}
                Event::Source(bytes) => got.source.extend_from_slice(bytes),
                Event::End => got.complete = true,
            }
        }
    }
    assert_eq!(got.complete, decoder.is_complete());
    Ok(got)
}

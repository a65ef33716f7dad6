//! What the codec's tests share.

use super::path::{Rooted, Target};
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
    pub directory: Option<Rooted>,
    pub entries: Vec<OwnedEntry>,
    pub complete: bool,
}

/// A file with its bytes, or a link.
#[derive(Debug, PartialEq)]
pub enum OwnedEntry {
    File(Rooted, Vec<u8>),
    Link(Rooted, Target),
}

pub fn owned_request_events(pieces: &[&[u8]]) -> Result<OwnedRequest, Error> {
    let mut decoder = Decoder::new();
    let mut got = OwnedRequest::default();
    for piece in pieces {
        let mut input = *piece;
        while let Some(event) = decoder.next(&mut input)? {
            match event {
                Event::Version(version) => got.version = Some(version),
                Event::Directory(directory) => got.directory = Some(directory),
                Event::Command(argv) => got.argv = argv,
                Event::SourceStart(_) => {}
                Event::Source(bytes) => got.source.extend_from_slice(bytes),
                Event::FileStart(name, _) => got.entries.push(OwnedEntry::File(name, Vec::new())),
                Event::File(bytes) => match got.entries.last_mut() {
                    Some(OwnedEntry::File(_, body)) => body.extend_from_slice(bytes),
                    other => panic!("bytes of no file behind {other:?}"),
                },
                Event::FileEnd => {}
                Event::Link(name, target) => got.entries.push(OwnedEntry::Link(name, target)),
                Event::End => got.complete = true,
            }
        }
    }
    assert_eq!(got.complete, decoder.is_complete());
    Ok(got)
}

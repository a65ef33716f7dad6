//! LZO1X: how protocol 2 and 3 compress a body.
//!
//! One body is one complete raw stream: no magic, no size, no checksum, and always the end marker `11 00 00`.
//! An empty body is sent as length 0 with no stream at all, so [`Encoder::compress`] appends nothing for it
//! and [`decompress`] accepts it (as well as the bare end marker).
//!
//! The encoder works for speed, in the class of LZO1X-1: one pass, one candidate per position. Whoever wants
//! density instead must look elsewhere; any valid LZO1X stream is understood by every peer. The decoder
//! treats its input as hostile: it reports, never panics, and keeps to the ceiling it is given. Neither of
//! them does any IO.
//!
//! # The format
//!
//! A stream is a row of instructions, each either a run of literals or a match (copy `length` bytes from
//! `distance` bytes back, possibly overlapping its own output). A match names up to three literals which
//! follow it. What the opcodes `00..=0f` mean depends on how many literals the instruction before left
//! behind: see the table in `decode.rs`. Written from our own notes on the bytes that stock peers exchange,
//! with no sight of LZO's source.

pub use self::decode::{Error, decompress, decompress_in_pieces};
pub use self::encode::{Encoder, max_compressed_len};

use kernel::{FAR, MIDDLE, NEAR};

mod decode;
mod encode;

/// Inputs for the tests, always the same.
#[cfg(test)]
mod samples {
    use super::{FAR, MIDDLE, NEAR};

    /// Named inputs: short ones of all lengths, and repetition at the edges of each kind of match.
    pub fn all() -> Vec<(String, Vec<u8>)> {
        let mut samples = vec![("empty".to_owned(), Vec::new())];
        for len in 1..=300 {
            samples.push((format!("random {len}"), random(len, len as u64)));
            samples.push((format!("run {len}"), vec![b'a'; len]));
            samples.push((format!("text {len}"), text(len, len as u64)));
        }
        for period in 2..=40 {
            for len in [period * 2 + 3, period * 20 + 1] {
                samples.push((format!("period {period}, {len}"), periodic(period, len)));
            }
        }
        let edges = [NEAR, NEAR + 1024, MIDDLE, 2 * MIDDLE, FAR, 65536];
        for period in edges.into_iter().flat_map(|edge| edge - 1..=edge + 1) {
            samples.push((format!("period {period}"), periodic(period, period + 1000)));
            // The same with matches too short to be worth much, at lengths around where an opcode is full.
            let mut input = random(period, 7);
            for (at, len) in (3..40).enumerate() {
                input.extend_from_within(at * 40 + 1..at * 40 + 1 + len);
                input.extend(random(40 - len, at as u64));
            }
            samples.push((format!("patches {period}"), input));
        }
        samples.push(("run".to_owned(), vec![0; 70_000]));
        samples.push(("random".to_owned(), random(70_000, 8)));
        samples.push(("text".to_owned(), text(150_000, 9)));
        samples
    }

    /// Noise, which does not shrink.
    pub fn random(len: usize, seed: u64) -> Vec<u8> {
        let mut state = Xorshift::new(seed);
        (0..len).map(|_| state.next() as u8).collect()
    }

    /// Noise repeated after `period` bytes.
    pub fn periodic(period: usize, len: usize) -> Vec<u8> {
        random(period, period as u64).into_iter().cycle().take(len).collect()
    }

    /// Words, of which some are frequent and most are not.
    pub fn text(len: usize, seed: u64) -> Vec<u8> {
        let mut state = Xorshift::new(seed);
        let mut text = Vec::new();
        while text.len() < len {
            let word = state.next() % 1000 * (state.next() % 1000) / 1000;
            text.extend_from_slice(
                format!("{}{word} ", ["int x", "std::", "return ", "("][word as usize % 4]).as_bytes(),
            );
        }
        text.truncate(len);
        text
    }

    /// Marsaglia's generator of 64 bits.
    pub struct Xorshift(u64);

    impl Xorshift {
        pub fn new(seed: u64) -> Self {
            Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
        }

        pub fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 >> 8
        }
    }
}

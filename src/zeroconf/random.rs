//! Random delays, so that not all neighbours speak at once. Not for secrets.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::time::Duration;

/// A source of numbers.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Another one each time.
    pub fn new() -> Random {
        Random(RandomState::new().hash_one(std::process::id()) | 1)
    }

    /// The next number (xorshift).
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A time in this range of milliseconds.
    pub fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(range.start + self.number() % (range.end - range.start))
    }
}

//! A hash for the engine's own maps: fast for numbers and short spellings. Their keys come from the user's own
//! files, so nobody gains by making them collide.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// A map with it.
pub type Map<K, V> = HashMap<K, V, BuildHasherDefault<Quick>>;
/// A set with it.
pub type Set<K> = HashSet<K, BuildHasherDefault<Quick>>;

/// Multiplies and folds, eight bytes at a time.
#[derive(Clone, Copy, Default)]
pub struct Quick(u64);

impl Quick {
    fn mix(&mut self, word: u64) {
        // An odd number with its bits well spread: 2^64 over the golden ratio.
        let product = u128::from(self.0 ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}

/// The hash of bytes; another one for each `salt`.
pub fn of_bytes(bytes: &[u8], salt: u64) -> u64 {
    let mut hasher = Quick(salt);
    // Zero is the one state that forgets: the first word is none.
    hasher.mix(!salt);
    hasher.write(bytes);
    hasher.mix(bytes.len() as u64);
    hasher.0
}

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.mix(u64::from_le_bytes(word.try_into().unwrap_or_default()));
        }
        let mut last = [0; 8];
        let rest = words.remainder();
        last[..rest.len()].copy_from_slice(rest);
        self.mix(u64::from_le_bytes(last) ^ (bytes.len() as u64) << 56);
    }

    fn write_u8(&mut self, value: u8) {
        self.mix(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.mix(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.mix(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.mix(value as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

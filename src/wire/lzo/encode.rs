//! The encoder: greedy, one pass, one remembered position per hash of four bytes.

use super::{END, FAR, MIDDLE, NEAR};

/// Largest number of bytes [`Encoder::compress`] can append for `len` input bytes.
///
/// A match never takes more bytes than it stands for, but it may cut a literal run in two, which costs one
/// byte more per 23 of input at worst; a long run costs one byte per 255. A sixteenth covers both.
pub fn max_compressed_len(len: usize) -> usize {
    len.saturating_add(len / 16).saturating_add(64)
}

/// A compressor and its match table (16 KiB), meant to live as long as the worker that uses it.
///
/// Nothing of one input is remembered for the next: the same input always yields the same bytes.
#[derive(Debug, Clone)]
pub struct Encoder {
    /// For each hash, the low 16 bits of the position where it was seen last. The high bits are implied: no
    /// match reaches back 65536 bytes. An entry that is stale or was never written costs one vain
    /// comparison.
    heads: Box<[u16; 1 << HASH_BITS]>,
}

impl Encoder {
    /// An encoder that has seen nothing.
    pub fn new() -> Self {
        Self { heads: Box::new([0; 1 << HASH_BITS]) }
    }

    /// Appends `input` to `out` as one complete stream, or nothing if `input` is empty.
    ///
    /// `out` grows as needed. A caller who reserves [`max_compressed_len`] spares it the moves.
    pub fn compress(&mut self, input: &[u8], out: &mut Vec<u8>) {
        if input.is_empty() {
            return;
        }
        let mut writer = Writer::new(out, input.len());
        let mut rest = 0;
        // The least that can hold a match.
        if input.len() > 4 {
            // A fraction of a microsecond, so that the output depends on nothing but the input.
            self.heads.fill(0);
            rest = compress_matches(&mut self.heads, input, &mut writer);
        }
        writer.finish(input, rest);
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes all of `input` but the literals after the last match, and returns where these begin.
fn compress_matches(heads: &mut [u16; 1 << HASH_BITS], input: &[u8], writer: &mut Writer) -> usize {
    // First byte not written yet.
    let mut anchor = 0;
    // Nothing lies before position 0, which all empty table entries stand for.
    let mut at = 1;
    while let Some(new) = load32(input, at) {
        let head = &mut heads[hash(new)];
        let distance = usize::from((at as u16).wrapping_sub(*head));
        *head = at as u16;
        // Wraps, and so finds nothing, where the entry is from before the input.
        let from = at.wrapping_sub(distance);
        if load32(input, from) != Some(new) || !(1..=FAR).contains(&distance) {
            at += 1 + ((at - anchor) >> SKIP_SHIFT);
            continue;
        }
        let start = at;
        at += common_prefix(&input[from..], &input[at..]);
        writer.sequence(input, anchor, start, distance, at - start);
        anchor = at;
        // One position inside each match is remembered too: 3 % on text for 1 % of the speed.
        if let Some(word) = load32(input, at - 2) {
            heads[hash(word)] = (at - 2) as u16;
        }
    }
    anchor
}

/// Number of leading bytes in which `old` and `new` agree. `new` is the shorter one.
fn common_prefix(old: &[u8], new: &[u8]) -> usize {
    let mut len = 0;
    for (old, new) in old.chunks_exact(16).zip(new.chunks_exact(16)) {
        let differ = load128(old) ^ load128(new);
        if differ != 0 {
            return len + (differ.trailing_zeros() / 8) as usize;
        }
        len += 16;
    }
    let rest = old[len..].iter().zip(&new[len..]);
    len + rest.take_while(|(old, new)| old == new).count()
}

fn hash(word: u32) -> usize {
    (word.wrapping_mul(0x9e37_79b1) >> (32 - HASH_BITS)) as usize
}

/// The four bytes from `at` on, the first one lowest, if there are as many.
fn load32(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

/// Panics unless `bytes` are sixteen.
fn load128(bytes: &[u8]) -> u128 {
    let mut array = [0; 16];
    array.copy_from_slice(bytes);
    u128::from_le_bytes(array)
}

/// Writes instructions at the end of a vector.
///
/// The vector is kept longer than what is written, so that copies may overshoot; `finish` cuts it.
struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// Where the stream begins in `out`.
    start: usize,
    /// Where the next byte goes: `start <= at <= out.len()`.
    at: usize,
    /// `out` need never be longer than this.
    limit: usize,
}

impl<'a> Writer<'a> {
    fn new(out: &'a mut Vec<u8>, input_len: usize) -> Self {
        let start = out.len();
        Self { out, start, at: start, limit: start.saturating_add(max_compressed_len(input_len)) }
    }

    /// Writes the literals `input[from..to]` and a match after them. `length` is at least 4, there is at
    /// least one literal if this is the first instruction.
    fn sequence(&mut self, input: &[u8], from: usize, to: usize, distance: usize, length: usize) {
        let count = to - from;
        let short = short_match(distance, length);
        if let (true, Some((word, size))) = (self.at > self.start && count <= 16, short) {
            // Nearly all sequences. In a window of known size nothing needs a check, and hardly anything a
            // branch.
            let window = self.out[self.at - 2..].first_chunk_mut::<32>();
            let literals = input[from..].first_chunk::<16>();
            if let (Some(window), Some(literals)) = (window, literals) {
                window[0] |= if count <= 3 { count as u8 } else { 0 };
                window[2] = (count as u8).wrapping_sub(3);
                let begin = 2 + usize::from(count > 3);
                window[begin..begin + 16].copy_from_slice(literals);
                window[begin + count..begin + count + 4].copy_from_slice(&word.to_le_bytes());
                self.at += begin - 2 + count + size;
                return;
            }
        }
        self.make_room(count + length / 128);
        self.put_literals(input, from, to);
        match short {
            Some((word, size)) => {
                self.out[self.at..self.at + 4].copy_from_slice(&word.to_le_bytes());
                self.at += size;
            }
            None => self.put_long_match(distance, length),
        }
    }

    /// Writes the literals from `from` to the end of the input, and the end marker.
    fn finish(mut self, input: &[u8], from: usize) {
        self.make_room(input.len() - from);
        self.put_literals(input, from, input.len());
        self.out[self.at..self.at + END.len()].copy_from_slice(&END);
        self.out.truncate(self.at + END.len());
    }

    /// Lets `out` reach past the next instruction with this many literals, its match, and what a copy
    /// overshoots.
    fn make_room(&mut self, literals: usize) {
        let need = literals + literals / 128 + SLACK;
        if self.out.len() - self.at < need {
            self.grow(need);
        }
    }

    /// Fills in steps which stay in the processor's cache until they are overwritten.
    #[cold]
    fn grow(&mut self, need: usize) {
        let need = self.at + need;
        debug_assert!(need <= self.limit);
        self.out.resize(need.max(self.limit.min(need + STEP)), 0);
    }

    fn put_literals(&mut self, input: &[u8], from: usize, to: usize) {
        let count = to - from;
        match count {
            0 => return,
            // The first opcode of a stream has a meaning of its own.
            1..=238 if self.at == self.start => self.put(17 + count as u8),
            // The match before has room for them: in its opcode if it takes two bytes, else in its low
            // distance byte.
            1..=3 => self.out[self.at - 2] |= count as u8,
            4..=18 => self.put(count as u8 - 3),
            _ => {
                self.put(0);
                self.put_length(count - 18);
            }
        }
        let (target, source) = (&mut self.out[self.at..], &input[from..]);
        match (target.first_chunk_mut::<16>(), source.first_chunk::<16>()) {
            (Some(target), Some(source)) if count <= 16 => *target = *source,
            _ => target[..count].copy_from_slice(&source[..count]),
        }
        self.at += count;
    }

    fn put_long_match(&mut self, distance: usize, length: usize) {
        let (opcode, longest, distance) = if distance <= MIDDLE {
            (0x20, 33, distance - 1)
        } else {
            let distance = distance - MIDDLE;
            (0x10 | (distance & 0x4000) >> 11, 9, distance & 0x3fff)
        };
        self.put(opcode as u8);
        self.put_length(length - longest);
        self.put((distance << 2) as u8);
        self.put((distance >> 6) as u8);
    }

    /// Writes a length that did not fit its opcode; `length` is what exceeds the greatest that would.
    fn put_length(&mut self, mut length: usize) {
        while length > 255 {
            self.put(0);
            length -= 255;
        }
        self.put(length as u8);
    }

    fn put(&mut self, byte: u8) {
        self.out[self.at] = byte;
        self.at += 1;
    }
}

/// The instruction for a match, the first byte lowest, and its size in bytes, if `length` fits the opcode.
fn short_match(distance: usize, length: usize) -> Option<(u32, usize)> {
    debug_assert!((1..=FAR).contains(&distance) && length >= 4);
    if distance <= MIDDLE && length <= 33 {
        let distance = distance - 1;
        // Which of the two is hard to foresee, so both are worked out.
        let near = (distance < NEAR) & (length <= 8);
        let two = (length - 1) << 5 | (distance & 7) << 2 | (distance >> 3) << 8;
        let three = 0x20 | (length - 2) | distance << 10;
        Some((if near { two } else { three } as u32, 3 - usize::from(near)))
    } else if distance > MIDDLE && length <= 9 {
        let distance = distance - MIDDLE;
        let word = 0x10 | (distance & 0x4000) >> 11 | (length - 2) | (distance & 0x3fff) << 10;
        Some((word as u32, 3))
    } else {
        None
    }
}

/// 8192 entries of two bytes leave half of the usual first-level cache to the input. Twice as many gain 0.3 %
/// on text and 1.4 % on machine code, and cost 2 % and 10 % of the speed.
const HASH_BITS: u32 = 13;

/// After `1 << SKIP_SHIFT` bytes without a match the search makes steps of two, and so on.
const SKIP_SHIFT: u32 = 5;

/// Room beyond the literals of a sequence: its opcodes, and the rest of a 16-byte copy.
const SLACK: usize = 48;

/// By how much the written vector runs ahead, in bytes.
const STEP: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::super::{decompress, samples};
    use super::*;

    #[test]
    fn round_trip() {
        for (name, input) in samples::all() {
            let stream = fresh(&input);
            assert!(stream.len() <= max_compressed_len(input.len()), "{name}");
            let mut out = Vec::new();
            decompress(&stream, &mut out, input.len()).unwrap();
            assert!(out == input, "{name}");
        }
    }

    #[test]
    fn lzokay_reads_it() {
        for (name, input) in samples::all() {
            // It takes no empty stream, and the wire knows none.
            if !input.is_empty() {
                let out = lzokay_native::decompress_all(&fresh(&input), None).unwrap();
                assert!(out == input, "{name}");
            }
        }
    }

    #[test]
    fn reuse_changes_nothing() {
        let mut encoder = Encoder::new();
        for (name, input) in samples::all() {
            let mut out = b"before".to_vec();
            encoder.compress(&input, &mut out);
            assert!(out[..6] == *b"before" && out[6..] == fresh(&input), "{name}");
        }
    }

    #[test]
    fn room_held_changes_nothing() {
        for (name, input) in samples::all() {
            let mut out = Vec::with_capacity(max_compressed_len(input.len()));
            let room = out.capacity();
            Encoder::new().compress(&input, &mut out);
            assert!(out == fresh(&input), "{name}");
            assert_eq!(out.capacity(), room, "{name}");
        }
    }

    #[test]
    fn empty_appends_nothing() {
        assert!(fresh(b"").is_empty());
    }

    #[test]
    fn literals_only() {
        assert_eq!(fresh(b"a"), b"\x12a\x11\0\0");
        let noise = samples::random(239, 1);
        assert_eq!(fresh(&noise[..238])[..2], [255, noise[0]]);
        assert_eq!(fresh(&noise)[..3], [0, 221, noise[0]]);
    }

    #[test]
    fn worst_case_stays_in_bound() {
        // Literal runs just too long for a single byte, each cut off by a far match of four.
        let words = samples::random(4 * 4096, 2);
        let noise = samples::random(19 * 4096, 3);
        let mut input = words.clone();
        input.extend(samples::random(MIDDLE, 4));
        for (word, run) in words.chunks(4).zip(noise.chunks(19)) {
            input.extend(word);
            input.extend(run);
        }
        assert!(fresh(&input).len() <= max_compressed_len(input.len()));
    }

    #[test]
    fn shrinks() {
        assert!(fresh(&[0; 100_000]).len() < 500);
        let text = samples::text(100_000, 5);
        assert!(fresh(&text).len() < text.len() / 2);
    }

    fn fresh(input: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Encoder::new().compress(input, &mut out);
        out
    }
}

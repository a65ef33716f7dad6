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
    /// For an input that is too short for a view.
    short: Vec<u8>,
}

/// What the search looks at: a block, and the one before it, which matches reach back to. Positions in a view of known
/// size need no bounds checks.
type View = [u8; 2 * BLOCK + PADDING];

impl Encoder {
    /// An encoder that has seen nothing.
    pub fn new() -> Self {
        Self { heads: Box::new([0; 1 << HASH_BITS]), short: Vec::new() }
    }

    /// Appends `input` to `out` as one complete stream, or nothing if `input` is empty.
    ///
    /// `out` grows as needed. A caller who reserves [`max_compressed_len`] spares it the moves.
    pub fn compress(&mut self, input: &[u8], out: &mut Vec<u8>) {
        if input.is_empty() {
            return;
        }
        // Clearing the whole table would cost as much as compressing a kilobyte or two.
        if input.len() <= SMALL {
            self.compress_with::<SMALL_HASH_BITS>(input, out);
        } else {
            self.compress_with::<HASH_BITS>(input, out);
        }
    }

    fn compress_with<const BITS: u32>(&mut self, input: &[u8], out: &mut Vec<u8>) {
        // So that the output depends on nothing but the input.
        self.heads[..1 << BITS].fill(0);
        let mut search =
            Search { heads: &mut self.heads, input, anchor: 0, writer: Writer::new(out, input.len()) };
        if let Some(last_view) = input.len().checked_sub(size_of::<View>()) {
            // The last bytes of a view are for reading beyond a position; those of the input have nothing behind them.
            let end = input.len() - PADDING;
            for start in (0..end).step_by(BLOCK) {
                let base = start.saturating_sub(BLOCK).min(last_view);
                if let Some(view) = input[base..].first_chunk() {
                    search.block::<BITS>(view, base, start.max(1) - base, end.min(start + BLOCK) - base);
                }
            }
        } else {
            if self.short.is_empty() {
                // Pages of zeros from the kernel, of which only those that are used cost anything.
                self.short = vec![0; size_of::<View>()];
            }
            self.short[..input.len()].copy_from_slice(input);
            let end = input.len().min(2 * BLOCK);
            for start in (0..end).step_by(BLOCK) {
                if let Some(view) = self.short.first_chunk() {
                    search.block::<BITS>(view, 0, start.max(1), end.min(start + BLOCK));
                }
            }
        }
        search.writer.finish(input, search.anchor);
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

/// A search through an input.
struct Search<'a> {
    heads: &'a mut [u16; 1 << HASH_BITS],
    input: &'a [u8],
    /// First byte of the input not written yet.
    anchor: usize,
    writer: Writer<'a>,
}

impl Search<'_> {
    /// Writes the matches from `start` to `end` in a view that begins at `base` in the input, and the literals before them.
    /// Nothing lies before the input's position 0, which all empty table entries stand for; so a search never starts
    /// there.
    #[inline(always)]
    fn block<const BITS: u32>(&mut self, view: &View, base: usize, start: usize, end: usize) {
        let (heads, _) = self.heads.split_at_mut(1 << BITS);
        let Some(last) = end.checked_sub(SHORTEST) else { return };
        let writer = &mut self.writer;
        let mut stream = &mut writer.out[writer.start..];
        let mut stream_end = writer.at - writer.start;
        let mut at = start;
        // How many literals wait, less `at`; the first may be before the view.
        let mut before = base.wrapping_sub(self.anchor);
        while at <= last {
            let new = load32(view, at);
            let head = &mut heads[hash::<BITS>(new)];
            let position = (base.wrapping_add(at)) as u16;
            let distance = usize::from(position.wrapping_sub(*head));
            *head = position;
            // The view reaches back further than any distance, but for the first, in which all entries are of
            // earlier positions.
            let from = at.wrapping_sub(distance);
            let waiting = at.wrapping_add(before);
            if load32(view, from) != new || distance.wrapping_sub(1) >= FAR {
                at += 1 + (waiting >> SKIP_SHIFT);
                continue;
            }
            let length = match_len(view, from, at, end);
            match short_sequence(stream, stream_end, view, at, waiting, distance, length) {
                Some(new_end) => stream_end = new_end,
                None => {
                    let to = base + at;
                    writer.at = writer.start + stream_end;
                    writer.sequence(self.input, to - waiting, to, distance, length);
                    stream = &mut writer.out[writer.start..];
                    stream_end = writer.at - writer.start;
                }
            }
            at += length;
            before = at.wrapping_neg();
            // One position inside each match is remembered too: 3 % on text for 1 % of the speed.
            let word = load32(view, at - 2);
            heads[hash::<BITS>(word)] = base.wrapping_add(at - 2) as u16;
        }
        writer.at = writer.start + stream_end;
        self.anchor = base.wrapping_sub(before);
    }
}

/// In how many bytes the view agrees at `from` and at `at`, where four are known to.
#[inline(always)]
fn match_len(view: &View, from: usize, at: usize, end: usize) -> usize {
    let mut len = SHORTEST;
    while at + len < end {
        let differ = load64(view, from + len) ^ load64(view, at + len);
        if differ != 0 {
            return (len + (differ.trailing_zeros() / 8) as usize).min(end - at);
        }
        len += 8;
    }
    end - at
}

#[inline(always)]
fn hash<const BITS: u32>(word: u32) -> usize {
    (word.wrapping_mul(0x9e37_79b1) >> (32 - BITS)) as usize
}

/// The four bytes from `at` on, the first one lowest.
#[inline(always)]
fn load32(view: &View, at: usize) -> u32 {
    u32::from_le_bytes(load(view, at))
}

/// The same for eight.
#[inline(always)]
fn load64(view: &View, at: usize) -> u64 {
    u64::from_le_bytes(load(view, at))
}

/// Up to sixteen bytes from `at` on, which is in the view's two blocks.
#[inline(always)]
fn load<const N: usize>(view: &View, at: usize) -> [u8; N] {
    const { assert!(N <= PADDING) };
    debug_assert!(at < 2 * BLOCK);
    let at = at & (2 * BLOCK - 1);
    let mut bytes = [0; N];
    bytes.copy_from_slice(&view[at..at + N]);
    bytes
}

/// Nearly all sequences: up to sixteen literals of the block, the last of them before `at`, and a match that takes two or
/// three bytes, behind another instruction. Returns where the stream ends then; `None` for all others and where room
/// is short.
#[inline(always)]
fn short_sequence(
    stream: &mut [u8],
    end: usize,
    view: &View,
    at: usize,
    count: usize,
    distance: usize,
    length: usize,
) -> Option<usize> {
    if count > at.min(16) {
        return None;
    }
    let (word, size) = short_match(distance, length)?;
    // In a window of known size nothing needs a check, and hardly anything a branch. It begins with the low byte
    // of the instruction before; at the stream's start there is none, and so no window.
    let window: &mut [u8; 32] = stream.get_mut(end.wrapping_sub(2)..end + 30)?.first_chunk_mut()?;
    window[0] |= if count <= 3 { count as u8 } else { 0 };
    window[2] = (count as u8).wrapping_sub(3);
    let begin = 2 + usize::from(count > 3);
    window[begin..begin + 16].copy_from_slice(&load::<16>(view, at - count));
    window[begin + count..begin + count + 4].copy_from_slice(&word.to_le_bytes());
    Some(end - 2 + begin + count + size)
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
    #[cold]
    #[inline(never)]
    fn sequence(&mut self, input: &[u8], from: usize, to: usize, distance: usize, length: usize) {
        self.make_room(to - from + length / 128);
        self.put_literals(input, from, to);
        match short_match(distance, length) {
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
#[inline(always)]
fn short_match(distance: usize, length: usize) -> Option<(u32, usize)> {
    debug_assert!((1..=FAR).contains(&distance) && length >= SHORTEST);
    let (distance, length) = (distance as u32, length as u32);
    if distance <= MIDDLE as u32 && length <= 33 {
        let distance = distance - 1;
        // Which of the two is hard to foresee, so both are worked out.
        let near = (distance < NEAR as u32) & (length <= 8);
        let two = (length << 5).wrapping_sub(32) + ((distance & 7) << 2) + ((distance >> 3) << 8);
        let three = 30 + length + (distance << 10);
        Some((if near { two } else { three }, 3 - usize::from(near)))
    } else if distance > MIDDLE as u32 && length <= 9 {
        let distance = distance - MIDDLE as u32;
        let word = 0x10 | (distance & 0x4000) >> 11 | (length - 2) | (distance & 0x3fff) << 10;
        Some((word, 3))
    } else {
        None
    }
}

/// 8192 entries of two bytes leave half of the usual first-level cache to the input. Twice as many gain 0.3 %
/// on text and 1.4 % on machine code, and cost 2 % and 10 % of the speed.
const HASH_BITS: u32 = 13;

/// The same for a block that is small, in bytes.
const SMALL: usize = 4096;
const SMALL_HASH_BITS: u32 = 10;

/// How much of the input is searched as one, in bytes. A power of two, and no less than a match reaches back.
const BLOCK: usize = 1 << 16;

/// What is read of sixteen bytes that begin in a block may lie so far behind it.
const PADDING: usize = 16;

/// The shortest match that is sought.
const SHORTEST: usize = 4;

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
    fn blocks_join() {
        let mut encoder = Encoder::new();
        let view = size_of::<View>();
        for edge in [BLOCK, 2 * BLOCK, view, view + BLOCK, 3 * BLOCK, 4 * BLOCK + view] {
            for len in [edge - 17, edge - 3, edge - 1, edge, edge + 1, edge + 5, edge + 40] {
                for input in [samples::text(len, len as u64), samples::random(len, 9), vec![7; len]] {
                    let mut stream = Vec::new();
                    encoder.compress(&input, &mut stream);
                    assert!(stream == fresh(&input), "{len}");
                    let mut out = Vec::new();
                    decompress(&stream, &mut out, input.len()).unwrap();
                    assert!(out == input, "{len}");
                }
            }
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

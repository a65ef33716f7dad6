//! The encoder: greedy, one pass, one remembered position per hash of four bytes.

use super::FAR;
use super::stage::{Buffer, Stage};

/// Largest number of bytes [`Encoder::compress`] can append for `len` input bytes.
///
/// A match never takes more bytes than it stands for, but it may cut a literal run in two, which costs one
/// byte more per 23 of input at worst; a long run costs one byte per 255. A sixteenth covers both.
pub fn max_compressed_len(len: usize) -> usize {
    len.saturating_add(len / 16).saturating_add(64)
}

/// A compressor with its match table (16 KiB) and buffers (64 KiB, and as much again once an input is shorter than that),
/// meant to live as long as the worker that uses it.
///
/// Nothing of one input is remembered for the next: the same input always yields the same bytes.
#[derive(Debug, Clone)]
pub struct Encoder {
    heads: Box<Heads>,
    stage: Box<Buffer>,
    /// For an input that is too short for a view.
    short: Vec<u8>,
}

/// For each hash, the position in the view where it was seen last. 0 stands for none too: it costs one vain comparison.
type Heads = [u16; 1 << MOST_BITS];

/// What is searched as one. All 16-bit positions are in it, and what is read from them on, so that nothing needs a
/// bounds check.
type View = [u8; VIEW + PADDING];

impl Encoder {
    /// An encoder that has seen nothing.
    pub fn new() -> Self {
        Self { heads: Box::new([0; 1 << MOST_BITS]), stage: Box::new(Stage::BUFFER), short: Vec::new() }
    }

    /// Appends `input` to `out` as one complete stream, or nothing if `input` is empty.
    ///
    /// `out` grows as needed. A caller who reserves [`max_compressed_len`] spares it the moves.
    pub fn compress(&mut self, input: &[u8], out: &mut Vec<u8>) {
        if input.is_empty() {
            return;
        }
        let mut search =
            Search { heads: &mut self.heads, input, anchor: 0, stage: Stage::new(&mut self.stage, out) };
        let Some(last_view) = input.len().checked_sub(size_of::<View>()) else {
            if self.short.is_empty() {
                // Pages of zeros from the kernel, of which only those that are used cost anything.
                self.short = vec![0; size_of::<View>()];
            }
            self.short[..input.len()].copy_from_slice(input);
            if let Some(view) = self.short.first_chunk() {
                search.view(view, 0, LITERALS_FIRST, input.len().min(VIEW));
            }
            search.finish();
            return;
        };
        let (mut base, mut at) = (0, LITERALS_FIRST);
        while let Some(view) = input[base..].first_chunk() {
            at = search.view(view, base, at, VIEW);
            search.stage.empty();
            if base == last_view {
                break;
            }
            base = (at - LOOK_BACK).min(last_view);
        }
        search.finish();
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

/// A search through an input.
struct Search<'a> {
    heads: &'a mut Heads,
    input: &'a [u8],
    /// First byte of the input not written yet.
    anchor: usize,
    stage: Stage<'a>,
}

impl Search<'_> {
    /// Writes the matches that begin in the view, which begins at `base` in the input and is to be read to `end`, from
    /// position `start` of the input on, and the literals before them. Returns where it stopped.
    #[inline(always)]
    fn view(&mut self, view: &View, base: usize, start: usize, end: usize) -> usize {
        // So that the output depends on nothing but the input, and no position is of another view.
        // Of a short one not the whole table: that would cost as much as compressing a kilobyte or two.
        let bits = (self.input.len().ilog2() + 1).clamp(LEAST_BITS, MOST_BITS);
        self.heads[..1 << bits].fill(0);
        let heads = &mut *self.heads;
        let shift = 32 - bits;
        // Beyond it the first bytes compared may be beyond the end.
        let Some(last) = end.checked_sub(FIRST_COMPARED) else { return start };
        let mut at = start - base;
        // How many literals wait, less `at`; the first may be before the view.
        let mut before = base.wrapping_sub(self.anchor);
        let mut staged = self.stage.len;
        while at <= last {
            let here = at as u16;
            let word = u32::from_le_bytes(load::<0, 4>(view, here));
            let head = &mut heads[hash(word, shift)];
            let from = *head;
            *head = here;
            let waiting = at.wrapping_add(before);
            if u32::from_le_bytes(load::<0, 4>(view, from)) != word {
                at += 1 + (waiting >> SKIP_SHIFT);
                continue;
            }
            // All positions in the table are of earlier bytes, so this is at least 1.
            debug_assert!(from < here);
            let distance = usize::from(here).wrapping_sub(usize::from(from));
            if distance > FAR {
                at += 1 + (waiting >> SKIP_SHIFT);
                continue;
            }
            let differ =
                u64::from_le_bytes(load::<4, 8>(view, from)) ^ u64::from_le_bytes(load::<4, 8>(view, here));
            let length = if differ != 0 {
                4 + (differ.trailing_zeros() / 8) as usize
            } else {
                long_match(view, from, here, end)
            };
            staged = match waiting {
                0..=3 => {
                    let literals = load::<0, 4>(view, here.wrapping_sub(waiting as u16));
                    self.stage.few_literals(staged, literals, waiting)
                }
                4..=16 => {
                    let literals = load::<0, 16>(view, here.wrapping_sub(waiting as u16));
                    self.stage.some_literals(staged, literals, waiting)
                }
                _ => self.stage.run(staged, &self.input[base + at - waiting..base + at]),
            };
            staged = self.stage.one_match(staged, distance, length);
            at += length;
            before = at.wrapping_neg();
        }
        self.stage.len = staged;
        self.anchor = base.wrapping_sub(before);
        base + at
    }

    /// Writes what is left, as literals, and the end marker.
    fn finish(mut self) {
        self.stage.finish(&self.input[self.anchor..]);
    }
}

/// In how many bytes the view agrees at `from` and at `here`, where [`FIRST_COMPARED`] are known to, up to its end.
#[inline(always)]
fn long_match(view: &View, from: u16, here: u16, end: usize) -> usize {
    let at = usize::from(here);
    let mut len = FIRST_COMPARED;
    while at + len < end {
        let (a, b) = (from.wrapping_add(len as u16), here.wrapping_add(len as u16));
        let differ = u64::from_le_bytes(load::<0, 8>(view, a)) ^ u64::from_le_bytes(load::<0, 8>(view, b));
        if differ != 0 {
            return (len + (differ.trailing_zeros() / 8) as usize).min(end - at);
        }
        len += 8;
    }
    end - at
}

#[inline(always)]
fn hash(word: u32, shift: u32) -> usize {
    (word.wrapping_mul(0x9e37_79b1) >> (shift & 31)) as usize & ((1 << MOST_BITS) - 1)
}

/// `N` bytes, the first of them `AFTER` bytes after a position.
#[inline(always)]
fn load<const AFTER: usize, const N: usize>(view: &View, at: u16) -> [u8; N] {
    const { assert!(AFTER + N <= PADDING) };
    let at = usize::from(at) + AFTER;
    let mut bytes = [0; N];
    bytes.copy_from_slice(&view[at..at + N]);
    bytes
}

/// How many bits a hash has at most. 8192 entries of two bytes leave half of the usual first-level cache to the input.
/// Twice as many gain 0.3 % on text and 0.5 % on machine code, and cost 3 % and 10 % of the speed.
const MOST_BITS: u32 = 13;

/// And at least, which is how many a short input's hashes have.
const LEAST_BITS: u32 = 9;

/// How many positions 16 bits can tell apart.
const VIEW: usize = 1 << 16;

/// What is read from a position on may lie so far beyond the last.
const PADDING: usize = 16;

/// A stream's first bytes are literals, more than three, because three or fewer need a match before them.
const LITERALS_FIRST: usize = 4;

/// So much of a view is in the next one again: what is copied with an instruction's up to sixteen literals.
const LOOK_BACK: usize = 16;

/// So many bytes are compared before a loop is needed.
const FIRST_COMPARED: usize = 12;

/// After `1 << SKIP_SHIFT` bytes without a match the search makes steps of two, and so on.
const SKIP_SHIFT: u32 = 5;

#[cfg(test)]
mod tests {
    use super::super::{MIDDLE, decompress, samples};
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
        for edge in [VIEW, view, 2 * VIEW - 16, 2 * view, VIEW + view, 3 * view - 32] {
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
        // Literal runs just too long for a single byte, and of other lengths, each cut off by a far match of four.
        for run in [19, 16, 4, 3] {
            let words = samples::random(4 * 4096, 2);
            let noise = samples::random(run * 4096, 3);
            let mut input = words.clone();
            input.extend(samples::random(MIDDLE, 4));
            for (word, run) in words.chunks(4).zip(noise.chunks(run)) {
                input.extend(word);
                input.extend(run);
            }
            assert!(fresh(&input).len() <= max_compressed_len(input.len()));
            let mut out = Vec::new();
            decompress(&fresh(&input), &mut out, input.len()).unwrap();
            assert!(out == input, "{run}");
        }
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

//! The encoder: greedy, one pass, one remembered position per hash of five bytes, in short inputs of four.

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
        let (mut search, short) = self.search(out);
        search.views(input, LITERALS_FIRST, true, bits(input.len()), short);
        search.finish(input);
    }

    /// The same with an input that comes in pieces: `next` puts some of it at the front of what it is given and returns how
    /// many bytes, none at the end. `window` holds what is looked at, which is more than [`PIECES`] bytes only where nothing
    /// repeats for so long; its contents do not matter.
    ///
    /// # Errors
    /// Those of `next`; `out` is as long as it was then.
    pub fn compress_pieces<E>(
        &mut self,
        window: &mut Vec<u8>,
        out: &mut Vec<u8>,
        next: &mut dyn FnMut(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        let start = out.len();
        let (mut search, short) = self.search(out);
        // Counted, like the search's positions, from the window's start.
        let (mut at, mut filled) = (LITERALS_FIRST, 0);
        let mut first_bits = None;
        loop {
            let room = (2 * filled).max(PIECES);
            if window.len() < room {
                window.resize(room, 0);
            }
            let mut is_end = false;
            while !is_end && filled < room {
                match next(&mut window[filled..room]) {
                    Ok(count) => {
                        is_end = count == 0;
                        filled += count;
                    }
                    Err(error) => {
                        out.truncate(start);
                        return Err(error);
                    }
                }
            }
            let input = &window[..filled];
            if is_end && input.is_empty() {
                return Ok(());
            }
            let bits = *first_bits.get_or_insert_with(|| bits(filled));
            at = search.views(input, at, is_end, bits, short);
            if is_end {
                search.finish(input);
                return Ok(());
            }
            let gone = search.anchor.min(at.saturating_sub(LOOK_BACK)).min(filled);
            window.copy_within(gone..filled, 0);
            search.anchor -= gone;
            at -= gone;
            filled -= gone;
        }
    }

    /// A search at its start, and a place for a view.
    fn search<'a>(&'a mut self, out: &'a mut Vec<u8>) -> (Search<'a>, &'a mut Vec<u8>) {
        let stage = Stage::new(&mut self.stage, out);
        (Search { heads: &mut self.heads, anchor: 0, stage }, &mut self.short)
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
    /// First byte of the input not written yet.
    anchor: usize,
    stage: Stage<'a>,
}

impl Search<'_> {
    /// Writes the matches that begin in the input from position `at` on, as far as whole views of it are there, or all of them
    /// if this is its end. Returns where it stopped.
    fn views(&mut self, input: &[u8], mut at: usize, is_end: bool, bits: u32, short: &mut Vec<u8>) -> usize {
        loop {
            let base = at.saturating_sub(LOOK_BACK).min(input.len());
            let rest = &input[base..];
            if let Some(view) = rest.first_chunk() {
                at = self.view(input, view, base, at, VIEW, bits);
            } else if is_end {
                if short.is_empty() {
                    // Pages of zeros from the kernel, of which only those that are used cost anything.
                    *short = vec![0; size_of::<View>()];
                }
                short[..rest.len()].copy_from_slice(rest);
                if let Some(view) = short.first_chunk() {
                    at = self.view(input, view, base, at, rest.len().min(VIEW), bits);
                }
                if rest.len() <= VIEW {
                    return at;
                }
            } else {
                return at;
            }
            self.stage.empty();
        }
    }

    /// Writes the matches that begin in the view, which begins at `base` in the input and is to be read to `end`, from
    /// position `start` of the input on, and the literals before them. Returns where it stopped.
    #[inline(never)]
    fn view(&mut self, input: &[u8], view: &View, base: usize, start: usize, end: usize, bits: u32) -> usize {
        // So that the output depends on nothing but the input, and no position is of another view.
        self.heads[..1 << bits].fill(0);
        if bits == MOST_BITS {
            self.matches(input, view, base, start, end, hash_of_five)
        } else {
            // In short inputs there are few long matches.
            self.matches(input, view, base, start, end, |word| hash_of_four(word, bits))
        }
    }

    /// The same with a table that is empty. Each kind of hash has a loop of its own, whose shifts are known.
    #[inline(always)]
    fn matches(
        &mut self,
        input: &[u8],
        view: &View,
        base: usize,
        start: usize,
        end: usize,
        hash: impl Fn(u64) -> usize,
    ) -> usize {
        let heads = &mut *self.heads;
        // Beyond it the first bytes compared may be beyond the end.
        let Some(last) = end.checked_sub(LAST_LITERALS) else { return start };
        let mut at = start - base;
        // How many literals wait, less `at`; the first may be before the view.
        let mut before = base.wrapping_sub(self.anchor);
        let mut staged = self.stage.len;
        while at <= last {
            let here = at as u16;
            let word = u64::from_le_bytes(load::<0, 8>(view, here));
            let head = &mut heads[hash(word)];
            let from = *head;
            *head = here;
            let waiting = at.wrapping_add(before);
            if u32::from_le_bytes(load::<0, 4>(view, from)) != word as u32 {
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
            let length = match first_difference(view, from, here) {
                Some(length) => length,
                None => long_match(view, from, here, end),
            };
            staged = match waiting {
                0..=16 => {
                    let literals = load::<0, 16>(view, here.wrapping_sub(waiting as u16));
                    self.stage.literals(staged, literals, waiting)
                }
                _ => self.stage.run(staged, &input[base + at - waiting..base + at]),
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
    fn finish(mut self, input: &[u8]) {
        self.stage.finish(&input[self.anchor..]);
    }
}

/// How many bits hashes have for an input of so many bytes. Of a short input not the whole table: that would cost as much as
/// compressing a kilobyte or two.
fn bits(len: usize) -> u32 {
    (len.checked_ilog2().unwrap_or(0) + 1).clamp(LEAST_BITS, MOST_BITS)
}

/// In how many bytes the view agrees at `from` and at `here`, where four are known to, if that is less than
/// [`FIRST_COMPARED`].
#[inline(always)]
fn first_difference(view: &View, from: u16, here: u16) -> Option<usize> {
    let word = |bytes: [u8; 8]| u64::from_le_bytes(bytes);
    let first = word(load::<4, 8>(view, from)) ^ word(load::<4, 8>(view, here));
    let second = if WIDE { word(load::<12, 8>(view, from)) ^ word(load::<12, 8>(view, here)) } else { 0 };
    if first | second == 0 {
        return None;
    }
    // Both are counted, so that which one matters need not be foreseen.
    let (in_first, in_second) = (first.trailing_zeros(), 64 + second.trailing_zeros());
    Some(4 + (if first != 0 { in_first } else { in_second } / 8) as usize)
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

/// Of the first five bytes: matches of four only, which gain little, are found by chance, and the search has fewer and longer
/// ones to write.
#[inline(always)]
fn hash_of_five(word: u64) -> usize {
    (word.wrapping_mul(FACTOR << 24) >> (64 - MOST_BITS)) as usize
}

/// Of the first four.
#[inline(always)]
fn hash_of_four(word: u64, bits: u32) -> usize {
    ((word as u32).wrapping_mul(FACTOR as u32) >> (32 - bits)) as usize & ((1 << MOST_BITS) - 1)
}

/// Spreads bytes over hashes: two to the 32nd power by the golden ratio.
const FACTOR: u64 = 0x9e37_79b1;

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
const PADDING: usize = 32;

/// What a window holds: a few views, small enough for the processor's cache, so that what is read into it is still there
/// when it is compressed.
pub const PIECES: usize = 256 * 1024;

/// A stream's first bytes are literals, more than three, because three or fewer need a match before them.
const LITERALS_FIRST: usize = 4;

/// So much of a view is in the next one again: what is copied with an instruction's up to sixteen literals.
const LOOK_BACK: usize = 16;

/// Whether sixteen bytes are compared behind four before a loop is needed, without a branch on how many agree: the more, the
/// fewer matches need the loop, which is hard to foresee. Where that would take too many registers, it is eight.
const WIDE: bool = cfg!(target_pointer_width = "64");

/// How many bytes are compared in this way.
const FIRST_COMPARED: usize = if WIDE { 20 } else { 12 };

/// So many bytes before the end no match begins; on all machines the same, and the streams with it.
const LAST_LITERALS: usize = 20;
const _: () = assert!(LAST_LITERALS >= FIRST_COMPARED);

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
    fn pieces_are_the_whole() {
        let mut encoder = Encoder::new();
        let mut window = Vec::new();
        let mut large: Vec<u8> = samples::text(400_000, 3);
        large.extend(samples::random(1_500_000, 5));
        large.extend(samples::periodic(FAR, 700_000));
        let noise = ("noise".to_owned(), samples::random(5 * PIECES, 6));
        for (name, input) in samples::all().into_iter().chain([("large".to_owned(), large), noise]) {
            for most in [7, 4000, usize::MAX] {
                if input.len() / most > 1000 {
                    continue;
                }
                let (mut rest, mut out) = (&input[..], b"before".to_vec());
                let mut next = |room: &mut [u8]| {
                    let (piece, behind) = rest.split_at(rest.len().min(room.len()).min(most));
                    room[..piece.len()].copy_from_slice(piece);
                    rest = behind;
                    Ok::<_, ()>(piece.len())
                };
                encoder.compress_pieces(&mut window, &mut out, &mut next).unwrap();
                assert!(out[..6] == *b"before" && out[6..] == fresh(&input), "{name} by {most}");
            }
        }
    }

    #[test]
    fn a_piece_that_cannot_be_had_leaves_nothing() {
        let (mut count, mut out) = (0, b"before".to_vec());
        let mut next = |room: &mut [u8]| {
            count += 1;
            room.fill(count);
            if count < 3 { Ok(room.len()) } else { Err("no more") }
        };
        assert_eq!(Encoder::new().compress_pieces(&mut Vec::new(), &mut out, &mut next), Err("no more"));
        assert_eq!(out, b"before");
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

//! The encoder: greedy, one pass, one remembered position per hash of five bytes, in short inputs of four.

use kernel::search::{Heads, LOOK_BACK, MOST_BITS, Search, VIEW, View, bits};
use kernel::stage::{Buffer, Sink, Stage};

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
        let mut stream = Stream::new(out);
        let (mut search, short) = self.search(&mut stream);
        views(&mut search, input, LITERALS_FIRST, true, bits(input.len()), short);
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
        let mut stream = Stream::new(out);
        let (mut search, short) = self.search(&mut stream);
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
            at = views(&mut search, input, at, is_end, bits, short);
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
    fn search<'a>(&'a mut self, out: &'a mut Stream) -> (Search<'a>, &'a mut Vec<u8>) {
        let stage = Stage::new(&mut self.stage, out);
        (Search { heads: &mut self.heads, anchor: 0, stage }, &mut self.short)
    }
}

/// Writes the matches that begin in the input from position `at` on, as far as whole views of it are there, or all of them
/// if this is its end. Returns where it stopped.
fn views(
    search: &mut Search,
    input: &[u8],
    mut at: usize,
    is_end: bool,
    bits: u32,
    short: &mut Vec<u8>,
) -> usize {
    loop {
        let base = at.saturating_sub(LOOK_BACK).min(input.len());
        let rest = &input[base..];
        if let Some(view) = rest.first_chunk() {
            at = search.view(input, view, base, at, VIEW, bits);
        } else if is_end {
            if short.is_empty() {
                // Pages of zeros from the kernel, of which only those that are used cost anything.
                *short = vec![0; size_of::<View>()];
            }
            short[..rest.len()].copy_from_slice(rest);
            if let Some(view) = short.first_chunk() {
                at = search.view(input, view, base, at, rest.len().min(VIEW), bits);
            }
            if rest.len() <= VIEW {
                return at;
            }
        } else {
            return at;
        }
        search.stage.empty();
    }
}

/// A stream behind what is in a vector already.
struct Stream<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl Stream<'_> {
    fn new(out: &mut Vec<u8>) -> Stream<'_> {
        Stream { start: out.len(), out }
    }
}

impl Sink for Stream<'_> {
    fn is_empty(&self) -> bool {
        self.out.len() == self.start
    }

    fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn put_zeros(&mut self, count: usize) {
        self.out.resize(self.out.len() + count, 0);
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

/// A stream's first bytes are literals, more than three, because three or fewer need a match before them.
const LITERALS_FIRST: usize = 4;

/// What a window holds: a few views, small enough for the processor's cache, so that what is read into it is still there
/// when it is compressed.
pub const PIECES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::super::{FAR, MIDDLE, decompress, samples};
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

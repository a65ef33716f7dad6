//! The search for matches: greedy, one remembered position per hash of five bytes, in short inputs of four.

use crate::FAR;
use crate::stage::Stage;

/// For each hash, the position in the view where it was seen last. 0 stands for none too: it costs one vain comparison.
pub type Heads = [u16; 1 << MOST_BITS];

/// What is searched as one. All 16-bit positions are in it, and what is read from them on, so that nothing needs a
/// bounds check.
pub type View = [u8; VIEW + PADDING];

/// A search through an input.
pub struct Search<'a> {
    /// Empty or not.
    pub heads: &'a mut Heads,
    /// First byte of the input not written yet.
    pub anchor: usize,
    /// Where they are written.
    pub stage: Stage<'a>,
}

impl Search<'_> {
    /// Writes the matches that begin in the view, which begins at `base` in the input and is to be read to `end`, from
    /// position `start` of the input on, and the literals before them. Returns where it stopped.
    #[inline(never)]
    pub fn view(
        &mut self,
        input: &[u8],
        view: &View,
        base: usize,
        start: usize,
        end: usize,
        bits: u32,
    ) -> usize {
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
    pub fn finish(mut self, input: &[u8]) {
        self.stage.finish(&input[self.anchor..]);
    }
}

/// How many bits hashes have for an input of so many bytes. Of a short input not the whole table: that would cost as much as
/// compressing a kilobyte or two.
pub fn bits(len: usize) -> u32 {
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
pub const MOST_BITS: u32 = 13;

/// And at least, which is how many a short input's hashes have.
const LEAST_BITS: u32 = 9;

/// How many positions 16 bits can tell apart.
pub const VIEW: usize = 1 << 16;

/// What is read from a position on may lie so far beyond the last.
pub const PADDING: usize = 32;

/// So much of a view is in the next one again: what is copied with an instruction's up to sixteen literals.
pub const LOOK_BACK: usize = 16;

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

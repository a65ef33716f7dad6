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
            self.matches::<true>(input, view, base, start, end, hash_of_five)
        } else {
            // In short inputs there are few long matches, and what ends one seldom comes again.
            self.matches::<false>(input, view, base, start, end, |word| hash_of_four(word, bits))
        }
    }

    /// The same with a table that is empty. Each kind of hash has a loop of its own, whose shifts are known.
    ///
    /// `LEARNS_ENDS`: of each match the end goes into the table, too. A processor that does more than one thing at a time
    /// has nothing better to do meanwhile, and streams are up to 3 % shorter.
    #[inline(always)]
    fn matches<const LEARNS_ENDS: bool>(
        &mut self,
        input: &[u8],
        view: &View,
        base: usize,
        start: usize,
        end: usize,
        hash: impl Fn(u64) -> usize,
    ) -> usize {
        let heads = &mut *self.heads;
        // Beyond it the first bytes compared may be beyond the end. No view is longer than a view, but where it is said again
        // no position needs to be cut to 16 bits, for which the next one would have to wait.
        let Some(last) = end.min(VIEW).checked_sub(LAST_LITERALS) else { return start };
        let mut at = start - base;
        // How many literals wait, less `at`; the first may be before the view.
        let mut before = base.wrapping_sub(self.anchor);
        let mut staged = self.stage.len;
        'view: while at <= last {
            let mut waiting;
            let mut from = loop {
                waiting = at.wrapping_add(before);
                if let Some(from) = probe(heads, view, at, &hash) {
                    break from;
                }
                at += 1 + (waiting >> SKIP_SHIFT);
                if at > last {
                    break 'view;
                }
            };
            staged = match waiting {
                0..=16 => {
                    let literals = load::<0, 16>(view, wrapped(at.wrapping_sub(waiting)));
                    self.stage.literals(staged, literals, waiting)
                }
                _ => self.stage.run(staged, &input[base + at - waiting..base + at]),
            };
            // After most matches there is another one at once: those know that no literals wait.
            loop {
                let next = match first_difference(view, from, at) {
                    Some(next) => next,
                    None => long_match(view, from, at, end),
                };
                staged = self.stage.one_match(staged, at.wrapping_sub(from), next - at);
                at = next;
                before = at.wrapping_neg();
                if at > last {
                    break 'view;
                }
                if LEARNS_ENDS {
                    learn(heads, view, wrapped(at - 2), &hash);
                }
                match probe(heads, view, at, &hash) {
                    Some(another) => from = another,
                    None => break,
                }
            }
            at += 1;
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

/// Looks for the four bytes at `at`, where the table says that they may have been, and notes that they are here. Returns
/// their earlier position, if it is that and not too far away.
#[inline(always)]
fn probe(heads: &mut Heads, view: &View, at: usize, hash: &impl Fn(u64) -> usize) -> Option<usize> {
    let word = u64::from_le_bytes(load::<0, 8>(view, at));
    let head = &mut heads[hash(word)];
    let from = usize::from(*head);
    *head = at as u16;
    if u32::from_le_bytes(load::<0, 4>(view, from)) != word as u32 {
        return None;
    }
    // All positions in the table are of earlier bytes.
    debug_assert!(from < at);
    (at.wrapping_sub(from) <= FAR).then_some(from)
}

/// Notes that the bytes at `at` are there.
#[inline(always)]
fn learn(heads: &mut Heads, view: &View, at: usize, hash: &impl Fn(u64) -> usize) {
    heads[hash(u64::from_le_bytes(load::<0, 8>(view, at)))] = at as u16;
}

/// Where the bytes at `at` and behind, of which four are those at `from`, begin to differ from those, if that is within
/// [`FIRST_COMPARED`].
///
/// The next search waits for it, and hardly for anything else: every instruction between the bytes and the result counts, and
/// a branch on which word it is would be hard to foresee.
#[inline(always)]
fn first_difference(view: &View, from: usize, at: usize) -> Option<usize> {
    let word = |bytes: [u8; 8]| u64::from_le_bytes(bytes);
    let first = word(load::<4, 8>(view, from)) ^ word(load::<4, 8>(view, at));
    let second = if WIDE { word(load::<12, 8>(view, from)) ^ word(load::<12, 8>(view, at)) } else { 0 };
    if first | second == 0 {
        return None;
    }
    let (differ, start) = if first != 0 { (first, at + 4) } else { (second, at + 12) };
    Some(start + (differ.trailing_zeros() / 8) as usize)
}

/// The same behind [`FIRST_COMPARED`] bytes, where the end of the view, `end`, is the last answer.
#[inline(always)]
fn long_match(view: &View, from: usize, at: usize, end: usize) -> usize {
    let mut len = FIRST_COMPARED;
    loop {
        let before = u64::from_le_bytes(load::<0, 8>(view, wrapped(from + len)));
        let differ = u64::from_le_bytes(load::<0, 8>(view, wrapped(at + len))) ^ before;
        let next = at + len + (differ.trailing_zeros() / 8) as usize;
        len += 8;
        if at + len > end {
            return next.min(end);
        }
        if differ != 0 {
            return next;
        }
    }
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
fn load<const AFTER: usize, const N: usize>(view: &View, at: usize) -> [u8; N] {
    const { assert!(AFTER + N <= PADDING) };
    let at = at + AFTER;
    let mut bytes = [0; N];
    bytes.copy_from_slice(&view[at..at + N]);
    bytes
}

/// A position that is known to be in the view, for those that do not know.
#[inline(always)]
fn wrapped(at: usize) -> usize {
    usize::from(at as u16)
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

//! Where the encoder writes its instructions: a buffer of known size, in which nothing needs a bounds check, and which is
//! emptied into a vector now and then.

use crate::{END, MIDDLE, NEAR};

/// What is written and has not been moved on yet, and where it goes.
///
/// The length is handed to each writer and comes back from it, because it lives in a register while a search is at work. A
/// match's last two bytes stay here: they take the number of up to three literals that follow.
pub struct Stage<'a> {
    buffer: &'a mut Buffer,
    /// How much is in the buffer, between searches.
    pub len: usize,
    out: &'a mut dyn Sink,
}

/// Where a stream goes.
pub trait Sink {
    /// Whether nothing of the stream has come here yet.
    fn is_empty(&self) -> bool;

    /// Takes bytes of it.
    fn put(&mut self, bytes: &[u8]);

    /// Takes so many zeros of it.
    fn put_zeros(&mut self, count: usize);
}

/// What a stage needs for its work.
pub type Buffer = [u8; SIZE + OVERSHOOT];

impl<'a> Stage<'a> {
    /// A buffer as it is made. What it holds does not matter.
    pub const BUFFER: Buffer = [0; SIZE + OVERSHOOT];

    /// A stage whose stream goes there.
    pub fn new(buffer: &'a mut Buffer, out: &'a mut dyn Sink) -> Self {
        Self { buffer, len: 0, out }
    }

    /// Writes up to sixteen literals, behind a match if they are fewer than four.
    #[inline(always)]
    pub fn literals(&mut self, len: usize, literals: [u8; 16], count: usize) -> usize {
        // The match before has room for the number of up to three: in its opcode if it takes two bytes, else in its low
        // distance byte. How many there are is hard to foresee, so nothing branches on it.
        let more = usize::from(count > 3);
        // (At the start of a stream there are more, and 0 is added to a byte far away.)
        self.buffer[len.wrapping_sub(2) & (SIZE - 1)] |= count as u8 & (more as u8).wrapping_sub(1);
        let opcode: &mut [u8; 1] = window(self.buffer, len);
        opcode[0] = (count as u8).wrapping_sub(3);
        *window(self.buffer, len + more) = literals;
        len + more + count
    }

    /// Writes any number of literals that are not behind a match, or more than three.
    #[cold]
    #[inline(never)]
    pub fn run(&mut self, len: usize, literals: &[u8]) -> usize {
        let count = literals.len();
        let opcode: &mut [u8; 2] = window(self.buffer, len);
        let end = match count {
            // The first opcode of a stream has a meaning of its own.
            ..=238 if len == 0 && self.out.is_empty() => {
                opcode[0] = 17 + count as u8;
                1
            }
            ..=18 => {
                opcode[0] = count as u8 - 3;
                len + 1
            }
            _ => {
                let more = count - 18;
                *opcode = [0, last_byte(more)];
                match (more - 1) / 255 {
                    0 => len + 2,
                    zeros => {
                        self.out.put(&self.buffer[..len]);
                        self.out.put_zeros(1 + zeros);
                        self.buffer[0] = last_byte(more);
                        1
                    }
                }
            }
        };
        self.out.put(&self.buffer[..end]);
        self.out.put(literals);
        0
    }

    /// Writes a match of at least four bytes.
    #[inline(always)]
    pub fn one_match(&mut self, len: usize, distance: usize, length: usize) -> usize {
        if distance <= MIDDLE {
            let distance = distance as u32 - 1;
            if length > 33 {
                return self.long_match(len, 0x20, length - 33, distance);
            }
            let length = length as u32 - 1;
            // Which of the two is hard to foresee, so both are worked out.
            let two = (length << 5) + ((distance & 7) << 2) + ((distance >> 3) << 8);
            let three = 0x1f + length + (distance << 10);
            let is_near = distance >> NEAR.ilog2() | length >> 3 == 0;
            let word = if is_near { two } else { three };
            *window(self.buffer, len) = word.to_le_bytes();
            len + 3 - usize::from(is_near)
        } else {
            let distance = (distance - MIDDLE) as u32;
            let opcode = 0x10 | (distance & 0x4000) >> 11;
            if length > 9 {
                return self.long_match(len, opcode, length - 9, distance & 0x3fff);
            }
            let word = opcode | (length as u32 - 2) | (distance & 0x3fff) << 10;
            *window(self.buffer, len) = word.to_le_bytes();
            len + 3
        }
    }

    /// The same if the length does not fit the opcode; `more` is what exceeds the greatest that would.
    #[inline(always)]
    fn long_match(&mut self, mut len: usize, opcode: u32, more: usize, distance: u32) -> usize {
        *window(self.buffer, len) = [opcode as u8];
        len += 1;
        let mut last = more as u32;
        if more > 255 {
            len = self.zeros(len, (more - 1) / 255);
            last = last_byte(more).into();
        }
        let word = last | distance << 10;
        *window(self.buffer, len) = word.to_le_bytes();
        len + 3
    }

    #[cold]
    #[inline(never)]
    fn zeros(&mut self, len: usize, count: usize) -> usize {
        self.out.put(&self.buffer[..len]);
        self.out.put_zeros(count);
        0
    }

    /// Makes room, but for the last bytes.
    pub fn empty(&mut self) {
        let keep = self.len.saturating_sub(2);
        self.out.put(&self.buffer[..keep]);
        self.buffer.copy_within(keep..self.len, 0);
        self.len -= keep;
    }

    /// Writes the literals that are left, and the end marker.
    pub fn finish(&mut self, literals: &[u8]) {
        let count = literals.len();
        match count {
            0 => {}
            // Behind a match, as it is not the first.
            1..=3 if self.len > 0 => {
                self.buffer[self.len - 2] |= count as u8;
                self.buffer[self.len..self.len + count].copy_from_slice(literals);
                self.len += count;
            }
            _ => self.len = self.run(self.len, literals),
        }
        self.out.put(&self.buffer[..self.len]);
        self.out.put(&END);
    }
}

/// `N` bytes of the buffer, which all positions have behind them.
#[inline(always)]
fn window<const N: usize>(buffer: &mut Buffer, at: usize) -> &mut [u8; N] {
    const { assert!(N <= OVERSHOOT) };
    debug_assert!(at < SIZE);
    let at = at & (SIZE - 1);
    let Some(window) = buffer[at..at + N].first_chunk_mut() else { unreachable!() };
    window
}

/// A length that does not fit its opcode ends with this byte, behind a zero for each 255 before: 1 to 255.
#[inline(always)]
fn last_byte(more: usize) -> u8 {
    ((more - 1) % 255 + 1) as u8
}

/// How many positions a buffer has: as many as a view, because instructions never take more than what they stand for.
const SIZE: usize = 1 << 16;

/// So much lies behind the last position.
const OVERSHOOT: usize = 32;

//! What most of an expansion is: short instructions, far from every end.

use crate::MIDDLE;

/// Expands instructions as long as they take few bytes and are far from every end: nearly all. Takes and returns what is read and
/// written and S; the instruction at which it
/// stops, whatever that may be, is the caller's.
#[inline(never)]
pub fn expand_short(
    input: &[u8],
    buffer: &mut [u8],
    read: usize,
    mut written: usize,
    mut literals: usize,
) -> (usize, usize, usize) {
    let Some(mut rest) = input.get(read..) else { return (read, written, literals) };
    while let Some(ahead) = rest.first_chunk::<AHEAD>() {
        let Some((before, after)) = buffer.split_at_mut_checked(written) else { break };
        let Some(target) = after.first_chunk_mut::<ROOM>() else { break };
        let opcode = usize::from(ahead[0]);
        if opcode < 0x10 {
            if literals != 0 || opcode == 0 {
                break;
            }
            let count = opcode + 3;
            target[..18].copy_from_slice(&ahead[1..19]);
            rest = &rest[1 + count..];
            written += count;
            literals = 4;
            continue;
        }
        let mut word = word_at(ahead, 0);
        let kind = &KINDS[opcode];
        let mut length = usize::from(kind.length);
        // Two bytes or three: which is hard to foresee, so nothing branches on it. (Written as a choice between values it
        // becomes a branch, and text expands at two thirds of the speed.)
        let is_three = usize::from(opcode < 0x40);
        let mut size = 2 + is_three;
        if kind.is_long {
            let more = usize::from(ahead[1]);
            if more == 0 {
                break;
            }
            length += more;
            word = word_at(ahead, 1);
            size += 1;
        }
        let value = word >> 8 & u32::from(kind.mask);
        let distance = ((value << 3) >> kind.shift) as usize + usize::from(kind.nearest);
        // The same, and without a shift by what is just being found out: all that follows waits for it.
        let mask = (is_three as u32).wrapping_neg();
        let last = ((word ^ ((word ^ (word >> 8)) & mask)) & 3) as usize;
        let tail = word_at(ahead, size);
        let Some(from) = written.checked_sub(distance) else { break };
        // The end, or a match that looks like it.
        if distance == MIDDLE {
            break;
        }
        match before[from..].first_chunk::<MOST>() {
            Some(source) if length <= MOST => {
                target[..MOST].copy_from_slice(source);
                target[length..length + 4].copy_from_slice(&tail.to_le_bytes());
                written += length;
            }
            _ => {
                copy_match(buffer, written, distance, length);
                written += length;
                buffer[written..written + 4].copy_from_slice(&tail.to_le_bytes());
            }
        }
        rest = &rest[size + last..];
        written += last;
        literals = last;
    }
    (input.len() - rest.len(), written, literals)
}

/// Four bytes of what is ahead.
#[inline(always)]
fn word_at(ahead: &[u8; AHEAD], at: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&ahead[at..at + 4]);
    u32::from_le_bytes(bytes)
}

/// What an opcode says of a match of two or three bytes, so that both are read in one way.
#[derive(Clone, Copy)]
struct Kind {
    /// How many bytes it copies; those of the next byte come on top if `is_long`.
    length: u8,
    is_long: bool,
    /// Which of the 16 bits behind the opcode, and that byte, are the distance's.
    mask: u16,
    /// By how much more than three bits these are shifted.
    shift: u8,
    /// The least distance.
    nearest: u16,
}

/// By opcode, from `10` on.
static KINDS: [Kind; 256] = {
    let mut kinds = [Kind { length: 0, is_long: false, mask: 0, shift: 0, nearest: 0 }; 256];
    let mut opcode = 0x10;
    while opcode < 256 {
        let b = opcode as u8;
        let nearest;
        let most = if opcode < 0x20 { 7 } else { 31 };
        let length = if b & most == 0 { most + 2 } else { (b & most) + 2 };
        kinds[opcode] = match opcode {
            0x40.. => {
                nearest = ((b >> 2) & 7) as u16 + 1;
                Kind { length: (b >> 5) + 1, is_long: false, mask: 0xff, shift: 0, nearest }
            }
            _ => {
                nearest = if opcode < 0x20 { MIDDLE as u16 + ((b as u16 & 8) << 11) } else { 1 };
                Kind { length, is_long: b & most == 0, mask: 0xfffc, shift: 5, nearest }
            }
        };
        opcode += 1;
    }
    kinds
};

/// Copies `length` bytes to `at` from `distance` bytes before it, as if byte by byte.
///
/// `distance` is from 1 to `at`. Up to 15 bytes more may be overwritten, and must be there.
#[inline(always)]
pub fn copy_match(buffer: &mut [u8], at: usize, distance: usize, length: usize) {
    let from = at - distance;
    // One bounds check for all: below, `done` counts from `from`.
    let window = &mut buffer[from..at + length + 16];
    if distance >= 16 {
        let mut done = 0;
        while done < length {
            copy::<16>(window, done, done + distance);
            done += 16;
        }
    } else {
        copy_near(window, distance, length);
    }
}

/// The same for a distance below 16, from the start of `window`.
#[inline(never)]
pub fn copy_near(window: &mut [u8], distance: usize, length: usize) {
    if distance >= 8 {
        let mut done = 0;
        while done < length {
            copy::<8>(window, done, done + distance);
            done += 8;
        }
    } else if distance == 1 {
        let bytes = [window[0]; 16];
        let mut done = 0;
        while done < length {
            window[done + 1..done + 17].copy_from_slice(&bytes);
            done += 16;
        }
    } else {
        // What repeats every 2 to 7 bytes also repeats every 8 to 14.
        let period = distance * 8usize.div_ceil(distance);
        let mut done = 0;
        while done < length.min(period - distance) {
            window[done + distance] = window[done];
            done += 1;
        }
        let mut done = 0;
        while done + period < length + distance {
            copy::<8>(window, done, done + period);
            done += 8;
        }
    }
}

/// Copies so many bytes, all read before any is written. What `copy_within` does too, but as a call where the program is
/// built for size.
#[inline(always)]
fn copy<const N: usize>(bytes: &mut [u8], from: usize, to: usize) {
    let mut copied = [0; N];
    copied.copy_from_slice(&bytes[from..from + N]);
    bytes[to..to + N].copy_from_slice(&copied);
}

/// So many bytes of input are looked at for one instruction: the longest is a run of 18 literals with its opcode.
const AHEAD: usize = 20;

/// So much one of them may write: a match of 33 + 255 bytes, 15 that it overshoots, and four literals.
const ROOM: usize = 320;

/// Nearly all matches are no longer, and come from no closer.
const MOST: usize = 32;

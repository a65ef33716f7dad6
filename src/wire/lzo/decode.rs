//! The decoder. Its input comes from a peer and is not trusted in any way.
//!
//! All multi-byte values are little-endian. `S` is the number of literals that followed the instruction
//! before: 0 to 3 after a match, 4 after a run of literals, 0 at the start.
//!
//! | opcode `b` | if | meaning |
//! |---|---|---|
//! | `12..=ff` | first byte | `b - 17` literals; S = min(count, 4) |
//! | `00..=0f` | S = 0 | `b + 3` literals, or 18 + *more* if `b` = 0; S = 4 |
//! | `00..=0f` | S = 1, 2, 3 | next byte `h`; match of 2 at `4h + (b >> 2) + 1`; `b & 3` literals |
//! | `00..=0f` | S = 4 | next byte `h`; match of 3 at `4h + (b >> 2) + 2049`; `b & 3` literals |
//! | `10..=1f` | | length `(b & 7) + 2`, or 9 + *more* if `b & 7` = 0; 16 bits `v`; distance `16384 + ((b & 8) << 11) + (v >> 2)`, where exactly 16384 ends the stream; `v & 3` literals |
//! | `20..=3f` | | length `(b & 31) + 2`, or 33 + *more* if `b & 31` = 0; 16 bits `v`; distance `(v >> 2) + 1`; `v & 3` literals |
//! | `40..=ff` | | next byte `h`; match of `(b >> 5) + 1` at `8h + ((b >> 2) & 7) + 1`; `b & 3` literals |
//!
//! *More* is 255 for each zero byte, and the non-zero byte after them. The end marker's length and literals
//! have no meaning; liblzo2 takes no notice of them (tried on the library), and neither do we.

use std::cmp::Ordering::{Equal, Greater, Less};
use std::{error, fmt};

use super::{FAR, MIDDLE, NEAR};
use kernel::expand::{copy_match, expand_short};

/// Why a stream was refused. In every case the peer sent something it should not have, except for `NoMemory`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The stream stops before its end marker.
    Truncated,
    /// A match reaches back to before the first byte.
    LookBehind,
    /// Bytes follow the end marker.
    TrailingBytes,
    /// The expansion is longer than the caller allows, in bytes.
    TooLong {
        /// What the caller allows.
        ceiling: usize,
    },
    /// No memory could be had for the expansion.
    NoMemory,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("compressed data stops before its end marker"),
            Self::LookBehind => f.write_str("compressed data refers to bytes before its start"),
            Self::TrailingBytes => f.write_str("compressed data goes on after its end marker"),
            Self::TooLong { ceiling } => {
                write!(f, "compressed data expands to more than {ceiling} bytes")
            }
            Self::NoMemory => f.write_str("no memory to expand compressed data"),
        }
    }
}

impl error::Error for Error {}

/// Appends the expansion of `input`, one complete stream, to `out`.
///
/// An empty input stands for an empty body. The expansion may be `ceiling` bytes long, not counting what
/// `out` held before. Memory follows the data: it is taken as the expansion grows, and no length in the
/// stream is believed before there is something to copy. Room reserved by the caller is used first.
///
/// On an error `out` is left as long as it was.
pub fn decompress(input: &[u8], out: &mut Vec<u8>, ceiling: usize) -> Result<(), Error> {
    let start = out.len();
    // Preprocessed text shrinks to about a quarter.
    let likely = input.len().saturating_mul(4);
    reserve(out, start, likely.min(ceiling), ceiling)?;
    let expanded = expand(input, &mut Whole { out, start, step: likely }, ceiling);
    out.truncate(start + expanded.unwrap_or(0));
    expanded.map(drop)
}

/// The same, piece by piece through `window`, which stays small enough for the processor's cache; its contents
/// do not matter.
///
/// On an error some pieces have been handed out.
pub fn decompress_in_pieces(
    input: &[u8],
    window: &mut Vec<u8>,
    ceiling: usize,
    take: &mut dyn FnMut(&[u8]),
) -> Result<(), Error> {
    let mut window = Window { buffer: window, taken: 0, take };
    let written = expand(input, &mut window, ceiling)?;
    (window.take)(&window.buffer[window.taken..written]);
    Ok(())
}

/// Where an expansion goes. What lies before a position that a match can reach back to may be gone.
trait Output {
    /// Makes room for `need` bytes behind the `written` ones, or up to the ceiling if that is less. Returns all
    /// that is there and how many bytes have gone from its start.
    fn grow(&mut self, written: usize, need: usize, ceiling: usize) -> Result<(&mut [u8], usize), Error>;
}

/// All of it behind what is in a vector already.
struct Whole<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    /// How much is filled next, at most [`STEP`].
    step: usize,
}

impl Output for Whole<'_> {
    /// Fills in steps which stay in the processor's cache until they are overwritten.
    #[cold]
    fn grow(&mut self, written: usize, need: usize, ceiling: usize) -> Result<(&mut [u8], usize), Error> {
        let len = written.saturating_add(need).saturating_add(self.step.min(STEP)).min(ceiling);
        self.step = STEP;
        reserve(self.out, self.start, len, ceiling)?;
        self.out.resize(self.start + len, 0);
        Ok((&mut self.out[self.start..], 0))
    }
}

/// As much as matches need, the rest handed on.
struct Window<'a> {
    buffer: &'a mut Vec<u8>,
    /// So much of the buffer has been handed on.
    taken: usize,
    take: &'a mut dyn FnMut(&[u8]),
}

impl Output for Window<'_> {
    #[cold]
    fn grow(&mut self, written: usize, need: usize, ceiling: usize) -> Result<(&mut [u8], usize), Error> {
        let is_full = written.saturating_add(need) > WINDOW;
        let gone = if is_full { written.saturating_sub(REACH) } else { 0 };
        if gone > 0 {
            (self.take)(&self.buffer[self.taken..written]);
            self.buffer.copy_within(gone..written, 0);
            self.taken = written - gone;
        }
        let ceiling = ceiling - gone;
        // A run that is longer than the window makes it as large as itself.
        let need = (written - gone).saturating_add(need);
        let len = need.max((2 * self.buffer.len()).clamp(STEP, WINDOW)).min(ceiling);
        if self.buffer.len() < len {
            self.buffer.try_reserve_exact(len - self.buffer.len()).map_err(|_| Error::NoMemory)?;
            self.buffer.resize(len, 0);
        }
        let len = self.buffer.len().min(ceiling);
        Ok((&mut self.buffer[..len], gone))
    }
}

/// No match reaches back further.
const REACH: usize = 64 * 1024;
const _: () = assert!(FAR < REACH);

/// How large a window becomes: pieces are large, because writing a file in large pieces costs less, and yet stay
/// in the cache.
const WINDOW: usize = 768 * 1024;

/// Returns the length of the expansion, less what has gone from `out`. What lies beyond it in `out`, or all of
/// it on an error, is the caller's to cut.
fn expand(input: &[u8], out: &mut impl Output, allowed: usize) -> Result<usize, Error> {
    // Counted, like all positions, from what is still in `out`.
    let mut ceiling = allowed;
    let Some(&first) = input.first() else {
        return Ok(0);
    };
    // The expansion; longer than what is written, so that copies may overshoot. `written <= buffer.len() <=
    // ceiling`
    let mut buffer: &mut [u8] = &mut [];
    let mut written = 0;
    // `read <= input.len()`
    let mut read = 0;
    // S above, as a number of literals that are yet to be copied while an instruction is at work.
    let mut literals = 0;

    // Makes sure that `$count` more bytes may be written, and if the ceiling allows that there is slack after
    // them.
    macro_rules! make_room {
        ($count:expr) => {
            if buffer.len() - written < $count + SLACK {
                if ceiling - written < $count {
                    return Err(Error::TooLong { ceiling: allowed });
                }
                if buffer.len() < ceiling {
                    let gone;
                    (buffer, gone) = out.grow(written, $count + SLACK, ceiling)?;
                    written -= gone;
                    ceiling -= gone;
                }
            }
        };
    }

    if first > 17 {
        let count = usize::from(first) - 17;
        let source = input.get(1..1 + count).ok_or(Error::Truncated)?;
        make_room!(count);
        buffer[..count].copy_from_slice(source);
        written += count;
        read = 1 + count;
        literals = count.min(4);
    }

    loop {
        (read, written, literals) = expand_short(input, buffer, read, written, literals);
        let mut head = head(input, read);
        let opcode = head as u8 as usize;
        let length;
        let distance;
        match opcode {
            0x40.. => {
                length = (opcode >> 5) + 1;
                distance = (((head >> 5) & 0x7f8) | ((head >> 2) & 7)) as usize + 1;
                literals = opcode & 3;
                head >>= 16;
                read += 2;
            }
            0x10.. => {
                let mask = if opcode >= 0x20 { 31 } else { 7 };
                let short = opcode & mask;
                read += 1;
                head >>= 8;
                if short != 0 {
                    length = short + 2;
                } else {
                    let more = more(input, &mut read, allowed)?;
                    length = mask + 2 + more;
                    head = self::head(input, read);
                }
                let value = head as u16 as usize;
                literals = value & 3;
                head >>= 16;
                read += 2;
                if opcode >= 0x20 {
                    distance = (value >> 2) + 1;
                } else {
                    distance = MIDDLE + ((opcode & 8) << 11) + (value >> 2);
                    if distance == MIDDLE {
                        return match read.cmp(&input.len()) {
                            Less => Err(Error::TrailingBytes),
                            Equal => Ok(written),
                            Greater => Err(Error::Truncated),
                        };
                    }
                }
            }
            _ if literals == 0 => {
                read += 1;
                let count = match opcode {
                    0 => 18 + more(input, &mut read, allowed)?,
                    _ => opcode + 3,
                };
                let source = input.get(read..).unwrap_or_default();
                if source.len() < count {
                    return Err(Error::Truncated);
                }
                make_room!(count);
                let target = &mut buffer[written..];
                match (target.first_chunk_mut::<16>(), source.first_chunk::<16>()) {
                    (Some(target), Some(source)) if count <= 16 => *target = *source,
                    _ => target[..count].copy_from_slice(&source[..count]),
                }
                read += count;
                written += count;
                literals = 4;
                continue;
            }
            _ => {
                let near = ((head >> 6) & 0x3fc | (head >> 2) & 3) as usize + 1;
                (length, distance) = if literals == 4 { (3, near + NEAR) } else { (2, near) };
                literals = opcode & 3;
                head >>= 16;
                read += 2;
            }
        }
        read += literals;
        if read > input.len() {
            return Err(Error::Truncated);
        }
        if distance > written {
            return Err(Error::LookBehind);
        }
        make_room!(length + literals);
        if buffer.len() - written >= length + SLACK {
            copy_match(buffer, written, distance, length);
            written += length;
            // All three that there might be. The next instruction goes over those that are not meant.
            buffer[written..written + 4].copy_from_slice(&(head as u32).to_le_bytes());
            written += literals;
        } else {
            // Close to the ceiling; here alone nothing may overshoot.
            for at in written..written + length {
                buffer[at] = buffer[at - distance];
            }
            written += length;
            let bytes = head.to_le_bytes();
            buffer[written..written + literals].copy_from_slice(&bytes[..literals]);
            written += literals;
        }
    }
}

/// The bytes from `at` on: an opcode and, unless a long length comes between, all that belongs to it. Zeros
/// stand for what lies beyond the end.
fn head(input: &[u8], at: usize) -> u64 {
    let rest = input.get(at..).unwrap_or_default();
    match rest.first_chunk::<8>() {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => short_head(rest),
    }
}

#[cold]
fn short_head(rest: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes[..rest.len()].copy_from_slice(rest);
    u64::from_le_bytes(bytes)
}

/// Reads the rest of a long length at `read`, and leaves `read` after it.
fn more(input: &[u8], read: &mut usize, ceiling: usize) -> Result<usize, Error> {
    let mut length = 0;
    loop {
        let byte = *input.get(*read).ok_or(Error::Truncated)?;
        *read += 1;
        if byte != 0 {
            return Ok(length + usize::from(byte));
        }
        length += 255;
        // Keeps sums in range. A length above the ceiling is no error yet, as the end marker has one without
        // meaning.
        if length > isize::MAX as usize {
            return Err(Error::TooLong { ceiling });
        }
    }
}

/// Makes room for an expansion of `len` bytes. Memory at least doubles, but never goes beyond the ceiling.
fn reserve(out: &mut Vec<u8>, start: usize, len: usize, ceiling: usize) -> Result<(), Error> {
    let held = out.capacity() - start;
    if len <= held {
        return Ok(());
    }
    let capacity = len.max(held.saturating_mul(2)).min(ceiling);
    out.try_reserve_exact(start + capacity - out.len()).map_err(|_| Error::NoMemory)
}

/// How far a copy may overshoot what it is asked for, in bytes.
const SLACK: usize = 16;

/// By how much the filled vector runs ahead, in bytes.
const STEP: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::super::{Encoder, FAR, samples};
    use super::*;

    #[test]
    fn pieces_are_the_whole() {
        let mut window = Vec::new();
        let mut in_pieces = |input: &[u8], ceiling| {
            let mut out = Vec::new();
            decompress_in_pieces(input, &mut window, ceiling, &mut |piece| out.extend_from_slice(piece))
                .map(|()| out)
        };
        let mut large: Vec<u8> = samples::text(700_000, 3);
        large.extend(std::iter::repeat_n(7, 900_000));
        large.extend(samples::random(600_000, 5));
        large.extend(samples::periodic(FAR, 700_000));
        for (name, plain) in samples::all().into_iter().chain([("large".to_owned(), large)]) {
            let mut stream = Vec::new();
            Encoder::new().compress(&plain, &mut stream);
            assert!(in_pieces(&stream, plain.len()).as_ref() == Ok(&plain), "{name}");
            assert!(in_pieces(&stream, 1 << 30).as_ref() == Ok(&plain), "{name}");
            if !plain.is_empty() {
                let ceiling = plain.len() - 1;
                assert_eq!(in_pieces(&stream, ceiling), Err(Error::TooLong { ceiling }), "{name}");
                stream.pop();
                assert_eq!(in_pieces(&stream, 1 << 30), Err(Error::Truncated), "{name}");
            }
        }
        assert_eq!(in_pieces(&bytes("1261440000110000"), 100), expanded(&bytes("1261440000110000"), 100));
    }

    /// Made by a stock peer: see the protocol notes, 7.3.
    #[test]
    fn stock_vectors() {
        let hello = "hello ".repeat(5).trim_end().to_owned() + "\n";
        let vectors: [(&str, &[u8]); 11] = [
            ("1261110000", b"a"),
            ("14616263110000", b"abc"),
            ("18696e7420783b0a110000", b"int x;\n"),
            ("2b696e74206d61696e28766f6964297b72657475726e20303b7d0a110000", b"int main(void){return 0;}\n"),
            ("2f68656c6c6f2068656c6c6f2068656c6c6f2068656c6c6f2068656c6c6f0a110000", hello.as_bytes()),
            ("026161616161200b10000c616161616161616161616161616161110000", &[b'a'; 64]),
            ("02616161616120f31000000161616161616161616161616161616161616161110000", &[b'a'; 300]),
            (
                "0561626364656667682000c41c0000026566676861626364656667686162636465666768110000",
                &b"abcdefgh".repeat(64),
            ),
            (
                "02000000000020000000000000000000000000000000000000006610000c000000000000000000000000000000110000",
                &[0; 5000],
            ),
            ("110000", b""),
            ("", b""),
        ];
        for (hex, plain) in vectors {
            assert_eq!(expanded(&bytes(hex), plain.len()).as_deref(), Ok(plain), "{hex}");
        }
    }

    #[test]
    fn reads_lzokay() {
        let wanted = |name: &str| {
            ["text", "run 3", "period", "random 1", "patches"].iter().any(|n| name.starts_with(n))
        };
        for (name, input) in samples::all() {
            // Its encoder is slow in a debug build.
            if wanted(&name) && !input.is_empty() && input.len() < 4000 {
                let stream = lzokay_native::compress(&input).unwrap();
                assert!(expanded(&stream, input.len()).as_ref() == Ok(&input), "{name}");
            }
        }
    }

    #[test]
    fn low_opcodes_depend_on_the_literals_before() {
        // Two literals, a match of 2 at distance 2 with one literal, another match of 2, a run of literals,
        // the end.
        let stream = bytes("1361 62 0500 63 0400 01 64656667 110000");
        assert_eq!(expanded(&stream, 11).unwrap(), b"ababcbcdefg");

        // A run of 2050 literals, a match of 3 at distance 2050 with three literals, a match of 2 at distance
        // 1025.
        let plain = samples::random(2050, 6);
        let mut stream = bytes("00 00000000000000 f7");
        stream.extend(&plain);
        stream.extend(bytes("07 00 787978 00ff 110000"));
        let mut wanted = plain.clone();
        wanted.extend(&plain[..3]);
        wanted.extend(b"xyx");
        wanted.extend_from_within(wanted.len() - 1021..wanted.len() - 1019);
        assert_eq!(expanded(&stream, 9999).unwrap(), wanted);
    }

    #[test]
    fn far_matches() {
        let plain = samples::random(FAR, 7);
        let mut stream = Vec::new();
        Encoder::new().compress(&plain, &mut stream);
        stream.truncate(stream.len() - 3);
        // The farthest, of 8 with one literal; 16385 of 9 + 2; 32768 of 3, whose sixteen bits are 0, with
        // none.
        stream.extend(bytes("1e fdff 78 10 02 0400 19 0000 110000"));
        let mut wanted = plain.clone();
        wanted.extend(&plain[..8]);
        wanted.push(b'x');
        for (distance, length) in [(16385, 11), (32768, 3)] {
            let from = wanted.len() - distance;
            wanted.extend_from_within(from..from + length);
        }
        assert!(expanded(&stream, wanted.len()).unwrap() == wanted);
    }

    #[test]
    fn cut_anywhere_it_errs() {
        for input in [samples::text(3000, 1), samples::random(400, 2), vec![7; 3000]] {
            let stream = stream(&input);
            for len in 1..stream.len() {
                assert_eq!(expanded(&stream[..len], usize::MAX), Err(Error::Truncated), "{len}");
            }
        }
    }

    #[test]
    fn flipped_bits_do_no_harm() {
        let plain = samples::text(3000, 3);
        let stream = stream(&plain);
        let mut state = samples::Xorshift::new(4);
        for _ in 0..3000 {
            let mut stream = stream.clone();
            for _ in 0..1 + state.next() % 3 {
                let at = state.next() as usize % stream.len();
                stream[at] ^= 1 << (state.next() % 8);
            }
            // `expanded` asserts what must hold.
            let _ = expanded(&stream, 4000);
        }
    }

    #[test]
    fn noise_does_no_harm() {
        for seed in 0..3000 {
            let _ = expanded(&samples::random(1 + seed as usize % 60, seed), 1000);
        }
    }

    #[test]
    fn ceiling_is_exact() {
        for (name, input) in samples::all() {
            let stream = stream(&input);
            assert!(expanded(&stream, input.len()).is_ok(), "{name}");
            if let Some(ceiling) = input.len().checked_sub(1) {
                assert_eq!(expanded(&stream, ceiling), Err(Error::TooLong { ceiling }), "{name}");
            }
        }
    }

    #[test]
    fn bomb_stops_at_the_ceiling() {
        let stream = stream(&vec![0; 2_000_000]);
        assert!(stream.len() < 10_000);
        let mut out = Vec::new();
        let error = decompress(&stream, &mut out, 1_000_000).unwrap_err();
        assert_eq!(error, Error::TooLong { ceiling: 1_000_000 });
        assert!(out.capacity() <= 1_000_000);
    }

    #[test]
    fn claimed_length_takes_no_memory() {
        // Four thousand zeros claim a million literals, of which none come.
        let mut stream = vec![0; 4000];
        stream.push(1);
        let mut out = Vec::new();
        assert_eq!(decompress(&stream, &mut out, usize::MAX), Err(Error::Truncated));
        assert!(out.capacity() < 64 * 1024);
    }

    #[test]
    fn room_held_is_used() {
        let plain = samples::text(100_000, 5);
        let mut out = Vec::with_capacity(plain.len());
        let room = out.as_ptr();
        decompress(&stream(&plain), &mut out, plain.len()).unwrap();
        assert!(out == plain && out.as_ptr() == room);
    }

    #[test]
    fn refusals() {
        let cases = [
            ("1261 110000 00", Error::TrailingBytes),
            ("110000 110000", Error::TrailingBytes),
            ("1261", Error::Truncated),
            ("1261 1100", Error::Truncated),
            ("00", Error::Truncated),
            ("0000", Error::Truncated),
            ("01", Error::Truncated),
            ("110400 110000", Error::LookBehind),
            ("1261 21 0400 110000", Error::LookBehind),
            ("1261 4400 110000", Error::LookBehind),
            ("1261 1a0400 110000", Error::LookBehind),
            ("1561626364 0000 110000", Error::LookBehind),
            ("1261 20 00000001 0000 110000", Error::TooLong { ceiling: 700 }),
        ];
        for (hex, error) in cases {
            assert_eq!(expanded(&bytes(hex), 700), Err(error), "{hex}");
        }
    }

    /// liblzo2 takes no notice of the end marker's length, however long, nor of its literals.
    #[test]
    fn odd_end_markers() {
        for end in ["120000", "170000", "110300", "10010000", "1000000000ff0000"] {
            let stream = bytes(&format!("1261{end}"));
            assert_eq!(expanded(&stream, 1).unwrap(), b"a", "{end}");
        }
    }

    #[test]
    fn errors_read_well() {
        let text = Error::TooLong { ceiling: 12 }.to_string();
        assert_eq!(text, "compressed data expands to more than 12 bytes");
    }

    /// Decodes behind some bytes that must survive, and sees to what holds for every input.
    fn expanded(stream: &[u8], ceiling: usize) -> Result<Vec<u8>, Error> {
        let mut out = b"before".to_vec();
        let result = decompress(stream, &mut out, ceiling);
        assert_eq!(out[..6], *b"before");
        assert!(out.capacity() <= ceiling.saturating_add(16));
        let plain = out.split_off(6);
        assert!(plain.len() <= ceiling);
        assert!(result.is_ok() || plain.is_empty());
        result.map(|()| plain)
    }

    fn stream(plain: &[u8]) -> Vec<u8> {
        let mut stream = Vec::new();
        Encoder::new().compress(plain, &mut stream);
        stream
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<char> = hex.chars().filter(|c| !c.is_whitespace()).collect();
        let byte = |pair: &[char]| u8::from_str_radix(&String::from_iter(pair), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }
}

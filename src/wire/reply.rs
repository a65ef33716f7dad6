//! The server's answer: `DONE` version, `STAT` wait status, `SERR`, `SOUT`, `DOTO`, and in version 3 `DOTD` behind
//! the object of a job that succeeded.

use super::token::{Header, digits};
use super::words::{take, within};
use super::{Error, Token, Version, limits};

/// The bodies of a reply, in their order on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What the compiler wrote to standard error.
    Stderr,
    /// What the compiler wrote to standard output.
    Stdout,
    /// The object file, or assembler text.
    Object,
    /// The dependency file (version 3).
    Dependencies,
}

impl Part {
    /// The token that carries this body.
    pub fn token(self) -> Token {
        match self {
            Part::Stderr => Token::Serr,
            Part::Stdout => Token::Sout,
            Part::Object => Token::Doto,
            Part::Dependencies => Token::Dotd,
        }
    }
}

/// Appends the start of a reply; `status` is a raw wait status.
pub fn encode_start(version: Version, status: u32, out: &mut Vec<u8>) {
    Token::Done.encode(version.number(), out);
    Token::Stat.encode(status, out);
}

/// Appends the token of a body of `len` bytes on the wire; the bytes follow, none for length 0 in every
/// version.
pub fn encode_part(part: Part, len: u32, out: &mut Vec<u8>) {
    part.token().encode(len, out);
}

/// Puts the length into the token at the end of `head` that was encoded before the length was known.
pub fn patch_len(head: &mut [u8], len: u32) {
    if let Some(number) = head.last_chunk_mut() {
        *number = digits(len);
    }
}

/// A piece of a reply, in the order of the wire.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The job has run; the compiler's raw wait status.
    Status(u32),
    /// A body begins; its length on the wire in bytes.
    PartStart(Part, u32),
    /// Bytes of the body that has begun.
    Bytes(Part, &'a [u8]),
    /// The body is complete.
    PartEnd(Part),
    /// The reply is complete.
    End,
}

/// Reads a reply from pieces of any size.
#[derive(Debug)]
pub struct Decoder {
    version: Version,
    state: State,
    header: Header,
    failed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Done,
    Stat,
    Part(Part),
    /// Inside a body, with this many bytes to come.
    Bytes(Part, u32),
    BeforeEnd,
    End,
}

impl Decoder {
    /// A decoder at the start of the reply to a request of `version`.
    pub fn new(version: Version) -> Decoder {
        Decoder { version, state: State::Done, header: Header::default(), failed: false }
    }

    /// Bytes that are still to come of the body that has begun; 0 between bodies.
    pub fn left(&self) -> usize {
        match self.state {
            State::Bytes(_, left) => left as usize,
            _ => 0,
        }
    }

    /// The next event, taking its bytes from the front of `input`; `None` when `input` is used up, or the
    /// reply has ended.
    ///
    /// # Errors
    /// See [`Error`]; the decoder is of no further use then.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, Error> {
        loop {
            match self.state {
                State::Done => {
                    let Some(got) = self.header.take(Token::Done, input)? else { return Ok(None) };
                    let expected = self.version.number();
                    if got != expected {
                        return Err(Error::VersionMismatch { expected, got });
                    }
                    self.state = State::Stat;
                }
                State::Stat => {
                    let Some(status) = self.header.take(Token::Stat, input)? else { return Ok(None) };
                    self.failed = status != 0;
                    self.state = State::Part(Part::Stderr);
                    return Ok(Some(Event::Status(status)));
                }
                State::Part(part) => {
                    let Some(len) = self.header.take(part.token(), input)? else { return Ok(None) };
                    within(part.token(), len, limits::BODY)?;
                    if part == Part::Object && self.failed && len > 0 {
                        return Err(Error::ObjectOfFailedJob);
                    }
                    self.state = State::Bytes(part, len);
                    return Ok(Some(Event::PartStart(part, len)));
                }
                State::Bytes(part, 0) => {
                    self.state = match part {
                        Part::Stderr => State::Part(Part::Stdout),
                        Part::Stdout => State::Part(Part::Object),
                        Part::Object if self.version == Version::Pump && !self.failed => {
                            State::Part(Part::Dependencies)
                        }
                        Part::Object | Part::Dependencies => State::BeforeEnd,
                    };
                    return Ok(Some(Event::PartEnd(part)));
                }
                State::Bytes(part, left) => {
                    let taken = take(left, input);
                    self.state = State::Bytes(part, left - taken.len() as u32);
                    return Ok((!taken.is_empty()).then_some(Event::Bytes(part, taken)));
                }
                State::BeforeEnd => {
                    self.state = State::End;
                    return Ok(Some(Event::End));
                }
                State::End => return Ok(None),
            }
        }
    }

    /// Whether not a byte of the reply has come.
    pub fn is_untouched(&self) -> bool {
        self.state == State::Done && self.header.is_empty()
    }

    /// Whether an end of file here leaves a usable reply: of a stock server that has found no dependency file
    /// and therefore sends none.
    pub fn may_end_here(&self) -> bool {
        self.state == State::Part(Part::Dependencies) && self.header.is_empty()
    }

    /// The error that an end of file means now.
    pub fn truncated(&self) -> Error {
        let at = match self.state {
            State::Done => Token::Done,
            State::Stat => Token::Stat,
            State::Part(part) | State::Bytes(part, _) => part.token(),
            State::BeforeEnd | State::End => Token::Doto,
        };
        Error::Truncated { at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::testing::{Random, split_points};

    /// `client.md` section 12.
    const VECTOR: &[u8] = b"DONE00000001STAT00000000SERR00000003abcSOUT00000002xyDOTO00000003OBJ";

    #[derive(Debug, Default, PartialEq)]
    struct Collected {
        status: Option<u32>,
        parts: Vec<(u32, Vec<u8>)>,
        complete: bool,
    }

    fn collect(version: Version, pieces: &[&[u8]]) -> Result<Collected, Error> {
        let mut decoder = Decoder::new(version);
        let mut got = Collected::default();
        for piece in pieces {
            let mut input = *piece;
            while let Some(event) = decoder.next(&mut input)? {
                match event {
                    Event::Status(status) => got.status = Some(status),
                    Event::PartStart(_, len) => got.parts.push((len, Vec::new())),
                    Event::Bytes(_, bytes) => got.parts.last_mut().unwrap().1.extend_from_slice(bytes),
                    Event::PartEnd(_) => {
                        let (len, bytes) = got.parts.last().unwrap();
                        assert_eq!(*len as usize, bytes.len());
                    }
                    Event::End => got.complete = true,
                }
            }
        }
        Ok(got)
    }

    #[test]
    fn any_split_gives_the_same_events() {
        let whole = collect(Version::Plain, &[VECTOR]).unwrap();
        assert_eq!(whole.status, Some(0));
        assert_eq!(whole.parts, [(3, b"abc".to_vec()), (2, b"xy".to_vec()), (3, b"OBJ".to_vec())]);
        assert!(whole.complete);
        for at in 0..VECTOR.len() {
            let (a, b) = VECTOR.split_at(at);
            assert_eq!(collect(Version::Plain, &[a, b]).unwrap(), whole, "split at {at}");
        }
    }

    #[test]
    fn encoding_gives_the_vector_back() {
        let mut out = Vec::new();
        encode_start(Version::Plain, 0, &mut out);
        for (part, bytes) in [(Part::Stderr, "abc"), (Part::Stdout, "xy"), (Part::Object, "OBJ")] {
            encode_part(part, bytes.len() as u32, &mut out);
            out.extend_from_slice(bytes.as_bytes());
        }
        assert_eq!(out, VECTOR);
    }

    #[test]
    fn stock_failure_replies_are_understood() {
        // `protocol.md` section 8.4.
        for (bytes, status) in [
            (&b"DONE00000001STAT00000700SERR00000004err\nSOUT00000004out\nDOTO00000000"[..], 0x700),
            (b"DONE00000001STAT00000009SERR00000006dying\nSOUT00000000DOTO00000000", 9),
        ] {
            let got = collect(Version::Plain, &[bytes]).unwrap();
            assert_eq!(got.status, Some(status));
            assert!(got.complete);
        }
    }

    /// `protocol.md` section 8.3: a stock server's answer to a job with its files.
    #[test]
    fn a_dependency_file_follows_the_object_of_a_job_with_files() {
        let mut bytes = b"DONE00000003STAT00000000SERR00000000SOUT00000000DOTO00000003OBJ".to_vec();
        let mut decoder = Decoder::new(Version::Pump);
        let mut input = &bytes[..];
        while decoder.next(&mut input).unwrap().is_some() {}
        assert!(decoder.may_end_here());
        assert_eq!(decoder.truncated(), Error::Truncated { at: Token::Dotd });
        bytes.extend_from_slice(b"DOTD00000015\x22t.o: t.c inc/a.h\n\x11\0\0");
        let got = collect(Version::Pump, &[&bytes]).unwrap();
        assert!(got.complete);
        let mut text = Vec::new();
        crate::wire::lzo::decompress(&got.parts[3].1, &mut text, 100).unwrap();
        assert_eq!(text, b"t.o: t.c inc/a.h\n");
        // A job that failed has none.
        let failed =
            collect(Version::Pump, &[b"DONE00000003STAT00000100SERR00000000SOUT00000000DOTO00000000"]);
        assert!(failed.unwrap().complete);
        assert!(!Decoder::new(Version::Pump).may_end_here());
    }

    #[test]
    fn bad_replies_have_their_errors() {
        let error = |bytes: &[u8]| collect(Version::Plain, &[bytes]).unwrap_err();
        assert_eq!(error(b"DONE00000002"), Error::VersionMismatch { expected: 1, got: 2 });
        assert!(matches!(error(b"HTTP/1.0 200 OK"), Error::UnexpectedToken { expected: Token::Done, .. }));
        assert!(matches!(
            error(b"DONE00000001STAT00000000SERRffffffff"),
            Error::TooLarge { token: Token::Serr, .. }
        ));
        assert_eq!(
            error(b"DONE00000001STAT00000100SERR00000000SOUT00000000DOTO00000001"),
            Error::ObjectOfFailedJob
        );
    }

    #[test]
    fn no_input_panics() {
        let mut random = Random::new(5);
        for _ in 0..20_000 {
            let mut bytes = VECTOR.to_vec();
            for _ in 0..random.below(4) {
                let at = random.below(bytes.len());
                bytes[at] = random.below(256) as u8;
            }
            let pieces = split_points(&mut random, &bytes);
            let _ = collect(Version::Plain, &pieces);
        }
    }
}

//! A job on its way to the server: `DIST` version, `ARGC` and `ARGV` words, `DOTI` preprocessed source.

use super::token::{Header, digits};
use super::{Error, Token, Version, limits};

/// Appends everything of a request that stands before the bytes of its source. `source_len` is the source's
/// length on the wire, that is, compressed if the version compresses.
pub fn encode_head<W: AsRef<[u8]>>(version: Version, argv: &[W], source_len: u32, out: &mut Vec<u8>) {
    Token::Dist.encode(version.number(), out);
    Token::Argc.encode(argv.len() as u32, out);
    for word in argv {
        let word = word.as_ref();
        Token::Argv.encode(word.len() as u32, out);
        out.extend_from_slice(word);
    }
    Token::Doti.encode(source_len, out);
}

/// Puts the source's length into a `head` that [`encode_head`] made before the length was known.
pub fn patch_source_len(head: &mut [u8], source_len: u32) {
    if let Some(number) = head.last_chunk_mut() {
        *number = digits(source_len);
    }
}

/// A piece of a request, in the order of the wire.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The request's version.
    Version(Version),
    /// The whole command; at least one word, none with a NUL.
    Command(Vec<Vec<u8>>),
    /// The source begins; its length on the wire in bytes.
    SourceStart(u32),
    /// Bytes of the source.
    Source(&'a [u8]),
    /// The source, and with it the request, is complete.
    End,
}

/// Reads a request from pieces of any size.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
    header: Header,
    argv: Vec<Vec<u8>>,
    /// Words that `ARGC` announced and that have not begun.
    words_left: u32,
    /// Bytes of words seen so far, at most [`limits::ALL_ARGUMENTS`].
    argv_len: u32,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Dist,
    Argc,
    Argv,
    /// Inside the last word of `argv`, with this many bytes to come.
    Word(u32),
    Doti,
    /// Inside the source, with this many bytes to come.
    Source(u32),
    End,
}

impl Decoder {
    /// A decoder at the start of a request.
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// The next event, taking its bytes from the front of `input`; `None` when `input` is used up, or the
    /// request has ended.
    ///
    /// # Errors
    /// See [`Error`]; the decoder is of no further use then. Memory held is bounded by the bytes really
    /// received and [`limits`].
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, Error> {
        loop {
            match self.state {
                State::Dist => {
                    let Some(number) = self.header.take(Token::Dist, input)? else { return Ok(None) };
                    let version = Version::from_number(number)?;
                    self.state = State::Argc;
                    return Ok(Some(Event::Version(version)));
                }
                State::Argc => {
                    let Some(count) = self.header.take(Token::Argc, input)? else { return Ok(None) };
                    if count == 0 {
                        return Err(Error::NoArguments);
                    }
                    self.words_left = within(Token::Argc, count, limits::ARGUMENTS)?;
                    self.state = State::Argv;
                }
                State::Argv => {
                    let Some(len) = self.header.take(Token::Argv, input)? else { return Ok(None) };
                    within(Token::Argv, len, limits::ARGUMENT)?;
                    self.argv_len = within(Token::Argv, self.argv_len + len, limits::ALL_ARGUMENTS)?;
                    self.words_left -= 1;
                    self.argv.push(Vec::new());
                    self.state = State::Word(len);
                }
                State::Word(left) => {
                    let taken = take(left, input);
                    if taken.contains(&0) {
                        return Err(Error::NulInArgument);
                    }
                    if let Some(word) = self.argv.last_mut() {
                        word.extend_from_slice(taken);
                    }
                    let left = left - taken.len() as u32;
                    self.state = State::Word(left);
                    if left > 0 {
                        return Ok(None);
                    }
                    if self.words_left == 0 {
                        self.state = State::Doti;
                        return Ok(Some(Event::Command(std::mem::take(&mut self.argv))));
                    }
                    self.state = State::Argv;
                }
                State::Doti => {
                    let Some(len) = self.header.take(Token::Doti, input)? else { return Ok(None) };
                    self.state = State::Source(within(Token::Doti, len, limits::BODY)?);
                    return Ok(Some(Event::SourceStart(len)));
                }
                State::Source(0) => {
                    self.state = State::End;
                    return Ok(Some(Event::End));
                }
                State::Source(left) => {
                    let taken = take(left, input);
                    self.state = State::Source(left - taken.len() as u32);
                    return Ok((!taken.is_empty()).then_some(Event::Source(taken)));
                }
                State::End => return Ok(None),
            }
        }
    }

    /// How many bytes of the source are to come next.
    pub fn source_left(&self) -> usize {
        match self.state {
            State::Source(left) => left as usize,
            _ => 0,
        }
    }

    /// So many of the source's next bytes, at most [`source_left`](Self::source_left), have been taken elsewhere.
    pub fn skip_source(&mut self, count: usize) {
        if let State::Source(left) = &mut self.state {
            *left = left.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
        }
    }

    /// Whether the request is complete.
    pub fn is_complete(&self) -> bool {
        self.state == State::End
    }

    /// The error that an end of file means now.
    pub fn truncated(&self) -> Error {
        let at = match self.state {
            State::Dist => Token::Dist,
            State::Argc => Token::Argc,
            State::Argv | State::Word(_) => Token::Argv,
            State::Doti | State::Source(_) | State::End => Token::Doti,
        };
        Error::Truncated { at }
    }
}

/// Takes up to `left` bytes from the front of `input`.
pub(super) fn take<'a>(left: u32, input: &mut &'a [u8]) -> &'a [u8] {
    let (taken, rest) = input.split_at(input.len().min(left as usize));
    *input = rest;
    taken
}

/// `got`, if it is not past `limit`.
pub(super) fn within(token: Token, got: u32, limit: u32) -> Result<u32, Error> {
    if got > limit { Err(Error::TooLarge { token, got, limit }) } else { Ok(got) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::testing::{Random, owned_request_events, split_points};

    /// `protocol.md` section 8.1: a stock client's request as a recording proxy saw it, up to the body.
    const STOCK_HEAD: &[u8] = b"DIST00000001ARGC00000005ARGV00000014x86_64-linux-gnu-gccARGV00000002-c\
        ARGV00000002-oARGV00000003t.oARGV00000003t.cDOTI0000008f";

    fn stock_argv() -> Vec<Vec<u8>> {
        ["x86_64-linux-gnu-gcc", "-c", "-o", "t.o", "t.c"].map(|word| word.as_bytes().to_vec()).to_vec()
    }

    #[test]
    fn a_request_is_what_stock_sends() {
        let mut out = Vec::new();
        encode_head(Version::Plain, &stock_argv(), 0x8f, &mut out);
        assert_eq!(out.escape_ascii().to_string(), STOCK_HEAD.escape_ascii().to_string());
    }

    /// `protocol.md` section 8.2: the same job from a stock client with compression, body included.
    #[test]
    fn a_compressed_request_of_stock_is_understood() {
        let body = b"\x07# 0 \"t.c\"\n\x84\x01\x07<built-in>\xe0\x02\x09command-line\x90\x02\x00\x12\
            1 \"/usr/include/stdc-predef.h\" 1 3 4\xd0\x09,\xec\x00\x05 2\n# 1 \"\x94\x0d\x00\x05\
            int f(void){return 1;}\n\x11\x00\x00";
        let mut bytes = STOCK_HEAD.to_vec();
        bytes[11] = b'2';
        patch_source_len(&mut bytes, body.len() as u32);
        assert_eq!(body.len(), 0x7b);
        bytes.extend_from_slice(body);
        let request = owned_request_events(&[&bytes]).unwrap();
        assert_eq!(request.version, Some(Version::Lzo));
        let mut source = Vec::new();
        crate::wire::lzo::decompress(&request.source, &mut source, 1000).unwrap();
        let source = String::from_utf8(source).unwrap();
        assert_eq!(source.len(), 143);
        assert!(source.starts_with("# 0 \"t.c\"\n# 0 \"<built-in>\"\n"), "{source}");
        assert!(source.ends_with("# 1 \"t.c\"\nint f(void){return 1;}\n"), "{source}");
    }

    #[test]
    fn any_split_gives_the_same_events() {
        let mut request = STOCK_HEAD.to_vec();
        request.extend_from_slice(&[b'x'; 0x8f]);
        let whole = owned_request_events(&[&request]).unwrap();
        assert_eq!(whole.version, Some(Version::Plain));
        assert_eq!(whole.argv, stock_argv());
        assert_eq!(whole.source, vec![b'x'; 0x8f]);
        assert!(whole.complete);
        for at in 0..request.len() {
            let (a, b) = request.split_at(at);
            assert_eq!(owned_request_events(&[a, b]).unwrap(), whole, "split at {at}");
        }
        let mut random = Random::new(7);
        for _ in 0..200 {
            let pieces = split_points(&mut random, &request);
            assert_eq!(owned_request_events(&pieces).unwrap(), whole);
        }
    }

    #[test]
    fn decode_encode_decode_is_stable() {
        let mut random = Random::new(11);
        for _ in 0..200 {
            let argv: Vec<Vec<u8>> = (0..1 + random.below(9)).map(|_| random.bytes_without_nul(40)).collect();
            let source = random.bytes(300);
            let version = if random.below(2) == 0 { Version::Plain } else { Version::Lzo };
            let mut first = Vec::new();
            encode_head(version, &argv, source.len() as u32, &mut first);
            first.extend_from_slice(&source);
            let events = owned_request_events(&[&first]).unwrap();
            let mut second = Vec::new();
            encode_head(events.version.unwrap(), &events.argv, events.source.len() as u32, &mut second);
            second.extend_from_slice(&events.source);
            assert_eq!(first, second);
        }
    }

    #[test]
    fn every_bad_request_has_its_error() {
        let error = |bytes: &[u8]| owned_request_events(&[bytes]).unwrap_err();
        assert_eq!(error(b"DIST00000004"), Error::Version(4));
        assert_eq!(error(b"DIST00000000"), Error::Version(0));
        assert!(matches!(
            error(b"GET / HTTP/1.0\r\n\r\n"),
            Error::UnexpectedToken { expected: Token::Dist, .. }
        ));
        assert!(matches!(error(b"DIST00000001ARGC0000000z"), Error::BadNumber { token: Token::Argc, .. }));
        assert_eq!(error(b"DIST00000001ARGC00000000DOTI00000000"), Error::NoArguments);
        assert!(matches!(error(b"DIST00000001ARGC80000000"), Error::TooLarge { token: Token::Argc, .. }));
        assert!(matches!(
            error(b"DIST00000001ARGC00000001ARGVffffffff"),
            Error::TooLarge { token: Token::Argv, .. }
        ));
        assert_eq!(error(b"DIST00000001ARGC00000001ARGV00000004gc\0c"), Error::NulInArgument);
        assert!(matches!(
            error(b"DIST00000001ARGC00000001ARGV00000002ccDOTIffffffff"),
            Error::TooLarge { token: Token::Doti, .. }
        ));
        assert!(matches!(
            error(b"DIST00000001ARGC00000001ARGV00000002ccBLOB00000000"),
            Error::UnexpectedToken { expected: Token::Doti, .. }
        ));
    }

    #[test]
    fn all_words_together_are_bounded() {
        let mut request = b"DIST00000001ARGC00000010".to_vec();
        let word = vec![b'w'; limits::ARGUMENT as usize];
        for _ in 0..9 {
            request.extend_from_slice(b"ARGV00100000");
            request.extend_from_slice(&word);
        }
        assert!(matches!(owned_request_events(&[&request]), Err(Error::TooLarge { token: Token::Argv, .. })));
    }

    #[test]
    fn no_input_panics() {
        let mut random = Random::new(3);
        let valid = [STOCK_HEAD, &[0; 0x8f]].concat();
        for _ in 0..20_000 {
            let mut bytes = if random.below(2) == 0 { random.bytes(64) } else { valid.clone() };
            for _ in 0..random.below(4) {
                if !bytes.is_empty() {
                    let at = random.below(bytes.len());
                    bytes[at] = random.below(256) as u8;
                }
            }
            let pieces = split_points(&mut random, &bytes);
            let _ = owned_request_events(&pieces);
        }
    }
}

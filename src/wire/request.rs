//! A job on its way to the server: `DIST` version, `ARGC` and `ARGV` words, then the preprocessed source
//! (`DOTI`), or, in version 3, every file that preprocessing needs: `NFIL` entries of `NAME` and `FILE` or `LINK`, with
//! the client's directory (`CDIR`) in front of the words.

use super::path::{Rooted, Target};
use super::token::{Header, digits};
use super::words::{self, COMMAND, Text, Words, take, within};
use super::{Error, Token, Version, limits};

/// Appends everything of a request that stands before the bytes of its source. `source_len` is the source's
/// length on the wire, that is, compressed if the version compresses. Not for version 3.
pub fn encode_head<W: AsRef<[u8]>>(version: Version, argv: &[W], source_len: u32, out: &mut Vec<u8>) {
    Token::Dist.encode(version.number(), out);
    words::encode(argv, out);
    Token::Doti.encode(source_len, out);
}

/// Puts the source's length into a `head` that [`encode_head`] made before the length was known; the length of
/// a file behind [`encode_file`] as well.
pub fn patch_source_len(head: &mut [u8], source_len: u32) {
    if let Some(number) = head.last_chunk_mut() {
        *number = digits(source_len);
    }
}

/// Appends everything of a version 3 request that stands before its `entries` files and links.
pub fn encode_pump_head<W: AsRef<[u8]>>(directory: &[u8], argv: &[W], entries: u32, out: &mut Vec<u8>) {
    Token::Dist.encode(Version::Pump.number(), out);
    words::encode_text(Token::Cdir, directory, out);
    words::encode(argv, out);
    Token::Nfil.encode(entries, out);
}

/// Appends what stands before the compressed bytes of the file called `name`, `len` of them; an empty file has
/// none.
pub fn encode_file(name: &[u8], len: u32, out: &mut Vec<u8>) {
    words::encode_text(Token::Name, name, out);
    Token::File.encode(len, out);
}

/// Appends a symbolic link.
pub fn encode_link(name: &[u8], target: &[u8], out: &mut Vec<u8>) {
    words::encode_text(Token::Name, name, out);
    words::encode_text(Token::Link, target, out);
}

/// A piece of a request, in the order of the wire.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The request's version.
    Version(Version),
    /// Version 3: where the command runs.
    Directory(Rooted),
    /// The whole command; at least one word, none with a NUL.
    Command(Vec<Vec<u8>>),
    /// The source begins; its length on the wire in bytes.
    SourceStart(u32),
    /// Bytes of the source.
    Source(&'a [u8]),
    /// Version 3: a file begins; its length on the wire in bytes.
    FileStart(Rooted, u32),
    /// Bytes of the file that has begun.
    File(&'a [u8]),
    /// The file is complete.
    FileEnd,
    /// Version 3: a symbolic link.
    Link(Rooted, Target),
    /// The request is complete.
    End,
}

/// Reads a request from pieces of any size.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
    header: Header,
    pump: bool,
    /// Files and links that have not begun.
    entries: u32,
    /// Bytes of memory that the complete command takes.
    command_held: usize,
    /// Bytes of files announced so far, at most [`limits::BODY`].
    files_len: u32,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Dist,
    Cdir,
    Directory(Text),
    Words(Words),
    Doti,
    /// Inside the source, with this many bytes to come.
    Source(u32),
    Nfil,
    Name,
    Path(Text),
    FileOrLink(Rooted),
    /// Inside a file, with this many bytes to come.
    File(u32),
    Link(Rooted, Text),
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
            let (state, event) = match &mut self.state {
                State::Dist => {
                    let Some(number) = self.header.take(Token::Dist, input)? else { return Ok(None) };
                    let version = Version::from_number(number)?;
                    self.pump = version == Version::Pump;
                    let next = if self.pump { State::Cdir } else { State::Words(Words::new(COMMAND)) };
                    (next, Some(Event::Version(version)))
                }
                State::Cdir => {
                    let Some(len) = self.header.take(Token::Cdir, input)? else { return Ok(None) };
                    (State::Directory(Text::new(within(Token::Cdir, len, limits::PATH)?)), None)
                }
                State::Directory(text) => {
                    let Some(path) = text.take(input) else { return Ok(None) };
                    let directory = Rooted::parse(Token::Cdir, &path)?;
                    (State::Words(Words::new(COMMAND)), Some(Event::Directory(directory)))
                }
                State::Words(words) => {
                    let Some(argv) = words.take(&mut self.header, input)? else { return Ok(None) };
                    self.command_held = words.held();
                    if argv.is_empty() {
                        return Err(Error::NoArguments);
                    }
                    let next = if self.pump { State::Nfil } else { State::Doti };
                    (next, Some(Event::Command(argv)))
                }
                State::Doti => {
                    let Some(len) = self.header.take(Token::Doti, input)? else { return Ok(None) };
                    let len = within(Token::Doti, len, limits::BODY)?;
                    (State::Source(len), Some(Event::SourceStart(len)))
                }
                State::Source(0) => (State::End, Some(Event::End)),
                State::Source(left) => {
                    let taken = take(*left, input);
                    *left -= taken.len() as u32;
                    return Ok((!taken.is_empty()).then_some(Event::Source(taken)));
                }
                State::Nfil => {
                    let Some(count) = self.header.take(Token::Nfil, input)? else { return Ok(None) };
                    self.entries = within(Token::Nfil, count, limits::FILES)?;
                    (State::Name, None)
                }
                State::Name if self.entries == 0 => (State::End, Some(Event::End)),
                State::Name => {
                    let Some(len) = self.header.take(Token::Name, input)? else { return Ok(None) };
                    self.entries -= 1;
                    (State::Path(Text::new(within(Token::Name, len, limits::PATH)?)), None)
                }
                State::Path(text) => {
                    let Some(path) = text.take(input) else { return Ok(None) };
                    (State::FileOrLink(Rooted::parse_entry(Token::Name, &path)?), None)
                }
                State::FileOrLink(name) => {
                    let expected = [Token::File, Token::Link];
                    let Some((token, len)) = self.header.take_one_of(&expected, input)? else {
                        return Ok(None);
                    };
                    let name = name.clone();
                    if token == Token::Link {
                        (State::Link(name, Text::new(within(token, len, limits::PATH)?)), None)
                    } else {
                        within(token, len, limits::BODY)?;
                        self.files_len = within(token, self.files_len + len, limits::BODY)?;
                        (State::File(len), Some(Event::FileStart(name, len)))
                    }
                }
                State::File(0) => (State::Name, Some(Event::FileEnd)),
                State::File(left) => {
                    let taken = take(*left, input);
                    *left -= taken.len() as u32;
                    return Ok((!taken.is_empty()).then_some(Event::File(taken)));
                }
                State::Link(name, text) => {
                    let Some(target) = text.take(input) else { return Ok(None) };
                    let target = Target::parse(name, &target)?;
                    (State::Name, Some(Event::Link(name.clone(), target)))
                }
                State::End => return Ok(None),
            };
            self.state = state;
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    /// Bytes of memory that the command takes, as far as it has come, for who keeps it.
    pub fn command_held(&self) -> usize {
        match &self.state {
            State::Words(words) => words.held(),
            _ => self.command_held,
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
        matches!(self.state, State::End)
    }

    /// The error that an end of file means now.
    pub fn truncated(&self) -> Error {
        let at = match &self.state {
            State::Dist => Token::Dist,
            State::Cdir | State::Directory(_) => Token::Cdir,
            State::Words(words) => words.at(),
            State::Doti | State::Source(_) | State::End => Token::Doti,
            State::Nfil => Token::Nfil,
            State::Name | State::Path(_) => Token::Name,
            State::FileOrLink(_) | State::File(_) => Token::File,
            State::Link(..) => Token::Link,
        };
        Error::Truncated { at }
    }
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

    /// `protocol.md` section 8.3: a request that a stock server has answered.
    fn pump_request() -> Vec<u8> {
        let argv = ["gcc", "-Iinc", "-c", "-o", "t.o", "t.c"];
        let files: [(&str, &[u8]); 2] = [
            ("/w/t.c", b"7#include \"a.h\"\nint f(void){return A;}\n\x11\0\0"),
            ("/i/a.h", b"\x1d#define A 7\n\x11\0\0"),
        ];
        let mut out = Vec::new();
        encode_pump_head(b"/w", &argv, 3, &mut out);
        encode_file(files[0].0.as_bytes(), files[0].1.len() as u32, &mut out);
        out.extend_from_slice(files[0].1);
        encode_link(b"/w/inc", b"../i", &mut out);
        encode_file(files[1].0.as_bytes(), files[1].1.len() as u32, &mut out);
        out.extend_from_slice(files[1].1);
        out
    }

    #[test]
    fn a_request_with_files_is_what_a_stock_server_takes() {
        let bytes = pump_request();
        assert_eq!(bytes.len(), 292);
        let shown = bytes.escape_ascii().to_string();
        let starts = "DIST00000003CDIR00000002/wARGC00000006ARGV00000003gccARGV00000005-IincARGV00000002-c\
            ARGV00000002-oARGV00000003t.oARGV00000003t.cNFIL00000003NAME00000006/w/t.cFILE0000002a7#include";
        assert!(shown.starts_with(starts), "{shown}");
        assert!(shown.contains("NAME00000006/w/incLINK00000004../iNAME00000006/i/a.hFILE00000010\\x1d#def"));
        let whole = owned_request_events(&[&bytes]).unwrap();
        assert!(whole.complete);
        assert_eq!(whole.directory, Some(Rooted::parse(Token::Cdir, b"/w").unwrap()));
        assert_eq!(whole.entries.len(), 3);
        for at in 0..bytes.len() {
            let (a, b) = bytes.split_at(at);
            assert_eq!(owned_request_events(&[a, b]).unwrap(), whole, "split at {at}");
        }
    }

    #[test]
    fn every_bad_file_has_its_error() {
        let head = b"DIST00000003CDIR00000002/wARGC00000001ARGV00000003gcc";
        let error = |tail: &[u8]| owned_request_events(&[head, tail]).unwrap_err();
        let path = |tail: &[u8]| match error(tail) {
            Error::BadPath { token, why, .. } => format!("{token} {why}"),
            other => panic!("{other}"),
        };
        assert!(matches!(error(b"DOTI00000000"), Error::UnexpectedToken { expected: Token::Nfil, .. }));
        assert!(matches!(error(b"NFIL000186a1"), Error::TooLarge { token: Token::Nfil, .. }));
        assert!(matches!(error(b"NFIL00000001NAMEffffffff"), Error::TooLarge { token: Token::Name, .. }));
        assert!(matches!(
            error(b"NFIL00000001NAME00000002/aFILEffffffff"),
            Error::TooLarge { token: Token::File, .. }
        ));
        assert!(matches!(
            error(b"NFIL00000001NAME00000002/aBLOB00000000"),
            Error::UnexpectedToken { expected: Token::File, .. }
        ));
        assert!(matches!(
            error(b"NFIL00000001NAME00000002/aLINK00001001"),
            Error::TooLarge { token: Token::Link, .. }
        ));
        assert_eq!(path(b"NFIL00000001NAME00000001a"), "NAME does not begin at the root");
        assert_eq!(path(b"NFIL00000001NAME00000005/../a"), "NAME contains \"..\"");
        assert_eq!(path(b"NFIL00000001NAME00000003/a\0"), "NAME contains a NUL byte");
        assert_eq!(path(b"NFIL00000001NAME00000000"), "NAME does not begin at the root");
        assert_eq!(
            path(b"NFIL00000001NAME00000002/aLINK00000002.."),
            "LINK leads out of the job's directory"
        );
        let error = |bytes: &[u8]| owned_request_events(&[bytes]).unwrap_err();
        assert!(matches!(error(b"DIST00000003CDIR00000001w"), Error::BadPath { token: Token::Cdir, .. }));
        assert!(matches!(error(b"DIST00000003ARGC00000001"), Error::UnexpectedToken { .. }));
        // The bodies of all files together, each of which would do.
        let half = [b'x'; 1 << 16];
        let mut decoder = Decoder::new();
        let mut take = |mut bytes: &[u8]| {
            while decoder.next(&mut bytes)?.is_some() {}
            Ok(())
        };
        take(head).unwrap();
        take(b"NFIL00000002NAME00000002/aFILE3fffffff").unwrap();
        for _ in 0..(1 << 14) - 1 {
            take(&half).unwrap();
        }
        take(&half[1..]).unwrap();
        take(b"NAME00000002/b").unwrap();
        assert!(matches!(take(b"FILE00000002"), Err(Error::TooLarge { token: Token::File, .. })));
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
        let words = |count| {
            let word = vec![b'w'; limits::ARGUMENT as usize];
            let mut request = Vec::new();
            encode_head(Version::Plain, &vec![word; count], 0, &mut request);
            owned_request_events(&[&request]).map(|it| it.argv.len())
        };
        let most = (limits::ALL_ARGUMENTS / limits::ARGUMENT) as usize;
        assert_eq!(words(most), Ok(most));
        assert!(matches!(words(most + 1), Err(Error::TooLarge { token: Token::Argv, .. })));
    }

    #[test]
    fn a_command_is_held_as_far_as_it_has_come() {
        let held = |bytes: &[u8]| {
            let (mut decoder, mut input) = (Decoder::new(), bytes);
            while decoder.next(&mut input).unwrap().is_some() {}
            decoder.command_held()
        };
        let head = b"DIST00000001ARGC00000002ARGV00001000";
        assert_eq!(held(head), 0, "what is announced takes nothing");
        let part = [&head[..], &[b'w'; 100]].concat();
        assert_eq!(held(&part), 100);
        let first = [&head[..], &[b'w'; 0x1000]].concat();
        let whole = [&first[..], b"ARGV00000002-c"].concat();
        assert!(held(&first) > 0x1000 && held(&whole) > held(&first) + 2);
        assert_eq!(held(&[&whole[..], b"DOTI00000010int"].concat()), held(&whole));
    }

    #[test]
    fn a_long_word_is_too_long() {
        let head = format!("DIST00000001ARGC00000001ARGV{:08x}", limits::ARGUMENT + 1);
        let error = owned_request_events(&[head.as_bytes()]).unwrap_err();
        assert!(matches!(error, Error::TooLarge { token: Token::Argv, .. }));
    }

    #[test]
    fn no_input_panics() {
        let mut random = Random::new(3);
        let valid = [[STOCK_HEAD, &[0; 0x8f]].concat(), pump_request()];
        for _ in 0..20_000 {
            let mut bytes = match random.below(3) {
                0 => random.bytes(64),
                at => valid[at - 1].clone(),
            };
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

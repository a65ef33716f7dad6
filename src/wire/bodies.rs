//! What our own client and our own include server say to each other: as [`super::include`], but the answer names what a
//! server needs and where it lies in one file of compressed bodies, which comes along as a descriptor.
//!
//! ```text
//! question   DIST 0 or 1               1: files that the compiler knows by absolute names begin with a #line
//!            ARGC n  ARGV word * n     the compiler's file, then NAME=VALUE of its environment
//!            CDIR directory  ARGC n  ARGV word * n
//! answer     NFIL n  n × (NAME path, then FILE len [DOTI offset] or LINK len target)
//!        or  SERR len reason           not covered, in words for a person
//! ```
//!
//! An empty file has no `DOTI`. Both ends are of the same version of this program, which the socket's name says.

use super::include::{Question, QuestionDecoder};
use super::token::Header;
use super::words::{self, COMMAND, Text, Words, within};
use super::{Error, Token, limits};

/// Bytes of a reason.
const REASON: u32 = 4096;

/// A compile, told by somebody who knows its compiler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inquiry {
    /// It is for a server that does not map its own directories away, as stock's do not: files that the compiler knows by
    /// absolute names must begin with a `#line`.
    pub lines: bool,
    /// The compiler's file; then its environment, as `NAME=VALUE`.
    pub context: Vec<Vec<u8>>,
    /// The command.
    pub question: Question,
}

/// Appends an inquiry.
pub fn encode_inquiry<W: AsRef<[u8]>>(
    lines: bool,
    context: &[W],
    directory: &[u8],
    argv: &[W],
    out: &mut Vec<u8>,
) {
    Token::Dist.encode(lines.into(), out);
    words::encode(context, out);
    super::include::encode_question(directory, argv, out);
}

/// Reads an inquiry from pieces of any size.
#[derive(Debug)]
pub struct InquiryDecoder {
    header: Header,
    lines: Option<bool>,
    words: Words,
    context: Option<Vec<Vec<u8>>>,
    question: QuestionDecoder,
}

impl Default for InquiryDecoder {
    fn default() -> InquiryDecoder {
        InquiryDecoder {
            header: Header::default(),
            lines: None,
            words: Words::new(COMMAND),
            context: None,
            question: QuestionDecoder::new(),
        }
    }
}

impl InquiryDecoder {
    /// Takes bytes from the front of `input`; the inquiry once it is complete.
    ///
    /// # Errors
    /// See [`Error`]; the decoder is of no further use then.
    pub fn take(&mut self, input: &mut &[u8]) -> Result<Option<Inquiry>, Error> {
        if self.lines.is_none() {
            let Some(number) = self.header.take(Token::Dist, input)? else { return Ok(None) };
            self.lines = Some(within(Token::Dist, number, 1)? == 1);
        }
        if self.context.is_none() {
            match self.words.take(&mut self.header, input)? {
                None => return Ok(None),
                Some(words) if words.is_empty() => return Err(Error::NoArguments),
                Some(words) => self.context = Some(words),
            }
        }
        let Some(question) = self.question.take(input)? else { return Ok(None) };
        let lines = self.lines.take().unwrap_or_default();
        Ok(Some(Inquiry { lines, context: self.context.take().unwrap_or_default(), question }))
    }
}

/// Something that a server needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its absolute path on this machine.
    pub name: Vec<u8>,
    /// What is there.
    pub content: Content,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A symbolic link with this text.
    Link(Vec<u8>),
    /// A file: an LZO1X stream of `len` bytes from `offset` on; 0 bytes for an empty file.
    File {
        /// Where it begins in the file of bodies.
        offset: u32,
        /// Bytes.
        len: u32,
    },
}

/// Everything that is needed, or a reason why that cannot be said.
pub type Answer = Result<Vec<Item>, String>;

/// Appends an answer.
pub fn encode_answer(answer: &Answer, out: &mut Vec<u8>) {
    match answer {
        Err(reason) => {
            let mut end = reason.len().min(REASON as usize);
            while !reason.is_char_boundary(end) {
                end -= 1;
            }
            words::encode_text(Token::Serr, &reason.as_bytes()[..end], out);
        }
        Ok(items) => {
            Token::Nfil.encode(items.len() as u32, out);
            for item in items {
                words::encode_text(Token::Name, &item.name, out);
                match &item.content {
                    Content::Link(target) => words::encode_text(Token::Link, target, out),
                    Content::File { len: 0, .. } => Token::File.encode(0, out),
                    Content::File { offset, len } => {
                        Token::File.encode(*len, out);
                        Token::Doti.encode(*offset, out);
                    }
                }
            }
        }
    }
}

/// Reads an answer from pieces of any size.
#[derive(Debug, Default)]
pub struct AnswerDecoder {
    header: Header,
    items: Vec<Item>,
    /// Items that have not begun.
    left: u32,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Start,
    Reason(Text),
    /// Before an item, or behind the last.
    Item,
    Name(Text),
    Content(Vec<u8>),
    Offset(Vec<u8>, u32),
    Target(Vec<u8>, Text),
}

impl AnswerDecoder {
    /// Takes bytes from the front of `input`; the answer once it is complete.
    ///
    /// # Errors
    /// See [`Error`]; the decoder is of no further use then.
    pub fn take(&mut self, input: &mut &[u8]) -> Result<Option<Answer>, Error> {
        loop {
            self.state = match std::mem::take(&mut self.state) {
                State::Start => match self.header.take_one_of(&[Token::Nfil, Token::Serr], input)? {
                    None => return Ok(None),
                    Some((Token::Serr, len)) => State::Reason(Text::new(within(Token::Serr, len, REASON)?)),
                    Some((_, count)) => {
                        self.left = within(Token::Nfil, count, limits::FILES)?;
                        State::Item
                    }
                },
                State::Reason(mut text) => match text.take(input) {
                    Some(reason) => {
                        return Ok(Some(Err(String::from_utf8_lossy(&reason).into_owned())));
                    }
                    None => return self.wait(State::Reason(text)),
                },
                State::Item if self.left == 0 => return Ok(Some(Ok(std::mem::take(&mut self.items)))),
                State::Item => match self.header.take(Token::Name, input)? {
                    Some(len) => {
                        self.left -= 1;
                        State::Name(Text::new(within(Token::Name, len, limits::PATH)?))
                    }
                    None => return self.wait(State::Item),
                },
                State::Name(mut text) => match text.take(input) {
                    Some(name) => State::Content(name),
                    None => return self.wait(State::Name(text)),
                },
                State::Content(name) => match self.header.take_one_of(&[Token::File, Token::Link], input)? {
                    Some((Token::Link, len)) => {
                        State::Target(name, Text::new(within(Token::Link, len, limits::PATH)?))
                    }
                    Some((_, 0)) => self.item(name, Content::File { offset: 0, len: 0 }),
                    Some((_, len)) => State::Offset(name, within(Token::File, len, limits::BODY)?),
                    None => return self.wait(State::Content(name)),
                },
                State::Offset(name, len) => match self.header.take(Token::Doti, input)? {
                    Some(offset) => self.item(name, Content::File { offset, len }),
                    None => return self.wait(State::Offset(name, len)),
                },
                State::Target(name, mut text) => match text.take(input) {
                    Some(target) => self.item(name, Content::Link(target)),
                    None => return self.wait(State::Target(name, text)),
                },
            }
        }
    }

    fn wait(&mut self, state: State) -> Result<Option<Answer>, Error> {
        self.state = state;
        Ok(None)
    }

    fn item(&mut self, name: Vec<u8>, content: Content) -> State {
        self.items.push(Item { name, content });
        State::Item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inquiries_come_through_however_they_are_cut() {
        let mut bytes = Vec::new();
        encode_inquiry(true, &["/usr/bin/gcc", "PATH=/bin"], b"/w", &["gcc", "-c", "a.c"], &mut bytes);
        for at in 0..bytes.len() {
            let (mut a, mut b) = bytes.split_at(at);
            let mut decoder = InquiryDecoder::default();
            assert_eq!(decoder.take(&mut a), Ok(None));
            let inquiry = decoder.take(&mut b).unwrap().unwrap();
            assert!(inquiry.lines);
            assert_eq!(inquiry.context, [&b"/usr/bin/gcc"[..], b"PATH=/bin"]);
            assert_eq!((inquiry.question.directory.as_slice(), inquiry.question.argv.len()), (&b"/w"[..], 3));
        }
        let bad = |mut bytes: &[u8]| InquiryDecoder::default().take(&mut bytes).unwrap_err();
        assert_eq!(bad(b"DIST00000000ARGC00000000"), Error::NoArguments);
        assert!(matches!(bad(b"DIST00000002"), Error::TooLarge { token: Token::Dist, .. }));
    }

    #[test]
    fn answers_come_through_however_they_are_cut() {
        let item = |name: &str, content| Item { name: name.into(), content };
        let items = vec![
            item("/w/a.c", Content::File { offset: 0, len: 7 }),
            item("/w/empty", Content::File { offset: 0, len: 0 }),
            item("/w/l", Content::Link(b"/w/real".to_vec())),
            item("/w/b.h", Content::File { offset: u32::MAX, len: 9 }),
        ];
        for answer in [Ok(items), Ok(Vec::new()), Err("no \u{e9} way".to_owned())] {
            let mut bytes = Vec::new();
            encode_answer(&answer, &mut bytes);
            for at in 0..bytes.len() {
                let (mut a, mut b) = bytes.split_at(at);
                let mut decoder = AnswerDecoder::default();
                assert_eq!(decoder.take(&mut a), Ok(None));
                assert_eq!(decoder.take(&mut b), Ok(Some(answer.clone())));
            }
        }
        let mut bytes = Vec::new();
        encode_answer(&Err("\u{e9}".repeat(5000)), &mut bytes);
        assert!(AnswerDecoder::default().take(&mut &bytes[..]).unwrap().unwrap().is_err());
        let bad = |mut bytes: &[u8]| AnswerDecoder::default().take(&mut bytes).unwrap_err();
        assert!(matches!(bad(b"NFILffffffff"), Error::TooLarge { token: Token::Nfil, .. }));
        assert!(matches!(bad(b"NFIL00000001NAME00002000"), Error::TooLarge { token: Token::Name, .. }));
        assert!(matches!(bad(b"ARGC00000000"), Error::UnexpectedToken { .. }));
    }
}

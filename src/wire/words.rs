//! What tokens with a length carry besides bodies: one text, and `ARGC` with its `ARGV` words. Both are
//! collected from pieces of any size, within limits.

use super::token::Header;
use super::{Error, Token, limits};

/// A text whose length is known, on its way in.
#[derive(Debug, Default)]
pub(super) struct Text {
    bytes: Vec<u8>,
    left: u32,
}

impl Text {
    /// For `len` bytes. Nothing is allocated for bytes that have not come.
    pub(super) fn new(len: u32) -> Text {
        Text { bytes: Vec::new(), left: len }
    }

    /// Takes bytes from the front of `input`; the text once it is complete.
    pub(super) fn take(&mut self, input: &mut &[u8]) -> Option<Vec<u8>> {
        let taken = take(self.left, input);
        self.left -= taken.len() as u32;
        self.bytes.extend_from_slice(taken);
        (self.left == 0).then(|| std::mem::take(&mut self.bytes))
    }
}

/// What a row of words may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Words.
    pub(super) count: u32,
    /// Bytes of one.
    pub(super) one: u32,
    /// Bytes of all.
    pub(super) all: u32,
}

/// A command's.
pub(super) const COMMAND: Bounds =
    Bounds { count: limits::ARGUMENTS, one: limits::ARGUMENT, all: limits::ALL_ARGUMENTS };

/// `ARGC` and its words, on their way in.
#[derive(Debug)]
pub(super) struct Words {
    bounds: Bounds,
    words: Vec<Vec<u8>>,
    state: State,
    /// Words that `ARGC` announced and that have not begun.
    left: u32,
    /// Bytes of the words that have begun.
    len: u32,
    /// Bytes of memory that the complete words take.
    held: usize,
}

#[derive(Debug)]
enum State {
    Argc,
    Argv,
    Word(Text),
}

impl Words {
    /// Before `ARGC`.
    pub(super) fn new(bounds: Bounds) -> Words {
        Words { bounds, words: Vec::new(), state: State::Argc, left: 0, len: 0, held: 0 }
    }

    /// Takes bytes from the front of `input`; the words once they are complete.
    pub(super) fn take(
        &mut self,
        header: &mut Header,
        input: &mut &[u8],
    ) -> Result<Option<Vec<Vec<u8>>>, Error> {
        loop {
            match &mut self.state {
                State::Argc => {
                    let Some(count) = header.take(Token::Argc, input)? else { return Ok(None) };
                    self.left = within(Token::Argc, count, self.bounds.count)?;
                    if self.left == 0 {
                        return Ok(Some(Vec::new()));
                    }
                    self.state = State::Argv;
                }
                State::Argv => {
                    let Some(len) = header.take(Token::Argv, input)? else { return Ok(None) };
                    within(Token::Argv, len, self.bounds.one)?;
                    self.len = within(Token::Argv, self.len + len, self.bounds.all)?;
                    self.left -= 1;
                    self.state = State::Word(Text::new(len));
                }
                State::Word(text) => {
                    let Some(word) = text.take(input) else { return Ok(None) };
                    if word.contains(&0) {
                        return Err(Error::NulInArgument);
                    }
                    self.held += WORD + word.len();
                    self.words.push(word);
                    if self.left == 0 {
                        return Ok(Some(std::mem::take(&mut self.words)));
                    }
                    self.state = State::Argv;
                }
            }
        }
    }

    /// Bytes of memory that the words take that have come.
    pub(super) fn held(&self) -> usize {
        let coming = match &self.state {
            State::Word(text) => text.bytes.len(),
            State::Argc | State::Argv => 0,
        };
        self.held + coming
    }

    /// The token that stands here or is missing.
    pub(super) fn at(&self) -> Token {
        match self.state {
            State::Argc => Token::Argc,
            State::Argv | State::Word(_) => Token::Argv,
        }
    }
}

/// What a word takes beside its bytes: its vector, twice because the row of them grows by doubling, and what an
/// allocation costs.
const WORD: usize = 64;

/// Appends words with their number.
pub(super) fn encode<W: AsRef<[u8]>>(words: &[W], out: &mut Vec<u8>) {
    Token::Argc.encode(words.len() as u32, out);
    for word in words {
        encode_text(Token::Argv, word.as_ref(), out);
    }
}

/// Appends a token with its text.
pub(super) fn encode_text(token: Token, text: &[u8], out: &mut Vec<u8>) {
    token.encode(text.len() as u32, out);
    out.extend_from_slice(text);
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

//! What a client and an include server say to each other (reference `pump.md` section 2): one question, one
//! answer, over a local socket.
//!
//! ```text
//! question   CDIR directory  ARGC n  ARGV word * n          the whole compile command
//! answer     ARGC m  ARGV path * m                          files below the server's mirror; none: not covered
//! ```

use super::token::Header;
use super::words::{self, Bounds, COMMAND, Text, Words, within};
use super::{Error, Token, limits};

/// Bytes of all paths of an answer: 80 each where there are as many as there may be.
const ALL_PATHS: u32 = 8 << 20;

/// Appends a question.
pub fn encode_question<W: AsRef<[u8]>>(directory: &[u8], argv: &[W], out: &mut Vec<u8>) {
    words::encode_text(Token::Cdir, directory, out);
    words::encode(argv, out);
}

/// Appends an answer.
pub fn encode_answer<W: AsRef<[u8]>>(paths: &[W], out: &mut Vec<u8>) {
    words::encode(paths, out);
}

/// A compile command and where it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The client's working directory.
    pub directory: Vec<u8>,
    /// The command; at least one word.
    pub argv: Vec<Vec<u8>>,
}

/// Reads a question from pieces of any size.
#[derive(Debug)]
pub struct QuestionDecoder {
    header: Header,
    /// `None` while the directory's token is missing.
    directory: Option<Result<Vec<u8>, Text>>,
    words: Words,
}

impl Default for QuestionDecoder {
    fn default() -> QuestionDecoder {
        QuestionDecoder::new()
    }
}

impl QuestionDecoder {
    /// Before the first byte.
    pub fn new() -> QuestionDecoder {
        QuestionDecoder { header: Header::default(), directory: None, words: Words::new(COMMAND) }
    }

    /// Takes bytes from the front of `input`; the question once it is complete.
    ///
    /// # Errors
    /// See [`Error`]; the decoder is of no further use then.
    pub fn take(&mut self, input: &mut &[u8]) -> Result<Option<Question>, Error> {
        loop {
            match &mut self.directory {
                None => {
                    let Some(len) = self.header.take(Token::Cdir, input)? else { return Ok(None) };
                    self.directory = Some(Err(Text::new(within(Token::Cdir, len, limits::PATH)?)));
                }
                Some(Err(text)) => {
                    let Some(directory) = text.take(input) else { return Ok(None) };
                    self.directory = Some(Ok(directory));
                }
                Some(Ok(directory)) => {
                    let Some(argv) = self.words.take(&mut self.header, input)? else { return Ok(None) };
                    if argv.is_empty() {
                        return Err(Error::NoArguments);
                    }
                    return Ok(Some(Question { directory: std::mem::take(directory), argv }));
                }
            }
        }
    }
}

/// Reads an answer from pieces of any size.
#[derive(Debug)]
pub struct AnswerDecoder {
    header: Header,
    words: Words,
}

impl Default for AnswerDecoder {
    fn default() -> AnswerDecoder {
        AnswerDecoder::new()
    }
}

impl AnswerDecoder {
    /// Before the first byte.
    pub fn new() -> AnswerDecoder {
        let bounds = Bounds { count: limits::FILES, one: limits::PATH, all: ALL_PATHS };
        AnswerDecoder { header: Header::default(), words: Words::new(bounds) }
    }

    /// Takes bytes from the front of `input`; the paths once they are complete.
    ///
    /// # Errors
    /// See [`Error`]; the decoder is of no further use then.
    pub fn take(&mut self, input: &mut &[u8]) -> Result<Option<Vec<Vec<u8>>>, Error> {
        self.words.take(&mut self.header, input)
    }

    /// The error that an end of file means now.
    pub fn truncated(&self) -> Error {
        Error::Truncated { at: self.words.at() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `pump.md` section 2: what a stock client was seen to ask.
    const QUESTION: &[u8] = b"CDIR00000010/tmp/pm/exp/projARGC0000000aARGV00000014x86_64-linux-gnu-gcc\
        ARGV00000002-gARGV00000002-cARGV00000006main.cARGV00000002-oARGV00000006main.oARGV00000003-I.\
        ARGV00000011-I/tmp/pm/exp/absARGV00000004-MMDARGV00000005-DX=1";

    #[test]
    fn a_question_of_stock_is_understood_however_it_is_cut() {
        for at in 0..QUESTION.len() {
            let (mut a, mut b) = QUESTION.split_at(at);
            let mut decoder = QuestionDecoder::new();
            assert_eq!(decoder.take(&mut a), Ok(None));
            let question = decoder.take(&mut b).unwrap().unwrap();
            assert_eq!(question.directory, b"/tmp/pm/exp/proj");
            assert_eq!(question.argv.len(), 10);
            let mut again = Vec::new();
            encode_question(&question.directory, &question.argv, &mut again);
            assert_eq!(again, QUESTION);
        }
    }

    #[test]
    fn an_answer_may_be_empty_and_is_bounded() {
        let answer = |mut bytes: &[u8]| AnswerDecoder::new().take(&mut bytes);
        assert_eq!(answer(b"ARGC00000000"), Ok(Some(vec![])));
        let mut bytes = Vec::new();
        encode_answer(&["/a/b/c/d.c.lzo", "/a/b/c/usr"], &mut bytes);
        assert_eq!(bytes, b"ARGC00000002ARGV0000000e/a/b/c/d.c.lzoARGV0000000a/a/b/c/usr");
        assert_eq!(answer(&bytes).unwrap().unwrap().len(), 2);
        assert!(matches!(answer(b"ARGCffffffff"), Err(Error::TooLarge { token: Token::Argc, .. })));
        assert!(matches!(answer(b"ARGC00000001ARGV00002000"), Err(Error::TooLarge { .. })));
        let mut decoder = AnswerDecoder::new();
        assert_eq!(decoder.take(&mut &b"ARGC00000001"[..]), Ok(None));
        assert_eq!(decoder.truncated(), Error::Truncated { at: Token::Argv });
    }
}

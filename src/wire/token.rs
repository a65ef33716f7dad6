//! One token: its name, its number, and the incremental reading of its twelve bytes.

use std::fmt;

use super::Error;

/// Bytes of a token's name and number.
pub(super) const HEADER_LEN: usize = 12;

/// The token names of the protocol. `CDIR`, `NFIL`, `NAME`, `FILE`, `LINK` and `DOTD` are of version 3 only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// Start of a request; number = version.
    Dist,
    /// The client's working directory; number = length.
    Cdir,
    /// Number of words of the command.
    Argc,
    /// One word; number = length.
    Argv,
    /// The preprocessed source; number = length on the wire.
    Doti,
    /// Number of files and links.
    Nfil,
    /// The path of the file or link that follows; number = length.
    Name,
    /// A file's contents; number = length on the wire.
    File,
    /// Where a symbolic link leads; number = length.
    Link,
    /// Start of a reply; number = version.
    Done,
    /// The compiler's wait status.
    Stat,
    /// What it wrote to standard error.
    Serr,
    /// What it wrote to standard output.
    Sout,
    /// The object file.
    Doto,
    /// The dependency file.
    Dotd,
}

impl Token {
    fn name(self) -> &'static [u8; 4] {
        match self {
            Token::Dist => b"DIST",
            Token::Cdir => b"CDIR",
            Token::Argc => b"ARGC",
            Token::Argv => b"ARGV",
            Token::Doti => b"DOTI",
            Token::Nfil => b"NFIL",
            Token::Name => b"NAME",
            Token::File => b"FILE",
            Token::Link => b"LINK",
            Token::Done => b"DONE",
            Token::Stat => b"STAT",
            Token::Serr => b"SERR",
            Token::Sout => b"SOUT",
            Token::Doto => b"DOTO",
            Token::Dotd => b"DOTD",
        }
    }

    /// Appends the token with its number.
    pub(super) fn encode(self, number: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(self.name());
        out.extend_from_slice(&digits(number));
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(std::str::from_utf8(self.name()).unwrap_or("????"))
    }
}

/// Collects the twelve bytes of a token from pieces of any size.
#[derive(Debug, Default)]
pub(super) struct Header {
    bytes: [u8; HEADER_LEN],
    filled: usize,
}

impl Header {
    /// Whether no byte of a token has come.
    pub(super) fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Takes what is needed from the front of `input`. The token's number once it is complete, `None` while
    /// bytes are missing.
    ///
    /// A wrong name is reported as soon as its first wrong byte is here: a peer that speaks another protocol
    /// may never send twelve.
    pub(super) fn take(&mut self, expected: Token, input: &mut &[u8]) -> Result<Option<u32>, Error> {
        let taken = self.take_one_of(&[expected], input)?;
        Ok(taken.map(|(_, number)| number))
    }

    /// The same where any of several tokens, at least one, may stand.
    pub(super) fn take_one_of(
        &mut self,
        expected: &[Token],
        input: &mut &[u8],
    ) -> Result<Option<(Token, u32)>, Error> {
        let count = (HEADER_LEN - self.filled).min(input.len());
        let (taken, rest) = input.split_at(count);
        self.bytes[self.filled..self.filled + count].copy_from_slice(taken);
        self.filled += count;
        *input = rest;

        let name = &self.bytes[..self.filled.min(4)];
        let Some(token) = expected.iter().find(|token| token.name().starts_with(name)).copied() else {
            return Err(Error::UnexpectedToken { expected: expected[0], got: self.bytes });
        };
        if self.filled < HEADER_LEN {
            return Ok(None);
        }
        self.filled = 0;
        let mut digits = [0; 8];
        digits.copy_from_slice(&self.bytes[4..]);
        match parse_number(digits) {
            Some(number) => Ok(Some((token, number))),
            None => Err(Error::BadNumber { token, got: digits }),
        }
    }
}

/// A number as it stands behind a token's name.
pub(super) fn digits(number: u32) -> [u8; 8] {
    std::array::from_fn(|at| b"0123456789abcdef"[(number >> (28 - 4 * at)) as usize & 15])
}

/// Exactly eight hexadecimal digits; signs, blanks and `0x`, which stock reads too, are sent by nobody.
fn parse_number(digits: [u8; 8]) -> Option<u32> {
    digits.into_iter().try_fold(0u32, |number, digit| Some(number << 4 | char::from(digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_eight_hex_digits() {
        assert_eq!(parse_number(*b"0000008f"), Some(0x8f));
        assert_eq!(parse_number(*b"FFFFffff"), Some(u32::MAX));
        for bad in [b"     0x1", b"      +5", b"      -1", b"0000000z", b"000000\0\0"] {
            assert_eq!(parse_number(*bad), None);
        }
    }

    #[test]
    fn a_foreign_protocol_is_noticed_at_its_first_byte() {
        let mut input: &[u8] = b"G";
        assert!(matches!(
            Header::default().take(Token::Dist, &mut input),
            Err(Error::UnexpectedToken { expected: Token::Dist, .. })
        ));
    }
}

//! The distcc protocol as values and bytes: no socket, no clock, no file.
//!
//! A message is a row of tokens: four capitals and eight hexadecimal digits, and for most tokens as many
//! bytes as the digits say. The encoders append to a buffer; the decoders ([`request::Decoder`],
//! [`reply::Decoder`]) eat slices of any size and hand out events. Every length is held against [`limits`]
//! before anything is allocated for it. Client and daemon drive the same objects, and so do the client and
//! the include server of pump mode, which speak in the same tokens ([`include`]).
//!
//! Source: reference `protocol.md`, sections 2 to 8.

use std::fmt;

pub mod bodies;
pub mod include;
pub mod path;
pub mod probe;
pub mod reply;
pub mod request;
#[cfg(test)]
mod testing;
mod token;
mod words;

pub use ::lzo;
pub use token::Token;

/// What one message may ask us to hold. No real client comes near these (`protocol.md` section 3.2), nor gets past those
/// for commands: it is a program that was started with the same words.
pub mod limits {
    /// Words of a command.
    pub const ARGUMENTS: u32 = 65_536;
    /// Bytes of one word: what Linux lets a program have (`MAX_ARG_STRLEN`, with the NUL behind it).
    pub const ARGUMENT: u32 = (128 << 10) - 1;
    /// Bytes of all words together: what Linux lets a program have with a stack of the usual size.
    pub const ALL_ARGUMENTS: u32 = 2 << 20;
    /// Bytes of one body, on the wire and expanded; also of all files of a request together.
    pub const BODY: u32 = 1 << 30;
    /// Files and links of a request.
    pub const FILES: u32 = 100_000;
    /// Bytes of a path.
    pub const PATH: u32 = 4096;
    /// Directories that one path passes through. Each costs the server more than its few bytes cost the client.
    pub const DEPTH: usize = 256;
}

/// The protocol versions, which differ in how bodies travel and who preprocesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Bodies as they are; the client preprocesses.
    Plain,
    /// Bodies as LZO1X streams; the client preprocesses.
    Lzo,
    /// Bodies as LZO1X streams; the server preprocesses, and gets every file that this needs.
    Pump,
}

impl Version {
    /// The number in `DIST` and `DONE`.
    pub fn number(self) -> u32 {
        match self {
            Version::Plain => 1,
            Version::Lzo => 2,
            Version::Pump => 3,
        }
    }

    /// The version with this number.
    ///
    /// # Errors
    /// [`Error::Version`] for all others.
    pub fn from_number(number: u32) -> Result<Version, Error> {
        match number {
            1 => Ok(Version::Plain),
            2 => Ok(Version::Lzo),
            3 => Ok(Version::Pump),
            other => Err(Error::Version(other)),
        }
    }

    /// Whether bodies are compressed.
    pub fn compressed(self) -> bool {
        self != Version::Plain
    }
}

/// How much of a path an error shows.
const SHOWN_PATH: usize = 200;

/// Bytes that are not the protocol. The connection they came on is of no further use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Another token, or none, where this one had to stand; with the twelve bytes that stood there.
    UnexpectedToken {
        /// What the grammar allows here.
        expected: Token,
        /// What came.
        got: [u8; 12],
    },
    /// The eight digits after a token's name are not hexadecimal.
    BadNumber {
        /// The token.
        token: Token,
        /// What came instead of digits.
        got: [u8; 8],
    },
    /// A protocol version that we do not speak.
    Version(u32),
    /// The reply speaks another version than the request.
    VersionMismatch {
        /// The request's.
        expected: u32,
        /// The reply's.
        got: u32,
    },
    /// A number past its limit.
    TooLarge {
        /// Whose number.
        token: Token,
        /// What was asked for.
        got: u32,
        /// What is allowed.
        limit: u32,
    },
    /// A command without a single word.
    NoArguments,
    /// A word of the command with a NUL byte in it.
    NulInArgument,
    /// A path that is none, or that could lead elsewhere than it says.
    BadPath {
        /// Whose path.
        token: Token,
        /// The path.
        path: Vec<u8>,
        /// What is wrong with it; reads on from "it".
        why: &'static str,
    },
    /// A failed job that nevertheless carries an object.
    ObjectOfFailedJob,
    /// The peer closed before the message was complete.
    Truncated {
        /// Inside or before which token.
        at: Token,
    },
    /// A compressed body that is not an LZO1X stream, or one that expands past the limit.
    Lzo {
        /// The body's token.
        token: Token,
        /// What is wrong with it.
        error: lzo::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Error::UnexpectedToken { expected, got } => {
                write!(f, "expected the token {expected}, got \"{}\"", got.escape_ascii())
            }
            Error::BadNumber { token, got } => {
                write!(f, "\"{}\" after {token} is not a number of eight hex digits", got.escape_ascii())
            }
            Error::Version(number) => write!(f, "protocol version {number} does not exist"),
            Error::VersionMismatch { expected, got } => {
                write!(f, "the reply is of protocol version {got}, the request was of version {expected}")
            }
            Error::TooLarge { token, got, limit } => {
                write!(f, "{token} asks for {got}, the limit is {limit}")
            }
            Error::NoArguments => write!(f, "ARGC is 0: a command needs at least a compiler"),
            Error::NulInArgument => write!(f, "a word of the command contains a NUL byte"),
            Error::BadPath { token, path, why } => {
                let shown = &path[..path.len().min(SHOWN_PATH)];
                write!(f, "the path \"{}\" of {token} is refused: it {why}", shown.escape_ascii())
            }
            Error::ObjectOfFailedJob => write!(f, "a failed job came with an object"),
            Error::Truncated { at } => write!(f, "the connection was closed before {at} was complete"),
            Error::Lzo { token, error } => write!(f, "the body of {token} cannot be expanded: {error}"),
        }
    }
}

impl std::error::Error for Error {}

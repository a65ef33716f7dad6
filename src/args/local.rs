//! Why a job is compiled locally: a verdict, not an error.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;

/// A command that this machine has to run itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// What decided.
    pub reason: Reason,
    /// What it counts against.
    pub slot: LocalSlot,
    /// The file it is about, as far as one can tell: for display only.
    pub input: Option<OsString>,
}

/// Which of the local limits a command counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalSlot {
    /// Compilers and linkers.
    Compile,
    /// Preprocessors.
    Cpp,
}

/// What about a command keeps it local. Displays as one phrase: `-save-temps: it keeps …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    word: Option<OsString>,
    why: &'static str,
}

impl Reason {
    /// One word decides; `why` reads on from "it".
    #[inline(never)]
    pub fn at(word: &[u8], why: &'static str) -> Reason {
        Reason { word: Some(OsStr::from_bytes(word).to_owned()), why }
    }

    /// The command as a whole decides.
    pub const fn whole(why: &'static str) -> Reason {
        Reason { word: None, why }
    }

    /// The word that decides, if it is a single one.
    pub fn word(&self) -> Option<&OsStr> {
        self.word.as_deref()
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.word {
            Some(word) if word.is_empty() => write!(f, "'': it {}", self.why),
            Some(word) => write!(f, "{}: it {}", Printable(word.as_bytes()), self.why),
            None => f.write_str(self.why),
        }
    }
}

/// A word as [`Printable`].
pub fn printable(word: &OsStr) -> Printable<'_> {
    Printable(word.as_bytes())
}

/// Bytes from a command line, safe for a terminal and a log: one line, no control characters.
pub struct Printable<'a>(pub &'a [u8]);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character.is_control() {
                    write!(f, "{}", character.escape_default())?;
                } else {
                    write!(f, "{character}")?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_printable_line() {
        let reason = Reason::at(b"-x\n\x1b[1m\xff\xc3\xa4", "is odd");
        assert_eq!(reason.to_string(), "-x\\n\\u{1b}[1m\\xff\u{e4}: it is odd");
        assert_eq!(Reason::whole("no input").to_string(), "no input");
    }
}

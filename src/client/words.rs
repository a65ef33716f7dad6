//! How commands, names and ends are put in words for logs and messages.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;

use crate::args::{Printable, printable};
use crate::sys::process::WaitStatus;

/// The last part of a path.
pub fn base_name(path: &OsStr) -> Printable<'_> {
    printable(Path::new(path).file_name().unwrap_or(path))
}

/// A wait status in words.
pub struct Described(pub WaitStatus);
impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match (self.0.code(), self.0.signal()) {
            (_, Some(signal)) => {
                let core = if self.0.dumped_core() { " (core dumped)" } else { "" };
                write!(f, "signal {}: {}{core}", signal.number(), signal.description())
            }
            (code, None) => write!(f, "exit code {}", code.unwrap_or(0)),
        }
    }
}

/// A command as stock logs it: words with blanks, quotes or semicolons stand in double quotes.
pub struct Quoted<'a>(pub &'a [Vec<u8>]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (at, word) in self.0.iter().enumerate() {
            let text = String::from_utf8_lossy(word);
            let separator = if at == 0 { "" } else { " " };
            match word.is_empty() || word.iter().any(|byte| b" \t\n\"';".contains(byte)) {
                true => write!(f, "{separator}\"{text}\"")?,
                false => write!(f, "{separator}{text}")?,
            }
        }
        Ok(())
    }
}

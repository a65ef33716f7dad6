//! Text for people on standard output and standard error, which may be closed: `println!` would panic then.

use std::fmt::Arguments;
use std::io::{self, Write};

/// Writes `text` to standard output. A closed descriptor is not an error; a reader that has gone is one.
pub fn out(text: Arguments) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_fmt(text).and_then(|()| out.flush())
}

/// Writes bytes to standard output, names of files above all, which may be no text.
pub fn out_bytes(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}

/// Writes `text` to standard error in one piece, so that lines of parallel jobs do not mix.
pub fn err(text: Arguments) {
    let line = text.to_string();
    let _ = io::stderr().write_all(line.as_bytes());
}

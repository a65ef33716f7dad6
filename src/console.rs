//! Text for people on standard output and standard error, which may be closed: `println!` would panic then.

use std::fmt::Arguments;
use std::io::{self, Write};

/// Writes `text` to standard output. A closed pipe is not an error worth a panic; the reader has gone.
pub fn out(text: Arguments) {
    let _ = try_out(text);
}

/// The same for who goes on writing until the reader has gone.
pub fn try_out(text: Arguments) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_fmt(text).and_then(|()| out.flush())
}

/// Writes `text` to standard error in one piece, so that lines of parallel jobs do not mix.
pub fn err(text: Arguments) {
    let line = text.to_string();
    let _ = io::stderr().write_all(line.as_bytes());
}

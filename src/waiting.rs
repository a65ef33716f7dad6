//! Blocking calls that an interrupt ends: the one place that tells a stray signal from the user's ^C.

use std::io;

use crate::sys::signal::{self, Signal};

/// The user, or the system, wants this process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted(pub Signal);

/// Repeats `call` while it fails with `Interrupted`, until an interrupt has come in.
pub fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> Result<io::Result<T>, Interrupted> {
    loop {
        check()?;
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            result => return Ok(result),
        }
    }
}

/// Fails if an interrupt has come in.
pub fn check() -> Result<(), Interrupted> {
    signal::interrupted().map_or(Ok(()), |signal| Err(Interrupted(signal)))
}

//! The kernel, in our own types. Every libc call and every `unsafe` block of the tree is below this module.
//!
//! What it supplies: the first steps (`start`), memory (`heap`), children and their end (`process`, `leash`), signals (`signal`), descriptors, anonymous files and
//! their mappings (`file`), streams into files (`splice`), steps below
//! a directory (`dir`), locks (`lock`), users and privileges (`user`),
//! what a monitor needs (`watch`, `terminal`). Sockets come from `std` and `mio`, and `socket` sets up what these
//! do not; those for multicast come from `multicast`. Descriptors are owned from the call that made them and close on exec from that call
//! too, so that a compiler inherits nothing it was not given.

use std::io;

pub mod dir;
pub mod file;
#[cfg(any(target_env = "musl", test))]
pub mod heap;
#[cfg(any(silent_panics, test))]
mod lean;
pub mod leash;
pub mod lock;
#[cfg(feature = "zeroconf")]
pub mod multicast;
pub mod process;
pub mod search;
pub mod signal;
pub mod socket;
pub mod splice;
pub mod start;
pub mod terminal;
pub mod thread;
pub mod user;
pub mod watch;

/// Turns the -1 of a libc call into the error it stands for.
fn cvt(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The same for calls that return a byte count.
fn cvt_len(result: libc::ssize_t) -> io::Result<usize> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as usize) }
}

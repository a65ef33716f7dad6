//! The terminal behind a descriptor.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::cvt;

/// Rows and columns, as far as the terminal knows them.
pub fn size(fd: BorrowedFd) -> Option<(usize, usize)> {
    // SAFETY: winsize is made of integers, for which zero is a value.
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: the request fills a winsize, and `size` lives through the call.
    cvt(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) }).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row.into(), size.ws_col.into()))
}

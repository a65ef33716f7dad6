//! Sockets, as far as std and mio do not set them up.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use super::cvt;

/// Makes the kernel ask the peer of a silent TCP connection whether it is still there: after `idle` without a byte, then
/// every `interval`; after `probes` questions without an answer the connection fails with `TimedOut`. Times are rounded
/// down to whole seconds, at least one.
pub fn keep_alive(fd: BorrowedFd, idle: Duration, interval: Duration, probes: u32) -> io::Result<()> {
    let seconds = |time: Duration| time.as_secs().clamp(1, i32::MAX as u64) as libc::c_int;
    let settings = [
        (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, seconds(idle)),
        (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, seconds(interval)),
        (libc::IPPROTO_TCP, libc::TCP_KEEPCNT, probes as libc::c_int),
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1),
    ];
    for (level, name, value) in settings {
        let len = size_of_val(&value) as libc::socklen_t;
        // SAFETY: pointer and length are those of `value`, which lives through the call.
        cvt(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), len) })?;
    }
    Ok(())
}

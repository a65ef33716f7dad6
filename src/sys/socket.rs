//! Sockets, as far as std and mio do not set them up.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::cvt;

/// Makes the kernel ask the peer of a silent TCP connection whether it is still there: after `idle` without a byte, then
/// every `interval`; after `probes` questions without an answer the connection fails with `TimedOut`. Times are rounded
/// down to whole seconds, at least one.
pub fn keep_alive(fd: BorrowedFd, idle: Duration, interval: Duration, probes: u32) -> io::Result<()> {
    let seconds = |time: Duration| time.as_secs().clamp(1, i32::MAX as u64) as libc::c_int;
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, seconds(idle))?;
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, seconds(interval))?;
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPCNT, probes as libc::c_int)?;
    set_option(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)
}

/// Has connections wait in the kernel until their first bytes are there, or about a second has passed.
pub fn defer_accept(listener: BorrowedFd) -> io::Result<()> {
    set_option(listener, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 1)
}

/// The first descriptor that a service manager passes (sd_listen_fds(3)).
const FIRST_PASSED: libc::c_int = 3;

/// Takes over the `count` listening TCP sockets that a service manager has opened for this process; from now on they
/// close on exec and do not block. To be called once, before anything else is opened.
///
/// # Errors
/// Names the descriptor that is closed, or no TCP socket that listens.
pub fn passed_listeners(count: u16) -> io::Result<Vec<TcpListener>> {
    (0..count).map(|at| passed_listener(FIRST_PASSED + libc::c_int::from(at))).collect()
}

fn passed_listener(fd: libc::c_int) -> io::Result<TcpListener> {
    let bad = |e: io::Error| io::Error::new(e.kind(), format!("descriptor {fd}: {e}"));
    // SAFETY: fcntl with integer arguments touches no memory of ours; it fails if there is no such descriptor.
    cvt(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) }).map_err(bad)?;
    // SAFETY: the descriptor is open, and was so when this process began: nobody else in it knows of it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    if option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_ACCEPTCONN).map_err(bad)? == 0 {
        return Err(bad(io::Error::other("is a socket that does not listen")));
    }
    let listener = TcpListener::from(socket);
    listener.local_addr().map_err(|_| bad(io::Error::other("is no socket for TCP")))?;
    listener.set_nonblocking(true).map_err(bad)?;
    Ok(listener)
}

fn option(fd: BorrowedFd, level: libc::c_int, name: libc::c_int) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: pointer and length are those of `value`, which lives through the call, as `len` does.
    cvt(unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, (&raw mut value).cast(), &mut len) })?;
    Ok(value)
}

fn set_option(fd: BorrowedFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: pointer and length are those of `value`, which lives through the call.
    cvt(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), len) }).map(drop)
}

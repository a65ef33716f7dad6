//! Sockets, as far as std and mio do not set them up.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::{cvt, cvt_len};

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

/// From now on the socket counts as readable when `count` bytes are there, or its end. Reading takes less as well.
pub fn receive_at_least(fd: BorrowedFd, count: usize) -> io::Result<()> {
    set_option(fd, libc::SOL_SOCKET, libc::SO_RCVLOWAT, count.try_into().unwrap_or(libc::c_int::MAX))
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

/// Room for the control message of one descriptor; `u64` for its alignment.
type Control = [u64; 4];

/// Writes `bytes` to a local stream socket, and with their first byte a copy of `passed`; tells how many bytes went.
pub fn send_with_descriptor(to: BorrowedFd, bytes: &[u8], passed: BorrowedFd) -> io::Result<usize> {
    let mut control: Control = [0; 4];
    let mut piece = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut message = message(&mut piece, &mut control);
    // SAFETY: the control buffer has room for one descriptor with its header (the assertion in `message`), so
    // CMSG_FIRSTHDR is not null; `piece`, `control` and `bytes` live through the call, which only reads them.
    let sent = unsafe {
        message.msg_controllen = libc::CMSG_SPACE(size_of::<libc::c_int>() as u32) as _;
        let header = libc::CMSG_FIRSTHDR(&message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<libc::c_int>() as u32) as _;
        libc::CMSG_DATA(header).cast::<libc::c_int>().write_unaligned(passed.as_raw_fd());
        libc::sendmsg(to.as_raw_fd(), &message, libc::MSG_NOSIGNAL)
    };
    cvt_len(sent)
}

/// Reads from a local stream socket into `buffer`; also a descriptor, if one came with these bytes. It closes on exec.
pub fn receive_with_descriptor(from: BorrowedFd, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut control: Control = [0; 4];
    let mut piece = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut message = message(&mut piece, &mut control);
    // SAFETY: the kernel writes into `buffer` and `control`, whose lengths the message says and which live through the
    // call.
    let count = cvt_len(unsafe { libc::recvmsg(from.as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC) })?;
    // SAFETY: the kernel has filled the control buffer, and says how far; a header that CMSG_FIRSTHDR gives is inside
    // it. A header of this kind and length holds one descriptor, which is new and nobody else's.
    let passed = unsafe {
        let header = libc::CMSG_FIRSTHDR(&message);
        let is_one = !header.is_null()
            && (*header).cmsg_level == libc::SOL_SOCKET
            && (*header).cmsg_type == libc::SCM_RIGHTS
            && (*header).cmsg_len as usize == libc::CMSG_LEN(size_of::<libc::c_int>() as u32) as usize;
        is_one.then(|| OwnedFd::from_raw_fd(libc::CMSG_DATA(header).cast::<libc::c_int>().read_unaligned()))
    };
    Ok((count, passed))
}

fn message(piece: &mut libc::iovec, control: &mut Control) -> libc::msghdr {
    // SAFETY: only computes a size.
    let room = unsafe { libc::CMSG_SPACE(size_of::<libc::c_int>() as u32) } as usize;
    assert!(room <= size_of::<Control>(), "a control message is larger than on any known system");
    // SAFETY: `msghdr` is a plain C struct for which all-zero is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = piece;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of::<Control>() as _;
    message
}

//! Record locks (`fcntl`), which the stock programs use on the same files, and locks that outlive a fork (`flock`).
//!
//! A record lock belongs to the process and dies with it. It is also lost when the process closes *any*
//! descriptor of the file, so a file is opened once and the lock lives as long as that `File`.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use super::cvt;

/// Which bytes of a file a lock covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// All of it, as the stock programs lock.
    Whole,
    /// The one byte at this offset; the file need not be that long.
    Byte(u32),
}

/// Takes an exclusive lock if it is free; false means another process holds it. `file` must be open for
/// writing.
pub fn try_lock(file: &File, range: Range) -> io::Result<bool> {
    match set_lock(file, range, libc::F_SETLK) {
        Ok(()) => Ok(true),
        Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(e) => Err(e),
    }
}

/// The process that holds a lock on the whole of `file`, without taking it; 0 if it is in another container. `file` must
/// be open for writing.
pub fn holder(file: &File) -> io::Result<Option<i32>> {
    // SAFETY: `flock` is a plain C struct for which all-zero is a value.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as _;
    lock.l_whence = libc::SEEK_SET as _;
    // SAFETY: `lock` lives through the call, which only changes it.
    cvt(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &mut lock) })?;
    Ok((libc::c_int::from(lock.l_type) != libc::F_UNLCK).then_some(lock.l_pid))
}

/// Takes an exclusive lock, waiting in the kernel for it. A signal ends the wait with `Interrupted`.
pub fn wait_lock(file: &File, range: Range) -> io::Result<()> {
    set_lock(file, range, libc::F_SETLKW)
}

/// Takes an exclusive lock that belongs to the open file: to this process and those it forks, until the last of them
/// has closed it. False means that another open file of the same name holds it.
pub fn try_lock_for_family(file: &File) -> io::Result<bool> {
    // SAFETY: flock takes integers only.
    match cvt(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(e) => Err(e),
    }
}

fn set_lock(file: &File, range: Range, command: libc::c_int) -> io::Result<()> {
    // SAFETY: `flock` is a plain C struct for which all-zero is a value.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as _;
    lock.l_whence = libc::SEEK_SET as _;
    if let Range::Byte(offset) = range {
        // A signed 31 bit offset fits every `off_t`.
        lock.l_start = (offset & 0x7fff_ffff) as _;
        lock.l_len = 1;
    }
    // SAFETY: `lock` lives through the call.
    cvt(unsafe { libc::fcntl(file.as_raw_fd(), command, &lock) }).map(drop)
}

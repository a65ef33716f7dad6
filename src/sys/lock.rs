//! Record locks (`fcntl`), which the stock programs use on the same files, and the directory watch that tells when one is freed.
//!
//! Such a lock belongs to the process and dies with it. It is also lost when the process closes *any* descriptor of the file, so a
//! file is opened once and the lock lives as long as that `File`.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{cvt, cvt_len};

/// Which bytes of a file a lock covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// All of it, as the stock programs lock.
    Whole,
    /// The one byte at this offset; the file need not be that long.
    Byte(u32),
}

/// Takes an exclusive lock if it is free; false means another process holds it. `file` must be open for writing.
pub fn try_lock(file: &File, range: Range) -> io::Result<bool> {
    match set_lock(file, range, libc::F_SETLK) {
        Ok(()) => Ok(true),
        Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Takes an exclusive lock, waiting in the kernel for it. A signal ends the wait with `Interrupted`.
pub fn wait_lock(file: &File, range: Range) -> io::Result<()> {
    set_lock(file, range, libc::F_SETLKW)
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

/// A watch on a directory: becomes readable when a file in it that was open for writing is closed.
///
/// The kernel drops a record lock before it reports the close, so a waiter that wakes up finds the lock free.
pub struct CloseWatch(OwnedFd);

impl CloseWatch {
    /// Starts watching `directory`. Fails where the kernel or a limit forbids it; the caller then polls.
    pub fn new(directory: &Path) -> io::Result<CloseWatch> {
        let path = CString::new(directory.as_os_str().as_bytes())?;
        // SAFETY: no pointers are passed.
        let fd = cvt(unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) })?;
        // SAFETY: the kernel has just given us this descriptor, and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: `path` is NUL-terminated and outlives the call.
        cvt(unsafe { libc::inotify_add_watch(fd.as_raw_fd(), path.as_ptr(), libc::IN_CLOSE_WRITE) })?;
        Ok(CloseWatch(fd))
    }

    /// Throws away what has been reported, so that the next wait sees only later closes.
    pub fn drain(&self) {
        let mut buffer = [0u8; 4096];
        // SAFETY: pointer and length belong to `buffer`; the kernel writes whole records, which are not looked at.
        while cvt_len(unsafe { libc::read(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) })
            .is_ok_and(|n| n > 0)
        {}
    }
}

impl AsFd for CloseWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

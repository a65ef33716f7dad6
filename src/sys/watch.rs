//! Changes of a directory, told by the kernel (inotify).

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::cvt;

/// The files of one directory, watched.
pub struct DirectoryWatch {
    inotify: File,
}

/// What has happened to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It has been written to.
    Written(OsString),
    /// Its name is gone.
    Removed(OsString),
}

impl DirectoryWatch {
    /// Watches `directory` from now on.
    pub fn new(directory: &Path) -> io::Result<DirectoryWatch> {
        // SAFETY: the call takes an integer only.
        let fd = cvt(unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) })?;
        // SAFETY: the kernel has just given us this descriptor, and nobody else owns it.
        let inotify = unsafe { File::from_raw_fd(fd) };
        let path = CString::new(directory.as_os_str().as_bytes())?;
        let events = libc::IN_MODIFY | libc::IN_DELETE | libc::IN_ONLYDIR;
        // SAFETY: `path` is NUL-terminated and outlives the call.
        cvt(unsafe { libc::inotify_add_watch(inotify.as_raw_fd(), path.as_ptr(), events) })?;
        Ok(DirectoryWatch { inotify })
    }

    /// Appends what has happened since the last call. Changes may be missing after very many at once.
    pub fn changes(&mut self, into: &mut Vec<Change>) -> io::Result<()> {
        // Room for a hundred events or so; an event with the longest name fits.
        let mut buffer = [0; 4096];
        loop {
            match self.inotify.read(&mut buffer) {
                Ok(len) => decode(&buffer[..len], into),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
    }
}

impl AsFd for DirectoryWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

/// Events as inotify(7) has them: watch, mask, cookie and the name's length, 4 bytes each, then the name, padded with NULs.
fn decode(mut bytes: &[u8], into: &mut Vec<Change>) {
    const HEAD: usize = 16;
    let int = |bytes: &[u8], at: usize| {
        let mut int = [0; 4];
        int.copy_from_slice(&bytes[at..at + 4]);
        u32::from_ne_bytes(int)
    };
    while bytes.len() >= HEAD {
        let (mask, len) = (int(bytes, 4), int(bytes, 12) as usize);
        let Some(name) = bytes.get(HEAD..HEAD + len) else { return };
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let name = OsStr::from_bytes(name).to_owned();
        if mask & libc::IN_DELETE != 0 {
            into.push(Change::Removed(name));
        } else if mask & libc::IN_MODIFY != 0 {
            into.push(Change::Written(name));
        }
        bytes = &bytes[HEAD + len..];
    }
}

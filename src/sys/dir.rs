//! Directories as descriptors, and steps below them that no symbolic link can lead astray.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};

use super::cvt;

/// An open directory. Names that its methods take are single names, without a slash, unless they say otherwise.
#[derive(Debug)]
pub struct Dir(OwnedFd);

/// How [`Dir::descend`] makes sure that it stays below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Descent {
    /// The kernel does it in one call (`openat2`, Linux 5.6).
    Kernel,
    /// Step by step, refusing links; for kernels that cannot, and sandboxes that do not let it.
    Steps,
}

/// Set once `openat2` turns out to be missing here.
static NO_OPENAT2: AtomicBool = AtomicBool::new(false);

/// The same number on every architecture: it is younger than their common table.
const SYS_OPENAT2: libc::c_long = 437;

/// `struct open_how` of openat2(2).
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// `RESOLVE_BENEATH`, `RESOLVE_NO_SYMLINKS`, `RESOLVE_NO_MAGICLINKS` of openat2(2).
const STRICTLY_BELOW: u64 = 0x08 | 0x04 | 0x02;

/// A directory to start from; it cannot be listed.
const HANDLE: libc::c_int = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
const LIST: libc::c_int = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;

impl Dir {
    /// The directory at `path`, which is trusted up to its last name.
    pub fn open(path: &Path) -> io::Result<Dir> {
        use std::os::unix::ffi::OsStrExt;

        open(libc::AT_FDCWD, &c_string(path.as_os_str().as_bytes())?, HANDLE).map(Dir)
    }

    /// The directory at `path` (names joined by slashes, no `..`) below this one. A link on the way is an error.
    pub fn descend(&self, path: &[u8]) -> io::Result<Dir> {
        if NO_OPENAT2.load(Ordering::Relaxed) {
            return self.descend_by(Descent::Steps, path);
        }
        match self.descend_by(Descent::Kernel, path) {
            // Sandboxes say EPERM to calls they do not know.
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                NO_OPENAT2.store(true, Ordering::Relaxed);
                self.descend_by(Descent::Steps, path)
            }
            result => result,
        }
    }

    /// The same in the given way.
    pub fn descend_by(&self, descent: Descent, path: &[u8]) -> io::Result<Dir> {
        match descent {
            Descent::Kernel => {
                let how = OpenHow { flags: HANDLE as u64, mode: 0, resolve: STRICTLY_BELOW };
                let path = c_string(if path.is_empty() { b"." } else { path })?;
                // SAFETY: `path` is NUL-terminated, `how` is what the call wants and its size is given; both outlive it.
                let fd = unsafe {
                    libc::syscall(
                        SYS_OPENAT2,
                        self.0.as_raw_fd(),
                        path.as_ptr(),
                        &raw const how,
                        size_of::<OpenHow>(),
                    )
                };
                if fd < 0 {
                    return Err(io::Error::last_os_error());
                }
                // SAFETY: the kernel has just given us this descriptor, and nobody else owns it.
                Ok(Dir(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) }))
            }
            Descent::Steps => {
                let mut dir = Dir(open(self.0.as_raw_fd(), c".", HANDLE)?);
                for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
                    dir = Dir(open(dir.0.as_raw_fd(), &c_name(name)?, HANDLE)?);
                }
                Ok(dir)
            }
        }
    }

    /// Makes a file (mode 0666 less the umask) that was not there, for writing.
    pub fn create_file(&self, name: &[u8]) -> io::Result<File> {
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        open(self.0.as_raw_fd(), &c_name(name)?, flags).map(File::from)
    }

    /// Opens a file for reading; not what a link leads to.
    pub fn open_file(&self, name: &[u8]) -> io::Result<File> {
        let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        open(self.0.as_raw_fd(), &c_name(name)?, flags).map(File::from)
    }

    /// Makes a directory (mode 0777 less the umask).
    pub fn make_dir(&self, name: &[u8]) -> io::Result<()> {
        let name = c_name(name)?;
        // SAFETY: `name` is NUL-terminated and outlives the call.
        cvt(unsafe { libc::mkdirat(self.0.as_raw_fd(), name.as_ptr(), 0o777) }).map(drop)
    }

    /// Makes a symbolic link to `target`.
    pub fn make_link(&self, name: &[u8], target: &[u8]) -> io::Result<()> {
        let (name, target) = (c_name(name)?, c_string(target)?);
        // SAFETY: both are NUL-terminated and outlive the call.
        cvt(unsafe { libc::symlinkat(target.as_ptr(), self.0.as_raw_fd(), name.as_ptr()) }).map(drop)
    }

    /// Removes what is no directory.
    pub fn remove_file(&self, name: &[u8]) -> io::Result<()> {
        self.unlink(name, 0)
    }

    /// Removes an empty directory.
    pub fn remove_dir(&self, name: &[u8]) -> io::Result<()> {
        self.unlink(name, libc::AT_REMOVEDIR)
    }

    fn unlink(&self, name: &[u8], flags: libc::c_int) -> io::Result<()> {
        let name = c_name(name)?;
        // SAFETY: `name` is NUL-terminated and outlives the call.
        cvt(unsafe { libc::unlinkat(self.0.as_raw_fd(), name.as_ptr(), flags) }).map(drop)
    }

    /// Moves a directory from here to `to`, under a name that is free there.
    pub fn move_dir(&self, name: &[u8], to: &Dir, new_name: &[u8]) -> io::Result<()> {
        let (name, new_name) = (c_name(name)?, c_name(new_name)?);
        // SAFETY: both are NUL-terminated and outlive the call.
        cvt(unsafe { libc::renameat(self.0.as_raw_fd(), name.as_ptr(), to.0.as_raw_fd(), new_name.as_ptr()) })
            .map(drop)
    }

    /// Lets the owner do everything with a directory in this one.
    pub fn unlock_dir(&self, name: &[u8]) -> io::Result<()> {
        let name = c_name(name)?;
        // SAFETY: `name` is NUL-terminated and outlives the call.
        cvt(unsafe { libc::fchmodat(self.0.as_raw_fd(), name.as_ptr(), 0o700, 0) }).map(drop)
    }

    /// Names and kinds of everything in the directory `name` of this one; `.` is this one itself.
    pub fn list(&self, name: &[u8]) -> io::Result<Vec<Entry>> {
        let fd = open(self.0.as_raw_fd(), &c_name(name)?, LIST)?;
        let mut stream = Stream::new(fd)?;
        let mut entries = Vec::new();
        while let Some(entry) = stream.next()? {
            entries.push(entry);
        }
        Ok(entries)
    }
}

/// Something in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: Vec<u8>,
    /// Whether it is a directory itself; `None` if the file system does not tell.
    pub is_dir: Option<bool>,
}

/// A directory being read.
struct Stream(NonNull<libc::DIR>);

impl Stream {
    fn new(fd: OwnedFd) -> io::Result<Stream> {
        use std::os::fd::IntoRawFd;

        let fd = fd.into_raw_fd();
        // SAFETY: the descriptor is ours, and the stream owns it from here on if there is one.
        match NonNull::new(unsafe { libc::fdopendir(fd) }) {
            Some(stream) => Ok(Stream(stream)),
            None => {
                let error = io::Error::last_os_error();
                // SAFETY: there is no stream, so the descriptor is still ours.
                drop(unsafe { OwnedFd::from_raw_fd(fd) });
                Err(error)
            }
        }
    }

    fn next(&mut self) -> io::Result<Option<Entry>> {
        loop {
            // SAFETY: errno is this thread's own; the stream is open until `drop`, and nobody else reads it.
            let entry = unsafe {
                *libc::__errno_location() = 0;
                libc::readdir64(self.0.as_ptr())
            };
            if entry.is_null() {
                let error = io::Error::last_os_error();
                return if error.raw_os_error() == Some(0) { Ok(None) } else { Err(error) };
            }
            // SAFETY: readdir has just filled this entry, whose name ends with a NUL; it stays until the next call.
            let (name, kind) = unsafe {
                let name = CStr::from_ptr((&raw const (*entry).d_name).cast());
                (name.to_bytes(), (*entry).d_type)
            };
            if name != b"." && name != b".." {
                let is_dir = (kind != libc::DT_UNKNOWN).then_some(kind == libc::DT_DIR);
                return Ok(Some(Entry { name: name.to_vec(), is_dir }));
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: the stream is open, and nobody uses it after this.
        unsafe { libc::closedir(self.0.as_ptr()) };
    }
}

fn open(at: libc::c_int, path: &CStr, flags: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: `path` is NUL-terminated and outlives the call; the mode is there whether flags ask for it or not.
    let fd = cvt(unsafe { libc::openat(at, path.as_ptr(), flags, 0o666 as libc::c_uint) })?;
    // SAFETY: the kernel has just given us this descriptor, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn c_string(bytes: &[u8]) -> io::Result<CString> {
    Ok(CString::new(bytes)?)
}

/// A slash would be a step past the directory.
fn c_name(name: &[u8]) -> io::Result<CString> {
    if name.contains(&b'/') || name == b".." || name.is_empty() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    c_string(name)
}

//! Descriptors: anonymous files and their mappings, `sendfile`, `poll`, socket pairs.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::time::Duration;

use super::{cvt, cvt_len};

/// A file in memory, without a name, gone when its last descriptor closes. Fails with `Unsupported` on kernels before 3.17.
pub fn in_memory(name: &CStr) -> io::Result<File> {
    // SAFETY: `name` is a NUL-terminated string that outlives the call; the call takes no other pointer.
    let fd = unsafe {
        libc::syscall(libc::SYS_memfd_create, name.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING)
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor, and nobody else owns it.
    Ok(unsafe { File::from_raw_fd(fd as libc::c_int) })
}

/// The bytes of a finished anonymous file.
///
/// Mapped when the file could be sealed, so that nobody can shorten it under the mapping; read into memory
/// otherwise.
pub enum Contents {
    /// A sealed file's pages.
    Mapped(Mapping),
    /// A copy.
    Read(Vec<u8>),
}

impl Contents {
    /// Takes the whole of `file`, from its first byte, wherever its offset stands.
    pub fn of(file: &mut File) -> io::Result<Contents> {
        let len = file.metadata()?.len();
        let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        if len == 0 {
            return Ok(Contents::default());
        }
        if seal(file.as_fd()).is_ok() {
            return Mapping::new(file.as_fd(), len, libc::MAP_POPULATE).map(Contents::Mapped);
        }
        let mut bytes = Vec::with_capacity(len);
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        Ok(Contents::Read(bytes))
    }
}

impl Default for Contents {
    /// No bytes.
    fn default() -> Contents {
        Contents::Read(Vec::new())
    }
}

impl Deref for Contents {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Contents::Mapped(mapping) => mapping,
            Contents::Read(bytes) => bytes,
        }
    }
}

/// Forbids every later change of an anonymous file's size and bytes. Fails for files that are not memory
/// files.
fn seal(fd: BorrowedFd) -> io::Result<()> {
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE | libc::F_SEAL_SEAL;
    // SAFETY: fcntl with an integer argument touches no memory of ours.
    cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals) }).map(drop)
}

/// Forbids everybody to shorten an anonymous file, which may still grow. Fails for files that are not memory files.
pub fn keep_from_shrinking(fd: BorrowedFd) -> io::Result<()> {
    // SAFETY: fcntl with an integer argument touches no memory of ours.
    cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_SHRINK) }).map(drop)
}

/// A read-only mapping of a file that nobody can shorten.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Mapping {
    /// The `len` bytes that a memory file has now, to which another process appends. Its pages come when they are read. Fails
    /// for files that somebody could shorten.
    pub fn of_growing(fd: BorrowedFd, len: usize) -> io::Result<Mapping> {
        // SAFETY: fcntl without an argument touches no memory of ours.
        let seals = cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) })?;
        if seals & libc::F_SEAL_SHRINK == 0 || len == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Mapping::new(fd, len, 0)
    }

    /// `fd` must be sealed against shrinking, `len` be its size and not 0, and its bytes up to there never change.
    fn new(fd: BorrowedFd, len: usize, flags: libc::c_int) -> io::Result<Mapping> {
        // SAFETY: a new private mapping at an address of the kernel's choice cannot touch existing memory.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ,
                libc::MAP_PRIVATE | flags,
                fd.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
        Ok(Mapping { start, len })
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start` is the start of a live mapping of `len` readable bytes, unmapped only in `drop`;
        // the file behind it is sealed against shrinking, and its bytes do not change while the slice lives: it is
        // sealed against that, too, or its only writer, the user's include server, appends.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `new` mapped, and no slice of it outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// Asks the kernel for large pages under memory that is about to be filled, if it is much: taking it page by page costs
/// more than what is done with it.
pub fn prefer_large_pages<T>(memory: &mut [T]) {
    if size_of_val(memory) < MANY_PAGES {
        return;
    }
    let (start, end) = (memory.as_mut_ptr_range().start.addr(), memory.as_mut_ptr_range().end.addr());
    // SAFETY: sysconf takes an integer only.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(MANY_PAGES);
    let skipped = start.next_multiple_of(page) - start;
    // SAFETY: the range is the slice's, from its first whole page on; the advice changes no byte of it.
    unsafe {
        let first = memory.as_mut_ptr().byte_add(skipped);
        libc::madvise(first.cast(), end - start - skipped, libc::MADV_HUGEPAGE);
    }
}

/// Bytes from which on large pages cost less than small ones: two of the usual size fit in wherever it begins.
const MANY_PAGES: usize = 6 << 20;

/// Whether `needle` occurs in `haystack`.
pub fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    find(haystack, needle).is_some()
}

/// Where `needle` is for the first time; libc's search is vectorised where it pays.
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    // SAFETY: both pointers come with the lengths of the slices they belong to.
    let found = unsafe {
        libc::memmem(haystack.as_ptr().cast(), haystack.len(), needle.as_ptr().cast(), needle.len())
    };
    (!found.is_null()).then(|| found.addr() - haystack.as_ptr().addr())
}

/// Where `byte` is for the first time; libc's search is vectorised.
pub fn find_byte(bytes: &[u8], byte: u8) -> Option<usize> {
    // SAFETY: the pointer comes with the length of the slice it belongs to.
    let found = unsafe { libc::memchr(bytes.as_ptr().cast(), byte.into(), bytes.len()) };
    (!found.is_null()).then(|| found.addr() - bytes.as_ptr().addr())
}

/// Where `byte` is for the last time.
pub fn find_last_byte(bytes: &[u8], byte: u8) -> Option<usize> {
    // SAFETY: the pointer comes with the length of the slice it belongs to.
    let found = unsafe { libc::memrchr(bytes.as_ptr().cast(), byte.into(), bytes.len()) };
    (!found.is_null()).then(|| found.addr() - bytes.as_ptr().addr())
}

/// Copies up to `len` bytes from `file` at `offset` to `to` inside the kernel; `Ok(0)` means that the file
/// ended early.
pub fn send_file(to: BorrowedFd, file: BorrowedFd, offset: u64, len: usize) -> io::Result<usize> {
    let mut offset =
        libc::off_t::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: `offset` lives through the call, and the descriptors are borrowed.
    cvt_len(unsafe { libc::sendfile(to.as_raw_fd(), file.as_raw_fd(), &mut offset, len) })
}

/// What to wait for on a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Bytes, an end of file or an error to read.
    Read,
    /// Room to write, or an error.
    Write,
}

/// Waits until `fd` is ready or `timeout` has passed; false means the time passed. A signal ends the wait
/// with `Interrupted`.
pub fn wait_ready(fd: BorrowedFd, readiness: Readiness, timeout: Duration) -> io::Result<bool> {
    let events = match readiness {
        Readiness::Read => libc::POLLIN,
        Readiness::Write => libc::POLLOUT,
    };
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    // SAFETY: one entry, and the count says so.
    cvt(unsafe { libc::poll(&mut entry, 1, millis(timeout)) }).map(|ready| ready > 0)
}

/// A descriptor of several, and what it waits for; after [`wait_for_any`], what it is ready for.
#[derive(Debug)]
pub struct Interest<'a> {
    /// Left out of the wait if it wants nothing.
    pub fd: BorrowedFd<'a>,
    /// Bytes, an end of file or an error to read.
    pub read: bool,
    /// Room to write, or an error.
    pub write: bool,
}

/// The same as [`wait_ready`] for several descriptors.
pub fn wait_for_any<const N: usize>(interests: &mut [Interest; N], timeout: Duration) -> io::Result<bool> {
    let mut entries = interests.each_ref().map(|it| {
        let events = if it.read { libc::POLLIN } else { 0 } | if it.write { libc::POLLOUT } else { 0 };
        // A negative descriptor is skipped.
        let fd = if events == 0 { -1 } else { it.fd.as_raw_fd() };
        libc::pollfd { fd, events, revents: 0 }
    });
    // SAFETY: the array's own pointer and length.
    let ready = cvt(unsafe { libc::poll(entries.as_mut_ptr(), N as libc::nfds_t, millis(timeout)) })?;
    for (interest, entry) in interests.iter_mut().zip(entries) {
        let is = |event| entry.revents & (event | libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) != 0;
        interest.read = interest.read && is(libc::POLLIN);
        interest.write = interest.write && is(libc::POLLOUT);
    }
    Ok(ready > 0)
}

/// Rounded up, so that a wait never ends before its time and spins.
fn millis(timeout: Duration) -> libc::c_int {
    timeout.as_micros().div_ceil(1000).min(i32::MAX as u128) as libc::c_int
}

/// What a pipe of Linux holds, in bytes.
pub const DEFAULT_PIPE: usize = 64 << 10;

/// Lets a pipe hold up to `len` bytes, if the system allows it.
pub fn enlarge_pipe(fd: BorrowedFd, len: usize) {
    let len = libc::c_int::try_from(len).unwrap_or(libc::c_int::MAX);
    // SAFETY: fcntl with an integer argument touches no memory of ours.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETPIPE_SZ, len) };
}

/// Bytes in a pipe that nobody has read yet.
pub fn unread(fd: BorrowedFd) -> io::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD stores one int, for which `count` is the room.
    cvt(unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut count) })?;
    Ok(count.max(0) as usize)
}

/// Reads up to `most` bytes to the end of `to`, as far as that has room; `Ok(0)` is the end of what there is to read, or of the
/// room.
pub fn read_to_end_of(to: &mut Vec<u8>, fd: BorrowedFd, most: usize) -> io::Result<usize> {
    let room = to.spare_capacity_mut();
    let most = most.min(room.len());
    // SAFETY: the kernel writes at most `most` bytes to `room`, which has that many.
    let count = cvt_len(unsafe { libc::read(fd.as_raw_fd(), room.as_mut_ptr().cast(), most) })?;
    // SAFETY: `count` bytes behind the old length have been written, and they are within the capacity.
    unsafe { to.set_len(to.len() + count) };
    Ok(count)
}

/// Sets or clears `O_NONBLOCK`, which belongs to the open file and so to every copy of the descriptor.
pub fn set_nonblocking(fd: BorrowedFd, on: bool) -> io::Result<()> {
    // SAFETY: fcntl with integer arguments touches no memory of ours.
    let flags = cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    let flags = if on { flags | libc::O_NONBLOCK } else { flags & !libc::O_NONBLOCK };
    // SAFETY: as above.
    cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags) }).map(drop)
}

/// A non-blocking pair of sockets that keeps message boundaries.
pub fn message_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: `fds` has room for the two descriptors.
    cvt(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) })?;
    // SAFETY: the kernel has just given us both, and nobody else owns them.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// Sends one whole message; a reader that has gone is an error, not a signal.
pub fn send_message(fd: BorrowedFd, message: &[u8]) -> io::Result<()> {
    // SAFETY: pointer and length belong to `message`.
    let sent =
        unsafe { libc::send(fd.as_raw_fd(), message.as_ptr().cast(), message.len(), libc::MSG_NOSIGNAL) };
    cvt_len(sent).map(drop)
}

/// Receives one message into `buffer` and returns its length; 0 means the other end is closed.
pub fn receive_message(fd: BorrowedFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: pointer and length belong to `buffer`.
    cvt_len(unsafe { libc::recv(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) })
}

/// Ends listening for every process that shares the socket: the kernel refuses new and waiting connections.
pub fn stop_listening(fd: BorrowedFd) {
    // SAFETY: shutdown takes integers only.
    unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_RDWR) };
}

/// A pipe; both ends close on exec and do not block.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    // SAFETY: `fds` has room for the two descriptors.
    cvt(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) })?;
    // SAFETY: the kernel has just given us both, and nobody else owns them.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// Whether this process may write to the existing `path`.
pub fn is_writable(path: &std::path::Path) -> bool {
    use std::os::unix::ffi::OsStrExt;

    let Ok(path) = std::ffi::CString::new(path.as_os_str().as_bytes()) else { return false };
    // SAFETY: `path` is NUL-terminated and outlives the call.
    unsafe { libc::access(path.as_ptr(), libc::W_OK) == 0 }
}

/// Bytes that this process may still write to the file system of `path`.
pub fn free_space(path: &std::path::Path) -> io::Result<u64> {
    use std::os::unix::ffi::OsStrExt;

    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: statvfs is made of integers, for which zero is a value.
    let mut found: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: `path` is NUL-terminated, and both outlive the call.
    cvt(unsafe { libc::statvfs(path.as_ptr(), &mut found) })?;
    // The fields' widths differ between systems.
    #[allow(clippy::unnecessary_cast)]
    let (blocks, size) = (found.f_bavail as u64, found.f_frsize as u64);
    Ok(blocks.saturating_mul(size))
}

/// Makes a private directory (mode 0700) whose name is `prefix` and six characters that were not taken, and
/// returns its path.
pub fn private_directory(prefix: &std::path::Path) -> io::Result<std::path::PathBuf> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};

    let mut template = prefix.as_os_str().as_bytes().to_vec();
    template.extend_from_slice(b"XXXXXX\0");
    // SAFETY: `template` is NUL-terminated and writable; mkdtemp changes the six characters before the NUL
    // only.
    let made = unsafe { libc::mkdtemp(template.as_mut_ptr().cast()) };
    if made.is_null() {
        return Err(io::Error::last_os_error());
    }
    template.pop();
    Ok(std::ffi::OsString::from_vec(template).into())
}

/// A second descriptor for the same open file; it closes on exec.
pub fn duplicate(fd: BorrowedFd) -> io::Result<OwnedFd> {
    // 3 keeps it away from the standard streams.
    // SAFETY: fcntl with integer arguments touches no memory of ours.
    let copy = cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3) })?;
    // SAFETY: the kernel has just given us this descriptor, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// For opening what might turn out to be a pipe without a writer.
pub const NONBLOCK: i32 = libc::O_NONBLOCK;

/// The same file again, for reading only; where `/proc` is missing, a second descriptor for the same open file.
pub fn reopen_for_reading(file: &File) -> io::Result<File> {
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
        .or_else(|_| duplicate(file.as_fd()).map(File::from))
}

/// A copy of the descriptor with this number that our caller has left open for us; it closes on exec, the number itself
/// stays open for our children.
pub fn inherited(number: RawFd) -> io::Result<File> {
    // SAFETY: fcntl with integer arguments touches no memory of ours; a number that is no descriptor is an error.
    let copy = cvt(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) })?;
    // SAFETY: the kernel has just given us this descriptor, and nobody else owns it.
    Ok(unsafe { File::from_raw_fd(copy) })
}

/// What is always empty and takes everything: `/dev/null`, or, on a system without devices, a file in memory.
pub fn null() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/null").or_else(|e| match e.kind() {
        io::ErrorKind::NotFound => {
            in_memory(c"null").map_err(|_| io::Error::new(e.kind(), format!("cannot open /dev/null: {e}")))
        }
        _ => Err(io::Error::new(e.kind(), format!("cannot open /dev/null: {e}"))),
    })
}

/// Replaces standard input, output and error by [`null`], for a process that leaves its terminal.
pub fn close_standard_streams() -> io::Result<()> {
    replace_by_null(0..=2)
}

/// The same for input and output only.
pub fn close_standard_input_and_output() -> io::Result<()> {
    replace_by_null(0..=1)
}

/// Closes whatever else this process was given by the one that started it. To be called before anything is opened.
pub fn close_all_but_standard_streams() {
    // SAFETY: takes integers only; nothing of this program owns a descriptor yet.
    if unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) } == 0 {
        return;
    }
    // Kernels before 5.9.
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let number = |entry: io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    let open: Vec<RawFd> = entries.filter_map(number).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        // SAFETY: as above; the directory's own descriptor is closed already, and closing it again is an error only.
        unsafe { libc::close(fd) };
    }
}

fn replace_by_null(fds: std::ops::RangeInclusive<libc::c_int>) -> io::Result<()> {
    let null = null()?;
    for fd in fds {
        // SAFETY: dup2 on descriptors takes no memory; the standard ones are nobody's property in this program.
        cvt(unsafe { libc::dup2(null.as_raw_fd(), fd) })?;
    }
    Ok(())
}

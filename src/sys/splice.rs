//! Bytes from a stream into a file without a copy through our memory.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::{cvt, cvt_len, file};

/// How much one call moves at most; also what the kernel lets everybody have of a pipe.
const CAPACITY: usize = 1 << 20;

/// The pipe that the kernel wants between a stream and a file.
#[derive(Debug, Default)]
pub struct Splicer {
    pipe: Option<(OwnedFd, OwnedFd)>,
}

impl Splicer {
    /// Without a pipe, until there is use for one.
    pub fn new() -> Splicer {
        Splicer::default()
    }

    /// Takes up to `len` bytes from `stream`; `Ok(0)` is the stream's end. They must be [put](Self::put) somewhere before
    /// the next are taken.
    ///
    /// # Errors
    /// `WouldBlock` when the stream has nothing; `InvalidInput` for a stream of a kind that cannot do this.
    pub fn take(&mut self, stream: BorrowedFd, len: usize) -> io::Result<usize> {
        let pipe = match self.pipe.take() {
            Some(pipe) => pipe,
            None => new_pipe()?,
        };
        let (_, write) = self.pipe.insert(pipe);
        splice(stream, None, write.as_fd(), len.min(CAPACITY))
    }

    /// Puts the `len` bytes that were taken to `offset` in `file`.
    ///
    /// # Errors
    /// When the file takes no more; the bytes are lost then.
    pub fn put(&mut self, file: BorrowedFd, offset: u64, len: usize) -> io::Result<()> {
        // On an error the pipe goes with the bytes that are still in it.
        let Some((read, write)) = self.pipe.take() else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let mut moved = 0;
        while moved < len {
            match splice(read.as_fd(), Some(offset + moved as u64), file, len - moved) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => moved += count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.pipe = Some((read, write));
        Ok(())
    }
}

fn new_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = file::pipe()?;
    // SAFETY: fcntl with an integer argument touches no memory of ours. With a smaller pipe it only takes more calls.
    let _ = cvt(unsafe { libc::fcntl(write.as_raw_fd(), libc::F_SETPIPE_SZ, CAPACITY as libc::c_int) });
    Ok((read, write))
}

fn splice(from: BorrowedFd, offset: Option<u64>, to: BorrowedFd, len: usize) -> io::Result<usize> {
    let mut place = match offset {
        Some(offset) => {
            libc::loff_t::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?
        }
        None => 0,
    };
    let place = if offset.is_some() { &raw mut place } else { std::ptr::null_mut() };
    // SAFETY: `place` is null or lives through the call, and the descriptors are borrowed.
    cvt_len(unsafe {
        libc::splice(
            from.as_raw_fd(),
            std::ptr::null_mut(),
            to.as_raw_fd(),
            place,
            len,
            libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MOVE,
        )
    })
}

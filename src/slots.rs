//! Slots: how many jobs of this user run on a host, and on this machine, at once.
//!
//! A slot is a file in the lock directory, taken by a whole-file record lock, with the names and the kind of
//! lock that stock uses, so both kinds of client share a `DISTCC_DIR`. Slots are tried breadth first: the
//! first slot of every host, then the second of each.
//!
//! When all are taken, waiters for the same set of slots queue in the kernel on one byte of the file `queue`,
//! in order of arrival, and sleep there. Only the one at the head looks, every few milliseconds and at files
//! it holds open, whether a slot has been freed, by whichever client and however that ended. (A watch with
//! inotify was tried: closing it waits for all processors, up to 12 ms, which is more than the looking
//! costs.)

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::sys::lock::{self, Range};
use crate::sys::signal;
use crate::waiting::{self, Interrupted, retry};

/// A host's or this machine's slots.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Slots {
    /// See [`crate::hosts::Host::lock_name`].
    pub lock_name: String,
    /// How many there are.
    pub count: u32,
}

/// A slot that is ours until this is dropped.
#[derive(Debug)]
pub struct Slot {
    /// Which of the candidates it belongs to.
    pub candidate: usize,
    /// Its number, from 0.
    pub number: u32,
    /// Closing it frees the slot.
    _file: File,
}

/// Why there is no slot.
#[derive(Debug)]
pub enum Error {
    /// The lock directory cannot be used.
    Io(io::Error),
    /// The wait was interrupted.
    Interrupted(Interrupted),
}

impl From<Interrupted> for Error {
    fn from(interrupted: Interrupted) -> Error {
        Error::Interrupted(interrupted)
    }
}

/// How often the head of the queue looks. With 4 slots that is 0.05 % of a processor, and a freed slot waits
/// for 2 ms on average.
const LOOK_AGAIN: Duration = Duration::from_millis(4);

/// Takes the first free slot of `candidates`, which are not empty and have different names; waits if none is free, after calling
/// `blocked` once.
///
/// # Errors
/// [`Error::Io`] if the lock directory cannot be used, [`Error::Interrupted`] after a signal.
pub fn acquire(directory: &Path, candidates: &[Slots], blocked: impl FnOnce()) -> Result<Slot, Error> {
    let queue = open_lock(&directory.join("queue")).map_err(Error::Io)?;
    let place = Range::Byte(queue_place(candidates));
    let mut tries = Tries::new(directory, candidates);
    // A newcomer does not overtake those who wait.
    if lock::try_lock(&queue, place).map_err(Error::Io)? {
        if let Some(slot) = tries.take_free()? {
            return Ok(slot);
        }
        blocked();
    } else {
        blocked();
        retry(|| lock::wait_lock(&queue, place))?.map_err(Error::Io)?;
    }
    loop {
        if let Some(slot) = tries.take_free()? {
            return Ok(slot);
        }
        signal::nap(tries.pause());
        waiting::check()?;
    }
}

/// Jobs that can use the same slots wait in the same queue, in whatever order their lists name them.
fn queue_place(candidates: &[Slots]) -> u32 {
    let mut sorted: Vec<&Slots> = candidates.iter().collect();
    sorted.sort_unstable_by_key(|slots| (&slots.lock_name, slots.count));
    let mut hasher = DefaultHasher::new();
    sorted.hash(&mut hasher);
    hasher.finish() as u32
}

/// The lock files of all candidates, opened once for the whole wait, as far as there are not too many.
///
/// No two candidates have the same name: to close a second descriptor of a file would lose its lock.
struct Tries<'a> {
    directory: &'a Path,
    candidates: &'a [Slots],
    open: Vec<Try>,
}

/// Lock files beyond this number are opened anew at each look: a process often may have 1024 files only.
const MOST_KEPT_OPEN: usize = 256;

struct Try {
    /// Which candidate, which of its slots.
    at: (usize, u32),
    file: File,
}

impl<'a> Tries<'a> {
    fn new(directory: &'a Path, candidates: &'a [Slots]) -> Tries<'a> {
        Tries { directory, candidates, open: Vec::new() }
    }

    fn take_free(&mut self) -> Result<Option<Slot>, Error> {
        let mut known = 0;
        let mut refused = None;
        let most = self.candidates.iter().map(|slots| slots.count).max().unwrap_or(0);
        for number in 0..most {
            for (candidate, slots) in self.candidates.iter().enumerate().filter(|(_, it)| number < it.count) {
                let at = (candidate, number);
                if self.open.get(known).is_none_or(|next| next.at != at) {
                    let path = self.directory.join(format!("cpu_{}_{number}", slots.lock_name));
                    let file = match open_lock(&path) {
                        Ok(file) => file,
                        // Another user's, in a directory that is shared.
                        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                            refused = Some(e);
                            continue;
                        }
                        Err(e) => return Err(Error::Io(e)),
                    };
                    if known >= MOST_KEPT_OPEN {
                        if lock::try_lock(&file, Range::Whole).map_err(Error::Io)? {
                            return Ok(Some(Slot { candidate, number, _file: file }));
                        }
                        continue;
                    }
                    self.open.insert(known, Try { at, file });
                }
                if lock::try_lock(&self.open[known].file, Range::Whole).map_err(Error::Io)? {
                    let Try { file, .. } = self.open.swap_remove(known);
                    return Ok(Some(Slot { candidate, number, _file: file }));
                }
                known += 1;
            }
        }
        match refused {
            Some(e) if known == 0 => Err(Error::Io(e)),
            _ => Ok(None),
        }
    }

    /// How long to wait before looking again: looking at very many slots costs more.
    fn pause(&self) -> Duration {
        let slots: u32 = self.candidates.iter().map(|slots| slots.count).sum();
        LOOK_AGAIN.max(Duration::from_micros(40) * slots)
    }
}

fn open_lock(path: &Path) -> io::Result<File> {
    File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|e| io::Error::new(e.kind(), format!("cannot open the lock file {}: {e}", path.display())))
}

//! The file system as one request sees it: each path is looked at once, and what was seen is what an answer
//! depends on.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::symbol::{Symbol, Symbols};

/// What a path was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Device and inode.
    pub identity: (u64, u64),
    /// Bytes.
    pub len: u64,
    /// Modification, in seconds and nanoseconds.
    pub modified: (i64, i64),
    /// Change of the inode, likewise: catches edits that restore the modification time.
    pub changed: (i64, i64),
    /// What kind of thing it is.
    pub kind: Kind,
}

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// The null device, which compilers read as an empty file.
    Null,
    /// A FIFO, socket or device.
    Other,
}

/// What a look at a path found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Something.
    Present(Stamp),
    /// Nothing.
    Absent,
    /// It cannot be known (permissions, errors of the device).
    Error(i32),
}

/// The cache of one request.
#[derive(Default)]
pub struct Disk {
    seen: HashMap<Symbol, Seen>,
}

impl Disk {
    /// A new request begins: everything is looked at again.
    pub fn clear(&mut self) {
        self.seen.clear();
    }

    /// Looks at an absolute path.
    pub fn look(&mut self, path: Symbol, symbols: &Symbols) -> &Seen {
        self.seen
            .entry(path)
            .or_insert_with(|| look(Path::new(std::ffi::OsStr::from_bytes(symbols.spelling(path)))))
    }

    /// Everything looked at in this request.
    pub fn all(&self) -> impl Iterator<Item = (Symbol, &Seen)> {
        self.seen.iter().map(|(path, seen)| (*path, seen))
    }
}

/// Looks at a path, through links.
pub fn look(path: &Path) -> Seen {
    match fs::metadata(path) {
        Ok(metadata) => Seen::Present(stamp(&metadata)),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Seen::Absent,
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => Seen::Absent,
        Err(e) => Seen::Error(e.raw_os_error().unwrap_or(0)),
    }
}

/// A file's bytes and what it was when it was opened.
pub fn read(path: &Path) -> io::Result<(Vec<u8>, Stamp)> {
    let mut file = fs::File::open(path)?;
    let stamp = stamp(&file.metadata()?);
    let mut bytes = Vec::with_capacity(stamp.len as usize + 1);
    file.read_to_end(&mut bytes)?;
    Ok((bytes, stamp))
}

fn stamp(metadata: &fs::Metadata) -> Stamp {
    let kind = metadata.file_type();
    // Device 1:3 is the null device of every Linux.
    let null = kind.is_char_device() && metadata.rdev() == 0x103;
    let kind = match () {
        () if kind.is_file() => Kind::File,
        () if kind.is_dir() => Kind::Directory,
        () if null => Kind::Null,
        () => Kind::Other,
    };
    // A directory changes with everything in it; only which one it is matters.
    let dir = kind == Kind::Directory;
    Stamp {
        identity: (metadata.dev(), metadata.ino()),
        len: if dir { 0 } else { metadata.len() },
        modified: if dir { (0, 0) } else { (metadata.mtime(), metadata.mtime_nsec()) },
        changed: if dir { (0, 0) } else { (metadata.ctime(), metadata.ctime_nsec()) },
        kind,
    }
}

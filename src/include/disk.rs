//! The file system as one request sees it: each path is looked at once a request, and what was seen is what an
//! answer depends on.
//!
//! What a directory lists cannot change without its times. So as long as those stay, what was not in it is
//! still not in it, and each look at a directory saves one at everything that was searched there in vain. Times
//! younger than [`GRAIN`] prove nothing, for a second change may leave them as they are.
//!
//! A file's content needs a look of its own, in each request. Only headers that belong to the system (see
//! [`Disk::settle`]) are believed for up to [`SETTLED`]: who installs them replaces them, which their directory
//! shows at once.

use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::symbol::{Symbol, Symbols};

/// What file systems make of two moments may be the same time: two seconds on the coarsest (FAT).
const GRAIN: Duration = Duration::from_secs(2);
/// How long a look at the content of a system's header is believed.
const SETTLED: Duration = Duration::from_secs(1);

/// What a path was when it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

impl Stamp {
    /// That of nothing at all.
    pub const NOTHING: Stamp =
        Stamp { identity: (0, 0), len: 0, modified: (0, 0), changed: (0, 0), kind: Kind::Null };
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Something.
    Present(Stamp),
    /// Nothing.
    Absent,
    /// It cannot be known (permissions, errors of the device).
    Error(i32),
}

/// What is known of a path.
struct Entry {
    /// The path of the directory that it is in.
    parent: Option<Symbol>,
    seen: Seen,
    /// What is written in it, if it is a symbolic link.
    target: Option<PathBuf>,
    /// Another number whenever something else was seen here.
    version: u32,
    /// The request that looked last.
    request: u32,
    /// The listing of `parent` as of which this was looked at; 0 if that proves nothing.
    within: u32,
    /// Of a directory: stands for its identity and times; 0 if those prove nothing.
    listing: u32,
    times: [(i64, i64); 2],
    /// When a system's header was looked at.
    settled: Option<Instant>,
}

/// Everything looked at so far.
#[derive(Default)]
pub struct Disk {
    /// By symbol: the place in `entries` behind this one, 0 for none.
    places: Vec<u32>,
    entries: Vec<Entry>,
    /// What this request looked at.
    touched: Vec<(Symbol, u32)>,
    settled: Vec<Vec<u8>>,
    request: u32,
    numbers: u32,
    now: Option<(Instant, SystemTime)>,
}

impl Disk {
    /// A new request begins: everything is looked at again, at need.
    pub fn begin(&mut self) {
        self.request += 1;
        self.touched.clear();
        self.now = None;
    }

    /// Headers below these directories belong to the system.
    pub fn settle<'a>(&mut self, directories: impl IntoIterator<Item = &'a [u8]>) {
        for directory in directories.into_iter().filter(|directory| directory.starts_with(b"/usr/")) {
            let root = [directory.trim_ascii_end(), b"/"].concat();
            if !self.settled.contains(&root) {
                self.settled.push(root);
            }
        }
    }

    /// Looks at an absolute path, through links.
    pub fn look(&mut self, path: Symbol, symbols: &mut Symbols) -> Seen {
        let at = self.entry(path, symbols);
        self.entries[at].seen
    }

    /// What is written in the link at an absolute path, if one is there.
    pub fn target(&mut self, path: Symbol, symbols: &mut Symbols) -> Option<&Path> {
        let at = self.entry(path, symbols);
        self.entries[at].target.as_deref()
    }

    /// Everything looked at in this request, each with the number of what was seen.
    pub fn touched(&self) -> Vec<(Symbol, u32)> {
        self.touched.clone()
    }

    /// Whether what was seen at a path once is still there.
    pub fn is_still(&mut self, (path, version): (Symbol, u32), symbols: &mut Symbols) -> bool {
        let at = self.entry(path, symbols);
        self.entries[at].version == version
    }

    /// Roughly the bytes that all this takes.
    pub fn size(&self) -> usize {
        self.places.len() * size_of::<u32>() + self.entries.len() * size_of::<Entry>()
    }

    /// The place of a path's entry, which holds what is there in this request.
    fn entry(&mut self, path: Symbol, symbols: &mut Symbols) -> usize {
        let known = self.places.get(path.index()).copied().unwrap_or(0) as usize;
        if known > 0 && self.entries[known - 1].request == self.request {
            return known - 1;
        }
        let at = match known {
            0 => self.add(path, symbols),
            known => known - 1,
        };
        let (within, is_directory) = match self.entries[at].parent {
            None => (0, true),
            Some(parent) => {
                let parent = self.entry(parent, symbols);
                let parent = &self.entries[parent];
                let holds = match parent.seen {
                    Seen::Present(stamp) => stamp.kind == Kind::Directory,
                    Seen::Absent => false,
                    Seen::Error(_) => true,
                };
                (parent.listing, holds)
            }
        };
        let request = self.request;
        let entry = &self.entries[at];
        let same_listing = within != 0 && entry.within == within;
        let believed = match (entry.seen, &entry.target) {
            _ if !same_listing => false,
            (Seen::Absent, None) => true,
            _ => entry.settled.is_some_and(|looked| self.now().0.duration_since(looked) < SETTLED),
        };
        if !is_directory {
            self.replace(at, Seen::Absent, None);
        } else if !believed {
            self.look_again(at, path, symbols);
        }
        let entry = &mut self.entries[at];
        entry.request = request;
        entry.within = within;
        self.touched.push((path, entry.version));
        at
    }

    fn add(&mut self, path: Symbol, symbols: &mut Symbols) -> usize {
        let spelling = symbols.spelling(path);
        let slash = spelling.iter().rposition(|&byte| byte == b'/');
        let parent = match slash {
            // `/`, and what no path should be.
            _ if spelling.len() <= 1 => None,
            None => None,
            Some(0) => Some(&b"/"[..]),
            Some(slash) => Some(&spelling[..slash]),
        };
        let parent = parent.map(<[u8]>::to_vec).map(|parent| symbols.intern(&parent));
        self.entries.push(Entry {
            parent,
            seen: Seen::Absent,
            target: None,
            version: 0,
            request: 0,
            within: 0,
            listing: 0,
            times: [(0, 0); 2],
            settled: None,
        });
        if self.places.len() <= path.index() {
            self.places.resize(path.index() + 1024, 0);
        }
        self.places[path.index()] = self.entries.len() as u32;
        self.entries.len() - 1
    }

    fn look_again(&mut self, at: usize, path: Symbol, symbols: &Symbols) {
        let spelling = symbols.spelling(path);
        let name = Path::new(std::ffi::OsStr::from_bytes(spelling));
        let (metadata, target) = match fs::symlink_metadata(name) {
            Ok(metadata) if metadata.is_symlink() => (fs::metadata(name), fs::read_link(name).ok()),
            other => (other, None),
        };
        let is_settled = target.is_none()
            && metadata.as_ref().is_ok_and(fs::Metadata::is_file)
            && self.settled.iter().any(|root| spelling.starts_with(root));
        let now = self.now();
        self.entries[at].settled = is_settled.then_some(now.0);
        if let Ok(metadata) = &metadata
            && metadata.is_dir()
        {
            self.list(at, metadata, now.1);
        }
        self.replace(at, seen(metadata), target);
    }

    /// Notes the times of a directory.
    fn list(&mut self, at: usize, metadata: &fs::Metadata, now: SystemTime) {
        let times = [(metadata.mtime(), metadata.mtime_nsec()), (metadata.ctime(), metadata.ctime_nsec())];
        let same_directory = matches!(self.entries[at].seen,
            Seen::Present(stamp) if stamp.identity == (metadata.dev(), metadata.ino()));
        if same_directory && self.entries[at].listing != 0 && self.entries[at].times == times {
            return;
        }
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let proves = times.iter().all(|&(seconds, nanoseconds)| {
            let time = Duration::new(seconds.max(0) as u64, nanoseconds as u32);
            since_epoch.checked_sub(time).is_some_and(|age| age > GRAIN)
        });
        let listing = if proves { self.number() } else { 0 };
        let entry = &mut self.entries[at];
        entry.times = times;
        entry.listing = listing;
    }

    fn replace(&mut self, at: usize, seen: Seen, target: Option<PathBuf>) {
        let entry = &self.entries[at];
        if entry.version == 0 || entry.seen != seen || entry.target != target {
            let version = self.number();
            let entry = &mut self.entries[at];
            entry.seen = seen;
            entry.target = target;
            entry.version = version;
        }
    }

    fn number(&mut self) -> u32 {
        self.numbers += 1;
        self.numbers
    }

    /// One time for the whole request.
    fn now(&mut self) -> (Instant, SystemTime) {
        *self.now.get_or_insert_with(|| (Instant::now(), SystemTime::now()))
    }
}

/// The same absolute path without `.` and empty names between others: one path for one thing, so that it is looked
/// at once. What stands at the end stays, for it may ask for a directory.
pub fn without_dots(path: Vec<u8>) -> Vec<u8> {
    if !path.windows(2).any(|two| two == b"//" || two == b"/.") {
        return path;
    }
    let mut short = Vec::with_capacity(path.len());
    let mut parts = path.split(|&byte| byte == b'/').peekable();
    while let Some(part) = parts.next() {
        let between = !short.is_empty() && parts.peek().is_some();
        if between && matches!(part, b"" | b".") {
            continue;
        }
        short.extend_from_slice(part);
        if parts.peek().is_some() {
            short.push(b'/');
        }
    }
    short
}

/// Looks at a path, through links.
pub fn look(path: &Path) -> Seen {
    seen(fs::metadata(path))
}

fn seen(metadata: io::Result<fs::Metadata>) -> Seen {
    match metadata {
        Ok(metadata) => Seen::Present(stamp_of(&metadata)),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Seen::Absent,
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => Seen::Absent,
        Err(e) => Seen::Error(e.raw_os_error().unwrap_or(0)),
    }
}

/// A file's bytes and what it was when it was opened.
pub fn read(path: &Path) -> io::Result<(Vec<u8>, Stamp)> {
    let mut file = fs::File::open(path)?;
    let stamp = stamp_of(&file.metadata()?);
    let mut bytes = Vec::with_capacity(stamp.len as usize + 1);
    file.read_to_end(&mut bytes)?;
    Ok((bytes, stamp))
}

/// The stamp of what this was asked of.
pub fn stamp_of(metadata: &fs::Metadata) -> Stamp {
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

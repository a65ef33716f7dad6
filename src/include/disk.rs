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

/// What an answer depends on: a path and the number of what was seen there, or of what was listed there.
pub type Dependency = (Symbol, u32);

/// What is known of a path. Most have nothing, so that takes little.
struct Entry {
    path: Symbol,
    /// The entry of the directory that it is in; the root's is its own.
    parent: u32,
    /// Another number whenever something else was seen here.
    version: u32,
    /// The request that looked last.
    request: u32,
    /// The request that noted it last as something to depend on.
    noted: u32,
    /// The listing of `parent` as of which this was looked at; 0 if that proves nothing.
    within: u32,
    /// The place in `details` behind this one, 0 for a plain absence.
    detail: u32,
}

/// What is known of a path with something there.
struct Detail {
    seen: Seen,
    /// What is written in it, if it is a symbolic link.
    target: Option<PathBuf>,
    /// Of a directory: stands for its identity and times; 0 if those prove nothing.
    listing: u32,
    times: [(i64, i64); 2],
    /// The request that noted the listing last as something to depend on.
    noted: u32,
    /// When a system's header was looked at.
    settled: Option<Instant>,
}

/// What is known where nothing is.
const ABSENT: Detail =
    Detail { seen: Seen::Absent, target: None, listing: 0, times: [(0, 0); 2], noted: 0, settled: None };

impl Detail {
    fn is_directory(&self) -> bool {
        matches!(self.seen, Seen::Present(stamp) if stamp.kind == Kind::Directory)
    }

    /// No file and no link.
    fn is_absence(&self) -> bool {
        self.seen == Seen::Absent && self.target.is_none()
    }
}

/// Everything looked at so far.
#[derive(Default)]
pub struct Disk {
    /// By symbol: the place in `entries` behind this one, 0 for none.
    places: Vec<u32>,
    entries: Vec<Entry>,
    details: Vec<Detail>,
    /// What this request depends on.
    touched: Vec<Dependency>,
    settled: Vec<Vec<u8>>,
    request: u32,
    /// The latest number of a version or listing.
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
        let at = self.current(path, symbols);
        let dependency = self.dependency(at);
        self.note(dependency);
        self.detail(at).seen
    }

    /// What is written in the link at an absolute path, if one is there.
    pub fn target(&mut self, path: Symbol, symbols: &mut Symbols) -> Option<&Path> {
        self.look(path, symbols);
        let at = self.current(path, symbols);
        self.detail(at).target.as_deref()
    }

    /// The path of the directory that a path is in.
    pub fn directory(&mut self, path: Symbol, symbols: &mut Symbols) -> Symbol {
        let at = self.current(path, symbols);
        self.entries[self.entries[at].parent as usize].path
    }

    /// What the look at a path depends on.
    pub fn reason(&mut self, path: Symbol, symbols: &mut Symbols) -> Dependency {
        let at = self.current(path, symbols);
        self.dependency(at)
    }

    /// Everything that this request depends on.
    pub fn touched(&self) -> &[Dependency] {
        &self.touched
    }

    /// Whether what was seen once is still there.
    pub fn is_still(&mut self, (path, number): Dependency, symbols: &mut Symbols) -> bool {
        let at = self.current(path, symbols);
        self.entries[at].version == number || self.detail(at).listing == number
    }

    /// The same; if it is, this request depends on it, too.
    pub fn relies(&mut self, dependency: Dependency, symbols: &mut Symbols) -> bool {
        let still = self.is_still(dependency, symbols);
        if still {
            self.note(dependency);
        }
        still
    }

    /// Roughly the bytes that all this takes.
    pub fn size(&self) -> usize {
        self.places.len() * size_of::<u32>()
            + self.entries.len() * size_of::<Entry>()
            + self.details.len() * size_of::<Detail>()
    }

    fn detail(&self, at: usize) -> &Detail {
        match self.entries[at].detail {
            0 => &ABSENT,
            more => &self.details[more as usize - 1],
        }
    }

    /// What a look at an entry, just done, depends on: where nothing is, on the listing of the nearest directory
    /// above if that proves it, for that stands for everything that is not in it.
    fn dependency(&self, at: usize) -> Dependency {
        let mut above = at;
        while self.detail(above).is_absence() {
            let parent = self.entries[above].parent as usize;
            if parent == above {
                break;
            }
            above = parent;
            let directory = self.detail(above);
            if directory.is_directory() && directory.listing != 0 {
                return (self.entries[above].path, directory.listing);
            }
        }
        (self.entries[at].path, self.entries[at].version)
    }

    /// Depends on something from here on.
    fn note(&mut self, dependency: Dependency) {
        let (path, number) = dependency;
        let at = self.places[path.index()] as usize - 1;
        let entry = &mut self.entries[at];
        let noted = match entry.detail {
            more if more != 0 && entry.version != number => &mut self.details[more as usize - 1].noted,
            _ => &mut entry.noted,
        };
        if *noted != self.request {
            *noted = self.request;
            self.touched.push(dependency);
        }
    }

    /// The place of a path's entry, which holds what is there in this request.
    fn current(&mut self, path: Symbol, symbols: &mut Symbols) -> usize {
        let at = match self.places.get(path.index()) {
            Some(&known) if known > 0 => known as usize - 1,
            _ => self.add(path, symbols),
        };
        self.refresh(at, symbols);
        at
    }

    fn refresh(&mut self, at: usize, symbols: &Symbols) {
        if self.entries[at].request == self.request {
            return;
        }
        let parent = self.entries[at].parent as usize;
        let (within, may_hold) = if parent == at {
            (0, true)
        } else {
            self.refresh(parent, symbols);
            let parent = self.detail(parent);
            (parent.listing, parent.is_directory() || matches!(parent.seen, Seen::Error(_)))
        };
        if !may_hold {
            self.replace(at, None);
        } else if within == 0 || self.entries[at].within != within || !self.is_believed(at) {
            self.look_again(at, symbols);
        }
        let request = self.request;
        let entry = &mut self.entries[at];
        entry.request = request;
        entry.within = within;
    }

    /// Whether what is known of an entry is still true, as its directory lists what it did.
    fn is_believed(&mut self, at: usize) -> bool {
        let detail = self.detail(at);
        let settled = detail.settled;
        detail.is_absence() || settled.is_some_and(|looked| self.now().0.duration_since(looked) < SETTLED)
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
        let parent = parent.map(|parent| match self.places.get(parent.index()) {
            Some(&known) if known > 0 => known - 1,
            _ => self.add(parent, symbols) as u32,
        });
        let at = self.entries.len();
        let parent = parent.unwrap_or(at as u32);
        self.entries.push(Entry { path, parent, version: 0, request: 0, noted: 0, within: 0, detail: 0 });
        if self.places.len() <= path.index() {
            self.places.resize(path.index() + 1024, 0);
        }
        self.places[path.index()] = at as u32 + 1;
        at
    }

    fn look_again(&mut self, at: usize, symbols: &Symbols) {
        let spelling = symbols.spelling(self.entries[at].path);
        let name = Path::new(std::ffi::OsStr::from_bytes(spelling));
        let (metadata, target) = match fs::symlink_metadata(name) {
            Ok(metadata) if metadata.is_symlink() => (fs::metadata(name), fs::read_link(name).ok()),
            other => (other, None),
        };
        let is_settled = target.is_none()
            && metadata.as_ref().is_ok_and(fs::Metadata::is_file)
            && self.settled.iter().any(|root| spelling.starts_with(root));
        let (now, clock) = self.now();
        let (listing, times) = match &metadata {
            Ok(metadata) if metadata.is_dir() => self.list(at, metadata, clock),
            _ => (0, [(0, 0); 2]),
        };
        let seen = seen(metadata);
        let settled = is_settled.then_some(now);
        let detail = Detail { seen, target, listing, times, noted: 0, settled };
        self.replace(at, (!detail.is_absence()).then_some(detail));
    }

    /// The number for what a directory lists, and its times.
    fn list(&mut self, at: usize, metadata: &fs::Metadata, now: SystemTime) -> (u32, [(i64, i64); 2]) {
        let times = [(metadata.mtime(), metadata.mtime_nsec()), (metadata.ctime(), metadata.ctime_nsec())];
        let known = self.detail(at);
        let same_directory = matches!(known.seen,
            Seen::Present(stamp) if stamp.identity == (metadata.dev(), metadata.ino()));
        if same_directory && known.listing != 0 && known.times == times {
            return (known.listing, times);
        }
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let proves = times.iter().all(|&(seconds, nanoseconds)| {
            let time = Duration::new(seconds.max(0) as u64, nanoseconds as u32);
            since_epoch.checked_sub(time).is_some_and(|age| age > GRAIN)
        });
        (if proves { self.number() } else { 0 }, times)
    }

    /// Notes what is at a path; `None` for a plain absence.
    fn replace(&mut self, at: usize, detail: Option<Detail>) {
        let known = self.detail(at);
        let is_same = match &detail {
            Some(new) => known.seen == new.seen && known.target == new.target,
            None => known.is_absence(),
        };
        if !is_same || self.entries[at].version == 0 {
            self.entries[at].version = self.number();
        }
        let entry = &mut self.entries[at];
        match (detail, entry.detail) {
            (None, 0) => {}
            (None, more) => self.details[more as usize - 1] = ABSENT,
            (Some(detail), 0) => {
                self.details.push(detail);
                entry.detail = self.details.len() as u32;
            }
            (Some(detail), more) => self.details[more as usize - 1] = detail,
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

//! The client's files of a version 3 job, below a root of the job's own.
//!
//! Names come as types that cannot lead out ([`crate::wire::path`]). Still, no step goes through a symbolic link:
//! a file is made in a directory that was reached by directories only, under a name that was free. So whatever links
//! the client makes, nothing is written but new files below the root.
//!
//! A small file costs its open, write and close; its directory is opened when it is another one than before.
//! Small bodies are expanded as they come; the rest waits, compressed, in its own file until the job has its
//! compile slot, so that expanding is done by no more at once than compile.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::daemon::workplace;
use crate::scratch::{self, PrivateDir};
use crate::sys::dir::Dir;
use crate::sys::process::Pid;
use crate::wire::path::{Rooted, Target};
use crate::wire::{self, Token, limits, lzo};

/// A compressed body up to this size is expanded at once: that is most of all headers, and takes some 10 ms for
/// the worst that such a body can say.
const SMALL: u32 = 64 * 1024;

/// Directories that one job may make. A real one makes some hundreds.
const MAX_DIRECTORIES: u32 = limits::FILES;

/// The root, the files in it, and the one on its way.
#[derive(Debug)]
pub struct Tree {
    dir: PrivateDir,
    cwd: PathBuf,
    root: Dir,
    /// The directory that was used last; files come in groups.
    last: Option<(Vec<u8>, Dir)>,
    directories: u32,
    /// Bytes of all expanded files.
    expanded: usize,
    incoming: Incoming,
    /// Files that are still compressed.
    compressed: HashSet<Rooted>,
}

#[derive(Debug)]
enum Incoming {
    None,
    Small(Rooted, u32, Vec<u8>),
    Large(Rooted, File),
}

/// Why a file cannot be had.
#[derive(Debug)]
pub enum Trouble {
    /// The disk's or the names' fault.
    Io(io::Error),
    /// The body's.
    Wire(wire::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Io(error)
    }
}

impl Tree {
    /// Makes a root of its own, and in it the directory where the compiler is to run.
    pub fn new(cwd: &Rooted) -> io::Result<Tree> {
        Tree::in_directory(&scratch::directory(), cwd)
    }

    /// The same in this directory.
    pub fn in_directory(parent: &Path, cwd: &Rooted) -> io::Result<Tree> {
        let dir = PrivateDir::new(parent, &workplace::prefix(Pid::current()))?;
        let mut tree = Tree {
            cwd: below(dir.path(), cwd.as_bytes()),
            root: Dir::open(dir.path())?,
            dir,
            last: None,
            directories: 0,
            expanded: 0,
            incoming: Incoming::None,
            compressed: HashSet::new(),
        };
        tree.enter(cwd.as_bytes()).map_err(|e| named(cwd, &e))?;
        Ok(tree)
    }

    /// What stands for the client's `/`.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Where the compiler is to run.
    pub fn cwd(&self) -> &Path {
        &self.cwd
    }

    /// Bytes that wait in memory.
    pub fn held(&self) -> usize {
        match &self.incoming {
            Incoming::Small(_, _, body) => body.len(),
            Incoming::None | Incoming::Large(..) => 0,
        }
    }

    /// Makes a symbolic link.
    pub fn link(&mut self, link: &Rooted, target: &Target) -> io::Result<()> {
        let text = match target {
            Target::Absolute(path) => below(self.path(), path.as_bytes()).as_os_str().as_bytes().to_vec(),
            Target::Relative(text) => text.clone(),
            Target::System => [b"/", link.as_bytes()].concat(),
        };
        let (directory, name) = link.split();
        let made = self.enter(directory).and_then(|directory| directory.make_link(name, &text));
        made.map_err(|e| named(link, &e))
    }

    /// A file begins; `len` is its compressed length.
    pub fn file(&mut self, file: Rooted, len: u32) -> io::Result<()> {
        self.compressed.remove(&file);
        self.incoming = if len <= SMALL {
            Incoming::Small(file, len, Vec::new())
        } else {
            let made = self.create(&file)?;
            Incoming::Large(file, made)
        };
        Ok(())
    }

    /// Bytes of the file that has begun, kept in memory only if there is `room`. `buffer` is the worker's, and its contents do
    /// not matter.
    pub fn bytes(&mut self, bytes: &[u8], room: bool, buffer: &mut Vec<u8>) -> Result<(), Trouble> {
        match &mut self.incoming {
            Incoming::Small(file, len, collected) => {
                if collected.is_empty() && bytes.len() == *len as usize {
                    let file = file.clone();
                    self.incoming = Incoming::None;
                    return self.store(&file, bytes, buffer);
                }
                if !room {
                    let (file, collected) = (file.clone(), std::mem::take(collected));
                    let mut made = self.create(&file)?;
                    made.write_all(&collected).map_err(|e| named(&file, &e))?;
                    self.incoming = Incoming::Large(file, made);
                    return self.bytes(bytes, room, buffer);
                }
                collected.extend_from_slice(bytes);
            }
            Incoming::Large(file, made) => made.write_all(bytes).map_err(|e| named(file, &e))?,
            Incoming::None => {}
        }
        Ok(())
    }

    /// The file is complete.
    pub fn end(&mut self, buffer: &mut Vec<u8>) -> Result<(), Trouble> {
        match std::mem::replace(&mut self.incoming, Incoming::None) {
            Incoming::Small(file, _, body) => self.store(&file, &body, buffer),
            Incoming::Large(file, _) => {
                self.compressed.insert(file);
                Ok(())
            }
            Incoming::None => Ok(()),
        }
    }

    /// Expands what is still compressed.
    pub fn finish(&mut self, buffer: &mut Vec<u8>) -> Result<(), Trouble> {
        for file in std::mem::take(&mut self.compressed) {
            let mut body = Vec::new();
            let (directory, name) = file.split();
            let read = self.enter(directory).and_then(|directory| directory.open_file(name));
            read.and_then(|mut opened| opened.read_to_end(&mut body)).map_err(|e| named(&file, &e))?;
            self.store(&file, &body, buffer)?;
        }
        Ok(())
    }

    /// Makes the file with what `body` expands to.
    fn store(&mut self, file: &Rooted, body: &[u8], buffer: &mut Vec<u8>) -> Result<(), Trouble> {
        let mut made = self.create(file)?;
        let room = limits::BODY as usize - self.expanded;
        let mut written = Ok(());
        let mut expanded = 0;
        lzo::decompress_in_pieces(body, buffer, room, &mut |piece| {
            expanded += piece.len();
            if written.is_ok() {
                written = made.write_all(piece);
            }
        })
        .map_err(|error| Trouble::Wire(wire::Error::Lzo { token: Token::File, error }))?;
        self.expanded += expanded;
        written.map_err(|e| named(file, &e))?;
        Ok(())
    }

    /// A new file. What a client sends twice is there once, as it came last.
    fn create(&mut self, file: &Rooted) -> io::Result<File> {
        let (directory, name) = file.split();
        let made = self.enter(directory).and_then(|directory| match directory.create_file(name) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                directory.remove_file(name)?;
                directory.create_file(name)
            }
            result => result,
        });
        made.map_err(|e| named(file, &e))
    }

    /// The directory at `path`, made if it is missing.
    fn enter(&mut self, path: &[u8]) -> io::Result<&Dir> {
        if self.last.as_ref().is_none_or(|(last, _)| last != path) {
            self.last = None;
            let directory = match self.root.descend(path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => self.make_way(path)?,
                result => result?,
            };
            self.last = Some((path.to_vec(), directory));
        }
        let (_, directory) = self.last.as_ref().ok_or(io::ErrorKind::NotFound)?;
        Ok(directory)
    }

    /// Makes what is missing of `path`.
    fn make_way(&mut self, path: &[u8]) -> io::Result<Dir> {
        let mut directory = self.root.descend(b"")?;
        for name in path.split(|byte| *byte == b'/') {
            directory = match directory.descend(name) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    self.directories += 1;
                    if self.directories > MAX_DIRECTORIES {
                        return Err(io::Error::other("the job makes too many directories"));
                    }
                    directory.make_dir(name)?;
                    directory.descend(name)?
                }
                result => result?,
            };
        }
        Ok(directory)
    }
}

fn below(root: &Path, path: &[u8]) -> PathBuf {
    root.join(std::ffi::OsStr::from_bytes(path))
}

fn named(path: &Rooted, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("/{}: {error}", path.as_bytes().escape_ascii()))
}

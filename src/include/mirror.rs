//! What a copy of the tree must have besides the files: links, and directories that are only passed.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component as Part, Path, PathBuf};

use super::disk::{Disk, Kind, Seen};
use super::hash::{Map, Set};
use super::symbol::{Symbol, Symbols, known};

/// A symbolic link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where it is: absolute, with no link above it.
    pub path: PathBuf,
    /// What is written in it.
    pub target: PathBuf,
}

/// Gathers the ways to files.
pub struct Mirror<'a> {
    disk: &'a mut Disk,
    symbols: &'a mut Symbols,
    /// Directories, as they are called and as they really are.
    real: Map<Symbol, Symbol>,
    links: Vec<Link>,
    linked: Set<Symbol>,
    directories: Vec<Symbol>,
    listed: Set<Symbol>,
}

/// Links in a row, as in the kernel.
const MAX_LINKS: usize = 40;

impl<'a> Mirror<'a> {
    /// Gathers nothing yet.
    pub fn new(disk: &'a mut Disk, symbols: &'a mut Symbols) -> Mirror<'a> {
        Mirror {
            disk,
            symbols,
            real: Map::default(),
            links: Vec::new(),
            linked: Set::default(),
            directories: Vec::new(),
            listed: Set::default(),
        }
    }

    /// Adds the way to a file, which has an absolute path; gives the file's real path.
    pub fn add_file(&mut self, path: Symbol) -> Symbol {
        let named = self.disk.directory(path, self.symbols);
        let directory = self.real_directory(named);
        if directory == named && self.disk.target(path, self.symbols).is_none() {
            return path;
        }
        let spelling = self.symbols.spelling(path);
        let slash = spelling.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        let name = spelling[slash + 1..].to_vec();
        self.step(directory, &name, &mut 0)
    }

    /// Adds a directory, absolute, and the way to it.
    pub fn add_directory(&mut self, path: &[u8]) {
        let path = self.symbols.intern(path);
        let real = self.real_directory(path);
        if let Seen::Present(stamp) = self.disk.look(real, self.symbols)
            && stamp.kind == Kind::Directory
        {
            self.list(real);
        }
    }

    /// Links and directories.
    pub fn finish(self) -> (Vec<Link>, Vec<PathBuf>) {
        let path = |directory: &Symbol| PathBuf::from(OsStr::from_bytes(self.symbols.spelling(*directory)));
        (self.links, self.directories.iter().map(path).collect())
    }

    fn real_directory(&mut self, name: Symbol) -> Symbol {
        if let Some(real) = self.real.get(&name) {
            return *real;
        }
        let parent = self.disk.directory(name, self.symbols);
        let spelling = self.symbols.spelling(name);
        let last = spelling.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let is_step = parent != name && !matches!(&spelling[last..], b"" | b"." | b"..");
        // Most directories have no link above them, and are none.
        let is_real = is_step
            && self.real_directory(parent) == parent
            && self.disk.target(name, self.symbols).is_none();
        let real = if is_real {
            name
        } else {
            let path = self.symbols.path(name).to_owned();
            self.walk(known::SLASH, &path, &mut 0)
        };
        self.real.insert(name, real);
        real
    }

    fn walk(&mut self, from: Symbol, path: &Path, links: &mut usize) -> Symbol {
        let mut at = from;
        for part in path.components() {
            match part {
                Part::RootDir => at = known::SLASH,
                Part::ParentDir => {
                    self.list(at);
                    at = self.parent(at);
                }
                Part::Normal(name) => at = self.step(at, name.as_bytes(), links),
                Part::CurDir | Part::Prefix(_) => {}
            }
        }
        at
    }

    fn parent(&mut self, directory: Symbol) -> Symbol {
        let spelling = self.symbols.spelling(directory);
        match spelling.iter().rposition(|&byte| byte == b'/') {
            None | Some(0) => known::SLASH,
            Some(slash) => {
                let parent = spelling[..slash].to_vec();
                self.symbols.intern(&parent)
            }
        }
    }

    fn step(&mut self, directory: Symbol, name: &[u8], links: &mut usize) -> Symbol {
        let slash: &[u8] = if directory == known::SLASH { b"" } else { b"/" };
        let path = [self.symbols.spelling(directory), slash, name].concat();
        let path = self.symbols.intern(&path);
        let Some(target) = self.disk.target(path, self.symbols) else { return path };
        let target = target.to_owned();
        if self.linked.insert(path) {
            let path = PathBuf::from(OsStr::from_bytes(self.symbols.spelling(path)));
            self.links.push(Link { path, target: target.clone() });
        }
        if *links == MAX_LINKS {
            return path;
        }
        *links += 1;
        self.walk(directory, &target, links)
    }

    fn list(&mut self, directory: Symbol) {
        if self.listed.insert(directory) {
            self.directories.push(directory);
        }
    }
}

//! What a copy of the tree must have besides the files: links, and directories that are only passed.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Component as Part, Path, PathBuf};

/// A symbolic link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where it is: absolute, with no link above it.
    pub path: PathBuf,
    /// What is written in it.
    pub target: PathBuf,
}

/// One step of a way: what was there.
#[derive(Clone, Debug)]
pub struct Component {
    path: PathBuf,
    target: Option<PathBuf>,
}

impl Component {
    /// Whether it is still the same.
    pub fn is_valid(&self) -> bool {
        fs::read_link(&self.path).ok() == self.target
    }
}

/// Gathers the ways to files.
#[derive(Default)]
pub struct Mirror {
    /// What each real path is: a link's target, or `None` for anything else.
    known: HashMap<PathBuf, Option<PathBuf>>,
    real: HashMap<PathBuf, PathBuf>,
    links: Vec<Link>,
    directories: Vec<PathBuf>,
    listed: HashSet<PathBuf>,
}

/// Links in a row, as in the kernel.
const MAX_LINKS: usize = 40;

impl Mirror {
    /// Adds the way to a file; gives the file's real path.
    pub fn add_file(&mut self, path: &Path) -> PathBuf {
        let directory = self.real_directory(super::parent(path));
        match path.file_name() {
            Some(name) => self.step(directory, Path::new(name), &mut 0),
            None => directory,
        }
    }

    /// Adds a directory and the way to it.
    pub fn add_directory(&mut self, path: &Path) {
        let real = self.real_directory(path);
        if real.is_dir() {
            self.list(real);
        }
    }

    /// Links, directories, and every step of every way.
    pub fn finish(self) -> (Vec<Link>, Vec<PathBuf>, Vec<Component>) {
        let ways = self.known.into_iter().map(|(path, target)| Component { path, target }).collect();
        (self.links, self.directories, ways)
    }

    fn real_directory(&mut self, path: &Path) -> PathBuf {
        if let Some(real) = self.real.get(path) {
            return real.clone();
        }
        let real = self.walk(PathBuf::from("/"), path, &mut 0);
        self.real.insert(path.to_owned(), real.clone());
        real
    }

    fn walk(&mut self, from: PathBuf, path: &Path, links: &mut usize) -> PathBuf {
        let mut at = from;
        for part in path.components() {
            match part {
                Part::RootDir => at = PathBuf::from("/"),
                Part::ParentDir => {
                    self.list(at.clone());
                    at.pop();
                }
                Part::Normal(name) => at = self.step(at, Path::new(name), links),
                Part::CurDir | Part::Prefix(_) => {}
            }
        }
        at
    }

    fn step(&mut self, directory: PathBuf, name: &Path, links: &mut usize) -> PathBuf {
        let path = directory.join(name);
        let target = match self.known.get(&path) {
            Some(target) => target.clone(),
            None => {
                let target = fs::read_link(&path).ok();
                if let Some(target) = &target {
                    self.links.push(Link { path: path.clone(), target: target.clone() });
                }
                self.known.insert(path.clone(), target.clone());
                target
            }
        };
        match target {
            Some(target) if *links < MAX_LINKS => {
                *links += 1;
                self.walk(directory, &target, links)
            }
            _ => path,
        }
    }

    fn list(&mut self, directory: PathBuf) {
        if self.listed.insert(directory.clone()) {
            self.directories.push(directory);
        }
    }
}

//! The tree of files from which stock's clients take what they send (reference `pump.md` section 2): every name of this
//! machine below a root that is three directories deep.

use std::collections::HashMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::answer::{Content, Needed};
use super::bodies::{Bodies, Place};
use crate::scratch::{self, PrivateDir};
use crate::sys::dir::Dir;
use crate::sys::file::is_writable;
use crate::sys::process::{self, Pid};

/// Clients drop so many directories from a name.
const DEPTH: usize = 3;
/// Begins the names of our roots; the process's number follows.
const PREFIX: &str = "distcc-include_server-";

/// The tree; removed when dropped.
pub struct Mirror {
    _directory: PrivateDir,
    root: PathBuf,
    /// What each file of it holds.
    files: HashMap<PathBuf, Place>,
}

impl Mirror {
    /// An empty tree in the directory of [`parent`]; trees of servers that are no more go.
    pub fn new(parent: &Path) -> io::Result<Mirror> {
        scratch::sweep(parent, is_left_over);
        let directory = PrivateDir::new(parent, &format!("{PREFIX}{}-", Pid::current().number()))?;
        let mut root = directory.path().to_owned();
        while depth(&root) < DEPTH {
            root.push("padding");
        }
        fs::create_dir_all(&root)?;
        Ok(Mirror { _directory: directory, root, files: HashMap::new() })
    }

    /// Makes everything that is needed, and returns the paths for the client.
    pub fn make(&mut self, needed: &[Needed], bodies: &Bodies) -> io::Result<Vec<Vec<u8>>> {
        let mut paths = Vec::with_capacity(needed.len());
        for it in needed {
            paths.push(self.entry(it, bodies)?);
        }
        Ok(paths)
    }

    fn entry(&mut self, needed: &Needed, bodies: &Bodies) -> io::Result<Vec<u8>> {
        let below = needed.path.strip_prefix("/").unwrap_or(&needed.path);
        let mut path = self.root.join(below).into_os_string();
        match &needed.content {
            Content::File { place, has_line } => {
                path.push(if *has_line { ".lzo.abs" } else { ".lzo" });
                self.file(&path, *place, bodies)?;
            }
            Content::Placeholder => self.file(&path, Place { offset: 0, len: 0 }, bodies)?,
            Content::Link(target) => self.link(&path, target)?,
            Content::System => {
                let ups = "../".repeat(20 + needed.path.components().count() - 1);
                self.link(&path, &Path::new(&ups).join(below))?;
            }
        }
        Ok(path.as_bytes().to_vec())
    }

    fn file(&mut self, path: &OsString, place: Place, bodies: &Bodies) -> io::Result<()> {
        let path = Path::new(path);
        if self.files.get(path) == Some(&place) {
            return Ok(());
        }
        let (directory, name) = self.parent(path)?;
        let bytes = bodies.bytes(place)?;
        // Clients may be reading what was there: they get all of the old or all of the new.
        const PENDING: &[u8] = b".distcc-pending";
        let _ = directory.remove_file(PENDING);
        let written = directory.create_file(PENDING).and_then(|mut file| file.write_all(&bytes));
        let pending = path.with_file_name(std::ffi::OsStr::from_bytes(PENDING));
        let moved = written.and_then(|()| match fs::rename(&pending, path) {
            Err(e) if e.kind() == io::ErrorKind::IsADirectory => {
                scratch::remove_tree(path)?;
                fs::rename(&pending, path)
            }
            result => result,
        });
        if moved.is_err() {
            let _ = directory.remove_file(name);
            let _ = directory.remove_file(PENDING);
            self.files.remove(path);
        }
        moved?;
        self.files.insert(path.to_owned(), place);
        Ok(())
    }

    fn link(&mut self, path: &OsString, target: &Path) -> io::Result<()> {
        let path = Path::new(path);
        if fs::read_link(path).is_ok_and(|is| is == target) && self.parent(path).is_ok() {
            return Ok(());
        }
        let (directory, name) = self.parent(path)?;
        if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
            scratch::remove_tree(path)?;
            self.files.retain(|file, _| !file.starts_with(path));
        } else {
            let _ = directory.remove_file(name);
        }
        directory.make_link(name, target.as_os_str().as_bytes())
    }

    /// The directory of `path`, made if missing, and the name in it. What was a link of the tree before becomes a
    /// directory: nothing is ever made behind a link, which leads into the tree of the user.
    fn parent<'a>(&self, path: &'a Path) -> io::Result<(Dir, &'a [u8])> {
        let root = Dir::open(&self.root)?;
        let below = path.strip_prefix(&self.root).map_err(io::Error::other)?;
        let name = path.file_name().unwrap_or_default().as_bytes();
        let parent = below.parent().unwrap_or(Path::new(""));
        if let Ok(directory) = root.descend(parent.as_os_str().as_bytes()) {
            return Ok((directory, name));
        }
        let mut directory = root;
        for component in parent.components() {
            let Component::Normal(step) = component else { continue };
            let step = step.as_bytes();
            directory = match directory.descend(step) {
                Ok(next) => next,
                Err(_) => {
                    let _ = directory.remove_file(step);
                    directory.make_dir(step)?;
                    directory.descend(step)?
                }
            };
        }
        Ok((directory, name))
    }
}

/// Where trees go: `DISTCC_CLIENT_TMP`, or memory, or `/tmp`.
///
/// # Errors
/// A sentence, if the directory that was asked for cannot be used.
pub fn parent() -> Result<PathBuf, String> {
    if let Some(wanted) = env::var_os("DISTCC_CLIENT_TMP").filter(|path| !path.is_empty()).map(PathBuf::from)
    {
        let shown = crate::args::printable(wanted.as_os_str()).to_string();
        if !wanted.is_absolute() || depth(&wanted) >= DEPTH {
            return Err(format!(
                "DISTCC_CLIENT_TMP is {shown}: it must begin with a slash and be one or two directories deep"
            ));
        }
        if !wanted.is_dir() || !is_writable(&wanted) {
            return Err(format!(
                "DISTCC_CLIENT_TMP is {shown}, which is no directory that can be written to"
            ));
        }
        return Ok(wanted);
    }
    let memory = Path::new("/dev/shm");
    Ok(if memory.is_dir() && is_writable(memory) { memory } else { Path::new("/tmp") }.to_owned())
}

fn depth(path: &Path) -> usize {
    path.components().filter(|component| matches!(component, Component::Normal(_))).count()
}

/// A tree of ours whose server is no more.
fn is_left_over(name: &str) -> bool {
    let number = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
    number.and_then(|number| number.parse().ok()).is_some_and(|pid| !process::exists(pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_changes_without_leaving_itself() {
        let mut bodies = Bodies::new().unwrap();
        let outside = PrivateDir::new(&env::temp_dir(), "distcc_test_").unwrap();
        let source = outside.path().join("a.h");
        fs::write(&source, "int x;\n").unwrap();
        let place = bodies.find(&source, b"").unwrap().place;
        let mut mirror = Mirror::new(Path::new("/tmp")).unwrap();
        let root = mirror.root.clone();
        assert_eq!(depth(&root), 3);
        let needed = |path: &str, content| Needed { path: path.into(), content };
        let file = || Content::File { place, has_line: false };
        // First a link, then a directory, then a file.
        let link = needed("/w/x", Content::Link(outside.path().to_owned()));
        mirror.make(&[link], &bodies).unwrap();
        assert_eq!(fs::read_link(root.join("w/x")).unwrap(), outside.path());
        let paths = mirror.make(&[needed("/w/x/b.h", file())], &bodies).unwrap();
        assert_eq!(paths, [root.join("w/x/b.h.lzo").as_os_str().as_bytes()]);
        assert!(!outside.path().join("b.h.lzo").exists(), "nothing is written through a link");
        assert_eq!(fs::read(root.join("w/x/b.h.lzo")).unwrap(), bodies.bytes(place).unwrap());
        mirror.make(&[needed("/w/x", Content::Link("/w/y".into()))], &bodies).unwrap();
        assert_eq!(fs::read_link(root.join("w/x")).unwrap(), Path::new("/w/y"));
        mirror.make(&[needed("/w/x/b.h", file())], &bodies).unwrap();
        assert!(root.join("w/x/b.h.lzo").is_file());
        mirror.make(&[needed("/usr/include", Content::System)], &bodies).unwrap();
        let link = fs::read_link(root.join("usr/include")).unwrap();
        assert_eq!(link, Path::new(&format!("{}usr/include", "../".repeat(22))));
        drop(mirror);
        assert!(!root.exists());
    }

    #[test]
    fn only_trees_of_the_dead_are_left_over() {
        assert!(!is_left_over(&format!("{PREFIX}{}-abc", Pid::current().number())));
        assert!(is_left_over(&format!("{PREFIX}2147483646-abc")));
        assert!(!is_left_over("distcc-include_server-x-abc"));
        assert!(!is_left_over("other"));
    }
}

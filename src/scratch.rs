//! Files that vanish unless they are kept: temporary files, job directories, outputs on their way to their
//! name.

use std::env;
use std::ffi::CStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::sys::dir::{Dir, Entry};
use crate::sys::file::{self, private_directory};

/// Where temporary files go: `TMPDIR`, or `/tmp` if that is unset or empty.
pub fn directory() -> PathBuf {
    env::var_os("TMPDIR").filter(|dir| !dir.is_empty()).map_or_else(|| PathBuf::from("/tmp"), PathBuf::from)
}

/// Makes `/tmp` where there is none, as in a root directory of nothing but a compiler. Only
/// root can do that there; whoever cannot use it will say so.
pub fn make_directory() {
    let tmp = Path::new("/tmp");
    if directory() == tmp && fs::create_dir(tmp).is_ok() {
        log::info!("there was no /tmp; it has been made");
        // Not by `mkdir` itself, which is subject to the umask.
        let _ = fs::set_permissions(tmp, fs::Permissions::from_mode(0o1777));
    }
}

/// A file without a name, gone when its last descriptor closes: in memory where the kernel can do that, else in
/// [`directory`].
pub fn anonymous_file(name: &CStr) -> io::Result<File> {
    match file::in_memory(name) {
        Err(e) if e.kind() == io::ErrorKind::Unsupported => unlinked_file(),
        result => result,
    }
}

/// Made in a directory that is removed with it.
fn unlinked_file() -> io::Result<File> {
    let dir = PrivateDir::new(&directory(), "distcc_")?;
    File::options().read(true).write(true).create_new(true).mode(0o600).open(dir.path().join("file"))
}

/// A directory of our own (mode 0700, random name), removed with everything in it when dropped.
#[derive(Debug)]
pub struct PrivateDir {
    path: PathBuf,
    kept: bool,
}

impl PrivateDir {
    /// Makes a directory in `parent` whose name begins with `prefix`.
    pub fn new(parent: &Path, prefix: &str) -> io::Result<PrivateDir> {
        let path = private_directory(&parent.join(prefix)).map_err(|e| {
            io::Error::new(e.kind(), format!("cannot make a directory in {}: {e}", parent.display()))
        })?;
        Ok(PrivateDir { path, kept: false })
    }

    /// From now on it stays, for somebody to look into.
    pub fn keep(&mut self) {
        self.kept = true;
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PrivateDir {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // Mostly empty by now; looking for what is inside costs more than trying.
        if let Err(e) = fs::remove_dir(&self.path).or_else(|_| remove_tree(&self.path)) {
            log::warn!("cannot remove {}: {e}", self.path.display());
        }
    }
}

/// Removes a directory with everything below it, however deep that is and whatever it forbids; no link is followed.
///
/// Directories that are not empty are moved to the top first, so that a handful of descriptors is enough for any
/// depth, and no path becomes too long.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let top = Dir::open(path)?;
    let mut moved = 0u64;
    loop {
        let entries = match top.list(b".") {
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
                top.list(b".")?
            }
            result => result?,
        };
        let mut is_empty = true;
        for entry in &entries {
            if remove_entry(&top, entry)? {
                continue;
            }
            is_empty = false;
            let _ = top.unlock_dir(&entry.name);
            let sub = top.descend(&entry.name)?;
            for entry in top.list(&entry.name)? {
                if !remove_entry(&sub, &entry)? {
                    // Moving a directory writes its own `..`.
                    let _ = sub.unlock_dir(&entry.name);
                    move_up(&sub, &entry.name, &top, &mut moved)?;
                }
            }
            top.remove_dir(&entry.name)?;
        }
        if is_empty {
            return fs::remove_dir(path);
        }
    }
}

/// Whether it is gone: all but a directory that is not empty.
fn remove_entry(dir: &Dir, entry: &Entry) -> io::Result<bool> {
    if entry.is_dir != Some(true) {
        match dir.remove_file(&entry.name) {
            Ok(()) => return Ok(true),
            // The file system had not told.
            Err(e) if e.kind() == io::ErrorKind::IsADirectory && entry.is_dir.is_none() => {}
            Err(e) => return Err(e),
        }
    }
    match dir.remove_dir(&entry.name) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
        Err(e) => Err(e),
    }
}

fn move_up(from: &Dir, name: &[u8], top: &Dir, moved: &mut u64) -> io::Result<()> {
    loop {
        *moved += 1;
        match from.move_dir(name, top, format!(".moved{moved}").as_bytes()) {
            // Somebody else's name, not empty.
            Err(e) if matches!(e.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) => {
            }
            result => return result,
        }
    }
}

/// Leaves `contents` in [`directory`], in a new private file with stock's kind of name, and returns its path.
pub fn keep(contents: &[u8], extension: &str) -> io::Result<PathBuf> {
    let mut number = std::process::id();
    loop {
        let path = directory().join(format!("distcc_{number:08x}.{extension}"));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => number = number.wrapping_add(7777),
            Err(e) => return Err(e),
            Ok(mut file) => return file.write_all(contents).map(|()| path),
        }
    }
}

/// Removes the directories of this user in `parent` whose name `is_left_over`.
pub fn sweep(parent: &Path, is_left_over: impl Fn(&str) -> bool) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for path in entries.filter_map(|entry| entry.ok()).map(|entry| entry.path()) {
        let name = path.file_name().and_then(|name| name.to_str());
        let ours = name.is_some_and(&is_left_over)
            && fs::symlink_metadata(&path).is_ok_and(|metadata| {
                metadata.is_dir() && metadata.uid() == crate::sys::user::effective_user()
            });
        if ours {
            match remove_tree(&path) {
                Ok(()) => log::info!("removed the left-over directory {}", path.display()),
                Err(e) => log::warn!("cannot remove the left-over directory {}: {e}", path.display()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unlinked_file_has_no_name_and_can_be_read_back() {
        use std::io::Read;
        use std::os::unix::fs::FileExt;

        let mut file = unlinked_file().unwrap();
        file.write_all_at(b"text", 0).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
        assert_eq!(file.metadata().unwrap().nlink(), 0);
        // What cannot be sealed is read, not mapped.
        assert!(
            matches!(file::Contents::of(&mut file).unwrap(), file::Contents::Read(bytes) if bytes == b"text")
        );
    }

    #[test]
    fn the_deepest_and_most_forbidding_tree_goes_and_nothing_beside_it() {
        let dir = PrivateDir::new(&env::temp_dir(), "distcc_test_").unwrap();
        let (tree, beside) = (dir.path().join("tree"), dir.path().join("beside"));
        fs::create_dir(&tree).unwrap();
        fs::create_dir(&beside).unwrap();
        fs::write(beside.join("kept"), "").unwrap();
        std::os::unix::fs::symlink(&beside, tree.join("link")).unwrap();
        // Deeper than a path can be long, and than a process may have files.
        let mut at = Dir::open(&tree).unwrap();
        for _ in 0..3000 {
            at.make_dir(b"deep").unwrap();
            at.create_file(b"file").unwrap();
            at = at.descend(b"deep").unwrap();
        }
        at.make_link(b"link", b"/").unwrap();
        fs::create_dir_all(tree.join("wide/.moved1/x")).unwrap();
        for name in ["wide/.moved1/x", "wide/.moved1", "wide"] {
            fs::set_permissions(tree.join(name), fs::Permissions::from_mode(0o500)).unwrap();
        }
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        assert!(beside.join("kept").exists());
    }

    #[test]
    fn both_ways_down_refuse_links() {
        use crate::sys::dir::Descent;

        let dir = PrivateDir::new(&env::temp_dir(), "distcc_test_").unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        for (link, to) in [("up", ".."), ("in", "a"), ("out", "/tmp"), ("a/link", "b")] {
            std::os::unix::fs::symlink(to, dir.path().join(link)).unwrap();
        }
        fs::write(dir.path().join("file"), "").unwrap();
        let root = Dir::open(dir.path()).unwrap();
        for descent in [Descent::Kernel, Descent::Steps] {
            for good in ["", "a", "a/b"] {
                let found = root.descend_by(descent, good.as_bytes());
                assert!(found.is_ok(), "{descent:?} {good}: {found:?}");
            }
            for bad in ["up", "in", "in/b", "out", "a/link", "file", "file/x", "none", ".."] {
                assert!(root.descend_by(descent, bad.as_bytes()).is_err(), "{descent:?} {bad}");
            }
        }
        assert!(root.create_file(b"../x").is_err());
        assert!(root.make_link(b"a/x", b"y").is_err());
    }

    #[test]
    fn a_private_directory_is_private_and_goes() {
        let dir = PrivateDir::new(&env::temp_dir(), "distcc_test_").unwrap();
        let path = dir.path().to_owned();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        fs::create_dir(path.join("sub")).unwrap();
        drop(dir);
        assert!(!path.exists());
    }
}

//! Files that vanish unless they are kept: temporary files, job directories, outputs on their way to their
//! name.

use std::env;
use std::ffi::{CStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::sys::dir::{Dir, Entry};
use crate::sys::file::{self, is_writable, private_directory};

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

/// How a program writes its output over what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// A new file takes the name, a link's too: clang's outputs.
    Replacing,
    /// A new file takes the name of one that has contents; one that is empty, and what a link to nothing names, is
    /// written: GNU as and its objects.
    Assembler,
    /// The same file is written, and links are followed: gcc's assembler text, dependency files.
    InPlace,
}

/// Writes `contents` so that `target` shows all of it or is as it was: into a new file beside it, renamed when complete.
///
/// As when a compiler writes: the mode is fresh (0666 less the umask), a device or pipe is written to, and missing
/// directories are an error; `manner` says what becomes of a file or link that is there. Where no file can be made beside
/// the target, the target itself is written.
///
/// # Errors
/// Also for a target that may not be written: compilers differ in what they do then, so the local one decides.
pub fn write_output(target: &Path, contents: &[u8], manner: Manner) -> io::Result<()> {
    let named = fs::symlink_metadata(target).ok();
    let is_link = named.as_ref().is_some_and(Metadata::is_symlink);
    let opened = if is_link { fs::metadata(target).ok() } else { named.clone() };
    if let Some(metadata) = &opened {
        if !is_writable(target) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let kind = metadata.file_type();
        if kind.is_char_device() || kind.is_fifo() || kind.is_block_device() || kind.is_socket() {
            return OpenOptions::new().write(true).open(target)?.write_all(contents);
        }
    }
    let in_place = match manner {
        Manner::Replacing => false,
        Manner::Assembler => opened.as_ref().is_none_or(|metadata| metadata.len() == 0),
        Manner::InPlace => true,
    };
    if named.is_some() && in_place {
        return write_in_place(target, contents);
    }
    let mut name = OsString::from(format!(".distcc_{}_", std::process::id()));
    name.push(target.file_name().unwrap_or_default());
    let beside = target.with_file_name(name);
    match OpenOptions::new().write(true).create_new(true).mode(0o666).open(&beside) {
        Ok(file) => {
            let pending = Pending { path: &beside };
            write_all(file, contents)?;
            fs::rename(&beside, target)?;
            std::mem::forget(pending);
            Ok(())
        }
        Err(_) => write_in_place(target, contents),
    }
}

/// What could not be written whole goes, unless its name is that of a link.
fn write_in_place(target: &Path, contents: &[u8]) -> io::Result<()> {
    let file = File::create(target)?;
    write_all(file, contents).inspect_err(|_| {
        if fs::symlink_metadata(target).is_ok_and(|metadata| metadata.is_file()) {
            let _ = fs::remove_file(target);
        }
    })
}

fn write_all(mut file: File, contents: &[u8]) -> io::Result<()> {
    file.write_all(contents)
}

/// Removes a file that did not get its name.
struct Pending<'a> {
    path: &'a Path,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_replaced_whole() {
        let dir = PrivateDir::new(&env::temp_dir(), "distcc_test_").unwrap();
        let target = dir.path().join("a.o");
        write_output(&target, b"one", Manner::Assembler).unwrap();
        let link = dir.path().join("hard");
        fs::hard_link(&target, &link).unwrap();
        write_output(&target, b"two", Manner::Assembler).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"two");
        assert_eq!(fs::read(&link).unwrap(), b"one");
        let names = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(names, 2, "nothing else is left");
    }

    #[test]
    fn links_are_followed_where_a_compiler_follows_them() {
        let dir = PrivateDir::new(&env::temp_dir(), "distcc_test_").unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        std::os::unix::fs::symlink("real", &link).unwrap();
        write_output(&link, b"through", Manner::Assembler).unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"through", "a link that led nowhere");
        write_output(&link, b"text", Manner::InPlace).unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"text");
        write_output(&link, b"object", Manner::Assembler).unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"text", "an object replaces the link");
        assert!(!fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn a_device_stays_a_device() {
        write_output(Path::new("/dev/null"), b"x", Manner::Assembler).unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    }

    #[test]
    fn a_missing_directory_is_an_error() {
        let dir = PrivateDir::new(&env::temp_dir(), "distcc_test_").unwrap();
        let error = write_output(&dir.path().join("no/such/a.o"), b"x", Manner::Assembler).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

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

//! What a compile leaves: files that show all of it or are as they were.
//!
//! As when a compiler writes: the mode is fresh (0666 less the umask), a device or pipe is written to, and missing
//! directories are an error; [`Manner`] says what becomes of a file or link that is there.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::object::Bytes;
use crate::sys::file::is_writable;

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
/// Where no file can be made beside the target, the target itself is written.
///
/// # Errors
/// Also for a target that may not be written: compilers differ in what they do then, so the local one decides.
pub fn write(target: &Path, contents: &[u8], manner: Manner) -> io::Result<()> {
    match place(target, manner)? {
        Place::Special => OpenOptions::new().write(true).open(target)?.write_all(contents),
        Place::Itself => write_in_place(target, contents),
        Place::Beside => match Pending::create(target, manner) {
            Ok(mut pending) => {
                pending.write(contents)?;
                pending.finish()
            }
            Err(_) => write_in_place(target, contents),
        },
    }
}

/// A new file that takes its target's name when it is complete. Dropped before that, it goes.
#[derive(Debug)]
pub struct Pending {
    /// Can be read as well.
    file: File,
    /// Its name until then.
    name: PathBuf,
    target: PathBuf,
    /// Bytes written.
    len: usize,
    manner: Manner,
}

impl Pending {
    /// Begins an output that arrives in pieces; `None` where it has to be written in another way, or cannot be, which
    /// [`write`] finds out when it is complete.
    pub fn begin(target: &Path, manner: Manner) -> Option<Pending> {
        match place(target, manner) {
            Ok(Place::Beside) => Pending::create(target, manner).ok(),
            _ => None,
        }
    }

    fn create(target: &Path, manner: Manner) -> io::Result<Pending> {
        let mut name = OsString::from(format!(".distcc_{}_", std::process::id()));
        name.push(target.file_name().unwrap_or_default());
        let name = target.with_file_name(name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o666).open(&name)?;
        Ok(Pending { file, name, target: target.to_owned(), len: 0, manner })
    }

    /// Appends.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.len += bytes.len();
        Ok(())
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Gives it the target's name.
    pub fn finish(mut self) -> io::Result<()> {
        if self.manner == Manner::Assembler {
            // As GNU as does it. To replace a file makes ext4 write the new one to the disk at once.
            let _ = fs::remove_file(&self.target);
        }
        fs::rename(&self.name, &self.target)?;
        self.name.clear();
        Ok(())
    }
}

impl Bytes for Pending {
    fn total(&self) -> io::Result<usize> {
        Ok(self.len)
    }

    fn read(&self, offset: usize, len: usize) -> io::Result<Cow<'_, [u8]>> {
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, offset as u64)?;
        Ok(Cow::Owned(bytes))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.name.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.name);
        }
    }
}

/// Where an output is written.
enum Place {
    /// Into a device, pipe or socket.
    Special,
    /// Into the file that is there, or that a link names.
    Itself,
    /// Into a new file.
    Beside,
}

fn place(target: &Path, manner: Manner) -> io::Result<Place> {
    let named = fs::symlink_metadata(target).ok();
    let is_link = named.as_ref().is_some_and(Metadata::is_symlink);
    let opened = if is_link { fs::metadata(target).ok() } else { named.clone() };
    if let Some(metadata) = &opened {
        if !is_writable(target) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let kind = metadata.file_type();
        if kind.is_char_device() || kind.is_fifo() || kind.is_block_device() || kind.is_socket() {
            return Ok(Place::Special);
        }
    }
    let in_place = match manner {
        Manner::Replacing => false,
        Manner::Assembler => opened.as_ref().is_none_or(|metadata| metadata.len() == 0),
        Manner::InPlace => true,
    };
    Ok(if named.is_some() && in_place { Place::Itself } else { Place::Beside })
}

/// What could not be written whole goes, unless its name is that of a link.
fn write_in_place(target: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = File::create(target)?;
    file.write_all(contents).inspect_err(|_| {
        if fs::symlink_metadata(target).is_ok_and(|metadata| metadata.is_file()) {
            let _ = fs::remove_file(target);
        }
    })
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;
    use crate::scratch::PrivateDir;

    #[test]
    fn an_output_is_replaced_whole() {
        let dir = PrivateDir::new(&env::temp_dir(), "distcc_test_").unwrap();
        let target = dir.path().join("a.o");
        write(&target, b"one", Manner::Assembler).unwrap();
        let link = dir.path().join("hard");
        fs::hard_link(&target, &link).unwrap();
        write(&target, b"two", Manner::Assembler).unwrap();
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
        write(&link, b"through", Manner::Assembler).unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"through", "a link that led nowhere");
        write(&link, b"text", Manner::InPlace).unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"text");
        write(&link, b"object", Manner::Assembler).unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"text", "an object replaces the link");
        assert!(!fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn a_device_stays_a_device() {
        write(Path::new("/dev/null"), b"x", Manner::Assembler).unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    }

    #[test]
    fn a_missing_directory_is_an_error() {
        let dir = PrivateDir::new(&env::temp_dir(), "distcc_test_").unwrap();
        let error = write(&dir.path().join("no/such/a.o"), b"x", Manner::Assembler).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_is_not_finished_leaves_nothing() {
        let dir = PrivateDir::new(&env::temp_dir(), "distcc_test_").unwrap();
        let target = dir.path().join("a.o");
        fs::write(&target, "old").unwrap();
        let mut pending = Pending::begin(&target, Manner::Assembler).unwrap();
        pending.write(b"half").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"old");
        drop(pending);
        let names: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["a.o"]);
        let mut pending = Pending::begin(&target, Manner::Assembler).unwrap();
        for piece in [b"ne", &b"w"[..]] {
            pending.write(piece).unwrap();
        }
        assert_eq!(pending.range(1, 2).as_deref(), Some(&b"ew"[..]));
        assert_eq!(pending.range(1, 3), None);
        pending.finish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
    }

    #[test]
    fn only_a_new_file_can_arrive_in_pieces() {
        let dir = PrivateDir::new(&env::temp_dir(), "distcc_test_").unwrap();
        let empty = dir.path().join("empty");
        fs::write(&empty, "").unwrap();
        for (target, manner) in [
            (Path::new("/dev/null"), Manner::Replacing),
            (&empty, Manner::Assembler),
            (&empty, Manner::InPlace),
            (&dir.path().join("no/such/a.o"), Manner::Replacing),
        ] {
            assert!(Pending::begin(target, manner).is_none(), "{}", target.display());
        }
        assert!(Pending::begin(&empty, Manner::Replacing).is_some());
    }
}

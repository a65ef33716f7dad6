//! The pid file: the supervisor's number for init scripts, and a lock, so that no two daemons share one.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::sys::lock;
use crate::sys::process::Pid;

/// The file, locked; removed when dropped, but for those who [leave](PidFile::leave) it.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: File,
    ours: bool,
}

/// Why there is none.
#[derive(Debug)]
pub enum Error {
    /// Another daemon has it; this is what it has written there.
    Taken(String),
    /// It cannot be opened.
    Io(io::Error),
}

impl From<io::Error> for Error {
    fn from(e: io::Error) -> Error {
        Error::Io(e)
    }
}

impl PidFile {
    /// Opens and locks `path`, makes it if it is missing, and empties it: what a daemon that died has left there
    /// means nobody.
    pub fn create(path: &Path) -> Result<PidFile, Error> {
        // Absolute, since a daemon changes its directory.
        let path = std::path::absolute(path)?;
        loop {
            let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
            if !lock::try_lock_for_family(&file)? {
                let mut text = String::new();
                let _ = file.read_to_string(&mut text);
                return Err(Error::Taken(text.trim().to_owned()));
            }
            // A daemon that ended between the two calls has removed the file that we have locked.
            if is_named(&file, &path) {
                file.set_len(0)?;
                return Ok(PidFile { path, file, ours: true });
            }
        }
    }

    /// Writes the number, in one piece: who reads the file finds nothing or all of it.
    pub fn write(&self, daemon: Pid) -> io::Result<()> {
        (&self.file).write_all(format!("{}\n", daemon.number()).as_bytes())
    }

    /// For a process that is not the daemon's first: leaves the file, and the lock, to that.
    pub fn leave(mut self) {
        self.ours = false;
    }
}

/// Whether `path` is still the name of `file`.
fn is_named(file: &File, path: &Path) -> bool {
    let same = |a: &fs::Metadata, b: &fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    matches!((file.metadata(), fs::metadata(path)), (Ok(ours), Ok(named)) if same(&ours, &named))
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if !self.ours || !is_named(&self.file, &self.path) {
            return;
        }
        // A directory that the daemon's user may not write to keeps an empty file.
        if fs::remove_file(&self.path).is_err() {
            let _ = self.file.set_len(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_daemon_has_it_at_a_time() {
        let dir = crate::scratch::PrivateDir::new(&std::env::temp_dir(), "distcc-pid-").unwrap();
        let path = dir.path().join("pid");
        fs::write(&path, "123456789\nstale\n").unwrap();
        let first = PidFile::create(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
        first.write(Pid::current()).unwrap();
        let own = format!("{}\n", std::process::id());
        assert_eq!(fs::read_to_string(&path).unwrap(), own);
        assert!(matches!(PidFile::create(&path), Err(Error::Taken(pid)) if pid == own.trim()));
        first.leave();
        assert_eq!(fs::read_to_string(&path).unwrap(), own);
        let second = PidFile::create(&path).unwrap();
        // Another's file under the same name stays.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "7\n").unwrap();
        drop(second);
        assert_eq!(fs::read_to_string(&path).unwrap(), "7\n");
        drop(PidFile::create(&path).unwrap());
        assert!(!path.exists());
        assert!(matches!(PidFile::create(&dir.path().join("no/pid")), Err(Error::Io(_))));
    }
}

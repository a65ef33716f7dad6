//! Compiles that failed on a server and did not fail alike here: a sign that pump mode sent something wrong. All
//! clients of a build count them in one file beside the include server's socket, one `@` each, as stock does; when
//! there are enough, the rest of the build preprocesses here (reference `pump.md` section 2.1).

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The build's counter.
#[derive(Debug)]
pub struct Counter {
    file: PathBuf,
    socket: PathBuf,
    /// So many end pump mode.
    limit: u64,
}

impl Counter {
    /// The counter beside this socket; there is none beside one that is not called `socket`.
    pub fn beside(socket: &Path, limit: u64) -> Option<Counter> {
        let directory = socket.as_os_str().as_bytes().strip_suffix(b"/socket")?;
        let file = Path::new(OsStr::from_bytes(directory)).join("discrepancy_counter");
        Some(Counter { file, socket: socket.to_owned(), limit })
    }

    /// Whether there have been enough.
    pub fn is_full(&self) -> bool {
        self.count() >= self.limit
    }

    /// Begins anew.
    pub fn forget(&self) {
        let _ = fs::remove_file(&self.file);
    }

    fn count(&self) -> u64 {
        fs::metadata(&self.file).map_or(0, |metadata| metadata.len())
    }

    /// Counts one, unless a file that the compile depends on has changed since the include server was started: then
    /// the two compiles were of different sources.
    pub fn add(&self, source: &str, dependency_file: Option<&Path>) {
        if let Some(changed) = dependency_file.and_then(|file| self.changed_dependency(file)) {
            log::info!(
                "{}, a dependency of {source}, changed during the build",
                crate::args::printable(changed.as_os_str())
            );
            return;
        }
        let appended = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.file)
            .and_then(|mut file| file.write_all(b"@"));
        if let Err(e) = appended {
            log::info!("cannot count a discrepancy in {}: {e}", self.file.display());
        } else if self.count() == self.limit {
            log::warn!("pump mode ends for the rest of this build: {source} failed only on a server");
        }
    }

    /// A file named in a dependency file of this build whose inode is younger than the socket.
    fn changed_dependency(&self, dependency_file: &Path) -> Option<PathBuf> {
        let time = |path: &Path| fs::metadata(path).map(|it| (it.ctime(), it.ctime_nsec())).ok();
        let start = time(&self.socket)?;
        if time(dependency_file)? < start {
            return None;
        }
        let text = fs::read(dependency_file).ok()?;
        let names = text.split(|byte| byte.is_ascii_whitespace()).filter(|name| {
            // Targets, which are younger than anything, and the ends of lines.
            !name.is_empty() && !name.ends_with(b":") && *name != b"\\"
        });
        names
            .map(|name| PathBuf::from(std::ffi::OsString::from_vec(name.to_vec())))
            .find(|name| time(name).is_some_and(|changed| changed >= start))
    }
}

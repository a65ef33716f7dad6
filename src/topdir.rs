//! The directory that holds locks, job states and the user's host list: `DISTCC_DIR`, or `~/.distcc`.
//!
//! The stock programs use the same places, so both can share them. Where neither exists, transient files go
//! to `$XDG_RUNTIME_DIR/distcc` instead of making a new directory on a disk.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::sys::user::effective_user;

/// The directory, decided once per process.
#[derive(Debug, Clone)]
pub struct TopDir {
    path: PathBuf,
    /// It is below a home directory.
    in_home: bool,
}

impl TopDir {
    /// Finds the directory, without making it.
    ///
    /// # Errors
    /// `NotFound` when neither `DISTCC_DIR` nor `HOME` nor `XDG_RUNTIME_DIR` is set.
    pub fn find() -> io::Result<TopDir> {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(path) = set("DISTCC_DIR") {
            return Ok(TopDir { path, in_home: false });
        }
        let home = set("HOME").map(|home| home.join(".distcc"));
        if let Some(path) = home.as_ref().filter(|path| path.is_dir()) {
            return Ok(TopDir { path: path.clone(), in_home: true });
        }
        if let Some(path) = set("XDG_RUNTIME_DIR").filter(|path| is_own_directory(path)) {
            return Ok(TopDir { path: path.join("distcc"), in_home: false });
        }
        home.map(|path| TopDir { path, in_home: true }).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, "neither DISTCC_DIR nor HOME nor XDG_RUNTIME_DIR is set")
        })
    }

    /// The directory itself; it need not exist.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The user's host list.
    pub fn hosts_file(&self) -> PathBuf {
        self.path.join("hosts")
    }

    /// Where locks and back-off marks are; made if missing.
    pub fn lock_dir(&self) -> io::Result<PathBuf> {
        self.made("lock")
    }

    /// Where the records of running jobs are; made if missing.
    pub fn state_dir(&self) -> io::Result<PathBuf> {
        self.made("state")
    }

    /// Where answers of compilers are; it need not be there.
    pub fn compilers_dir(&self) -> PathBuf {
        self.path.join("compilers")
    }

    /// The same, made if missing.
    pub fn make_compilers_dir(&self) -> io::Result<PathBuf> {
        self.made("compilers")
    }

    /// Where this user's include server on this machine is, private; made if missing. Homes may be shared by machines,
    /// and programs of several versions may be in use.
    pub fn include_server_dir(&self) -> io::Result<PathBuf> {
        let path = self.made(&format!("include_server-{}-{}", host_name(), env!("CARGO_PKG_VERSION")))?;
        let metadata = fs::symlink_metadata(&path)?;
        if !metadata.is_dir() || metadata.uid() != effective_user() {
            let text = format!("{} is not a directory of this user", path.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        if metadata.mode() & 0o077 != 0 {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
        }
        Ok(path)
    }

    /// Where this machine's background process keeps the servers that it has found; made if missing.
    #[cfg(feature = "zeroconf")]
    pub fn zeroconf_dir(&self) -> io::Result<PathBuf> {
        self.made(&format!("zeroconf-{}", host_name()))
    }

    /// Optimistic: on every job but the first the directory is there.
    fn made(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        if !path.is_dir() {
            self.make(&path).map_err(|e| {
                io::Error::new(e.kind(), format!("cannot make the directory {}: {e}", path.display()))
            })?;
        }
        Ok(path)
    }

    /// A home directory that does not exist is meant not to.
    fn make(&self, path: &Path) -> io::Result<()> {
        if self.in_home && !self.path.is_dir() {
            fs::create_dir(&self.path)?;
        }
        fs::create_dir_all(path)
    }
}

/// Somebody else's is no place for us: after `su` the variable may still be the other user's, whose jobs would find a
/// directory that they cannot use. A relative one counts as none (XDG Base Directory Specification).
fn is_own_directory(path: &Path) -> bool {
    let is_own = |metadata: fs::Metadata| metadata.is_dir() && metadata.uid() == effective_user();
    path.is_absolute() && path.metadata().is_ok_and(is_own)
}

/// This machine's name, as a part of file names: homes may be shared by machines.
fn host_name() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    host.trim().replace('/', "_")
}

/// The socket for clients of our own version, beside an include server's for all.
pub fn own_socket(port: &Path) -> PathBuf {
    let mut path = port.as_os_str().to_owned();
    path.push(concat!(".", env!("CARGO_PKG_VERSION")));
    path.into()
}

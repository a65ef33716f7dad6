//! `--sysroot`: the specs files that clients may name with `-specs=`.
//!
//! A specs file can make a compiler run any program, so only what the administrator has put below one directory
//! counts, and the compiler is given that very file: no search, and nothing of the client's, decides what it reads.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The directory, which exists.
#[derive(Debug, Clone)]
pub struct Specs {
    /// Without links, so that what is below it can be told from what is not.
    root: PathBuf,
}

impl Specs {
    /// # Errors
    /// If `sysroot` is not there.
    pub fn new(sysroot: &Path) -> io::Result<Specs> {
        Ok(Specs { root: fs::canonicalize(sysroot)? })
    }

    /// The file that a client's `-specs=NAME` means: a regular file below the directory, wherever links lead.
    pub fn find(&self, name: &[u8]) -> Option<OsString> {
        // As in distcc after 3.4: also a name that begins with a slash is below the directory.
        let start = name.iter().position(|byte| *byte != b'/')?;
        let path = fs::canonicalize(self.root.join(OsStr::from_bytes(&name[start..]))).ok()?;
        (path.starts_with(&self.root) && path.is_file()).then(|| path.into_os_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_files_below_the_directory_count() {
        let dir = crate::scratch::PrivateDir::new(&std::env::temp_dir(), "distcc-specs-").unwrap();
        let dir = fs::canonicalize(dir.path()).unwrap();
        fs::create_dir_all(dir.join("root/lib")).unwrap();
        fs::write(dir.join("root/lib/nano.specs"), "").unwrap();
        fs::write(dir.join("outside.specs"), "").unwrap();
        symlink("nano.specs", dir.join("root/lib/inside")).unwrap();
        symlink("../../outside.specs", dir.join("root/lib/out")).unwrap();
        symlink("..", dir.join("root/up")).unwrap();
        let specs = Specs::new(&dir.join("root")).unwrap();
        let file = Some(dir.join("root/lib/nano.specs").into_os_string());
        for name in ["lib/nano.specs", "/lib/nano.specs", "//lib/../lib/nano.specs", "lib/inside"] {
            assert_eq!(specs.find(name.as_bytes()), file, "{name}");
        }
        for name in [
            "",
            "/",
            "lib",
            "lib/none",
            "../outside.specs",
            "lib/out",
            "up/outside.specs",
            "lib/nano.specs\0",
        ] {
            assert_eq!(specs.find(name.as_bytes()), None, "{name}");
        }
        assert!(Specs::new(&dir.join("none")).is_err());
    }
}

//! Which compilers may run: a name that one of the masquerade directories lists, found in the daemon's own
//! PATH.
//!
//! An entry of such a directory authorises by its name only, as in stock; what it is or points to does not
//! matter. A path from a client is accepted only when it leads to the very file that the allowed name leads
//! to.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::args::printable;
use crate::compiler;
use crate::daemon::outcome::Refusal;
use crate::exitcode::ExitCode;
use crate::sys::process::is_executable;

/// The directories that stock reads, and a newer layout of the same.
const DEFAULT_DIRS: [&str; 2] = ["/usr/lib/distcc", "/usr/lib/distcc/bin"];

/// The allow-list and the PATH.
#[derive(Debug, Clone)]
pub struct Compilers {
    dirs: Vec<PathBuf>,
    path: OsString,
    /// Names need not be listed (`--enable-tcp-insecure`).
    any_name: bool,
}

impl Compilers {
    /// With the default directories and `more`. The PATH is `DISTCCD_PATH` or our own, without the
    /// directories themselves.
    pub fn new(more: &[PathBuf], any_name: bool) -> Compilers {
        let dirs: Vec<PathBuf> = DEFAULT_DIRS.iter().map(PathBuf::from).chain(more.iter().cloned()).collect();
        let path = env::var_os("DISTCCD_PATH").or_else(|| env::var_os("PATH")).unwrap_or_default();
        let real: Vec<PathBuf> = env::split_paths(&path)
            .filter(|dir| {
                dir.is_absolute() && !dirs.iter().any(|listed| listed.components().eq(dir.components()))
            })
            .collect();
        let path = env::join_paths(real).unwrap_or_default();
        Compilers { dirs, path, any_name }
    }

    /// The PATH for compilers.
    pub fn path(&self) -> &OsStr {
        &self.path
    }

    /// Whether any compiler can be allowed at all.
    pub fn is_usable(&self) -> bool {
        self.any_name || self.dirs.iter().any(|dir| dir.is_dir())
    }

    /// The directories, for messages.
    pub fn dirs(&self) -> String {
        self.dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", ")
    }

    /// The program that a client's compiler name stands for.
    pub fn resolve(&self, wanted: &[u8]) -> Result<PathBuf, Refusal> {
        let shown = wanted.escape_ascii();
        let name = [&b"/usr/bin/"[..], b"/bin/"]
            .iter()
            .find_map(|prefix| wanted.strip_prefix(*prefix))
            .unwrap_or(wanted);
        let base = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        if base.is_empty() || base.starts_with(b"-") || base == b"." || base == b".." {
            return Err(Refusal::new(
                ExitCode::AccessDenied,
                format!("\"{shown}\" is not the name of a compiler"),
            ));
        }
        let base = OsStr::from_bytes(base);
        if !self.any_name && !self.dirs.iter().any(|dir| fs::symlink_metadata(dir.join(base)).is_ok()) {
            return Err(Refusal::new(
                ExitCode::AccessDenied,
                format!(
                    "{shown} is not allowed here: it is not in {}; allow it with: ln -s ../../bin/distcc {}/{}",
                    self.dirs(),
                    DEFAULT_DIRS[0],
                    printable(base)
                ),
            ));
        }
        let program = compiler::candidates(base, &self.path)
            .find(|candidate| is_executable(candidate) && !is_distcc(candidate))
            .ok_or_else(|| {
                Refusal::new(
                    ExitCode::CompilerMissing,
                    format!(
                        "{shown} is not installed here: no such program in PATH {}",
                        printable(&self.path)
                    ),
                )
            })?;
        if name.contains(&b'/') && !same_file(Path::new(OsStr::from_bytes(name)), &program) {
            return Err(Refusal::new(
                ExitCode::AccessDenied,
                format!(
                    "{shown} is not the {} that is allowed here ({})",
                    printable(base),
                    program.display()
                ),
            ));
        }
        Ok(program)
    }
}

/// A masqueraded client would send the job on, perhaps to us.
fn is_distcc(program: &Path) -> bool {
    program
        .canonicalize()
        .is_ok_and(|real| real.file_name().is_some_and(|name| name.as_bytes().starts_with(b"distcc")))
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

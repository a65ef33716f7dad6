//! Compilers as programs: finding one in a PATH, starting it.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::sys::leash::Leash;
use crate::sys::process::{Command, Pid, is_executable};

/// How a child is to be started; the rest is as in this process.
#[derive(Default)]
pub struct Start<'a> {
    /// Standard input, output and error; `None` keeps ours.
    pub stdio: [Option<BorrowedFd<'a>>; 3],
    /// Working directory; `None` keeps ours.
    pub cwd: Option<&'a Path>,
    /// Lead a process group of its own.
    pub new_group: bool,
    /// Die with this process, and write no core file.
    pub bound_to_us: bool,
    /// What ends its group with this process.
    pub leash: Option<&'a Leash>,
    /// The largest file it may write, in bytes.
    pub max_file_len: Option<u64>,
    /// The most address space it may have, in bytes.
    pub max_memory: Option<u64>,
}

/// The first executable file called `name` in the directories of `path`. A name with a slash is taken as it
/// is.
pub fn find(name: &OsStr, path: &OsStr) -> Option<PathBuf> {
    candidates(name, path).find(|candidate| is_executable(candidate))
}

/// Every place where `name` may be, in the order of `path`.
pub fn candidates<'a>(name: &'a OsStr, path: &'a OsStr) -> Box<dyn Iterator<Item = PathBuf> + 'a> {
    if name.as_bytes().contains(&b'/') {
        return Box::new(std::iter::once(PathBuf::from(name)));
    }
    // An empty element means the current directory (POSIX).
    Box::new(
        std::env::split_paths(path).map(move |dir| {
            if dir.as_os_str().is_empty() { Path::new(".").join(name) } else { dir.join(name) }
        }),
    )
}

/// Whether `program` is this program or stock's, under whatever name: a masqueraded client would send the job on.
pub fn is_distcc(program: &Path) -> bool {
    program
        .canonicalize()
        .is_ok_and(|real| real.file_name().is_some_and(|name| name.as_bytes().starts_with(b"distcc")))
}

/// Starts `program` with `argv` and `env` (`NAME=VALUE`). A script without an interpreter line is run by the
/// shell, as `execvp` does it.
pub fn spawn(program: &Path, argv: &[OsString], env: &[OsString], start: &Start) -> io::Result<Pid> {
    let words = |words: &[OsString]| {
        let mut strings = Vec::with_capacity(words.len());
        for word in words {
            strings.push(c_string(word)?);
        }
        Ok::<_, io::Error>(strings)
    };
    let mut command = Command {
        program: c_string(program.as_os_str())?,
        argv: words(argv)?,
        env: words(env)?,
        stdio: start.stdio,
        cwd: start.cwd.map(|cwd| c_string(cwd.as_os_str())).transpose()?,
        new_group: start.new_group,
        die_with_parent: start.bound_to_us,
        leash: start.leash.map(Leash::as_fd),
        no_core: start.bound_to_us,
        max_file_len: start.max_file_len,
        max_memory: start.max_memory,
    };
    match command.spawn() {
        Err(e) if e.raw_os_error() == Some(NO_EXEC) => {
            let script = std::mem::replace(&mut command.program, c"/bin/sh".to_owned());
            if command.argv.is_empty() {
                return Err(e);
            }
            command.argv[0] = c"sh".to_owned();
            command.argv.insert(1, script);
            command.spawn()
        }
        result => result,
    }
}

/// ENOEXEC on every Linux architecture.
const NO_EXEC: i32 = 8;

fn c_string(word: &OsStr) -> io::Result<CString> {
    Ok(CString::new(word.as_bytes())?)
}

/// This process's environment as `NAME=VALUE`, with `changes` put in place of or added to what is there.
pub fn environment(changes: &[(&str, &OsStr)]) -> Vec<OsString> {
    let entry = |name: &OsStr, value: &OsStr| {
        let mut entry = Vec::with_capacity(name.len() + 1 + value.len());
        entry.extend_from_slice(name.as_bytes());
        entry.push(b'=');
        entry.extend_from_slice(value.as_bytes());
        OsString::from_vec(entry)
    };
    std::env::vars_os()
        .filter(|(name, _)| !changes.iter().any(|(changed, _)| name == changed))
        .map(|(name, value)| entry(&name, &value))
        .chain(changes.iter().map(|(name, value)| entry(OsStr::new(name), value)))
        .collect()
}

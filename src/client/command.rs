//! Which compiler the user means: explicit (`distcc gcc -c a.c`), implicit (`distcc -c a.c`), or masqueraded
//! (`gcc -> distcc`).

use std::borrow::Cow;
use std::cell::OnceCell;
use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use crate::args;
use crate::compiler;

/// A compile as the user asked for it.
#[derive(Debug)]
pub struct CompileCommand {
    /// The compiler and its arguments, as typed: what a local compile runs.
    pub argv: Vec<OsString>,
    /// The PATH in which the real compiler is.
    pub path: OsString,
    /// How often distcc is above us in the process tree, less the one time that a masquerade explains.
    pub recursion: u32,
    /// A compiler that distcc itself started: to be run as it is.
    pub nested: bool,
    /// Searched for once.
    program: OnceCell<Option<PathBuf>>,
}

/// Counts how deep distcc runs below itself.
pub const SAFEGUARD: &str = "_DISTCC_SAFEGUARD";

impl CompileCommand {
    /// The words after `distcc`: the compiler is the first, or `cc` if they begin with an option, a source or
    /// an object.
    pub fn explicit(args: &[OsString]) -> CompileCommand {
        // `distcc @FILE`: the compiler itself may be in the file.
        let expanded = args.first().filter(|first| first.as_bytes().starts_with(b"@")).and_then(|_| {
            let mut argv = vec![OsString::from("distcc")];
            argv.extend_from_slice(args);
            Some(args::expand(&argv, read_response_file)?.split_off(1))
        });
        let args = expanded.as_deref().unwrap_or(args);
        let first = args.first().map_or(&b""[..], |word| word.as_bytes());
        let implicit = first.starts_with(b"-") || args::looks_like_file(first);
        let mut argv = Vec::with_capacity(1 + args.len());
        argv.extend(implicit.then(|| OsString::from("cc")));
        argv.extend_from_slice(args);
        let level = level();
        CompileCommand { argv, path: path(), recursion: level, nested: level > 0, program: OnceCell::new() }
    }

    /// Called by a compiler's name: the real one is the first of that name in PATH behind the directory of
    /// `argv0`.
    pub fn masqueraded(argv0: &OsStr, args: &[OsString]) -> CompileCommand {
        let name = argv0.as_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let name = OsString::from(OsStr::from_bytes(name));
        let whole = path();
        let rest = path_behind(argv0, &name, &whole);
        let level = level();
        let recursion = level.saturating_sub(rest.is_some().into());
        let mut argv = vec![name];
        argv.extend_from_slice(args);
        CompileCommand {
            argv,
            path: rest.unwrap_or(whole),
            recursion,
            nested: level > 0,
            program: OnceCell::new(),
        }
    }

    /// The words with those of response files in their places.
    pub fn words(&self) -> Cow<'_, [OsString]> {
        args::expand(&self.argv, read_response_file).map_or(Cow::Borrowed(&self.argv), Cow::Owned)
    }

    /// The environment for a compiler or preprocessor of this command.
    pub fn environment(&self) -> Vec<OsString> {
        let level = OsString::from((level() + 1).min(9).to_string());
        compiler::environment(&[("PATH", &self.path), (SAFEGUARD, &level)])
    }

    /// The compiler's file.
    pub fn program(&self) -> Option<&Path> {
        self.program.get_or_init(|| compiler::find(&self.argv[0], &self.path)).as_deref()
    }
}

/// A pipe is left to the compiler: what is read from it is gone.
fn read_response_file(name: &OsStr) -> Option<Vec<u8>> {
    let path = Path::new(name);
    path.metadata().ok().filter(|metadata| metadata.is_file() && metadata.len() <= MAX_RESPONSE_FILE)?;
    std::fs::read(path).ok()
}

/// No program can be started with more bytes of words.
const MAX_RESPONSE_FILE: u64 = 4 << 20;

/// Not set: 0. Set, but to nothing sensible: 1, as in stock.
fn level() -> u32 {
    env::var_os(SAFEGUARD)
        .map_or(0, |value| value.to_str().and_then(|text| text.parse().ok()).unwrap_or(1).max(1))
}

fn path() -> OsString {
    // What execvp assumes where there is none.
    env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into())
}

/// The part of `path` behind our own directory, so that a search meets the real compiler; `None` if we are
/// not in it, or last.
///
/// Directories are compared by what they are, not by how they are written: `/usr/lib//distcc` is
/// `/usr/lib/distcc`.
fn path_behind(argv0: &OsStr, name: &OsStr, path: &OsStr) -> Option<OsString> {
    let dirs: Vec<PathBuf> = env::split_paths(path).collect();
    let own = argv0.as_bytes().contains(&b'/').then(|| Path::new(argv0).parent().unwrap_or(Path::new("/")));
    let at = match own {
        Some(own) => dirs.iter().position(|dir| same_directory(dir, own)),
        None => dirs.iter().position(|dir| crate::sys::process::is_executable(&dir.join(name))),
    }?;
    // A nested shell may have put it there again.
    let rest: Vec<&PathBuf> = dirs[at + 1..].iter().filter(|dir| !same_directory(dir, &dirs[at])).collect();
    if rest.is_empty() {
        return None;
    }
    env::join_paths(rest).ok()
}

fn same_directory(a: &Path, b: &Path) -> bool {
    let plain =
        |path: &Path| -> PathBuf { path.components().filter(|part| *part != Component::CurDir).collect() };
    if plain(a) == plain(b) {
        return true;
    }
    identity(a).is_some_and(|it| identity(b) == Some(it))
}

/// What tells a file or directory from all others.
fn identity(path: &Path) -> Option<(u64, u64)> {
    path.metadata().map(|metadata| (metadata.dev(), metadata.ino())).ok()
}

/// The directory as compilers call it: `PWD` if that is right, since it may hold symbolic links.
pub fn working_directory() -> PathBuf {
    let is_here = |path: &Path| identity(path).is_some_and(|it| identity(Path::new(".")) == Some(it));
    let logical = env::var_os("PWD").map(PathBuf::from).filter(|path| path.is_absolute() && is_here(path));
    logical.unwrap_or_else(|| env::current_dir().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_begins_behind_our_own_directory() {
        let behind = |argv0: &str, path: &str| {
            path_behind(OsStr::new(argv0), OsStr::new("gcc"), OsStr::new(path))
                .map(|rest| rest.into_string().unwrap())
        };
        assert_eq!(behind("/m/gcc", "/a:/m:/b:/c").as_deref(), Some("/b:/c"));
        assert_eq!(behind("/m//gcc", "/a:/m/:/b").as_deref(), Some("/b"));
        assert_eq!(behind("/m/gcc", "/m:/m:/b:/m/:/c").as_deref(), Some("/b:/c"));
        assert_eq!(behind("/m/gcc", "/a:/b"), None);
        assert_eq!(behind("/m/gcc", "/a:/m"), None);
    }
}

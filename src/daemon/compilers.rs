//! Which compilers may run, and which program a client's word for one stands for.
//!
//! A name is allowed by an entry of a masquerade directory (whatever it is or points to: the name counts, as in stock),
//! by a pattern (`--allow-compiler`), or by none (`--enable-tcp-insecure`); it is then looked up in the daemon's own PATH.
//! With `--toolchain`, gcc's plain names stand for the compilers of a cross toolchain. A path from a client is accepted only
//! when it leads to the very file that the allowed name leads to. A command list (`DISTCC_CMDLIST`) replaces all this.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind::PermissionDenied;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::args::printable;
use crate::compiler;
use crate::daemon::cmdlist::CommandList;
use crate::daemon::options::Options;
use crate::daemon::outcome::Refusal;
use crate::daemon::toolchain::{self, Toolchain};
use crate::exitcode::ExitCode;
use crate::sys::process::is_executable;

/// The directories that stock reads, and a newer layout of the same.
const DEFAULT_DIRS: [&str; 2] = ["/usr/lib/distcc", "/usr/lib/distcc/bin"];

/// The rules and the PATH.
#[derive(Debug, Clone)]
pub struct Compilers {
    dirs: Vec<PathBuf>,
    patterns: Vec<String>,
    toolchains: Vec<Toolchain>,
    list: Option<CommandList>,
    path: OsString,
    /// Names need not be listed (`--enable-tcp-insecure`).
    any_name: bool,
}

/// What to run for a client's compiler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The file.
    pub path: PathBuf,
    /// What it is told to be called. A compiler looks for its parts beside a path, and searches PATH for a bare name;
    /// so this is a bare name exactly if PATH leads to the file.
    pub name: OsString,
}

impl Compilers {
    /// With the default directories and what `options` allow; the PATH is `DISTCCD_PATH` or our own, without the
    /// masquerade directories.
    ///
    /// # Errors
    /// A sentence, if `DISTCC_CMDLIST` names a file that cannot be read: to go on without it would allow too much.
    pub fn new(options: &Options) -> Result<Compilers, String> {
        let mut dirs: Vec<PathBuf> = DEFAULT_DIRS.iter().map(PathBuf::from).collect();
        dirs.extend_from_slice(&options.masquerade_dirs);
        let path = env::var_os("DISTCCD_PATH").or_else(|| env::var_os("PATH")).unwrap_or_default();
        let real: Vec<PathBuf> = env::split_paths(&path)
            .filter(|dir| {
                dir.is_absolute() && !dirs.iter().any(|listed| listed.components().eq(dir.components()))
            })
            .collect();
        let path = env::join_paths(real).unwrap_or_default();
        Ok(Compilers {
            dirs,
            patterns: options.allow_compilers.clone(),
            toolchains: options.toolchains.clone(),
            list: command_list()?,
            path,
            any_name: options.any_compiler,
        })
    }

    /// The PATH for compilers.
    pub fn path(&self) -> &OsStr {
        &self.path
    }

    /// Whether any compiler can be allowed at all.
    pub fn is_usable(&self) -> bool {
        self.any_name
            || self.list.is_some()
            || !self.patterns.is_empty()
            || !self.toolchains.is_empty()
            || self.dirs.iter().any(|dir| dir.is_dir())
    }

    /// The directories, for messages; of those that are closed to the user that the daemon has become, that is said.
    pub fn dirs(&self) -> String {
        let describe = |dir: &PathBuf| match fs::metadata(dir.join(".")) {
            Err(e) if e.kind() == PermissionDenied => {
                format!("{} (which is closed to the server's user)", dir.display())
            }
            _ => dir.display().to_string(),
        };
        self.dirs.iter().map(describe).collect::<Vec<_>>().join(", ")
    }

    /// The program that a client's compiler name stands for.
    pub fn resolve(&self, wanted: &[u8]) -> Result<Program, Refusal> {
        let shown = wanted.escape_ascii();
        if let Some(list) = &self.list {
            let command = list.find(wanted).ok_or_else(|| {
                denied(format!(
                    "{shown} is not allowed here: the command list (DISTCC_CMDLIST) has no such command"
                ))
            })?;
            let name = OsString::from_vec(command.to_vec());
            let path = self.search(&name).ok_or_else(|| self.missing(&name))?;
            return Ok(Program { path, name });
        }
        let name = [&b"/usr/bin/"[..], b"/bin/"]
            .iter()
            .find_map(|prefix| wanted.strip_prefix(*prefix))
            .unwrap_or(wanted);
        let base = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        if base.is_empty() || base.starts_with(b"-") || base == b"." || base == b".." {
            return Err(denied(format!("\"{shown}\" is not the name of a compiler")));
        }
        let base = OsStr::from_bytes(base);
        let foreign = self.toolchains.iter().find_map(|toolchain| toolchain.find(base));
        if foreign.is_none() && self.toolchains_lack(base) {
            return Err(denied(format!("{shown} is not allowed here: no toolchain (--toolchain) has it")));
        }
        if foreign.is_none() && self.rule(base).is_none() {
            return Err(denied(format!(
                "{shown} is not allowed here: it is not in {}; allow it with: ln -s ../../bin/distcc {}/{}",
                self.dirs(),
                DEFAULT_DIRS[0],
                printable(base)
            )));
        }
        let called = foreign.clone().map_or_else(|| base.to_owned(), PathBuf::into_os_string);
        let path = foreign.or_else(|| self.search(base)).ok_or_else(|| self.missing(base))?;
        if name.contains(&b'/') && !same_file(Path::new(OsStr::from_bytes(name)), &path) {
            return Err(denied(format!(
                "{shown} is not the {} that is allowed here ({})",
                printable(base),
                path.display()
            )));
        }
        Ok(Program { path, name: called })
    }

    /// Whether there are toolchains, and this is a name that stands for a compiler of theirs only.
    fn toolchains_lack(&self, base: &OsStr) -> bool {
        !self.toolchains.is_empty() && toolchain::is_foreign(base)
    }

    /// Which rule allows a compiler of this name, without any directory.
    fn rule(&self, base: &OsStr) -> Option<String> {
        if let Some(dir) = self.dirs.iter().find(|dir| fs::symlink_metadata(dir.join(base)).is_ok()) {
            return Some(dir.display().to_string());
        }
        if let Some(pattern) =
            self.patterns.iter().find(|pattern| matches(pattern.as_bytes(), base.as_bytes()))
        {
            return Some(format!("--allow-compiler {pattern}"));
        }
        self.any_name.then(|| "--enable-tcp-insecure".to_owned())
    }

    fn search(&self, name: &OsStr) -> Option<PathBuf> {
        compiler::candidates(name, &self.path)
            .find(|candidate| is_executable(candidate) && !compiler::is_distcc(candidate))
    }

    fn missing(&self, name: &OsStr) -> Refusal {
        let reason = self.why_not(name);
        Refusal::new(
            ExitCode::CompilerMissing,
            format!("{} is not installed here: {reason}", printable(name)),
        )
    }

    /// Why no program of this name can be run by this process's user.
    fn why_not(&self, name: &OsStr) -> String {
        for candidate in compiler::candidates(name, &self.path) {
            // The topmost: those below it cannot be looked at either. One that is not there is not closed.
            let denied = |dir: &Path| fs::read_dir(dir).is_err_and(|e| e.kind() == PermissionDenied);
            let closed = candidate.ancestors().skip(1).filter(|dir| denied(dir) && !can_enter(dir)).last();
            if let Some(dir) = closed {
                return format!(
                    "the user of this server cannot enter the directory {}; it needs: chmod o+x {0}",
                    dir.display()
                );
            }
            if candidate.is_file() && !is_executable(&candidate) {
                return format!("the user of this server cannot execute {}", candidate.display());
            }
        }
        format!("no such program in PATH {}", printable(&self.path))
    }

    /// A line for each compiler that is served: name, program or what is wrong with it, rule.
    pub fn list(&self) -> Vec<String> {
        let line = |name: &OsStr, rule: String| match self.search(name) {
            Some(path) => format!("{}\t{}\t{rule}", printable(name), path.display()),
            None => format!("{}\tcannot be run: {}\t{rule}", printable(name), self.why_not(name)),
        };
        let mut lines = Vec::new();
        if let Some(list) = &self.list {
            for name in list.commands() {
                lines.push(line(OsStr::from_bytes(name), "DISTCC_CMDLIST".to_owned()));
            }
            return lines;
        }
        for (name, path) in self.foreign() {
            lines.push(format!("{name}\t{}\t--toolchain", path.display()));
        }
        for name in self.names() {
            lines.extend(self.rule(&name).map(|rule| line(&name, rule)));
        }
        lines
    }

    /// The plain names that stand for compilers of toolchains, each with its program.
    fn foreign(&self) -> Vec<(&'static str, PathBuf)> {
        let mut foreign = Vec::new();
        for toolchain in &self.toolchains {
            for name in toolchain::PLAIN {
                foreign.extend(toolchain.find(OsStr::new(name)).map(|path| (name, path)));
            }
        }
        foreign
    }

    /// The names that are served, each with its program.
    #[cfg(feature = "zeroconf")]
    pub fn served(&self) -> Vec<(String, PathBuf)> {
        let names = match &self.list {
            Some(list) => list.commands().map(|name| OsStr::from_bytes(name).to_owned()).collect(),
            None => self.names(),
        };
        let mut served = Vec::new();
        for (name, path) in self.foreign() {
            served.push((name.to_owned(), path));
        }
        for name in names {
            if let (Some(path), Ok(name)) = (self.search(&name), name.into_string()) {
                served.push((name, path));
            }
        }
        served.retain(|(name, _)| !name.contains('/'));
        served
    }

    /// The names in the masquerade directories, and those in the PATH that match a pattern.
    fn names(&self) -> Vec<OsString> {
        fn add_names(names: &mut Vec<OsString>, dir: &Path) {
            for entry in fs::read_dir(dir).into_iter().flatten() {
                names.extend(entry.ok().map(|entry| entry.file_name()));
            }
        }
        let mut names = Vec::new();
        for dir in env::split_paths(&self.path) {
            add_names(&mut names, &dir);
        }
        names.retain(|name| self.patterns.iter().any(|it| matches(it.as_bytes(), name.as_bytes())));
        for dir in &self.dirs {
            add_names(&mut names, dir);
        }
        names.sort_unstable();
        names.dedup();
        names.retain(|name| !self.toolchains_lack(name));
        names
    }
}

fn denied(text: String) -> Refusal {
    Refusal::new(ExitCode::AccessDenied, text)
}

/// `DISTCC_CMDLIST` and `DISTCC_CMDLIST_NUMWORDS` (the manual's `DISTCC_CMDLIST_MATCHWORDS` never had an effect).
fn command_list() -> Result<Option<CommandList>, String> {
    let Some(file) = env::var_os("DISTCC_CMDLIST") else { return Ok(None) };
    let words = match env::var("DISTCC_CMDLIST_NUMWORDS") {
        Ok(number) => match number.parse() {
            Ok(words @ 1..) => words,
            _ => {
                return Err(format!(
                    "DISTCC_CMDLIST_NUMWORDS is \"{}\", not a number from 1",
                    number.escape_debug()
                ));
            }
        },
        Err(_) => 1,
    };
    let text = fs::read(&file)
        .map_err(|e| format!("cannot read the command list {} (DISTCC_CMDLIST): {e}", printable(&file)))?;
    Ok(Some(CommandList::parse(&text, words)))
}

/// Whether `name` is what `pattern` describes: `*` stands for any bytes, `?` for one. Without recursion, since the name
/// is a client's.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where the last star stands, and up to where of the name it has been tried.
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(wanted) if *wanted == b'?' || *wanted == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, tried)) = star else { return false };
                star = Some((at, tried + 1));
                (p, n) = (at + 1, tried + 1);
            }
        }
    }
    pattern[p..].iter().all(|rest| *rest == b'*')
}

fn can_enter(dir: &Path) -> bool {
    fs::metadata(dir.join(".")).is_ok()
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_understood() {
        for (pattern, name, expected) in [
            ("gcc-*", "gcc-12", true),
            ("gcc-*", "gcc-", true),
            ("gcc-*", "gcc", false),
            ("*-g??", "arm-linux-gnueabihf-gcc", true),
            ("*a*b", "xaxbxab", true),
            ("*a*b", "xaxbxac", false),
            ("*", "", true),
            ("clang", "clang", true),
            ("clang", "clang++", false),
            ("?", "", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }
}

//! `update-distcc-symlinks`: a directory of links for the compilers that are installed.
//!
//! The same directory says to `distccd` which compilers are allowed, and distributes the compiles of whoever has it in front
//! of PATH. The other use is a server for one foreign machine: links without the prefix of a cross toolchain, in front of
//! the daemon's PATH.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use pico_args::Arguments;

use crate::args::{CompilerName, printable};
use crate::compiler;
use crate::console;
use crate::exitcode::ExitCode;
use crate::program::{self, Ending};
use crate::sorted_map::SortedMap;
use crate::sys::process::is_executable;

mod plan;

use plan::{Change, plan};

const NAME: &str = "update-distcc-symlinks";

const HELP: &str = "\
Usage: update-distcc-symlinks [OPTIONS] [DIR]
       update-distcc-symlinks [OPTIONS] --strip-prefix PREFIX BIN DIR

Makes links to distcc in DIR (default /usr/lib/distcc), one for each compiler that is installed,
and removes those whose compiler has gone. What is no link to distcc stays as it is.

  -n, --dry-run     only say what would be done
  --remove          remove all links to distcc in DIR
  --path DIRS       where compilers are; default: PATH, /usr/local/bin, /usr/bin, Gentoo's places
  --distcc FILE     what the links lead to; default: this program
  --strip-prefix PREFIX BIN DIR
                    links without PREFIX to the compilers of a cross toolchain in BIN, such as
                    gcc to arm-linux-gnueabihf-gcc, for a server: PATH=DIR:$PATH distccd ...
  -q, --quiet       say nothing but errors
  --help, --version
";

/// Where the links are by default: where stock and Debian have them.
const DEFAULT_DIR: &str = "/usr/lib/distcc";

/// Where compilers are, besides PATH.
const STANDARD_DIRS: [&str; 2] = ["/usr/local/bin", "/usr/bin"];

/// What to do.
#[derive(Debug)]
struct Options {
    dir: PathBuf,
    source: Source,
    dry_run: bool,
    quiet: bool,
    remove: bool,
}

/// What the links are for.
#[derive(Debug)]
enum Source {
    /// Every compiler in these directories, by its name; the links lead to distcc.
    Installed { path: Vec<PathBuf>, distcc: PathBuf },
    /// Those with a prefix in this directory, by their names without it; the links lead to them.
    Toolchain { prefix: OsString, bin: PathBuf },
}

/// The personality `update-distcc-symlinks`.
pub fn main(args: &[OsString]) -> Ending {
    let mut args = Arguments::from_vec(args.to_vec());
    if args.contains("--help") {
        return program::answer(NAME, format_args!("{HELP}"));
    }
    if args.contains("--version") {
        return program::answer(NAME, format_args!("{}", program::version_text(NAME)));
    }
    let options = match parse(args) {
        Ok(options) => options,
        Err(reason) => {
            console::err(format_args!("{NAME}: {reason}\nTry '{NAME} --help'.\n"));
            return ExitCode::BadArguments.into();
        }
    };
    match update(&options) {
        Ok(text) if options.quiet && !options.dry_run => drop(text),
        Ok(text) => return program::answer(NAME, format_args!("{text}")),
        Err(reason) => {
            console::err(format_args!("{NAME}: {reason}\n"));
            return ExitCode::IoError.into();
        }
    }
    Ending::Code(0)
}

fn parse(mut args: Arguments) -> Result<Options, String> {
    let mut value = |name: &'static str| {
        args.opt_value_from_os_str(name, |value| Ok::<_, std::convert::Infallible>(value.to_owned()))
            .map_err(|e| format!("{name}: {e}"))
    };
    let path = value("--path")?;
    let distcc = value("--distcc")?;
    let prefix = value("--strip-prefix")?;
    let dry_run = args.contains(["-n", "--dry-run"]);
    let quiet = args.contains(["-q", "--quiet"]);
    let remove = args.contains("--remove");
    let mut operands = args.finish();
    if let Some(word) = operands.iter().find(|word| word.as_bytes().starts_with(b"-")) {
        return Err(format!("{}: unknown option", printable(word)));
    }
    let most = if prefix.is_some() { 2 } else { 1 };
    if operands.len() > most || prefix.is_some() && operands.len() < 2 {
        return Err(match prefix {
            Some(_) => "--strip-prefix takes a prefix, the toolchain's directory, and the one for the links",
            None => "only one directory can be given",
        }
        .to_owned());
    }
    let dir = operands.pop().map_or_else(|| DEFAULT_DIR.into(), PathBuf::from);
    let source = match prefix {
        Some(prefix) => {
            // Links lead there from another directory.
            let bin = PathBuf::from(&operands[0])
                .canonicalize()
                .map_err(|e| format!("cannot use {}: {e}", printable(&operands[0])))?;
            Source::Toolchain { prefix, bin }
        }
        None => Source::Installed {
            path: path.map_or_else(standard_path, |path| env::split_paths(&path).collect()),
            distcc: match distcc {
                Some(file) => file.into(),
                None => own_file()?,
            },
        },
    };
    Ok(Options { dir, source, dry_run, quiet, remove })
}

/// PATH, what a service's PATH has, and the directories that Gentoo's tools choose their links from.
fn standard_path() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = env::split_paths(&path).filter(|dir| dir.is_absolute()).collect();
    dirs.extend(STANDARD_DIRS.map(PathBuf::from));
    dirs.extend(entries(Path::new("/usr/lib/llvm")).into_iter().map(|slot| slot.join("bin")));
    for machine in entries(Path::new("/usr")) {
        dirs.extend(entries(&machine.join("gcc-bin")));
    }
    dirs
}

/// `distcc` beside this program, which may itself be a copy under another name.
fn own_file() -> Result<PathBuf, String> {
    let own = env::current_exe()
        .map_err(|e| format!("cannot tell where this program is ({e}): name it with --distcc FILE"))?;
    let distcc = own.with_file_name("distcc");
    Ok(if distcc.exists() { distcc } else { own })
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.path()).collect()
}

/// Does it, and says what it did.
fn update(options: &Options) -> Result<String, String> {
    let dir = &options.dir;
    let shown = dir.display();
    let there = links(dir).map_err(|e| format!("cannot read {shown}: {e}"))?;
    let wanted = match &options.source {
        _ if options.remove => SortedMap::new(),
        Source::Installed { path, distcc } => installed(path, dir, &relative(dir, distcc)),
        Source::Toolchain { prefix, bin } => stripped(prefix, bin),
    };
    let is_ours = |target: &Path| match &options.source {
        Source::Installed { .. } => {
            target.file_name().is_some_and(|name| name.as_bytes().starts_with(b"distcc"))
        }
        Source::Toolchain { bin, .. } => target.parent() == Some(bin),
    };
    let changes = plan(&wanted, &there, is_ours);
    // With the last compiler its links go, too.
    if wanted.is_empty() && changes.is_empty() && !options.remove {
        return Err(match &options.source {
            Source::Installed { path, .. } => {
                let dirs: Vec<String> = path.iter().map(|dir| dir.display().to_string()).collect();
                format!("there is no compiler in {}", dirs.join(", "))
            }
            Source::Toolchain { prefix, bin } => {
                format!("there is no {}gcc or another compiler in {}", printable(prefix), bin.display())
            }
        });
    }
    if !options.dry_run && !changes.is_empty() {
        fs::create_dir_all(dir).map_err(|e| format!("cannot make {shown}: {e}"))?;
    }
    let mut text = String::new();
    let (mut added, mut removed) = (0, 0);
    for change in &changes {
        if !options.dry_run {
            apply(dir, change).map_err(|e| format!("{text}cannot change {shown}: {e}"))?;
        }
        let link = |name: &OsStr| dir.join(name).display().to_string();
        match change {
            Change::Add(name, target) => {
                added += 1;
                text += &format!("+ {} -> {}\n", link(name), target.display());
            }
            Change::Remove(name) => {
                removed += 1;
                text += &format!("- {}\n", link(name));
            }
            Change::Occupied(name) => text += &format!("  {} is something else and stays\n", link(name)),
        }
    }
    let would = if options.dry_run { "would be " } else { "" };
    text += &format!("{shown}: {} compilers, {added} links {would}added, {removed} removed\n", wanted.len());
    Ok(text)
}

/// Entries of `dir`, which need not exist: links with what they lead to.
fn links(dir: &Path) -> io::Result<SortedMap<OsString, Option<PathBuf>>> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(SortedMap::new()),
        entries => entries?,
    };
    entries
        .map(|entry| {
            let entry = entry?;
            Ok((entry.file_name(), fs::read_link(entry.path()).ok()))
        })
        .collect()
}

/// The names of all compilers in `path`, but for what leads to distcc, each with the `target` of its link.
fn installed(path: &[PathBuf], links: &Path, target: &Path) -> SortedMap<OsString, PathBuf> {
    let programs = path.iter().filter(|dir| *dir != links).flat_map(|dir| entries(dir));
    programs
        .filter(|program| {
            program.file_name().is_some_and(|name| CompilerName::parse(name.as_bytes()).is_some())
                && is_executable(program)
                && !compiler::is_distcc(program)
        })
        .filter_map(|program| Some((program.file_name()?.to_owned(), target.to_owned())))
        .collect()
}

/// The compilers of a toolchain by their names without its prefix. Its gcc is `cc`, too, as its clients may say.
///
/// Not clang's: it takes the machine from the name it is called by, and clients tell it with `-target` as well.
fn stripped(prefix: &OsStr, bin: &Path) -> SortedMap<OsString, PathBuf> {
    let mut wanted = SortedMap::new();
    for program in entries(bin) {
        let Some(name) = program.file_name().and_then(|name| name.as_bytes().strip_prefix(prefix.as_bytes()))
        else {
            continue;
        };
        let is_plain = CompilerName::parse(name)
            .is_some_and(|parts| parts.prefix.is_empty() && !parts.stem.starts_with("clang"));
        if is_plain && is_executable(&program) {
            wanted.insert(OsString::from_vec(name.to_vec()), program);
        }
    }
    for (generic, name) in [("cc", "gcc"), ("c++", "g++")] {
        if let (None, Some(program)) = (wanted.get(OsStr::new(generic)), wanted.get(OsStr::new(name))) {
            wanted.insert(generic.into(), program.clone());
        }
    }
    wanted
}

/// `file` as seen from `dir`, so that the link holds in a package's tree and in a chroot.
fn relative(dir: &Path, file: &Path) -> PathBuf {
    // A directory that is not there yet has no links on its way.
    let (Ok(dir), Some(parent)) = (dir.canonicalize().or_else(|_| std::path::absolute(dir)), file.parent())
    else {
        return file.to_owned();
    };
    if !file.is_absolute() {
        return file.to_owned();
    }
    let common = dir.components().zip(parent.components()).take_while(|(a, b)| a == b).count();
    let mut relative = PathBuf::new();
    for _ in dir.components().skip(common) {
        relative.push("..");
    }
    for part in file.components().skip(common) {
        relative.push(part);
    }
    relative
}

fn apply(dir: &Path, change: &Change) -> io::Result<()> {
    match change {
        Change::Add(name, target) => {
            // In place of an old one at once: compiles may be running.
            let new = dir.join(".distcc-new");
            let _ = fs::remove_file(&new);
            symlink(target, &new)?;
            fs::rename(&new, dir.join(name))
        }
        Change::Remove(name) => fs::remove_file(dir.join(name)),
        Change::Occupied(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_relative() {
        let relative = |dir: &str, file: &str| super::relative(Path::new(dir), Path::new(file));
        assert_eq!(relative("/no/lib/distcc", "/no/bin/distcc"), Path::new("../../bin/distcc"));
        assert_eq!(relative("/no/lib/distcc", "/opt/distcc"), Path::new("../../../opt/distcc"));
        assert_eq!(relative("/no/lib/distcc", "distcc"), Path::new("distcc"));
    }
}

//! What servers are to call a compiler, so that one of another architecture runs the right one.
//!
//! As stock rewrites commands (`client.md` 2.6), but by the triple of the compiler itself, and only for servers.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::command::CompileCommand;
use crate::compiler;
use crate::sys::process::is_executable;

/// The names of one compiler.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// `TRIPLE-gcc`, if the compiler is a plain `gcc` and this machine knows it by that name, too.
    pub cross: Option<OsString>,
    /// Words that tell clang the machine.
    pub appended: Vec<OsString>,
}

/// Whether the user wants names as they are. The second spelling is stock's manual's, which stock ignores.
fn rewrites() -> bool {
    ["DISTCC_NO_REWRITE_CROSS", "DISTCC_NO_CROSS_REWRITE"].iter().all(|name| env::var_os(name).is_none())
}

/// The compiler that `cc` or `c++` is here, if that is known by a link.
pub fn of_generic(command: &CompileCommand) -> Option<OsString> {
    let (alternatives, known) = match command.argv.first()?.as_bytes() {
        b"cc" => ("/etc/alternatives/cc", ["gcc", "clang"]),
        b"c++" => ("/etc/alternatives/c++", ["g++", "clang++"]),
        _ => return None,
    };
    if !rewrites() {
        return None;
    }
    let mut link = fs::read_link(command.program()?).ok()?;
    if link == Path::new(alternatives) {
        link = fs::read_link(link).ok()?;
    }
    let name = link.file_name()?;
    known.iter().any(|known| name == *known).then(|| name.to_owned())
}

impl Names {
    /// Whether the name of the compiler that `words` begin with depends on its machine.
    pub fn depend_on_machine(words: &[OsString]) -> bool {
        words.first().is_some_and(|compiler| is_one_of(compiler, &["clang", "clang++", "gcc", "g++"]))
            && rewrites()
    }

    /// Decides on the names of the compiler that `words` begin with, whose machine is `triple`; it was found as `program`
    /// in `path`.
    pub fn new(words: &[OsString], triple: &str, program: Option<&Path>, path: &OsStr) -> Names {
        let Some(compiler) = words.first().filter(|_| rewrites()) else { return Names::default() };
        if is_one_of(compiler, &["clang", "clang++"]) {
            let names_target =
                |word: &OsString| word == "-target" || word.as_bytes().starts_with(b"--target");
            let appended = match words.iter().any(names_target) {
                true => Vec::new(),
                false => vec!["-target".into(), triple.into()],
            };
            return Names { cross: None, appended };
        }
        if !is_one_of(compiler, &["gcc", "g++"]) {
            return Names::default();
        }
        // Debian's names are without the vendor, others have it.
        let short = Some(triple.replacen("-pc-", "-", 1)).filter(|short| short != triple);
        let mut names = vec![OsString::from(format!("{triple}-"))];
        names.extend(short.map(|triple| OsString::from(triple + "-")));
        names.iter_mut().for_each(|name| name.push(compiler));
        // Mostly they stand side by side, which saves a search in all of PATH.
        let beside =
            |name: &&OsString| program.is_some_and(|program| is_executable(&program.with_file_name(name)));
        let in_path = |name: &&OsString| compiler::find(name, path).is_some();
        let cross = names.iter().find(beside).or_else(|| names.iter().find(in_path)).cloned();
        Names { cross, appended: Vec::new() }
    }
}

/// Whether a compiler is called by one of these names, alone or with a version behind.
fn is_one_of(compiler: &OsStr, names: &[&str]) -> bool {
    names.iter().any(|name| {
        let rest = compiler.as_bytes().strip_prefix(name.as_bytes());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"-"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::PrivateDir;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn plain_names_get_the_machine() {
        let dir = PrivateDir::new(&env::temp_dir(), "distcc_test_").unwrap();
        for name in ["x86_64-linux-gnu-gcc", "x86_64-linux-gnu-g++-12"] {
            let file = dir.path().join(name);
            fs::write(&file, "").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let names = |line: &str, triple| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let names = Names::new(&words, triple, None, dir.path().as_os_str());
            let cross = names.cross.map(|name| name.into_string().unwrap()).unwrap_or_default();
            (cross, names.appended.join(OsStr::new(" ")).into_string().unwrap())
        };
        let cross = |name: &str| (name.to_owned(), String::new());
        let target = |target: &str| (String::new(), target.to_owned());
        let triple = "x86_64-pc-linux-gnu";
        assert_eq!(names("gcc -c a.c", triple), cross("x86_64-linux-gnu-gcc"));
        assert_eq!(names("gcc -c a.c", "x86_64-linux-gnu"), cross("x86_64-linux-gnu-gcc"));
        assert_eq!(names("g++-12 -c a.c", triple), cross("x86_64-linux-gnu-g++-12"));
        assert_eq!(names("clang-14 -c a.c", triple), target("-target x86_64-pc-linux-gnu"));
        for as_it_is in [
            "gcc-11 -c a.c",
            "/usr/bin/gcc -c a.c",
            "gccx -c a.c",
            "cc -c a.c",
            "x86_64-linux-gnu-gcc -c a.c",
            "clang -target arm -c a.c",
            "clang --target=arm -c a.c",
        ] {
            assert_eq!(names(as_it_is, triple), cross(""), "{as_it_is}");
        }
    }
}

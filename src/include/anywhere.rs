//! Words that mean the same to a compiler in every directory: what it says of itself then need not be asked in each.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use super::ask::Subject;
use super::setup::DIRECTORY_VARIABLES;

/// Options whose value is a directory; joined, or the next word.
const DIRECTORIES: [&[u8]; 5] = [b"-I", b"-iquote", b"-isystem", b"-idirafter", b"--sysroot="];
/// Beginnings of options that say how, and name no file.
const MANNERS: [&[u8]; 12] = [
    b"-std=",
    b"-m",
    b"-f",
    b"-O",
    b"-g",
    b"-W",
    b"-nostdinc",
    b"-pthread",
    b"-ansi",
    b"-undef",
    b"-trigraphs",
    b"-pipe",
];
/// And those that begin alike and may name one.
const FILES: [&[u8]; 6] = [b"-fplugin", b"-fmodule", b"-fprofile", b"-fauto-profile", b"-Wp,", b"-Wa,"];

/// Whether `words` mean the same everywhere. Those that nobody has thought of do not.
pub fn words(words: &[OsString]) -> bool {
    words.iter().all(|word| {
        let word = word.as_bytes();
        let begins_with = |starts: &[&[u8]]| starts.iter().any(|start| word.starts_with(start));
        let manner = begins_with(&MANNERS) && !begins_with(&FILES) && !word.contains(&b'/');
        let directory = DIRECTORIES.iter().find_map(|option| word.strip_prefix(*option));
        word.starts_with(b"/")
            || manner
            || directory.is_some_and(|value| value.is_empty() || value.starts_with(b"/"))
    })
}

/// Whether a compiler's environment does, but for the variables that name directories for headers.
pub fn environment(subject: &Subject) -> bool {
    let others = subject.environment.iter().filter(|(name, _)| !names_directories(name.as_bytes()));
    others.into_iter().all(|(_, value)| value.as_bytes().split(|&byte| byte == b':').all(is_absolute))
}

/// Whether those variables do.
pub fn directory_variables(subject: &Subject) -> bool {
    let named = subject.environment.iter().filter(|(name, _)| names_directories(name.as_bytes()));
    named.into_iter().all(|(_, value)| value.as_bytes().split(|&byte| byte == b':').all(is_absolute))
}

fn names_directories(variable: &[u8]) -> bool {
    DIRECTORY_VARIABLES.iter().any(|known| known.as_bytes() == variable)
}

/// An empty part means the working directory.
fn is_absolute(part: &[u8]) -> bool {
    part.starts_with(b"/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_means_the_same_everywhere() {
        let all = |line: &str| words(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert!(words(&[]));
        assert!(all(
            "-std=c++17 -O2 -march=x86-64 -fPIC -g3 -Wall -pthread -nostdinc++ -I/a -I /b -isystem /c"
        ));
        assert!(all("--sysroot=/x -mabi=lp64"));
        for line in [
            "-I.",
            "-I ..",
            "-Iinclude",
            "-isystem i",
            "--sysroot=x",
            "-B/x",
            "-specs=x",
            "-fplugin=p.so",
            "-Wp,-I.",
            "-fmodule-file=x",
            "-target arm",
            "@file",
            "-iprefix /x",
            "-Dx",
            "-ffile-prefix-map=/a=b",
            "--sysroot x",
        ] {
            assert!(!all(line), "{line}");
        }
        let subject = |name: &str, value: &str| Subject {
            program: "/usr/bin/gcc".into(),
            name: "gcc".into(),
            cwd: "/w".into(),
            environment: vec![("PATH".into(), "/usr/bin:/bin".into()), (name.into(), value.into())],
            language: "c",
        };
        assert!(environment(&subject("COMPILER_PATH", "/x:/y")) && environment(&subject("CPATH", "x")));
        assert!(
            !environment(&subject("COMPILER_PATH", "/x:y")) && !environment(&subject("GCC_EXEC_PREFIX", ""))
        );
        assert!(
            directory_variables(&subject("CPATH", "/x")) && !directory_variables(&subject("CPATH", "/x:"))
        );
    }
}

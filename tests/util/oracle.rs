//! The include engine beside the compilers' own `-M`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use distcc::include::{Closure, Engine, Unable, Unit};

/// The real paths of what the compiler says it reads; `None` if it fails.
pub fn compilers_own(unit: &Unit) -> Option<BTreeSet<PathBuf>> {
    let mut command = Command::new(&unit.program);
    // What else it is told to write would take the rule's place.
    let mut words = unit.argv[1..].iter();
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("-MMD" | "-MD" | "-MP") => {}
            Some("-MF" | "-MT" | "-MQ" | "-o") => drop(words.next()),
            _ => drop(command.arg(word)),
        }
    }
    command.args(["-M", "-MT", "t", "-w"]).current_dir(&unit.cwd).env_clear();
    let output = command.envs(unit.environment.iter().cloned()).output().unwrap();
    if !output.status.success() {
        println!("{}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    Some(
        prerequisites(&output.stdout)
            .iter()
            .map(|name| fs::canonicalize(unit.cwd.join(name)).unwrap())
            .collect(),
    )
}

/// The names behind the target of a rule.
fn prerequisites(rule: &[u8]) -> Vec<PathBuf> {
    let mut names = vec![Vec::new()];
    let mut bytes = rule.iter().copied().skip(2).peekable();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.peek()) {
            (b'\\', Some(b'\n')) => names.push(Vec::new()),
            (b'$', Some(b'$')) => {}
            (b'\\', Some(&next @ (b' ' | b'#'))) => {
                names.last_mut().unwrap().push(next);
                bytes.next();
            }
            (b' ' | b'\n', _) => names.push(Vec::new()),
            _ => names.last_mut().unwrap().push(byte),
        }
    }
    names
        .into_iter()
        .filter(|name| !name.is_empty())
        .map(|name| PathBuf::from(OsString::from_vec(name)))
        .collect()
}

/// The files themselves.
pub fn real(closure: &Closure) -> BTreeSet<PathBuf> {
    closure.files.iter().map(|file| file.real.clone()).collect()
}

/// What the engine misses, and what it has too much.
pub fn differences(engine: &mut Engine, unit: &Unit) -> Option<(Vec<PathBuf>, Vec<PathBuf>)> {
    let theirs = compilers_own(unit)?;
    // The null device is no file that has to be sent.
    let theirs: BTreeSet<_> = theirs.into_iter().filter(|name| name != Path::new("/dev/null")).collect();
    let ours = real(engine.closure(unit).unwrap_or_else(|Unable(why)| panic!("{:?}: {why}", unit.argv)));
    Some((theirs.difference(&ours).cloned().collect(), ours.difference(&theirs).cloned().collect()))
}

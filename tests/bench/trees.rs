//! Units of real projects.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use distcc::include::Unit;

use crate::util;

/// A project.
pub struct Tree {
    /// The last part of its directory.
    pub name: String,
    /// All sources of its language, in the directory of the project.
    pub units: Vec<Unit>,
}

/// C and C++, and what `DISTCC_INCLUDE_ORACLE='DIRECTORY COMPILER OPTIONS...'` names.
pub fn all() -> Vec<Tree> {
    let projects = Path::new(env!("CARGO_TARGET_TMPDIR")).join("projects");
    let fetch = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/projects/fetch.sh");
    util::succeed(Command::new("sh").arg(fetch).arg(&projects));
    let mut trees = vec![
        tree(
            &projects,
            "leveldb",
            "g++ -std=c++11 -DLEVELDB_PLATFORM_POSIX=1 -DHAVE_SNAPPY=1 -I. -Iinclude -I../snappy",
        ),
        tree(&projects, "zstd", "gcc -DXXH_NAMESPACE=ZSTD_ -DZSTD_MULTITHREAD -Ilib"),
        tree(&projects, "harfbuzz", "g++ -std=c++17 -DHAVE_PTHREAD -Isrc"),
    ];
    if let Ok(setting) = std::env::var("DISTCC_INCLUDE_ORACLE") {
        let (directory, command) = setting.split_once(' ').expect("DIRECTORY COMPILER OPTIONS...");
        trees.push(tree(Path::new("/"), directory, command));
    }
    trees
}

/// All units of a project that its compiler can preprocess with these options.
fn tree(projects: &Path, name: &str, command: &str) -> Tree {
    let root = fs::canonicalize(projects.join(name)).unwrap();
    let words: Vec<&str> = command.split(' ').collect();
    let pattern = if words[0].ends_with("++") { "*.cc" } else { "*.c" };
    let found = util::succeed(Command::new("find").arg(".").args(["-name", pattern]).current_dir(&root));
    let mut sources: Vec<String> =
        String::from_utf8(found.stdout).unwrap().lines().map(str::to_owned).collect();
    sources.sort();
    let unit = |source: String| Unit {
        cwd: root.clone(),
        program: PathBuf::from("/usr/bin").join(words[0]),
        argv: words.iter().copied().chain(["-c", &source]).map(OsString::from).collect(),
        environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
    };
    Tree {
        name: name.rsplit('/').next().unwrap_or(name).to_owned(),
        units: sources.into_iter().map(unit).collect(),
    }
}

/// A command that has the compiler preprocess a unit.
pub fn preprocessor(unit: &Unit) -> Command {
    let mut command = Command::new(&unit.program);
    command.args(&unit.argv[1..]).args(["-E", "-o", "/dev/null", "-w"]).current_dir(&unit.cwd);
    // Units that lack a header cost less; the engine answers them, too.
    command.stderr(Stdio::null());
    command
}

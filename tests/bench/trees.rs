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

/// The units of RocksDB's library, with the options that its package's build script has for Linux.
pub fn rocksdb() -> Tree {
    let projects = Path::new(env!("CARGO_TARGET_TMPDIR")).join("projects");
    let fetch = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/projects/fetch.sh");
    util::succeed(Command::new("sh").arg(fetch).arg(&projects).arg("rocksdb"));
    let package = projects.join("rocksdb");
    let list = fs::read_to_string(package.join("rocksdb_lib_sources.txt")).unwrap();
    // The one that the build makes lies beside the tree.
    let sources = list.lines().filter(|line| !line.ends_with("build_version.cc")).map(str::to_owned);
    let command = "g++ -std=c++17 -O2 -Iinclude -I. -Ithird-party/gtest-1.8.1/fused-src -DNDEBUG -DOS_LINUX \
                   -DROCKSDB_PLATFORM_POSIX -DROCKSDB_LIB_IO_POSIX -DROCKSDB_SUPPORT_THREAD_LOCAL";
    of_sources(&package, "rocksdb", command, sources)
}

/// All units of a project that its compiler can preprocess with these options.
fn tree(projects: &Path, name: &str, command: &str) -> Tree {
    let root = projects.join(name);
    let compiler = command.split(' ').next().unwrap_or(command);
    let pattern = if compiler.ends_with("++") { "*.cc" } else { "*.c" };
    let found = util::succeed(Command::new("find").arg(".").args(["-name", pattern]).current_dir(&root));
    let mut sources: Vec<String> =
        String::from_utf8(found.stdout).unwrap().lines().map(str::to_owned).collect();
    sources.sort();
    of_sources(projects, name, command, sources)
}

fn of_sources(parent: &Path, name: &str, command: &str, sources: impl IntoIterator<Item = String>) -> Tree {
    let root = fs::canonicalize(parent.join(name)).unwrap();
    let words: Vec<&str> = command.split(' ').collect();
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

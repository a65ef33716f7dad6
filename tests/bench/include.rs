//! What the include engine costs beside `g++ -E`, per unit of real projects: `make bench-include`.
//!
//! Processor time of this process for the engine, of ended children for the compiler; cold with an engine that
//! knows nothing, warm with one that has answered before. More trees: `DISTCC_INCLUDE_ORACLE='DIRECTORY COMPILER OPTIONS...'`, as the oracle in tests/include.rs.

// The table is for people; a closed pipe may end it.
#![allow(clippy::disallowed_macros)]

#[path = "../util/mod.rs"]
mod util;

// The other benchmarks use the rest of it.
#[allow(dead_code)]
mod rig;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use distcc::include::{Engine, Unit};
use rig::{cpu_of, goal, median};

/// Compiled by `g++ -E`, spread over a project.
const SAMPLE: usize = 12;
const WARM_ROUNDS: usize = 5;

struct Tree {
    name: String,
    units: Vec<Unit>,
}

fn main() {
    // Cargo passes --bench; whoever runs all targets as tests wants no seconds of load.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    rig::print_machine();
    let projects = Path::new(env!("CARGO_TARGET_TMPDIR")).join("projects");
    let fetch = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/projects/fetch.sh");
    util::succeed(Command::new("sh").arg(fetch).arg(&projects));
    let mut trees = vec![
        tree(
            &projects,
            "leveldb",
            "g++ -std=c++11 -DLEVELDB_PLATFORM_POSIX=1 -DHAVE_SNAPPY=1 -I. -Iinclude -I../snappy",
        ),
        tree(&projects, "harfbuzz", "g++ -std=c++17 -DHAVE_PTHREAD -Isrc"),
    ];
    if let Ok(setting) = std::env::var("DISTCC_INCLUDE_ORACLE") {
        let (directory, command) = setting.split_once(' ').expect("DIRECTORY COMPILER OPTIONS...");
        trees.push(tree(Path::new("/"), directory, command));
    }
    println!("milliseconds of processor time per unit");
    println!(
        "project       units    start    first     cold     warm    g++ -E   cold/-E   warm/-E   memory"
    );
    for tree in &trees {
        measure(tree);
    }
}

/// All units of a project that its compiler can preprocess with these options.
fn tree(projects: &Path, name: &str, command: &str) -> Tree {
    let root = fs::canonicalize(projects.join(name)).unwrap();
    let words: Vec<&str> = command.split(' ').collect();
    let found = util::succeed(Command::new("find").arg(".").args(["-name", "*.cc"]).current_dir(&root));
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

fn measure(tree: &Tree) {
    let before = resident();
    let (mut engine, start) = timed(Engine::new);
    let run = |engine: &mut Engine, units: &[Unit]| {
        for unit in units {
            if let Err(reason) = engine.closure(unit) {
                panic!("{:?}: {reason}", unit.argv);
            }
        }
    };
    let count = tree.units.len() as f64;
    let ((), first) = timed(|| run(&mut engine, &tree.units[..1]));
    let ((), cold) = timed(|| run(&mut engine, &tree.units[1..]));
    let cold = cold / (count - 1.0);
    let warm = median((0..WARM_ROUNDS).map(|_| timed(|| run(&mut engine, &tree.units)).1)) / count;
    let memory = resident().saturating_sub(before) / 1024;
    let sample: Vec<&Unit> = tree.units.iter().step_by((tree.units.len() / SAMPLE).max(1)).collect();
    let before = children();
    sample.iter().for_each(|unit| preprocess(unit));
    let theirs = (children() - before) / sample.len() as f64;
    println!(
        "{:12} {:6} {:8.3} {:8.2} {:8.3} {:8.3}  {:8.1}  {:8.4}  {:8.4}  {:4} MiB",
        tree.name,
        tree.units.len(),
        start,
        first,
        cold,
        warm,
        theirs,
        cold / theirs,
        warm / theirs,
        memory
    );
    goal("start below 10 ms", start < 10.0, &format!("{start:.3} ms"));
    goal("cold at most 1 ms", cold <= 1.0, &format!("{cold:.3} ms"));
    goal("warm at most 0.3 ms", warm <= 0.3, &format!("{warm:.3} ms"));
}

/// Milliseconds of processor time of this thread, the only one.
fn timed<T>(job: impl FnOnce() -> T) -> (T, f64) {
    let before = cpu_of(std::process::id());
    let result = job();
    (result, (cpu_of(std::process::id()) - before) / 1e6)
}

/// Milliseconds of processor time of all ended children, in ticks of 10 ms.
fn children() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap();
    let behind_name = text.rsplit(") ").next().unwrap();
    let field = |at: usize| behind_name.split(' ').nth(at).unwrap().parse::<f64>().unwrap();
    // Fields 16 and 17 of proc(5), cutime and cstime; the state is field 3.
    (field(13) + field(14)) * 10.0
}

fn preprocess(unit: &Unit) {
    let mut command = Command::new(&unit.program);
    command.args(&unit.argv[1..]).args(["-E", "-o", "/dev/null", "-w"]).current_dir(&unit.cwd);
    // Units that lack a header cost less; the engine answers them, too.
    command.stderr(Stdio::null()).status().unwrap();
}

/// KiB.
fn resident() -> u64 {
    util::field(std::process::id(), "status", "VmRSS:")
}

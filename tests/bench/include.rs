//! What the include engine and its server cost beside `g++ -E`, per unit of real projects, RocksDB among them:
//! `make bench-include`.
//!
//! Processor time of this process for the engine, of ended children for the compiler and for what the engine asks
//! of it; cold with an engine that knows nothing, warm with one that has answered before. One more tree:
//! `DISTCC_INCLUDE_ORACLE='DIRECTORY COMPILER OPTIONS...'`, as the oracle in tests/include.rs.

// The table is for people; a closed pipe may end it.
#![allow(clippy::disallowed_macros)]

#[path = "../util/mod.rs"]
mod util;

// The other benchmarks use the rest of it.
#[allow(dead_code)]
mod rig;
mod trees;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use distcc::include::{Engine, Unit};
use rig::{cpu_of, goal, median};
use trees::{Tree, preprocessor};

/// Compiled by `g++ -E`, spread over a project.
const SAMPLE: usize = 12;
const WARM_ROUNDS: usize = 5;

fn main() {
    // Cargo passes --bench; whoever runs all targets as tests wants no seconds of load.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    rig::print_machine();
    let mut trees = trees::all();
    trees.push(trees::rocksdb());
    println!("milliseconds of processor time per unit");
    println!(
        "project       units    start    first     cold    asked     warm    g++ -E   cold/-E   warm/-E"
    );
    for tree in &trees {
        measure(tree);
    }
    println!("\ninclude server, its own processor time and most memory");
    println!("project       units    first     cold     warm   memory");
    trees.iter().for_each(serve);
}

fn measure(tree: &Tree) {
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
    let before = children();
    let ((), cold) = timed(|| run(&mut engine, &tree.units[1..]));
    let (cold, asked) = (cold / (count - 1.0), (children() - before) / (count - 1.0));
    let warm = median((0..WARM_ROUNDS).map(|_| timed(|| run(&mut engine, &tree.units)).1)) / count;
    let sample: Vec<&Unit> = tree.units.iter().step_by((tree.units.len() / SAMPLE).max(1)).collect();
    let before = children();
    sample.iter().for_each(|unit| drop(preprocessor(unit).status()));
    let theirs = (children() - before) / sample.len() as f64;
    println!(
        "{:12} {:6} {:8.3} {:8.2} {:8.3} {:8.3} {:8.3}  {:8.1}  {:8.4}  {:8.4}",
        tree.name,
        tree.units.len(),
        start,
        first,
        cold,
        asked,
        warm,
        theirs,
        cold / theirs,
        warm / theirs,
    );
    goal("start below 10 ms", start < 10.0, &format!("{start:.3} ms"));
    if tree.name == "rocksdb" {
        goal("cold at most 1 ms", cold <= 1.0, &format!("{cold:.3} ms"));
        goal("warm at most 0.3 ms", warm <= 0.3, &format!("{warm:.3} ms"));
    }
}

/// Peak of stock's include server after these units, in MiB: `pump.md`, section 7.
const STOCKS_MEMORY: f64 = 32.7;

/// The same units as questions to an include server, by stock's protocol: it also compresses and lays out what they
/// need.
fn serve(tree: &Tree) {
    let workspace = util::Workspace::new("include-bench");
    let socket = workspace.path("socket");
    let mut server = workspace
        .command(util::OURS)
        .args(["include_server", "--no-detach", "--until-eof", "--port"])
        .arg(&socket)
        // Ours to close: the server ends with this benchmark, however that ends.
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    util::wait_until("the include server's socket", || socket.exists());
    let pid = server.id();
    let ask = |units: &[Unit]| {
        let before = cpu_of(pid);
        for unit in units {
            let mut question = Vec::new();
            let argv: Vec<_> = unit.argv.iter().map(|word| word.as_encoded_bytes()).collect();
            distcc::wire::include::encode_question(
                unit.cwd.as_os_str().as_encoded_bytes(),
                &argv,
                &mut question,
            );
            let mut stream = UnixStream::connect(&socket).unwrap();
            stream.write_all(&question).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            assert!(!answer.starts_with(b"ARGC00000000"), "{:?}", unit.argv);
        }
        (cpu_of(pid) - before) / 1e6 / units.len() as f64
    };
    let (first, cold, warm) = (ask(&tree.units[..1]), ask(&tree.units[1..]), ask(&tree.units));
    let memory = util::field(pid, "status", "VmHWM:") as f64 / 1024.0;
    server.kill().unwrap();
    server.wait().unwrap();
    println!("{:12} {:6} {first:8.2} {cold:8.3} {warm:8.3} {memory:6.1} MiB", tree.name, tree.units.len());
    if tree.name == "rocksdb" {
        let detail = format!("{memory:.1} of {STOCKS_MEMORY} MiB");
        goal("memory at most half of stock's", memory * 2.0 <= STOCKS_MEMORY, &detail);
    }
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

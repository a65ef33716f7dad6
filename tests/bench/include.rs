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
mod trees;

use std::fs;

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
    println!("milliseconds of processor time per unit");
    println!(
        "project       units    start    first     cold     warm    g++ -E   cold/-E   warm/-E   memory"
    );
    for tree in &trees::all() {
        measure(tree);
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
    sample.iter().for_each(|unit| drop(preprocessor(unit).status()));
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

/// KiB.
fn resident() -> u64 {
    util::field(std::process::id(), "status", "VmRSS:")
}

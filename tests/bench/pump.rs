//! What pump mode costs on this machine, beside stock's client and `g++ -E`: `make bench-pump`.
//!
//! The server is a thread that answers at once. Both clients ask our include server, each in its own way: stock's own does
//! not run with the Python of this decade. Processor time of clients and preprocessors from the kernel's account of the
//! ended process, that of the include server from its process.

// The table is for people; a closed pipe may end it.
#![allow(clippy::disallowed_macros)]

#[path = "../util/mod.rs"]
mod util;

mod clients;
// The other benchmarks use the rest of it.
#[allow(dead_code)]
mod rig;
// The daemon is another benchmark's.
#[allow(dead_code)]
mod servers;
// RocksDB is for the engine's own benchmark.
#[allow(dead_code)]
mod trees;

use std::fs;
use std::process::Command;
use std::time::Instant;

use clients::{InstantServer, run};
use distcc::include::Unit;
use distcc::wire::Version;
use rig::{goal, median};
use servers::IncludeServer;
use trees::Tree;
use util::{Kind, Workspace, stock};

/// Units of a project that both clients compile, spread over it.
const SAMPLE: usize = 12;
const ROUNDS: usize = 5;
const STARTS: usize = 30;

fn main() {
    // Cargo passes --bench; whoever runs all targets as tests wants no seconds of load.
    if !std::env::args().any(|arg| arg == "--bench") || stock("distcc").is_none() {
        return;
    }
    let workspace = Workspace::new("bench-pump");
    rig::print_machine();
    rig::take_static_binary(&workspace);
    let server = InstantServer::start();
    workspace.write("object.cc", "int x;\n");
    for (compiler, object) in [("gcc", "gcc.o"), ("g++", "g++.o")] {
        util::succeed(workspace.command(compiler).args(["-c", "object.cc", "-o", object]));
    }
    start_up(&workspace);
    println!("\nmilliseconds of processor time per job; the include server's memory at its peak");
    println!(
        "                client                                 include server, asked by\n\
         project  units    ours   stock  ratio     -E  ours/-E   ours cold   ours  stock   memory  with stock"
    );
    for tree in &trees::all() {
        measure(&workspace, &server, tree);
    }
}

/// From the start of the command to its end, when its child listens.
fn start_up(workspace: &Workspace) {
    let mut times = Vec::new();
    let mut cpu = Vec::new();
    for _ in 0..STARTS {
        let begun = Instant::now();
        cpu.push(run(&mut IncludeServer::command(workspace), false) * 1e3);
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        IncludeServer::running(workspace).end();
    }
    let (wall, cpu) = (median(times.iter().copied()), median(cpu));
    let fastest = times.iter().copied().fold(f64::INFINITY, f64::min);
    goal(
        "include server ready within 10 ms",
        wall < 10.0,
        &format!("{wall:.2} ms (fastest of {STARTS}: {fastest:.2} ms), {cpu:.2} ms of a processor"),
    );
}

fn measure(workspace: &Workspace, server: &InstantServer, tree: &Tree) {
    run(&mut IncludeServer::command(workspace), false);
    let include_server = IncludeServer::running(workspace);
    let compiler = tree.units[0].argv[0].to_str().unwrap();
    server.answer(Version::Pump, &fs::read(workspace.work().join(format!("{compiler}.o"))).unwrap());
    let before = include_server.cpu();
    tree.units.iter().for_each(|unit| {
        run(&mut client(workspace, server, Kind::Ours, unit), false);
    });
    let cold = (include_server.cpu() - before) / tree.units.len() as f64;
    let peak = include_server.peak();
    for kind in [Kind::Ours, Kind::Stock] {
        let mut verbose = client(workspace, server, kind, &tree.units[0]);
        let output = verbose.env("DISTCC_VERBOSE", "1").output().unwrap();
        assert!(!util::stderr(&output).contains("locally"), "{kind:?}: {}", util::explain(&output));
    }
    print!("{:8} {:5}", tree.name, tree.units.len());
    rows(workspace, server, tree, &include_server, cold, peak);
    include_server.end();
}

fn rows(
    workspace: &Workspace,
    server: &InstantServer,
    tree: &Tree,
    include_server: &IncludeServer,
    cold: f64,
    peak: f64,
) {
    // Not all have their headers here.
    let compiles = |unit: &&Unit| trees::preprocessor(unit).status().unwrap().success();
    let sample: Vec<&Unit> =
        tree.units.iter().step_by((tree.units.len() / SAMPLE).max(1)).filter(compiles).collect();
    let mut clients = [Vec::new(), Vec::new()];
    let mut questions = [Vec::new(), Vec::new()];
    let mut preprocessors = Vec::new();
    // In the first round stock's clients have their tree made.
    for round in 0..=ROUNDS {
        for unit in &sample {
            for (side, kind) in [Kind::Ours, Kind::Stock].into_iter().enumerate() {
                let before = include_server.cpu();
                let cpu = run(&mut client(workspace, server, kind, unit), false) * 1e3;
                if round > 0 {
                    clients[side].push(cpu);
                    questions[side].push(include_server.cpu() - before);
                }
            }
        }
    }
    for unit in &sample {
        preprocessors.push(run(&mut trees::preprocessor(unit), false) * 1e3);
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let [ours, stock] = clients.map(|values| mean(&values));
    let [asked, asked_by_stock] = questions.map(|values| mean(&values));
    let preprocessor = mean(&preprocessors);
    println!(
        " {ours:7.2} {stock:7.2} {:6.2} {preprocessor:6.1} {:8.3} {cold:11.2} {asked:6.2} {asked_by_stock:6.2} {peak:8.1} {:11.1}",
        ours / stock,
        ours / preprocessor,
        include_server.peak()
    );
    goal("client at most half of stock's", ours <= stock / 2.0, &format!("{:.2}", ours / stock));
    let share = format!("1/{:.0}", preprocessor / ours);
    if tree.units[0].argv[0] == "g++" {
        goal("client at most 1/30 of g++ -E", ours <= preprocessor / 30.0, &share);
    } else {
        println!("       client {share} of gcc -E");
    }
}

fn client(workspace: &Workspace, server: &InstantServer, kind: Kind, unit: &Unit) -> Command {
    let mut command = workspace.client(kind, &format!("127.0.0.1:{}/4,cpp,lzo", server.port));
    command
        .current_dir(&unit.cwd)
        .env("PATH", "/usr/bin:/bin")
        .env("DISTCC_FALLBACK", "0")
        .env("INCLUDE_SERVER_PORT", IncludeServer::socket(workspace))
        .args(&unit.argv)
        .arg("-o")
        .arg(workspace.path("tmp/job.o"));
    command
}

//! What whole builds cost, ours beside stock's: `make bench-builds`.
//!
//! Five tables: the processor time of real builds, with and without compilers; the time that
//! many clients take who share few slots; how soon one of a thousand that wait gets a slot that is freed; system calls per job; and the
//! time of a build through a slow line. A side is
//! client and daemon of one kind; both take turns within a round, and a ratio is taken within a round. In pump mode
//! stock's clients ask our include server: their own does not run with the Python of this decade.
//!
//! `cargo bench --bench builds -- calls` prints only what is named: `cpu`, `crowd`, `waiters`, `calls`, `line`.

// The tables are for people; a closed pipe may end them.
#![allow(clippy::disallowed_macros)]

#[path = "../util/mod.rs"]
mod util;

mod calls;
// The other benchmarks use the rest of these three.
#[allow(dead_code)]
mod clients;
mod project;
mod relay;
#[allow(dead_code)]
mod rig;
#[allow(dead_code)]
mod servers;
mod waiters;

use std::fs;
use std::time::Instant;

use project::{C, CXX, Cost, MODES, Project, Way};
use relay::Line;
use rig::{Stub, goal, median};
use servers::Server;
use util::{Kind, Workspace, stock};

/// An odd number, so that a median is a measurement.
const ROUNDS: usize = 3;
const KINDS: [Kind; 2] = [Kind::Ours, Kind::Stock];
/// Where compilers are.
const PATH: &str = "/usr/bin:/bin";
/// Clients at once, and their jobs.
const CROWD: usize = 32;
const CROWD_JOBS: usize = 200;
/// Seconds that each takes on the server: what gcc needs for a small C file.
const CROWD_COMPILE: f64 = 0.05;
/// Millions of bits per second.
const LINES: [u32; 2] = [100, 10];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if project::account(&words) {
        return;
    }
    // Cargo passes --bench; whoever runs all targets as tests wants no minutes of load.
    if !words.iter().any(|word| word == "--bench") || stock("distcc").is_none() || stock("distccd").is_none()
    {
        return;
    }
    let begun = Instant::now();
    let workspace = Workspace::new("bench-builds");
    rig::print_machine();
    let wanted: Vec<&String> = words.iter().filter(|arg| !arg.starts_with('-')).collect();
    let is_wanted = |part: &str| wanted.is_empty() || wanted.iter().any(|word| *word == part);
    if is_wanted("cpu") {
        processor_time(&workspace);
    }
    if is_wanted("crowd") {
        crowd(&workspace);
    }
    if is_wanted("waiters") {
        waiters::report(&workspace, KINDS);
    }
    if is_wanted("calls") {
        calls::report(&workspace);
    }
    if is_wanted("line") {
        slow_line(&workspace);
    }
    println!("\n{:.0} s", begun.elapsed().as_secs_f64());
}

/// The middle of what ours and stock's took, and of their ratios.
fn medians(rounds: &[[f64; 2]]) -> (f64, f64, f64) {
    let of = |side: usize| median(rounds.iter().map(|round| round[side]));
    (of(0), of(1), median(rounds.iter().map(|round| round[0] / round[1])))
}

fn processor_time(workspace: &Workspace) {
    println!(
        "processor time of a build per object, ms: clients, include server and daemon without compilers; and of all\n\
         processes, which gcc alone needs for the same\n"
    );
    println!("project       form   -j      ours   stock  ratio     all: ours   stock  ratio   gcc alone");
    let (mut dear, mut ratios) = (Vec::new(), Vec::new());
    for project in [C, CXX] {
        let ways: Vec<(usize, usize)> =
            (0..MODES.len()).flat_map(|mode| [1, 4].map(|jobs| (mode, jobs))).collect();
        let mut rounds = vec![Vec::new(); ways.len()];
        let mut alone = Vec::new();
        for _ in 0..ROUNDS {
            alone.push(project.build_locally(workspace));
            for ((mode, jobs), rounds) in ways.iter().zip(&mut rounds) {
                let way = |kind| Way { kind, mode: *mode, jobs: *jobs };
                rounds.push(KINDS.map(|kind| total(workspace, &project, way(kind))));
            }
        }
        let per_object = 1e3 / project.len() as f64;
        let alone = median(alone) * per_object;
        for ((mode, jobs), rounds) in ways.into_iter().zip(&rounds) {
            let of = |cost: fn(&Cost) -> f64| {
                let rounds: Vec<[f64; 2]> =
                    rounds.iter().map(|round| round.each_ref().map(|side| cost(side) * per_object)).collect();
                medians(&rounds)
            };
            let ((own, by_stock, ratio), (all, all_of_stock, of_all)) = (of(|it| it.own), of(|it| it.all));
            let form = MODES[mode].0;
            println!(
                "{:12}  {form:5} {jobs:3}   {own:7.2} {by_stock:7.2} {ratio:6.2}       {all:7.1} {all_of_stock:7.1} \
                 {of_all:6.3}     {alone:7.1}",
                project.label,
            );
            ratios.push(of_all);
            if ratio >= 1.0 {
                dear.push(format!("{} {form} -j{jobs}: {ratio:.2}", project.label));
            }
        }
    }
    let detail = if dear.is_empty() { "all".to_owned() } else { dear.join("; ") };
    // Compilers do the same on both sides, and what they take differs more from run to run than the sides do.
    goal("processor time without compilers below stock's in every mode", dear.is_empty(), &detail);
    println!("       median of the ratios of all processes: {:.3}", median(ratios));
}

/// What a build with a daemon of its own takes.
fn total(workspace: &Workspace, project: &Project, way: Way) -> Cost {
    let server = Server::start(workspace, way.kind, PATH);
    let (daemon, compilers) = (server.cpu(), server.compiler_cpu());
    let here = project.build(workspace, way, server.port);
    let (daemon, compilers) = (server.cpu() - daemon, server.compiler_cpu() - compilers);
    assert!(compilers > here.all * 0.3, "{:?} in mode {} compiles here", way.kind, MODES[way.mode].0);
    Cost { own: here.own + daemon, all: here.all + daemon + compilers }
}

/// The compiler behind the server only waits, as if it had other processors, and sources are preprocessed: what is left is
/// how jobs come to slots.
fn crowd(workspace: &Workspace) {
    let mut rules = String::from("CC = gcc\n");
    for number in 0..CROWD_JOBS {
        workspace.write(&format!("job{number}.i"), "# 1 \"job.c\"\nint f(int x) { return x + 1; }\n");
        rules.push_str(&format!("all: job{number}.o\n"));
    }
    rules.push_str("%.o: %.i\n\t$(CC) -c $< -o $@\n");
    workspace.write("crowd.mk", &rules);
    rig::must(workspace.command("gcc").args(["-c", "job0.i", "-o", "made.o"]));
    let stub = Stub::build(workspace);
    stub.make(&fs::read(workspace.work().join("made.o")).unwrap());
    let slow = format!("#!/bin/sh\nsleep {CROWD_COMPILE}\nexec {}/gcc \"$@\"\n", stub.dir.display());
    workspace.script("slow/gcc", &slow);
    let path = format!("{}:{PATH}", workspace.path("slow").display());
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(KINDS.map(|kind| {
            let server = Server::start(workspace, kind, &path);
            let mut make = workspace.command("make");
            make.env("DISTCC_HOSTS", format!("127.0.0.1:{}/4", server.port)).env("DISTCC_FALLBACK", "0");
            make.arg("-sBrRf").arg("crowd.mk").arg(format!("-j{CROWD}")).arg("all");
            make.arg(format!("CC={} gcc", project::client(workspace, kind).display()));
            let begun = Instant::now();
            rig::must(&mut make);
            begun.elapsed().as_secs_f64()
        }));
    }
    let (ours, stock, ratio) = medians(&rounds);
    println!(
        "\n{CROWD_JOBS} jobs of {CROWD_COMPILE} s, make -j{CROWD} on 4 slots, from start to end: {ours:.2} s, stock {stock:.2}"
    );
    goal("at most 0.70 of stock's", ratio <= 0.7, &format!("{ratio:.2}"));
}

fn slow_line(workspace: &Workspace) {
    println!(
        "\n{}, make -j4 through a slow line, s from start to end, and MB carried per build\n",
        CXX.label
    );
    println!("Mbit/s  form      ours   stock  ratio      MB: ours   stock  ratio");
    CXX.build_locally(workspace);
    for megabits in LINES {
        let line = Line::start(megabits);
        for (mode, (form, _)) in MODES.iter().enumerate() {
            let (mut times, mut bytes) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                let sides = KINDS.map(|kind| {
                    let server = Server::start(workspace, kind, PATH);
                    line.lead_to(server.port);
                    let (begun, before) = (Instant::now(), line.carried());
                    CXX.build(workspace, Way { kind, mode, jobs: 4 }, line.port);
                    (begun.elapsed().as_secs_f64(), (line.carried() - before) as f64 / 1e6)
                });
                times.push(sides.map(|(seconds, _)| seconds));
                bytes.push(sides.map(|(_, megabytes)| megabytes));
            }
            let (ours, stock, ratio) = medians(&times);
            let (carried, carried_by_stock, of_bytes) = medians(&bytes);
            println!(
                "{megabits:6}  {form:5}  {ours:7.2} {stock:7.2} {ratio:6.2}       {carried:7.2} {carried_by_stock:7.2} {of_bytes:6.2}"
            );
        }
    }
}

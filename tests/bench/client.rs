//! How much a job costs in the client, ours beside stock's: `make bench-client`.
//!
//! The server is a thread that answers at once, so that what is left is the client. A `.i` source needs no
//! preprocessor; for others, and for local compiles, it is gcc, whose time is not counted in the client's.
//! Clients run one after the other, as under `make -j1`: processor time from the kernel's account of the ended
//! process, and time from its start to its end.
//!
//! The static binary, which is what users get, has columns of its own where `sh cross/build.sh MACHINE` has made one
//! for this machine; build it anew after a change.
//!
//! What `least` takes, a program that does nothing but send and receive (`least.rs`), nobody can do without, less what that
//! needs to start: it is linked dynamically and large, as the row of `--version` shows.
//!
//! `cargo bench --bench client -- "10 MB" plain` measures only the cells whose first columns contain these; `start` and
//! `local` are the names of the others.

// The table is for people; a closed pipe may end it.
#![allow(clippy::disallowed_macros)]

#[path = "../util/mod.rs"]
mod util;

mod clients;
mod least;
// The stub is the other benchmarks' affair.
#[allow(dead_code)]
mod rig;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clients::{InstantServer, run};
use rig::{Payload, VERSIONS, goal, median};
use util::Workspace;

/// An odd number, so that a median is a measurement.
const ROUNDS: usize = 5;
/// How long each cell is measured in each round. All sides take turns, job by job.
const SLICE: Duration = Duration::from_millis(2000);

/// A client to be measured.
struct Side {
    name: &'static str,
    program: PathBuf,
}

/// Seconds per job or call.
#[derive(Debug, Clone, Copy)]
struct Slice {
    cpu: f64,
    wall: f64,
}

/// What is measured, and what came of it.
struct Cell {
    name: String,
    work: Work,
    /// What the ratio of processor times may be.
    most: f64,
    /// By round and side.
    rounds: Vec<Vec<Slice>>,
}

#[derive(Clone, Copy)]
enum Work {
    /// A job on the server.
    Job { payload: usize, version: usize, source: &'static str },
    /// What it does without one.
    Alone(&'static [&'static str]),
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if least::client(&words) {
        return;
    }
    // Cargo passes --bench; whoever runs all targets as tests wants no minutes of load.
    if !words.iter().any(|arg| arg == "--bench") || util::stock("distcc").is_none() {
        return;
    }
    let begun = Instant::now();
    let wanted: Vec<&String> = words.iter().filter(|arg| !arg.starts_with('-')).collect();
    let workspace = Workspace::new("bench-client");
    let payloads = rig::payloads(&workspace);
    rig::print_machine();
    let sides = sides(&workspace);
    let server = InstantServer::start();
    let mut cells = cells(&payloads);
    cells.retain(|cell| wanted.iter().all(|part| cell.name.contains(*part)));
    for _ in 0..ROUNDS {
        for cell in &mut cells {
            let slices = slices(&workspace, &server, &sides, cell.work, &payloads);
            cell.rounds.push(slices);
        }
    }
    report(&sides, &cells);
    println!("\n{:.0} s", begun.elapsed().as_secs_f64());
}

/// The least, ours in each form that is here, and last what they are held against.
fn sides(workspace: &Workspace) -> Vec<Side> {
    let least = std::env::current_exe().unwrap();
    let mut sides = vec![
        Side { name: least::WORD, program: least },
        Side { name: "ours", program: workspace.path("bin/distcc") },
    ];
    if let Some(program) = rig::static_binary() {
        sides.push(Side { name: "static", program });
    }
    sides.push(Side { name: "stock", program: "/usr/bin/distcc".into() });
    sides
}

fn cells(payloads: &[Payload]) -> Vec<Cell> {
    let cell = |name: String, work, most| Cell { name, work, most, rounds: Vec::new() };
    let mut cells = Vec::new();
    for (payload, source) in [(0, "job.i"), (1, "job.i"), (2, "job.i"), (1, "job.c")] {
        for (version, (_, form)) in VERSIONS.iter().enumerate() {
            let name = format!("{:5} {source} {form}", payloads[payload].name);
            cells.push(cell(name, Work::Job { payload, version, source }, 0.4));
        }
    }
    cells.push(cell("start, --version".to_owned(), Work::Alone(&["--version"]), 0.4));
    cells.push(cell("local compile".to_owned(), Work::Alone(&["gcc", "-E", "job.c", "-o", "job.i"]), 0.25));
    cells
}

/// Measures one cell on all sides.
fn slices(
    workspace: &Workspace,
    server: &InstantServer,
    sides: &[Side],
    work: Work,
    payloads: &[Payload],
) -> Vec<Slice> {
    let (object, mut host) = (workspace.work().join("job.o"), "127.0.0.1:1".to_owned());
    let mut words = vec!["gcc", "-c", "", "-o", "job.o"];
    let mut expected = None;
    match work {
        Work::Job { payload, version, source } => {
            let (payload, version) = (&payloads[payload], VERSIONS[version].0);
            fs::write(workspace.work().join(source), &payload.source).unwrap();
            server.answer(version, &payload.object);
            host = format!("127.0.0.1:{}/4{}", server.port, if version.compressed() { ",lzo" } else { "" });
            words[2] = source;
            expected = Some(&payload.object);
        }
        Work::Alone(own) => {
            fs::write(workspace.work().join("job.c"), "int i;\n").unwrap();
            words = own.to_vec();
        }
    }
    let mut clients = Vec::new();
    for side in sides {
        let mut client = client(workspace, &side.program, &host);
        client.stdout(Stdio::null());
        match (side.name, work) {
            (least::WORD, Work::Job { version, source, .. }) => {
                client.args([least::WORD, &server.port.to_string(), VERSIONS[version].1, source, "job.o"])
            }
            (least::WORD, Work::Alone(_)) => client.arg(least::WORD),
            _ => client.args(&words),
        };
        clients.push(client);
    }
    let mut sums = vec![Slice { cpu: 0.0, wall: 0.0 }; sides.len()];
    let (begun, mut jobs) = (Instant::now(), 0.0);
    while begun.elapsed() < SLICE {
        for (at, client) in clients.iter_mut().enumerate() {
            // Whoever comes first finds nothing.
            let is_checked = jobs == 0.0 && expected.is_some();
            if is_checked {
                let _ = fs::remove_file(&object);
            }
            let begun = Instant::now();
            sums[at].cpu += run(client, true);
            sums[at].wall += begun.elapsed().as_secs_f64();
            if is_checked {
                assert!(
                    fs::read(&object).ok().as_ref() == expected,
                    "the object of {} is a different one",
                    sides[at].name
                );
            }
        }
        jobs += 1.0;
    }
    sums.iter().map(|sum| Slice { cpu: sum.cpu / jobs, wall: sum.wall / jobs }).collect()
}

/// Shows the table and holds it against the goals, which are about what users run.
fn report(sides: &[Side], cells: &[Cell]) {
    let stock = sides.len() - 1;
    let per_side: usize = 8 * sides.len() + 7 * stock;
    println!("{:20}{:^per_side$}   {:^per_side$}", "", "client ms", "ms from start to end");
    let names: String = sides.iter().map(|side| format!("{:>8}", side.name)).collect();
    let ratios: String = sides[..stock].iter().map(|side| format!("{:>7}", side.name)).collect();
    println!("{:20}{names}{ratios}   {names}{ratios}", "");
    let (mut dear, mut slow) = (Vec::new(), Vec::new());
    for cell in cells {
        let mut line = format!("{:20}", cell.name);
        let values: [fn(&Slice) -> f64; 2] = [|it| it.cpu, |it| it.wall];
        for (value, (most, missed)) in values.into_iter().zip([(cell.most, &mut dear), (0.6, &mut slow)]) {
            for side in 0..sides.len() {
                line += &format!("{:8.2}", median(cell.rounds.iter().map(|it| value(&it[side]))) * 1e3);
            }
            let mut ratio = f64::NAN;
            for side in 0..stock {
                ratio = median(cell.rounds.iter().map(|it| value(&it[side]) / value(&it[stock])));
                line += &format!("{ratio:7.2}");
            }
            if ratio > most {
                missed.push(format!("{}: {ratio:.2}", cell.name));
            }
            line += "   ";
        }
        println!("{}", line.trim_end());
    }
    let user = sides[stock - 1].name;
    println!("\nThe last of ours is judged: {user}");
    let cells_of = |list: &[String]| if list.is_empty() { "all".to_owned() } else { list.join(", ") };
    goal("client time at most 0.40 of stock's, of a local compile 0.25", dear.is_empty(), &cells_of(&dear));
    goal("time from start to end at most 0.60 of stock's", slow.is_empty(), &cells_of(&slow));
}

/// Started without a fork of this process, which is a large one.
fn client(workspace: &Workspace, program: &Path, host: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(workspace.work()).env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
    command.env("HOME", workspace.path("home")).env("TMPDIR", workspace.path("tmp"));
    command.env("DISTCC_DIR", workspace.path("top")).env("DISTCC_HOSTS", host).env("DISTCC_FALLBACK", "0");
    command.stdin(Stdio::null());
    command
}

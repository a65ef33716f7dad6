//! How much a job costs in the client, ours beside stock's: `make bench-client`.
//!
//! The server is a thread that answers at once, so that what is left is the client. A `.i` source needs no
//! preprocessor; for others, and for local compiles, it is gcc, whose time is not counted in the client's.
//! Clients run one after the other, as under `make -j1`: processor time from the kernel's account of the ended
//! process, and time from its start to its end.

// The table is for people; a closed pipe may end it.
#![allow(clippy::disallowed_macros)]

#[path = "../util/mod.rs"]
mod util;

mod clients;
// The stub is the other benchmarks' affair.
#[allow(dead_code)]
mod rig;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clients::{InstantServer, run};
use distcc::wire::Version;
use rig::{Payload, VERSIONS, goal, median};
use util::{Kind, Workspace};

/// Ours and stock's take turns within each.
const ROUNDS: usize = 5;
/// How long each cell is measured on each side in each round.
const SLICE: Duration = Duration::from_millis(1000);
const KINDS: [Kind; 2] = [Kind::Ours, Kind::Stock];

/// Seconds per job.
#[derive(Debug, Clone, Copy)]
struct Slice {
    cpu: f64,
    wall: f64,
}

struct Cell {
    name: String,
    version: usize,
    payload: usize,
    source: &'static str,
    rounds: Vec<[Slice; 2]>,
}

fn main() {
    // Cargo passes --bench; whoever runs all targets as tests wants no minutes of load.
    if !std::env::args().any(|arg| arg == "--bench") || util::stock("distcc").is_none() {
        return;
    }
    let begun = Instant::now();
    let workspace = Workspace::new("bench-client");
    let payloads = rig::payloads(&workspace);
    rig::print_machine();
    let server = InstantServer::start();
    let mut cells = Vec::new();
    for (at, source) in [(0, "job.i"), (1, "job.i"), (2, "job.i"), (1, "job.c")] {
        for (version, (_, form)) in VERSIONS.iter().enumerate() {
            let name = format!("{:5}  {source}  {form:5}", payloads[at].name);
            cells.push(Cell { name, version, payload: at, source, rounds: Vec::new() });
        }
    }
    let (mut starts, mut locals) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        starts.push(KINDS.map(|kind| alone(&workspace, kind, &["--version"])));
        locals.push(KINDS.map(|kind| alone(&workspace, kind, &["gcc", "-E", "job.c", "-o", "job.i"])));
        for cell in &mut cells {
            let payload = &payloads[cell.payload];
            let version = VERSIONS[cell.version].0;
            fs::write(workspace.work().join(cell.source), &payload.source).unwrap();
            server.answer(version, &payload.object);
            let slices = KINDS.map(|kind| slice(&workspace, &server, kind, version, cell, payload));
            cell.rounds.push(slices);
        }
    }
    report(&cells);
    println!("\n                       client ms per call");
    println!("                         ours   stock  ratio");
    for (name, rounds, most) in [("start and --version", &starts, 0.4), ("local compile", &locals, 0.25)] {
        let of = |side: usize| median(rounds.iter().map(|round| round[side])) * 1e3;
        let ratio = median(rounds.iter().map(|round| round[0] / round[1]));
        println!("{name:22} {:7.2} {:7.2} {ratio:6.2}", of(0), of(1));
        goal(&format!("{name} at most {most:.2} of stock's"), ratio <= most, &format!("{ratio:.2}"));
    }
    println!("\n{:.0} s", begun.elapsed().as_secs_f64());
}

fn report(cells: &[Cell]) {
    println!("                       client ms per job          ms from start to end");
    println!("payload source form      ours   stock  ratio        ours   stock  ratio");
    let (mut dear, mut slow) = (Vec::new(), Vec::new());
    for cell in cells {
        let of = |side: usize, value: fn(&Slice) -> f64| {
            median(cell.rounds.iter().map(|it| value(&it[side]))) * 1e3
        };
        let ratio =
            |value: fn(&Slice) -> f64| median(cell.rounds.iter().map(|it| value(&it[0]) / value(&it[1])));
        let (cpu, wall) = (ratio(|it| it.cpu), ratio(|it| it.wall));
        println!(
            "{}   {:7.2} {:7.2} {cpu:6.2}     {:7.2} {:7.2} {wall:6.2}",
            cell.name,
            of(0, |it| it.cpu),
            of(1, |it| it.cpu),
            of(0, |it| it.wall),
            of(1, |it| it.wall),
        );
        let name = |value: f64| {
            let words: Vec<&str> = cell.name.split_whitespace().collect();
            format!("{}: {value:.2}", words.join(" "))
        };
        if cpu > 0.4 {
            dear.push(name(cpu));
        }
        if wall > 0.6 {
            slow.push(name(wall));
        }
    }
    println!();
    let cells_of = |list: &[String]| if list.is_empty() { "all".to_owned() } else { list.join(", ") };
    goal("client time per job at most 0.40 of stock's", dear.is_empty(), &cells_of(&dear));
    goal("time from start to end at most 0.60 of stock's", slow.is_empty(), &cells_of(&slow));
}

/// What a client takes that talks to nobody, in seconds, without what it starts.
fn alone(workspace: &Workspace, kind: Kind, words: &[&str]) -> f64 {
    fs::write(workspace.work().join("job.c"), "int i;\n").unwrap();
    let mut client = client(workspace, &program(workspace, kind), "127.0.0.1:1");
    client.args(words).stdout(Stdio::null());
    let (begun, mut cpu, mut calls) = (Instant::now(), 0.0, 0.0);
    while begun.elapsed() < SLICE {
        cpu += run(&mut client, true);
        calls += 1.0;
    }
    cpu / calls
}

fn program(workspace: &Workspace, kind: Kind) -> PathBuf {
    match kind {
        Kind::Ours => workspace.path("bin/distcc"),
        Kind::Stock => "/usr/bin/distcc".into(),
    }
}

/// Runs clients one after the other.
fn slice(
    workspace: &Workspace,
    server: &InstantServer,
    kind: Kind,
    version: Version,
    cell: &Cell,
    payload: &Payload,
) -> Slice {
    let program = program(workspace, kind);
    let object = workspace.work().join("job.o");
    let _ = fs::remove_file(&object);
    let host = format!("127.0.0.1:{}/4{}", server.port, if version.compressed() { ",lzo" } else { "" });
    let mut client = client(workspace, &program, &host);
    client.args(["gcc", "-c", cell.source, "-o", "job.o"]);
    let (begun, mut cpu, mut jobs) = (Instant::now(), 0.0, 0.0);
    while begun.elapsed() < SLICE {
        cpu += run(&mut client, true);
        jobs += 1.0;
    }
    let wall = begun.elapsed().as_secs_f64();
    assert!(fs::read(&object).unwrap() == payload.object, "the object of {kind:?} is a different one");
    Slice { cpu: cpu / jobs, wall: wall / jobs }
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

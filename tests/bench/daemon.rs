//! How much a job costs in the daemon, ours beside stock's: `make bench-daemon`.
//!
//! The compiler is a stub that only copies an object, so that what is left is the daemon: processor time per
//! job without the compiler's, jobs per second, memory. Both daemons run with the same options and serve the
//! same bytes in turn; a ratio is taken within a round, and its median over the rounds is shown.
//!
//! `cargo bench --bench daemon -- "10 KB" "lzo 8"` measures only the cells whose first columns contain these;
//! `-- memory` only the memory, and fails if that misses a goal.

// The table is for people; a closed pipe may end it.
#![allow(clippy::disallowed_macros)]

#[path = "../util/mod.rs"]
mod util;

mod rig;
// The include server is another benchmark's.
#[allow(dead_code)]
mod servers;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use distcc::wire::reply::{Decoder, Event, Part};
use distcc::wire::{Version, limits, lzo};
use rig::{Payload, Stub, VERSIONS, goal, median};
use servers::{Server, stat_seconds};
use util::{Kind, Workspace, all_processes, peer};

/// An odd number, so that a median is a measurement.
const ROUNDS: usize = 3;
/// How long each cell is measured on each side in each round; the jobs that are running then are finished.
const SLICE: Duration = Duration::from_millis(900);
const CONNECTIONS: [usize; 3] = [1, 8, 64];
const KINDS: [Kind; 2] = [Kind::Ours, Kind::Stock];

/// One side of one cell in one round; seconds per job.
#[derive(Debug, Clone, Copy)]
struct Slice {
    daemon: f64,
    stub: f64,
    load: f64,
    jobs_per_second: f64,
}

struct Cell {
    payload: usize,
    version: usize,
    connections: usize,
    /// Ours and stock's by round.
    rounds: Vec<[Slice; 2]>,
}

fn main() -> ExitCode {
    // Cargo passes --bench; whoever runs all targets as tests wants no minutes of load.
    if !std::env::args().any(|arg| arg == "--bench") || util::stock("distccd").is_none() {
        return ExitCode::SUCCESS;
    }
    let begun = Instant::now();
    let workspace = Workspace::new("bench-daemon");
    let stub = Stub::build(&workspace);
    let payloads = rig::payloads(&workspace);
    rig::print_machine();
    rig::take_static_binary(&workspace);
    let memory = KINDS.map(|kind| memory(&workspace, &stub, kind, &payloads[2]));
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    if wanted == ["memory"] {
        return if report_memory(&memory) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let mut cells = Vec::new();
    for (payload, Payload { name, .. }) in payloads.iter().enumerate() {
        for (version, (_, form)) in VERSIONS.iter().enumerate() {
            for connections in CONNECTIONS {
                let label = format!("{name} {form} {connections}");
                if wanted.iter().all(|part| label.contains(part)) {
                    cells.push(Cell { payload, version, connections, rounds: Vec::new() });
                }
            }
        }
    }
    for _ in 0..ROUNDS {
        for (at, payload) in payloads.iter().enumerate() {
            if !cells.iter().any(|cell| cell.payload == at) {
                continue;
            }
            stub.make(&payload.object);
            // Anew, because a worker of stock's retires after a minute and takes its account along.
            let servers = KINDS.map(|kind| Server::start(&workspace, kind, &stub.path()));
            for cell in cells.iter_mut().filter(|cell| cell.payload == at) {
                let version = VERSIONS[cell.version].0;
                let slices =
                    servers.each_ref().map(|server| slice(server, payload, version, cell.connections));
                cell.rounds.push(slices);
            }
        }
    }
    report(&cells, &payloads);
    report_memory(&memory);
    println!("\n{:.0} s", begun.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}

/// Shows the table and holds it against the goals.
fn report(cells: &[Cell], payloads: &[Payload]) {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    println!(
        "                            daemon ms per job          jobs per second            stub+load   most"
    );
    println!(
        "payload  form   connections   ours   stock  ratio       ours    stock  ratio   ms per job  ratio"
    );
    let (mut dear, mut slow, mut bound) = (Vec::new(), Vec::new(), 0);
    for cell in cells {
        let of =
            |side: usize, value: fn(&Slice) -> f64| median(cell.rounds.iter().map(|it| value(&it[side])));
        let ratio =
            |value: fn(&Slice) -> f64| median(cell.rounds.iter().map(|it| value(&it[0]) / value(&it[1])));
        let (cost, rate) = (ratio(|it| it.daemon), ratio(|it| it.jobs_per_second));
        // What a daemon that costs nothing would reach here, because stub and load take their time anyway.
        let others = of(0, |it| it.stub + it.load);
        let most = cores.min(cell.connections) as f64 / others / of(1, |it| it.jobs_per_second);
        let (size, form) = (payloads[cell.payload].name, VERSIONS[cell.version].1);
        println!(
            "{size:7}  {form:5}  {:11} {:6.2} {:7.2} {cost:6.2}   {:8.1} {:8.1} {rate:6.2}   {:10.2} {most:6.2}",
            cell.connections,
            of(0, |it| it.daemon) * 1e3,
            of(1, |it| it.daemon) * 1e3,
            of(0, |it| it.jobs_per_second),
            of(1, |it| it.jobs_per_second),
            others * 1e3,
        );
        let name = |value: f64| format!("{size} {form} {}: {value:.2}", cell.connections);
        if cost > 0.5 {
            dear.push(name(cost));
        }
        if most < 1.5 {
            bound += 1;
        } else if rate < 1.5 {
            slow.push(name(rate));
        }
    }
    println!();
    let cells_of = |list: &[String]| if list.is_empty() { "all".to_owned() } else { list.join(", ") };
    goal("daemon time per job at most 0.50 of stock's in every cell", dear.is_empty(), &cells_of(&dear));
    let detail =
        format!("{} ({bound} cells where stub and load alone allow less are left out)", cells_of(&slow));
    goal("jobs per second at least 1.50 of stock's", slow.is_empty(), &detail);
}

/// Shows the memory; whether it reaches the goals. What is idle is mostly pages of programs and libraries, which are the
/// less the more other processes share them, so that only a clear miss counts there.
fn report_memory([ours, stock]: &[Memory; 2]) -> bool {
    println!("\nmemory, kB (PSS of all processes, --jobs 4)      ours   stock");
    let row = |name: &str, value: fn(&Memory) -> u64| {
        println!("{name:46} {:6} {:7}", value(ours), value(stock));
    };
    row("idle", |it| it.idle);
    row("peak with four 10 MB lzo jobs at once", |it| it.peak);
    row("afterwards", |it| it.after);
    println!();
    let goals = [
        ("idle memory below stock's", ours.idle < stock.idle, ours.idle),
        ("peak memory at most 30 MB", ours.peak <= 30_000, ours.peak),
        ("afterwards below 3 MB", ours.after < 3_000, ours.after),
    ];
    goals.iter().for_each(|(text, reached, kilobytes)| goal(text, *reached, &format!("{kilobytes} kB")));
    let is_stocks = |pid| {
        fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|path| path == Path::new("/usr/bin/distccd"))
    };
    let shared = all_processes().into_iter().any(|(pid, _)| is_stocks(pid));
    if shared {
        println!(
            "idle memory does not count: another stock daemon runs here and shares its pages with the measured one"
        );
    }
    goals[1..].iter().all(|(_, reached, _)| *reached) && (shared || ours.idle < stock.idle * 5 / 4)
}

/// Keeps one daemon busy and takes its account.
fn slice(server: &Server, payload: &Payload, version: Version, connections: usize) -> Slice {
    let request = peer::request(version, &["gcc", "-c", "x.c", "-o", "x.o"], &payload.source);
    let reply_len = check(server, &request, version, payload);
    settle();
    let (daemon, stub, load) = (server.cpu(), server.compiler_cpu(), stat_seconds("self", [14, 15]));
    let begun = Instant::now();
    let done = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                let mut buffer = vec![0; 128 * 1024];
                while begun.elapsed() < SLICE {
                    assert_eq!(exchange(server.port, &request, &mut buffer), reply_len, "{:?}", server.kind);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let (wall, jobs) = (begun.elapsed().as_secs_f64(), done.into_inner() as f64);
    let load = stat_seconds("self", [14, 15]) - load;
    settle();
    Slice {
        daemon: (server.cpu() - daemon) / jobs,
        stub: (server.compiler_cpu() - stub) / jobs,
        load: load / jobs,
        jobs_per_second: jobs / wall,
    }
}

/// Daemons clean up after they have answered.
fn settle() {
    thread::sleep(Duration::from_millis(30));
}

/// One job; the length of its reply.
fn exchange(port: u16, request: &[u8], buffer: &mut [u8]) -> usize {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(request).unwrap();
    let mut len = 0;
    loop {
        match stream.read(buffer).unwrap() {
            0 => return len,
            count => len += count,
        }
    }
}

/// Runs one job and makes sure that the object is right.
fn check(server: &Server, request: &[u8], version: Version, payload: &Payload) -> usize {
    let reply = peer::exchange(server.port, request, false).expect("an answer");
    let (mut decoder, mut input, mut body) = (Decoder::new(version), &reply[..], Vec::new());
    while let Some(event) = decoder.next(&mut input).unwrap() {
        match event {
            Event::Status(status) => assert_eq!(status, 0, "{}", String::from_utf8_lossy(&reply)),
            Event::Bytes(Part::Object, bytes) => body.extend_from_slice(bytes),
            _ => {}
        }
    }
    if version.compressed() {
        let compressed = std::mem::take(&mut body);
        lzo::decompress(&compressed, &mut body, limits::BODY as usize).unwrap();
    }
    assert!(body == payload.object, "the object of {:?} is a different one", server.kind);
    reply.len()
}

/// Kilobytes.
struct Memory {
    idle: u64,
    peak: u64,
    after: u64,
}

fn memory(workspace: &Workspace, stub: &Stub, kind: Kind, payload: &Payload) -> Memory {
    stub.make(&payload.object);
    let server = Server::start(workspace, kind, &stub.path());
    thread::sleep(Duration::from_millis(300));
    let idle = server.pss();
    let request = peer::request(Version::Lzo, &["gcc", "-c", "x.c", "-o", "x.o"], &payload.source);
    let (running, mut peak) = (AtomicBool::new(true), 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            // Often enough that the sampling meets the worst moment.
            for _ in 0..20 {
                thread::scope(|four| {
                    for _ in 0..4 {
                        four.spawn(|| exchange(server.port, &request, &mut vec![0; 128 * 1024]));
                    }
                });
            }
            running.store(false, Ordering::Relaxed);
        });
        while running.load(Ordering::Relaxed) {
            peak = peak.max(server.pss());
        }
    });
    // What the next job could have used is kept for a second.
    thread::sleep(Duration::from_millis(1500));
    Memory { idle, peak, after: server.pss() }
}

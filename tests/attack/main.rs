//! Hostile requests by the thousand, with good jobs between them: the daemon has to be as before, afterwards.
//!
//! A short run is part of `cargo test`; `make attack COUNT=1000000` is the long one. What it found is printed at its end.

// Figures for people; a closed pipe may end it.
#![allow(clippy::disallowed_macros)]

#[path = "../util/mod.rs"]
mod util;

mod arsenal;
mod assault;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use arsenal::{Arsenal, STUB};
use assault::Attacker;
use distcc::wire::Version;
use util::net::connect_from;
use util::peer::{object_of, request};
use util::{
    Daemon, Random, Workspace, all_processes, children, explain, field, free_port, processes_of, stub,
    wait_until,
};

/// The short run's.
const COUNT: usize = 20_000;
const ATTACKERS: usize = 4;
const SEED: u64 = 42;
/// The share of the streams after which memory has to stay where it is: one in so many.
const WARM_UP: usize = 10;
/// What a worker opens for its first large job and keeps: a pipe.
const KEPT_DESCRIPTORS: usize = 2;
/// Kilobytes that a worker keeps once it has had a job so large: a buffer.
const KEPT_BUFFER: u64 = 1100;
/// Between two good jobs of one thread.
const BREAK: Duration = Duration::from_millis(10);

fn main() {
    let Some(count) = count() else { return };
    let begun = Instant::now();
    let workspace = Workspace::new("siege");
    let stats_port = free_port();
    let daemon = start(&workspace, stats_port);
    let arsenal = Arsenal::new(&workspace);
    let good = GoodJobs::new(&workspace, &daemon);
    daemon.wait_for_jobs("COMPILE_OK", 1);
    // A worker keeps a job's workplace for the next one for a while.
    workspace.assert_clean();
    thread::sleep(Duration::from_millis(300));
    let workers = children(daemon.pid());
    let idle = Idle::of(&daemon);

    let rounds = [0..count / WARM_UP, count / WARM_UP..count];
    let (mut memory, mut descriptors) = (Vec::new(), Vec::new());
    let mut served = Vec::new();
    for round in rounds {
        let attacking = AtomicBool::new(true);
        thread::scope(|scope| {
            let jobs = scope.spawn(|| good.serve_while(&attacking));
            let watch = scope.spawn(|| watch(&daemon, &attacking));
            attack(&arsenal, daemon.port, stats_port, round);
            attacking.store(false, Ordering::Relaxed);
            served.extend(jobs.join().unwrap());
            let peak = watch.join().unwrap();
            settle(&workspace, &daemon, &idle);
            memory.push((peak, pss(&daemon), anonymous(&daemon)));
            descriptors.push(Idle::of(&daemon).descriptors);
        });
    }

    let log = fs::metadata(daemon.log_path()).unwrap().len();
    assert_eq!(children(daemon.pid()), workers, "a worker has died:\n{}", tail(&daemon.log()));
    let text = String::from_utf8(http(stats_port, "/metrics")).unwrap();
    assert!(text.contains("distccd_worker_restarts_total 0\n"), "{text}");
    for escaped in ["distcc-attack-escape.c", "distcc-attack-escape.h"] {
        assert!(
            !std::env::temp_dir().join(escaped).exists(),
            "a file was written outside its job: {escaped}"
        );
    }
    let [(_, warm, before), (peak, end, after)] = memory[..] else { unreachable!() };
    let mut times: Vec<Duration> = served.iter().map(|job| job.time).collect();
    times.sort();
    let seconds = begun.elapsed().as_secs_f64();
    println!("hostile streams       {count} in {seconds:.0} s, seed {SEED}");
    println!("good jobs between     {} right, 0 wrong", served.len());
    println!(
        "  their time          median {:.1} ms, 99 % within {:.1} ms, longest {:.1} ms",
        millis(times[times.len() / 2]),
        millis(times[times.len() * 99 / 100]),
        millis(times[times.len() - 1])
    );
    println!(
        "memory (PSS, all)     {} kB idle, {warm} kB after a tenth, {end} kB after all, {peak} kB at most",
        idle.pss
    );
    println!("workers restarted     0 of {}", workers.len());
    println!(
        "descriptors           {:?} idle, {:?} after a tenth and after all",
        idle.descriptors, descriptors[1]
    );
    println!("left processes, zombies, files: none");
    println!("log                   {} kB", log / 1024);
    for line in
        text.lines().filter(|line| line.starts_with("distccd_jobs_total") || line.starts_with("distccd_conn"))
    {
        println!("  {line}");
    }
    // What it shares with other processes of the same program changes with them.
    println!("  its own             {before} kB after a tenth, {after} kB after all");
    let most = before + KEPT_BUFFER * workers.len() as u64;
    assert!(after <= most, "memory grows: {before} kB, then {after} kB");
    daemon.stop();
}

/// How many streams; nothing if cargo's arguments mean other tests.
fn count() -> Option<usize> {
    let mut count = COUNT;
    for arg in std::env::args().skip(1) {
        match arg.strip_prefix("--count=") {
            Some(number) => count = number.parse().expect("--count=NUMBER"),
            // The name of a test, or of a part of one.
            None if !arg.starts_with('-') && !"attack".contains(&arg) => return None,
            None if matches!(arg.as_str(), "--list" | "--ignored" | "--bench") => return None,
            None => {}
        }
    }
    Some(count)
}

/// With the stub in front of the compilers, and the real one as `cc`.
fn start(workspace: &Workspace, stats_port: u16) -> Daemon {
    fs::create_dir(workspace.path("servers")).unwrap();
    for name in [STUB, "x86_64-linux-gnu-gcc", "aarch64-linux-gnu-gcc"] {
        workspace.script(&format!("masquerade/{name}"), "");
        stub::build(workspace, &workspace.path("servers").join(name), None);
    }
    let mut command = workspace.command(workspace.path("bin/distccd"));
    command.args(["--daemon", "--no-detach", "--log-stderr", "--log-level", "notice", "--nice", "0"]);
    command.args(["--listen", "127.0.0.1", "--port", "0", "--jobs", "4", "--stats", "--stats-port"]);
    command.arg(stats_port.to_string()).arg("--masquerade-dir").arg(workspace.path("masquerade"));
    command.env("PATH", format!("{}:/usr/bin:/bin", workspace.path("servers").display()));
    Daemon::start(workspace, &mut command)
}

fn attack(arsenal: &Arsenal, port: u16, stats_port: u16, numbers: std::ops::Range<usize>) {
    let (first, next) = (numbers.start, AtomicUsize::new(numbers.start));
    thread::scope(|scope| {
        for attacker in 0..ATTACKERS {
            let (next, end) = (&next, numbers.end);
            scope.spawn(move || {
                let seed = SEED + (first * ATTACKERS + attacker) as u64;
                let mut attacker = Attacker::new(arsenal, seed, port, stats_port);
                loop {
                    match next.fetch_add(1, Ordering::Relaxed) {
                        number if number < end => attacker.strike(number),
                        _ => return,
                    }
                }
            });
        }
    });
}

/// The most memory seen.
fn watch(daemon: &Daemon, attacking: &AtomicBool) -> u64 {
    let mut most = 0;
    while attacking.load(Ordering::Relaxed) {
        most = most.max(pss(daemon));
        thread::sleep(Duration::from_millis(50));
    }
    most
}

/// Waits until nothing of the attack is left: files, compilers, connections.
fn settle(workspace: &Workspace, daemon: &Daemon, idle: &Idle) {
    wait_until("the jobs' directories have gone", || workspace.leftovers().is_empty());
    let most: Vec<usize> = idle.descriptors.iter().map(|count| count + KEPT_DESCRIPTORS).collect();
    wait_until("the descriptors are closed", || {
        Idle::of(daemon).descriptors.iter().zip(&most).all(|(count, most)| count <= most)
    });
    let daemons = daemon.processes();
    let is_other = |line: &String| !daemons.iter().any(|pid| line.starts_with(&format!("{pid}:")));
    wait_until("only the daemon is left", || !processes_of(workspace).iter().any(is_other));
    let zombies = all_processes().into_iter().filter(|(_, parent)| daemons[1..].contains(parent)).count();
    assert_eq!(zombies, 0, "children of workers are left");
    // Freed memory goes back with the last turn of a worker's loop.
    thread::sleep(Duration::from_millis(300));
}

/// What a daemon without clients has.
#[derive(Debug, PartialEq)]
struct Idle {
    /// Of the supervisor and the workers, in the order of their pids.
    descriptors: Vec<usize>,
    pss: u64,
}

impl Idle {
    fn of(daemon: &Daemon) -> Idle {
        let count = |pid| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        let mut processes = daemon.processes();
        processes.sort();
        Idle { descriptors: processes.into_iter().map(count).collect(), pss: pss(daemon) }
    }
}

/// Kilobytes.
fn pss(daemon: &Daemon) -> u64 {
    daemon.processes().into_iter().map(|pid| field(pid, "smaps_rollup", "Pss:")).sum()
}

/// Kilobytes that are in no file.
fn anonymous(daemon: &Daemon) -> u64 {
    daemon.processes().into_iter().map(|pid| field(pid, "status", "RssAnon:")).sum()
}

/// Jobs whose results are known.
struct GoodJobs<'a> {
    workspace: &'a Workspace,
    port: u16,
    host: String,
    /// What the compiler makes here of `good.c`.
    object: Vec<u8>,
}

struct Served {
    time: Duration,
}

impl<'a> GoodJobs<'a> {
    fn new(workspace: &'a Workspace, daemon: &Daemon) -> GoodJobs<'a> {
        workspace.write("good.c", "#include <stdio.h>\nint main(void) { return puts(\"good\"); }\n");
        let output = workspace.command("cc").args(["-O2", "-c", "good.c", "-o", "local.o"]).output().unwrap();
        assert!(output.status.success(), "{}", explain(&output));
        let object = fs::read(workspace.work().join("local.o")).unwrap();
        let good = GoodJobs { workspace, port: daemon.port, host: daemon.host(), object };
        good.with_client();
        good
    }

    fn serve_while(&self, attacking: &AtomicBool) -> Vec<Served> {
        let mut random = Random::new(7);
        let (mut served, mut clients) = (Vec::new(), 0);
        while attacking.load(Ordering::Relaxed) {
            served.push(self.with_bytes(&mut random));
            // A compiler costs a hundred stubs.
            if served.len() % 50 == 1 && clients < 500 {
                self.with_client();
                clients += 1;
            }
            thread::sleep(BREAK);
        }
        eprintln!("{clients} of the good jobs with our client and the real compiler");
        served
    }

    /// A real client, a real compiler, and no way out.
    fn with_client(&self) {
        let object = self.workspace.work().join("remote.o");
        let _ = fs::remove_file(&object);
        let mut client = self.workspace.distcc(&self.host);
        client.env("DISTCC_FALLBACK", "0").env("DISTCC_NO_REWRITE_CROSS", "1");
        client.args(["cc", "-O2", "-c", "good.c", "-o", "remote.o"]);
        let output = client.output().unwrap();
        assert!(output.status.success(), "{}", explain(&output));
        assert!(fs::read(&object).unwrap() == self.object, "the object is a different one");
    }

    /// Bytes for the stub, which makes an object equal to its source.
    fn with_bytes(&self, random: &mut Random) -> Served {
        let version = *random.of(&[Version::Plain, Version::Lzo]);
        let source: Vec<u8> = match random.below(10) {
            0 => random.bytes(1 << 20),
            _ => b"int good;\n".repeat(random.below(2000)),
        };
        let bytes = request(version, &[STUB, "-c", "a.c", "-o", "a.o"], &source);
        let begun = Instant::now();
        let mut stream = connect_from(Ipv4Addr::LOCALHOST, self.port, None).unwrap();
        stream.write_all(&bytes).expect("a good job is taken");
        let mut reply = Vec::new();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.read_to_end(&mut reply).expect("a good job is answered");
        let time = begun.elapsed();
        let object = object_of(version, &reply);
        assert!(
            object == Some(source),
            "not the right object: {}",
            reply[..reply.len().min(400)].escape_ascii()
        );
        Served { time }
    }
}

fn http(port: u16, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    reply
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(50)..].join("\n")
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

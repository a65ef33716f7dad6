//! System calls per job, of clients and of daemons without their compilers, and the size of the programs.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use distcc::wire::Version;

use crate::project;
use crate::rig::must;
use crate::servers::Server;
use crate::util::{self, Kind, OURS, Workspace, peer, signal_pid, wait_until};

/// What clients are asked, and what follows the host's address.
const JOBS: [(&str, &str, &str); 5] = [
    ("client, remote, .i, plain", "gcc -c a.i -o a.o", ""),
    ("client, remote, .i, lzo", "gcc -c a.i -o a.o", ",lzo"),
    ("client, remote, .c, plain", "gcc -c a.c -o a.o", ""),
    ("client, local", "gcc -E a.c -o b.i", ""),
    ("client, --version", "--version", ""),
];

/// Jobs that a daemon is watched with.
const COUNT: usize = 20;

/// Prints both tables.
pub fn report(workspace: &Workspace) {
    let size = |path: &Path| fs::metadata(fs::canonicalize(path).unwrap()).unwrap().len() / 1024;
    let stock = ["distcc", "distccd", "lsdistcc", "distccmon-text"]
        .map(|name| size(&Path::new("/usr/bin").join(name)).to_string());
    println!(
        "\nsize of this build, KiB: {}; stock, client, server, two tools, without libraries and Python: {}",
        size(Path::new(OURS)),
        stock.join(" + ")
    );
    if !util::tool("strace") {
        return;
    }
    println!("\nsystem calls per job               ours   stock  ratio   most of ours");
    workspace.write("a.c", "int f(int x) { return x + 1; }\n");
    must(workspace.command("gcc").args(["-E", "a.c", "-o", "a.i"]));
    let path = "/usr/bin:/bin";
    let servers = [Kind::Ours, Kind::Stock].map(|kind| Server::start(workspace, kind, path));
    for (label, words, options) in JOBS {
        let traces = servers.each_ref().map(|server| {
            let host = format!("127.0.0.1:{}{options}", servers[0].port);
            let mut command = workspace.command("strace");
            command.env("PATH", path).env("DISTCC_HOSTS", host).env("DISTCC_FALLBACK", "0");
            command.args(["-o", "trace"]).arg(project::client(workspace, server.kind)).args(words.split(' '));
            // What is kept from one job to the next is there from the second on.
            for _ in 0..2 {
                must(command.stdout(Stdio::null()));
            }
            names(&fs::read_to_string(workspace.work().join("trace")).unwrap())
        });
        row(label, &traces, 1);
    }
    for (label, version) in [("daemon, plain", Version::Plain), ("daemon, lzo", Version::Lzo)] {
        row(label, &servers.each_ref().map(|server| watch(workspace, server, version)), COUNT);
    }
}

/// What a daemon calls for [`COUNT`] jobs of an instant compiler, supervisor and workers together.
fn watch(workspace: &Workspace, server: &Server, version: Version) -> Vec<String> {
    let source = fs::read(workspace.work().join("a.i")).unwrap();
    let request = peer::request(version, &["gcc", "-c", "a.i", "-o", "a.o"], &source);
    let job = || {
        let reply = peer::exchange(server.port, &request, false).expect("an answer");
        assert!(peer::object_of(version, &reply).is_some(), "a job of {:?} failed", server.kind);
    };
    (0..3).for_each(|_| job());
    let log = fs::File::create(workspace.path("strace.log")).unwrap();
    let trace = workspace.path("trace");
    let mut command = Command::new("strace");
    command.arg("-o").arg(&trace).stdin(Stdio::null()).stderr(log);
    let processes = server.processes();
    for pid in &processes {
        command.arg("-p").arg(pid.to_string());
    }
    let mut strace = command.spawn().unwrap();
    let attached = || fs::read_to_string(workspace.path("strace.log")).unwrap().matches("attached").count();
    wait_until("strace has attached", || attached() == processes.len());
    (0..COUNT).for_each(|_| job());
    // Daemons clean up after they have answered.
    thread::sleep(Duration::from_millis(200));
    signal_pid(strace.id(), 15);
    let _ = strace.wait();
    names(&fs::read_to_string(trace).unwrap())
}

/// The calls of a trace by name, up to the next program.
fn names(trace: &str) -> Vec<String> {
    let mut calls = Vec::new();
    for line in trace.lines() {
        // With several processes, each line begins with whose it is.
        let line = line.trim_start_matches(|character: char| character.is_ascii_digit() || character == ' ');
        let Some((name, _)) = line.split_once('(') else { continue };
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            continue;
        }
        if name == "execve" && !calls.is_empty() {
            break;
        }
        calls.push(name.to_owned());
    }
    calls
}

fn row(label: &str, [ours, stock]: &[Vec<String>; 2], jobs: usize) {
    let mut counts: Vec<(usize, &str)> = Vec::new();
    for name in ours {
        match counts.iter_mut().find(|(_, known)| known == name) {
            Some((count, _)) => *count += 1,
            None => counts.push((1, name)),
        }
    }
    counts.sort_unstable_by(|left, right| right.cmp(left));
    let per_job = |count: usize| count as f64 / jobs as f64;
    let most: Vec<String> =
        counts.iter().take(6).map(|(count, name)| format!("{name} {:.0}", per_job(*count))).collect();
    println!(
        "{label:30} {:8.0} {:7.0} {:6.2}   {}",
        per_job(ours.len()),
        per_job(stock.len()),
        ours.len() as f64 / stock.len() as f64,
        most.join(", ")
    );
}

//! A thousand clients that wait for one slot: how long it is free before the next of them reaches the server, and what
//! waiting takes.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use distcc::sys::lock::{self, Range};
use distcc::wire::Version;
use distcc::wire::reply::{self, Part};
use distcc::wire::request::{Decoder, Event};

use crate::rig::{cpu_of, goal};
use crate::util::{Kind, Random, Workspace, signal_pid};

const WAITERS: usize = 1000;
/// How often the slot is freed.
const TIMES: usize = 100;
/// Until then the last of them waits as well.
const SETTLED: Duration = Duration::from_secs(5);
/// How long waiting is looked at.
const WATCHED: Duration = Duration::from_secs(10);
/// What a job takes on the server: time enough to queue for its slot here.
const JOB: Duration = Duration::from_millis(30);

/// Prints a row for each kind of client, and the goals.
pub fn report(workspace: &Workspace, kinds: [Kind; 2]) {
    println!(
        "\n{WAITERS} clients wait for one slot: ms from its being freed to the next one's connection, {TIMES} times; and what all take\n\
         of a processor meanwhile\n"
    );
    println!("         median    95 %   worst   waiting, %");
    for kind in kinds {
        let (mut times, cpu) = measure(workspace, kind);
        times.sort_by(f64::total_cmp);
        let at = |part: usize| times[(times.len() - 1) * part / 100];
        println!(
            "{:6}  {:7.2} {:7.2} {:7.2}   {:10.3}",
            format!("{kind:?}"),
            at(50),
            at(95),
            at(100),
            cpu * 100.0
        );
        if matches!(kind, Kind::Ours) {
            goal(
                "a freed slot is taken within 10 ms, 95 of 100 times",
                at(95) <= 10.0,
                &format!("{:.2}", at(95)),
            );
            goal("waiting takes at most 1 % of a processor", cpu <= 0.01, &format!("{:.3} %", cpu * 100.0));
        }
    }
}

/// Milliseconds for each time; processors' share that all waiters take.
fn measure(workspace: &Workspace, kind: Kind) -> (Vec<f64>, f64) {
    workspace.write("a.i", "# 1 \"a.c\"\nint x;\n");
    let (port, arrivals) = server();
    let slot = workspace.path("top/lock").join(format!("cpu_tcp_127.0.0.1_{port}_0"));
    std::fs::create_dir_all(workspace.path("top/lock")).unwrap();
    let mut held = hold(&slot);
    let waiters: Vec<Child> = (0..WAITERS).map(|at| waiter(workspace, kind, port, at)).collect();
    let cpu = || waiters.iter().map(|waiter| cpu_of(waiter.id())).sum::<f64>() / 1e9;
    thread::sleep(SETTLED);
    let (before, begun) = (cpu(), Instant::now());
    thread::sleep(WATCHED);
    let share = (cpu() - before) / begun.elapsed().as_secs_f64();
    let mut random = Random::new(1);
    let times = (0..TIMES).map(|_| {
        // At any point of time between two looks of whoever looks.
        thread::sleep(Duration::from_micros(random.below(5000) as u64));
        while arrivals.try_recv().is_ok() {}
        let freed = Instant::now();
        drop(held.take());
        // What is early on 32-bit processors is only when it gives up.
        #[allow(clippy::disallowed_methods)]
        let arrived = arrivals.recv_timeout(Duration::from_secs(60)).expect("a client takes the slot");
        held = hold(&slot);
        (arrived - freed).as_secs_f64() * 1e3
    });
    let times = times.collect();
    waiters.iter().for_each(|waiter| signal_pid(waiter.id(), 15));
    drop(held);
    for mut waiter in waiters {
        waiter.wait().unwrap();
    }
    (times, share)
}

/// Takes the slot as a client does, once whoever has it is done.
fn hold(slot: &Path) -> Option<File> {
    let file = File::options().write(true).create(true).truncate(false).open(slot).unwrap();
    lock::wait_lock(&file, Range::Whole).unwrap();
    Some(file)
}

fn waiter(workspace: &Workspace, kind: Kind, port: u16, at: usize) -> Child {
    let mut client = workspace.client(kind, &format!("127.0.0.1:{port}/1"));
    client.env("DISTCC_FALLBACK", "0").env("DISTCC_CHECK_COMPILER", "off").env("PATH", "/usr/bin:/bin");
    client.args(["gcc", "-c", "a.i", "-o"]).arg(PathBuf::from(format!("{at}.o")));
    client.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Its port, and when each client came.
fn server() -> (u16, Receiver<Instant>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, arrivals) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            serve(stream.unwrap(), &sender);
        }
    });
    (port, arrivals)
}

fn serve(mut stream: TcpStream, arrivals: &Sender<Instant>) {
    // The measurement may be over.
    let _ = arrivals.send(Instant::now());
    let (mut decoder, mut buffer) = (Decoder::new(), [0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        let mut input = &buffer[..count];
        while let Some(event) = decoder.next(&mut input).unwrap() {
            if event == Event::End {
                thread::sleep(JOB);
                let mut answer = Vec::new();
                reply::encode_start(Version::Plain, 0, &mut answer);
                for (part, len) in [(Part::Stderr, 0), (Part::Stdout, 0), (Part::Object, 6)] {
                    reply::encode_part(part, len, &mut answer);
                }
                answer.extend_from_slice(b"object");
                let _ = stream.write_all(&answer);
                return;
            }
        }
    }
}

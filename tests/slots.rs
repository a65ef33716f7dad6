use std::fs;
use std::io::Write;
use std::process::Child;
use std::time::{Duration, Instant};

use crate::util::peer::FakeServer;
use crate::util::*;

/// 200 clients on 4 slots: no pauses, never more than 4 at once, and the server is never idle for long.
///
/// Measured at the server: the time between the end of one job on a slot and the start of the next. Each job
/// holds its slot for 20 ms.
#[test]
fn a_freed_slot_is_taken_at_once() {
    let _alone = crate::alone();
    const JOBS: usize = 200;
    let workspace = Workspace::new("slots");
    // Already preprocessed: no compiler runs on this side, which measures our clients and not gcc.
    workspace.write("a.i", "# 1 \"a.c\"\nint x;\n");
    let (sender, times) = std::sync::mpsc::channel();
    let server = parallel_server(sender);
    let jobs: Vec<Child> = (0..JOBS)
        .map(|at| {
            workspace
                .distcc(&format!("127.0.0.1:{server}/4"))
                .env("DISTCC_CHECK_COMPILER", "off")
                .args(["gcc", "-c", "a.i", "-o", &format!("{at}.o")])
                .spawn()
                .unwrap()
        })
        .collect();
    for mut job in jobs {
        assert!(job.wait().unwrap().success());
    }
    let mut spans: Vec<(Instant, Instant)> = times.try_iter().collect();
    assert_eq!(spans.len(), JOBS, "every job was done remotely");
    spans.sort();
    let mut gaps = Vec::new();
    let mut ends: Vec<Instant> = Vec::new();
    for (start, end) in spans {
        if ends.len() == 4 {
            // The slot that has been free for the longest is the one that was taken.
            ends.sort();
            let freed = ends.remove(0);
            assert!(start >= freed, "more than 4 jobs at once");
            gaps.push(start - freed);
        }
        ends.push(end);
    }
    gaps.sort();
    let (median, most) = (gaps[gaps.len() / 2], gaps[gaps.len() * 95 / 100]);
    eprintln!(
        "a freed slot was taken after {median:?} (median), {most:?} (95 %), {:?} (worst)",
        gaps.last().unwrap()
    );
    assert!(median < Duration::from_millis(10), "median {median:?}");
    assert!(*gaps.last().unwrap() < Duration::from_millis(500), "a pause: {gaps:?}");
    workspace.assert_clean();
}

/// A server with a thread per connection, which holds each job for 20 ms and reports from when to when it had
/// it.
fn parallel_server(times: std::sync::mpsc::Sender<(Instant, Instant)>) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, times) = (stream.unwrap(), times.clone());
            std::thread::spawn(move || {
                let start = Instant::now();
                if crate::util::peer::read_request(&mut stream).is_some() {
                    std::thread::sleep(Duration::from_millis(20));
                    let end = Instant::now();
                    let reply = b"DONE00000001STAT00000000SERR00000000SOUT00000000DOTO00000003OBJ";
                    stream.write_all(reply).unwrap();
                    times.send((start, end)).unwrap();
                }
            });
        }
    });
    port
}

/// Slots are taken breadth first, with stock's lock files, and stock's locks count.
#[test]
fn stock_and_our_clients_share_the_slots() {
    let _alone = crate::alone();
    if stock("distcc").is_none() {
        return;
    }
    let workspace = Workspace::new("shared");
    workspace.write("a.i", "# 1 \"a.c\"\nint x;\n");
    let server = FakeServer::new(|_, stream| {
        std::thread::sleep(Duration::from_millis(700));
        stream.write_all(b"DONE00000001STAT00000000SERR00000000SOUT00000000DOTO00000003OBJ").unwrap();
    });
    let hosts = format!("127.0.0.1:{}/1", server.port);
    let start = Instant::now();
    let mut theirs =
        workspace.client(Kind::Stock, &hosts).args(["gcc", "-c", "a.i", "-o", "theirs.o"]).spawn().unwrap();
    let lock = workspace.path(&format!("top/lock/cpu_tcp_127.0.0.1_{}_0", server.port));
    wait_until("stock has taken the slot", || lock.exists());
    std::thread::sleep(Duration::from_millis(100));
    let mut ours = workspace
        .distcc(&hosts)
        .env("DISTCC_CHECK_COMPILER", "off")
        .args(["gcc", "-c", "a.i", "-o", "ours.o"])
        .spawn()
        .unwrap();
    assert!(theirs.wait().unwrap().success());
    let freed = start.elapsed();
    assert!(ours.wait().unwrap().success());
    // One after the other: the second took its whole time after the first had ended, and no second of polling
    // besides.
    let second = start.elapsed() - freed;
    assert!(second >= Duration::from_millis(650), "they ran at the same time: {second:?}");
    assert!(second < Duration::from_millis(1500), "a freed slot of stock's was noticed late: {second:?}");
}

/// Work on this machine has its own limit.
#[test]
fn local_compiles_are_limited() {
    let _alone = crate::alone();
    let workspace = Workspace::new("local");
    // The compiler counts how many of it run: each holds a listening socket in a directory for a while.
    workspace.script(
        "bin/slowcc",
        "#!/bin/sh\nmkdir \"$COUNT/$$\"; ls \"$COUNT\" | wc -l >> \"$COUNT.seen\"; sleep 0.1; rmdir \"$COUNT/$$\"\n",
    );
    let count = workspace.path("count");
    fs::create_dir(&count).unwrap();
    let path = format!("{}:/usr/bin:/bin", workspace.path("bin").display());
    let jobs: Vec<Child> = (0..12)
        .map(|_| {
            workspace
                .distcc("--localslots=3 a.invalid")
                .env("PATH", &path)
                .env("COUNT", &count)
                .args(["slowcc", "a.o", "-o", "program"])
                .spawn()
                .unwrap()
        })
        .collect();
    for mut job in jobs {
        assert!(job.wait().unwrap().success());
    }
    let seen = fs::read_to_string(workspace.path("count.seen")).unwrap();
    let most = seen.lines().map(|line| line.trim().parse::<u32>().unwrap()).max().unwrap();
    assert_eq!(most, 3, "at once: {seen:?}");
}

/// A slot's lock dies with its client, however that ends.
#[test]
fn a_killed_client_frees_its_slot() {
    let _alone = crate::alone();
    let workspace = Workspace::new("freed");
    workspace.write("a.i", "# 1 \"a.c\"\nint x;\n");
    let hangs = FakeServer::raw(|_| std::thread::sleep(Duration::from_secs(20)));
    let hung = format!("{}/1", hangs.host());
    let mut first = workspace.distcc(&hung).args(["gcc", "-c", "a.i", "-o", "1.o"]).spawn().unwrap();
    let lock = workspace.path(&format!("top/lock/cpu_tcp_127.0.0.1_{}_0", hangs.port));
    wait_until("the first client has the slot", || lock.exists());
    let mut second = workspace
        .distcc(&hung)
        .env("DISTCC_IO_TIMEOUT", "1")
        .args(["gcc", "-c", "a.i", "-o", "2.o"])
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert!(second.try_wait().unwrap().is_none(), "the second client waits");
    first.kill().unwrap();
    first.wait().unwrap();
    let start = Instant::now();
    assert!(second.wait().unwrap().success());
    assert!(start.elapsed() < Duration::from_secs(4), "it waited for more than the freed slot");
}

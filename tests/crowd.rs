//! Many connections that do nothing, and one that has a job.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use distcc::sys::process::raise_file_limit;
use distcc::wire::Version;

use crate::util::net::{connect_from, loopback};
use crate::util::peer::request;
use crate::util::*;

/// What a job may take longer because of the crowd.
const ADDED: Duration = Duration::from_millis(20);
/// How long a stock daemon gets to show that it does not serve; one waits much longer in vain.
const STOCK_PATIENCE: Duration = Duration::from_secs(3);

/// The time of a small job, or `None` if there is no answer in time.
fn job(port: u16, patience: Duration) -> Option<Duration> {
    let begun = Instant::now();
    let mut stream = connect_from(Ipv4Addr::LOCALHOST, port, None).unwrap();
    stream.set_read_timeout(Some(patience)).unwrap();
    stream.write_all(&request(Version::Plain, &["gcc", "-c", "a.c"], b"int x;\n")).unwrap();
    let mut reply = Vec::new();
    match stream.read_to_end(&mut reply) {
        Ok(_) => {
            assert!(reply.starts_with(b"DONE00000001STAT00000000"), "{}", reply.escape_ascii());
            Some(begun.elapsed())
        }
        Err(e) => {
            assert!(matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{e}");
            None
        }
    }
}

/// From many addresses, every other with the start of a request.
fn crowd(port: u16, count: usize) -> Vec<TcpStream> {
    (0..count)
        .map(|number| {
            let mut stream = connect_from(loopback(number), port, None).unwrap();
            if number % 2 == 1 {
                // Who is refused notices it here.
                let _ = stream.write_all(b"DIST00000001ARGC00000005ARGV00000003gccARGV");
            }
            stream
        })
        .collect()
}

#[test]
fn five_hundred_silent_and_five_hundred_half_sent_requests_delay_nobody() {
    let _alone = crate::alone();
    raise_file_limit();
    let workspace = Workspace::new("crowd");
    let options = ["--jobs", "4"];
    let (idle, crowded) = (Daemon::ours(&workspace, &options), Daemon::ours(&workspace, &options));
    let waiting = crowd(crowded.port, 1000);
    let serve = |daemon: &Daemon| job(daemon.port, Duration::from_secs(20)).expect("an answer");
    // The first job of a daemon has more to do.
    for daemon in [&idle, &crowded] {
        serve(daemon);
    }
    let mut times: [Vec<Duration>; 2] = Default::default();
    for _ in 0..15 {
        times[0].push(serve(&idle));
        times[1].push(serve(&crowded));
    }
    let [without, with] = times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    });
    eprintln!("a job takes {without:?} alone and {with:?} among {} waiting clients", waiting.len());
    assert!(with <= without + ADDED, "{without:?} alone, {with:?} in the crowd");
    let Some(stock) = Daemon::stock(&workspace, &["--jobs", "4", "--allow", "127.0.0.0/8"]) else { return };
    let begun = Instant::now();
    let _waiting = crowd(stock.port, 100);
    assert_eq!(job(stock.port, STOCK_PATIENCE), None, "a stock daemon serves nobody then");
    eprintln!("STOCK: no answer among a tenth of them after {:?}, and none would come", begun.elapsed());
}

#[test]
fn five_thousand_connections_are_refused_or_wait() {
    let _alone = crate::alone();
    raise_file_limit();
    let workspace = Workspace::new("thousands");
    let daemon = Daemon::ours(&workspace, &["--jobs", "4", "--log-level", "notice"]);
    wait_until("there are workers", || !children(daemon.pid()).is_empty());
    let workers = children(daemon.pid());
    let waiting = crowd(daemon.port, 5000);
    assert!(job(daemon.port, Duration::from_secs(20)).is_some());
    assert_eq!(children(daemon.pid()), workers);
    drop(waiting);
    assert!(job(daemon.port, Duration::from_secs(20)).is_some());
    workspace.assert_clean();
    daemon.stop();
}

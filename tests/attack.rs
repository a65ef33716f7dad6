use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use distcc::wire::Version;

use crate::util::peer::{exchange, request};
use crate::util::*;

/// Enough of a generator to make the same attack twice (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

/// A good job gets its object, whatever else goes on.
fn serve(workspace: &Workspace, daemon: &Daemon) {
    workspace.write("good.c", "int x;\n");
    let before = daemon.jobs("COMPILE_OK");
    succeed(workspace.distcc(&daemon.host()).env("DISTCC_FALLBACK", "0").args(["gcc", "-c", "good.c"]));
    wait_until("the job's line is written", || daemon.jobs("COMPILE_OK") > before);
}

#[test]
fn each_bad_input_gets_its_log_line_and_costs_only_its_connection() {
    let workspace = Workspace::new("bad");
    let daemon = Daemon::ours(&workspace, &["--jobs", "2"]);
    let head = b"DIST00000001ARGC00000003ARGV00000003gccARGV00000002-cARGV00000003a.c";
    let with = |tail: &[u8]| [&head[..], tail].concat();
    let mut corrupt = request(Version::Lzo, &["gcc", "-c", "a.c"], &b"int x;\n".repeat(50));
    let len = corrupt.len();
    corrupt[len - 3] ^= 0x55;
    let bomb = {
        let zeros = request(Version::Lzo, &["gcc", "-c", "a.c"], &vec![b' '; 64 << 20]);
        assert!(zeros.len() < 1 << 20, "{}", zeros.len());
        zeros
    };
    for (name, bytes, close, line, answered) in [
        ("an unknown version", b"DIST00000004".to_vec(), false, "protocol version 4 does not exist", false),
        (
            "version 3 with another token",
            b"DIST00000003ARGC00000001".to_vec(),
            false,
            "expected the token CDIR",
            true,
        ),
        ("version 0", b"DIST00000000".to_vec(), false, "protocol version 0", false),
        ("another protocol", b"GET / HTTP/1.0\r\n\r\n".to_vec(), false, "expected the token DIST", false),
        ("a bad number", b"DIST00000001ARGC0000000z".to_vec(), false, "is not a number", true),
        ("no arguments", b"DIST00000001ARGC00000000DOTI00000000".to_vec(), false, "ARGC is 0", true),
        ("2^31 arguments", b"DIST00000001ARGC80000000".to_vec(), false, "ARGC asks for 2147483648", true),
        (
            "a huge argument",
            b"DIST00000001ARGC00000001ARGVffffffff".to_vec(),
            false,
            "ARGV asks for 4294967295",
            true,
        ),
        ("a NUL in an argument", b"DIST00000001ARGC00000001ARGV00000006gcc\0zz".to_vec(), false, "NUL", true),
        ("a huge body", with(b"DOTIffffffff"), false, "DOTI asks for 4294967295", true),
        ("a wrong token", with(b"BLOB00000000"), false, "expected the token DOTI", true),
        ("a truncated body", with(b"DOTI00001000int"), true, "closed before DOTI was complete", false),
        (
            "a truncated word",
            b"DIST00000001ARGC00000001ARGV00000008gc".to_vec(),
            true,
            "closed before ARGV",
            false,
        ),
        ("nothing but a start", b"DIST0000".to_vec(), true, "closed before DIST", false),
        ("a corrupt LZO stream", corrupt, false, "the body of DOTI cannot be expanded", true),
        ("64 MB in a few KB", bomb, false, "", true),
    ] {
        let before = daemon.log().len();
        let reply = exchange(daemon.port, &bytes, close).unwrap_or_else(|| panic!("{name}: not closed"));
        assert_eq!(!reply.is_empty(), answered, "{name}: {}", reply.escape_ascii());
        assert!(reply.is_empty() || reply.starts_with(b"DONE0000000"), "{name}");
        wait_until("the log has a line", || daemon.log()[before..].contains("dcc_job_summary"));
        assert!(daemon.log()[before..].contains(line), "{name}: {}", &daemon.log()[before..]);
        if line.is_empty() {
            continue;
        }
        assert!(!daemon.log()[before..].contains("COMPILE_"), "{name}: nothing may have run");
        serve(&workspace, &daemon);
    }
    workspace.assert_clean();
    daemon.stop();
}

#[test]
fn ten_thousand_random_streams_change_nothing() {
    const STREAMS: usize = 10_000;
    let workspace = Workspace::new("random");
    let daemon = Daemon::ours(&workspace, &["--jobs", "2", "--log-level", "notice"]);
    serve(&workspace, &daemon);
    let mut random = Random(42);
    let valid = [
        request(Version::Plain, &["gcc", "-c", "a.c"], b"int x;\n"),
        request(Version::Lzo, &["gcc", "-O2", "-c", "a.c", "-o", "a.o"], &b"int x; ".repeat(100)),
    ];
    let mut attack = |daemon: &Daemon, count: usize| {
        for _ in 0..count {
            let mut bytes: Vec<u8> = match random.below(4) {
                0 => (0..random.below(200)).map(|_| random.below(256) as u8).collect(),
                at => valid[at % 2].clone(),
            };
            for _ in 0..1 + random.below(3) {
                match random.below(3) {
                    _ if bytes.is_empty() => {}
                    0 => bytes.truncate(random.below(bytes.len())),
                    1 => {
                        let at = random.below(bytes.len());
                        bytes[at] = random.below(256) as u8;
                    }
                    _ => {
                        let at = random.below(bytes.len());
                        bytes.insert(at, random.below(256) as u8);
                    }
                }
            }
            let Ok(mut stream) = TcpStream::connect(("127.0.0.1", daemon.port)) else {
                panic!("nobody listens")
            };
            let _ = stream.write_all(&bytes);
            // Some wait for an answer, some close, some close only one side.
            match random.below(3) {
                0 => {}
                1 => {
                    let _ = stream.shutdown(Shutdown::Write);
                }
                _ => {
                    let _ = stream.shutdown(Shutdown::Write);
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
                    let mut reply = Vec::new();
                    let _ = stream.read_to_end(&mut reply);
                }
            }
        }
    };
    attack(&daemon, 1000);
    let workers = children(daemon.pid());
    let settled = daemon.memory();
    for _ in 0..STREAMS / 1000 - 1 {
        attack(&daemon, 1000);
        serve(&workspace, &daemon);
    }
    wait_until("all that was begun has ended", || workspace.leftovers().is_empty());
    assert_eq!(children(daemon.pid()), workers, "no worker has died");
    let memory = daemon.memory();
    eprintln!("memory after 1,000 streams: {settled} kB, after {STREAMS}: {memory} kB");
    assert!(memory < settled + settled / 4 + 512, "memory grows: {settled} kB, then {memory} kB");
    for pid in daemon.processes() {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        assert!(open < 20, "{open} descriptors are open in {pid}");
    }
    let zombies = all_processes().into_iter().filter(|(_, parent)| workers.contains(parent)).count();
    assert_eq!(zombies, 0, "children are left");
    daemon.stop();
}

#[test]
fn a_client_that_takes_no_answer_costs_nobody_else_anything() {
    let workspace = Workspace::new("deaf");
    let daemon = Daemon::ours(&workspace, &["--jobs", "1"]);
    let source = format!("char large[{}] = {{1}};\n", 16 << 20);
    let mut deaf = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
    deaf.write_all(&request(Version::Plain, &["gcc", "-c", "a.c"], source.as_bytes())).unwrap();
    for _ in 0..3 {
        serve(&workspace, &daemon);
    }
    drop(deaf);
    daemon.wait_for_jobs("CLI_DISCONN", 1);
    workspace.assert_clean();
}

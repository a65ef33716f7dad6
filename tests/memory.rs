use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use distcc::wire::{Version, limits};

use crate::util::net::{connect_from, loopback};
use crate::util::peer::{object_of, request};
use crate::util::*;

/// In kilobytes.
const MB: u64 = 1024;

const JOB: [&str; 5] = ["gcc", "-c", "a.c", "-o", "a.o"];

/// As many as there are processors, and no fewer than two.
fn workers(daemon: &Daemon) -> u64 {
    children(daemon.pid()).len() as u64
}

/// Kilobytes that are in no file, of all processes of a daemon.
fn anonymous(daemon: &Daemon) -> u64 {
    daemon.processes().into_iter().map(|pid| field(pid, "status", "RssAnon:")).sum()
}

/// Kilobytes that a daemon takes beside its program: heaps, stacks and files in memory. What the loader changes in the
/// program's own pages, a quarter of a megabyte in a debug build, is not among them.
fn own(daemon: &Daemon) -> u64 {
    let is_own = |mapping: &[&str]| match mapping {
        [_, _, _, _, _, name, ..] => !name.starts_with('/') || name.starts_with("/memfd:"),
        _ => true,
    };
    daemon.processes().into_iter().map(|pid| mapped(pid, "Pss:", is_own)).sum()
}

/// Bytes that nothing makes smaller.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// A compiler that takes no time and makes this object, for daemons of either kind.
fn stub_for(workspace: &Workspace, object: &[u8]) -> PathBuf {
    let path = workspace.path("object");
    fs::write(&path, object).unwrap();
    fs::create_dir(workspace.path("servers")).unwrap();
    stub::build(workspace, &workspace.path("servers/gcc"), Some(&path));
    workspace.path("servers")
}

/// With the stub in front of the compilers.
fn daemon(workspace: &Workspace, kind: Kind, options: &[&str]) -> Option<Daemon> {
    let program = match kind {
        Kind::Ours => workspace.path("bin/distccd"),
        Kind::Stock => stock("distccd")?,
    };
    let port = if kind == Kind::Ours { 0 } else { free_port() };
    let mut command = workspace.command(program);
    command.args(["--daemon", "--no-detach", "--log-stderr", "--log-level", "info", "--nice", "0"]);
    command.args(["--listen", "127.0.0.1", "--allow", "127.0.0.0/8", "--port", &port.to_string()]);
    command.args(options).env("PATH", format!("{}:/usr/bin:/bin", workspace.path("servers").display()));
    let daemon = Daemon::start(workspace, &mut command);
    wait_until("there are workers", || !children(daemon.pid()).is_empty());
    Some(daemon)
}

/// Sends a job and does not read the answer.
fn send(source: Ipv4Addr, port: u16, receive_buffer: Option<i32>, bytes: &[u8]) -> TcpStream {
    let mut stream = connect_from(source, port, receive_buffer).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(bytes).unwrap();
    stream
}

fn rest_of(mut stream: TcpStream) -> Vec<u8> {
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    reply
}

/// Answers for clients that do not take them go to the disk, once there are many.
#[test]
fn large_answers_for_deaf_clients_are_not_all_in_memory() {
    const CLIENTS: u64 = 16;
    let workspace = Workspace::new("deaf");
    let object = noise(10 << 20);
    stub_for(&workspace, &object);
    let daemon = daemon(&workspace, Kind::Ours, &["--jobs", "2"]).unwrap();
    let bytes = request(Version::Lzo, &JOB, b"int x;\n");
    let clients: Vec<TcpStream> = (0..CLIENTS)
        .map(|number| {
            let client = send(loopback(number as usize), daemon.port, Some(4096), &bytes);
            assert_eq!(client.peek(&mut [0]).unwrap(), 1, "the answer has begun");
            client
        })
        .collect();
    // 48 MB of answers each, and what the last one was made in.
    let most = workers(&daemon) * (48 + 24) * MB;
    let all = CLIENTS * 10 * MB;
    assert!(anonymous(&daemon) < most && most < all, "{} kB, {most} at most", anonymous(&daemon));
    let replies: Vec<Vec<u8>> = clients.into_iter().map(rest_of).collect();
    assert!(object_of(Version::Lzo, &replies[0]).is_some_and(|it| it == object), "a wrong object");
    assert!(replies.iter().all(|reply| *reply == replies[0]), "wherever it was");
    daemon.wait_for_jobs("COMPILE_OK", CLIENTS as usize);
    wait_until("the memory is given back", || anonymous(&daemon) < 3000 * (1 + workers(&daemon)));
    workspace.assert_clean();
    daemon.stop();
}

/// Sources that wait for memory wait with nothing on the disk, or all of each would have to go there.
#[test]
fn large_sources_of_a_crowd_are_all_in_memory() {
    const CLIENTS: usize = 40;
    let workspace = Workspace::new("crowd");
    workspace.script(
        "servers/gcc",
        "for word; do case $word in */source.*) readlink \"$word\" >&2 || echo disk >&2;; esac; done\nexit 1",
    );
    let daemon = daemon(&workspace, Kind::Ours, &["--jobs", "2"]).unwrap();
    // Five of them leave no room for the first pieces of many others.
    let source: Vec<u8> =
        fs::read("/usr/include/elf.h").unwrap().into_iter().cycle().take(10_000_000).collect();
    let bytes = request(Version::Plain, &JOB, &source);
    let replies: Vec<Vec<u8>> = thread::scope(|scope| {
        let send = |number| rest_of(send(loopback(number), daemon.port, None, &bytes));
        let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || send(number))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    for reply in &replies {
        let text = String::from_utf8_lossy(reply);
        assert!(text.contains("/proc/self/fd/0") && !text.contains("disk"), "{text}");
    }
    daemon.stop();
}

/// Who stalls in the middle of a long command makes way for others.
#[test]
fn long_commands_of_half_sent_requests_are_not_all_in_memory() {
    const CLIENTS: u64 = 60;
    let workspace = Workspace::new("long-commands");
    stub_for(&workspace, b"OBJ");
    let daemon = daemon(&workspace, Kind::Ours, &["--jobs", "2"]).unwrap();
    let word = vec![b'w'; limits::ARGUMENT as usize];
    let count = (limits::ALL_ARGUMENTS / limits::ARGUMENT) as usize;
    let mut bytes = format!("DIST00000001ARGC{:08x}", count + 1).into_bytes();
    for _ in 0..count {
        bytes.extend_from_slice(format!("ARGV{:08x}", word.len()).as_bytes());
        bytes.extend_from_slice(&word);
    }
    let small = &bytes[..bytes.len() / 1000];
    let waiting = send(loopback(CLIENTS as usize), daemon.port, None, small);
    let mut clients: Vec<TcpStream> =
        (0..CLIENTS).map(|number| send(loopback(number as usize), daemon.port, None, &bytes)).collect();
    // A good one whose command is long, too.
    let defines: Vec<String> = (0..5000).map(|number| format!("-fno-long-name-{number}")).collect();
    let words: Vec<&str> = JOB.into_iter().chain(defines.iter().map(String::as_str)).collect();
    let good = send(Ipv4Addr::LOCALHOST, daemon.port, None, &request(Version::Plain, &words, b"int x;\n"));
    assert_eq!(object_of(Version::Plain, &rest_of(good)).as_deref(), Some(&b"OBJ"[..]));
    wait_until("some have made way", || daemon.log().contains("no memory for such a long command"));
    // 16 MB of commands, as much that is free and kept, and what lies between them.
    let most = workers(&daemon) * (16 + 16 + 4) * MB;
    assert!(anonymous(&daemon) < most, "{} kB, {most} at most", anonymous(&daemon));
    assert!(most < CLIENTS * 2 * MB);
    let reply = rest_of(clients.remove(0));
    let start = b"DONE00000001STAT00007200SERR";
    assert!(reply.starts_with(start), "the first is told that the server is busy: {}", reply.escape_ascii());
    // A short command stays, however long it takes.
    waiting.set_nonblocking(true).unwrap();
    let silence = waiting.peek(&mut [0]).unwrap_err();
    assert_eq!(silence.kind(), std::io::ErrorKind::WouldBlock);
    drop((clients, waiting));
    wait_until("the memory is given back", || anonymous(&daemon) < 3000 * (1 + workers(&daemon)));
    daemon.stop();
}

/// What the daemon has for itself; the release build with its program is measured by `make bench-daemon` and CI.
#[test]
fn memory_is_little_and_given_back_after_large_jobs() {
    let workspace = Workspace::new("large");
    let text = fs::read("/usr/include/elf.h").unwrap();
    let object: Vec<u8> = text.iter().copied().cycle().take(4 << 20).collect();
    stub_for(&workspace, &object);
    let source: Vec<u8> = text.iter().copied().cycle().take(10 << 20).collect();
    let bytes = request(Version::Lzo, &JOB, &source);
    let ours = daemon(&workspace, Kind::Ours, &["--jobs", "4"]).unwrap();
    let idle = own(&ours);
    // Stacks of a debug build are five times as large; CI measures the release build beside stock.
    assert!(idle < 600, "idle: {idle} kB");
    let mut peak = 0;
    for _ in 0..3 {
        thread::scope(|scope| {
            let send = || rest_of(send(Ipv4Addr::LOCALHOST, ours.port, None, &bytes));
            let four: Vec<_> = (0..4).map(|_| scope.spawn(send)).collect();
            while four.iter().any(|it| !it.is_finished()) {
                peak = peak.max(own(&ours));
            }
            for job in four {
                assert!(object_of(Version::Lzo, &job.join().unwrap()).is_some_and(|it| it == object));
            }
        });
    }
    // The release build keeps below 30 MB; this one is slow enough that all four are at their largest at once.
    assert!(peak > idle && peak <= 40_000, "{peak} kB at most, {idle} idle");
    wait_until("the memory is given back", || own(&ours) < 3000);
    eprintln!("{peak} kB at most, {} kB afterwards", own(&ours));
    ours.stop();
}

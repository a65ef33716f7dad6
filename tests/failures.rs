use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use distcc::wire::reply::{self, Part};
use distcc::wire::{Version, lzo};

use crate::util::peer::FakeServer;
use crate::util::*;

/// What a host does to a job.
#[derive(Debug, Clone, Copy)]
enum Host {
    HasNoAddress,
    RefusesConnections,
    /// Its kernel does not answer: a listener whose queue is full.
    BlackHole,
    Closes,
    ClosesAfterReading,
    Sends(&'static str),
    /// Sends this and says no more.
    HangsAfter(&'static str),
    ReadsNothing,
    /// Answers with this exit code.
    Exits(u32),
    DiesOf(u32),
}

/// What is left alone after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marked {
    Nothing,
    Host,
    Compiler,
}

use Host::*;

const CONNECT: Duration = Duration::from_secs(4);
const SILENCE: Duration = Duration::from_secs(1);
const AT_ONCE: Duration = Duration::ZERO;
pub const GOOD: &str = "DONE00000001STAT00000000SERR00000000SOUT00000000DOTO00000006REMOTE";

/// Host; a part of the one line; the mark; how long its failure takes.
const TROUBLE: &[(Host, &str, Marked, Duration)] = &[
    (HasNoAddress, "cannot be resolved", Marked::Host, AT_ONCE),
    (RefusesConnections, "Connection refused", Marked::Host, AT_ONCE),
    (BlackHole, "timed out", Marked::Host, CONNECT),
    (Closes, "without an answer", Marked::Host, AT_ONCE),
    (ClosesAfterReading, "without an answer", Marked::Host, AT_ONCE),
    (Sends("HTTP/1.0 400 Bad Request\r\n\r\n"), "makes no sense", Marked::Host, AT_ONCE),
    (Sends("DONE00000002"), "makes no sense", Marked::Host, AT_ONCE),
    (Sends("DONE00000001STAT00000000SERRffffffff"), "the limit is", Marked::Host, AT_ONCE),
    (Sends("DONE00000001STAT00000000SERR0000"), "makes no sense", Marked::Host, AT_ONCE),
    (
        Sends("DONE00000001STAT00000000SERR00000000SOUT00000000DOTO00000000"),
        "empty object",
        Marked::Compiler,
        AT_ONCE,
    ),
    (ReadsNothing, "silent for 1 s", Marked::Host, SILENCE),
    (HangsAfter(""), "silent for 1 s", Marked::Host, SILENCE),
    (HangsAfter("DONE0000"), "silent for 1 s", Marked::Host, SILENCE),
    (HangsAfter("DONE00000001"), "silent for 1 s", Marked::Host, SILENCE),
    (HangsAfter("DONE00000001STAT00000000"), "silent for 1 s", Marked::Host, SILENCE),
    (HangsAfter("DONE00000001STAT00000000SERR00000004no"), "silent for 1 s", Marked::Host, SILENCE),
    (
        HangsAfter("DONE00000001STAT00000000SERR00000000SOUT00000000DOTO00001000half"),
        "silent for 1 s",
        Marked::Host,
        SILENCE,
    ),
    (Exits(100), "refused the job: why (exit code 100)", Marked::Host, AT_ONCE),
    (Exits(101), "refused the job: why (exit code 101)", Marked::Nothing, AT_ONCE),
    (Exits(102), "(exit code 102)", Marked::Host, AT_ONCE),
    (Exits(103), "(exit code 103)", Marked::Host, AT_ONCE),
    (Exits(104), "(exit code 104)", Marked::Host, AT_ONCE),
    (Exits(105), "(exit code 105)", Marked::Host, AT_ONCE),
    (Exits(106), "(exit code 106)", Marked::Host, AT_ONCE),
    (Exits(107), "(exit code 107)", Marked::Host, AT_ONCE),
    (Exits(108), "(exit code 108)", Marked::Host, AT_ONCE),
    (Exits(109), "(exit code 109)", Marked::Host, AT_ONCE),
    (Exits(110), "(exit code 110)", Marked::Compiler, AT_ONCE),
    (Exits(111), "(exit code 111)", Marked::Host, AT_ONCE),
    (Exits(112), "(exit code 112)", Marked::Host, AT_ONCE),
    (Exits(113), "(exit code 113)", Marked::Compiler, AT_ONCE),
    (Exits(114), "(exit code 114)", Marked::Host, AT_ONCE),
    (Exits(115), "(exit code 115)", Marked::Host, AT_ONCE),
    (Exits(116), "(exit code 116)", Marked::Host, AT_ONCE),
    (Exits(117), "(exit code 117)", Marked::Host, AT_ONCE),
    (Exits(118), "(exit code 118)", Marked::Nothing, AT_ONCE),
    (Exits(119), "(exit code 119)", Marked::Host, AT_ONCE),
    (Exits(120), "(exit code 120)", Marked::Host, AT_ONCE),
];

/// A host of the table, running.
struct Running {
    spec: String,
    /// Connections that came.
    seen: Arc<AtomicUsize>,
    _keep: Vec<TcpStream>,
    _listener: Option<TcpListener>,
}

impl Running {
    fn new(host: Host) -> Running {
        let seen = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&seen);
        let server = move |host: Host| {
            let count = move || count.fetch_add(1, Ordering::SeqCst);
            FakeServer::raw(move |stream| {
                count();
                serve(host, stream);
            })
            .host()
        };
        let (mut keep, mut full) = (Vec::new(), None);
        let spec = match host {
            HasNoAddress => "no-such-host.invalid".to_owned(),
            RefusesConnections => format!("127.0.0.1:{}", free_port()),
            BlackHole => {
                let (listener, waiting) = full_listener();
                let spec = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
                (keep, full) = (waiting, Some(listener));
                spec
            }
            other => server(other),
        };
        Running { spec, seen, _keep: keep, _listener: full }
    }

    fn connections(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }

    /// The mark that is in this workspace's lock directory.
    fn mark(&self, workspace: &Workspace) -> Marked {
        let (name, port) = self.spec.split_once(':').unwrap_or((&self.spec, "3632"));
        let exists = |file: String| workspace.path("top/lock").join(file).exists();
        match (
            exists(format!("backoff_tcp_{name}_{port}_0")),
            exists(format!("refused/tcp_{name}_{port}_mycc")),
        ) {
            (false, false) => Marked::Nothing,
            (true, false) => Marked::Host,
            (false, true) => Marked::Compiler,
            (true, true) => panic!("two marks"),
        }
    }
}

/// A listener that takes no connection any more, and the connections that fill it.
#[allow(unsafe_code)]
pub fn full_listener() -> (TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // SAFETY: integers only; listening again changes the length of the queue.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        waiting.push(stream);
        assert!(waiting.len() < 20, "the queue does not fill");
    }
    (listener, waiting)
}

fn serve(host: Host, stream: &mut TcpStream) {
    let until_it_closes = |stream: &mut TcpStream| {
        let _ = stream.read_to_end(&mut Vec::new());
    };
    if let Closes = host {
        return;
    }
    if let ReadsNothing = host {
        // Until the other end is gone, without reading what it sent.
        while stream.take_error().is_ok_and(|error| error.is_none()) && stream.write(&[]).is_ok() {
            std::thread::sleep(Duration::from_millis(50));
            if peer_has_closed(stream) {
                return;
            }
        }
        return;
    }
    if crate::util::peer::read_request(stream).is_none() {
        return;
    }
    // The client may have gone before it has read all of it.
    let _ = match host {
        Sends(text) => stream.write_all(text.as_bytes()),
        HangsAfter(text) => {
            let sent = stream.write_all(text.as_bytes());
            until_it_closes(stream);
            sent
        }
        Exits(code) => {
            let status = code << 8;
            stream.write_all(
                format!("DONE00000001STAT{status:08x}SERR00000003whySOUT00000000DOTO00000000").as_bytes(),
            )
        }
        DiesOf(signal) => stream.write_all(
            format!("DONE00000001STAT{signal:08x}SERR00000000SOUT00000000DOTO00000000").as_bytes(),
        ),
        _ => Ok(()),
    };
}

/// Whether the connection is not established any more, by the kernel's table: state 01 is ESTABLISHED.
fn peer_has_closed(stream: &TcpStream) -> bool {
    let port = stream.peer_addr().unwrap().port();
    !tcp_lines(port).iter().any(|line| line.split_whitespace().nth(3) == Some("01"))
}

/// Lines of the kernel's table of TCP connections whose local port is this one.
fn tcp_lines(port: u16) -> Vec<String> {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let local = format!(":{port:04X}");
    let of_port =
        |line: &&str| line.split_whitespace().nth(1).is_some_and(|address| address.ends_with(&local));
    table.lines().filter(of_port).map(str::to_owned).collect()
}

/// A workspace with the compiler `mycc`, which needs no time and writes down that it ran.
pub fn workspace(name: &str) -> Workspace {
    let workspace = Workspace::new(name);
    // Already preprocessed: no compiler runs on this side unless the job is compiled here.
    workspace.write("a.i", "# 1 \"a.c\"\nint x;\n");
    let compiler = "#!/bin/sh\necho run >> \"$RUNS\"\n[ -z \"$FAIL\" ] || { echo local words >&2; exit \"$FAIL\"; }\n\
                    while [ $# -gt 0 ]; do [ \"$1\" != -o ] || printf LOCAL > \"$2\" || exit 1; shift; done\n";
    workspace.script("bin/mycc", compiler);
    workspace
}

pub fn client(workspace: &Workspace, kind: Kind, hosts: &str) -> Command {
    let path = format!("{}:/usr/bin:/bin", workspace.path("bin").display());
    let mut client = workspace.client(kind, hosts);
    client
        .env("PATH", path)
        .env("RUNS", workspace.path("runs"))
        .env("DISTCC_CHECK_COMPILER", "off")
        .env("DISTCC_IO_TIMEOUT", "1");
    client
}

/// How often a compiler ran here, and what the object says.
pub fn results(workspace: &Workspace) -> (usize, String) {
    let runs = fs::read_to_string(workspace.path("runs")).unwrap_or_default().lines().count();
    (runs, fs::read_to_string(workspace.work().join("a.o")).unwrap_or_default())
}

pub const COMPILE: [&str; 5] = ["mycc", "-c", "a.i", "-o", "a.o"];

/// Runs with a bound on the time: `wait` is what the trouble itself takes.
#[track_caller]
fn timed(command: &mut Command, wait: Duration) -> Output {
    let start = Instant::now();
    let output = run(command);
    // What a job without trouble takes is some 20 ms; but a whole test run, and what else there is, keeps the machine busy.
    let most = wait + Duration::from_secs(4);
    assert!(start.elapsed() < most, "{command:?} took {:?}, not {wait:?}", start.elapsed());
    output
}

/// A row of the table in a workspace of its own.
struct Case {
    row: &'static (Host, &'static str, Marked, Duration),
    space: Workspace,
    host: Running,
}

impl Case {
    fn new(row: &'static (Host, &'static str, Marked, Duration)) -> Case {
        let space = workspace("trouble");
        if let ReadsNothing = row.0 {
            // More than the socket buffers take.
            space.write("a.i", &format!("# 1 \"a.c\"\nchar x[] = \"{}\";\n", "x".repeat(24 << 20)));
        }
        Case { row, space, host: Running::new(row.0) }
    }

    fn client(&self, hosts: &str) -> Command {
        client(&self.space, Kind::Ours, hosts)
    }

    /// One line of ours, and nothing else.
    #[track_caller]
    fn says(&self, output: &Output, words: &[&str]) {
        let lines = own_lines(output);
        assert_eq!(
            (lines.len(), stderr(output).lines().count()),
            (1, 1),
            "{:?}: {}",
            self.row,
            explain(output)
        );
        assert!(words.iter().all(|words| lines[0].contains(words)), "{:?}: {lines:?}", self.row);
    }
}

/// Compiled here, and the line says why; what is marked is not asked again.
fn alone(case: &Case) {
    let (host, reason, marked, wait) = *case.row;
    let spec = &case.host.spec;
    let output = timed(case.client(spec).args(COMPILE), wait);
    assert!(output.status.success(), "{}", explain(&output));
    case.says(&output, &[reason, "running locally instead", spec]);
    assert_eq!(results(&case.space), (1, "LOCAL".to_owned()));
    assert_eq!(case.host.mark(&case.space), marked, "{:?}", case.row);

    let before = case.host.connections();
    if marked != Marked::Nothing {
        let output = timed(case.client(spec).args(COMPILE), AT_ONCE);
        assert!(output.status.success());
        case.says(&output, &["left alone, having failed recently, for up to 60 s"]);
        assert_eq!(case.host.connections(), before);
    }
    if let Exits(_) = host {
        case.space.script("bin/othercc", "#!/bin/sh\nexec mycc \"$@\"\n");
        succeed(case.client(spec).args(["othercc", "-c", "a.i", "-o", "a.o"]));
        assert_eq!(case.host.connections() > before, marked != Marked::Host, "another compiler");
    }
}

/// Another host does it, and nothing was lost that needed a word.
fn beside_another(case: &Case) {
    let (_, _, marked, wait) = *case.row;
    let good = Running::new(Sends(GOOD));
    let output = timed(case.client(&format!("{} {}", case.host.spec, good.spec)).args(COMPILE), wait);
    assert!(output.status.success(), "{}", explain(&output));
    assert_eq!(stderr(&output), "", "{:?}", case.row);
    assert_eq!(results(&case.space), (0, "REMOTE".to_owned()));
    assert_eq!((case.host.mark(&case.space), good.mark(&case.space)), (marked, Marked::Nothing));
}

/// No compile here, whatever happens.
fn without_fallback(case: &Case) {
    let (_, reason, marked, wait) = *case.row;
    let output = timed(case.client(&case.host.spec).env("DISTCC_FALLBACK", "0").args(COMPILE), wait);
    assert_eq!(output.status.code(), Some(116), "{}", explain(&output));
    case.says(&output, &[reason, "DISTCC_FALLBACK=0", &case.host.spec]);
    assert_eq!(results(&case.space), (0, String::new()));
    assert_eq!(case.host.mark(&case.space), marked);
}

/// The waits of the cases overlap: each of several threads takes the next that is left.
#[test]
fn every_kind_of_trouble_has_its_end() {
    let ways = [alone, beside_another, without_fallback];
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::SeqCst);
            let Some(row) = TROUBLE.get(at / ways.len()) else { return };
            let case = Case::new(row);
            ways[at % ways.len()](&case);
            case.space.assert_clean();
        }
    };
    std::thread::scope(|scope| (0..6).for_each(|_| drop(scope.spawn(work))));
}

/// An answer that ends too early, wherever that is, is none: no object, no word of it.
#[test]
fn a_reply_may_end_anywhere() {
    let reply = "DONE00000001STAT00000000SERR00000005wordsSOUT00000004textDOTO00000006REMOTE";
    let cut = Arc::new(AtomicUsize::new(0));
    let at = Arc::clone(&cut);
    let server = FakeServer::new(move |_, stream| {
        stream.write_all(&reply.as_bytes()[..at.load(Ordering::SeqCst)]).unwrap();
    });
    let space = workspace("cut");
    for at in 0..=reply.len() {
        cut.store(at, Ordering::SeqCst);
        let _ = fs::remove_file(space.work().join("a.o"));
        let _ = fs::remove_file(space.path("runs"));
        let _ = fs::remove_dir_all(space.path("top/lock"));
        let output = succeed(client(&space, Kind::Ours, &server.host()).args(COMPILE));
        if at == reply.len() {
            assert_eq!(results(&space), (0, "REMOTE".to_owned()));
            assert_eq!((output.stdout, output.stderr), (b"text".to_vec(), b"words".to_vec()));
            continue;
        }
        assert_eq!(results(&space), (1, "LOCAL".to_owned()), "cut at {at}");
        assert_eq!(output.stdout, b"", "cut at {at}");
        assert_eq!(own_lines(&output).len(), 1, "cut at {at}: {}", explain(&output));
        assert_eq!(stderr(&output).lines().count(), 1, "cut at {at}: {}", explain(&output));
    }
    space.assert_clean();
}

/// The same for an object that is so large that it goes to its file while it comes: nothing of it stays.
#[test]
fn a_large_object_may_end_anywhere() {
    let mut random = Random::new(1);
    let object: String =
        (0..400_000).map(|_| *random.of(&['m', 'n', 'o', 'p', 'q', 'r', 's', 't'])).collect();
    for version in [Version::Plain, Version::Lzo] {
        let mut body = Vec::new();
        match version {
            Version::Plain => body.extend_from_slice(object.as_bytes()),
            _ => lzo::Encoder::new().compress(object.as_bytes(), &mut body),
        }
        assert!(body.len() > 100_000, "it must be large on the wire, too");
        let mut reply = Vec::new();
        reply::encode_start(version, 0, &mut reply);
        reply::encode_part(Part::Stderr, 0, &mut reply);
        reply::encode_part(Part::Stdout, 0, &mut reply);
        reply::encode_part(Part::Object, body.len() as u32, &mut reply);
        reply.extend_from_slice(&body);
        let cut = Arc::new(AtomicUsize::new(0));
        let (at, whole) = (Arc::clone(&cut), reply.clone());
        let server = FakeServer::new(move |_, stream| {
            stream.write_all(&whole[..at.load(Ordering::SeqCst)]).unwrap();
        });
        let host = server.host() + if version == Version::Lzo { ",lzo" } else { "" };
        let space = workspace("large-cut");
        for at in [reply.len() - body.len(), 70_000, reply.len() - 3, reply.len() - 1, reply.len()] {
            cut.store(at, Ordering::SeqCst);
            let _ = fs::remove_file(space.work().join("a.o"));
            let _ = fs::remove_file(space.path("runs"));
            let _ = fs::remove_dir_all(space.path("top/lock"));
            let output = succeed(client(&space, Kind::Ours, &host).args(COMPILE));
            let (expected, lines) =
                if at == reply.len() { ((0, object.clone()), 0) } else { ((1, "LOCAL".to_owned()), 1) };
            assert!(results(&space) == expected, "{version:?}, cut at {at}: {}", explain(&output));
            assert_eq!(
                stderr(&output).lines().count(),
                lines,
                "{version:?}, cut at {at}: {}",
                explain(&output)
            );
            let left = fs::read_dir(space.work()).unwrap().map(|entry| entry.unwrap().file_name());
            let left: Vec<_> = left.filter(|name| name.as_encoded_bytes().starts_with(b".")).collect();
            assert!(left.is_empty(), "{version:?}, cut at {at}: {left:?}");
        }
        space.assert_clean();
    }
}

/// A compile error, or a compiler that died, is decided here and blames nobody.
#[test]
fn a_compile_error_is_not_the_hosts() {
    // Exit status, own lines, local runs.
    type Expected = (i32, usize, usize);
    type Setting = Option<(&'static str, &'static str)>;
    // Host; how the local compiler ends; further setting.
    let cases: [(Host, &str, Setting, Expected); 10] = [
        (Exits(1), "1", None, (1, 0, 1)),
        (Exits(1), "", None, (0, 1, 1)),
        (Exits(1), "2", None, (2, 1, 1)),
        (Exits(1), "1", Some(("DISTCC_SKIP_LOCAL_RETRY", "")), (1, 0, 0)),
        (Exits(1), "1", Some(("DISTCC_FALLBACK", "0")), (1, 0, 0)),
        (Exits(7), "", Some(("DISTCC_FALLBACK", "0")), (7, 0, 0)),
        (DiesOf(11), "", None, (0, 1, 1)),
        (DiesOf(11), "", Some(("DISTCC_SKIP_LOCAL_RETRY", "1")), (139, 0, 0)),
        (DiesOf(11), "", Some(("DISTCC_FALLBACK", "0")), (139, 0, 0)),
        (DiesOf(9), "4", None, (4, 1, 1)),
    ];
    for (host, fail, setting, (status, lines, runs)) in cases {
        let what = format!("{host:?}, locally \"{fail}\", {setting:?}");
        let space = workspace("error");
        let (running, good) = (Running::new(host), Running::new(Sends(GOOD)));
        let hosts = format!("{} {}", running.spec, good.spec);
        let mut client = client(&space, Kind::Ours, &hosts);
        let output = timed(client.env("FAIL", fail).envs(setting).args(COMPILE), AT_ONCE);
        assert_eq!(output.status.code(), Some(status), "{what}");
        assert_eq!(own_lines(&output).len(), lines, "{what}: {}", explain(&output));
        assert_eq!(results(&space).0, runs, "{what}");
        assert_eq!((running.mark(&space), good.connections()), (Marked::Nothing, 0), "{what}");
        let words = stderr(&output);
        assert!(
            runs == 1 || !matches!(host, Exits(_)) || words == "why",
            "{what}: the server's words: {words}"
        );
        space.assert_clean();
    }
}

/// What this machine alone finds wrong ends without a compile, too, where compiling here is switched off.
#[test]
fn without_fallback_local_trouble_is_reported() {
    let space = Workspace::new("strict");
    space.write("a.c", "#include \"not_there.h\"\n");
    space.write("b.c", "int x;\n");
    let daemon = Daemon::ours(&space, &[]);
    let strict = |words: &[&str]| run(space.distcc(&daemon.host()).env("DISTCC_FALLBACK", "0").args(words));
    let output = strict(&["gcc", "-c", "a.c"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output).matches("not_there.h: No such file").count(), 1, "{}", explain(&output));
    assert_eq!(own_lines(&output), [""; 0]);
    let output = strict(&["gcc", "-c", "b.c", "-o", "no/dir/b.o"]);
    assert_eq!(output.status.code(), Some(107));
    assert_eq!(own_lines(&output).len(), 1, "{}", explain(&output));
    assert!(stderr(&output).contains("cannot write no/dir/b.o"), "{}", explain(&output));
    // What is never distributed is not concerned.
    let output = strict(&["gcc", "-E", "b.c"]);
    assert!(output.status.success(), "{}", explain(&output));
}

/// Stock's marks count for us, and ours for stock; a job that is done takes the mark away.
#[test]
fn stock_and_our_clients_learn_from_each_other() {
    if stock("distcc").is_none() {
        return;
    }
    for (first, second) in [(Kind::Stock, Kind::Ours), (Kind::Ours, Kind::Stock)] {
        let space = workspace("marks");
        let bad = Arc::new(AtomicUsize::new(1));
        let now = Arc::clone(&bad);
        let seen = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&seen);
        let server = FakeServer::raw(move |stream| {
            count.fetch_add(1, Ordering::SeqCst);
            let host = if now.load(Ordering::SeqCst) == 1 { Closes } else { Sends(GOOD) };
            serve(host, stream);
        });
        let good = Running::new(Sends(GOOD));
        let hosts = format!("{} {}", server.host(), good.spec);
        let compile = |kind: Kind, period: &str| {
            succeed(client(&space, kind, &hosts).env("DISTCC_BACKOFF_PERIOD", period).args(COMPILE));
        };
        compile(first, "60");
        assert_eq!((seen.load(Ordering::SeqCst), good.connections()), (1, 1), "{first:?}");
        let mark = space.path(&format!("top/lock/backoff_tcp_127.0.0.1_{}_0", server.port));
        assert_eq!(fs::read(&mark).unwrap(), b"x");
        compile(second, "60");
        assert_eq!((seen.load(Ordering::SeqCst), good.connections()), (1, 2), "{second:?} asked it again");

        // Its time is over, and it works again.
        bad.store(0, Ordering::SeqCst);
        let long_ago = std::time::SystemTime::now() - Duration::from_secs(10);
        fs::File::options().write(true).open(&mark).unwrap().set_modified(long_ago).unwrap();
        compile(second, "60");
        assert_eq!(seen.load(Ordering::SeqCst), 1, "{second:?}: 10 s are not 60");
        compile(second, "5");
        assert_eq!(seen.load(Ordering::SeqCst), 2, "{second:?}: 10 s are more than 5");
        assert!(!mark.exists(), "{second:?} takes it away");
        assert_eq!(results(&space), (0, "REMOTE".to_owned()));
    }
}

/// Without marks a host is tried by every job; no job tries for ever.
#[test]
fn no_marks_without_a_period() {
    let space = workspace("period");
    let hosts: Vec<Running> = (0..5).map(|_| Running::new(Closes)).collect();
    let specs: Vec<&str> = hosts.iter().map(|host| host.spec.as_str()).collect();
    for round in 1..=2 {
        let mut client = client(&space, Kind::Ours, &specs.join(" "));
        let output = timed(client.env("DISTCC_BACKOFF_PERIOD", "0").args(COMPILE), AT_ONCE);
        assert!(output.status.success());
        assert_eq!(own_lines(&output).len(), 1);
        assert_eq!(hosts.iter().map(Running::connections).sum::<usize>(), 3 * round, "three tries per job");
    }
    assert!(hosts.iter().all(|host| host.mark(&space) == Marked::Nothing));
}

fn start(space: &Workspace, hosts: &str, count: usize) -> Vec<Child> {
    let job = |at: usize| {
        client(space, Kind::Ours, hosts)
            .env("DISTCC_IO_TIMEOUT", "20")
            .args(["mycc", "-c", "a.i", "-o", &format!("{at}.o")])
            .spawn()
            .unwrap()
    };
    (0..count).map(job).collect()
}

/// `make -j64` and no host that works: as many compilers here as there are local slots, not one more.
#[test]
fn a_dead_farm_does_not_flood_this_machine() {
    let space = workspace("farm");
    let count = space.path("count");
    fs::create_dir(&count).unwrap();
    let compiler = "#!/bin/sh\nmkdir \"$RUNS.at/$$\"; ls \"$RUNS.at\" | wc -l >> \"$RUNS\"; sleep 0.05; rmdir \"$RUNS.at/$$\"\n";
    space.script("bin/mycc", compiler);
    fs::create_dir(space.path("runs.at")).unwrap();
    let dead = Running::new(RefusesConnections);
    for job in &mut start(&space, &format!("--localslots=3 {}/20", dead.spec), 64) {
        assert!(job.wait().unwrap().success());
    }
    let seen = fs::read_to_string(space.path("runs")).unwrap();
    let seen: Vec<usize> = seen.lines().map(|line| line.trim().parse().unwrap()).collect();
    assert_eq!((seen.len(), seen.iter().max()), (64, Some(&3)), "{seen:?}");
    space.assert_clean();
}

/// Who has waited for a slot of a host looks again whether that host has failed meanwhile: else each job of a long queue
/// would wait for its own time-out.
#[test]
fn a_queue_learns_from_the_first() {
    let space = workspace("queue");
    let hole = Running::new(BlackHole);
    let begun = Instant::now();
    for job in &mut start(&space, &format!("{}/1", hole.spec), 6) {
        assert!(job.wait().unwrap().success());
    }
    assert!(begun.elapsed() > CONNECT, "it was tried");
    assert!(begun.elapsed() < 2 * CONNECT - Duration::from_millis(500), "{:?}", begun.elapsed());
    assert_eq!(results(&space).0, 6);
    space.assert_clean();
}

/// While a client waits for a long compile the kernel asks whether the server is still there.
#[test]
fn a_long_wait_is_kept_alive() {
    let space = workspace("alive");
    let server = Running::new(HangsAfter(""));
    let port: u16 = server.spec.rsplit(':').next().unwrap().parse().unwrap();
    let mut jobs = start(&space, &server.spec, 1);
    // Field 6 is the kind of the timer that runs; 2 is keep-alive. The client's end names the server's port as remote.
    let kept_alive = || {
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let to_server = format!(":{port:04X}");
        table.lines().any(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            fields.get(2).is_some_and(|remote| remote.ends_with(&to_server))
                && fields.get(5).is_some_and(|timer| timer.starts_with("02:"))
        })
    };
    wait_until("the connection is kept alive", kept_alive);
    signal_pid(jobs[0].id(), libc::SIGTERM);
    jobs[0].wait().unwrap();
    space.assert_clean();
}

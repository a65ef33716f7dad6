use std::fs;
use std::io::Write;
use std::net::TcpStream;

use distcc::wire::Version;

use crate::daemon::daemon_with_servers;
use crate::failures::{COMPILE, client, results, workspace};
use crate::util::peer::request;
use crate::util::*;

/// A daemon that ends a job in one way: its options, the compiler there, what else is the matter, the job's option.
struct Server {
    options: &'static [&'static str],
    compiler: &'static str,
    state: State,
    option: &'static str,
}

/// What is the matter with a daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Well,
    /// The compiler is not among those that are allowed.
    NotAllowed,
    /// The compiler is one that nobody may execute.
    NotExecutable,
    /// Half-sent requests take all the connections that one client may have.
    Crowded,
    /// It finishes a running job and takes no others.
    Draining,
}

use State::*;

/// What becomes of it.
struct End {
    /// Where the object comes from.
    object: &'static str,
    /// Part of our client's one line, or of the compiler's messages; empty where nothing is said.
    says: &'static str,
    /// What our client leaves alone: the beginning of the mark's name below its locks.
    mark: &'static str,
    /// What both clients show of the server's words where a local compile is switched off.
    reason: &'static str,
}

const MAKES: &str = "while [ \"$1\" != -o ]; do shift; done; printf REMOTE > \"$2\"";
const MAKES_AND_SAYS: &str = "echo words >&2; while [ \"$1\" != -o ]; do shift; done; printf REMOTE > \"$2\"";
const EATS: &str = "x=0123456789abcdef; while :; do x=$x$x; done";
const HOST: &str = "backoff_tcp_";
const COMPILER: &str = "refused/tcp_";

const fn server(options: &'static [&'static str], compiler: &'static str, state: State) -> Server {
    Server { options, compiler, state, option: "-fno-thing" }
}

const fn remote(says: &'static str) -> End {
    End { object: "REMOTE", says, mark: "", reason: "" }
}

const fn local(says: &'static str, mark: &'static str, reason: &'static str) -> End {
    End { object: "LOCAL", says, mark, reason }
}

/// What the matter is, and its end.
const CASES: &[(&str, Server, End)] = &[
    ("ok", server(&[], MAKES, Well), remote("")),
    ("ok-messages", server(&[], MAKES_AND_SAYS, Well), remote("words")),
    ("no-fork", server(&["--no-fork"], MAKES, Well), remote("")),
    (
        "error",
        server(&[], "echo why >&2; exit 1", Well),
        local("(exit code 1) but compiles locally", "", "why"),
    ),
    ("signal", server(&[], "kill -SEGV $$", Well), local("Segmentation fault) but compiles locally", "", "")),
    (
        "no-object",
        server(&[], "exit 0", Well),
        local("made no object (exit code 107)", HOST, "made no object"),
    ),
    (
        "timeout",
        server(&["--job-lifetime", "1"], "sleep 100", Well),
        local("stopped after 1 s (--job-lifetime) (exit code 118)", "", "--job-lifetime"),
    ),
    (
        "job-memory",
        server(&["--job-memory", "64"], EATS, Well),
        local("but compiles locally", "", "compilers have 64 MB of memory here (--job-memory)"),
    ),
    (
        "not-allowed",
        server(&[], MAKES, NotAllowed),
        local("(exit code 113)", COMPILER, "mycc is not allowed here"),
    ),
    (
        "not-executable",
        server(&[], MAKES, NotExecutable),
        local("(exit code 110)", COMPILER, "cannot run the compiler"),
    ),
    ("access", server(&["--allow", "192.0.2.1"], MAKES, Well), local("is this machine allowed", HOST, "")),
    (
        "connections",
        server(&["--max-connections", "1"], MAKES, Crowded),
        local("closed the connection without an answer", HOST, ""),
    ),
    ("draining", server(&[], MAKES, Draining), local("", HOST, "")),
    // Ours knows beforehand what a server would say, and compiles it here without a word.
    (
        "option",
        Server { option: "-fplugin=/x.so", ..server(&[], MAKES, Well) },
        local("", "", "option -fplugin=/x.so is refused"),
    ),
];

#[test]
fn every_refusal_and_result_ends_well_with_both_clients() {
    let kinds = [Kind::Ours, Kind::Stock];
    let both = if stock("distcc").is_some() { &kinds[..] } else { &kinds[..1] };
    std::thread::scope(|scope| {
        for case in CASES {
            scope.spawn(|| both.iter().for_each(|kind| check(case, *kind)));
        }
    });
}

fn check((name, server, end): &(&str, Server, End), kind: Kind) {
    let space = workspace(&format!("refusal-{name}"));
    if server.state != NotAllowed {
        space.script("masquerade/mycc", "");
    }
    let compiler = match server.state {
        NotExecutable => "#!/no/such/interpreter\n".to_owned(),
        _ => format!("#!/bin/sh\n{}\n", server.compiler),
    };
    space.script("servers/mycc", &compiler);
    let daemon = daemon_with_servers(&space, &[&["--jobs", "1", "--nice", "0"], server.options].concat());
    wait_until("it has started", || daemon.log().contains("daemon started"));
    let _others = prepare(&space, &daemon, server.state);
    let compile = |fallback: &str| {
        let mut client = client(&space, kind, &daemon.host());
        client.env("DISTCC_IO_TIMEOUT", "20").env("DISTCC_FALLBACK", fallback);
        run(client.args(COMPILE).arg(server.option))
    };
    let what = format!("{name} {kind:?}");

    let output = compile("1");
    let is_remote = end.object == "REMOTE";
    assert!(output.status.success(), "{what}");
    assert_eq!(results(&space), (usize::from(!is_remote), end.object.to_owned()), "{what}");
    let (words, own) = (stderr(&output), own_lines(&output));
    let is_silent = is_remote || kind == Kind::Ours && server.option != "-fno-thing";
    match kind {
        _ if is_silent => assert!(own.is_empty() && words.contains(end.says), "{what}: {words}"),
        Kind::Ours => assert!(own.len() == 1 && own[0].contains(end.says), "{what}: {words}"),
        Kind::Stock => assert!(own.concat().contains("running locally instead"), "{what}: {words}"),
    }
    let is_marked = |mark: &str| {
        let rest = if mark == COMPILER { "mycc" } else { "0" };
        space.path(&format!("top/lock/{mark}127.0.0.1_{}_{rest}", daemon.port)).exists()
    };
    for mark in [HOST, COMPILER].into_iter().filter(|_| kind == Kind::Ours) {
        assert_eq!(is_marked(mark), mark == end.mark, "{what}: {mark}");
    }

    // Nobody but the server can say why it does not do it.
    if end.reason.is_empty() || is_silent {
        return;
    }
    fs::remove_dir_all(space.path("top/lock")).unwrap();
    fs::remove_file(space.work().join("a.o")).unwrap();
    let output = compile("0");
    assert!(!output.status.success() && stderr(&output).contains(end.reason), "{what}: {}", explain(&output));
    assert_eq!(results(&space), (1, String::new()), "{what}");
}

/// Brings it into the state; the connections are to be kept.
fn prepare(space: &Workspace, daemon: &Daemon, state: State) -> Vec<TcpStream> {
    let connect = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    };
    match state {
        Crowded => {
            let crowd = (0..8).map(|_| connect(b"DIST00000001ARGC0000")).collect();
            wait_until("it has them", || daemon.log().matches("connection from").count() == 8);
            crowd
        }
        Draining => {
            space.script("servers/gcc", "#!/bin/sh\nsleep 5\n");
            let job = connect(&request(Version::Plain, &["gcc", "-c", "a.c"], b"int x;\n"));
            wait_until("it has a job", || processes_of(space).iter().any(|line| line.contains("sleep 5")));
            daemon.signal(libc::SIGTERM);
            wait_until("it drains", || daemon.log().contains("finishing the running jobs"));
            vec![job]
        }
        Well | NotAllowed | NotExecutable => Vec::new(),
    }
}

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use distcc::wire::Version;

use crate::util::peer::{FakeServer, request};
use crate::util::*;

/// The supervisor holds the listening socket too: a client that came during a drain was accepted by the kernel and never served.
#[test]
fn a_drain_refuses_new_connections() {
    let workspace = Workspace::new("drain");
    workspace.script("masquerade/slow", "");
    workspace.script(
        "servers/slow",
        "#!/bin/sh\nsleep 2; while [ \"$1\" != -o ]; do shift; done; printf OBJ > \"$2\"\n",
    );
    let daemon = daemon_with_servers(&workspace, "");
    let mut running = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
    running.write_all(&request(Version::Plain, &["slow", "-c", "a.c"], b"int x;\n")).unwrap();
    wait_until("the compiler runs", || workspace.compiles());
    daemon.signal(libc::SIGTERM);
    wait_until("connections are refused", || TcpStream::connect(("127.0.0.1", daemon.port)).is_err());
    let mut reply = Vec::new();
    running.read_to_end(&mut reply).unwrap();
    assert!(reply.ends_with(b"OBJ"), "{}", reply.escape_ascii());
    daemon.stop();
}

/// A daemon whose PATH begins with `servers`, started by the shell behind `first`.
fn daemon_with_servers(workspace: &Workspace, first: &str) -> Daemon {
    let script = format!(
        "{first} PATH='{}':/usr/bin:/bin; export PATH; exec '{}' --daemon --no-detach --log-stderr --log-level info --listen 127.0.0.1 \
         --port 0 --jobs 2 --masquerade-dir '{}'",
        workspace.path("servers").display(),
        workspace.path("bin/distccd").display(),
        workspace.path("masquerade").display()
    );
    Daemon::start(workspace, workspace.command("sh").args(["-c", &script]))
}

/// Closing other descriptors gives no event on the listener: connections that waited when descriptors ran short waited for ever.
#[test]
fn accepting_resumes_after_descriptors_ran_short() {
    let workspace = Workspace::new("emfile");
    workspace.write("a.c", "int x;\n");
    let daemon = daemon_with_servers(&workspace, "ulimit -n 40;");
    let idle: Vec<TcpStream> =
        (0..120).map(|_| TcpStream::connect(("127.0.0.1", daemon.port)).unwrap()).collect();
    wait_until("descriptors have run short", || daemon.log().contains("(os error 24)"));
    let hosts = daemon.host();
    let mut client = workspace.distcc(&hosts);
    let mut client = client.env("DISTCC_FALLBACK", "0").args(["gcc", "-c", "a.c"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    drop(idle);
    let start = Instant::now();
    assert!(client.wait().unwrap().success());
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

/// Only the compiler's driver dies with a killed worker by itself; what it had started went on, and its directory stayed.
#[test]
fn a_killed_worker_leaves_nothing_behind() {
    let workspace = Workspace::new("killed");
    workspace.script("masquerade/endless", "");
    workspace.script("servers/endless", "#!/bin/sh\nsleep 1000 & wait\n");
    let daemon = daemon_with_servers(&workspace, "");
    wait_until("there are workers", || children(daemon.pid()).len() == 2);
    let mut stream = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
    stream.write_all(&request(Version::Plain, &["endless", "-c", "a.c"], b"int x;\n")).unwrap();
    let sleeps = || processes_of(&workspace).iter().any(|line| line.contains("sleep 1000"));
    wait_until("the compiler runs", sleeps);
    for worker in children(daemon.pid()) {
        signal_pid(worker, libc::SIGKILL);
    }
    wait_until("nothing of the job is left", || !sleeps() && workspace.leftovers().is_empty());
    daemon.stop();
}

/// Closing a second descriptor of a lock file drops the lock: a host named twice was used twice as much.
#[test]
fn a_host_named_twice_has_its_slots_once() {
    let workspace = Workspace::new("twice");
    workspace.write("a.i", "# 1 \"a.c\"\nint x;\n");
    let server = FakeServer::new(|_, stream| {
        std::thread::sleep(Duration::from_millis(300));
        stream.write_all(b"DONE00000001STAT00000000SERR00000000SOUT00000000DOTO00000003OBJ").unwrap();
    });
    let hosts = format!("{0}/1 {0}/1", server.host());
    let jobs: Vec<_> = (0..3)
        .map(|at| {
            workspace
                .distcc(&hosts)
                .env("DISTCC_CHECK_COMPILER", "off")
                .args(["gcc", "-c", "a.i", "-o", &format!("{at}.o")])
                .spawn()
                .unwrap()
        })
        .collect();
    let most = {
        let mut most = 0;
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(700) {
            let shown = workspace.command(workspace.path("bin/distccmon-text")).output().unwrap();
            most = most.max(String::from_utf8_lossy(&shown.stdout).matches("127.0.0.1[").count());
        }
        most
    };
    assert_eq!(most, 1, "jobs at once");
    for mut job in jobs {
        assert!(job.wait().unwrap().success());
    }
}

/// One byte of another encoding, in a comment, switched distribution off.
#[test]
fn a_host_list_may_contain_any_bytes() {
    let workspace = Workspace::new("latin1");
    fs::write(workspace.path("top/hosts"), b"# f\xfcr alle\nserver/3\n").unwrap();
    let output = succeed(workspace.distcc("").env_remove("DISTCC_HOSTS").arg("--show-hosts"));
    assert_eq!(output.stdout, b"server/3\n");
    assert_eq!(stderr(&output), "");
}

/// A success without an object is none.
#[test]
fn an_empty_object_is_not_believed() {
    let workspace = Workspace::new("empty");
    workspace.write("a.c", "int x;\n");
    let server = FakeServer::new(|_, stream| {
        stream.write_all(b"DONE00000001STAT00000000SERR00000000SOUT00000000DOTO00000000").unwrap();
    });
    let output = succeed(workspace.distcc(&server.host()).args(["gcc", "-c", "a.c"]));
    assert_eq!(own_lines(&output).len(), 1, "{}", explain(&output));
    assert!(stderr(&output).contains("empty object"), "{}", explain(&output));
    assert!(fs::metadata(workspace.work().join("a.o")).unwrap().len() > 0);
}

/// Without line markers the object would carry the server's names.
#[test]
fn preprocessed_sources_that_do_not_name_themselves_stay_here() {
    let workspace = Workspace::new("markers");
    workspace.write("bare.i", "int x;\n");
    workspace.write("a.c", "int y;\n");
    succeed(workspace.command("gcc").args(["-g", "-E", "a.c", "-o", "marked.i"]));
    let daemon = Daemon::ours(&workspace, &[]);
    for (source, option, remote) in
        [("bare.i", "-O2", 0), ("bare.i", "-g", 0), ("marked.i", "-O2", 1), ("marked.i", "-g", 2)]
    {
        succeed(workspace.command("gcc").args([option, "-c", source, "-o", "expected.o"]));
        succeed(workspace.distcc(&daemon.host()).args(["gcc", option, "-c", source, "-o", "got.o"]));
        let read = |name: &str| fs::read(workspace.work().join(name)).unwrap();
        assert_eq!(read("got.o"), read("expected.o"), "{source} {option}");
        daemon.wait_for_jobs("COMPILE_OK", remote);
    }
}

/// Preprocessing removes the comment that silences a warning.
#[test]
fn a_comment_that_silences_a_warning_counts() {
    let workspace = Workspace::new("comment");
    workspace.write(
        "fall.c",
        "int f(int x) { switch (x) { case 1: x++; /* fall through */ case 2: x++; } return x; }\n",
    );
    let daemon = Daemon::ours(&workspace, &[]);
    for options in [&["-Wextra"][..], &["-Wextra", "-Werror"], &["-Wextra", "-fno-diagnostics-show-option"]] {
        let output =
            succeed(workspace.distcc(&daemon.host()).arg("gcc").args(options).args(["-c", "fall.c"]));
        assert_eq!(stderr(&output), "", "{options:?}");
    }
}

/// SIGPIPE is ignored in Rust programs: the monitor went on after its reader had gone.
#[test]
fn the_monitor_ends_with_its_reader() {
    let workspace = Workspace::new("reader");
    let monitor = workspace.path("bin/distccmon-text");
    let start = Instant::now();
    succeed(workspace.command("sh").args(["-c", &format!("'{}' 0.1 | head -n 1", monitor.display())]));
    assert!(start.elapsed() < Duration::from_secs(5));
}

/// A hard limit on file sizes below ours made every job fail.
#[test]
fn a_daemon_may_live_under_a_file_size_limit() {
    let workspace = Workspace::new("fsize");
    workspace.write("a.c", "int x;\n");
    let daemon = daemon_with_servers(&workspace, "ulimit -f 500000;");
    succeed(workspace.distcc(&daemon.host()).env("DISTCC_FALLBACK", "0").args(["gcc", "-c", "a.c"]));
    daemon.wait_for_jobs("COMPILE_OK", 1);
}

/// A masquerade directory that stands in PATH more than once, as nested shells make it.
#[test]
fn a_masquerade_directory_may_stand_in_the_path_twice() {
    let workspace = Workspace::new("nested");
    workspace.write("a.c", "int x;\n");
    let dir = workspace.path("masquerade");
    let path = format!("{0}:{0}:{0}/:/usr/bin:/bin", dir.display());
    succeed(
        workspace.command("sh").env("PATH", path).env("DISTCC_HOSTS", "localhost").args(["-c", "gcc -c a.c"]),
    );
}

/// Only one compiler can read what stands there: the preprocessor must leave it to the local compile.
#[test]
fn a_source_that_reads_standard_input_stays_here() {
    let workspace = Workspace::new("reads-input");
    let daemon = Daemon::ours(&workspace, &[]);
    workspace.write(
        "a.c",
        "#include \"/dev/stdin\"\n#ifndef VALUE\n#define VALUE 1\n#endif\nint value = VALUE;\n",
    );
    let input = workspace.write("input", "#define VALUE 77\n");
    let with_input = |command: &mut std::process::Command, object: &str| {
        succeed(command.args(["-c", "a.c", "-o", object]).stdin(fs::File::open(&input).unwrap()));
        fs::read(workspace.work().join(object)).unwrap()
    };
    let expected = with_input(&mut workspace.command("gcc"), "expected.o");
    let made = with_input(workspace.distcc(&daemon.host()).arg("gcc"), "made.o");
    assert!(made == expected, "standard input is missing");
    assert_eq!(daemon.jobs("COMPILE_OK"), 0);
}

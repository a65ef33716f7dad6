use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use distcc::wire::Version;

use crate::util::peer::{exchange, object_of, request};
use crate::util::*;

fn serve(workspace: &Workspace, daemon: &Daemon) {
    workspace.write("a.c", "int x;\n");
    succeed(workspace.distcc(&daemon.host()).env("DISTCC_FALLBACK", "0").args(["gcc", "-c", "a.c"]));
}

#[test]
fn it_answers_stock_vectors_as_stock_does() {
    let workspace = Workspace::new("vectors");
    // A compiler whose output is known to the byte.
    workspace.script("masquerade/fixed", "");
    workspace.script(
        "servers/fixed",
        "#!/bin/sh\nwhile [ \"$1\" != -o ]; do shift; done; echo out; echo err >&2; printf OBJ > \"$2\"; exit 0\n",
    );
    workspace.script("masquerade/failing", "");
    workspace.script("servers/failing", "#!/bin/sh\necho out; echo err >&2; exit 7\n");
    workspace.script("masquerade/dying", "");
    workspace.script("servers/dying", "#!/bin/sh\necho dying >&2; kill -9 $$\n");
    let daemon = daemon_with_servers(&workspace, &[]);
    let ask = |version, compiler: &str| {
        let bytes = request(version, &[compiler, "-c", "-o", "t.o", "t.c"], b"int x;\n");
        exchange(daemon.port, &bytes, false).unwrap().escape_ascii().to_string()
    };
    assert_eq!(
        ask(Version::Plain, "fixed"),
        "DONE00000001STAT00000000SERR00000004err\\nSOUT00000004out\\nDOTO00000003OBJ"
    );
    assert_eq!(
        ask(Version::Lzo, "fixed"),
        "DONE00000002STAT00000000SERR00000008\\x15err\\n\\x11\\x00\\x00SOUT00000008\\x15out\\n\\x11\\x00\\x00\
         DOTO00000007\\x14OBJ\\x11\\x00\\x00"
    );
    assert_eq!(
        ask(Version::Plain, "failing"),
        "DONE00000001STAT00000700SERR00000004err\\nSOUT00000004out\\nDOTO00000000"
    );
    assert_eq!(
        ask(Version::Plain, "dying"),
        "DONE00000001STAT00000009SERR00000006dying\\nSOUT00000000DOTO00000000"
    );
    assert!(ask(Version::Plain, "nosuchcc").starts_with("DONE00000001STAT00007100SERR"));
    for line in [
        "COMPILE_OK exit:0 sig:0 core:0 ret:0 time:",
        "COMPILE_ERROR exit:7 sig:0 core:0 ret:0 time:",
        "COMPILE_ERROR exit:0 sig:9 core:0 ret:0 time:",
    ] {
        wait_until("the line is written", || daemon.log().contains(line));
    }
    assert!(daemon.log().contains("fixed t.c"));
    workspace.assert_clean();
}

/// A daemon whose PATH begins with `servers`, and that allows what `masquerade` names.
pub fn daemon_with_servers(workspace: &Workspace, options: &[&str]) -> Daemon {
    Daemon::start(workspace, &mut servers_command(workspace, options))
}

/// The command that starts it.
pub fn servers_command(workspace: &Workspace, options: &[&str]) -> std::process::Command {
    let mut command = workspace.distccd_with_servers();
    command.arg("--masquerade-dir").arg(workspace.path("masquerade")).args(options);
    command
}

#[test]
fn refusals_are_answers() {
    let workspace = Workspace::new("refusals");
    let daemon = Daemon::ours(&workspace, &["--jobs", "2"]);
    for (words, says) in [
        (&["no-such-compiler", "-c", "a.c"][..], "is not allowed here"),
        (&["/bin/sh", "-c", "a.c"], "is not allowed here"),
        (&["../../bin/sh", "-c", "a.c"], "is not allowed here"),
        (&["/tmp/gcc", "-c", "a.c"], "is not the gcc that is allowed here"),
        (&["gcc", "-c", "a.c", "-fplugin=/tmp/x.so"], "-fplugin=/tmp/x.so"),
        (&["gcc", "-c", "a.c", "-wrapper", "/bin/sh"], "-wrapper"),
        (&["gcc", "-c", "a.c", "-B/tmp"], "-B/tmp"),
        (&["gcc", "-c", "a.c", "-specs=/tmp/specs"], "-specs=/tmp/specs"),
        (&["gcc", "-c", "@/etc/passwd", "a.c"], "@/etc/passwd"),
        (&["gcc", "-c", "a.c", "-save-temps"], "-save-temps"),
        (&["gcc", "-c", "a.c", "-Wa,-alh=/tmp/x"], "-Wa,"),
        (&["gcc", "-E", "a.c"], "-E"),
        (&["gcc", "-c", "a.c", "b.c"], "b.c"),
        (&["gcc", "a.c"], "-c"),
        (&["gcc"], "-c"),
        (&["-c", "a.c"], "-c"),
    ] {
        let reply = exchange(daemon.port, &request(Version::Plain, words, b"int x;\n"), false).unwrap();
        let text = String::from_utf8_lossy(&reply);
        // A compiler that is not allowed is left alone by our clients; a refused option is that job's matter.
        let code = if says.contains("allowed here") { 113 } else { 101 };
        assert!(text.starts_with(&format!("DONE00000001STAT{:08x}", code << 8)), "{words:?}: {text}");
        assert!(text.contains(says), "{words:?}: {text}");
        assert!(text.ends_with("SOUT00000000DOTO00000000"), "{words:?}: {text}");
    }
    serve(&workspace, &daemon);
    workspace.assert_clean();
}

#[test]
fn at_most_jobs_compilers_run_at_once_and_in_order() {
    let workspace = Workspace::new("jobs");
    workspace.script("masquerade/slow", "");
    // Shows how many of it run at once, in a directory that the test gives.
    let count = workspace.path("tmp/../count");
    fs::create_dir(&count).unwrap();
    fs::set_permissions(&count, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    workspace.script(
        "servers/slow",
        &format!(
            "#!/bin/sh\nC='{}'; mkdir \"$C/$$\"; ls \"$C\" | wc -l; sleep 0.05; rmdir \"$C/$$\"; while [ \"$1\" != -o ]; do shift; done; : > \"$2\"\n",
            count.display()
        ),
    );
    let daemon = daemon_with_servers(&workspace, &["--jobs", "3"]);
    let port = daemon.port;
    let clients: Vec<_> = (0..24)
        .map(|_| {
            std::thread::spawn(move || {
                let bytes = request(Version::Plain, &["slow", "-c", "a.c"], b"int x;\n");
                let reply = exchange(port, &bytes, false).unwrap();
                let text = String::from_utf8(reply).unwrap();
                assert!(text.starts_with("DONE00000001STAT00000000"), "{text}");
                text.split("SOUT00000002").nth(1).unwrap()[..1].parse::<u32>().unwrap()
            })
        })
        .collect();
    let most = clients.into_iter().map(|client| client.join().unwrap()).max().unwrap();
    assert_eq!(most, 3);
    daemon.wait_for_jobs("COMPILE_OK", 24);
}

#[test]
fn idle_connections_do_not_delay_a_job() {
    let workspace = Workspace::new("idle");
    let daemon = Daemon::ours(&workspace, &["--jobs", "2"]);
    serve(&workspace, &daemon);
    let mut idle: Vec<TcpStream> =
        (0..300).map(|_| TcpStream::connect(("127.0.0.1", daemon.port)).unwrap()).collect();
    for stream in idle.iter_mut().step_by(2) {
        stream.write_all(b"DIST00000001ARGC00000005ARGV").unwrap();
    }
    let start = Instant::now();
    serve(&workspace, &daemon);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    drop(idle);
    daemon.stop();
}

#[test]
fn a_client_that_leaves_ends_its_compiler() {
    let workspace = Workspace::new("leaves");
    workspace.script("masquerade/endless", "");
    let marker = workspace.path("count");
    fs::write(&marker, "").unwrap();
    fs::set_permissions(&marker, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    // The child of the compiler has to go as well.
    workspace.script(
        "servers/endless",
        &format!("#!/bin/sh\nsleep 1000 & echo $$ $! > '{}'; wait\n", marker.display()),
    );
    let daemon = daemon_with_servers(&workspace, &["--jobs", "1"]);
    let mut stream = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
    stream.write_all(&request(Version::Plain, &["endless", "-c", "a.c"], b"int x;\n")).unwrap();
    let mut pids = Vec::new();
    wait_until("the compiler runs", || {
        let text = fs::read_to_string(&marker).unwrap();
        pids = text.split_whitespace().map(|pid| pid.parse::<u32>().unwrap()).collect();
        pids.len() == 2
    });
    let start = Instant::now();
    drop(stream);
    wait_until("both processes have gone", || {
        pids.iter().all(|pid| !fs::exists(format!("/proc/{pid}/exe")).unwrap())
    });
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    daemon.wait_for_jobs("CLI_DISCONN", 1);
    workspace.assert_clean();
    // The slot is free again.
    serve(&workspace, &daemon);
}

#[test]
fn a_job_can_take_too_long() {
    let workspace = Workspace::new("lifetime");
    workspace.script("masquerade/endless", "");
    workspace.script("servers/endless", "#!/bin/sh\nsleep 1000\n");
    let daemon = daemon_with_servers(&workspace, &["--job-lifetime", "1", "--jobs", "1"]);
    let reply =
        exchange(daemon.port, &request(Version::Plain, &["endless", "-c", "a.c"], b"int x;\n"), false)
            .unwrap();
    let text = String::from_utf8_lossy(&reply);
    assert!(text.starts_with("DONE00000001STAT00007600SERR") && text.contains("--job-lifetime"), "{text}");
    daemon.wait_for_jobs("COMPILE_TIMEOUT", 1);
    serve(&workspace, &daemon);
    workspace.assert_clean();
}

#[test]
fn sigterm_lets_running_jobs_finish() {
    let workspace = Workspace::new("drain");
    workspace.script("masquerade/slow", "");
    workspace.script(
        "servers/slow",
        "#!/bin/sh\nsleep 1; while [ \"$1\" != -o ]; do shift; done; printf OBJ > \"$2\"\n",
    );
    let daemon = daemon_with_servers(&workspace, &["--jobs", "2"]);
    let mut stream = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
    stream.write_all(&request(Version::Plain, &["slow", "-c", "a.c"], b"int x;\n")).unwrap();
    let idle = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
    wait_until("the compiler runs", || workspace.compiles());
    std::thread::sleep(Duration::from_millis(100));
    let (port, processes) = (daemon.port, daemon.processes());
    assert!(processes.len() > 1);
    let log = daemon.stop();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    assert!(reply.ends_with(b"DOTO00000003OBJ"), "{}", reply.escape_ascii());
    assert!(log.contains("COMPILE_OK"), "{log}");
    drop(idle);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody listens any more");
    assert!(processes.iter().all(|pid| !fs::exists(format!("/proc/{pid}")).unwrap()), "no process is left");
    workspace.assert_clean();
}

#[test]
fn a_second_sigterm_does_not_wait() {
    let workspace = Workspace::new("second");
    workspace.script("masquerade/endless", "");
    workspace.script("servers/endless", "#!/bin/sh\nsleep 1000\n");
    let daemon = daemon_with_servers(&workspace, &["--jobs", "2"]);
    let mut stream = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
    stream.write_all(&request(Version::Plain, &["endless", "-c", "a.c"], b"int x;\n")).unwrap();
    wait_until("the compiler runs", || {
        processes_of(&workspace).iter().any(|line| line.contains("sleep 1000"))
    });
    daemon.signal(libc::SIGTERM);
    std::thread::sleep(Duration::from_millis(200));
    daemon.stop();
    workspace.assert_clean();
    wait_until("no process is left", || processes_of(&workspace).is_empty());
}

#[test]
fn a_killed_supervisor_takes_everything_with_it() {
    let workspace = Workspace::new("supervisor");
    workspace.script("masquerade/endless", "");
    workspace.script("servers/endless", "#!/bin/sh\nsleep 1000\n");
    let daemon = daemon_with_servers(&workspace, &["--jobs", "2"]);
    let mut stream = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
    stream.write_all(&request(Version::Plain, &["endless", "-c", "a.c"], b"int x;\n")).unwrap();
    wait_until("the compiler runs", || {
        processes_of(&workspace).iter().any(|line| line.contains("sleep 1000"))
    });
    let workers = children(daemon.pid());
    daemon.signal(libc::SIGKILL);
    wait_until("the workers have gone", || {
        workers.iter().all(|pid| !fs::exists(format!("/proc/{pid}/exe")).unwrap())
    });
    workspace.assert_clean();
}

#[test]
fn a_killed_worker_is_replaced_and_its_slots_come_back() {
    let workspace = Workspace::new("worker");
    let daemon = Daemon::ours(&workspace, &["--jobs", "1"]);
    for round in 1..=3 {
        wait_until("there is a worker", || children(daemon.pid()).len() == 1);
        let workers = children(daemon.pid());
        signal_pid(workers[0], libc::SIGKILL);
        wait_until("there is another worker", || {
            children(daemon.pid()).first().is_some_and(|pid| *pid != workers[0])
        });
        serve(&workspace, &daemon);
        daemon.wait_for_jobs("COMPILE_OK", round);
    }
}

#[test]
fn it_leaves_the_terminal_and_keeps_a_pid_file() {
    let workspace = Workspace::new("detach");
    let (log, pid_file) = (workspace.path("tmp/../d.log"), workspace.path("d.pid"));
    let port = free_port().to_string();
    succeed(
        workspace
            .command(workspace.path("bin/distccd"))
            .args(["--daemon", "--listen", "127.0.0.1", "-p", &port, "-j2", "-N", "0"])
            .arg("--pid-file")
            .arg(&pid_file)
            .arg("--log-file")
            .arg(&log),
    );
    // When the start command has returned, the port accepts.
    workspace.write("a.c", "int x;\n");
    succeed(
        workspace.distcc(&format!("127.0.0.1:{port}")).env("DISTCC_FALLBACK", "0").args(["gcc", "-c", "a.c"]),
    );
    wait_until("the pid file is written", || !fs::read_to_string(&pid_file).unwrap().is_empty());
    let pid: u32 = fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    assert_eq!(children(pid).len(), 2);
    signal_pid(pid, libc::SIGTERM);
    wait_until("it has ended", || {
        !fs::exists(format!("/proc/{pid}")).unwrap() || field(pid, "status", "PPid:") == 0
    });
    let log = fs::read_to_string(&log).unwrap();
    assert!(log.contains("COMPILE_OK") && log.contains("preforking daemon started"), "{log}");
    wait_until("the pid file has gone or is empty", || {
        fs::read_to_string(&pid_file).unwrap_or_default().is_empty()
    });
}

#[test]
fn root_becomes_somebody_else() {
    if !is_root() {
        eprintln!("SKIPPED: only root can drop privileges");
        return;
    }
    let workspace = Workspace::new("user");
    for (user, options) in [("nobody", &["--user", "nobody"][..]), ("", &[])] {
        let daemon = Daemon::ours(&workspace, options);
        // It says where it listens before it becomes somebody else.
        wait_until("all are there", || daemon.processes().len() > 1);
        for pid in daemon.processes() {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let line = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                line.split_whitespace().map(|id| id.parse().unwrap()).collect::<Vec<u32>>()
            };
            let (uids, gids, groups) = (line("Uid:"), line("Gid:"), line("Groups:"));
            assert!(uids.iter().all(|uid| *uid == uids[0] && *uid != 0), "{uids:?}");
            assert!(gids.iter().all(|gid| *gid == gids[0] && *gid != 0), "{gids:?}");
            assert_eq!(groups, [gids[0]]);
            assert_eq!(line("NoNewPrivs:"), [1]);
            if user == "nobody" {
                assert_eq!(uids[0], 65534);
            }
        }
    }
}

pub fn is_root() -> bool {
    field(std::process::id(), "status", "Uid:") == 0
}

#[test]
fn the_wrong_address_is_refused() {
    let workspace = Workspace::new("access");
    let daemon = Daemon::ours(&workspace, &["--allow", "10.0.0.0/8"]);
    assert_eq!(exchange(daemon.port, b"", true).unwrap(), b"");
    wait_until("the refusal is logged", || daemon.log().contains("denied by access list"));
    assert_eq!(daemon.jobs(""), 0);
}

#[test]
fn start_failures_have_their_codes() {
    let workspace = Workspace::new("start");
    let daemon = Daemon::ours(&workspace, &[]);
    let port = daemon.port.to_string();
    let start = |options: &[&str]| {
        let output = run(workspace
            .command(workspace.path("bin/distccd"))
            .args(["--daemon", "--no-detach", "--log-stderr", "--listen", "127.0.0.1"])
            .args(options));
        (output.status.code().unwrap(), stderr(&output))
    };
    let (code, text) = start(&["--port", &port]);
    assert_eq!(code, 102);
    assert!(text.contains(&format!("bind of 127.0.0.1:{port} failed: Address ")), "{text}");
    for options in [&["--port", "99999"][..], &["--allow", "10.0.0.0/33"], &["--jobs", "none"], &["--what"]] {
        let (code, text) = start(options);
        assert_eq!(code, 101, "{options:?}");
        assert!(text.starts_with("distccd: ERROR: "), "{text}");
    }
}

#[test]
fn a_compiler_inherits_nothing() {
    let workspace = Workspace::new("inherits");
    workspace.script("masquerade/nosy", "");
    workspace.script(
        "servers/nosy",
        "#!/bin/sh\nls -l /proc/self/fd; env; pwd; ulimit -c; umask; while [ \"$1\" != -o ]; do shift; done; : > \"$2\"\n",
    );
    let daemon = daemon_with_servers(&workspace, &[]);
    let reply =
        exchange(daemon.port, &request(Version::Plain, &["nosy", "-c", "a.c"], b"int x;\n"), false).unwrap();
    let text = String::from_utf8_lossy(&reply);
    assert!(!text.contains("socket:"), "{text}");
    assert!(!text.contains("eventpoll"), "{text}");
    assert!(!text.contains("daemon0.log") && !text.contains(".log"), "{text}");
    for absent in ["DISTCC_DIR", "DISTCC_HOSTS"] {
        assert!(!text.contains(absent), "{text}");
    }
    for present in ["_DISTCC_SAFEGUARD=1", "PATH=", "TMPDIR="] {
        assert!(text.contains(present), "{present}: {text}");
    }
    assert!(text.contains("/distccd_"), "it works in its own directory: {text}");
}

#[test]
fn a_command_list_replaces_the_other_rules() {
    let workspace = Workspace::new("cmdlist");
    workspace.script("masquerade/listed", "");
    workspace.script(
        "elsewhere/bin/special",
        "#!/bin/sh\necho \"$0\"; while [ \"$1\" != -o ]; do shift; done; printf OBJ > \"$2\"\n",
    );
    let special = workspace.path("elsewhere/bin/special");
    let list = workspace.path("commands");
    fs::write(&list, format!("{}\n", special.display())).unwrap();
    let start = |list: &std::path::Path| {
        let mut command = workspace.distccd();
        command.env("DISTCC_CMDLIST", list).arg("--masquerade-dir").arg(workspace.path("masquerade"));
        command
    };
    let daemon = Daemon::start(&workspace, &mut start(&list));
    let ask = |compiler: &str| {
        let bytes = request(Version::Plain, &[compiler, "-c", "a.c"], b"int x;\n");
        String::from_utf8_lossy(&exchange(daemon.port, &bytes, false).unwrap()).into_owned()
    };
    for name in ["special", "/usr/bin/special"] {
        let reply = ask(name);
        assert!(reply.starts_with("DONE00000001STAT00000000"), "{reply}");
        assert!(reply.contains(&*special.to_string_lossy()), "the whole line is run: {reply}");
    }
    assert!(ask("listed").contains("the command list (DISTCC_CMDLIST) has no such command"));
    assert!(ask("gcc").contains("not allowed here"));
    // One that cannot be read allows nothing: the daemon does not start.
    let output = run(&mut start(&workspace.path("no-such-list")));
    assert_eq!(output.status.code(), Some(101));
    assert!(stderr(&output).contains("no-such-list"), "{}", explain(&output));
}

#[test]
fn compilers_are_allowed_by_pattern_and_listed_with_their_rule() {
    let workspace = Workspace::new("patterns");
    workspace
        .script("servers/mycc-1", "#!/bin/sh\nwhile [ \"$1\" != -o ]; do shift; done; printf OBJ > \"$2\"\n");
    workspace.script("masquerade/gone", "");
    // Listed, but in a directory that only root may enter.
    workspace.script("closed/hidden", "#!/bin/sh\n");
    workspace.script("masquerade/hidden", "");
    let closed = workspace.path("closed");
    fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let options = ["--allow-compiler", "mycc-?", "--masquerade-dir", closed.to_str().unwrap()];
    let daemon = daemon_with_servers(&workspace, &options);
    let ask = |compiler: &str| {
        let bytes = request(Version::Plain, &[compiler, "-c", "a.c"], b"int x;\n");
        String::from_utf8_lossy(&exchange(daemon.port, &bytes, false).unwrap()).into_owned()
    };
    assert!(ask("mycc-1").contains("DOTO00000003OBJ"));
    let refusal = ask("mycc-12");
    assert!(refusal.contains("is not allowed here"), "{refusal}");
    assert!(!is_root() || refusal.contains("/closed (which is closed to the server's user)"), "{refusal}");

    let path =
        format!("{}:/not-there:{}:/usr/bin:/bin", workspace.path("servers").display(), closed.display());
    let output = succeed(
        workspace
            .command(workspace.path("bin/distccd"))
            .env("PATH", path)
            .args(["--list-compilers", "--allow-compiler", "mycc-?", "--masquerade-dir"])
            .arg(workspace.path("masquerade")),
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |name: &str| {
        text.lines()
            .find(|line| line.starts_with(&format!("{name}\t")))
            .unwrap_or_else(|| panic!("{name}: {text}"))
    };
    assert!(line("mycc-1").ends_with("servers/mycc-1\t--allow-compiler mycc-?"), "{text}");
    assert!(line("gcc").contains("\t/usr/bin/gcc\t"), "{text}");
    assert!(line("gone").contains("cannot be run: "), "{text}");
    if is_root() {
        assert!(
            line("hidden").contains(&format!("cannot enter the directory {}", closed.display())),
            "{text}"
        );
    }
}

#[test]
fn connections_are_limited_and_silent_ones_make_way() {
    let workspace = Workspace::new("limits");
    // One worker, so that its share is all.
    let daemon = Daemon::ours(
        &workspace,
        &["--jobs", "1", "--max-connections", "50", "--max-connections-per-client", "20"],
    );
    let mut silent: Vec<TcpStream> =
        (0..60).map(|_| TcpStream::connect(("127.0.0.1", daemon.port)).unwrap()).collect();
    serve(&workspace, &daemon);
    daemon.wait_for_jobs("COMPILE_OK", 1);
    let worker = children(daemon.pid())[0];
    let open = || fs::read_dir(format!("/proc/{worker}/fd")).unwrap().count();
    assert!(open() <= 20 + 12, "{} descriptors", open());
    // Who has begun a request keeps its place, and then there is no room.
    silent.clear();
    let mut begun: Vec<TcpStream> =
        (0..20).map(|_| TcpStream::connect(("127.0.0.1", daemon.port)).unwrap()).collect();
    for stream in &mut begun {
        stream.write_all(b"DIST0000").unwrap();
    }
    wait_until("all have begun", || daemon.log().matches("connection from").count() >= 81);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(exchange(daemon.port, b"", false), Some(vec![]));
    wait_until("the refusal is logged", || daemon.log().contains("too many connections"));
    drop(begun);
    serve(&workspace, &daemon);
}

#[test]
fn compressed_sources_wait_in_files_when_there_are_many() {
    let workspace = Workspace::new("spill");
    workspace.script("masquerade/sums", "");
    // Says what the source was; a real compiler needs seconds for each.
    let sums = "for word; do case $word in *.i) source=$word;; esac; done
        while [ \"$1\" != -o ]; do shift; done; cksum < \"$source\" > \"$2\"";
    workspace.script("servers/sums", &format!("#!/bin/sh\n{sums}\n"));
    let daemon = daemon_with_servers(&workspace, &["--jobs", "1", "--nice", "0"]);
    serve(&workspace, &daemon);
    let before = daemon.memory();
    // Noise in a comment does not shrink; the last byte is kept back, so that all wait.
    let mut state = 1u64;
    let mut letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'a' + (state >> 40) as u8 % 26)
    };
    let noise: String = (0..6 << 20).map(|_| letter()).collect();
    let source = format!("# 1 \"a.c\"\nconst char noise[] = \"{noise}\";\n");
    let bytes = request(Version::Lzo, &["sums", "-c", "a.c"], source.as_bytes());
    workspace.write("source", &source);
    let sum = succeed(workspace.command("sh").args(["-c", "cksum < source"])).stdout;
    assert!(bytes.len() > 5 << 20, "{}", bytes.len());
    let (last, most) = bytes.split_last().unwrap();
    let mut waiting: Vec<TcpStream> = (0..12)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
            stream.write_all(most).unwrap();
            stream
        })
        .collect();
    let held = daemon.memory() - before;
    assert!(held < 70 << 10, "{held} kB are held in memory for {} kB of sources", 12 * bytes.len() / 1024);
    for stream in &mut waiting {
        stream.write_all(&[*last]).unwrap();
    }
    for stream in &mut waiting {
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).unwrap();
        assert!(object_of(Version::Lzo, &reply).is_some_and(|it| it == sum), "{}", reply.escape_ascii());
    }
    daemon.wait_for_jobs("COMPILE_OK", 13);
    workspace.assert_clean();
}

#[test]
fn the_oom_score_goes_to_the_workers() {
    let workspace = Workspace::new("oom");
    let daemon = Daemon::ours(&workspace, &["--oom-score-adj", "321"]);
    wait_until("there are workers", || !children(daemon.pid()).is_empty());
    for pid in children(daemon.pid()) {
        assert_eq!(fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap().trim(), "321");
    }
}

#[test]
fn niceness_and_log_level_are_as_asked() {
    let workspace = Workspace::new("nice");
    let own: i64 = niceness(std::process::id());
    let daemon = Daemon::ours(&workspace, &["--nice", "7", "--log-level", "notice"]);
    wait_until("there are workers", || !children(daemon.pid()).is_empty());
    for pid in daemon.processes() {
        assert_eq!(niceness(pid), (own + 7).min(19));
    }
    serve(&workspace, &daemon);
    daemon.wait_for_jobs("COMPILE_OK", 1);
    assert!(!daemon.log().contains("connection from"), "that is info: {}", daemon.log());
}

fn niceness(pid: u32) -> i64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The 19th field of proc(5); the name in parentheses may contain anything.
    stat.rsplit(')').next().unwrap().split_whitespace().nth(16).unwrap().parse().unwrap()
}

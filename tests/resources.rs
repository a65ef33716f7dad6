use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use distcc::wire::Version;

use crate::daemon::{daemon_with_servers, is_root, servers_command};
use crate::util::net::connect_from;
use crate::util::peer::{exchange, request};
use crate::util::*;

const OBJECT: &str = "while [ \"$1\" != -o ]; do shift; done; printf OBJ > \"$2\"";

/// A stub compiler called `name`.
fn stub(workspace: &Workspace, name: &str, script: &str) {
    // The names of real compilers are there, as links that are not to be written through.
    if !workspace.path(&format!("masquerade/{name}")).is_symlink() {
        workspace.script(&format!("masquerade/{name}"), "");
    }
    workspace.script(&format!("servers/{name}"), &format!("#!/bin/sh\n{script}\n"));
}

/// A file that the daemon's user may write.
fn shared(workspace: &Workspace, name: &str) -> PathBuf {
    let path = workspace.path(name);
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    path
}

fn job(compiler: &str, file: &str) -> Vec<u8> {
    request(Version::Plain, &[compiler, "-c", file], b"int x;\n")
}

/// In the order of arrival, and in turns for client addresses: who has sent twenty jobs does not keep another's one
/// waiting for all of them.
#[test]
fn clients_take_turns_and_jobs_their_order() {
    let workspace = Workspace::new("turns");
    let order = shared(&workspace, "order");
    let go = shared(&workspace, "go");
    // Which job it is says an option of a family that is passed on.
    stub(
        &workspace,
        "slow",
        &format!(
            "while [ ! -s '{}' ]; do sleep 0.01; done
            for word; do case $word in -fno-job*) echo \"$word\" >> '{}';; esac; done; {OBJECT}",
            go.display(),
            order.display()
        ),
    );
    let daemon = daemon_with_servers(
        &workspace,
        &["--jobs", "1", "--allow", "127.0.0.0/8", "--stats", "--stats-port", "0"],
    );
    let mut streams = Vec::new();
    let mut send = |client: u8, name: &str| {
        let mut stream = connect_from(Ipv4Addr::new(127, 0, 0, client), daemon.port, None).unwrap();
        stream
            .write_all(&request(Version::Plain, &["slow", &format!("-fno-{name}"), "-c", "a.c"], b"int x;\n"))
            .unwrap();
        streams.push(stream);
        // One after the other, as the daemon sees it.
        wait_until("it has come", || daemon.log().matches("connection from").count() == streams.len());
        std::thread::sleep(Duration::from_millis(20));
    };
    for number in 0..6 {
        send(1, &format!("job-a{number}"));
    }
    send(2, "job-b0");
    send(2, "job-b1");
    send(3, "job-c0");
    fs::write(&go, "go").unwrap();
    for stream in &mut streams {
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).unwrap();
        assert!(reply.ends_with(b"DOTO00000003OBJ"), "{}", reply.escape_ascii());
    }
    let order = fs::read_to_string(order).unwrap().replace("-fno-job-", "");
    // The first had the slot when the others came.
    assert_eq!(
        order.split_whitespace().collect::<Vec<_>>(),
        ["a0", "a1", "b0", "c0", "a2", "b1", "a3", "a4", "a5"]
    );
}

/// How many of a stub run at once, at most, while 8 jobs are served.
fn most_at_once(options: &[&str]) -> (u32, String) {
    let workspace = Workspace::new("memory");
    let count = workspace.path("count");
    fs::create_dir(&count).unwrap();
    fs::set_permissions(&count, fs::Permissions::from_mode(0o777)).unwrap();
    let script = format!(
        "C='{}'; mkdir \"$C/$$\"; ls \"$C\" | wc -l; sleep 0.1; rmdir \"$C/$$\"; {OBJECT}",
        count.display()
    );
    stub(&workspace, "slow", &script);
    let daemon = daemon_with_servers(&workspace, &[&["--jobs", "4"], options].concat());
    let port = daemon.port;
    let clients: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn(move || {
                let reply = String::from_utf8(exchange(port, &job("slow", "a.c"), false).unwrap()).unwrap();
                assert!(reply.ends_with("DOTO00000003OBJ"), "{reply}");
                reply.split("SOUT00000002").nth(1).unwrap()[..1].parse().unwrap()
            })
        })
        .collect();
    let most = clients.into_iter().map(|client| client.join().unwrap()).max().unwrap();
    daemon.wait_for_jobs("COMPILE_OK", 8);
    (most, daemon.stop())
}

#[test]
fn short_of_memory_jobs_wait_but_one() {
    // No machine has all of its memory available.
    let (most, log) = most_at_once(&["--min-free-mem", "100"]);
    assert_eq!(most, 1);
    assert_eq!(log.matches("memory is short").count(), 1, "once, not for each job: {log}");
    let (most, log) = most_at_once(&["--min-free-mem", "0"]);
    assert_eq!(most, 4);
    assert!(!log.contains("memory is short"));
}

#[test]
fn a_single_process_serves_one_job_at_a_time() {
    let (most, log) = most_at_once(&["--no-fork"]);
    assert_eq!(most, 1);
    assert!(log.contains("non-forking daemon started"), "{log}");
}

#[test]
fn a_compiler_may_not_take_more_memory_than_it_gets() {
    let workspace = Workspace::new("eats");
    // It grows by doubling, until it gets no more and dies.
    stub(&workspace, "gcc", "x=0123456789abcdef; while :; do x=$x$x; done");
    let daemon = daemon_with_servers(&workspace, &["--job-memory", "64", "--jobs", "1"]);
    let reply = exchange(daemon.port, &job("gcc", "a.c"), false).unwrap();
    let text = String::from_utf8_lossy(&reply);
    assert!(text.contains("distccd: compilers have 64 MB of memory here (--job-memory)"), "{text}");
    assert!(!text.starts_with("DONE00000001STAT00000000"), "{text}");
    // And one that says so itself, as gcc does.
    stub(&workspace, "cc", "echo 'cc1: out of memory allocating 4064 bytes' >&2; exit 1");
    let reply = exchange(daemon.port, &job("cc", "a.c"), false).unwrap();
    assert!(String::from_utf8_lossy(&reply).contains("4064 bytes\ndistccd: compilers have 64 MB"));
    // The build does not notice, but for the line that says why.
    workspace.write("a.c", "int x;\n");
    let mut client = workspace.distcc(&daemon.host());
    // As the stub is called.
    let output = succeed(client.env("DISTCC_NO_REWRITE_CROSS", "1").args(["gcc", "-c", "a.c"]));
    assert!(fs::metadata(workspace.work().join("a.o")).unwrap().len() > 0);
    assert_eq!(own_lines(&output).len(), 1, "{}", explain(&output));
    daemon.wait_for_jobs("COMPILE_ERROR", 3);
    // A real compiler gets by.
    let daemon = Daemon::ours(&workspace, &["--job-memory", "1024"]);
    succeed(workspace.distcc(&daemon.host()).env("DISTCC_FALLBACK", "0").args(["gcc", "-c", "a.c"]));
    workspace.assert_clean();
}

#[test]
fn the_privileges_of_root_are_gone_everywhere() {
    if !is_root() {
        assert!(std::env::var_os("CI").is_none(), "only root can drop privileges");
        eprintln!("SKIPPED: only root can drop privileges");
        return;
    }
    let workspace = Workspace::new("privileges");
    stub(&workspace, "nosy", &format!("cat /proc/self/status; {OBJECT}"));
    for mode in [&[][..], &["--no-fork"]] {
        let daemon = daemon_with_servers(&workspace, &[&["--user", "nobody"], mode].concat());
        wait_until("it has started", || daemon.log().contains("daemon started"));
        wait_until("there are workers", || mode.is_empty() != children(daemon.pid()).is_empty());
        let mut texts: Vec<String> = daemon
            .processes()
            .iter()
            .map(|pid| fs::read_to_string(format!("/proc/{pid}/status")).unwrap())
            .collect();
        let reply = exchange(daemon.port, &job("nosy", "a.c"), false).unwrap();
        texts.push(String::from_utf8_lossy(&reply).into_owned());
        for text in &texts {
            let line = |name: &str| {
                let line = text
                    .lines()
                    .find_map(|line| line.split_once(name))
                    .unwrap_or_else(|| panic!("{name}: {text}"));
                line.1.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
            };
            // Real, effective, saved and file system: none leads back.
            assert_eq!(line("Uid:"), ["65534"; 4]);
            assert_eq!(line("Gid:"), ["65534"; 4]);
            assert_eq!(line("Groups:"), ["65534"]);
            assert_eq!(line("NoNewPrivs:"), ["1"]);
            for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
                assert_eq!(line(set), ["0000000000000000"], "{set}");
            }
        }
    }
}

#[test]
fn jobs_of_a_killed_worker_are_counted_as_lost() {
    let workspace = Workspace::new("lost");
    stub(&workspace, "endless", "sleep 1000");
    let daemon = daemon_with_servers(&workspace, &["--jobs", "1", "--stats", "--stats-port", "0"]);
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains("stats server listening on ")).unwrap();
    let stats: u16 = line.rsplit(':').next().unwrap().parse().unwrap();
    let page = |path: &str| {
        let reply = exchange(stats, format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes(), false).unwrap();
        String::from_utf8(reply).unwrap()
    };
    let mut streams: Vec<_> =
        (0..3).map(|_| TcpStream::connect(("127.0.0.1", daemon.port)).unwrap()).collect();
    for stream in &mut streams {
        stream.write_all(&job("endless", "a.c")).unwrap();
    }
    wait_until("one runs and two wait", || page("/metrics").contains("distccd_jobs_waiting 2\n"));
    signal_pid(children(daemon.pid())[0], libc::SIGKILL);
    wait_until("they are counted", || page("/metrics").contains("distccd_jobs_total{result=\"lost\"} 3\n"));
    assert!(page("/").contains("dcc_other 3\n"));
    for stream in &mut streams {
        // Closed without an answer, so that the client goes on at once.
        assert!(!matches!(stream.read(&mut [0; 100]), Ok(1..)));
    }
}

#[test]
fn a_pid_file_belongs_to_one_daemon() {
    let workspace = Workspace::new("pid");
    let path = workspace.path("home/d.pid");
    let pid_file = path.to_str().unwrap();
    // What a daemon that was killed has left.
    fs::write(&path, "999999999\n").unwrap();
    for mode in [&[][..], &["--no-fork"]] {
        let daemon = Daemon::ours(&workspace, &[&["--pid-file", pid_file], mode].concat());
        wait_until("it is written", || {
            fs::read_to_string(&path).unwrap_or_default() == format!("{}\n", daemon.pid())
        });
        let second = run(workspace.distccd().args(["--pid-file", pid_file]));
        assert_eq!(second.status.code(), Some(100), "{}", explain(&second));
        let says = format!("another distccd (process {}) has the pid file {pid_file}", daemon.pid());
        assert!(stderr(&second).contains(&says), "{}", explain(&second));
        // The end of a worker, and a compiler that cannot be executed, do not remove it (stock's do).
        if let Some(worker) = children(daemon.pid()).first() {
            signal_pid(*worker, libc::SIGKILL);
            wait_until("there is another", || !children(daemon.pid()).is_empty());
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", daemon.pid()));
        daemon.stop();
        assert!(!path.exists(), "it is removed");
    }
    // Killed, it leaves the file and no lock.
    let daemon = Daemon::ours(&workspace, &["--pid-file", pid_file]);
    wait_until("it is written", || fs::read_to_string(&path).is_ok_and(|text| !text.is_empty()));
    let workers = children(daemon.pid());
    daemon.signal(libc::SIGKILL);
    wait_until("it has gone", || workers.iter().all(|pid| !fs::exists(format!("/proc/{pid}/exe")).unwrap()));
    assert!(path.exists());
    let next = Daemon::ours(&workspace, &["--pid-file", pid_file]);
    wait_until("it is taken over", || {
        fs::read_to_string(&path).unwrap_or_default() == format!("{}\n", next.pid())
    });
}

#[test]
fn kept_files_stay() {
    let workspace = Workspace::new("kept");
    let mut command = servers_command(&workspace, &[]);
    let daemon = Daemon::start(&workspace, command.env("DISTCC_SAVE_TEMPS", "1"));
    for _ in 0..2 {
        exchange(daemon.port, &job("gcc", "a.c"), false).unwrap();
    }
    daemon.wait_for_jobs("COMPILE_OK", 2);
    daemon.stop();
    let left = workspace.leftovers();
    assert_eq!(left.len(), 2, "{left:?}");
    for dir in left {
        assert_eq!(fs::read(dir.join("source.i")).unwrap(), b"int x;\n");
        assert!(fs::metadata(dir.join("object")).unwrap().len() > 0);
    }
    // The next daemon that is not to keep them sweeps them.
    let daemon = Daemon::ours(&workspace, &[]);
    workspace.assert_clean();
    daemon.stop();
}

#[test]
fn a_silent_client_is_let_go_after_the_io_timeout() {
    let workspace = Workspace::new("silent");
    let mut command = servers_command(&workspace, &[]);
    let daemon = Daemon::start(&workspace, command.env("DISTCC_IO_TIMEOUT", "1"));
    let reply = exchange(daemon.port, b"DIST00000001ARGC0000", false);
    assert_eq!(reply.as_deref(), Some(&[][..]));
    wait_until("it is logged", || daemon.log().contains("nothing moved for 1 s"));
}

#[test]
fn specs_files_below_the_sysroot_are_allowed() {
    let workspace = Workspace::new("specs");
    stub(&workspace, "showing", &format!("echo \"$@\"; {OBJECT}"));
    for name in ["sysroot/lib/nano.specs", "outside.specs"] {
        fs::create_dir_all(workspace.path(name).parent().unwrap()).unwrap();
        fs::write(workspace.path(name), "").unwrap();
    }
    let sysroot = workspace.path("sysroot");
    let ask = |daemon: &Daemon, option: &str| {
        let bytes = request(Version::Plain, &["showing", option, "-c", "a.c"], b"int x;\n");
        String::from_utf8_lossy(&exchange(daemon.port, &bytes, false).unwrap()).into_owned()
    };
    let daemon = daemon_with_servers(&workspace, &["--sysroot", sysroot.to_str().unwrap()]);
    let file = format!("-specs={}", fs::canonicalize(sysroot.join("lib/nano.specs")).unwrap().display());
    for option in ["-specs=lib/nano.specs", "--specs=/lib/nano.specs"] {
        assert!(ask(&daemon, option).contains(&file), "{option}");
    }
    for option in ["-specs=../outside.specs", "-specs=lib", "-specs=none", "-specs=/etc/passwd"] {
        let reply = ask(&daemon, option);
        assert!(reply.contains(&format!("option {option} is refused")), "{option}: {reply}");
    }
    let without = daemon_with_servers(&workspace, &[]);
    assert!(ask(&without, "-specs=lib/nano.specs").contains("is refused"));
}

#[test]
fn a_path_of_its_own_is_where_compilers_are() {
    let workspace = Workspace::new("path");
    stub(&workspace, "special", &format!("echo \"path $PATH\"; {OBJECT}"));
    let path = format!("{}:/usr/bin", workspace.path("servers").display());
    let mut command = servers_command(&workspace, &[]);
    command.env("PATH", "/usr/bin").env("DISTCCD_PATH", &path);
    let daemon = Daemon::start(&workspace, &mut command);
    let reply = exchange(daemon.port, &job("special", "a.c"), false).unwrap();
    let text = String::from_utf8_lossy(&reply);
    assert!(text.contains(&format!("path {path}\n")), "{text}");
}

/// Who connects and says nothing is the kernel's for a while, unless that is switched off.
#[test]
fn silent_connections_are_accepted_late() {
    let workspace = Workspace::new("defer");
    for late in [true, false] {
        let mut command = servers_command(&workspace, &[]);
        let daemon =
            Daemon::start(&workspace, command.env("DISTCC_TCP_DEFER_ACCEPT", ["0", "1"][usize::from(late)]));
        wait_until("it has started", || daemon.log().contains("daemon started"));
        let connected = Instant::now();
        let _silent = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
        if late {
            // Who says something does not wait for it.
            exchange(daemon.port, &job("gcc", "a.c"), false).unwrap();
            daemon.wait_for_jobs("COMPILE_OK", 1);
            let early = connected.elapsed() < Duration::from_millis(900);
            assert!(!early || daemon.log().matches("connection from").count() == 1, "{}", daemon.log());
        }
        wait_until("it is accepted", || {
            daemon.log().matches("connection from").count() == 1 + usize::from(late)
        });
    }
}

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use distcc::wire::Version;

use crate::daemon::{daemon_with_servers, is_root};
use crate::util::peer::{exchange, request};
use crate::util::*;

/// Stock's words, each from a job that ends so, in lines of stock's shape.
#[test]
fn every_kind_of_job_has_its_line() {
    let workspace = Workspace::new("words");
    for (name, script) in [
        ("fixed", "while [ \"$1\" != -o ]; do shift; done; printf OBJ > \"$2\""),
        ("failing", "exit 7"),
        ("dying", "kill -9 $$"),
        ("endless", "sleep 1000"),
    ] {
        workspace.script(&format!("masquerade/{name}"), "");
        workspace.script(&format!("servers/{name}"), &format!("#!/bin/sh\n{script}\n"));
    }
    let daemon = daemon_with_servers(&workspace, &["--jobs", "1", "--job-lifetime", "1"]);
    let job = |compiler: &str| request(Version::Plain, &[compiler, "-c", "dir/a.c"], b"int x;\n");
    let connect = || TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
    for compiler in ["fixed", "failing", "dying", "endless", "unheard-of"] {
        exchange(daemon.port, &job(compiler), false).unwrap();
    }
    exchange(daemon.port, b"GET / HTTP/1.0\r\n\r\n", false).unwrap();
    exchange(daemon.port, b"DIST00000001ARGC0000", true).unwrap();
    let mut leaves = connect();
    leaves.write_all(&job("endless")).unwrap();
    wait_until("its compiler runs", || processes_of(&workspace).iter().any(|it| it.contains("sleep 1000")));
    leaves.shutdown(Shutdown::Both).unwrap();
    drop(leaves);
    daemon.wait_for_jobs("CLI_DISCONN", 1);
    // Comes in while the daemon ends, so it is refused.
    let mut late = connect();
    let bytes = job("fixed");
    late.write_all(&bytes[..10]).unwrap();
    wait_until("it is connected", || daemon.log().matches("connection from").count() == 9);
    std::thread::sleep(std::time::Duration::from_millis(100));
    daemon.signal(libc::SIGTERM);
    wait_until("it ends", || daemon.log().contains("finishing the running jobs"));
    std::thread::sleep(std::time::Duration::from_millis(100));
    late.write_all(&bytes[10..]).unwrap();
    late.read_to_end(&mut Vec::new()).unwrap();
    let log = daemon.stop();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("dcc_job_summary")).collect();
    for wanted in [
        "COMPILE_OK exit:0 sig:0 core:0 ret:0 time: fixed dir/a.c",
        "COMPILE_ERROR exit:7 sig:0 core:0 ret:0 time: failing dir/a.c",
        "COMPILE_ERROR exit:0 sig:9 core:0 ret:0 time: dying dir/a.c",
        "COMPILE_TIMEOUT exit:118 sig:0 core:0 ret:0 time: ",
        "OTHER exit:113 sig:0 core:0 ret:113 time: ",
        "REJ_BAD_REQ exit:0 sig:0 core:0 ret:109 time: ",
        "OTHER exit:0 sig:0 core:0 ret:108 time: ",
        "CLI_DISCONN exit:107 sig:0 core:0 ret:107 time: ",
        "REJ_OVERLOAD exit:114 sig:0 core:0 ret:114 time: ",
    ] {
        let found = lines.iter().filter(|line| without_numbers(line).is_some_and(|it| it == wanted)).count();
        assert_eq!(found, 1, "{wanted:?} in {lines:#?}");
    }
    assert_eq!(lines.len(), 9, "{lines:#?}");
}

/// An attack cannot fill the disk, nor hide who is served.
#[test]
fn a_flood_of_bad_requests_ends_in_a_count() {
    const FLOOD: usize = 1000;
    let workspace = Workspace::new("flood");
    let daemon = Daemon::ours(&workspace, &["--jobs", "2", "--log-level", "notice"]);
    let good = request(Version::Plain, &["gcc", "-c", "a.c"], b"int x;\n");
    let not_allowed = request(Version::Plain, &["unheard-of", "-c", "a.c"], b"int x;\n");
    for number in 0..FLOOD {
        let bad = [&b"DIST00000001ARGC00000000"[..], b"GET / HTTP/1.0\r\n\r\n", &not_allowed][number % 3];
        exchange(daemon.port, bad, false).unwrap();
        if number % 100 == 0 {
            exchange(daemon.port, &good, false).unwrap();
        }
    }
    daemon.wait_for_jobs("COMPILE_OK", FLOOD / 100);
    let log = daemon.stop();
    let count = |part: &str| log.lines().filter(|line| line.contains(part)).count();
    let (reasons, lines) = (count("127.0.0.1:") - count("dcc_job_summary"), count("dcc_job_summary"));
    let written = lines - FLOOD / 100;
    // Both workers have their own supply, of 100 and one more in 5 s.
    assert!((100..300).contains(&written), "{written} lines");
    assert_eq!(reasons, written + 1, "each with its reason; and the line that tells where it listens");
    let left_out = |line: &str| {
        let count = line.strip_suffix(" more complaints about clients were left out")?;
        count.rsplit(' ').next()?.parse::<usize>().ok()
    };
    let left_out: usize = log.lines().filter_map(left_out).sum();
    assert_eq!(written + left_out, FLOOD, "nobody is forgotten");
}

/// The part of a job's line that does not differ from run to run; `None` if it is not of stock's shape.
fn without_numbers(line: &str) -> Option<String> {
    let rest = line.strip_prefix("distccd[")?;
    let (pid, rest) = rest.split_once("] (dcc_job_summary) client: 127.0.0.1:")?;
    let (port, rest) = rest.split_once(' ')?;
    let (before, rest) = rest.split_once("time:")?;
    let (time, after) = rest.split_once("ms ")?;
    let is_number = |text: &str| text.parse::<u32>().is_ok();
    (is_number(pid) && is_number(port) && is_number(time)).then(|| format!("{before}time: {after}"))
}

/// Runs a script in a mount namespace of its own, where it may put what it likes into `/dev`. `None` after a loud word
/// where that is not possible.
fn in_own_dev(workspace: &Workspace, script: &str) -> Option<Command> {
    let can = |program: &str, arguments: &[&str]| {
        Command::new(program).args(arguments).stdout(Stdio::null()).status().is_ok_and(|it| it.success())
    };
    if !is_root() || !can("unshare", &["-m", "true"]) || !can("busybox", &["true"]) {
        assert!(
            std::env::var_os("CI").is_none(),
            "root, unshare and busybox are needed: tests/setup.sh test"
        );
        eprintln!("SKIPPED: the system log's test needs root, unshare and busybox (tests/setup.sh test)");
        return None;
    }
    let dev = workspace.path("dev");
    let prepare = "set -e; mkdir \"$DEV\"; mount -t tmpfs -o mode=755 dev \"$DEV\"
        for node in null zero random urandom; do : > \"$DEV/$node\"; mount --bind /dev/$node \"$DEV/$node\"; done
        ln -s /proc/self/fd \"$DEV/fd\"; mount --rbind \"$DEV\" /dev";
    let mut command = workspace.command("unshare");
    // --kill-child: whatever happens to the test, nothing stays behind.
    command.args(["-m", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]);
    command.arg(format!("{prepare}\n{script}")).env("DEV", dev).env("OURS", workspace.path("bin"));
    Some(command)
}

#[test]
fn the_system_log_gets_the_lines() {
    let workspace = Workspace::new("syslog");
    let log = workspace.path("messages");
    workspace.write("a.c", "int x;\n");
    let port = free_port();
    let script = "busybox syslogd -n -O \"$LOG\" -S & 
        while [ ! -S /dev/log ]; do sleep 0.01; done
        \"$OURS/distccd\" --daemon --no-detach --listen 127.0.0.1 --port $PORT --lifetime 20 --allow-compiler '*cc' 2> stderr &
        daemon=$!
        until grep -q 'daemon started' \"$LOG\" 2> /dev/null; do sleep 0.01; done
        DISTCC_FALLBACK=0 DISTCC_HOSTS=127.0.0.1:$PORT \"$OURS/distcc\" gcc -c a.c
        until grep -q COMPILE_OK \"$LOG\"; do sleep 0.01; done
        kill $daemon; wait $daemon
        until grep -q 'all jobs are done' \"$LOG\"; do sleep 0.01; done";
    let Some(mut command) = in_own_dev(&workspace, script) else { return };
    succeed(command.env("LOG", &log).env("PORT", port.to_string()));
    let log = fs::read_to_string(log).unwrap();
    let line = log.lines().find(|line| line.contains("COMPILE_OK")).unwrap();
    // Facility and level, program, pid; then stock's line.
    let (head, text) = line.split_once("]: ").unwrap_or_else(|| panic!("{line}"));
    assert!(head.contains("distccd["), "{line}");
    assert!(text.starts_with("(dcc_job_summary) client: 127.0.0.1:"), "{line}");
    assert_eq!(fs::read_to_string(workspace.work().join("stderr")).unwrap(), "");
}

/// The level that the system's log daemon sees, and that the text is one line of it.
#[test]
fn the_system_log_gets_levels() {
    let workspace = Workspace::new("levels");
    let log = workspace.path("messages");
    let script = "busybox syslogd -n -O \"$LOG\" & 
        while [ ! -S /dev/log ]; do sleep 0.01; done
        \"$OURS/distccd\" --daemon --no-detach --listen 127.0.0.1 --port 0 --lifetime 1 --log-level loud || :
        until grep -q 'lifetime is over' \"$LOG\"; do sleep 0.01; done";
    let Some(mut command) = in_own_dev(&workspace, script) else { return };
    succeed(command.env("LOG", &log));
    let log = fs::read_to_string(log).unwrap();
    for (level, text) in
        [("daemon.warn", "Warning: --log-level: \"loud\" is not a level"), ("daemon.notice", "listening on ")]
    {
        let found = log.lines().any(|line| line.contains(level) && line.contains(text));
        assert!(found, "{level} {text}: {log}");
    }
}

/// Where no log daemon runs, the daemon says so once and logs to standard error.
#[test]
fn without_a_system_log_it_says_so() {
    let workspace = Workspace::new("nolog");
    let script =
        "\"$OURS/distccd\" --daemon --no-detach --listen 127.0.0.1 --port 0 --lifetime 1 2> stderr || :";
    let Some(mut command) = in_own_dev(&workspace, script) else { return };
    succeed(&mut command);
    let said = fs::read_to_string(workspace.work().join("stderr")).unwrap();
    assert!(said.starts_with("distccd: no system log (") && said.contains("--log-file"), "{said}");
    assert!(said.contains("preforking daemon started"), "{said}");
}

/// As with stock, a log file that cannot be made keeps nobody from serving.
#[test]
fn a_log_file_that_cannot_be_made_is_replaced() {
    let workspace = Workspace::new("nofile");
    let mut command = workspace.command(workspace.path("bin/distccd"));
    command.args(["--daemon", "--no-detach", "--listen", "127.0.0.1", "--port", "0", "--lifetime", "1"]);
    let output = run(command.arg("--log-file").arg(Path::new("/no/such/dir/log")));
    assert!(stderr(&output).contains("cannot open the log file /no/such/dir/log"), "{}", explain(&output));
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(libc::SIGALRM));
}

#[test]
fn sighup_opens_a_rotated_log_again() {
    rotates(&[]);
}

/// The signal reaches workers that do not listen to signals yet: their pipe for them takes half a second.
#[test]
fn sighup_reaches_workers_that_have_just_begun() {
    if Command::new("strace").arg("-V").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "strace is missing: run tests/setup.sh test");
        eprintln!("SKIPPED: strace is missing; run tests/setup.sh test");
        return;
    }
    rotates(&[
        "strace",
        "-f",
        "-o",
        "/dev/null",
        "-e",
        "trace=pipe2",
        "-e",
        "inject=pipe2:delay_enter=500000",
    ]);
}

/// Renames the log of a daemon that is started by these words, and has it opened again.
fn rotates(prefix: &[&str]) {
    let workspace = Workspace::new("rotate");
    let (log, old) = (workspace.path("tmp/../home/d.log"), workspace.path("home/d.log.1"));
    let port = free_port().to_string();
    let mut words: Vec<OsString> = prefix.iter().map(OsString::from).collect();
    words.push(workspace.path("bin/distccd").into());
    let options = [
        "--daemon",
        "--no-detach",
        "--listen",
        "127.0.0.1",
        "--port",
        &port,
        "--jobs",
        "2",
        "--lifetime",
        "120",
        "--log-file",
    ];
    words.extend(options.map(OsString::from));
    let mut daemon = workspace.command(&words[0]).args(&words[1..]).arg(&log).spawn().unwrap();
    let lines = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    wait_until("it has started", || lines(&log).contains("preforking daemon started"));
    let text = lines(&log);
    let pid = text.split(['[', ']']).nth(1).unwrap().parse().unwrap();
    wait_until("there are workers", || children(pid).len() == 2);
    fs::rename(&log, &old).unwrap();
    signal_pid(pid, libc::SIGHUP);
    wait_until("there is a new log", || lines(&log).contains("opened again"));
    workspace.write("a.c", "int x;\n");
    for _ in 0..8 {
        let hosts = format!("127.0.0.1:{port}");
        succeed(workspace.distcc(&hosts).env("DISTCC_FALLBACK", "0").args(["gcc", "-c", "a.c"]));
    }
    wait_until("the jobs are in the new log", || lines(&log).matches("COMPILE_OK").count() == 8);
    assert!(!lines(&old).contains("COMPILE_OK"));
    signal_pid(pid, libc::SIGTERM);
    assert!(daemon.wait().unwrap().success());
}

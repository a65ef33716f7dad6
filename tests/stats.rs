use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use distcc::wire::Version;

use crate::util::peer::{exchange, request};
use crate::util::*;

/// The port that `--stats-port 0` has got.
fn stats_port(daemon: &Daemon) -> u16 {
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains("stats server listening on 127.0.0.1:"));
    line.unwrap_or_else(|| panic!("{log}")).rsplit(':').next().unwrap().trim().parse().unwrap()
}

/// A daemon with statistics and a compiler `slow` that runs until the file `go` in its directory is there.
fn daemon_with_stats(workspace: &Workspace, options: &[&str]) -> (Daemon, u16) {
    workspace.script("masquerade/slow", "");
    workspace.script(
        "servers/slow",
        &format!(
            "#!/bin/sh\nwhile [ ! -e '{}' ]; do sleep 0.01; done; while [ \"$1\" != -o ]; do shift; done; : > \"$2\"\n",
            workspace.path("go").display()
        ),
    );
    let mut command = workspace.distccd_with_servers();
    command
        .args(["--stats", "--stats-port", "0"])
        .arg("--masquerade-dir")
        .arg(workspace.path("masquerade"))
        .args(options);
    let daemon = Daemon::start(workspace, &mut command);
    wait_until("the statistics are served", || daemon.log().contains("stats server listening on"));
    let port = stats_port(&daemon);
    (daemon, port)
}

fn get(port: u16, path: &str) -> String {
    let reply = exchange(port, format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes(), false).unwrap();
    String::from_utf8(reply).unwrap()
}

fn body(port: u16, path: &str) -> String {
    get(port, path).split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// The value of a field of stock's page, or of a metric.
fn value(page: &str, name: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in {page}")).trim().parse().unwrap()
}

/// Waits, because the supervisor hears of a job's end after the client.
#[track_caller]
fn wait_for(port: u16, name: &str, count: u32) {
    wait_until(&format!("{name} is {count}"), || value(&get(port, "/"), name) == f64::from(count));
}

/// Head and names of a page, and whether each value is a number, `N MB` or a word.
fn shape(page: &str) -> Vec<String> {
    let of_line = |line: &str| {
        let (name, value) = line.split_once(' ').filter(|_| line.starts_with("dcc_")).unwrap_or((line, ""));
        let kind = match value.parse::<f64>() {
            Ok(_) if value.contains('.') => "decimal",
            Ok(_) => "number",
            Err(_) if value.ends_with(" MB") => "MB",
            Err(_) if value.starts_with('(') => "(word)",
            Err(_) => "word",
        };
        format!("{name} {kind}")
    };
    page.split('\n').map(of_line).collect()
}

#[test]
fn the_page_is_that_of_stock() {
    let workspace = Workspace::new("stats-page");
    let (daemon, port) = daemon_with_stats(&workspace, &["--jobs", "2"]);
    let page = get(port, "/");
    assert!(!page.contains('\r'), "{page}");
    assert!(
        page.starts_with("HTTP/1.0 200 OK\nContent-Type: text/plain\nConnection: close\n\nargv /distccd\n")
    );
    assert_eq!(value(&page, "dcc_max_kids"), 2.0);
    for bytes in [&b"GET /what HTTP/1.1\r\nHost: x\r\n\r\n"[..], b"\n", b"no http\n"] {
        let other = exchange(port, bytes, false).unwrap();
        assert_eq!(shape(&String::from_utf8(other).unwrap()), shape(&page));
    }
    // Some say nothing and close their side, some say nothing at all.
    for closes in [true, false] {
        let reply = String::from_utf8(exchange(port, b"", closes).unwrap()).unwrap();
        assert_eq!(shape(&reply), shape(&page));
    }
    let stock_port = free_port().to_string();
    let options = ["--jobs", "2", "--stats", "--stats-port", &stock_port];
    let Some(_stock) = Daemon::stock(&workspace, &options) else { return };
    let stock_port = stock_port.parse().unwrap();
    wait_until("stock serves its page", || TcpStream::connect(("127.0.0.1", stock_port)).is_ok());
    let mut expected = shape(&get(stock_port, "/"));
    // 3.4 is older than this field.
    expected.insert(expected.len() - 2, "dcc_free_mem MB".to_owned());
    assert_eq!(shape(&page), expected);
    daemon.stop();
}

#[test]
fn jobs_are_counted() {
    let workspace = Workspace::new("stats-jobs");
    let (daemon, port) = daemon_with_stats(&workspace, &["--jobs", "2"]);
    let ask = |words: &[&str], source: &[u8]| {
        exchange(daemon.port, &request(Version::Plain, words, source), false).unwrap()
    };
    let mut sent = 0;
    for number in 0..5 {
        sent += ask(&["gcc", "-c", &format!("ok{number}.c")], b"int x;\n").len();
    }
    for _ in 0..3 {
        sent += ask(&["gcc", "-c", "error.c"], b"this is not C\n").len();
    }
    sent += ask(&["nosuchcc", "-c", "a.c"], b"").len();
    sent += ask(&["gcc", "-c", "-fplugin=/tmp/x.so", "a.c"], b"").len();
    assert_eq!(exchange(daemon.port, b"not the protocol", false).unwrap(), b"");
    assert_eq!(exchange(daemon.port, b"DIST0000", true).unwrap(), b"");
    let mut leaver = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
    leaver.write_all(&request(Version::Plain, &["slow", "-c", "leaver.c"], b"int x;\n")).unwrap();
    wait_until("the leaver's job runs", || body(port, "/jobs").contains("leaver.c"));
    drop(leaver);

    wait_for(port, "dcc_cli_disconnect", 1);
    wait_for(port, "dcc_other", 3);
    let page = get(port, "/");
    for (name, count) in [
        ("dcc_tcp_accept", 13.0),
        ("dcc_rej_bad_req", 1.0),
        ("dcc_rej_overload", 0.0),
        ("dcc_compile_ok", 5.0),
        ("dcc_compile_error", 3.0),
        ("dcc_compile_timeout", 0.0),
    ] {
        assert_eq!(value(&page, name), count, "{name}");
    }
    assert!(page.contains("\ndcc_longest_job ok"), "{page}");
    assert!(page.contains("\ndcc_longest_job_compiler gcc\n"), "{page}");
    assert!(value(&page, "dcc_longest_job_time_msecs") > 0.0, "{page}");

    let metrics = body(port, "/metrics");
    for (name, count) in [
        ("distccd_jobs_total{result=\"ok\"}", 5.0),
        ("distccd_jobs_total{result=\"error\"}", 3.0),
        ("distccd_jobs_total{result=\"client_gone\"}", 1.0),
        ("distccd_jobs_total{result=\"bad_request\"}", 1.0),
        ("distccd_jobs_total{result=\"truncated\"}", 1.0),
        ("distccd_jobs_total{result=\"refused\"}", 2.0),
        ("distccd_refusals_total{reason=\"no_compiler\"}", 0.0),
        ("distccd_refusals_total{reason=\"not_allowed\"}", 2.0),
        ("distccd_sent_bytes_total", sent as f64),
        ("distccd_connections_total", 13.0),
        ("distccd_connections", 0.0),
        ("distccd_slots", 2.0),
        ("distccd_slots_in_use", 0.0),
        ("distccd_jobs_waiting", 0.0),
        ("distccd_worker_restarts_total", 0.0),
    ] {
        assert_eq!(value(&metrics, name), count, "{name} in {metrics}");
    }
    assert!(value(&metrics, "distccd_compile_seconds_total") > 0.0, "{metrics}");
    assert!(value(&metrics, "distccd_received_bytes_total") > 1000.0, "{metrics}");
    assert_eq!(body(port, "/jobs"), "[\n]\n");

    // The window of a minute gets the compiles once their three seconds are over.
    wait_for(port, "dcc_num_compiles1", 9);
    daemon.stop();
}

#[test]
fn metrics_are_prometheus_text() {
    let workspace = Workspace::new("stats-metrics");
    let (daemon, port) = daemon_with_stats(&workspace, &[]);
    let reply = get(port, "/metrics");
    assert!(reply.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{reply}");
    let page = body(port, "/metrics");
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let mut family = "";
    let mut described = "";
    for line in page.strip_suffix('\n').unwrap().split('\n') {
        if let Some(help) = line.strip_prefix("# HELP ") {
            described = help.split_once(' ').unwrap().0;
            assert!(page.matches(line).count() == 1, "{line} twice");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(kind == "gauge" || kind == "counter", "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert_eq!(name, described);
            family = name;
        } else {
            let (name, number) = line.rsplit_once(' ').unwrap();
            assert!(number.parse::<f64>().unwrap() >= 0.0, "{line}");
            let (name, labels) = name.split_once('{').unwrap_or((name, "x=\"y\"}"));
            assert_eq!(name, family, "{line}");
            let (label, value) = labels.strip_suffix("\"}").unwrap().split_once("=\"").unwrap();
            assert!(is_name(name) && is_name(label) && is_name(value), "{line}");
        }
    }
    daemon.stop();
}

#[test]
fn running_jobs_are_shown() {
    let workspace = Workspace::new("stats-running");
    let (daemon, port) = daemon_with_stats(&workspace, &["--jobs", "1"]);
    let long = format!("{}b.c", "directory/".repeat(40));
    let mut clients = Vec::new();
    for file in ["a \"quoted\".c", &long] {
        let mut stream = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
        stream.write_all(&request(Version::Plain, &["slow", "-c", file], b"int x;\n")).unwrap();
        clients.push(stream);
        wait_until("a job runs", || body(port, "/jobs").contains("age_ms"));
    }
    wait_until("a job waits", || value(&body(port, "/metrics"), "distccd_jobs_waiting") == 1.0);
    let jobs = body(port, "/jobs");
    let client = clients[0].local_addr().unwrap();
    let expected = format!(
        "[\n{{\"client\":\"{client}\",\"file\":\"a \\\"quoted\\\".c\",\"compiler\":\"slow\",\"age_ms\":"
    );
    assert!(jobs.starts_with(&expected), "{jobs}");
    assert_eq!(jobs.matches("client").count(), 1, "{jobs}");
    let metrics = body(port, "/metrics");
    for (name, count) in [("distccd_slots", 1.0), ("distccd_slots_in_use", 1.0), ("distccd_connections", 2.0)]
    {
        assert_eq!(value(&metrics, name), count, "{name}");
    }
    drop(clients.remove(0));
    wait_until("the other runs", || body(port, "/jobs").contains("y/b.c"));
    std::fs::write(workspace.path("go"), "").unwrap();
    wait_for(port, "dcc_compile_ok", 1);
    assert_eq!(body(port, "/jobs"), "[\n]\n");
    daemon.stop();
}

#[test]
fn a_job_whose_answer_is_not_taken_runs_no_longer() {
    let workspace = Workspace::new("stats-deaf");
    let (daemon, port) = daemon_with_stats(&workspace, &["--jobs", "1"]);
    let source = format!("char large[{}] = {{1}};\n", 16 << 20);
    let mut deaf = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
    deaf.write_all(&request(Version::Plain, &["gcc", "-c", "deaf.c"], source.as_bytes())).unwrap();
    assert_eq!(deaf.peek(&mut [0]).unwrap(), 1, "the answer has begun");
    wait_until("the slot is free", || value(&body(port, "/metrics"), "distccd_slots_in_use") == 0.0);
    wait_until("it is no longer listed", || body(port, "/jobs") == "[\n]\n");
    assert_eq!(value(&body(port, "/metrics"), "distccd_connections"), 1.0);
    drop(deaf);
    wait_for(port, "dcc_cli_disconnect", 1);
    daemon.stop();
}

#[test]
fn a_killed_worker_is_counted_and_its_jobs_forgotten() {
    let workspace = Workspace::new("stats-worker");
    let (daemon, port) = daemon_with_stats(&workspace, &["--jobs", "1"]);
    let mut stream = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
    stream.write_all(&request(Version::Plain, &["slow", "-c", "a.c"], b"int x;\n")).unwrap();
    wait_until("the job runs", || body(port, "/jobs").contains("a.c"));
    signal_pid(children(daemon.pid())[0], libc::SIGKILL);
    wait_until("there is another worker", || {
        value(&body(port, "/metrics"), "distccd_worker_restarts_total") == 1.0
    });
    assert_eq!(body(port, "/jobs"), "[\n]\n");
    let metrics = body(port, "/metrics");
    for name in ["distccd_connections", "distccd_slots_in_use"] {
        assert_eq!(value(&metrics, name), 0.0, "{name}");
    }
    assert_eq!(value(&metrics, "distccd_workers"), 1.0);
    daemon.stop();
}

#[test]
fn hostile_clients_of_the_page_hold_up_nobody() {
    const CLIENTS: usize = 200;
    let workspace = Workspace::new("stats-hostile");
    let (daemon, port) = daemon_with_stats(&workspace, &["--jobs", "2"]);
    workspace.write("a.c", "int x;\n");
    let mut held = Vec::new();
    for number in 0..CLIENTS {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let garbage: Vec<u8> = (0..5000).map(|at| (at * 7 + number * 13) as u8).collect();
        // Whoever is no longer served may find the connection closed.
        let _ = match number % 6 {
            0 => Ok(()),
            1 => stream.write_all(b"GET /metrics HTT"),
            2 => stream.write_all(&garbage),
            3 => stream.write_all(&b"GET / HTTP/1.0\r\n\r\n".repeat(1000)),
            4 => stream.write_all(b"GET / HTTP/1.0\r\n\r\n").and_then(|()| stream.shutdown(Shutdown::Read)),
            _ => stream.write_all(&[b'x'; 4095]),
        };
        held.push(stream);
        if number % 20 == 0 {
            let host = daemon.host();
            succeed(workspace.distcc(&host).env("DISTCC_FALLBACK", "0").args(["gcc", "-c", "a.c"]));
        }
    }
    // One that goes on talking, while the others keep their connections.
    let mut dripping = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let start = Instant::now();
    for at in 0..20 {
        let _ = dripping.write_all(b"x");
        let start = Instant::now();
        let page = if at % 2 == 0 { get(port, "/") } else { get(port, "/metrics") };
        assert!(page.starts_with("HTTP/1.0 200 OK"), "{page}");
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    }
    let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    assert!(open < 32 + 20, "{open} descriptors are open in the supervisor");
    dripping.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let _ = dripping.read_to_end(&mut Vec::new());
    assert!(start.elapsed() < Duration::from_secs(10), "its time was over: {:?}", start.elapsed());
    let before = open;
    wait_until("all are gone", || {
        let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
        open < before.min(20)
    });
    wait_for(port, "dcc_compile_ok", 10);
    assert_eq!(daemon.jobs("COMPILE_OK"), 10);
    drop(held);
    daemon.stop();
}

#[test]
fn the_page_is_not_for_the_wrong_address() {
    let workspace = Workspace::new("stats-denied");
    let (daemon, port) = daemon_with_stats(&workspace, &["--allow", "10.0.0.0/8"]);
    for _ in 0..50 {
        assert_eq!(exchange(port, b"GET / HTTP/1.0\r\n\r\n", false).unwrap(), b"");
    }
    wait_until("the refusals are logged", || daemon.log().matches("denied by access list").count() == 50);
    daemon.stop();
}

#[test]
fn without_the_option_nothing_is_served() {
    let workspace = Workspace::new("stats-off");
    let sockets = |options: &[&str]| {
        let daemon = Daemon::ours(&workspace, options);
        wait_until("there is a worker", || children(daemon.pid()).len() == 1);
        let links = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap();
        let links = links.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
        let count = links.filter(|target| target.to_string_lossy().starts_with("socket:")).count();
        (count, daemon.stop().contains("stats server"))
    };
    let (with, says) = sockets(&["--jobs", "1", "--stats-port", "0", "--stats"]);
    assert!(says);
    assert_eq!(sockets(&["--jobs", "1", "--stats-port", "0"]), (with - 1, false));
}

#[test]
fn a_taken_port_ends_the_start() {
    let workspace = Workspace::new("stats-taken");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = run(workspace.distccd().args(["--stats", "--stats-port", &port.to_string()]));
    assert_eq!(output.status.code(), Some(102));
    assert!(stderr(&output).contains(&format!("bind of 127.0.0.1:{port} failed")), "{}", explain(&output));
}

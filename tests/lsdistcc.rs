use std::collections::BTreeSet;
use std::net::TcpListener;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::util::*;

fn lsdistcc(workspace: &Workspace, kind: Kind) -> Command {
    workspace.command(match kind {
        Kind::Ours => workspace.path("bin/lsdistcc"),
        Kind::Stock => "/usr/bin/lsdistcc".into(),
    })
}

/// Hosts are printed as they answer, so in any order.
fn lines(output: &Output) -> BTreeSet<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn its_lines_are_those_of_stock() {
    let workspace = Workspace::new("lsdistcc");
    if stock("distcc").is_none() {
        return;
    }
    let daemon = Daemon::ours(&workspace, &[]);
    let port = format!("-r{}", daemon.port);
    let closed = format!("-r{}", free_port());
    for words in [
        &[port.as_str(), "127.0.0.1"][..],
        &[&port, "localhost", "127.0.0.1"],
        &[&port, "-n", "localhost"],
        &[&port, "-P2", "localhost"],
        &[&port, "-P3", "localhost"],
        &[&port, "-pgcc", "127.0.0.1"],
        &[&port, "-P2", "-pgcc", "127.0.0.1"],
        &[&port, "-x", "-pno-such-compiler", "127.0.0.1"],
        &[&port, "no-such-name.invalid", "127.0.0.1"],
        &[&port, "-m24", "127.0.0.1", "127.0.1.1"],
        &[&port, "-t0", "127.0.0.1"],
        &[&port, "127.0.0.%d"],
        &[&closed, "-x", "127.0.0.1"],
        &[&closed, "-c0", "127.0.0.1"],
        &[&closed, "127.0.0.1"],
        &["no-such-name.invalid"],
        &["-z", "localhost"],
    ] {
        // Time enough for a machine that runs all tests at once.
        let patience = ["-t60", "-c5000", "-k20000"];
        let mut theirs = run(lsdistcc(&workspace, Kind::Stock).args(patience).args(words));
        // Stock holds all against the name that its helpers happen to look up first, ours against the first of the list.
        for _ in 0..20 {
            if !words.contains(&"-m24") || !theirs.stdout.is_empty() {
                break;
            }
            theirs = run(lsdistcc(&workspace, Kind::Stock).args(patience).args(words));
        }
        let ours = run(lsdistcc(&workspace, Kind::Ours).args(patience).args(words));
        if words[0] != "-z" {
            assert_eq!(lines(&ours), lines(&theirs), "{words:?}");
        }
        // Stock's manual promises 1 where no server is found; stock says 0 as soon as a name exists.
        let found = lines(&ours).iter().any(|line| !line.contains(",down"));
        assert_eq!(ours.status.code(), Some(if found { 0 } else { 1 }), "{words:?}");
    }
}

#[test]
fn either_server_passes_the_test_compile() {
    let workspace = Workspace::new("lsdistcc-compile");
    for kind in [Kind::Ours, Kind::Stock] {
        let Some(daemon) = Daemon::of_kind(kind, &workspace, &[]) else { continue };
        for protocol in ["-P1", "-P2", "-P3"] {
            let words = [protocol, "-pgcc", "-l", "-k10000", &format!("-r{}", daemon.port), "127.0.0.1"];
            let output = succeed(lsdistcc(&workspace, Kind::Ours).args(words));
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(text.starts_with(&daemon.host()), "{text}");
            let latency = text.trim().rsplit(' ').next().unwrap();
            assert!(latency.parse::<u32>().is_ok(), "{text}");
        }
    }
    // It goes into the list.
    for kind in [Kind::Ours, Kind::Stock] {
        let Some(daemon) = Daemon::of_kind(kind, &workspace, &[]) else { continue };
        let words = ["-P3", "-pgcc", "-k10000", &format!("-r{}", daemon.port), "127.0.0.1"];
        let output = succeed(lsdistcc(&workspace, Kind::Ours).args(words));
        assert_eq!(lines(&output), BTreeSet::from([format!("{},lzo,cpp", daemon.host())]));
    }
}

#[test]
fn silent_servers_cost_only_their_own_time() {
    let workspace = Workspace::new("lsdistcc-silent");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("-r{}", listener.local_addr().unwrap().port());
    let start = Instant::now();
    let hosts: Vec<String> = (1..100).map(|number| format!("127.0.0.{number}")).collect();
    let output = run(lsdistcc(&workspace, Kind::Ours).args([&port, "-pgcc", "-k300", "-x"]).args(&hosts));
    assert_eq!(lines(&output).len(), 99);
    assert_eq!(output.status.code(), Some(1));
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    let start = Instant::now();
    run(lsdistcc(&workspace, Kind::Ours).args([&port, "-pgcc", "-k60000", "-t1", "127.0.0.1"]));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn it_knows_ipv6() {
    let workspace = Workspace::new("lsdistcc-6");
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        eprintln!("SKIPPED: there is no IPv6 here");
        return;
    };
    let port = listener.local_addr().unwrap().port();
    let output = succeed(lsdistcc(&workspace, Kind::Ours).args([&format!("-r{port}"), "::1"]));
    assert_eq!(lines(&output), BTreeSet::from([format!("[::1]:{port}")]));
}

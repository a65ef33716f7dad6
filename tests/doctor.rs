use std::net::TcpListener;
use std::process::Output;
use std::time::{Duration, Instant};

use crate::util::peer::FakeServer;
use crate::util::*;

fn doctor(workspace: &Workspace, hosts: &[&str]) -> Output {
    let mut command = workspace.distcc("");
    run(command.arg("--doctor").args(hosts))
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn good_servers_of_both_kinds_are_good() {
    let workspace = Workspace::new("doctor");
    for kind in [Kind::Ours, Kind::Stock] {
        let Some(daemon) = Daemon::of_kind(kind, &workspace, &[]) else { continue };
        let output = doctor(&workspace, &[&format!("{},lzo", daemon.host())]);
        let shown = text(&output);
        assert_eq!(output.status.code(), Some(0), "{shown}");
        for words in ["good", "made in", "gcc there and back", "1, 2 (lzo)", "1 MiB in", "the same as here"] {
            assert!(shown.contains(words), "{words:?} is missing in {shown}");
        }
        // As many protocols as it speaks: stock has pump mode.
        assert!(kind == Kind::Ours || shown.contains("3 (pump)"), "{shown}");
        assert!(own_lines(&output).is_empty());
    }
    // A list in the environment does as well, and localhost needs nothing.
    let output = succeed(workspace.distcc("localhost/2").arg("--doctor"));
    assert!(text(&output).contains("without a server"));
    // Nobody counts on a host that is marked down.
    let output = doctor(&workspace, &["localhost", &format!("127.0.0.1:{},down", free_port())]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("NOT USABLE") && text(&output).contains("marked down"));
    workspace.assert_clean();
}

#[test]
fn every_trouble_has_its_advice() {
    let workspace = Workspace::new("doctor-trouble");
    workspace.script("other/gcc", "#!/bin/sh\nexit 0\n");
    let closed = format!("127.0.0.1:{}", free_port());
    let not_ours = FakeServer::raw(|stream| {
        use std::io::Write;
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n");
    });
    let refusing = |code: u32, words: &'static str| {
        FakeServer::new(move |_, stream| {
            use std::io::Write;
            let reply = format!(
                "DONE00000001STAT{:08x}SERR{:08x}{words}SOUT00000000DOTO00000000",
                code << 8,
                words.len()
            );
            let _ = stream.write_all(reply.as_bytes());
        })
    };
    let forbidden = refusing(110, "gcc is not executable by the daemon's user\n");
    let absent = refusing(110, "gcc is not installed here\n");
    let not_allowed = refusing(113, "gcc is not allowed here\n");
    let other_version = FakeServer::new(|_, stream| {
        use std::io::Write;
        let object = b"\x7fELF\0GCC: (Elsewhere) 1.2.3\0";
        let head = format!("DONE00000001STAT00000000SERR00000000SOUT00000000DOTO{:08x}", object.len());
        let _ = stream.write_all(&[head.as_bytes(), object].concat());
    });
    let closing = FakeServer::raw(|_| ());
    let cases = [
        ("no-such-name.invalid".to_owned(), &["resolved", "spelling"][..]),
        (closed, &["refused", "start distccd there"]),
        (not_ours.host(), &["is that a distccd?"]),
        (forbidden.host(), &["not executable", "may not run gcc", "--list-compilers"]),
        (absent.host(), &["install gcc"]),
        (not_allowed.host(), &["--allow-compiler gcc"]),
        (other_version.host(), &["GCC: (Elsewhere) 1.2.3", "same version"]),
        (closing.host(), &["without an answer", "--allow"]),
    ];
    // All together: they do not wait for each other.
    let hosts: Vec<&str> = cases.iter().map(|(host, _)| host.as_str()).collect();
    let output = doctor(&workspace, &hosts);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output);
    for (host, words) in &cases {
        let part = shown
            .split(&format!("{host}: NOT USABLE\n"))
            .nth(1)
            .unwrap_or_else(|| panic!("{host} in {shown}"));
        let part: String =
            part.lines().take_while(|line| line.starts_with("  ")).map(|line| format!("{line}\n")).collect();
        for word in *words {
            assert!(part.contains(word), "{word:?} is missing for {host}: {part}");
        }
    }
}

#[test]
fn silent_hosts_do_not_keep_it_waiting() {
    let workspace = Workspace::new("doctor-silent");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    let hangs = workspace.script("bin/stand-in", "#!/bin/sh\nexec sleep 100\n");
    let start = Instant::now();
    let mut command = workspace.distcc("");
    let output = run(command.env("DISTCC_SSH", hangs).args(["--doctor", &silent, "@h"]));
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output).matches("NOT USABLE").count(), 2);
    wait_until("no ssh is left", || processes_of(&workspace).iter().all(|line| !line.contains("sleep")));
}

#[test]
fn a_bad_entry_is_a_finding() {
    let workspace = Workspace::new("doctor-entry");
    let output = doctor(&workspace, &["a,nonsense"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("there are lzo, cpp, directives and down"), "{}", explain(&output));
}

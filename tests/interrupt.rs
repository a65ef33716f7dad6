use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;
use std::time::{Duration, Instant};

use distcc::state::Phase;

use crate::failures::full_listener;
use crate::util::peer::FakeServer;
use crate::util::*;

/// Every file in the lock directory can be locked: nobody holds a slot any more.
fn assert_unlocked(workspace: &Workspace) {
    for entry in fs::read_dir(workspace.path("top/lock")).unwrap() {
        let path = entry.unwrap().path();
        let file = fs::File::options().write(true).open(&path).unwrap();
        let free = distcc::sys::lock::try_lock(&file, distcc::sys::lock::Range::Whole).unwrap();
        assert!(free, "{} is still locked", path.display());
    }
}

/// `^C` in the middle of `make -j`: what a terminal does is a SIGINT to the whole foreground group.
#[test]
fn interrupting_make_leaves_nothing() {
    let workspace = Workspace::new("make");
    let mut objects = Vec::new();
    for at in 0..40 {
        let name = format!("f{at}");
        workspace.write(
            &format!("{name}.cc"),
            &format!("#include <regex>\n#include <map>\nstd::regex r{at}(\"a+b\");\n"),
        );
        objects.push(format!("{name}.o"));
    }
    let rule = "%.o: %.cc\n\tdistcc g++ -O1 -c $< -o $@\n";
    workspace.write("Makefile", &format!("all: {}\n{rule}", objects.join(" ")));
    let daemon = Daemon::ours(&workspace, &["--jobs", "3"]);
    for (round, wait) in [200, 900, 1700].into_iter().enumerate() {
        let path = format!("{}:/usr/bin:/bin", workspace.path("bin").display());
        let hosts = format!("{}{}", daemon.host(), if round == 1 { ",lzo" } else { "" });
        let mut make = workspace
            .command("make")
            .env("PATH", path)
            .env("DISTCC_HOSTS", hosts)
            .args(["-j8", "-s"])
            .process_group(0)
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        let start = Instant::now();
        let group = format!("-{}", make.id());
        assert!(Command::new("kill").args(["-INT", "--", &group]).status().unwrap().success());
        let status = make.wait().unwrap();
        assert!(start.elapsed() < Duration::from_secs(3), "it took {:?}", start.elapsed());
        assert!(!status.success());
        // Nobody of ours lives on but the daemon, idle again.
        wait_until("all processes but the daemon have gone", || {
            processes_of(&workspace).iter().all(|line| line.contains("distccd"))
        });
        workspace.assert_clean();
        assert_unlocked(&workspace);
        for entry in fs::read_dir(workspace.work()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            assert!(!name.starts_with(".distcc"), "a half-written file: {name}");
            if name.ends_with(".o") {
                succeed(workspace.command("nm").arg(&path));
            }
        }
    }
    daemon.stop();
}

/// A signal to the client alone, in each of its waits: it ends at once, by that signal, and leaves nothing.
#[test]
fn a_signal_ends_the_client_wherever_it_waits() {
    let workspace = Workspace::new("waits");
    workspace.write("a.i", "# 1 \"a.c\"\nint x;\n");
    workspace.write("a.c", "int x;\n");
    workspace.script("bin/slowcc", "#!/bin/sh\nexec sleep 100\n");
    let path = format!("{}:/usr/bin:/bin", workspace.path("bin").display());
    let silent = FakeServer::new(|_, stream| {
        stream.write_all(b"DONE00000001").unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let host = silent.host();
    let (full, _waiting) = full_listener();
    let hole = format!("127.0.0.1:{}", full.local_addr().unwrap().port());
    let deaf = FakeServer::raw(|_| std::thread::sleep(Duration::from_secs(60)));
    // More than the socket buffers take.
    workspace.write("large.i", &format!("# 1 \"a.c\"\nchar x[] = \"{}\";\n", "x".repeat(16 << 20)));
    let cases: [(Phase, &[&str], &str); 5] = [
        (Phase::Connect, &["gcc", "-c", "a.i", "-o", "a.o"], &hole),
        (Phase::Send, &["gcc", "-c", "large.i", "-o", "a.o"], &deaf.host()),
        (Phase::Receive, &["gcc", "-c", "a.i", "-o", "a.o"], &host),
        (Phase::Preprocess, &["slowcc", "-c", "a.c", "-o", "a.o"], &host),
        (Phase::Compile, &["slowcc", "a.o", "-o", "program"], &host),
    ];
    for (what, words, hosts) in cases {
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
            let mut client = workspace.distcc(hosts).env("PATH", &path).args(words).spawn().unwrap();
            wait_until("the client is where it is to be", || {
                let shown = distcc::state::read_all(&workspace.path("top/state"), |_| {}).unwrap_or_default();
                shown.iter().any(|record| record.phase == what)
            });
            std::thread::sleep(Duration::from_millis(100));
            assert!(client.try_wait().unwrap().is_none(), "{what:?}: ended by itself");
            let start = Instant::now();
            signal_pid(client.id(), signal);
            let status = client.wait().unwrap();
            assert_eq!(status.signal(), Some(signal), "{what:?}: {status}");
            assert!(start.elapsed() < Duration::from_millis(500), "{what:?}: {:?}", start.elapsed());
            workspace.assert_clean();
            assert_unlocked(&workspace);
            wait_until("no compiler is left", || {
                processes_of(&workspace).iter().all(|line| !line.contains("sleep 100"))
            });
        }
    }
    let mut left: Vec<_> =
        fs::read_dir(workspace.work()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["a.c", "a.i", "large.i"], "no output, whole or half");

    // Waiting in the queue, behind one that has the only slot.
    let one = format!("{host}/1");
    let mut first = workspace
        .distcc(&one)
        .env("DISTCC_CHECK_COMPILER", "off")
        .args(["gcc", "-c", "a.i", "-o", "1.o"])
        .spawn()
        .unwrap();
    wait_until("the first works", || workspace.leftovers().len() == 1);
    std::thread::sleep(Duration::from_millis(100));
    let mut waiting: Vec<_> = (2..5)
        .map(|at| {
            workspace
                .distcc(&one)
                .env("DISTCC_CHECK_COMPILER", "off")
                .args(["gcc", "-c", "a.i", "-o", &format!("{at}.o")])
                .spawn()
                .unwrap()
        })
        .collect();
    wait_until("the others wait", || workspace.leftovers().len() == 4);
    std::thread::sleep(Duration::from_millis(100));
    for client in &mut waiting {
        let start = Instant::now();
        signal_pid(client.id(), libc::SIGTERM);
        assert_eq!(client.wait().unwrap().signal(), Some(libc::SIGTERM));
        assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    }
    signal_pid(first.id(), libc::SIGTERM);
    first.wait().unwrap();
    workspace.assert_clean();
}

/// nohup means that.
#[test]
fn an_ignored_interrupt_stays_ignored() {
    let workspace = Workspace::new("nohup");
    workspace.write("a.i", "# 1 \"a.c\"\nint x;\n");
    let server = FakeServer::new(|_, stream| {
        std::thread::sleep(Duration::from_millis(600));
        stream.write_all(b"DONE00000001STAT00000000SERR00000000SOUT00000000DOTO00000003OBJ").unwrap();
    });
    let mut client = workspace
        .command("sh")
        .env("DISTCC_HOSTS", server.host())
        .env("DISTCC_CHECK_COMPILER", "off")
        .args(["-c", &format!("trap '' HUP; exec '{}' gcc -c a.i", workspace.path("bin/distcc").display())])
        .spawn()
        .unwrap();
    wait_until("the client works", || !workspace.leftovers().is_empty());
    std::thread::sleep(Duration::from_millis(100));
    signal_pid(client.id(), libc::SIGHUP);
    assert!(client.wait().unwrap().success());
    assert_eq!(fs::read(workspace.work().join("a.o")).unwrap(), b"OBJ");
}

/// Programs that do not care for their children (`signal(SIGCHLD, SIG_IGN)`) hand that on to those they start.
#[test]
fn who_starts_it_may_ignore_children() {
    let workspace = Workspace::new("ignored_children");
    workspace.write("a.i", "# 1 \"a.c\"\nint x;\n");
    let mut client = workspace.distcc("localhost");
    ignore_children(&mut client);
    let output = succeed(client.args(["gcc", "-c", "a.i"]));
    assert_eq!(stderr(&output), "");
}

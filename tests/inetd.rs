use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use distcc::wire::Version;

use crate::util::peer::request;
use crate::util::*;

fn inetd(workspace: &Workspace) -> Command {
    let mut command = workspace.command(workspace.path("bin/distccd"));
    command.args(["--inetd", "--enable-tcp-insecure", "--log-stderr", "--log-level", "info", "--nice", "0"]);
    command
}

/// One job through pipes, as sshd starts it.
fn through_pipes(workspace: &Workspace, bytes: &[u8], close: bool) -> Output {
    let mut child =
        inetd(workspace).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(bytes).unwrap();
    if close {
        drop(stdin);
        return child.wait_with_output().unwrap();
    }
    // The client keeps its side open until it has its answer.
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    output
}

#[test]
fn a_job_goes_through_pipes() {
    let workspace = Workspace::new("pipes");
    for version in [Version::Plain, Version::Lzo] {
        let start = Instant::now();
        let output = through_pipes(
            &workspace,
            &request(version, &["gcc", "-c", "a.c"], b"# 1 \"a.c\"\nint x;\n"),
            false,
        );
        assert!(output.status.success(), "{}", explain(&output));
        assert!(output.stdout.starts_with(format!("DONE0000000{}STAT00000000", version.number()).as_bytes()));
        assert!(stderr(&output).contains("client: NOTSOCKET COMPILE_OK"), "{}", explain(&output));
        // Stock polls once a second in this mode.
        assert!(start.elapsed() < Duration::from_millis(800), "{:?}", start.elapsed());
    }
    workspace.assert_clean();
}

#[test]
fn its_exit_code_tells_how_it_went() {
    let workspace = Workspace::new("codes");
    for (bytes, close, code) in [
        (request(Version::Plain, &["gcc", "-c", "a.c"], b"int f(void) { return undeclared; }\n"), false, 0),
        (b"GET / HTTP/1.0\r\n\r\n".to_vec(), false, 109),
        (b"DIST00000001ARGC000".to_vec(), true, 108),
    ] {
        let output = through_pipes(&workspace, &bytes, close);
        assert_eq!(output.status.code(), Some(code), "{}", explain(&output));
    }
    workspace.assert_clean();
}

#[test]
fn a_socket_on_standard_input_means_inetd() {
    let workspace = Workspace::new("socket");
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut child = workspace
        .command(workspace.path("bin/distccd"))
        .args(["--enable-tcp-insecure", "--log-stderr"])
        .stdin(OwnedFd::from(theirs.try_clone().unwrap()))
        .stdout(OwnedFd::from(theirs))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    ours.write_all(&request(Version::Plain, &["gcc", "-c", "a.c"], b"int x;\n")).unwrap();
    let mut reply = Vec::new();
    ours.read_to_end(&mut reply).unwrap();
    assert!(reply.starts_with(b"DONE00000001STAT00000000"));
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(log.contains("client: UNIX-DOMAIN COMPILE_OK"), "{log}");
}

#[test]
fn who_hangs_up_ends_the_compiler() {
    let workspace = Workspace::new("hangup");
    workspace.script("servers/slow", "#!/bin/sh\nsleep 1000\n");
    let path = format!("{}:/usr/bin:/bin", workspace.path("servers").display());
    let mut child =
        inetd(&workspace).env("PATH", path).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&request(Version::Plain, &["slow", "-c", "a.c"], b"int x;\n")).unwrap();
    let sleeps = || processes_of(&workspace).iter().any(|line| line.contains("sleep 1000"));
    wait_until("the compiler runs", sleeps);
    drop(stdin);
    wait_until("it has ended", || !sleeps());
    assert_eq!(child.wait().unwrap().code(), Some(107));
    workspace.assert_clean();
}

/// The stock client reaches our server through a command in place of ssh.
#[test]
fn a_stock_client_gets_through_ssh() {
    if stock("distcc").is_none() {
        return;
    }
    let workspace = Workspace::new("ssh");
    workspace.write("a.c", "#include <stdio.h>\nint main(void) { puts(\"x\"); }\n");
    // ssh HOST COMMAND ARGS...: runs the command on this machine.
    let ssh = workspace.script("ssh", "#!/bin/sh\nshift; exec \"$@\"\n");
    succeed(workspace.command("gcc").args(["-O2", "-c", "a.c", "-o", "expected.o"]));
    for option in ["", ",lzo"] {
        let hosts = format!("@127.0.0.1:{}{option}", workspace.path("bin/distccd").display());
        let output = succeed(
            workspace
                .client(Kind::Stock, &hosts)
                .env("DISTCC_SSH", &ssh)
                .env("DISTCC_FALLBACK", "0")
                .args(["gcc", "-O2", "-c", "a.c", "-o", "a.o"]),
        );
        assert_eq!(stderr(&output), "", "nothing of the server's log comes to the user");
        let read = |name: &str| fs::read(workspace.work().join(name)).unwrap();
        assert_eq!(read("a.o"), read("expected.o"));
    }
    workspace.assert_clean();
}

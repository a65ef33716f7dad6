use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::util::shell::{Shell, ShellServer};
use crate::util::*;

/// The remote program for a host entry, with what it needs to serve gcc in a test.
fn remote_server(workspace: &Workspace, kind: Kind) -> String {
    let program = match kind {
        Kind::Ours => workspace.path("bin/distccd"),
        Kind::Stock => "/usr/bin/distccd".into(),
    };
    let home = workspace.path("home").display().to_string();
    let text = format!(
        "#!/bin/sh\nexport HOME={home} TMPDIR={}\nexec {} --nice 0 \"$@\"\n",
        workspace.path("tmp").display(),
        program.display()
    );
    workspace.script("bin/remote-distccd", &text).display().to_string()
}

fn client(workspace: &Workspace, kind: Kind, server: &ShellServer, hosts: &str) -> Command {
    let mut command = workspace.client(kind, hosts);
    command.env("DISTCC_SSH", &server.client).env("DISTCC_FALLBACK", "0").env("DISTCC_NO_REWRITE_CROSS", "1");
    command
}

fn big_source() -> String {
    let mut text = String::from("int first;\n");
    // Differs from line to line, so that it stays large when compressed.
    let mut number = 1u64;
    for line in 0..12_000 {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        text.push_str(&format!("extern int name_{line}_{number:x}_{:x};\n", number.rotate_left(17)));
    }
    text
}

fn local_object(workspace: &Workspace, source: &str) -> Vec<u8> {
    succeed(workspace.command("gcc").args(["-O2", "-c", source, "-o", "local.o"]));
    fs::read(workspace.work().join("local.o")).unwrap()
}

/// What is left of ssh that belongs to this test's clients.
fn clients_left(workspace: &Workspace) -> Vec<String> {
    let is_client = |line: &String| {
        !line.contains("sshd")
            && (line.contains(" ssh") || line.contains("dbclient") || line.contains("stand-in"))
    };
    processes_of(workspace).into_iter().filter(is_client).collect()
}

#[test]
fn the_second_job_finds_the_connection_of_the_first() {
    let workspace = Workspace::new("ssh");
    let Some(server) = ShellServer::start(&workspace, Shell::OpenSsh) else { return };
    let remote = remote_server(&workspace, Kind::Ours);
    workspace.write("a.c", "int f(int x) { return x + 1; }\n");
    workspace.write("big.c", &big_source());
    let user = String::from_utf8(succeed(workspace.command("id").arg("-un")).stdout).unwrap();
    let hosts = [
        format!("@127.0.0.1:{remote}"),
        format!("@127.0.0.1/3:{remote},lzo"),
        format!("{}@127.0.0.1:{remote},lzo", user.trim()),
    ];
    for host in &hosts {
        for source in ["a.c", "big.c"] {
            let output = succeed(
                client(&workspace, Kind::Ours, &server, host)
                    .args(["gcc", "-O2", "-c", source, "-o", "remote.o"]),
            );
            assert_eq!(stderr(&output), "", "nothing to say about a good job");
            assert_eq!(
                fs::read(workspace.work().join("remote.o")).unwrap(),
                local_object(&workspace, source)
            );
        }
    }
    assert_eq!(server.logins(), 1, "one handshake for six jobs: {}", server.log());
    // The one that holds the shared connection has another name and no environment to be seen.
    wait_until("no other ssh is left", || clients_left(&workspace).is_empty());
    let config = fs::read_to_string(workspace.path("top/ssh/config")).unwrap();
    assert!(config.contains("ControlMaster auto"), "{config}");
}

#[test]
fn whoever_has_chosen_otherwise_keeps_that() {
    let workspace = Workspace::new("own");
    let Some(mut server) = ShellServer::start(&workspace, Shell::OpenSsh) else { return };
    let remote = remote_server(&workspace, Kind::Ours);
    workspace.write("a.c", "int x;\n");
    server.client.push_str(" -o ControlMaster=no");
    for _ in 0..2 {
        let host = format!("@127.0.0.1:{remote}");
        succeed(client(&workspace, Kind::Ours, &server, &host).args(["gcc", "-c", "a.c"]));
    }
    assert_eq!(server.logins(), 2);
    wait_until("no ssh is left", || clients_left(&workspace).is_empty());
    assert!(!workspace.path("top/ssh").exists());
}

#[test]
fn many_first_jobs_at_once_get_their_objects() {
    let workspace = Workspace::new("burst");
    let Some(server) = ShellServer::start(&workspace, Shell::OpenSsh) else { return };
    let remote = remote_server(&workspace, Kind::Ours);
    workspace.write("a.c", "int x;\n");
    let host = format!("@127.0.0.1/6:{remote}");
    let running: Vec<_> = (0..6)
        .map(|number| {
            client(&workspace, Kind::Ours, &server, &host)
                .args(["gcc", "-c", "a.c", "-o", &format!("{number}.o")])
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in running {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && stderr(&output).is_empty(), "{}", explain(&output));
    }
}

#[test]
fn either_client_reaches_either_server() {
    let workspace = Workspace::new("ssh-interop");
    if stock("distcc").is_none() || stock("distccd").is_none() {
        return;
    }
    let Some(server) = ShellServer::start(&workspace, Shell::OpenSsh) else { return };
    workspace.write("a.c", "int f(int x) { return x * 3; }\n");
    let expected = local_object(&workspace, "a.c");
    for (theirs, ours) in [(Kind::Stock, Kind::Ours), (Kind::Ours, Kind::Stock), (Kind::Stock, Kind::Stock)] {
        let remote = remote_server(&workspace, ours);
        for option in ["", ",lzo"] {
            let host = format!("@127.0.0.1:{remote}{option}");
            let _ = fs::remove_file(workspace.work().join("a.o"));
            succeed(
                client(&workspace, theirs, &server, &host).args(["gcc", "-O2", "-c", "a.c", "-o", "a.o"]),
            );
            assert_eq!(fs::read(workspace.work().join("a.o")).unwrap(), expected, "{theirs:?} to {ours:?}");
        }
    }
}

#[test]
fn dropbear_carries_jobs_too() {
    let workspace = Workspace::new("dropbear");
    let Some(server) = ShellServer::start(&workspace, Shell::Dropbear) else { return };
    let remote = remote_server(&workspace, Kind::Ours);
    workspace.write("a.c", "int f(int x) { return x + 1; }\n");
    workspace.write("big.c", &big_source());
    for (source, option) in [("a.c", ""), ("big.c", ",lzo"), ("big.c", "")] {
        let host = format!("@127.0.0.1:{remote}{option}");
        succeed(
            client(&workspace, Kind::Ours, &server, &host).args(["gcc", "-O2", "-c", source, "-o", "r.o"]),
        );
        assert_eq!(fs::read(workspace.work().join("r.o")).unwrap(), local_object(&workspace, source));
    }
    wait_until("no dbclient is left", || clients_left(&workspace).is_empty());
}

#[test]
fn the_doctor_goes_through_ssh() {
    let workspace = Workspace::new("ssh-doctor");
    let Some(server) = ShellServer::start(&workspace, Shell::OpenSsh) else { return };
    let remote = remote_server(&workspace, Kind::Ours);
    let mut command = workspace.distcc("");
    command.env("DISTCC_SSH", &server.client).args(["--doctor", &format!("@127.0.0.1:{remote},lzo")]);
    let output = run(&mut command);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("the same as here"), "{}", explain(&output));
    let mut command = workspace.distcc("");
    command.env("DISTCC_SSH", &server.client).args(["--doctor", "@127.0.0.1:/no/such/distccd"]);
    let output = run(&mut command);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("/no/such/distccd") && text.contains("name it"), "{text}");
}

/// Each failure is one line of ours with the words of ssh in it, and a local compile.
#[test]
fn failures_are_told_in_the_words_of_ssh() {
    let workspace = Workspace::new("ssh-words");
    let Some(server) = ShellServer::start(&workspace, Shell::OpenSsh) else { return };
    workspace.write("a.c", "int x;\n");
    let elsewhere = free_port();
    let no_key = format!(
        "ssh -p {} -i /nowhere -o IdentitiesOnly=yes -o BatchMode=yes \
        -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null",
        server.port
    );
    let strict = format!(
        "ssh -p {} -o BatchMode=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile=/dev/null",
        server.port
    );
    let nobody = format!("ssh -p {elsewhere}");
    for (ssh, host, said) in [
        (
            no_key.as_str(),
            "@127.0.0.1",
            &["Permission denied", "exit code 255", "try: ssh 127.0.0.1 true"][..],
        ),
        (&strict, "@127.0.0.1", &["Host key verification failed"]),
        (&nobody, "@127.0.0.1", &["port", "Connection refused"]),
        (&server.client, "@127.0.0.1:/no/such/distccd", &["/no/such/distccd", "127.0.0.1:/path/to/distccd"]),
        (&server.client, "@127.0.0.1:/bin/false", &["without an answer", "exit code 1"]),
        ("no-such-ssh", "@127.0.0.1", &["cannot run no-such-ssh", "DISTCC_SSH"]),
        ("ssh", "@no.such.host.invalid", &["Could not resolve hostname"]),
    ] {
        let mut command = workspace.distcc(host);
        command.env("DISTCC_SSH", ssh).env("DISTCC_BACKOFF_PERIOD", "0");
        let output = succeed(command.args(["gcc", "-c", "a.c", "-o", "a.o"]));
        let lines = own_lines(&output);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!(stderr(&output).lines().count(), 1, "{}", explain(&output));
        for words in said {
            assert!(lines[0].contains(words), "{words:?} is missing in {lines:?}");
        }
        assert!(workspace.work().join("a.o").exists());
        fs::remove_file(workspace.work().join("a.o")).unwrap();
    }
}

/// What ssh says about a good job reaches the user.
#[test]
fn the_words_of_a_good_ssh_are_shown() {
    let workspace = Workspace::new("ssh-note");
    workspace.write("a.c", "int x;\n");
    let stand_in = workspace.script(
        "bin/stand-in",
        &format!(
            "#!/bin/sh\necho 'Warning: the key is old' >&2\nexec {} --inetd --log-file /dev/null --nice 0\n",
            workspace.path("bin/distccd").display()
        ),
    );
    let mut command = workspace.distcc("@h");
    let output =
        succeed(command.env("DISTCC_SSH", &stand_in).env("DISTCC_FALLBACK", "0").args(["gcc", "-c", "a.c"]));
    assert!(stderr(&output).contains("Warning: the key is old"), "{}", explain(&output));
    assert_eq!(own_lines(&output).len(), 1);
}

#[test]
fn an_ssh_that_hangs_ends_in_a_local_compile() {
    let workspace = Workspace::new("ssh-hang");
    workspace.write("a.c", "int x;\n");
    let stand_in = workspace.script("bin/stand-in", "#!/bin/sh\nexec sleep 100\n");
    let start = Instant::now();
    let mut command = workspace.distcc("@h");
    command.env("DISTCC_SSH", &stand_in).env("DISTCC_IO_TIMEOUT", "1");
    let output = succeed(command.args(["gcc", "-c", "a.c"]));
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(stderr(&output).contains("given up"), "{}", explain(&output));
    assert!(workspace.work().join("a.o").exists());
    assert!(clients_left(&workspace).is_empty());
}

#[test]
fn a_killed_client_leaves_no_ssh_behind() {
    let workspace = Workspace::new("ssh-kill");
    workspace.write("a.c", "int x;\n");
    let pid_file = workspace.path("pid");
    let text = format!("#!/bin/sh\necho $$ >{}\nexec sleep 100\n", pid_file.display());
    let stand_in = workspace.script("bin/stand-in", &text);
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGKILL] {
        let _ = fs::remove_file(&pid_file);
        let mut command = workspace.distcc("@h");
        let mut child = command.env("DISTCC_SSH", &stand_in).args(["gcc", "-c", "a.c"]).spawn().unwrap();
        let pid = || fs::read_to_string(&pid_file).ok().and_then(|text| text.trim().parse::<u32>().ok());
        wait_until("ssh runs", || pid().is_some());
        let ssh = pid().unwrap();
        signal_pid(child.id(), signal);
        child.wait().unwrap();
        let has_ended =
            || fs::read_to_string(format!("/proc/{ssh}/stat")).map_or(true, |stat| stat.contains(") Z "));
        wait_until("ssh has ended", has_ended);
    }
    assert!(!workspace.work().join("a.o").exists(), "no local compile after an interrupt");
}

/// The server's answer fills its pipe before it reads a byte of a request that fills the other one.
#[test]
fn both_directions_may_be_full() {
    let workspace = Workspace::new("ssh-full");
    workspace.write("a.c", &big_source());
    let object = vec![7u8; 700_000];
    let mut reply = b"DONE00000001STAT00000000SERR00000000SOUT00000000".to_vec();
    reply.extend_from_slice(format!("DOTO{:08x}", object.len()).as_bytes());
    reply.extend_from_slice(&object);
    fs::write(workspace.path("reply"), reply).unwrap();
    let text = format!("#!/bin/sh\ncat {}\nexec cat >/dev/null\n", workspace.path("reply").display());
    let stand_in = workspace.script("bin/stand-in", &text);
    let mut command = workspace.distcc("@h");
    command.env("DISTCC_SSH", &stand_in).env("DISTCC_FALLBACK", "0").env("DISTCC_CHECK_COMPILER", "off");
    run(command.args(["gcc", "-c", "a.c", "-o", "a.o"]));
    let arrived = fs::read(workspace.work().join("a.o")).is_ok_and(|bytes| bytes == object);
    // Where objects are looked at, this one is no object; but it must have arrived without waiting.
    assert!(arrived, "the answer did not come through");
}

/// The words after the program, by stock and by us.
#[test]
fn the_command_is_that_of_stock() {
    let workspace = Workspace::new("ssh-command");
    if stock("distcc").is_none() {
        return;
    }
    workspace.write("a.c", "int x;\n");
    let log = workspace.path("words");
    let text = format!("#!/bin/sh\nprintf '[%s]' \"$@\" >{}\nexit 1\n", log.display());
    let stand_in = workspace.script("bin/stand-in", &text).display().to_string();
    let traced = |kind: Kind, variable: &str, host: &str| {
        let _ = fs::remove_file(&log);
        let _ = fs::remove_dir_all(workspace.path("top"));
        fs::create_dir(workspace.path("top")).unwrap();
        run(workspace.client(kind, host).env("DISTCC_SSH", variable).args(["gcc", "-c", "a.c"]));
        fs::read_to_string(&log).unwrap()
    };
    for variable in [stand_in.clone(), format!(" {stand_in}  -p 22 -o  x=y "), format!("{stand_in} 'a b'")] {
        for host in
            ["@h", "u@h", "@h/3", "u@h:/opt/distccd", "u@h/7:/opt/d:x", "@h:,lzo", "a@b@c,lzo", "@h/2,lzo"]
        {
            let (theirs, ours) = (traced(Kind::Stock, &variable, host), traced(Kind::Ours, &variable, host));
            assert_eq!(ours, theirs, "{variable} {host}");
        }
    }
    // Found in PATH, without a variable.
    let path = format!("{}:/usr/bin:/bin", workspace.path("bin").display());
    fs::rename(Path::new(&stand_in), workspace.path("bin/ssh")).unwrap();
    run(workspace
        .distcc("@h")
        .env("PATH", path)
        .env("DISTCC_BACKOFF_PERIOD", "0")
        .args(["gcc", "-c", "a.c"]));
    assert_eq!(fs::read_to_string(&log).unwrap(), "[h][distccd][--inetd][--enable-tcp-insecure]");
}

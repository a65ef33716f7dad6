use std::fs;
use std::io::Write;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use crate::util::peer::FakeServer;
use crate::util::*;

const GOOD: &str = "#include <stdio.h>\nint main(void) { puts(\"hi\"); return 0; }\n";

/// The object of the same command without distcc.
fn local_object(workspace: &Workspace, source: &str) -> Vec<u8> {
    succeed(workspace.command("gcc").args(["-O2", "-g", "-c", source, "-o", "expected.o"]));
    fs::read(workspace.work().join("expected.o")).unwrap()
}

fn object(workspace: &Workspace, name: &str) -> Option<Vec<u8>> {
    fs::read(workspace.work().join(name)).ok()
}

#[test]
fn all_three_ways_to_call_distribute() {
    let workspace = Workspace::new("ways");
    workspace.write("a.c", GOOD);
    let daemon = Daemon::ours(&workspace, &["--jobs", "4"]);
    let expected = local_object(&workspace, "a.c");
    let compile = ["-O2", "-g", "-c", "a.c", "-o", "a.o"];

    succeed(workspace.distcc(&daemon.host()).arg("gcc").args(compile));
    daemon.wait_for_jobs("COMPILE_OK", 1);
    assert_eq!(object(&workspace, "a.o").unwrap(), expected);

    succeed(workspace.distcc(&daemon.host()).args(compile));
    daemon.wait_for_jobs("COMPILE_OK", 2);

    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", workspace.path("masquerade").display());
    succeed(
        workspace
            .command("sh")
            .env("DISTCC_HOSTS", daemon.host())
            .env("PATH", path)
            .args(["-c", "gcc -O2 -g -c a.c -o masqueraded.o"]),
    );
    daemon.wait_for_jobs("COMPILE_OK", 3);
    assert_eq!(object(&workspace, "masqueraded.o").unwrap(), expected);
    workspace.assert_clean();
    daemon.stop();
}

#[test]
fn recursion_is_noticed() {
    let workspace = Workspace::new("recursion");
    workspace.write("a.c", GOOD);
    // The masquerade directory is all there is: the compiler behind it is distcc again.
    let masquerade = workspace.path("masquerade");
    let output = run(workspace.command(masquerade.join("gcc")).env("PATH", &masquerade).args(["-c", "a.c"]));
    assert_eq!(output.status.code(), Some(111));
    assert!(
        stderr(&output).contains("distcc seems to have invoked itself recursively!"),
        "{}",
        explain(&output)
    );

    let output = run(workspace.distcc("localhost").env("_DISTCC_SAFEGUARD", "1").args(["gcc", "-c", "a.c"]));
    assert_eq!(output.status.code(), Some(111));
    // One level is what a masquerade that distcc calls explains; then the command runs as it is.
    let path = format!("{}:/usr/bin:/bin", masquerade.display());
    succeed(
        workspace
            .command(masquerade.join("gcc"))
            .env("PATH", path)
            .env("_DISTCC_SAFEGUARD", "1")
            .args(["-c", "a.c"]),
    );
    assert!(object(&workspace, "a.o").is_some());
}

#[test]
fn a_compile_error_looks_as_without_distcc() {
    let workspace = Workspace::new("error");
    workspace.write("bad.c", "int f(void) { return undeclared; }\n");
    let daemon = Daemon::ours(&workspace, &[]);
    let expected = run(workspace.command("gcc").args(["-Wall", "-c", "bad.c"]));
    let output = run(workspace.distcc(&daemon.host()).args(["gcc", "-Wall", "-c", "bad.c"]));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), stderr(&expected), "the compiler's own words, once, and nothing of ours");
    assert_eq!(object(&workspace, "bad.o"), None);
    daemon.wait_for_jobs("COMPILE_ERROR", 1);

    // The user may believe the server.
    let output = run(workspace
        .distcc(&daemon.host())
        .env("DISTCC_SKIP_LOCAL_RETRY", "1")
        .args(["gcc", "-Wall", "-c", "bad.c"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("'undeclared' undeclared"), "{}", explain(&output));
    daemon.wait_for_jobs("COMPILE_ERROR", 2);

    // A host is not to blame for it: the next job still goes there.
    workspace.write("a.c", GOOD);
    succeed(workspace.distcc(&daemon.host()).args(["gcc", "-c", "a.c"]));
    daemon.wait_for_jobs("COMPILE_OK", 1);
    workspace.assert_clean();
}

#[test]
fn warnings_come_through() {
    let workspace = Workspace::new("warning");
    workspace.write("warn.c", "#warning from the preprocessor\nint f(void) { int unused; return 0; }\n");
    let daemon = Daemon::ours(&workspace, &[]);
    for host in [daemon.host(), format!("{},lzo", daemon.host())] {
        let output = succeed(workspace.distcc(&host).args(["gcc", "-Wall", "-c", "warn.c"]));
        let text = stderr(&output);
        assert_eq!(text.matches("from the preprocessor [-Wcpp]").count(), 1, "{text}");
        assert_eq!(text.matches("unused variable 'unused'").count(), 1, "{text}");
        assert_eq!(own_lines(&output), [""; 0]);
    }
    daemon.wait_for_jobs("COMPILE_OK", 2);
}

#[test]
fn a_missing_header_is_reported_once() {
    let workspace = Workspace::new("header");
    workspace.write("a.c", "#include \"not_there.h\"\nint x;\n");
    let daemon = Daemon::ours(&workspace, &[]);
    let expected = run(workspace.command("gcc").args(["-c", "a.c"]));
    let output = run(workspace.distcc(&daemon.host()).args(["gcc", "-c", "a.c"]));
    assert_eq!(output.status.code(), expected.status.code());
    assert_eq!(stderr(&output), stderr(&expected));
    assert_eq!(object(&workspace, "a.o"), None);
    workspace.assert_clean();
}

/// Whatever a host does: the right object, exit status 0, and one line that says why.
#[track_caller]
fn falls_back(workspace: &Workspace, client: &mut std::process::Command, reason: &str) {
    let _ = fs::remove_file(workspace.work().join("a.o"));
    let start = Instant::now();
    let output = succeed(client.args(["gcc", "-O2", "-g", "-c", "a.c", "-o", "a.o"]));
    assert!(start.elapsed() < Duration::from_secs(15), "too slow");
    let lines = own_lines(&output);
    assert_eq!(lines.len(), 1, "one line of ours: {lines:?}");
    assert!(lines[0].contains(reason), "{lines:?} does not say \"{reason}\"");
    assert!(lines[0].contains("running locally instead"), "{lines:?}");
    assert_eq!(object(workspace, "a.o").unwrap(), local_object(workspace, "a.c"));
    workspace.assert_clean();
    let _ = fs::remove_dir_all(workspace.path("top/lock"));
}

#[test]
fn trouble_with_a_host_ends_in_a_local_compile() {
    let workspace = Workspace::new("trouble");
    workspace.write("a.c", GOOD);

    let nobody = format!("127.0.0.1:{}", free_port());
    falls_back(&workspace, &mut workspace.distcc(&nobody), "Connection refused");
    falls_back(&workspace, &mut workspace.distcc("no-such-host.invalid"), "cannot be resolved");
    falls_back(&workspace, &mut workspace.distcc(""), "contains no hosts");
    falls_back(&workspace, &mut workspace.distcc("a:b:c"), "contains no usable host");

    let closes = FakeServer::raw(|_| {});
    falls_back(&workspace, &mut workspace.distcc(&closes.host()), "without an answer");

    let closes_late = FakeServer::new(|_, stream| {
        stream.write_all(b"DONE00000001STAT00000000SERR00000000SOUT00000000DOTO00001000half").unwrap();
    });
    falls_back(&workspace, &mut workspace.distcc(&closes_late.host()), "closed before DOTO was complete");

    let garbage = FakeServer::new(|_, stream| {
        stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
    });
    falls_back(&workspace, &mut workspace.distcc(&garbage.host()), "makes no sense");

    let bomb = FakeServer::new(|_, stream| {
        stream.write_all(b"DONE00000001STAT00000000SERRffffffff").unwrap();
    });
    falls_back(&workspace, &mut workspace.distcc(&bomb.host()), "the limit is");

    let corrupt = FakeServer::new(|_, stream| {
        let reply = b"DONE00000002STAT00000000SERR00000000SOUT00000000DOTO00000004\xff\xff\xff\xff";
        stream.write_all(reply).unwrap();
    });
    falls_back(&workspace, &mut workspace.distcc(&format!("{},lzo", corrupt.host())), "cannot be expanded");

    let silent = FakeServer::new(|_, _| std::thread::sleep(Duration::from_secs(30)));
    falls_back(&workspace, workspace.distcc(&silent.host()).env("DISTCC_IO_TIMEOUT", "1"), "silent for 1 s");

    // Reads nothing at all: a source larger than the socket buffers gets stuck in sending.
    let deaf = FakeServer::raw(|_| std::thread::sleep(Duration::from_secs(30)));
    let large = format!("{GOOD}\nconst char large[] = \"{}\";\n", "x".repeat(24 << 20));
    workspace.write("a.c", &large);
    falls_back(&workspace, workspace.distcc(&deaf.host()).env("DISTCC_IO_TIMEOUT", "1"), "silent for 1 s");
}

#[test]
fn a_compiler_missing_on_the_server_is_explained() {
    let workspace = Workspace::new("missing");
    workspace.write("a.c", GOOD);
    let ours = Daemon::ours(&workspace, &[]);
    // A compiler that this machine has and the server does not allow.
    workspace.script("bin/mycc", "#!/bin/sh\nexec gcc \"$@\"\n");
    let path = format!("{}:/usr/bin:/bin", workspace.path("bin").display());
    let output = succeed(workspace.distcc(&ours.host()).env("PATH", &path).args(["mycc", "-c", "a.c"]));
    let lines = own_lines(&output);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("mycc is not allowed here") && lines[0].contains("ln -s"), "{lines:?}");
    assert!(object(&workspace, "a.o").is_some());
    ours.wait_for_jobs("OTHER", 1);

    let _ = fs::remove_dir_all(workspace.path("top/lock"));
    if let Some(stock) = Daemon::stock(&workspace, &[]) {
        let output = succeed(workspace.distcc(&stock.host()).env("PATH", &path).args(["mycc", "-c", "a.c"]));
        assert_eq!(own_lines(&output).len(), 1, "{}", explain(&output));
    }
}

#[test]
fn a_killed_remote_compiler_is_no_result() {
    let workspace = Workspace::new("killed");
    workspace.write("a.c", GOOD);
    // The server's gcc kills itself; ours does not.
    workspace.script("servers/gcc", "#!/bin/sh\nkill -9 $$\n");
    let daemon = Daemon::start(&workspace, &mut workspace.distccd_with_servers());
    let mut client = workspace.distcc(&daemon.host());
    // By that name the stub is there.
    client.env("DISTCC_NO_REWRITE_CROSS", "");
    let output = succeed(client.args(["gcc", "-O2", "-g", "-c", "a.c", "-o", "a.o"]));
    assert_eq!(own_lines(&output).len(), 1, "{}", explain(&output));
    assert!(stderr(&output).contains("failed on"), "{}", explain(&output));
    daemon.wait_for_jobs("COMPILE_ERROR", 1);
    assert_eq!(object(&workspace, "a.o").unwrap(), local_object(&workspace, "a.c"));
}

#[test]
fn without_fallback_a_failure_is_a_failure() {
    let workspace = Workspace::new("nofallback");
    workspace.write("a.c", GOOD);
    let nobody = format!("127.0.0.1:{}", free_port());
    let output = run(workspace.distcc(&nobody).env("DISTCC_FALLBACK", "0").args(["gcc", "-c", "a.c"]));
    assert_eq!(output.status.code(), Some(116));
    assert_eq!(own_lines(&output).len(), 1, "{}", explain(&output));
    assert_eq!(object(&workspace, "a.o"), None);

    // A compile error is the compiler's, not ours.
    workspace.write("bad.c", "int f(void) { return undeclared; }\n");
    let daemon = Daemon::ours(&workspace, &[]);
    let output =
        run(workspace.distcc(&daemon.host()).env("DISTCC_FALLBACK", "0").args(["gcc", "-c", "bad.c"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("undeclared"), "{}", explain(&output));
    daemon.wait_for_jobs("COMPILE_ERROR", 1);
}

#[test]
fn another_host_is_tried_before_this_machine() {
    let workspace = Workspace::new("another");
    workspace.write("a.c", GOOD);
    let closes = FakeServer::raw(|_| {});
    let daemon = Daemon::ours(&workspace, &[]);
    let hosts = format!("{} {}", closes.host(), daemon.host());
    let output = succeed(workspace.distcc(&hosts).args(["gcc", "-c", "a.c"]));
    assert_eq!(own_lines(&output), [""; 0], "nothing was lost, so there is nothing to say");
    daemon.wait_for_jobs("COMPILE_OK", 1);
    // The mark has stock's name, and the host is left alone.
    let mark = workspace.path(&format!("top/lock/backoff_tcp_127.0.0.1_{}_0", closes.port));
    assert!(mark.exists());
    succeed(workspace.distcc(&hosts).args(["gcc", "-c", "a.c"]));
    daemon.wait_for_jobs("COMPILE_OK", 2);
}

#[test]
fn what_cannot_travel_stays_here() {
    let workspace = Workspace::new("stays");
    workspace.write("a.c", GOOD);
    workspace.write("blob", "data");
    workspace.write("incbin.c", "__asm__(\".incbin \\\"blob\\\"\");\nint x;\n");
    let daemon = Daemon::ours(&workspace, &[]);
    for words in [
        &["-c", "incbin.c"][..],
        &["-c", "a.c", "-save-temps"],
        &["a.c", "-o", "program"],
        &["-E", "a.c", "-o", "a.i"],
        &["-M", "a.c"],
        &["--version"],
    ] {
        let output = succeed(workspace.distcc(&daemon.host()).arg("gcc").args(words));
        assert_eq!(own_lines(&output), [""; 0], "{words:?}");
    }
    for made in ["a.o", "a.s", "program", "a.i", "incbin.o"] {
        assert!(workspace.work().join(made).exists(), "{made}");
    }
    assert_eq!(daemon.stop().matches("COMPILE_").count(), 0);
}

#[test]
fn dependency_files_are_those_of_gcc() {
    let workspace = Workspace::new("deps");
    workspace.write("sub/a.c", "#include \"a.h\"\nint x = X;\n");
    workspace.write("sub/a.h", "#define X 1\n");
    fs::create_dir(workspace.work().join("out")).unwrap();
    let daemon = Daemon::ours(&workspace, &[]);
    let sets = [
        ("-MD -c sub/a.c -o out/b.o", "out/b.d"),
        ("-MMD -c sub/a.c", "a.d"),
        ("-MMD -MF out/q.d -c sub/a.c -o out/b.o", "out/q.d"),
        ("-MMD -MP -MT target -MF out/q.d -c sub/a.c -o out/b.o", "out/q.d"),
        ("-Wp,-MMD,out/.b.o.d -c sub/a.c -o out/b.o", "out/.b.o.d"),
        ("-MD -S sub/a.c -o out/b.s", "out/b.d"),
    ];
    for (at, (words, file)) in sets.into_iter().enumerate() {
        let path = workspace.work().join(file);
        succeed(workspace.command("gcc").args(words.split(' ')));
        let expected = fs::read_to_string(&path).unwrap();
        fs::remove_file(&path).unwrap();
        succeed(workspace.distcc(&daemon.host()).arg("gcc").args(words.split(' ')));
        assert_eq!(fs::read_to_string(&path).unwrap(), expected, "{words}");
        daemon.wait_for_jobs("COMPILE_OK", at + 1);
    }
}

#[test]
fn hosts_come_from_the_first_place_that_has_them() {
    let workspace = Workspace::new("places");
    let show = |command: &mut std::process::Command| {
        String::from_utf8(succeed(command.arg("--show-hosts")).stdout).unwrap()
    };
    fs::write(workspace.path("top/hosts"), "from-top/3:4000 # comment\n\nlocalhost/2\n").unwrap();
    assert_eq!(show(&mut workspace.distcc("from-env")), "from-env\n");
    assert_eq!(show(workspace.distcc("").env_remove("DISTCC_HOSTS")), "from-top/3:4000\nlocalhost/2\n");
    fs::create_dir(workspace.path("home/.distcc")).unwrap();
    fs::write(workspace.path("home/.distcc/hosts"), "from-home,lzo\n").unwrap();
    let shown = show(workspace.distcc("").env_remove("DISTCC_HOSTS").env_remove("DISTCC_DIR"));
    assert_eq!(shown, "from-home,lzo\n");
    let output = succeed(workspace.distcc("a/3 b:1/2 localhost").arg("-j"));
    assert_eq!(output.stdout, b"7\n");
    let output = succeed(workspace.distcc("good bad:port").arg("--show-hosts"));
    assert_eq!(output.stdout, b"good\n");
    assert_eq!(own_lines(&output).len(), 1);
    assert!(stderr(&output).contains("line 1: \"bad:port\""), "{}", explain(&output));
}

#[test]
fn a_useless_directory_does_not_stop_a_compile() {
    let workspace = Workspace::new("useless");
    workspace.write("a.c", GOOD);
    let daemon = Daemon::ours(&workspace, &[]);
    fs::write(workspace.path("file"), "").unwrap();
    let output = succeed(
        workspace
            .distcc(&daemon.host())
            .env("DISTCC_DIR", workspace.path("file/sub"))
            .args(["gcc", "-c", "a.c"]),
    );
    assert_eq!(own_lines(&output).len(), 1, "{}", explain(&output));
    assert!(stderr(&output).contains("cannot make the directory"), "{}", explain(&output));
    assert!(object(&workspace, "a.o").is_some());
    // A missing one is simply made.
    succeed(
        workspace
            .distcc(&daemon.host())
            .env("DISTCC_DIR", workspace.path("new/dir"))
            .args(["gcc", "-c", "a.c"]),
    );
    daemon.wait_for_jobs("COMPILE_OK", 1);
}

#[test]
fn the_log_file_gets_the_lines_that_scanners_read() {
    let workspace = Workspace::new("log");
    workspace.write("a.c", GOOD);
    let daemon = Daemon::ours(&workspace, &[]);
    let log = workspace.path("log");
    succeed(workspace.distcc(&daemon.host()).env("DISTCC_LOG", &log).args(["gcc", "-c", "a.c"]));
    let text = fs::read_to_string(log).unwrap();
    let host = daemon.host();
    for line in [
        "compile from a.c to a.o".to_owned(),
        format!("exec on {host}: x86_64-linux-gnu-gcc -c a.c -o a.o"),
        format!("compile a.c on {host} completed ok"),
    ] {
        assert!(
            text.lines().any(|has| has.starts_with("distcc[") && has.ends_with(&line)),
            "{line}:\n{text}"
        );
    }
    let bytes = text
        .lines()
        .find_map(|line| line.split("] ").nth(1)?.split_once(" bytes from a.c compiled on 127.0.0.1 in "));
    let (bytes, rest) = bytes.expect(&text);
    assert!(bytes.parse::<usize>().unwrap() > 1000 && rest.ends_with("kB/s"), "{text}");
}

#[test]
fn standard_output_and_unusual_targets() {
    let workspace = Workspace::new("targets");
    workspace.write("a.c", GOOD);
    let daemon = Daemon::ours(&workspace, &[]);
    let host = daemon.host();
    // As with gcc, a directory that does not exist is an error and is not made.
    let output = run(workspace.distcc(&host).args(["gcc", "-c", "a.c", "-o", "no/dir/a.o"]));
    assert!(!output.status.success());
    assert!(!workspace.work().join("no").exists());
    // An existing object is replaced, not written through.
    fs::write(workspace.work().join("a.o"), "old").unwrap();
    fs::hard_link(workspace.work().join("a.o"), workspace.work().join("other")).unwrap();
    succeed(workspace.distcc(&host).args(["gcc", "-c", "a.c"]));
    assert_eq!(fs::read(workspace.work().join("other")).unwrap(), b"old");
    assert_ne!(object(&workspace, "a.o").unwrap(), b"old");
    let mode = |name: &str| {
        std::os::unix::fs::PermissionsExt::mode(
            &fs::metadata(workspace.work().join(name)).unwrap().permissions(),
        )
    };
    succeed(workspace.command("gcc").args(["-c", "a.c", "-o", "local.o"]));
    assert_eq!(mode("a.o"), mode("local.o"));
}

#[test]
fn every_form_of_a_host_reaches_it() {
    let workspace = Workspace::new("forms");
    workspace.write("a.c", GOOD);
    let daemon = Daemon::ours(&workspace, &[]);
    let port = daemon.port;
    let forms = [
        format!("127.0.0.1:{port}"),
        format!("127.0.0.1:{port}/3"),
        format!("127.0.0.1/3:{port}"),
        format!("127.0.0.1/3:{port},lzo"),
        format!("localhost:{port}"),
        format!("--randomize localhost:{port},lzo 127.0.0.1:{port}/2"),
        format!("# comment\n127.0.0.1:{port} # another\n"),
        format!("127.0.0.1:1,down 127.0.0.1:{port}"),
        // Pump mode is not built: the host is used without it.
        format!("127.0.0.1:{port},cpp,lzo"),
    ];
    for (at, hosts) in forms.iter().enumerate() {
        let output = succeed(workspace.distcc(hosts).env("DISTCC_FALLBACK", "0").args(["gcc", "-c", "a.c"]));
        assert_eq!(own_lines(&output), [""; 0], "{hosts}");
        daemon.wait_for_jobs("COMPILE_OK", at + 1);
    }
    // With IPv6, where this machine has it.
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("SKIPPED: this machine has no IPv6 loopback");
        return;
    }
    let mut command = workspace.command(workspace.path("bin/distccd"));
    command.args(["--daemon", "--no-detach", "--log-stderr", "--log-level", "info", "--port", "0"]);
    let everywhere = Daemon::start(&workspace, &mut command);
    for (at, name) in ["[::1]", "127.0.0.1"].into_iter().enumerate() {
        let hosts = format!("{name}:{}", everywhere.port);
        succeed(workspace.distcc(&hosts).env("DISTCC_FALLBACK", "0").args(["gcc", "-c", "a.c"]));
        everywhere.wait_for_jobs("COMPILE_OK", at + 1);
    }
}

#[test]
fn localhost_in_the_list_is_this_machine() {
    let workspace = Workspace::new("localhost");
    workspace.write("a.c", GOOD);
    let output = succeed(workspace.distcc("localhost/2").args(["gcc", "-c", "a.c"]));
    assert_eq!(own_lines(&output), [""; 0]);
    assert!(object(&workspace, "a.o").is_some());
    assert!(workspace.path("top/lock/cpu_localhost_0").exists());
}

/// `script` gives a command a terminal; then gcc alone and both halves of a distributed compile use colours, unless the
/// user says otherwise.
#[test]
fn messages_are_coloured_on_a_terminal() {
    let workspace = Workspace::new("colour");
    workspace.write("warn.c", "#warning first\nint f(void) { int unused; return 0; }\n");
    let daemon = Daemon::ours(&workspace, &[]);
    let shown = |client: &str, options: &str, variable: (&str, &str)| {
        let compile = format!(
            "{client} gcc -fno-diagnostics-show-caret -fdiagnostics-urls=never -Wall {options} -c warn.c"
        );
        let mut command = workspace.command("script");
        command.env("DISTCC_HOSTS", daemon.host()).env("TERM", "xterm").env(variable.0, variable.1);
        let output = succeed(command.args(["-qec", &compile, "/dev/null"]));
        String::from_utf8(output.stdout).unwrap()
    };
    let distcc = workspace.path("bin/distcc");
    let distcc = distcc.to_str().unwrap();
    for (options, variable, coloured) in [
        ("", ("HOME", "/"), true),
        ("-g -O2", ("HOME", "/"), true),
        ("-fno-diagnostics-color", ("HOME", "/"), false),
        ("-fdiagnostics-plain-output", ("HOME", "/"), false),
        ("", ("GCC_COLORS", ""), false),
        ("", ("TERM", "dumb"), false),
    ] {
        let alone = shown("", options, variable);
        let object = fs::read(workspace.work().join("warn.o")).unwrap();
        assert_eq!(shown(distcc, options, variable), alone, "{options} {variable:?}");
        assert_eq!(fs::read(workspace.work().join("warn.o")).unwrap(), object, "{options} {variable:?}");
        assert_eq!(alone.contains("\x1b["), coloured, "{options} {variable:?}: {alone}");
    }
    daemon.wait_for_jobs("COMPILE_OK", 6);
}

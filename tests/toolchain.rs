use std::fs;
use std::process::Command;

use crate::util::*;

const SOURCE: &str = "#ident \"of the source\"\nint twice(int x) { return 2 * x; }\n";

/// A daemon whose `gcc`, by all its names, is `compiler`; otherwise as stock or we run it.
fn daemon_with(kind: Kind, workspace: &Workspace, compiler: &str) -> Option<Daemon> {
    for name in ["gcc", "x86_64-linux-gnu-gcc"] {
        workspace.script(&format!("servers/{name}"), &format!("#!/bin/sh\nexec {compiler} \"$@\"\n"));
    }
    let mut command = match kind {
        Kind::Ours => workspace.command(workspace.path("bin/distccd")),
        Kind::Stock => workspace.command(stock("distccd")?),
    };
    command
        .env("PATH", format!("{}:/usr/bin:/bin", workspace.path("servers").display()))
        .args(["--daemon", "--no-detach", "--log-stderr", "--log-level", "info", "--listen", "127.0.0.1"])
        .args(["--allow", "127.0.0.1", "--port", &free_port().to_string()]);
    Some(Daemon::start(workspace, &mut command))
}

fn compile<'a>(client: &'a mut Command, output: &str) -> &'a mut Command {
    client.args(["gcc", "-O2", "-c", "a.c", "-o", output])
}

/// What the local compiler makes.
fn expected(workspace: &Workspace, options: &[&str]) -> Vec<u8> {
    succeed(workspace.command("gcc").args(["-O2", "-c", "a.c", "-o", "expected"]).args(options));
    fs::read(workspace.work().join("expected")).unwrap()
}

#[test]
fn the_object_of_another_version_is_thrown_away() {
    if !tool("gcc-11") {
        return;
    }
    for kind in [Kind::Ours, Kind::Stock] {
        let workspace = Workspace::new("version");
        workspace.write("a.c", SOURCE);
        let Some(daemon) = daemon_with(kind, &workspace, "/usr/bin/gcc-11") else { continue };
        let read = |name: &str| fs::read(workspace.work().join(name)).unwrap();
        for (options, count) in [(&[][..], 1), (&["-S"], 2)] {
            let output = succeed(
                compile(workspace.distcc(&daemon.host()).env("DISTCC_BACKOFF_PERIOD", "0"), "a")
                    .args(options),
            );
            let lines = own_lines(&output);
            assert_eq!(lines.len(), 1, "{}", explain(&output));
            assert!(lines[0].contains(") 11.") && lines[0].contains(") 12."), "{lines:?}");
            assert_eq!(read("a"), expected(&workspace, options));
            daemon.wait_for_jobs("COMPILE_OK", count);
        }
        // The host is left alone, for this compiler.
        succeed(compile(&mut workspace.distcc(&daemon.host()), "a"));
        let output = succeed(compile(&mut workspace.distcc(&daemon.host()), "a"));
        assert!(stderr(&output).contains("failed recently"), "{}", explain(&output));
        daemon.wait_for_jobs("COMPILE_OK", 3);

        fs::remove_dir_all(workspace.path("top/lock")).unwrap();
        for (word, lines) in [("warn", 1), ("off", 0)] {
            let mut client = workspace.distcc(&daemon.host());
            let output = succeed(compile(client.env("DISTCC_CHECK_COMPILER", word), "a"));
            assert_eq!(own_lines(&output).len(), lines, "{}", explain(&output));
            assert!(String::from_utf8_lossy(&read("a")).contains(") 11."), "{word}: the server's object");
        }
        // Objects that do not say who made them.
        let output = succeed(compile(&mut workspace.distcc(&daemon.host()), "a").arg("-fno-ident"));
        assert_eq!(own_lines(&output).len(), 0, "{}", explain(&output));
        daemon.wait_for_jobs("COMPILE_OK", 6);
        workspace.assert_clean();
    }
}

#[test]
fn an_object_for_another_machine_is_never_taken() {
    if !tool("arm-linux-gnueabihf-gcc") {
        return;
    }
    for kind in [Kind::Ours, Kind::Stock] {
        let workspace = Workspace::new("machine");
        workspace.write("a.c", SOURCE);
        let Some(daemon) = daemon_with(kind, &workspace, "/usr/bin/arm-linux-gnueabihf-gcc") else {
            continue;
        };
        for word in ["", "warn", "off", "strict"] {
            let mut client = workspace.distcc(&daemon.host());
            client.env("DISTCC_BACKOFF_PERIOD", "0").env("DISTCC_CHECK_COMPILER", word);
            let output = succeed(compile(&mut client, "a.o"));
            assert_eq!(own_lines(&output).len(), 1, "{word}: {}", explain(&output));
            let text = stderr(&output);
            assert!(text.contains("32-bit ARM") && text.contains("64-bit x86-64"), "{text}");
            assert_eq!(fs::read(workspace.work().join("a.o")).unwrap(), expected(&workspace, &[]));
        }
        // Text does not say for which machine it is, nor who made it if that is not wanted.
        let output =
            succeed(compile(&mut workspace.distcc(&daemon.host()), "a.s").args(["-S", "-fno-ident"]));
        let text = fs::read(workspace.work().join("a.s")).unwrap();
        assert!(text == expected(&workspace, &["-S", "-fno-ident"]), "{}", explain(&output));
        daemon.wait_for_jobs("COMPILE_OK", 5);
    }
}

#[test]
fn the_compiler_is_asked_once_and_again_when_it_changes() {
    let workspace = Workspace::new("asked");
    workspace.write("a.c", SOURCE);
    let script = |version: &str| {
        let text = format!("#!/bin/sh\n# {version}\necho \"$*\" >> \"$ASKED\"\nexec /usr/bin/gcc \"$@\"\n");
        workspace.script("own/gcc", &text);
    };
    script("one");
    let daemon = Daemon::ours(&workspace, &[]);
    let path = format!("{}:/usr/bin:/bin", workspace.path("own").display());
    let asked = || {
        let mut client = workspace.distcc(&daemon.host());
        let asked = workspace.path("asked");
        let _ = fs::remove_file(&asked);
        client.env("PATH", &path).env("ASKED", &asked).env("DISTCC_FALLBACK", "0");
        succeed(compile(&mut client, "a.o"));
        let text = fs::read_to_string(&asked).unwrap();
        text.lines().filter(|line| !line.contains(" -E ") && !line.starts_with("-E")).count()
    };
    let first = asked();
    assert_eq!(first, 1 + 1, "its machine, and an object to compare with");
    assert_eq!(asked(), 0);
    script("another");
    assert_eq!(asked(), 2);
    // Somebody else's bytes are no answer.
    for entry in fs::read_dir(workspace.path("top/compilers")).unwrap() {
        fs::write(entry.unwrap().path(), "nonsense").unwrap();
    }
    assert_eq!(asked(), 2);
    workspace.assert_clean();
}

#[test]
fn servers_are_told_the_machine() {
    let workspace = Workspace::new("names");
    workspace.write("a.c", SOURCE);
    let words = |client: &mut Command| {
        let output = succeed(client.env("DISTCC_VERBOSE", "1").env("DISTCC_FALLBACK", "0"));
        let text = stderr(&output);
        let execs = text.lines().filter_map(|line| line.split_once("exec on ")?.1.split_once(": "));
        execs.map(|(_, words)| words.to_owned()).collect::<Vec<_>>()
    };
    for kind in [Kind::Ours, Kind::Stock] {
        let Some(daemon) = Daemon::of_kind(kind, &workspace, &[]) else { continue };
        let client = || workspace.distcc(&daemon.host());
        let compile = ["-c", "a.c"];
        let cross = "x86_64-linux-gnu-gcc -c a.c -o a.o";
        assert_eq!(words(client().arg("gcc").args(compile)), [cross]);
        assert_eq!(words(client().arg("cc").args(compile)), [cross]);
        assert_eq!(words(client().args(compile)), [cross]);
        assert_eq!(words(client().arg("/usr/bin/gcc").args(compile)), ["/usr/bin/gcc -c a.c -o a.o"]);
        for name in ["DISTCC_NO_REWRITE_CROSS", "DISTCC_NO_CROSS_REWRITE"] {
            assert_eq!(words(client().env(name, "").arg("gcc").args(compile)), ["gcc -c a.c -o a.o"]);
        }
        if tool("clang") {
            let plain = "clang -c a.c -o a.o";
            let told = format!("{plain} -target x86_64-pc-linux-gnu");
            assert_eq!(words(client().arg("clang").args(compile)), [told]);
            assert_eq!(
                words(client().env("DISTCC_NO_REWRITE_CROSS", "1").arg("clang").args(compile)),
                [plain]
            );
        }
    }
    // What stock sends.
    if let (Some(_), Some(daemon)) = (stock("distcc"), Daemon::stock(&workspace, &[])) {
        let sent = words(workspace.client(Kind::Stock, &daemon.host()).args(["gcc", "-c", "a.c"]));
        assert_eq!(sent, ["x86_64-linux-gnu-gcc -c a.c -o a.o"]);
    }
}

/// A server may allow `gcc` only: it is asked by the long name once in a while, not for every job.
#[test]
fn a_server_that_knows_the_plain_name_only_is_used() {
    let workspace = Workspace::new("plain");
    workspace.write("a.c", SOURCE);
    let cmdlist = workspace.write("commands", "/usr/bin/gcc\ngcc\n");
    let daemon = Daemon::start(&workspace, workspace.distccd().env("DISTCC_CMDLIST", cmdlist));
    for jobs in 1..=3 {
        let output = succeed(
            compile(workspace.distcc(&daemon.host()).env("DISTCC_FALLBACK", "0"), "a.o")
                .env("DISTCC_VERBOSE", "1"),
        );
        let tries = stderr(&output).matches("exec on ").count();
        assert_eq!(tries, if jobs == 1 { 2 } else { 1 }, "{}", explain(&output));
        daemon.wait_for_jobs("COMPILE_OK", jobs);
        assert_eq!(fs::read(workspace.work().join("a.o")).unwrap(), expected(&workspace, &[]));
    }
    workspace.assert_clean();
}

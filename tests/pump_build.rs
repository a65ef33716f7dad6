use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use crate::util::*;

/// A build with pump: its daemon and its project.
pub struct Build {
    pub workspace: Workspace,
    pub daemon: Daemon,
}

impl Build {
    pub fn new(name: &str) -> Build {
        let workspace = Workspace::new(name);
        let daemon = Daemon::ours(&workspace, &["--enable-tcp-insecure"]);
        workspace.write(
            "hello_world.cpp",
            "#include <cstdio>\n#include \"inc/link/a.h\"\nint main() { std::printf(\"%d %s\\n\", A, __FILE__); }\n",
        );
        workspace.write("real/a.h", "#pragma once\n#include \"../real/b.h\"\n");
        workspace.write("real/b.h", "#define A 1\n");
        fs::create_dir(workspace.work().join("inc")).unwrap();
        symlink("../real", workspace.work().join("inc/link")).unwrap();
        Build { workspace, daemon }
    }

    /// `program` in the environment of a user who expects everything from pump mode.
    pub fn command(&self, program: &str, hosts: &str) -> Command {
        let mut command = self.workspace.command(program);
        let bin = self.workspace.path("bin");
        command
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .env("DISTCC_HOSTS", hosts)
            .env("DISTCC_VERBOSE", "1")
            .env("DISTCC_FALLBACK", "0");
        command
    }

    pub fn hosts(&self) -> String {
        format!("{},cpp,lzo", self.daemon.host())
    }

    pub fn object(&self, name: &str) -> Vec<u8> {
        fs::read(self.workspace.work().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// The object that the compiler itself makes of the last words of `words`.
    pub fn local(&self, words: &[&str]) -> Vec<u8> {
        succeed(self.workspace.command(words[0]).args(&words[1..]).args(["-o", "local.o"]));
        self.object("local.o")
    }

    /// Nothing is left of a build.
    pub fn assert_clean(&self) {
        self.workspace.assert_clean();
    }
}

/// Whether a client's verbose words say that the server preprocessed.
#[track_caller]
pub fn assert_pumped(output: &std::process::Output) {
    let text = stderr(output);
    assert!(text.contains("files and links") && !text.contains("locally"), "{text}");
}

#[test]
fn the_commands_of_the_manual_work_verbatim() {
    let build = Build::new("verbatim");
    for hosts in [build.hosts(), format!("{},lzo,cpp", build.daemon.host())] {
        let words = ["distcc", "g++", "-c", "hello_world.cpp"];
        let output = succeed(build.command("pump", &hosts).args(words));
        assert_pumped(&output);
        let bin = build.workspace.path("bin");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let expected = format!(
            "__________Using distcc-pump from {}\n__________Using 1 distcc server in pump mode\n\
             __________Shutting down distcc-pump include server\n",
            bin.display()
        );
        assert_eq!(said, expected);
        assert!(build.object("hello_world.o") == build.local(&["g++", "-c", "hello_world.cpp"]));
        build.assert_clean();
    }
    // For the shell, whatever is in the values.
    let odd = build.workspace.path("it's odd");
    fs::create_dir(&odd).unwrap();
    let script = "set -eu\neval \"$(pump --startup)\"\ntest -S \"$INCLUDE_SERVER_PORT\"\n\
        distcc g++ -g -c hello_world.cpp\ndistcc g++ -O2 -c hello_world.cpp -o two.o\npump --shutdown\npump --shutdown\n";
    let output = succeed(build.command("sh", &build.hosts()).env("TMPDIR", &odd).args(["-c", script]));
    assert_pumped(&output);
    assert_eq!(fs::read_dir(&odd).unwrap().count(), 0);
    assert!(build.object("hello_world.o") == build.local(&["g++", "-g", "-c", "hello_world.cpp"]));
    assert!(build.object("two.o") == build.local(&["g++", "-O2", "-c", "hello_world.cpp"]));
    let lines = "pump --startup | tee out; eval \"$(cat out)\"; pump --shutdown";
    let output = succeed(build.command("sh", &build.hosts()).args(["-c", lines]));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let names: Vec<&str> =
        said.lines().filter_map(|line| line.strip_prefix("export ")?.split('=').next()).collect();
    let all = ["INCLUDE_SERVER_PID", "INCLUDE_SERVER_DIR", "INCLUDE_SERVER_PORT", "DISTCC_HOSTS", "PATH"];
    assert_eq!(names, all);
    build.assert_clean();
}

#[test]
fn pump_ends_as_its_command_does() {
    let build = Build::new("status");
    let status = |words: &[&str], change: &dyn Fn(&mut Command)| {
        let mut command = build.command("pump", &build.hosts());
        change(&mut command);
        let output = run(command.args(words));
        build.assert_clean();
        (output.status.code(), [output.stdout.clone(), output.stderr.clone()].concat())
    };
    let check = |words: &[&str], code: i32, says: &str, change: &dyn Fn(&mut Command)| {
        let (status, said) = status(words, change);
        let said = String::from_utf8_lossy(&said).into_owned();
        assert_eq!(status, Some(code), "{words:?}: {said}");
        assert!(said.contains(says), "{words:?}: {said}");
    };
    let nothing = |_: &mut Command| ();
    check(&["true"], 0, "Shutting down", &nothing);
    check(&["sh", "-c", "exit 7"], 7, "Shutting down", &nothing);
    check(&["sh", "-c", "kill -TERM $$"], 143, "Shutting down", &nothing);
    check(&["no-such-program"], 127, "command not found", &nothing);
    check(&["--startup", "x"], 127, "command not found", &nothing);
    check(&["env"], 0, "INCLUDE_SERVER_PORT=", &nothing);
    let (_, said) = status(&["env"], &nothing);
    assert!(!String::from_utf8_lossy(&said).contains("INCLUDE_SERVER_DIR"));
    for words in [&["--shutdown"][..], &[""], &["-h"]] {
        check(words, 0, "", &nothing);
    }
    for (name, value, says) in [
        ("DISTCC_MAX_DISCREPANCY", "0", "DISTCC_MAX_DISCREPANCY"),
        ("DISTCC_LOCATION", "/usr/lib", "no distcc in /usr/lib"),
        ("DISTCC_HOSTS", "localhost", "does not contain any hosts with ',cpp' option"),
        ("DISTCC_HOSTS", "", "contains no hosts"),
        ("DISTCC_HOSTS", "127.0.0.1,cpp", "pump mode needs compression: write ,cpp,lzo"),
        ("INCLUDE_SERVER_ARGS", "--frobnicate", "--frobnicate is no option"),
        ("INCLUDE_SERVER_ARGS", "$(true)", "INCLUDE_SERVER_ARGS"),
        ("DISTCC_CLIENT_TMP", "/a/b/c", "DISTCC_CLIENT_TMP"),
        ("TMPDIR", "/no/such/directory", "/no/such/directory"),
    ] {
        for words in ["true", "--startup"] {
            check(&[words], 1, says, &|command| {
                command.env(name, value);
            });
        }
    }
    check(&["true"], 0, "compiles covered", &|command| {
        command.env("INCLUDE_SERVER_ARGS", "-t --email --stat_reset_triggers='a b:c'");
    });
}

/// A client with a `,cpp` host and no include server starts one; everybody after it finds it.
#[test]
fn without_pump_the_first_client_starts_the_server() {
    let build = Build::new("auto");
    let compile = |more: &[&str]| {
        let mut command = build.command("distcc", &build.hosts());
        // Longer than a compile on a busy machine.
        command.env("DISTCC_INCLUDE_SERVER", "1").env("DISTCC_INCLUDE_SERVER_IDLE", "4");
        run(command.args(["g++", "-c", "hello_world.cpp"]).args(more))
    };
    std::thread::scope(|scope| {
        for job in 0..6 {
            let compile = &compile;
            scope.spawn(move || assert_pumped(&compile(&["-o", &format!("{job}.o")])));
        }
    });
    let servers = || {
        let all = processes_of(&build.workspace);
        all.into_iter().filter(|words| words.contains("include_server")).collect::<Vec<_>>()
    };
    assert_eq!(servers().len(), 1, "{:?}", servers());
    assert!(build.object("5.o") == build.local(&["g++", "-c", "hello_world.cpp"]));
    // What changes is seen.
    build
        .workspace
        .write("real/b.h", "#if __has_include(\"c.h\")\n#include \"c.h\"\n#else\n#define A 2\n#endif\n");
    for _ in 0..2 {
        assert_pumped(&compile(&["-o", "changed.o"]));
        assert!(build.object("changed.o") == build.local(&["g++", "-c", "hello_world.cpp"]));
        build.workspace.write("real/c.h", "#define A 3\n");
    }
    wait_until("the end of the idle server", || servers().is_empty());
    // A dead one's sockets are in nobody's way, nor is what clients held against its build.
    let mut entries = fs::read_dir(build.workspace.path("top")).unwrap().map(|entry| entry.unwrap().path());
    let directory = entries.find(|path| path.join("starting").exists()).expect("its directory");
    fs::write(directory.join("discrepancy_counter"), "@").unwrap();
    assert_pumped(&compile(&["-o", "again.o"]));
    assert_pumped(&compile(&["-o", "again.o"]));
    let server = all_servers(&build.workspace);
    signal_pid(server, 9);
    wait_until("its death", || servers().is_empty());
    assert_pumped(&compile(&["-o", "again.o"]));
    fs::remove_dir_all(build.workspace.path("top")).unwrap();
    signal_pid(all_servers(&build.workspace), 15);
    wait_until("its end", || servers().is_empty());
}

/// The process of the one include server.
fn all_servers(workspace: &Workspace) -> u32 {
    let name = workspace.path("top").display().to_string();
    let words = |pid: u32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let is_server = |pid: &u32| {
        let words = String::from_utf8_lossy(&words(*pid)).into_owned();
        words.starts_with("include_server") && words.contains(&name)
    };
    all_processes().into_iter().map(|(pid, _)| pid).find(is_server).expect("no include server")
}

/// Both programs of stock with our include server.
#[test]
fn stock_programs_work_with_it() {
    let Some(stock_client) = stock("distcc") else { return };
    let build = Build::new("stock");
    let workspace = &build.workspace;
    let Some(theirs) = Daemon::stock(workspace, &["--enable-tcp-insecure"]) else { return };
    fs::create_dir(workspace.path("outside")).unwrap();
    fs::write(workspace.path("outside/abs.h"), "static const char *file() { return __FILE__; }\n").unwrap();
    workspace.write(
        "t.cc",
        "#include <abs.h>\n#include \"inc/link/../real/a.h\"\nconst char *f() { return A + file(); }\n",
    );
    let outside = format!("-I{}", workspace.path("outside").display());
    let ours = workspace.path("bin/distcc");
    let clients: [(&PathBuf, &Daemon); 3] =
        [(&stock_client, &build.daemon), (&stock_client, &theirs), (&ours, &theirs)];
    for (client, daemon) in clients {
        let jobs =
            [&["g++", "-c", "t.cc", "-Iinc", &outside][..], &["g++", "-O2", "-c", "t.cc", "-MD", &outside]];
        for (number, words) in jobs.into_iter().enumerate() {
            let mut command = build.command("pump", &format!("{},cpp,lzo", daemon.host()));
            // Stock says so if it falls back.
            let output = run(command.arg(client).args(words).args(["-o", "t.o"]));
            let what = format!("{} to {}: {}", client.display(), daemon.port, explain(&output));
            assert!(output.status.success(), "{what}");
            assert!(!stderr(&output).contains("preprocessing locally"), "{what}");
            // Their daemon does not map names, as our client learns from its first object that names one.
            let learns = client == &ours && number == 0;
            assert_eq!(stderr(&output).contains("its objects name its own directories"), learns, "{what}");
            assert!(!stderr(&output).contains("locally"), "{what}");
            let remote = build.object("t.o");
            assert!(remote == build.local(words), "{what}");
            fs::remove_file(workspace.work().join("t.o")).unwrap();
        }
    }
    // With debug information their daemon's directories are in the object, but not in what the program says, and only as
    // slashes: it is the same object each time.
    fs::remove_dir_all(workspace.path("top/lock/refused")).unwrap();
    workspace.write("run.cc", "#include <cstdio>\nconst char *f();\nint main() { std::puts(f() - 1); }\n");
    let objects = [(); 2].map(|()| {
        let mut command = build.command("pump", &format!("{},cpp,lzo", theirs.host()));
        let output =
            run(command.arg(&ours).args(["g++", "-g", "-c", "t.cc", "-Iinc", &outside, "-o", "t.o"]));
        assert!(!stderr(&output).contains("locally"), "{}", explain(&output));
        (stderr(&output), build.object("t.o"))
    });
    assert!(objects[0].0.contains("its objects name its own directories"), "{}", objects[0].0);
    let contains = |needle: &[u8]| objects[0].1.windows(needle.len()).any(|window| window == needle);
    let directory = workspace.work().into_os_string().into_encoded_bytes();
    assert!(!contains(b"distccd_") && contains(&[b"///", &directory[..], b"\0"].concat()));
    assert!(objects[0].1 == objects[1].1);
    succeed(workspace.command("g++").args(["run.cc", "t.o", "-o", "run"]));
    let said = succeed(&mut workspace.command(workspace.work().join("run"))).stdout;
    assert_eq!(String::from_utf8_lossy(&said), format!("{}/abs.h\n", &outside[2..]));
    build.assert_clean();
}

/// Whatever a header is: a clear reason, the right object or the compiler's own error, and the server goes on.
#[test]
fn bad_headers_end_in_plain_compiles_and_kill_nobody() {
    let build = Build::new("bombs");
    let workspace = &build.workspace;
    let Some(server) = Started::new(&build) else { panic!("pump --startup failed") };
    let compile = |source: &str| {
        let mut command = build.command("distcc", &build.hosts());
        command.env("INCLUDE_SERVER_PORT", &server.socket).env_remove("DISTCC_FALLBACK");
        run(command.args(["gcc", "-c", source, "-o", "o.o"]))
    };
    let good = |source: &str, reason: &str| {
        let output = compile(source);
        assert!(output.status.success(), "{source}: {}", explain(&output));
        assert!(build.object("o.o") == build.local(&["gcc", "-c", source]), "{source}");
        assert!(stderr(&output).contains(reason), "{source}: {}", explain(&output));
    };
    // Deeper than any compiler goes.
    workspace.write("self.h", "#include \"self.h\"\n");
    workspace.write("self.c", "#include \"self.h\"\n");
    workspace.write("missing.c", "#include \"no/such.h\"\n");
    for source in ["self.c", "missing.c"] {
        let output = compile(source);
        assert_eq!(output.status.code(), Some(1), "{source}: {}", explain(&output));
        let words = if source == "missing.c" { "no/such.h" } else { "nested depth" };
        assert!(stderr(&output).contains(words), "{source}: {}", explain(&output));
    }
    let deep = format!(
        "int x = {}1{};\n#if {}1{}\nint y;\n#endif\n",
        "(".repeat(200),
        ")".repeat(200),
        "(".repeat(9000),
        ")".repeat(9000)
    );
    workspace.write("deep.c", &deep);
    good("deep.c", "");
    workspace.write("big.h", &"/* nothing at all */\n".repeat(500_000));
    workspace.write("big.c", "#include \"big.h\"\nint x;\n");
    good("big.c", "files and links");
    workspace.write("asm.c", "__asm__(\".incbin \\\"blob\\\"\");\nint x;\n");
    workspace.write("blob", "bytes");
    good("asm.c", "locally");
    // A pipe that nobody writes to, where a header is looked for. The compiler waits for ever; the server does not.
    let made = Command::new("mkfifo").arg(workspace.work().join("fifo.h")).status().unwrap();
    assert!(made.success());
    workspace.write("fifo.c", "#include \"fifo.h\"\nint x;\n");
    let answer = ask(&server.socket, workspace, &["gcc", "-c", "fifo.c"]);
    assert_eq!(answer, b"ARGC00000000", "{}", answer.escape_ascii());
    workspace.write("null.c", "#include \"/dev/null\"\nint x;\n");
    good("null.c", "");
    workspace.write("secret.h", "#define S 1\n");
    workspace.write("secret.c", "#if 0\n#include \"secret.h\"\n#endif\nint x;\n");
    good("secret.c", "files and links");
    // Hostile clients: nonsense, half a question, silence.
    for bytes in
        [&b"GET / HTTP/1.0\r\n\r\n"[..], b"CDIR00000004/tmpARGCffffffff", b"ARGC00000001ARGV7fffffff", b""]
    {
        use std::io::Write;

        for socket in [server.socket.clone(), own_socket(&server.socket)] {
            let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
            let _ = stream.write_all(bytes);
        }
    }
    let idle: Vec<_> =
        (0..200).map(|_| std::os::unix::net::UnixStream::connect(&server.socket).unwrap()).collect();
    workspace.write("after.c", "#include \"real/a.h\"\nint x = A;\n");
    good("after.c", "files and links");
    drop(idle);
    let words = processes_of(workspace).into_iter().filter(|words| words.contains("include_server")).count();
    assert_eq!(words, 1);
    server.stop();
    build.assert_clean();
}

/// What a stock client is told about this command.
pub fn ask(socket: &std::path::Path, workspace: &Workspace, words: &[&str]) -> Vec<u8> {
    use std::io::{Read, Write};

    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    let mut question = Vec::new();
    let directory = workspace.work().into_os_string().into_encoded_bytes();
    distcc::wire::include::encode_question(&directory, words, &mut question);
    stream.write_all(&question).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

fn own_socket(port: &std::path::Path) -> PathBuf {
    distcc::topdir::own_socket(port)
}

/// What `pump --startup` has started.
pub struct Started<'a> {
    build: &'a Build,
    pub socket: PathBuf,
    pub pid: u32,
    directory: String,
}

impl Started<'_> {
    pub fn new(build: &Build) -> Option<Started<'_>> {
        let output = succeed(build.command("pump", &build.hosts()).arg("--startup"));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("export {name}='")))?;
            Some(line.trim_end_matches('\'').to_owned())
        };
        Some(Started {
            build,
            socket: value("INCLUDE_SERVER_PORT")?.into(),
            pid: value("INCLUDE_SERVER_PID")?.parse().ok()?,
            directory: value("INCLUDE_SERVER_DIR")?,
        })
    }

    pub fn stop(self) {
        let mut command = self.build.command("pump", "localhost");
        command.env("INCLUDE_SERVER_PID", self.pid.to_string()).env("INCLUDE_SERVER_DIR", &self.directory);
        let output = succeed(command.arg("--shutdown"));
        assert!(String::from_utf8_lossy(&output.stdout).contains("Shutting down"));
    }
}

/// Headers that are edited, generated and deleted while compiles run: the objects are those of a local build.
#[test]
fn headers_may_change_during_a_build() {
    let build = Build::new("changes");
    let workspace = &build.workspace;
    let server = Started::new(&build).unwrap();
    let compile = || {
        let mut command = build.command("distcc", &build.hosts());
        command.env("INCLUDE_SERVER_PORT", &server.socket);
        let output = run(command.args(["gcc", "-c", "c.c", "-o", "o.o", "-Igen", "-Ireal"]));
        assert!(output.status.success(), "{}", explain(&output));
        assert_pumped(&output);
        let local = build.local(&["gcc", "-c", "c.c", "-Igen", "-Ireal"]);
        assert!(build.object("o.o") == local, "{}", explain(&output));
    };
    workspace.write(
        "c.c",
        "#include <v.h>\n#if __has_include(<extra.h>)\n#include <extra.h>\n#endif\nint v = V;\n",
    );
    workspace.write("real/v.h", "#define V 1\n");
    compile();
    for number in 0..4 {
        // The same length, in the same second.
        workspace.write("real/v.h", &format!("#define V {number}\n"));
        compile();
    }
    // One that comes first in the search, and goes again.
    workspace.write("gen/v.h", "#include <w.h>\n#define V W\n");
    workspace.write("gen/w.h", "#define W 77\n");
    compile();
    workspace.write("gen/extra.h", "int extra;\n");
    compile();
    fs::remove_file(workspace.work().join("gen/v.h")).unwrap();
    compile();
    fs::remove_dir_all(workspace.work().join("gen")).unwrap();
    compile();
    // A directory becomes a link, and a link a directory.
    fs::rename(workspace.work().join("real"), workspace.work().join("moved")).unwrap();
    symlink("moved", workspace.work().join("real")).unwrap();
    compile();
    fs::remove_file(workspace.work().join("real")).unwrap();
    workspace.write("real/v.h", "#define V 5\n");
    compile();
    // While compiles run, by another process's pace.
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                number += 1;
                let text = format!("#define V {}\n/* {} */\n", number % 7, "x".repeat(number % 50));
                let path = workspace.work().join("real/.new");
                fs::write(&path, text).unwrap();
                fs::rename(path, workspace.work().join("real/v.h")).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(3));
            }
        });
        for _ in 0..8 {
            let mut command = build.command("distcc", &build.hosts());
            command.env("INCLUDE_SERVER_PORT", &server.socket);
            succeed(command.args(["gcc", "-c", "c.c", "-o", "o.o", "-Ireal"]));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    compile();
    assert!(!server.socket.with_file_name("discrepancy_counter").exists());
    // Killed in the middle of a build: the rest is preprocessed here.
    signal_pid(server.pid, 9);
    let mut command = build.command("distcc", &build.hosts());
    command.env("INCLUDE_SERVER_PORT", &server.socket);
    let output = succeed(command.args(["gcc", "-c", "c.c", "-o", "o.o", "-Ireal"]));
    assert!(stderr(&output).contains("preprocessing c.c locally: the include server"), "{}", stderr(&output));
    assert!(build.object("o.o") == build.local(&["gcc", "-c", "c.c", "-Ireal"]));
    server.stop();
    build.assert_clean();
}

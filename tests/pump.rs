use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::util::include_server::{IncludeServer, Mood};
use crate::util::peer::FakeServer;
use crate::util::*;

/// Sources in several directories, which name files in every way: relative, absolute, through links, upwards.
struct Project {
    workspace: Workspace,
}

impl Project {
    fn new(name: &str) -> Project {
        let workspace = Workspace::new(name);
        workspace.write(
            "src/main.c",
            "#include \"a.h\"\n#include \"../inc/b.h\"\n#include <abs.h>\n#include <link/c.h>\n#include <assert.h>\n\
             #include <stdio.h>\nint main(int argc, char **argv) {\n    assert(argc > A);\n    \
             printf(\"%s %s %s\\n\", __FILE__, abs_file(), argv[0]);\n    int unused = B + C;\n    return 0;\n}\n",
        );
        workspace.write("src/a.h", "#define A 1\n");
        workspace.write("inc/b.h", "#pragma once\n#define B 2\n#include \"sub/d.h\"\n");
        workspace.write("inc/sub/d.h", "static inline int d(int x) { return x + B; }\n");
        workspace.write("real/c.h", "#define C 3\nstruct c { int member; };\n");
        std::os::unix::fs::symlink("../real", workspace.work().join("inc/link")).unwrap();
        fs::create_dir(workspace.path("outside")).unwrap();
        fs::write(
            workspace.path("outside/abs.h"),
            "#include <assert.h>\nstatic inline const char *abs_file(void) { assert(__LINE__); return __FILE__; }\n",
        )
        .unwrap();
        workspace.write(
            "src/t.cc",
            "#include <abs.h>\n#include <cstddef>\n#include \"a.h\"\nnamespace { struct S { S(); const char *f; }; S::S() : \
             f(abs_file()) {} S s; }\ntemplate<class T> struct V { T v[A]; std::size_t n() { return sizeof v; } };\n\
             std::size_t size(V<int> &v) { return v.n(); }\n",
        );
        Project { workspace }
    }

    fn options(&self) -> Vec<String> {
        vec!["-Iinc".into(), format!("-I{}", self.workspace.path("outside").display())]
    }

    /// Compiles `source` locally and through `client`; the objects, dependency files and messages of both.
    fn both(&self, client: &mut Command, words: &[&str]) -> [Outputs; 2] {
        let mut local = self.workspace.command(words[0]);
        [self.compile(local.args(&words[1..])), self.compile(client.args(words))]
    }

    fn compile(&self, command: &mut Command) -> Outputs {
        for name in ["o.o", "o.d"] {
            let _ = fs::remove_file(self.workspace.work().join(name));
        }
        let output = run(command.args(self.options()).args(["-o", "o.o"]));
        Outputs {
            status: output.status.code(),
            object: fs::read(self.workspace.work().join("o.o")).ok(),
            dependencies: fs::read_to_string(self.workspace.work().join("o.d")).ok(),
            messages: stderr(&output),
        }
    }

    fn pump(&self, kind: Kind, daemon: &Daemon, server: &IncludeServer) -> Command {
        let mut client = self.workspace.client(kind, &format!("{},cpp,lzo", daemon.host()));
        client.env("INCLUDE_SERVER_PORT", &server.socket).env("DISTCC_FALLBACK", "0");
        client
    }
}

#[derive(PartialEq)]
struct Outputs {
    status: Option<i32>,
    object: Option<Vec<u8>>,
    dependencies: Option<String>,
    messages: String,
}

/// Compares with what a difference looks like, but for the bytes of objects.
#[track_caller]
fn assert_same([local, remote]: &[Outputs; 2], what: &str) {
    assert_eq!(remote.messages, local.messages, "{what}");
    assert_eq!(remote.dependencies, local.dependencies, "{what}");
    assert_eq!(remote.status, local.status, "{what}");
    assert!(local.object.is_some() && remote.object == local.object, "{what}: the objects differ");
}

/// The compilers of this machine: clang is not everywhere.
fn compilers() -> Vec<(&'static str, &'static str)> {
    let has_clang = Path::new("/usr/bin/clang").exists() && Path::new("/usr/bin/clang++").exists();
    if !has_clang {
        assert!(std::env::var_os("CI").is_none(), "clang is missing: run tests/setup.sh test");
        eprintln!("SKIPPED: clang is missing; run tests/setup.sh test");
    }
    let all = [("gcc", "g++"), ("clang", "clang++")];
    all.into_iter().filter(|(cc, _)| *cc != "clang" || has_clang).collect()
}

fn daemon(workspace: &Workspace) -> Daemon {
    Daemon::ours(workspace, &["--enable-tcp-insecure"])
}

#[test]
fn everything_is_as_from_a_local_compile() {
    let project = Project::new("same");
    let workspace = &project.workspace;
    let daemon = daemon(workspace);
    let server = IncludeServer::new(&workspace.path("is"), Mood::Right);
    let absolute = |name: &str| workspace.work().join(name).display().to_string();
    let mut jobs = 0;
    for (cc, cxx) in compilers() {
        for (compiler, source) in [(cc, "src/main.c"), (cxx, "src/t.cc")] {
            for source in [source.to_owned(), absolute(source)] {
                for options in [
                    "-O2 -Wall -MD",
                    "-g -O1 -Wextra -Wall -MMD -MP",
                    "-g3 -MMD -MT x -MQ y$z",
                    "-gz -g -O0 -fPIC -ffunction-sections",
                    "-S -g -DNDEBUG",
                ] {
                    // A list that another compiler writes.
                    let mut words = vec![compiler, "-c", &source];
                    words.extend(options.split(' '));
                    let both = project.both(
                        project.pump(Kind::Ours, &daemon, &server).env("PWD", workspace.work()),
                        &words,
                    );
                    assert_same(&both, &words.join(" "));
                    jobs += 1;
                }
            }
        }
    }
    assert_eq!(server.questions().len(), jobs);
    daemon.wait_for_jobs("COMPILE_OK", jobs);
    workspace.assert_clean();
    daemon.stop();
}

/// Both layouts of long lists, with names that have to be escaped, next to what the compilers write for a root that
/// has no name: the lengths of names decide where lines break.
#[test]
fn dependency_files_break_their_lines_where_the_compiler_does() {
    let workspace = Workspace::new("lines");
    let daemon = daemon(&workspace);
    let outside = workspace.path("o");
    fs::create_dir(&outside).unwrap();
    let mut source = String::new();
    for number in 0..60 {
        let name = format!("{}{number}.h", "x".repeat(number * 7 % 41));
        fs::write(outside.join(&name), "").unwrap();
        source += &format!("#include <{name}>\n");
    }
    workspace.write("long.c", &source);
    let server = IncludeServer::new(&workspace.path("is"), Mood::Right);
    let include = format!("-I{}", outside.display());
    for (compiler, _) in compilers() {
        let words = [compiler, "-c", "long.c", "-MD", "-MP", "-MF", "o.d", include.as_str()];
        succeed(workspace.command(words[0]).args(&words[1..]));
        let local = fs::read_to_string(workspace.work().join("o.d")).unwrap();
        fs::remove_file(workspace.work().join("o.d")).unwrap();
        let mut client = workspace.distcc(&format!("{},cpp,lzo", daemon.host()));
        succeed(client.env("INCLUDE_SERVER_PORT", &server.socket).env("DISTCC_FALLBACK", "0").args(words));
        assert_eq!(fs::read_to_string(workspace.work().join("o.d")).unwrap(), local, "{compiler}");
        assert!(local.lines().count() > 100, "{local}");
    }
    assert_eq!(server.questions().len(), compilers().len());
}

#[test]
fn what_differs_is_known_and_therefore_not_sent() {
    let project = Project::new("exceptions");
    let workspace = &project.workspace;
    let daemon = daemon(workspace);
    let server = IncludeServer::new(&workspace.path("is"), Mood::Right);
    for (cc, _) in compilers() {
        for options in ["-fsanitize=address -g", "-fsanitize=undefined"] {
            let mut words = vec![cc, "-c", "src/main.c"];
            words.extend(options.split(' '));
            let mut client = project.pump(Kind::Ours, &daemon, &server);
            let output = run(client
                .env("DISTCC_VERBOSE", "1")
                .args(&words)
                .args(project.options())
                .args(["-o", "o.o"]));
            assert!(output.status.success());
            assert!(stderr(&output).contains("preprocessing src/main.c locally: -fsanitize"), "{words:?}");
        }
    }
    assert_eq!(server.questions(), []);
    // The order of the file table of DWARF 4 is another one for a source that is named absolutely.
    let source = workspace.work().join("src/main.c").display().to_string();
    let words = ["gcc", "-c", source.as_str(), "-g", "-gdwarf-4"];
    let [local, remote] = project.both(&mut project.pump(Kind::Ours, &daemon, &server), &words);
    assert_eq!(server.questions().len(), 1);
    let table = |object: &[u8]| {
        fs::write(workspace.work().join("table.o"), object).unwrap();
        let dump =
            Command::new("readelf").arg("--debug-dump=line").arg(workspace.work().join("table.o")).output();
        let dump = String::from_utf8_lossy(&dump.unwrap().stdout).into_owned();
        let mut names: Vec<String> = dump
            .lines()
            .filter_map(|line| {
                line.split_whitespace().last().filter(|name| name.ends_with(".h") || name.ends_with(".c"))
            })
            .map(str::to_owned)
            .collect();
        names.sort();
        names.dedup();
        names
    };
    let (local, remote) = (local.object.unwrap(), remote.object.unwrap());
    assert_ne!(local, remote, "an exception less: tell pump_argv and this test");
    assert_eq!(table(&local), table(&remote));
    assert!(!String::from_utf8_lossy(&remote).contains("distccd_"), "the server's directory shows");
}

/// Both programs of stock: their client with our daemon, our client with their daemon.
#[test]
fn stock_programs_understand_ours() {
    let Some(_) = stock("distcc") else { return };
    let project = Project::new("interop");
    let workspace = &project.workspace;
    let ours = daemon(workspace);
    let Some(theirs) = Daemon::stock(workspace, &["--enable-tcp-insecure"]) else { return };
    let server = IncludeServer::new(&workspace.path("is"), Mood::LineDirectives);
    for (client, daemon) in [(Kind::Stock, &ours), (Kind::Ours, &theirs), (Kind::Stock, &theirs)] {
        for words in [
            &["gcc", "-c", "src/main.c", "-O2", "-MMD"][..],
            &["gcc", "-c", "src/main.c", "-MD", "-MT", "x"],
            &["g++", "-c", "src/t.cc", "-O1"],
        ] {
            let [local, remote] = project.both(&mut project.pump(client, daemon, &server), words);
            let what = format!("{client:?} to port {}: {words:?}", daemon.port);
            assert_eq!(remote.status, Some(0), "{what}");
            assert!(local.object == remote.object, "{what}: the objects differ");
            let names = |text: Option<String>| {
                let text = text.unwrap_or_default().replace("\\\n", " ");
                text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
            };
            assert_eq!(names(remote.dependencies), names(local.dependencies), "{what}");
        }
        // An error comes from the local compile, and counts for nobody.
        workspace.write("src/wrong.c", "#include \"a.h\"\nint x = y;\n");
        let mut command = project.pump(client, daemon, &server);
        command.env_remove("DISTCC_FALLBACK").args(["gcc", "-c", "src/wrong.c", "-o", "o.o"]);
        let output = run(&mut command);
        assert_eq!(output.status.code(), Some(1));
        assert!(!workspace.path("is/discrepancy_counter").exists());
    }
    // Each was asked, so none was preprocessed by a client.
    assert_eq!(server.questions().len(), 12);
    // With debug information ours maps the root away, whoever asks.
    let words = ["gcc", "-c", "src/main.c", "-g", "-O1"];
    let [local, remote] = project.both(&mut project.pump(Kind::Stock, &ours, &server), &words);
    assert!(local.object == remote.object, "the objects of a stock client differ with -g");
}

/// Objects that are so large that they go to their file as they come, a stock server's names of its directories included.
#[test]
fn large_objects_are_those_of_a_local_compile() {
    let project = Project::new("large");
    let workspace = &project.workspace;
    let mut random = Random::new(3);
    let numbers: String = (0..30_000).map(|_| format!("{},", random.below(1 << 30))).collect();
    workspace.write(
        "src/large.c",
        &format!(
            "#include <abs.h>\nconst char *f(void) {{ return abs_file(); }}\nint x[] = {{{numbers}}};\n"
        ),
    );
    let ours = daemon(workspace);
    let theirs = Daemon::stock(workspace, &["--enable-tcp-insecure"]);
    let server = IncludeServer::new(&workspace.path("is"), Mood::LineDirectives);
    let daemons = [Some(&ours), theirs.as_ref()];
    for daemon in daemons.into_iter().flatten() {
        let is_ours = daemon.port == ours.port;
        for debug in ["-g0", "-g"] {
            let words = ["gcc", "-c", "src/large.c", "-O1", debug];
            let [local, remote] = project.both(&mut project.pump(Kind::Ours, daemon, &server), &words);
            let what = format!("ours: {is_ours}, {debug}: {}", remote.messages);
            let (local, remote) = (local.object.unwrap(), remote.object.expect(&what));
            assert!(remote.len() > 100_000 && contains(&remote, "/outside/abs.h"), "{what}");
            assert!(!contains(&remote, "/distccd_"), "{what}");
            // Stock's has slashes where the name of the directory was.
            assert_eq!(local == remote, is_ours || debug == "-g0", "{what}");
        }
    }
    let left = fs::read_dir(workspace.work()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.filter(|name| name.as_encoded_bytes().starts_with(b".")).count(), 0);
    assert!(server.questions().len() >= 4, "none was preprocessed by the client");
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// What a stock client sends, as bytes: the header of the request that `protocol.md` describes.
#[test]
fn a_stock_clients_request_is_as_described() {
    let Some(_) = stock("distcc") else { return };
    let workspace = Workspace::new("golden");
    workspace.write("t.c", "#include \"sub/h.h\"\nint f(void){return H;}\n");
    workspace.write("sub/h.h", "#define H 7\n");
    let server = IncludeServer::new(&workspace.path("is"), Mood::Right);
    succeed(workspace.command("gcc").args(["-c", "t.c", "-o", "real.o"]));
    let object = fs::read(workspace.work().join("real.o")).unwrap();
    let mut compressed = Vec::new();
    distcc::wire::lzo::Encoder::new().compress(&object, &mut compressed);
    let (sender, requests) = std::sync::mpsc::channel();
    let fake = crate::util::peer::FakeServer::raw(move |stream| {
        use std::io::{Read, Write};

        let mut decoder = distcc::wire::request::Decoder::new();
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
        while !decoder.is_complete() {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "cut short: {}", bytes.escape_ascii());
            bytes.extend_from_slice(&buffer[..count]);
            let mut input = &buffer[..count];
            while decoder.next(&mut input).unwrap().is_some() {}
        }
        sender.send(bytes).unwrap();
        write!(stream, "DONE00000003STAT00000000SERR00000000SOUT00000000DOTO{:08x}", compressed.len())
            .unwrap();
        stream.write_all(&compressed).unwrap();
        stream.write_all(b"DOTD00000015\x22t.o: t.c sub/h.h\n\x11\0\0").unwrap();
    });
    let send = |kind: Kind| {
        let mut client = workspace.client(kind, &format!("{},cpp,lzo", fake.host()));
        client.env("INCLUDE_SERVER_PORT", &server.socket).env("DISTCC_FALLBACK", "0");
        succeed(client.args(["gcc", "-c", "t.c", "-o", "t.o", "-MMD"]));
        assert!(fs::read(workspace.work().join("t.o")).unwrap() == object, "{kind:?}");
        assert_eq!(
            fs::read_to_string(workspace.work().join("t.d")).unwrap(),
            "t.o: t.c sub/h.h\n",
            "{kind:?}"
        );
        String::from_utf8_lossy(&requests.recv().unwrap()).into_owned()
    };
    let (theirs, ours) = (send(Kind::Stock), send(Kind::Ours));
    let work = workspace.work();
    let directory = work.to_str().unwrap();
    let start = |request: &str| request.split("ARGC").next().unwrap().to_owned();
    assert_eq!(start(&theirs), format!("DIST00000003CDIR{:08x}{directory}", directory.len()));
    assert_eq!(start(&ours), start(&theirs));
    // The files come from one include server, and so in the same bytes and order.
    let files = |request: &str| request[request.find("NFIL").unwrap()..].to_owned();
    assert_eq!(files(&ours), files(&theirs));
    assert!(files(&theirs).contains(&format!("NAME{:08x}{directory}/t.cFILE", directory.len() + 4)));
    assert!(files(&theirs).contains("/forcing_technique_271828FILE00000000"));
    assert!(theirs.contains("ARGV00000003-MTARGV00000003t.o"), "{theirs}");
}

/// As in plain mode: by the name with the machine in it, and not just anybody's object.
#[test]
fn servers_are_told_the_machine_and_objects_are_looked_at() {
    if !tool("gcc-11") {
        return;
    }
    let project = Project::new("pumpnames");
    let workspace = &project.workspace;
    let server = IncludeServer::new(&workspace.path("is"), Mood::Right);
    let words = ["gcc", "-c", "src/main.c", "-O2"];
    let plain = daemon(workspace);
    let verbose =
        project.compile(project.pump(Kind::Ours, &plain, &server).env("DISTCC_VERBOSE", "1").args(words));
    assert!(verbose.messages.contains(": x86_64-linux-gnu-gcc -c src/main.c -O2 "), "{}", verbose.messages);
    plain.wait_for_jobs("COMPILE_OK", 1);

    for name in ["gcc", "x86_64-linux-gnu-gcc"] {
        workspace.script(&format!("servers/{name}"), "#!/bin/sh\nexec /usr/bin/gcc-11 \"$@\"\n");
    }
    let older = Daemon::start(workspace, workspace.distccd_with_servers().arg("--enable-tcp-insecure"));
    let mut client = project.pump(Kind::Ours, &older, &server);
    let [local, made] = project.both(client.env("DISTCC_FALLBACK", "1"), &words);
    assert!(made.object.is_some() && made.object == local.object, "the server's object was taken");
    assert!(made.messages.contains(") 11.") && made.messages.contains(") 12."), "{}", made.messages);
    older.wait_for_jobs("COMPILE_OK", 1);
}

/// Whatever is wrong with the include server: the file is preprocessed here, the same host compiles it, and only a
/// verbose client says why.
#[test]
fn without_an_answer_the_file_is_preprocessed_here() {
    let project = Project::new("ladder");
    let workspace = &project.workspace;
    let daemon = daemon(workspace);
    let host = format!("{},cpp,lzo", daemon.host());
    let words = ["gcc", "-c", "src/main.c", "-O2"];
    let mut jobs = 0;
    let mut check = |says: &str, more: &[&str], change: &dyn Fn(&mut Command)| {
        let client = || {
            let mut client = workspace.distcc(&host);
            change(client.env("DISTCC_FALLBACK", "0"));
            client
        };
        let words = [&words[..], more].concat();
        let [local, remote] = project.both(&mut client(), &words);
        assert_eq!(remote.messages, local.messages, "{says}");
        assert!(remote.object == local.object && local.object.is_some(), "{says}: the objects differ");
        jobs += 1;
        daemon.wait_for_jobs("COMPILE_OK", jobs);
        let verbose = project.compile(client().env("DISTCC_VERBOSE", "1").args(&words));
        assert!(verbose.messages.contains(says), "{says}: {}", verbose.messages);
        assert!(verbose.messages.contains("preprocessing src/main.c locally: "), "{says}");
        jobs += 1;
        daemon.wait_for_jobs("COMPILE_OK", jobs);
    };
    check("INCLUDE_SERVER_PORT is not set", &[], &|_| ());
    let long = format!("/{}/socket", "x".repeat(200));
    for socket in ["/no/such/socket", &long] {
        check("cannot be asked", &[], &|client| {
            client.env("INCLUDE_SERVER_PORT", socket);
        });
    }
    for (mood, says) in [
        (Mood::Empty, "cannot tell what this source includes"),
        (Mood::Short, "was closed before"),
        (Mood::Nonsense, "expected the token ARGC"),
    ] {
        let server = IncludeServer::new(&workspace.path(&format!("{mood:?}")), mood);
        check(says, &[], &|client| {
            client.env("INCLUDE_SERVER_PORT", &server.socket);
        });
        assert_eq!(server.questions().len(), 2);
    }
    let server = IncludeServer::new(&workspace.path("right"), Mood::Right);
    check("CPATH is set", &[], &|client| {
        client.env("INCLUDE_SERVER_PORT", &server.socket).env("CPATH", workspace.path("tmp"));
    });
    // A path that climbs past the root: a local compile stops there, a server has no directory there.
    let climbing = format!("-I{}", "../".repeat(40));
    check("it refused the job: distccd: option -I", &[&climbing], &|client| {
        client.env("INCLUDE_SERVER_PORT", &server.socket);
    });
    workspace.assert_clean();
}

#[test]
fn discrepancies_end_pump_mode_unless_a_header_has_changed() {
    let workspace = Workspace::new("discrepancy");
    let daemon = daemon(&workspace);
    workspace.write("a.c", "#include \"a.h\"\nint a = A;\n");
    workspace.write("a.h", "#define A 1\n");
    std::thread::sleep(std::time::Duration::from_millis(20));
    let server = IncludeServer::new(&workspace.path("is"), Mood::WithoutHeaders);
    let counter = workspace.path("is/discrepancy_counter");
    let compile = |limit: &str, more: &[&str]| {
        let mut client = workspace.distcc(&format!("{},cpp,lzo", daemon.host()));
        client.env("INCLUDE_SERVER_PORT", &server.socket).env("DISTCC_MAX_DISCREPANCY", limit);
        run(client.args(["gcc", "-c", "a.c"]).args(more))
    };
    let count = || fs::read_to_string(&counter).unwrap_or_default();
    for expected in ["@", "@@"] {
        let output = compile("2", &[]);
        assert!(output.status.success(), "the local compile decides");
        assert_eq!(count(), expected);
        let says_it_ends = stderr(&output).contains("pump mode ends for the rest of this build");
        assert_eq!(says_it_ends, expected == "@@", "{}", stderr(&output));
    }
    assert_eq!(server.questions().len(), 2);
    let output = compile("2", &[]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
    assert_eq!(
        (server.questions().len(), count().as_str()),
        (2, "@@"),
        "preprocessed here, and so no failure"
    );
    fs::remove_file(&counter).unwrap();
    // A failure of what was preprocessed here says nothing about pump mode.
    let fails = b"DONE00000001STAT00000100SERR00000000SOUT00000000DOTO00000000";
    let other = FakeServer::new(move |_, stream| stream.write_all(fails).unwrap());
    let mut client = workspace.distcc(&other.host());
    client.env("INCLUDE_SERVER_PORT", &server.socket);
    let output = succeed(client.args(["gcc", "-c", "a.c"]));
    assert!(stderr(&output).contains("failed on"), "{}", stderr(&output));
    assert_eq!(count(), "");
    // The header is younger than the include server.
    workspace.write("a.h", "#define A 2\n");
    let output = compile("1", &["-MD"]);
    assert!(output.status.success());
    assert_eq!(count(), "");
    let output = compile("0", &[]);
    assert_eq!(output.status.code(), Some(101));
    assert!(stderr(&output).contains("DISTCC_MAX_DISCREPANCY"), "{}", stderr(&output));
}

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::util::include_server::{IncludeServer, Mood};
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

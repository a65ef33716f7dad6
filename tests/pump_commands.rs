use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use crate::pump_build::{Build, Started, ask, assert_pumped};
use crate::util::*;

/// What shells are told of an include server: in quotes or not, by either kind of substitution, by sh and by bash.
#[test]
fn shells_take_the_variables_in_every_way() {
    let build = Build::new("shells");
    for shell in ["sh", "bash"] {
        for start in ["eval $(pump --startup)", "eval `pump --startup`", "eval \"$(pump --startup)\""] {
            let script = format!(
                "set -e\n{start}\ntest -S \"$INCLUDE_SERVER_PORT\"\ndistcc g++ -c hello_world.cpp\npump --shutdown\n"
            );
            let output = succeed(build.command(shell, &build.hosts()).args(["-c", &script]));
            assert_pumped(&output);
            build.assert_clean();
        }
    }
    assert!(build.object("hello_world.o") == build.local(&["g++", "-c", "hello_world.cpp"]));
}

/// The hosts that answer, found by `lsdistcc`, whatever it was told to print besides their names.
#[test]
fn potential_hosts_are_searched() {
    let build = Build::new("potential");
    let other = Daemon::ours(&build.workspace, &[]);
    let pump = |hosts: &str, more: &str, server: &str, words: &[&str]| {
        let mut command = build.command("pump", "");
        command
            .env_remove("DISTCC_HOSTS")
            .env("DISTCC_POTENTIAL_HOSTS", hosts)
            .env("LSDISTCC_ARGS", format!("-r{} -t20 {more}", build.daemon.port))
            .env("INCLUDE_SERVER_ARGS", server);
        run(command.args(words))
    };
    let said = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let compile = ["distcc", "g++", "-c", "hello_world.cpp"];
    let known = build.daemon.host();
    let found = format!("DISTCC_HOSTS=--randomize {known},cpp,lzo\n");
    for more in ["", "-l", "-P3", "'-P2' -pgcc -k10000", "-x"] {
        // A name that is none is left out.
        let output = pump("127.0.0.1 no-such-host.invalid", more, "", &["env"]);
        assert!(
            said(&output).contains("__________Found 1 available distcc servers\n"),
            "{}",
            explain(&output)
        );
        assert!(said(&output).contains(&found), "{more}: {}", explain(&output));
        let output = pump("127.0.0.1 no-such-host.invalid", more, "", &compile);
        assert_pumped(&output);
    }
    assert!(build.object("hello_world.o") == build.local(&["g++", "-c", "hello_world.cpp"]));
    // It looks at one port.
    let output = pump(&format!("127.0.0.1 {}", other.host()), "", "", &["distcc", "--show-hosts"]);
    assert!(
        said(&output).contains("__________Found 1 available"),
        "it looks at one port: {}",
        explain(&output)
    );
    // None: the build runs, as with stock.
    let output = pump("no-such-host.invalid", "", "", &["sh", "-c", "echo \"<$DISTCC_HOSTS>\"; exit 3"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        said(&output).contains("Found 0 available distcc servers\n<--randomize >\n"),
        "{}",
        explain(&output)
    );
    // No include server: it runs without pump mode, on the hosts that were found.
    let output =
        pump("127.0.0.1", "-P3", "--frobnicate", &["sh", "-c", "env; distcc g++ -c hello_world.cpp"]);
    assert!(output.status.success(), "{}", explain(&output));
    assert!(
        said(&output).contains(&format!("DISTCC_HOSTS=--randomize {known},lzo\n")),
        "{}",
        explain(&output)
    );
    assert!(!said(&output).contains("INCLUDE_SERVER_PORT"), "{}", explain(&output));
    assert!(stderr(&output).contains("the build runs without pump mode"), "{}", explain(&output));
    // For a shell.
    let script = "set -e\neval $(pump --startup)\ndistcc g++ -c hello_world.cpp\npump --shutdown\n";
    let mut command = build.command("sh", "");
    command
        .env_remove("DISTCC_HOSTS")
        .env("DISTCC_POTENTIAL_HOSTS", "127.0.0.1")
        .env("LSDISTCC_ARGS", format!("-r{} -t20", build.daemon.port));
    assert_pumped(&succeed(command.args(["-c", script])));
    build.assert_clean();
}

/// `pump make -j2 CC="distcc gcc -std=gnu99"` on a project of autotools, with a header that make generates.
#[test]
fn a_project_of_autotools_builds_under_pump() {
    if !tool("autoreconf") || !tool("automake") {
        return;
    }
    let build = Build::new("pumpautotools");
    let workspace = &build.workspace;
    workspace.write(
        "configure.ac",
        "AC_INIT([p], [1])\nAM_INIT_AUTOMAKE([foreign subdir-objects])\nAC_CONFIG_HEADERS([config.h])\nAC_PROG_CC\n\
         AC_CONFIG_FILES([Makefile])\nAC_OUTPUT\n",
    );
    workspace.write(
        "Makefile.am",
        "AM_CPPFLAGS = -I$(srcdir)/include\nbin_PROGRAMS = p\np_SOURCES = src/main.c src/part.c include/part.h\n\
         BUILT_SOURCES = number.h\nCLEANFILES = number.h\nnumber.h:\n\techo '#define NUMBER 42' >$@\n",
    );
    workspace.write("include/part.h", "int part(int x);\n");
    workspace.write(
        "src/part.c",
        "#include <config.h>\n#include \"part.h\"\n#include \"number.h\"\nint part(int x) { return x - NUMBER + \
         (PACKAGE_VERSION[0] - '1'); }\n",
    );
    workspace.write(
        "src/main.c",
        "#include <assert.h>\n#include <stdio.h>\n#include \"part.h\"\n\
         int main(void) { for (int i = 0; i < 1; i++) assert(part(42) == 0); return part(42); }\n",
    );
    succeed(workspace.command("autoreconf").arg("--install"));
    succeed(&mut workspace.command("./configure"));
    let results = || {
        ["src/main.o", "src/part.o", "src/.deps/main.Po", "src/.deps/part.Po"].map(|name| build.object(name))
    };
    succeed(workspace.command("make").args(["-j2", "CC=gcc -std=gnu99"]));
    let local = results();
    for hosts in [build.hosts(), format!("{},lzo,cpp", build.daemon.host())] {
        succeed(workspace.command("make").arg("clean"));
        let output = succeed(build.command("pump", &hosts).args(["make", "-j2", "CC=distcc gcc -std=gnu99"]));
        assert_pumped_all(&output, 2);
        assert!(results() == local, "objects or dependency files differ");
        succeed(&mut workspace.command(workspace.work().join("p")));
        build.assert_clean();
    }
}

/// All compiles of a build were preprocessed by servers; links are local.
#[track_caller]
fn assert_pumped_all(output: &Output, compiles: usize) {
    let text = stderr(output);
    assert_eq!(text.matches("files and links").count(), compiles, "{text}");
    assert!(!text.contains("preprocessing"), "{text}");
}

/// Users with directories of their own each have an include server of their own; a build's serves them all.
#[test]
fn two_state_directories_do_not_meet() {
    let build = Build::new("twodirs");
    let workspace = &build.workspace;
    let local = build.local(&["g++", "-c", "hello_world.cpp"]);
    let tops = ["top", "top2"].map(|name| workspace.path(name));
    let compile = |top: usize, job: u32, socket: Option<&std::path::Path>| {
        let mut command = build.command("distcc", &build.hosts());
        command.env("DISTCC_DIR", &tops[top]).env("DISTCC_INCLUDE_SERVER_IDLE", "6");
        match socket {
            Some(socket) => command.env("INCLUDE_SERVER_PORT", socket),
            None => command.env("DISTCC_INCLUDE_SERVER", "1"),
        };
        let object = format!("{top}{job}.o");
        assert_pumped(&run(command.args(["g++", "-c", "hello_world.cpp", "-o", &object])));
        assert!(build.object(&object) == local);
    };
    let compile_all = |socket: Option<&std::path::Path>| {
        std::thread::scope(|scope| {
            for job in 0..8 {
                let compile = &compile;
                scope.spawn(move || compile(job as usize % 2, job, socket));
            }
        });
    };
    let servers = || {
        let all = processes_of(workspace);
        all.into_iter().filter(|words| words.contains(": include_server ")).collect::<Vec<_>>()
    };
    compile_all(None);
    let running = servers();
    assert_eq!(running.len(), 2, "{running:?}");
    assert!(
        tops.iter().all(|top| running.iter().any(|words| words.contains(&format!("{}/", top.display()))))
    );
    wait_until("the end of the idle servers", || servers().is_empty());
    let server = Started::new(&build).unwrap();
    compile_all(Some(&server.socket));
    server.stop();
    build.assert_clean();
}

/// A header of 100 MB is more than anybody analyses; a directory or a header that cannot be read is the compiler's to complain
/// about.
#[test]
fn huge_and_forbidden_headers_are_left_to_the_compiler() {
    let build = Build::new("forbidden");
    let workspace = &build.workspace;
    let server = Started::new(&build).unwrap();
    let compile = |source: &str| {
        let mut command = build.command("distcc", &build.hosts());
        command.env("INCLUDE_SERVER_PORT", &server.socket).env_remove("DISTCC_FALLBACK");
        run(command.args(["gcc", "-c", source, "-o", "o.o", "-Idir"]))
    };
    workspace.write("huge.h", &"                              // nothing at all\n".repeat(100_000_000 / 48));
    assert!(fs::metadata(workspace.work().join("huge.h")).unwrap().len() > 99_000_000);
    workspace.write("huge.c", "#include \"huge.h\"\nint x;\n");
    let output = compile("huge.c");
    assert!(output.status.success(), "{}", explain(&output));
    assert!(stderr(&output).contains("huge.h is larger than 64 MiB"), "{}", explain(&output));
    assert!(build.object("o.o") == build.local(&["gcc", "-c", "huge.c"]));
    fs::remove_file(workspace.work().join("huge.h")).unwrap();
    // A directory that has a header's name is passed over in the search.
    workspace.write("name.h/x", "");
    workspace.write("dir/name.h", "#define N 1\n");
    workspace.write("name.c", "#include \"name.h\"\nint x = N;\n");
    let output = compile("name.c");
    let local = run(workspace.command("gcc").args(["-c", "name.c", "-o", "local.o", "-Idir"]));
    assert_eq!(output.status.code(), local.status.code(), "{}", explain(&output));
    // Root may read everything.
    workspace.write("secret.h", "#define S 1\n");
    workspace.write("secret.c", "#include \"secret.h\"\nint x = S;\n");
    let secret = workspace.work().join("secret.h");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&secret).is_err() {
        let output = compile("secret.c");
        assert_eq!(output.status.code(), Some(1), "{}", explain(&output));
        assert!(stderr(&output).contains("Permission denied"), "{}", explain(&output));
    }
    workspace.write("device.c", "#include \"/dev/zero\"\nint x;\n");
    assert_eq!(ask(&server.socket, workspace, &["gcc", "-c", "device.c"]), b"ARGC00000000");
    workspace.write("after.c", "#include \"real/a.h\"\nint x = A;\n");
    assert_pumped(&compile("after.c"));
    assert!(build.object("o.o") == build.local(&["gcc", "-c", "after.c"]));
    server.stop();
    build.assert_clean();
}

/// A disk without room, wherever it is needed: the build goes on, with a reason, and with pump mode when there is room again.
#[test]
fn disks_may_be_full() {
    let Some(options) = mount_namespace() else { return };
    let build = Build::new("full");
    let workspace = &build.workspace;
    let local = build.local(&["g++", "-c", "hello_world.cpp"]);
    let shell = |script: &str, change: &dyn Fn(&mut Command)| {
        let mut command = build.command("unshare", &build.hosts());
        change(command.args(options).args(["sh", "-ec", script]));
        run(&mut command)
    };
    // The user's own server has no place for its socket.
    let full = "mount -t tmpfs -o size=64k,nr_inodes=8 none \"$DISTCC_DIR\"\n\
        for n in 1 2 3 4 5 6 7 8; do touch \"$DISTCC_DIR/$n\" || break; done 2>/dev/null\n";
    let output = shell(&format!("{full}distcc g++ -c hello_world.cpp"), &|command| {
        command.env("DISTCC_INCLUDE_SERVER", "1").env_remove("DISTCC_FALLBACK");
    });
    assert!(output.status.success(), "{}", explain(&output));
    assert!(stderr(&output).contains("No space left on device"), "{}", explain(&output));
    assert!(build.object("hello_world.o") == local);
    // pump has no place for its directory: a build without what was asked for does not begin, as with stock.
    let full = "mount -t tmpfs -o nr_inodes=1 none \"$TMPDIR\"\n";
    let output = shell(&format!("{full}pump distcc g++ -c hello_world.cpp"), &|_| ());
    assert_eq!(output.status.code(), Some(1), "{}", explain(&output));
    assert!(stderr(&output).contains("cannot make a directory in"), "{}", explain(&output));
    assert!(stderr(&output).contains("No space left on device"), "{}", explain(&output));
    // The tree for stock's clients does not fit, and then it does.
    if stock("distcc").is_none() {
        return;
    }
    fs::create_dir(workspace.path("tree")).unwrap();
    let tree = std::path::Path::new("/mnt");
    let script = format!(
        "mount -t tmpfs -o size=16k none {tree}\nhead -c 100000 /dev/zero >{tree}/filler 2>/dev/null || true\n\
         cat >run <<'END'\n/usr/bin/distcc g++ -c hello_world.cpp -o full.o\ncmp full.o local.o\nrm {tree}/filler\n\
         /usr/bin/distcc g++ -c hello_world.cpp -o room.o\ncmp room.o local.o\nEND\npump sh -ex run\n",
        tree = tree.display()
    );
    let output = shell(&script, &|command| {
        command.env("DISTCC_CLIENT_TMP", tree).env_remove("DISTCC_FALLBACK");
    });
    assert!(output.status.success(), "{}", explain(&output));
    let text = stderr(&output);
    assert_eq!(text.matches("preprocessing locally").count(), 1, "{text}");
    assert!(text.contains("its files cannot be put into a tree: No space left on device"), "{text}");
    build.assert_clean();
}

/// The user's limit for the size of files is met by the include server with what it keeps, and by the client with an object.
#[test]
fn files_may_be_limited() {
    let build = Build::new("limited");
    let workspace = &build.workspace;
    // Of this, nothing can be left out by compression.
    let noise: String =
        (0..60_000).map(|n: u64| format!("{:x} ", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    workspace.write("noise.h", &format!("/* {noise} */\n"));
    workspace.write("noisy.c", "#include \"noise.h\"\nint x;\n");
    workspace.write("small.c", "int y;\n");
    workspace.write("array.c", "int array[100000] = {1};\n");
    let limited = |script: &str| {
        let script = format!("ulimit -f 400\npump sh -c '{script}'");
        run(build.command("sh", &build.hosts()).env_remove("DISTCC_FALLBACK").args(["-c", &script]))
    };
    let output = limited("distcc gcc -c noisy.c && distcc gcc -c small.c");
    let text = stderr(&output);
    assert!(output.status.success(), "{}", explain(&output));
    assert!(text.contains("noise.h: there is no room for it compressed: File too large"), "{text}");
    assert_eq!(text.matches("files and links").count(), 1, "{text}");
    assert!(build.object("noisy.o") == build.local(&["gcc", "-c", "noisy.c"]));
    assert!(build.object("small.o") == build.local(&["gcc", "-c", "small.c"]));
    // The compiler here fares no better, and has its say; of the object that came nothing is left.
    let output = limited("distcc gcc -c array.c -o array.o");
    assert!(!output.status.success(), "{}", explain(&output));
    assert!(stderr(&output).contains("File too large"), "{}", explain(&output));
    assert!(stderr(&output).contains("terminated program as"), "{}", explain(&output));
    let left = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(".distcc");
    assert!(!fs::read_dir(workspace.path("work")).unwrap().any(|entry| left(&entry.unwrap())));
    build.assert_clean();
}

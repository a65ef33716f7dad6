use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::util::*;

const SOURCE: &str = "int f(int x) { return x / 3 + (int)sizeof(long); }\n";

/// Foreign compilers of Debian, with their prefixes.
const FOREIGN: [&str; 2] = ["arm-linux-gnueabihf-", "aarch64-linux-gnu-"];

/// A board: a PATH in which `gcc` and `g++` make objects for it, and the prefixed names are known or not.
fn board(workspace: &Workspace, prefix: &str, with_prefixed: bool) -> String {
    let bin = workspace.path(&format!("board-{prefix}{with_prefixed}"));
    fs::create_dir(&bin).unwrap();
    for name in ["gcc", "g++"] {
        let real = format!("/usr/bin/{prefix}{name}");
        symlink(&real, bin.join(name)).unwrap();
        if with_prefixed {
            symlink(&real, bin.join(format!("{prefix}{name}"))).unwrap();
        }
    }
    format!("{}:/bin", bin.display())
}

/// Compiles with `command` through the daemon and without it, and compares.
#[track_caller]
fn same_object(workspace: &Workspace, daemon: &Daemon, path: &str, command: &str) {
    let jobs = daemon.jobs("COMPILE_OK");
    workspace.write("a.c", SOURCE);
    workspace.write("a.cc", SOURCE);
    let mut words = command.split(' ');
    let compiler = words.next().unwrap();
    let program = path.split(':').map(|dir| Path::new(dir).join(compiler)).find(|it| it.exists()).unwrap();
    let words: Vec<&str> = words.collect();
    succeed(workspace.command(program).env("PATH", path).args(&words).args(["-o", "local.o"]));
    succeed(
        workspace
            .distcc(&daemon.host())
            .env("PATH", path)
            .env("DISTCC_FALLBACK", "0")
            .arg(compiler)
            .args(&words)
            .args(["-o", "remote.o"]),
    );
    let read = |name: &str| fs::read(workspace.work().join(name)).unwrap();
    assert!(read("local.o") == read("remote.o"), "{command}: the objects differ");
    daemon.wait_for_jobs("COMPILE_OK", jobs + 1);
}

fn tools() -> bool {
    FOREIGN.iter().all(|prefix| tool(&format!("{prefix}gcc")) && tool(&format!("{prefix}g++")))
}

/// The classic way: links without the prefix in front of the daemon's PATH.
#[test]
fn links_without_a_prefix_serve_a_board() {
    if !tools() {
        return;
    }
    let workspace = Workspace::new("stripped");
    let links = workspace.path("links");
    succeed(
        workspace
            .command(OURS)
            .args(["update-distcc-symlinks", "--strip-prefix", FOREIGN[0], "/usr/bin"])
            .arg(&links),
    );
    let mut command = workspace.distccd();
    command
        .env("PATH", format!("{}:/usr/bin:/bin", links.display()))
        .arg("--masquerade-dir")
        .arg(workspace.path("masquerade"));
    let daemon = Daemon::start(&workspace, &mut command);
    let path = board(&workspace, FOREIGN[0], false);
    same_object(&workspace, &daemon, &path, "gcc -O2 -c a.c");
    same_object(&workspace, &daemon, &path, "g++ -O2 -c a.cc");
}

/// Without links, and two kinds of boards on two ports of one machine.
#[test]
fn toolchains_serve_boards_of_two_kinds() {
    if !tools() {
        return;
    }
    let workspace = Workspace::new("toolchains");
    for prefix in FOREIGN {
        let daemon = Daemon::ours(&workspace, &["--toolchain", &format!("{prefix}=/usr/bin")]);
        for with_prefixed in [false, true] {
            let path = board(&workspace, prefix, with_prefixed);
            same_object(&workspace, &daemon, &path, "gcc -O2 -c a.c");
            same_object(&workspace, &daemon, &path, "g++ -O2 -c a.cc");
        }
    }
}

/// What the toolchain does not have must not come from this machine's own compiler.
#[test]
fn a_toolchain_leaves_no_plain_name_to_the_native_compiler() {
    if !tools() {
        return;
    }
    let workspace = Workspace::new("lacking");
    workspace.write("a.c", SOURCE);
    let bin = workspace.path("toolchain");
    fs::create_dir(&bin).unwrap();
    symlink("/usr/bin/arm-linux-gnueabihf-gcc", bin.join("arm-linux-gnueabihf-gcc")).unwrap();
    let toolchain = format!("arm-linux-gnueabihf={}", bin.display());
    let daemon = Daemon::ours(&workspace, &["--enable-tcp-insecure", "--toolchain", &toolchain]);
    let output = run(workspace.distcc(&daemon.host()).args(["gcc-12", "-c", "a.c"]));
    assert!(output.status.success(), "{}", explain(&output));
    let lines = own_lines(&output);
    assert!(lines.iter().any(|line| line.contains("no toolchain (--toolchain) has it")), "{lines:?}");
    assert_eq!(daemon.jobs("COMPILE_OK"), 0);
}

#[test]
fn a_toolchain_that_is_not_there_is_an_error_at_once() {
    let workspace = Workspace::new("no-toolchain");
    for (value, says) in [
        ("arm", "is not PREFIX=DIR"),
        ("arm-=usr/bin", "is not PREFIX=DIR"),
        ("=/usr/bin", "is not PREFIX=DIR"),
        ("no-such-machine-=/usr/bin", "there is no no-such-machine-gcc in /usr/bin"),
    ] {
        let output = run(workspace.command(workspace.path("bin/distccd")).args(["--toolchain", value]));
        assert_eq!(output.status.code(), Some(101), "{value}");
        assert!(stderr(&output).contains(says), "{value}: {}", explain(&output));
    }
}

/// Names with a prefix from clients, `clang --target`, and 32 bits of this machine.
#[test]
fn the_command_itself_names_the_machine() {
    if !tools() || !tool("clang") {
        return;
    }
    let workspace = Workspace::new("prefixed");
    let daemon = Daemon::ours(&workspace, &["--allow-compiler", "*gcc", "--allow-compiler", "clang"]);
    for command in [
        "arm-linux-gnueabihf-gcc -O2 -c a.c",
        "aarch64-linux-gnu-gcc -O2 -c a.c",
        "clang --target=arm-linux-gnueabihf -O2 -c a.c",
        "clang -target aarch64-linux-gnu -O2 -c a.c",
        "gcc -m32 -O2 -c a.c",
        "clang -m32 -O2 -c a.c",
    ] {
        same_object(&workspace, &daemon, "/usr/bin:/bin", command);
    }
}

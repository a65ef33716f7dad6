use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::util::*;

/// The static binary for this machine, or `None` after a loud word: an error in CI.
fn static_binary() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/dist/x86_64/distcc");
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "run: make dist-x86_64");
    eprintln!("SKIPPED: {} is not built; run: make dist-x86_64", path.display());
    None
}

/// gcc for C and what it runs, with their libraries: nothing else is below `root`.
fn put_compiler(root: &Path) {
    put_program(root, Path::new("/usr/bin/gcc"), "usr/bin/gcc");
    for part in ["cc1", "as"] {
        let asked = Command::new("gcc").arg(format!("-print-prog-name={part}")).output().unwrap();
        let path = PathBuf::from(String::from_utf8(asked.stdout).unwrap().trim_end());
        let path = if path.is_absolute() { path } else { Path::new("/usr/bin").join(path) };
        put_program(root, &path, path.strip_prefix("/").unwrap().to_str().unwrap());
    }
    // The C library's, which every source reads.
    fs::create_dir_all(root.join("usr/include")).unwrap();
    fs::write(root.join("usr/include/stdc-predef.h"), "").unwrap();
}

/// `command` with `root` as its root directory.
fn within(workspace: &Workspace, root: &Path, program: &str) -> Command {
    let mut command = workspace.command("/usr/sbin/chroot");
    for name in ["HOME", "TMPDIR", "DISTCC_DIR", "LC_ALL"] {
        command.env_remove(name);
    }
    command.arg(root).arg(program);
    command
}

/// One file in a root directory of nothing but a compiler: no `/proc`, no device, no `/tmp`, no users. It serves, and, as a
/// copy in the place of the compiler, it distributes.
#[test]
#[cfg(target_arch = "x86_64")]
fn the_static_binary_alone_serves_and_distributes() {
    let Some(binary) = static_binary() else { return };
    let workspace = Workspace::new("bare");
    let (server, client) = (workspace.path("server"), workspace.path("client"));
    for root in [&server, &client] {
        put_compiler(root);
    }
    fs::copy(&binary, server.join("distccd")).unwrap();
    fs::create_dir_all(client.join("usr/lib/distcc")).unwrap();
    fs::copy(&binary, client.join("usr/lib/distcc/gcc")).unwrap();
    let source = "int f(int x) { return x / 3; }\n";
    fs::write(client.join("a.c"), source).unwrap();
    workspace.write("a.c", source);
    let compile = ["-O2", "-c", "a.c", "-o"];
    succeed(workspace.command("gcc").args(compile).arg("local.o"));
    let local = fs::read(workspace.work().join("local.o")).unwrap();

    if !run(within(&workspace, &server, "/distccd").arg("--version")).status.success() {
        assert!(std::env::var_os("CI").is_none(), "chroot must work in CI");
        eprintln!("SKIPPED: this user may not change the root directory");
        return;
    }
    let output = run(within(&workspace, &server, "/distccd").arg("--daemon"));
    assert_eq!(output.status.code(), Some(110));
    assert!(stderr(&output).contains("ln -s ../../bin/distcc /usr/lib/distcc/gcc"), "{}", explain(&output));

    let mut command = within(&workspace, &server, "/distccd");
    command.args(["--daemon", "--no-detach", "--log-stderr", "--log-level", "info", "--nice", "0"]);
    command.args(["--listen", "127.0.0.1", "--port", "0", "--allow-compiler", "*gcc"]);
    let daemon = Daemon::start(&workspace, &mut command);
    for (count, kind) in ["", ",lzo", ",cpp,lzo"].into_iter().enumerate() {
        let object = client.join("a.o");
        let _ = fs::remove_file(&object);
        let mut command = within(&workspace, &client, "/usr/lib/distcc/gcc");
        command.env("PATH", "/usr/lib/distcc:/usr/bin").env("HOME", "/").env("DISTCC_FALLBACK", "0");
        command.env("DISTCC_HOSTS", format!("{}{kind}", daemon.host()));
        succeed(command.args(compile).arg("a.o"));
        assert!(fs::read(&object).unwrap() == local, "{kind}");
        daemon.wait_for_jobs("COMPILE_OK", count + 1);
    }
    daemon.stop();

    // Its terminal left, which takes a null device as a rule.
    let mut command = within(&workspace, &server, "/distccd");
    let port = free_port().to_string();
    command.args(["--daemon", "--listen", "127.0.0.1", "--port", &port, "--allow-compiler", "*gcc"]);
    succeed(command.args(["--pid-file", "/tmp/pid", "--log-file", "/tmp/log"]));
    let log = || fs::read_to_string(server.join("tmp/log")).unwrap_or_default();
    wait_until("it serves", || log().contains("preforking daemon started"));
    let pid = fs::read_to_string(server.join("tmp/pid")).unwrap().trim().parse().unwrap();
    let output = run(workspace.distcc(&format!("127.0.0.1:{port}")).args(["gcc"]).args(compile).arg("b.o"));
    signal_pid(pid, libc::SIGTERM);
    assert_eq!(own_lines(&output), [""; 0]);
    // The directory is not its user's to remove the file from.
    wait_until("it has ended", || server.join("tmp/pid").metadata().unwrap().len() == 0);
    let left: Vec<_> = fs::read_dir(server.join("tmp")).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

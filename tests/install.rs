use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::util::*;

/// `install.sh` by busybox's shell, into `root` with the prefix `/usr`.
fn install(workspace: &Workspace, root: &Path, init: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("cross/install.sh");
    let mut command = workspace.command("busybox");
    command.env("DESTDIR", root).env("PREFIX", "/usr").env("BINARY", OURS).env("INIT", init);
    succeed(command.arg("sh").arg(script));
}

fn text(path: PathBuf) -> String {
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn everything_is_put_in_place_and_settings_stay() {
    if !tool("busybox") {
        return;
    }
    let workspace = Workspace::new("install");
    let root = workspace.path("root");
    for (init, script) in [("openrc", "#!/sbin/openrc-run"), ("sysv", "#!/bin/sh")] {
        install(&workspace, &root, init);
        assert!(text(root.join("etc/init.d/distccd")).starts_with(script));
    }
    for file in [
        "usr/bin/distccd",
        "usr/bin/update-distcc-symlinks",
        "usr/share/man/man1/distccd.1",
        "usr/lib/systemd/system/distccd.socket",
        "usr/lib/sysusers.d/distccd.conf",
        "usr/lib/tmpfiles.d/distccd.conf",
        "etc/conf.d/distccd",
        "etc/logrotate.d/distccd",
        "usr/share/bash-completion/completions/distcc",
        "usr/share/zsh/site-functions/_distcc",
        "usr/share/fish/vendor_completions.d/distcc.fish",
    ] {
        assert!(root.join(file).metadata().is_ok_and(|it| it.len() > 0), "{file}");
    }
    let every_page = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/man")).unwrap().count();
    assert_eq!(fs::read_dir(root.join("usr/share/man/man1")).unwrap().count(), every_page);
    fs::write(root.join("etc/conf.d/distccd"), "mine").unwrap();
    install(&workspace, &root, "");
    assert_eq!(text(root.join("etc/conf.d/distccd")), "mine");
}

/// The options that bash offers are those of the program.
#[test]
fn bash_completes_options() {
    let workspace = Workspace::new("completion");
    let script = "source \"$0\"; COMP_WORDS=(distccd --allow-c); COMP_CWORD=1; _distcc_options distccd
        echo \"${COMPREPLY[@]}\"; COMP_WORDS=(distcc --show); _distcc distcc; echo \"${COMPREPLY[@]}\"";
    let completion = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/completion/bash");
    let path = format!("{}:/usr/bin:/bin", workspace.path("bin").display());
    let output = succeed(workspace.command("bash").env("PATH", path).args(["-ec", script]).arg(completion));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "--allow-compiler\n--show-hosts\n");
}

/// fish's own answers, and what zsh makes of a line when Tab is pressed on its terminal.
#[test]
fn fish_and_zsh_complete_options() {
    if !tool("fish") || !tool("zsh") {
        return;
    }
    let workspace = Workspace::new("shells");
    let root = workspace.path("root");
    install(&workspace, &root, "");
    let shell = |name: &str| {
        let mut command = workspace.command(name);
        command.env("PATH", format!("{}:/usr/bin:/bin", workspace.path("bin").display()));
        command.env("TERM", "dumb").env("ROOT", &root);
        command
    };
    let script = "for file in $ROOT/usr/share/fish/vendor_completions.d/*; source $file; end
        for line in 'distccd --allow-c' 'distcc --show-h' 'lsdistcc --zer' 'distcc distcc --versi'
            complete -C $line
        end";
    let output = succeed(shell("fish").args(["--no-config", "-c", script]));
    let offered = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(offered, "--allow-compiler\n--show-hosts\n--zeroconf\n--version\n");

    let script = r#"zmodload zsh/zpty
        zpty inner zsh -f -i
        zpty -w inner "PS1=; fpath=(\$ROOT/usr/share/zsh/site-functions \$fpath); autoload -Uz compinit
            compinit -u -D; save() { print -r -- \$BUFFER >>saved; BUFFER= }; zle -N save; bindkey '^X' save
            bindkey '^I' complete-word; print rea''dy"
        zpty -r -m inner line '*ready*'
        count=0
        for line in 'distccd --allow-c' 'distcc --show-h' 'lsdistcc --zer' 'distcc distcc --versi'; do
            zpty -w -n inner $line$'\t\x18'
            (( count++ ))
            for try in {1..200}; do
                [[ -e saved && $(wc -l <saved) -eq $count ]] && break
                sleep 0.05
            done
        done
        zpty -d inner"#;
    succeed(shell("zsh").args(["-f", "-c", script]));
    let saved = text(workspace.work().join("saved"));
    let lines: Vec<&str> = saved.lines().map(str::trim_end).collect();
    assert_eq!(
        lines,
        ["distccd --allow-compiler", "distcc --show-hosts", "lsdistcc --zeroconf", "distcc distcc --version"]
    );
}

/// The real logrotate, and a server that goes on writing into its file.
#[test]
fn logrotate_takes_its_settings() {
    let logrotate = Path::new("/usr/sbin/logrotate");
    if !logrotate.exists() {
        assert!(std::env::var_os("CI").is_none(), "logrotate is missing: run tests/setup.sh extra");
        eprintln!("SKIPPED: logrotate is missing; run tests/setup.sh extra");
        return;
    }
    let workspace = Workspace::new("logrotate");
    let root = workspace.path("root");
    install(&workspace, &root, "");
    let log = workspace.path("distccd.log");
    let settings = text(root.join("etc/logrotate.d/distccd"));
    // It wants its files to be of nobody else.
    let own = workspace.path("settings");
    fs::write(&own, settings.replace("/var/log/distccd.log", log.to_str().unwrap())).unwrap();
    fs::set_permissions(workspace.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let port = free_port().to_string();
    let mut command = workspace.command(workspace.path("bin/distccd"));
    command.args(["--daemon", "--no-detach", "--listen", "127.0.0.1", "--port", &port, "--nice", "0"]);
    let mut child = command.arg("--log-file").arg(&log).spawn().unwrap();
    wait_until("it serves", || log.exists() && text(log.clone()).contains("daemon started"));
    let state = workspace.path("rotated");
    let rotated =
        run(workspace.command(logrotate).arg("--force").arg("--state").arg(state).arg(own)).status.success();
    let emptied = text(log.clone()).is_empty();
    workspace.write("a.c", "int a;\n");
    let compiled = run(workspace.distcc(&format!("127.0.0.1:{port}")).args(["gcc", "-c", "a.c"]));
    signal_pid(child.id(), libc::SIGTERM);
    child.wait().unwrap();
    assert!(rotated && emptied);
    assert_eq!(own_lines(&compiled), [""; 0]);
    assert!(text(log.clone()).contains("COMPILE_OK"), "{}", text(log));
    assert!(workspace.path("distccd.log.1.gz").exists());
}

/// As OpenRC: its variables set, the script read, its functions called. `make test-packaging` has OpenRC itself.
#[test]
fn the_script_of_openrc_starts_and_reloads() {
    if !tool("busybox") {
        return;
    }
    let workspace = Workspace::new("openrc");
    let root = workspace.path("root");
    install(&workspace, &root, "openrc");
    let script = "RC_SVCNAME=distccd; need() { echo need $*; }; use() { echo use $*; }; ebegin() { echo $*; }
        eend() { return $1; }; . ./etc/conf.d/distccd; . ./etc/init.d/distccd; depend
        echo \"$command|$command_args|$command_background|$pidfile|$retry|$extra_started_commands\"
        kill() { echo kill $*; }; pidfile=pid; echo 42 >pid; reload";
    let path = format!("{}:/usr/bin:/bin", workspace.path("bin").display());
    fs::write(root.join("etc/conf.d/distccd"), "DISTCC_ARGS=\"--jobs 3\"\n").unwrap();
    let mut shell = workspace.command("busybox");
    let output = succeed(shell.current_dir(&root).env("PATH", path).args(["sh", "-euc", script]));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "need net\nuse dns logger\n\
         /usr/bin/distccd|--daemon --no-detach --jobs 3|yes|/run/distccd.pid|TERM/300/KILL/5|reload\n\
         Reloading distccd\nkill -HUP 42\n"
    );
}

/// What runs on other machines is for any shell, and packages are of this version.
#[test]
fn scripts_are_for_any_shell_and_packages_of_this_version() {
    if !tool("busybox") {
        return;
    }
    let workspace = Workspace::new("scripts");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut dirs = vec![root.join("cross"), root.join("docs/sysv")];
    let (mut scripts, mut versions) = (0, 0);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            if path.extension().is_some_and(|it| it == "ebuild") {
                assert!(path.ends_with(concat!("distcc-rs-", env!("CARGO_PKG_VERSION"), ".ebuild")));
                versions += 1;
            }
            let text = text(path.clone());
            if text.starts_with("#!/bin/sh\n") || path.ends_with("APKBUILD") {
                succeed(workspace.command("busybox").args(["sh", "-n"]).arg(&path));
                scripts += 1;
            }
            let version = |line: &str| {
                let after = ["pkgver=", "DISTCC_RS_VERSION = ", "distcc-rs ("];
                let rest = after.iter().find_map(|word| line.strip_prefix(word))?;
                Some(rest.trim_end_matches(") unstable; urgency=medium").to_owned())
            };
            for found in text.lines().filter_map(version) {
                assert_eq!(found, env!("CARGO_PKG_VERSION"), "{}", path.display());
                versions += 1;
            }
        }
    }
    assert!(scripts >= 12, "{scripts}");
    assert_eq!(versions, 5);
}

/// A system of nothing but busybox, a compiler and what `install.sh` puts there: no `/proc`, no device but a file in the
/// place of `/dev/null`. The script of SysV init starts the server, which serves, and stops it.
#[test]
fn the_script_of_sysv_init_serves_on_a_bare_system() {
    if !tool("busybox") {
        return;
    }
    let workspace = Workspace::new("sysv");
    let root = workspace.path("root");
    install(&workspace, &root, "sysv");
    put_program(&root, Path::new("/usr/bin/busybox"), "bin/busybox");
    put_program(&root, Path::new(OURS), "usr/bin/distcc");
    for applet in ["sh", "cat", "chown", "cp", "dirname", "id", "mkdir", "sleep"] {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    for (dir, mode) in [("tmp", 0o1777), ("run", 0o755), ("dev", 0o755)] {
        fs::create_dir_all(root.join(dir)).unwrap();
        fs::set_permissions(root.join(dir), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::write(root.join("dev/null"), "").unwrap();
    fs::set_permissions(root.join("dev/null"), fs::Permissions::from_mode(0o666)).unwrap();
    fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n").unwrap();
    let mut chroot = Command::new("/usr/sbin/chroot");
    let probe = chroot.arg(&root).args(["/bin/sh", "-c", "exit 0"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "chroot must work in CI");
        eprintln!("SKIPPED: this user may not change the root directory");
        return;
    }

    // The compiler gives what the real one made.
    workspace.write("a.c", "int x;\n");
    succeed(workspace.command("gcc").args(["-c", "a.c", "-o", "local.o"]));
    fs::copy(workspace.work().join("local.o"), root.join("object")).unwrap();
    let compiler =
        "#!/bin/sh\nwhile [ $# -gt 0 ]; do\n[ \"$1\" = -o ] && out=$2\nshift\ndone\ncat /object >\"$out\"\n";
    workspace.script("root/usr/bin/gcc", compiler);
    let port = free_port();
    let settings =
        format!("DISTCC_ARGS=\"--port {port} --allow-compiler gcc\"\nLISTENER=127.0.0.1\nJOBS=2\n");
    fs::write(root.join("etc/conf.d/distccd"), settings).unwrap();

    let init = |word: &str| {
        let mut command = workspace.command("/usr/sbin/chroot");
        run(command.env("TMPDIR", "/tmp").arg(&root).args(["/bin/sh", "/etc/init.d/distccd", word]))
    };
    assert_eq!(init("status").status.code(), Some(3));
    assert!(init("start").status.success());
    let status = init("status");
    // Ended even if an assertion fails below.
    let served = std::panic::catch_unwind(|| {
        assert!(status.status.success(), "{}", explain(&status));
        assert!(init("reload").status.success());
        let hosts = format!("127.0.0.1:{port}");
        let mut client = workspace.distcc(&hosts);
        succeed(client.env("DISTCC_FALLBACK", "0").args(["gcc", "-c", "a.c", "-o", "remote.o"]));
        let read = |name: &str| fs::read(workspace.work().join(name)).unwrap();
        assert!(read("local.o") == read("remote.o"));
    });
    assert!(init("stop").status.success());
    assert_eq!(init("status").status.code(), Some(3));
    if let Err(panic) = served {
        std::panic::resume_unwind(panic);
    }
}

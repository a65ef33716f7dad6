use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use crate::failures::{COMPILE, GOOD, client, results, workspace};
use crate::util::peer::FakeServer;
use crate::util::*;

/// What a client's run comes to, as far as both kinds of client can agree.
#[derive(Debug, PartialEq, Eq)]
struct Came {
    status: Option<i32>,
    object: String,
    /// distcc's own lines stand on standard error, in the file `log`, on descriptor 7.
    spoke: [bool; 3],
    kept_files: bool,
}

fn came(space: &Workspace, output: &Output) -> Came {
    let has_lines = |text: &str| text.lines().any(|line| line.starts_with("distcc["));
    let file = |name: &str| fs::read_to_string(space.path(name)).unwrap_or_default();
    Came {
        status: output.status.code(),
        object: results(space).1,
        spoke: [stderr(output), file("log"), file("seven")].map(|text| has_lines(&text)),
        kept_files: fs::read_dir(space.path("tmp")).unwrap().count() > 0,
    }
}

/// Another program with a client's directory and environment.
fn in_place_of(client: &Command, program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().current_dir(client.get_current_dir().unwrap());
    command.envs(client.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// Every variable that can be compared does what it does in stock.
#[test]
fn variables_mean_what_they_mean_in_stock() {
    let good = FakeServer::new(move |_, stream| {
        // So slow that every client has to wait for it.
        std::thread::sleep(Duration::from_millis(60));
        let _ = stream.write_all(GOOD.as_bytes());
    });
    let good = good.host();
    let dead = format!("127.0.0.1:{}", free_port());
    // Variables; hosts; exit status; object; where something is said; files that stay in TMPDIR.
    type Row<'a> = (&'a str, &'a str, i32, &'a str, [bool; 3], bool);
    let (quiet, said, logged, uncached) =
        ([false; 3], [true, false, false], [false, true, false], [false, false, true]);
    let rows: [Row; 26] = [
        ("", &good, 0, "REMOTE", quiet, false),
        ("", &dead, 0, "LOCAL", said, false),
        ("DISTCC_LOG=@/log", &good, 0, "REMOTE", logged, false),
        ("DISTCC_LOG=@/log", &dead, 0, "LOCAL", logged, false),
        ("DISTCC_LOG=@/log DISTCC_VERBOSE=1", &good, 0, "REMOTE", logged, false),
        ("DISTCC_LOG=@/no/log", &good, 0, "REMOTE", said, false),
        ("DISTCC_LOG=", &good, 0, "REMOTE", quiet, false),
        ("DISTCC_LOG=@/log UNCACHED_ERR_FD=7", &dead, 0, "LOCAL", logged, false),
        ("DISTCC_VERBOSE=1", &good, 0, "REMOTE", said, false),
        ("DISTCC_VERBOSE=yes", &good, 0, "REMOTE", quiet, false),
        ("DISTCC_VERBOSE=0", &good, 0, "REMOTE", quiet, false),
        ("UNCACHED_ERR_FD=7", &dead, 0, "LOCAL", uncached, false),
        ("UNCACHED_ERR_FD=7 DISTCC_VERBOSE=1", &good, 0, "REMOTE", uncached, false),
        ("UNCACHED_ERR_FD=0", &dead, 0, "LOCAL", said, false),
        ("UNCACHED_ERR_FD=seven", &dead, 0, "LOCAL", said, false),
        ("UNCACHED_ERR_FD=99", &dead, 0, "LOCAL", said, false),
        ("DISTCC_FALLBACK=0", &dead, 116, "", said, false),
        ("DISTCC_FALLBACK=1", &dead, 0, "LOCAL", said, false),
        ("DISTCC_FALLBACK=no", &dead, 0, "LOCAL", said, false),
        ("DISTCC_TCP_CORK=0", &good, 0, "REMOTE", quiet, false),
        ("DISTCC_MMAP=0", &good, 0, "REMOTE", quiet, false),
        ("DISTCC_PAUSE_TIME_MSEC=0", &good, 0, "REMOTE", quiet, false),
        ("DISTCC_PAUSE_TIME_MSEC=20", &good, 0, "REMOTE", quiet, false),
        ("DISTCC_IO_TIMEOUT=0", &good, 101, "", said, false),
        ("DISTCC_SAVE_TEMPS=1", &good, 0, "REMOTE", quiet, true),
        ("DISTCC_SAVE_TEMPS=0", &good, 0, "REMOTE", quiet, false),
    ];
    for kind in [Kind::Ours, Kind::Stock] {
        if kind == Kind::Stock && stock("distcc").is_none() {
            continue;
        }
        for (variables, hosts, status, object, spoke, kept_files) in &rows {
            let space = workspace("variables");
            // To be preprocessed where a file is to be kept.
            space.write("a.c", "");
            let source = if variables.contains("SAVE_TEMPS") { "a.c" } else { "a.i" };
            let program = match kind {
                Kind::Ours => space.path("bin/distcc"),
                Kind::Stock => "/usr/bin/distcc".into(),
            };
            let script = format!(
                "'{}' mycc -c {source} -o a.o 7>'{}'",
                program.display(),
                space.path("seven").display()
            );
            let mut shell = in_place_of(&client(&space, kind, hosts), "/bin/sh");
            let directory = space.path("").display().to_string();
            let set = |word: &str| {
                word.split_once('=').map(|(name, value)| (name.to_owned(), value.replace("@/", &directory)))
            };
            shell.envs(variables.split_whitespace().filter_map(set));
            let output = run(shell.args(["-c", &script]));
            let expected = Came {
                status: Some(*status),
                object: object.to_string(),
                spoke: *spoke,
                kept_files: *kept_files,
            };
            assert_eq!(came(&space, &output), expected, "{kind:?} {variables} {}", explain(&output));
        }
    }
}

/// Exit codes that both clients have.
#[test]
fn exit_codes_are_those_of_stock() {
    let space = workspace("codes");
    space.script("bin/killed", "#!/bin/sh\nkill -9 $$\n");
    space.script("bin/seven", "#!/bin/sh\nexit 7\n");
    let cases: [(&[&str], i32); 5] = [
        (&[], 101),
        (&["no-such-compiler", "a.o", "-o", "program"], 110),
        (&["killed", "a.o", "-o", "program"], 137),
        (&["seven", "a.o", "-o", "program"], 7),
        (&["mycc", "a.o", "-o", "program"], 0),
    ];
    for kind in [Kind::Ours, Kind::Stock] {
        if kind == Kind::Stock && stock("distcc").is_none() {
            continue;
        }
        for (words, status) in cases {
            let output = run(client(&space, kind, "localhost").args(words));
            assert_eq!(output.status.code(), Some(status), "{kind:?} {words:?}");
        }
    }
    for (variable, value) in
        [("DISTCC_IO_TIMEOUT", "x"), ("DISTCC_IO_TIMEOUT", "-1"), ("DISTCC_BACKOFF_PERIOD", "1h")]
    {
        let output = run(client(&space, Kind::Ours, "localhost").env(variable, value).args(COMPILE));
        assert_eq!(output.status.code(), Some(101), "{variable}={value}");
        assert!(
            own_lines(&output)[0].contains(&format!("{variable} is \"{value}\"")),
            "{}",
            explain(&output)
        );
    }
    for variable in ["DISTCC_IO_TIMEOUT", "DISTCC_BACKOFF_PERIOD", "DISTCC_MAX_DISCREPANCY"] {
        succeed(client(&space, Kind::Ours, "localhost").env(variable, "").args(COMPILE));
    }
    fs::write(space.path("no-such"), "").unwrap();
    let file = space.path("no-such").display().to_string();
    for (compiler, why) in [
        (file.as_str(), "it is not executable"),
        ("/no/such/directory/no-such", "No such file or directory"),
        ("no-such", "there is no such program in PATH"),
        ("/usr", "it is a directory"),
    ] {
        let output = run(client(&space, Kind::Ours, "localhost").args([compiler, "a.o"]));
        assert_eq!(output.status.code(), Some(110), "{compiler}");
        assert!(own_lines(&output)[0].contains(why), "{}", explain(&output));
    }
    // A file where a directory should be.
    fs::write(space.path("file"), "").unwrap();
    let mut monitor = space.command(space.path("bin/distccmon-text"));
    assert_eq!(run(monitor.env("DISTCC_DIR", space.path("file"))).status.code(), Some(107));
}

/// A shell in a mount namespace of its own, or `None` after a loud word where that is not allowed.
fn namespace(space: &Workspace) -> Option<Command> {
    let mut unshare = in_place_of(&client(space, Kind::Ours, ""), "unshare");
    unshare.args(mount_namespace()?).args(["sh", "-ec"]);
    Some(unshare)
}

/// Disks that are full or cannot be written: distributed where nothing is lost by it, else compiled here with one line that
/// says why, and never half a file.
#[test]
fn disks_may_be_full_or_read_only() {
    let good = FakeServer::new(|_, stream| drop(stream.write_all(GOOD.as_bytes()))).host();
    let compile = "distcc mycc -c a.i -o a.o";
    let (none, full) = ("", "No space left on device");
    let fill = "head -c 100000 /dev/zero > \"$DISTCC_DIR/filler\" 2>/dev/null || true;";
    // Before the compile; what our line says; who made the object; exit status.
    let cases = [
        ("mount -t tmpfs -o ro none \"$DISTCC_DIR\";", "Read-only file system", "LOCAL", true),
        // A directory, and no file in it.
        ("mount -t tmpfs -o nr_inodes=2 none \"$DISTCC_DIR\";", full, "LOCAL", true),
        // Empty files only, which is what locks are; the record for monitors stays empty.
        (&format!("mount -t tmpfs -o size=8k none \"$DISTCC_DIR\"; {fill}"), none, "REMOTE", true),
        // No temporary file is needed.
        ("mount -t tmpfs -o ro none \"$TMPDIR\";", none, "REMOTE", true),
        ("rmdir \"$TMPDIR\";", none, "REMOTE", true),
        // Where the object goes: the local compiler's failure is the user's.
        (
            "cp a.i \"$TMPDIR\"; mount -t tmpfs -o size=4k none .; cd .; cp \"$TMPDIR/a.i\" .;",
            none,
            "",
            false,
        ),
    ];
    for (before, says, object, success) in cases {
        let space = workspace("disks");
        let Some(mut shell) = namespace(&space) else { return };
        let path = format!("{0}:{0}/../bin:/usr/bin:/bin", space.path("bin").display());
        shell.env("PATH", path).env("DISTCC_HOSTS", &good).env("TMPDIR", space.path("tmp"));
        // The object shows itself before its file system goes.
        let script = format!("{before} {compile} && cat a.o");
        let output = run(shell.arg(&script));
        assert_eq!(output.status.success(), success, "{before} {}", explain(&output));
        assert_eq!(String::from_utf8_lossy(&output.stdout), object, "{before}");
        let lines = own_lines(&output);
        assert_eq!(lines.len(), usize::from(!says.is_empty()), "{before} {lines:?}");
        assert!(lines.iter().all(|line| line.contains(says)), "{before} {lines:?}");
    }
}

/// A directory for locks and records is found or made, and the home directory is left alone where there is a better place.
#[test]
fn transient_files_go_where_they_belong() {
    let good = FakeServer::new(|_, stream| drop(stream.write_all(GOOD.as_bytes()))).host();
    let space = workspace("places");
    fs::create_dir(space.path("run")).unwrap();
    let no_home = ("HOME", Path::new(""));
    // With these variables.
    let compile = |set: &[(&str, &Path)]| {
        let mut client = client(&space, Kind::Ours, &good);
        client.env_remove("DISTCC_DIR").envs(set.iter().copied());
        if set.contains(&no_home) {
            client.env_remove("HOME");
        }
        let _ = fs::remove_file(space.work().join("a.o"));
        let output = succeed(client.args(COMPILE));
        (results(&space).1, own_lines(&output))
    };
    let run = space.path("run");
    let remote = ("REMOTE".to_owned(), Vec::new());
    assert_eq!(compile(&[("XDG_RUNTIME_DIR", &run)]), remote);
    assert!(run.join("distcc/lock").is_dir() && run.join("distcc/state").is_dir());
    assert!(!space.path("home/.distcc").exists(), "the disk stays quiet");
    assert_eq!(compile(&[("XDG_RUNTIME_DIR", &run), no_home]), remote);

    // Without it, or where it is not there, as stock.
    assert_eq!(compile(&[("XDG_RUNTIME_DIR", Path::new("/no/such/dir"))]), remote);
    assert!(space.path("home/.distcc/lock").is_dir());
    // And then it is the user's place.
    fs::remove_dir_all(run.join("distcc")).unwrap();
    assert_eq!(compile(&[("XDG_RUNTIME_DIR", &run)]), remote);
    assert!(!run.join("distcc").exists());

    // Nor in the working directory, nor in another user's.
    fs::remove_dir_all(space.path("home/.distcc")).unwrap();
    fs::create_dir(space.work().join("relative")).unwrap();
    assert_eq!(compile(&[("XDG_RUNTIME_DIR", Path::new("relative"))]), remote);
    assert!(!space.work().join("relative/distcc").exists());
    fs::remove_dir_all(space.path("home/.distcc")).unwrap();
    if std::os::unix::fs::chown(&run, Some(65534), None).is_ok() {
        assert_eq!(compile(&[("XDG_RUNTIME_DIR", &run)]), remote);
        assert!(!run.join("distcc").exists());
    }

    let (object, lines) = compile(&[no_home]);
    assert_eq!((object.as_str(), lines.len()), ("LOCAL", 1), "{lines:?}");
    assert!(lines[0].contains("neither DISTCC_DIR nor HOME nor XDG_RUNTIME_DIR"), "{lines:?}");
    let (object, lines) = compile(&[("HOME", Path::new("/no/such/home"))]);
    assert_eq!((object.as_str(), lines.len()), ("LOCAL", 1), "{lines:?}");
    assert!(lines[0].contains("/no/such/home"), "{lines:?}");
}

/// Whatever the umask: it works or says why, and nothing is opened to others that the umask closes.
#[test]
fn the_umask_may_be_hostile() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;

    let good = FakeServer::new(|_, stream| drop(stream.write_all(GOOD.as_bytes()))).host();
    for (umask, object, lines) in [("0", "REMOTE", 0), ("0022", "REMOTE", 0), ("0777", "LOCAL", 1)] {
        let space = workspace("umask");
        fs::write(space.path("runs"), "").unwrap();
        fs::set_permissions(space.path("runs"), PermissionsExt::from_mode(0o666)).unwrap();
        let mut shell = in_place_of(&client(&space, Kind::Ours, &good), "/bin/sh");
        shell.env("DISTCC_DIR", space.path("top/new"));
        // Root may do everything whatever the mode.
        if Path::new("/proc/self").metadata().is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
        {
            shell.uid(65534).gid(65534);
        }
        let script =
            format!("umask {umask}; exec '{}' mycc -c a.i -o a.o", space.path("bin/distcc").display());
        let output = succeed(shell.args(["-c", &script]));
        assert_eq!(own_lines(&output).len(), lines, "{umask}: {}", explain(&output));
        assert!(lines == 0 || stderr(&output).contains("Permission denied"), "{umask}: {}", explain(&output));
        let file = space.work().join("a.o");
        let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o666 & !u32::from_str_radix(umask, 8).unwrap(), "{umask}");
        fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), object, "{umask}");
    }
}

/// As makepkg calls it: links in front of PATH, two servers with different limits, one make.
#[test]
fn makepkg_spreads_its_jobs_by_the_limits() {
    let space = Workspace::new("makepkg");
    // A server's compiler that takes its time, so that every slot is needed.
    space.script("servers/gcc", "#!/bin/sh\nsleep 0.4\nexec /usr/bin/gcc \"$@\"\n");
    let objects: Vec<String> = (0..16).map(|at| format!("f{at}.o")).collect();
    for at in 0..16 {
        space.write(&format!("f{at}.c"), &format!("int f{at};\n"));
    }
    space.write("Makefile", &format!("all: {}\n", objects.join(" ")));
    let daemon = || Daemon::start(&space, space.distccd_with_servers().args(["--jobs", "8"]));
    let (five, three) = (daemon(), daemon());
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", space.path("masquerade").display());
    let hosts = format!("127.0.0.1:{}/5 127.0.0.1:{}/3", five.port, three.port);
    let mut make = space.command("make");
    make.env("PATH", path)
        .env("DISTCC_HOSTS", hosts)
        .env("DISTCC_FALLBACK", "0")
        .args(["-j8", "-s", "CC=gcc"]);
    let output = succeed(&mut make);
    assert_eq!(own_lines(&output), [""; 0]);
    // Two rounds of eight, give or take what a busy machine shifts.
    wait_until("all jobs are logged", || five.jobs("COMPILE_OK") + three.jobs("COMPILE_OK") == 16);
    assert!(
        (8..=12).contains(&five.jobs("COMPILE_OK")),
        "{} of 16 on the server with 5 of 8 slots",
        five.jobs("COMPILE_OK")
    );
    assert!((4..=8).contains(&three.jobs("COMPILE_OK")));
}

/// ccache in front: a miss is distributed, a hit asks nobody, and what distcc says is not kept with the result.
#[test]
fn ccache_calls_it() {
    if !Path::new("/usr/bin/ccache").exists() {
        assert!(std::env::var_os("CI").is_none(), "ccache is missing: run tests/setup.sh test");
        eprintln!("SKIPPED: ccache is missing; run tests/setup.sh test");
        return;
    }
    let space = Workspace::new("ccache");
    space.write("a.c", "int a;\nint f(void) { int unused; return a; }\n");
    space.write("b.c", "int b;\n");
    let daemon = Daemon::ours(&space, &[]);
    let path = format!("{}:/usr/bin:/bin", space.path("bin").display());
    let compile = |hosts: &str, source: &str| {
        let mut ccache = space.command("ccache");
        ccache.env("PATH", &path).env("CCACHE_PREFIX", "distcc").env("CCACHE_DIR", space.path("cache"));
        succeed(ccache.env("DISTCC_HOSTS", hosts).args(["gcc", "-Wall", "-O2", "-c", source]))
    };
    for jobs in [1, 1] {
        let _ = fs::remove_file(space.work().join("a.o"));
        let output = compile(&daemon.host(), "a.c");
        assert_eq!(stderr(&output).matches("unused variable").count(), 1, "{}", explain(&output));
        assert!(space.work().join("a.o").exists());
        daemon.wait_for_jobs("COMPILE_OK", jobs);
    }
    let dead = format!("127.0.0.1:{}", free_port());
    assert_eq!(own_lines(&compile(&dead, "b.c")).len(), 1);
    assert_eq!(own_lines(&compile(&dead, "b.c")), [""; 0], "a hit");
}

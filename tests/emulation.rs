//! The static binaries for ARM boards, run by qemu on this machine: as a server for a PC's client, and as a client of a PC's
//! server. The compilers are the cross compilers of this machine, so what is emulated is only distcc.
//!
//! They come from `make dist`, and qemu and the compilers from `tests/setup.sh extra boards`. CI builds armv7 and aarch64; the
//! other boards are tried where their binaries are.

// The module is shared with the other tests; only the harness's macros may print.
#![allow(clippy::disallowed_macros)]

mod util;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use distcc::wire::Version;
use util::peer::{exchange, request};
use util::*;

struct Board {
    machine: &'static str,
    qemu: &'static str,
    /// The processor that is emulated: the oldest of its kind, with no instruction that a board may lack.
    cpu: &'static str,
    prefix: &'static str,
    /// CI has its binary.
    in_ci: bool,
}

const BOARDS: [Board; 5] = [
    Board {
        machine: "armv7",
        qemu: "qemu-arm-static",
        cpu: "cortex-a8",
        prefix: "arm-linux-gnueabihf-",
        in_ci: true,
    },
    Board {
        machine: "aarch64",
        qemu: "qemu-aarch64-static",
        cpu: "cortex-a53",
        prefix: "aarch64-linux-gnu-",
        in_ci: true,
    },
    Board {
        machine: "armv6",
        qemu: "qemu-arm-static",
        cpu: "arm1176",
        prefix: "arm-linux-gnueabihf-",
        in_ci: false,
    },
    Board {
        machine: "armv5te",
        qemu: "qemu-arm-static",
        cpu: "arm926",
        prefix: "arm-linux-gnueabi-",
        in_ci: false,
    },
    Board {
        machine: "riscv64",
        qemu: "qemu-riscv64-static",
        cpu: "rv64",
        prefix: "riscv64-linux-gnu-",
        in_ci: false,
    },
];

impl Board {
    /// The binary, or `None` after a loud word: in CI what it builds must be there.
    fn binary(&self) -> Option<PathBuf> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("target/dist/{}/distcc", self.machine));
        let found = path.exists();
        assert!(found || !self.in_ci || std::env::var_os("CI").is_none(), "run: make dist-{}", self.machine);
        if !found {
            eprintln!("SKIPPED: {} is not built; run: make dist-{}", path.display(), self.machine);
        }
        (found && tool(self.qemu) && self.has_compiler()).then_some(path)
    }

    fn has_compiler(&self) -> bool {
        let gcc = self.compiler("gcc");
        if self.in_ci {
            return tool(&gcc);
        }
        let found = Path::new("/usr/bin").join(&gcc).exists();
        if !found {
            eprintln!("SKIPPED: {gcc} is missing; run tests/setup.sh boards");
        }
        found
    }

    fn compiler(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// `personality` of the board's program.
    fn command(&self, workspace: &Workspace, binary: &Path, personality: &str) -> Command {
        let mut command = workspace.command(self.qemu);
        command.args(["-cpu", self.cpu, "-0", personality]).arg(binary);
        command
    }
}

const SOURCE: &str =
    "#include <stdio.h>\nlong f(int x) { return printf(\"%d\\n\", x / 3) + sizeof(long); }\n";

fn local_object(workspace: &Workspace, board: &Board) -> Vec<u8> {
    workspace.write("a.c", SOURCE);
    let gcc = board.compiler("gcc");
    succeed(workspace.command(gcc).args(["-O2", "-c", "a.c", "-o", "local.o"]));
    fs::read(workspace.work().join("local.o")).unwrap()
}

fn compile<'a>(client: &'a mut Command, board: &Board) -> &'a mut Command {
    client.env("DISTCC_FALLBACK", "0").arg(board.compiler("gcc")).args(["-O2", "-c", "a.c", "-o", "remote.o"])
}

/// The board serves this machine's client, and sizes that do not fit its memory do no harm.
#[test]
fn a_board_serves() {
    for board in BOARDS {
        let Some(binary) = board.binary() else { continue };
        let workspace = Workspace::new(board.machine);
        let mut command = board.command(&workspace, &binary, "distccd");
        command
            .args(["--daemon", "--no-detach", "--log-stderr", "--log-level", "info", "--nice", "0"])
            .args(["--listen", "127.0.0.1", "--port", "0", "--allow-compiler", &board.compiler("gcc")]);
        let daemon = Daemon::start(&workspace, &mut command);
        let local = local_object(&workspace, &board);
        let kinds = ["", ",lzo"];
        for kind in kinds {
            succeed(compile(&mut workspace.distcc(&(daemon.host() + kind)), &board));
            let remote = fs::read(workspace.work().join("remote.o")).unwrap();
            assert!(remote == local, "{} {kind}: the objects differ", board.machine);
        }
        // Sources, and arguments, beyond what 32 bits of address space or a signed number hold.
        for length in ["7fffffff", "80000000", "ffffffff"] {
            let request = format!("DIST00000001ARGC00000002ARGV00000003gccARGV00000002-cDOTI{length}int x;");
            assert!(exchange(daemon.port, request.as_bytes(), true).is_some(), "{length}");
            let request = format!("DIST00000002ARGC00000002ARGV00000003gccARGV00000002-cDOTI{length}xxxx");
            assert!(exchange(daemon.port, request.as_bytes(), true).is_some(), "{length}");
            for token in ["ARGC", "ARGC00000001ARGV"] {
                let request = format!("DIST00000001{token}{length}");
                assert!(exchange(daemon.port, request.as_bytes(), true).is_some(), "{token} {length}");
            }
        }
        succeed(compile(&mut workspace.distcc(&daemon.host()), &board));
        daemon.wait_for_jobs("COMPILE_OK", kinds.len() + 1);
        daemon.stop();
        workspace.assert_clean();
    }
}

/// The board's client uses this machine's server.
#[test]
fn a_board_is_served() {
    for board in BOARDS {
        let Some(binary) = board.binary() else { continue };
        let workspace = Workspace::new(board.machine);
        let daemon = Daemon::ours(&workspace, &["--allow-compiler", &board.compiler("gcc")]);
        let local = local_object(&workspace, &board);
        let kinds = ["", ",lzo"];
        for kind in kinds {
            let mut client = board.command(&workspace, &binary, "distcc");
            compile(client.env("DISTCC_HOSTS", daemon.host() + kind), &board);
            succeed(&mut client);
            let remote = fs::read(workspace.work().join("remote.o")).unwrap();
            assert!(remote == local, "{} {kind}: the objects differ", board.machine);
        }
        daemon.wait_for_jobs("COMPILE_OK", kinds.len());
        workspace.assert_clean();
    }
}

/// What a board's server has of memory, idle and when two clients have had 100 jobs done. qemu maps what is the program's own below 4 GiB,
/// and its translator and the code that it makes above.
#[test]
fn a_board_keeps_little_memory() {
    let is_programs = |mapping: &[&str]| mapping[0].split('-').all(|end| end.len() <= "ffffffff".len());
    for board in BOARDS.into_iter().filter(|board| board.machine == "armv7") {
        let Some(binary) = board.binary() else { continue };
        let workspace = Workspace::new(board.machine);
        workspace.script(
            "servers/mycc",
            "#!/bin/sh\nwhile [ \"$1\" != -o ]; do shift; done; head -c 100000 /dev/zero > \"$2\"\n",
        );
        let mut command = board.command(&workspace, &binary, "distccd");
        command
            .env("PATH", format!("{}:/usr/bin:/bin", workspace.path("servers").display()))
            .args([
                "--daemon",
                "--no-detach",
                "--log-stderr",
                "--log-level",
                "info",
                "--nice",
                "0",
                "--jobs",
                "2",
            ])
            .args(["--listen", "127.0.0.1", "--port", "0", "--allow-compiler", "mycc"]);
        let daemon = Daemon::start(&workspace, &mut command);
        wait_until("the workers", || daemon.processes().len() == 3);
        let measure = |name: &str| -> u64 {
            daemon.processes().into_iter().map(|pid| mapped(pid, name, is_programs)).sum()
        };
        let before = (measure("Pss:"), measure("Anonymous:"));
        let source = "static const char *of_a_header = \"and what it has of it\";\n".repeat(5_000);
        let job = request(Version::Lzo, &["mycc", "-c", "a.c", "-o", "a.o"], source.as_bytes());
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..50).for_each(|_| assert!(exchange(daemon.port, &job, false).is_some())));
            }
        });
        daemon.wait_for_jobs("COMPILE_OK", 100);
        // What the next job could have used is kept for a second.
        std::thread::sleep(Duration::from_millis(1500));
        let after = (measure("Pss:"), measure("Anonymous:"));
        println!(
            "{} processes: {} kB, {} of them not of the file; after 100 jobs {} and {}",
            daemon.processes().len(),
            before.0,
            before.1,
            after.0,
            after.1
        );
        assert!(before.1 > 0 && after.0 < 1536, "{before:?} {after:?}");
        daemon.stop();
    }
}

/// 2040-01-01: beyond what 32 bits count from 1970, which take it for 1903.
const BEYOND: Duration = Duration::from_secs(2_208_988_800);

fn set_modified(path: &Path, time: SystemTime) {
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

/// A mark of a host that is down counts while it is younger than a minute, one from the future does. In pump mode a header's change is seen.
#[test]
fn a_board_has_times_after_2038() {
    let late = SystemTime::UNIX_EPOCH + BEYOND;
    for board in BOARDS {
        let Some(binary) = board.binary() else { continue };
        let workspace = Workspace::new(board.machine);
        let daemon = Daemon::ours(&workspace, &["--allow-compiler", &board.compiler("gcc")]);
        workspace.write("a.h", "enum { A = 1 };\n");
        workspace.write("a.c", "#include \"a.h\"\nint a = A;\n");
        set_modified(&workspace.work().join("a.h"), late);
        let socket = workspace.path("socket");
        let mut include_server = board.command(&workspace, &binary, "include_server");
        include_server.args(["--no-detach", "--until-eof", "--port"]).arg(&socket).stdin(Stdio::piped());
        let mut include_server = include_server.spawn().unwrap();
        wait_until("the include server's socket", || socket.exists());
        let try_on = |options: &str| {
            let mut client = board.command(&workspace, &binary, "distcc");
            client.env("DISTCC_HOSTS", daemon.host() + options).env("INCLUDE_SERVER_PORT", &socket);
            let ended = run(compile(&mut client, &board));
            (ended.status.success(), explain(&ended))
        };
        let same = |what: &str| {
            succeed(workspace.command(board.compiler("gcc")).args(["-O2", "-c", "a.c", "-o", "local.o"]));
            let [local, remote] =
                ["local.o", "remote.o"].map(|name| fs::read(workspace.work().join(name)).unwrap());
            assert!(local == remote, "{}, {what}: the objects differ", board.machine);
        };

        let mark = workspace.path(&format!("top/lock/backoff_tcp_127.0.0.1_{}_0", daemon.port));
        for options in ["", ",cpp,lzo"] {
            let (ended_well, text) = try_on(options);
            assert!(ended_well, "{}{options}: {text}", board.machine);
            same(options);
        }
        fs::write(&mark, "x").unwrap();
        set_modified(&mark, late);
        let (ended_well, text) = try_on("");
        assert!(
            !ended_well,
            "{}: the mark of 2040 does not count, as with rustup's library: {text}",
            board.machine
        );
        set_modified(&mark, SystemTime::now() - Duration::from_secs(3600));
        workspace.write("a.h", "enum { A = 2 };\n");
        set_modified(&workspace.work().join("a.h"), late + Duration::from_secs(1));
        let (ended_well, text) = try_on(",cpp,lzo");
        assert!(ended_well, "{}: {text}", board.machine);
        same("a header changed in 2040");
        daemon.wait_for_jobs("COMPILE_OK", 3);

        drop(include_server.stdin.take());
        assert!(include_server.wait().unwrap().success());
        workspace.assert_clean();
    }
}

/// The other programs of the file start, too.
#[test]
fn every_name_answers_on_a_board() {
    for board in BOARDS {
        let Some(binary) = board.binary() else { continue };
        let workspace = Workspace::new(board.machine);
        for name in ["distcc", "distccd", "distccmon-text", "lsdistcc", "pump", "update-distcc-symlinks"] {
            succeed(board.command(&workspace, &binary, name).arg("--help"));
        }
    }
}

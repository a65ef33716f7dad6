//! Linux 3.10: a filter makes every system call that is younger say that there is no such call. `memfd_create`, `openat2`,
//! `close_range`, the pidfd calls, `statx`, `getrandom` and all others.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::util::*;

/// The last system call of Linux 3.10 on x86_64 is `finit_module`, 313.
const LAST_CALL: u32 = 313;

/// The command and all its children get no younger system calls.
#[allow(unsafe_code)]
fn on_old_kernel(command: &mut Command) -> &mut Command {
    let code = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    // The number is the first word of what a filter sees; compared as an unsigned one.
    let mut filter = [
        code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        code(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K, 0, 1, LAST_CALL),
        code(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        code(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let install = move || {
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: two system calls, allowed between fork and exec; the program and the filter outlive them.
        let failed = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
                || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) != 0
        };
        if failed { Err(std::io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: `install` makes nothing but system calls.
    unsafe { command.pre_exec(install) }
}

/// Every way to send a job, between a client and a server that both run on an old kernel.
#[test]
#[cfg(target_arch = "x86_64")]
fn client_and_server_work_on_an_old_kernel() {
    let workspace = Workspace::new("old-kernel");
    // Without this the test would say nothing.
    let memfd = ["-e", "my $name = \"x\"; syscall(319, $name, 0) == -1 or exit 1; print $!"];
    let output = succeed(on_old_kernel(workspace.command("perl").args(memfd)));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Function not implemented");

    workspace.write("include/part.h", "static int part(int x) { return x + sizeof(long); }\n");
    workspace.write("a.c", "#include <stdio.h>\n#include \"part.h\"\nint f(int x) { return part(x); }\n");
    let compile = ["-O2", "-Iinclude", "-c", "a.c", "-o"];
    succeed(workspace.command("gcc").args(compile).arg("local.o"));
    let local = fs::read(workspace.work().join("local.o")).unwrap();
    for options in [&[][..], &["--no-fork"]] {
        let daemon = Daemon::start(&workspace, on_old_kernel(workspace.distccd().args(options)));
        let kinds = ["", ",lzo", ",cpp,lzo"];
        for kind in kinds {
            let distcc = workspace.path("bin/distcc");
            let mut command = match kind.contains("cpp") {
                true => workspace.command(workspace.path("bin/pump")),
                false => workspace.command(&distcc),
            };
            if kind.contains("cpp") {
                command.arg(&distcc);
            }
            command.env("DISTCC_HOSTS", daemon.host() + kind).env("DISTCC_FALLBACK", "0");
            command.arg("gcc").args(compile).arg("remote.o");
            succeed(on_old_kernel(&mut command));
            let remote = fs::read(workspace.work().join("remote.o")).unwrap();
            assert!(remote == local, "{kind}: the objects differ");
        }
        // An error of the source goes to the server and is then the local compiler's.
        workspace.write("bad.c", "int f(void) { return oops; }\n");
        let mut client = workspace.distcc(&daemon.host());
        let output = run(on_old_kernel(client.args(["gcc", "-c", "bad.c"])));
        assert_eq!(output.status.code(), Some(1), "{}", explain(&output));
        daemon.wait_for_jobs("COMPILE_OK", kinds.len());
        daemon.stop();
        workspace.assert_clean();
    }
}

//! What a job costs in system calls: the same on every machine, so that a change that adds some is seen.

use std::fmt::Write;
use std::fs;
use std::process::{Command, Stdio};

use crate::util::*;

/// A command, what follows the host's address in the list, and the most calls that our client may make for it: today's
/// count and a few more, for replies that come in pieces and C libraries that need another call.
const JOBS: [(&str, &str, usize); 6] = [
    ("--version", "", 7),
    ("gcc -c a.i -o a.o", "", 67),
    ("gcc -c a.i -o a.o", ",lzo", 67),
    ("gcc -c a.c -o a.o", "", 88),
    ("gcc -E a.c -o a.i", "", 35),
    // However many headers there are: they go from the include server's memory to the socket.
    ("gcc -c headers.c -o a.o", ",cpp,lzo", 85),
];

/// Where our own work begins: what comes before is the loader's, and none of it is there in a static binary.
const FIRST: &str = "poll([{fd=0";

/// Whether a call is not the allocator's affair, the kernel's, a check of the standard library that only debug builds make, or one
/// more that a static build needs: musl's for what is opened, and to hear of faults of its own.
fn is_ours(call: &str) -> bool {
    let name = call.split('(').next().unwrap_or(call);
    !["brk", "madvise", "mmap", "mremap", "munmap"].contains(&name)
        && !call.starts_with("---")
        && !call.contains("F_GETFD")
        && !call.contains("F_SETFD, FD_CLOEXEC")
        && !["rt_sigprocmask(SIG_UNBLOCK, [RT_1 RT_2]", "rt_sigaction(SIGILL,", "rt_sigaction(SIGTRAP,"]
            .iter()
            .any(|own| call.starts_with(own))
}

#[test]
fn a_job_takes_few_system_calls() {
    if Command::new("strace").arg("-V").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "strace is missing: run tests/setup.sh test");
        eprintln!("SKIPPED: strace is missing; run tests/setup.sh test");
        return;
    }
    let workspace = Workspace::new("cost");
    workspace.write("a.c", "int f(int x) { return x + 1; }\n");
    succeed(workspace.command("gcc").args(["-E", "a.c", "-o", "a.i"]));
    let mut headers = String::new();
    for number in 0..40 {
        workspace.write(&format!("h{number}.h"), &format!("int x{number};\n"));
        writeln!(headers, "#include \"h{number}.h\"").unwrap();
    }
    workspace.write("headers.c", &headers);
    let daemon = Daemon::ours(&workspace, &[]);
    let socket = workspace.path("socket");
    let mut include_server = workspace
        .command(workspace.path("bin/include_server"))
        .args(["--no-detach", "--until-eof", "--port"])
        .arg(&socket)
        // Ours to close: the server ends with this test, however that ends.
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("the include server's socket", || socket.exists());
    let mut over = Vec::new();
    for (words, options, most) in JOBS {
        let run = |program: &str| {
            let mut command = workspace.command("strace");
            command
                .env("PATH", "/usr/bin:/bin")
                .env("DISTCC_HOSTS", format!("{}{options}", daemon.host()))
                .env("DISTCC_FALLBACK", "0")
                .env("INCLUDE_SERVER_PORT", &socket)
                .args(["-o", "trace", program])
                .args(words.split(' '));
            succeed(&mut command);
            fs::read_to_string(workspace.work().join("trace")).unwrap()
        };
        let own_calls = || -> Vec<String> {
            let trace = run(OURS);
            let own = &trace[trace.find(FIRST).expect("the first call is ours")..];
            own.lines().filter(|line| is_ours(line)).map(str::to_owned).collect()
        };
        // What is kept from one job to the next is there from the second on. On a busy machine more comes in pieces.
        own_calls();
        let mut calls = own_calls();
        for _ in 0..9 {
            if calls.len() > most {
                calls = own_calls();
            }
        }
        let stock = stock("distcc");
        let stock = stock.map_or(0, |program| run(program.to_str().unwrap()).lines().count());
        println!(
            "{:3} system calls for {words} on HOST{options}; stock, with its loader's: {stock}",
            calls.len()
        );
        if calls.len() > most {
            over.push(format!(
                "{words} on HOST{options} makes {} system calls, not {most}:\n{}",
                calls.len(),
                calls.join("\n")
            ));
        }
    }
    drop(include_server.stdin.take());
    assert!(include_server.wait().unwrap().success());
    assert!(over.is_empty(), "{}", over.join("\n\n"));
}

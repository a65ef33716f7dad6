use std::os::unix::process::ExitStatusExt;
use std::process::Output;

use crate::util::*;

/// What stock and ours do with a command line.
#[derive(Debug, Clone, Copy)]
enum Expect {
    /// Both end at the start with this exit code; ours names this.
    Both(i32, &'static str),
    /// Both serve, until `--lifetime` ends them.
    Serve,
    /// Ours ends with this code and names this; stock with that one. Decided so.
    Apart(i32, &'static str, i32),
    /// Ours serves; stock 3.4 ends with this code.
    OursServes(i32),
}

use Expect::{Apart, Both, OursServes, Serve};

/// Every option of the reference (`daemon.md` section 1), and what can be wrong with it; but not a wrong `--stats-port`,
/// after which the workers of stock stay behind.
const COMMAND_LINES: &[(&str, Expect)] = &[
    // Words.
    ("--help", Both(0, "--daemon")),
    ("--help extra words", Both(0, "--daemon")),
    ("--version", Both(0, "protocols 1")),
    ("extra --version", Both(0, "protocols 1")),
    ("--bogus", Both(101, "distccd: ERROR: --bogus: unknown option")),
    ("--dae", Both(101, "distccd: ERROR: --dae: unknown option")),
    ("--job 3", Both(101, "distccd: ERROR: --job: unknown option")),
    ("-h", Both(101, "distccd: ERROR: -h: unknown option")),
    ("-?", Both(101, "distccd: ERROR: -?: unknown option")),
    ("--daemon=x", Both(101, "distccd: ERROR: --daemon=x: ")),
    ("--port", Both(101, "distccd: ERROR: --port: missing argument")),
    ("-j", Both(101, "distccd: ERROR: ")),
    ("--port x", Both(101, "invalid numeric value")),
    ("--nice x", Both(101, "invalid numeric value")),
    ("-jx", Both(101, "invalid numeric value")),
    ("--lifetime x", Both(101, "invalid numeric value")),
    ("--job-lifetime x", Both(101, "invalid numeric value")),
    // Values.
    ("--no-detach --jobs 0", Both(101, "--jobs")),
    ("--no-detach --jobs -3", Both(101, "--jobs")),
    ("--no-detach --jobs 201", OursServes(101)),
    ("--no-detach --port 70000", Both(101, "--port")),
    ("--no-detach --port -1", Both(101, "--port")),
    ("--no-detach --port 0", OursServes(101)),
    ("--no-detach --allow 10.0.0.0/33", Both(101, "10.0.0.0/33")),
    ("--no-detach --allow no.such.invalid", Both(101, "no.such.invalid")),
    ("--no-detach --listen no.such.invalid", Both(102, "no.such.invalid")),
    ("--no-detach --listen 203.0.113.7", Both(102, "bind of 203.0.113.7")),
    // What serves.
    ("--no-detach", Serve),
    ("--daemon --no-detach extra words", Serve),
    ("--daemon --no-detach -- --bogus", Serve),
    ("--no-detach --jobs 3", Serve),
    ("--no-detach -j3 -N 3 -a 127.0.0.1 -a 10.0.0.0/8", Serve),
    ("--no-detach --jobs=3 --nice=3 --allow=127.0.0.1 --allow=::1", Serve),
    ("--no-detach --allow-private --listen 127.0.0.1", Serve),
    ("--no-detach --no-fork", Serve),
    ("--no-detach --no-fork --stats", Serve),
    ("--no-detach --no-fifo", Serve),
    ("--no-detach --job-lifetime -1", Serve),
    ("--no-detach --enable-tcp-insecure", Serve),
    ("--no-detach --make-me-a-botnet", Serve),
    ("--no-detach --log-level loud", Serve),
    ("--no-detach --log-level debug --verbose", Serve),
    ("--no-detach --pid-file /no/such/dir/pid", Serve),
    ("--no-detach --user no-such-user", Serve),
    ("--wizard", Serve),
    ("-W", Serve),
    // Newer than 3.4.
    ("--no-detach --oom-score-adj 500", OursServes(101)),
    ("--no-detach --sysroot /usr", OursServes(101)),
    ("--no-detach --sysroot /no/such/dir", Apart(101, "--sysroot: /no/such/dir", 101)),
    // Left out, and never silently: GSSAPI.
    ("--no-detach --auth", Apart(101, "--auth: there is no authentication with GSSAPI here", 119)),
    ("--show-principal", Apart(101, "--show-principal: there is no", 0)),
    ("--blacklist /x --whitelist /y", Apart(101, "list: there is no", 101)),
    ("--no-detach --whitelist=/y", Apart(101, "--whitelist=/y: there is no", 142)),
];

/// Runs the daemon of this kind with these words until it ends. One that is to serve does that for long enough to
/// start on a machine that runs all tests at once; one that is to refuse has time to look a name up.
fn end_of(kind: Kind, workspace: &Workspace, words: &str, env: &[(&str, &str)], serves: bool) -> Output {
    let program = match kind {
        Kind::Ours => workspace.path("bin/distccd"),
        Kind::Stock => "/usr/bin/distccd".into(),
    };
    let port = free_port().to_string();
    let mut command = workspace.command(program);
    command.args(["--lifetime", if serves { "2" } else { "60" }, "--log-stderr"]);
    if !words.contains("--port") {
        command.args(["--port", &port]);
    }
    run(command.args(words.split_whitespace()).envs(env.iter().copied()))
}

fn code(output: &Output) -> i32 {
    output.status.code().or(output.status.signal().map(|signal| 128 + signal)).unwrap()
}

/// Words, variables, what comes of them.
type Row = (&'static str, &'static [(&'static str, &'static str)], Expect);

/// Runs all at once: those that serve take two seconds.
fn judge(rows: &[Row]) {
    let workspace = Workspace::new("options");
    let has_stock = stock("distccd").is_some();
    let check = |words: &str, env: &[(&str, &str)], expect: Expect| {
        let served = 128 + libc::SIGALRM;
        let (ours, stocks, says) = match expect {
            Both(code, says) => (code, code, says),
            Serve => (served, served, " daemon started"),
            Apart(ours, says, stocks) => (ours, stocks, says),
            OursServes(stocks) => (served, stocks, " daemon started"),
        };
        let output = end_of(Kind::Ours, &workspace, words, env, ours == served);
        let text = explain(&output);
        if code(&output) != ours || !text.contains(says) {
            return Some(format!("ours, {env:?} {words}: {ours} and {says:?} expected: {text}"));
        }
        if has_stock {
            let output = end_of(Kind::Stock, &workspace, words, env, stocks == served);
            if code(&output) != stocks {
                return Some(format!("stock, {env:?} {words}: {stocks} expected: {}", explain(&output)));
            }
        }
        None
    };
    let failures: Vec<String> = std::thread::scope(|scope| {
        let check = &check;
        let start = |row: &Row| {
            let (words, env, expect) = *row;
            scope.spawn(move || check(words, env, expect))
        };
        let jobs: Vec<_> = rows.iter().map(start).collect();
        jobs.into_iter().filter_map(|job| job.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn command_lines_do_what_they_do_with_stock() {
    let rows: Vec<_> = COMMAND_LINES.iter().map(|(words, expect)| (*words, &[][..], *expect)).collect();
    judge(&rows);
}

#[test]
fn environments_do_what_they_do_with_stock() {
    judge(&[
        ("--no-detach", &[("DISTCC_IO_TIMEOUT", "0")], Both(101, "DISTCC_IO_TIMEOUT")),
        ("--no-detach", &[("DISTCC_IO_TIMEOUT", "x")], Both(101, "DISTCC_IO_TIMEOUT")),
        ("--no-detach", &[("DISTCC_IO_TIMEOUT", "-5")], Both(101, "DISTCC_IO_TIMEOUT")),
        ("--no-detach", &[("DISTCC_IO_TIMEOUT", "7")], Serve),
        ("--no-detach", &[("TMPDIR", "/no/such/dir")], Both(107, "/no/such/dir")),
        ("--no-detach", &[("TMPDIR", "no/such/dir")], Both(107, "no/such/dir")),
        ("--no-detach", &[("DISTCC_TCP_DEFER_ACCEPT", "0")], Serve),
        ("--no-detach", &[("DISTCC_SAVE_TEMPS", "1")], Serve),
        ("--no-detach", &[("DISTCCD_PATH", "/usr/bin:/bin")], Serve),
        // Stock finds out when a job comes, and then allows everything.
        ("--no-detach", &[("DISTCC_CMDLIST", "/no/such/list")], Apart(101, "/no/such/list", 142)),
    ]);
}

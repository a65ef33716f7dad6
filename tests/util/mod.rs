//! A fresh directory per test, daemons and clients of both kinds as real processes, and failures that explain
//! themselves.

// Two test binaries share this module, and neither needs all of it.
#![allow(dead_code)]

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub mod include_server;
pub mod liblzo2;
pub mod net;
pub mod network;
pub mod oracle;
pub mod peer;
pub mod shell;
pub mod stub;

/// Our binary, or another build of it (`make test-static`).
pub const OURS: &str = match option_env!("DISTCC_TEST_BINARY") {
    Some(binary) => binary,
    None => env!("CARGO_BIN_EXE_distcc"),
};

/// Whose program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ours,
    Stock,
}

/// The stock program called `name`, or `None` after a loud word: missing tools are an error in CI.
pub fn stock(name: &str) -> Option<PathBuf> {
    let path = Path::new("/usr/bin").join(name);
    // Our own package may have replaced it; then it is no test partner.
    let output = Command::new(&path).arg("--version").env_remove("DISTCC_HOSTS").output();
    let is_stock = output.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).contains("3.4"))
        || name == "distccmon-text" && path.exists();
    if is_stock {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "the stock {name} 3.4 is missing: run tests/setup.sh test");
    eprintln!("SKIPPED: the stock {name} 3.4 is missing; run tests/setup.sh test");
    None
}

/// Whether a program that not every machine has is here, with a loud word if not: an error in CI.
pub fn tool(name: &str) -> bool {
    let found = Path::new("/usr/bin").join(name).exists();
    assert!(found || std::env::var_os("CI").is_none(), "{name} is missing: run tests/setup.sh extra");
    if !found {
        eprintln!("SKIPPED: {name} is missing; run tests/setup.sh extra");
    }
    found
}

/// The options with which `unshare` gives a command mounts of its own; `None` after a loud word where that is not allowed: an
/// error in CI.
pub fn mount_namespace() -> Option<&'static [&'static str]> {
    for options in [&["-m"][..], &["-U", "-r", "-m"]] {
        let allowed = Command::new("unshare").args(options).arg("true").output();
        if allowed.is_ok_and(|output| output.status.success()) {
            return Some(options);
        }
    }
    assert!(std::env::var_os("CI").is_none(), "unshare -m must work in CI");
    eprintln!("SKIPPED: this user may not make mount namespaces");
    None
}

/// The names of the programs that ours is.
pub const PERSONALITIES: [&str; 7] =
    ["distcc", "distccd", "distccmon-text", "include_server", "lsdistcc", "pump", "update-distcc-symlinks"];

/// A directory for one test, removed afterwards.
pub struct Workspace {
    dir: PathBuf,
}

impl Workspace {
    pub fn new(name: &str) -> Workspace {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("distcc-test-{}-{number}-{name}", std::process::id()));
        for sub in ["work", "tmp", "home", "top", "bin", "masquerade"] {
            fs::create_dir_all(dir.join(sub)).unwrap();
            // The daemon gives root away and must still get in.
            fs::set_permissions(dir.join(sub), fs::Permissions::from_mode(0o777)).unwrap();
        }
        for name in ["gcc", "g++", "cc", "c++"] {
            symlink("../bin/distcc", dir.join("masquerade").join(name)).unwrap();
        }
        let workspace = Workspace { dir };
        workspace.use_program(Path::new(OURS));
        workspace
    }

    /// Another program under test from now on.
    pub fn use_program(&self, program: &Path) {
        for name in PERSONALITIES {
            let link = self.path("bin").join(name);
            let _ = fs::remove_file(&link);
            symlink(program, link).unwrap();
        }
    }

    /// A path inside.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Where commands run.
    pub fn work(&self) -> PathBuf {
        self.path("work")
    }

    /// A file in the working directory.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.work().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// An executable script, for stub compilers.
    pub fn script(&self, path: &str, text: &str) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // It may be a link to the program under test.
        let _ = fs::remove_file(&path);
        // By another process: while this one had it open for writing, a fork of another test's thread would have it open,
        // too, and nobody could execute it ("Text file busy").
        let mut shell = Command::new("/bin/sh");
        shell.args(["-ec", "printf %s \"$1\" > \"$0\"; chmod 755 \"$0\""]).arg(&path).arg(text);
        assert!(shell.status().unwrap().success(), "cannot write {}", path.display());
        path
    }

    /// A command in the working directory, with nothing of this machine's distcc settings.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.work())
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .env("DISTCC_DIR", self.path("top"))
            .env("LC_ALL", "C")
            // It would outlive the test; those of it set this otherwise.
            .env("DISTCC_INCLUDE_SERVER", "0")
            .stdin(Stdio::null());
        with_default_signals(&mut command);
        command
    }

    /// A client of this kind that uses `hosts`.
    pub fn client(&self, kind: Kind, hosts: &str) -> Command {
        let program = match kind {
            Kind::Ours => self.path("bin/distcc"),
            Kind::Stock => PathBuf::from("/usr/bin/distcc"),
        };
        let mut command = self.command(program);
        command.env("DISTCC_HOSTS", hosts);
        command
    }

    /// Our client.
    pub fn distcc(&self, hosts: &str) -> Command {
        self.client(Kind::Ours, hosts)
    }

    /// Our daemon, on a free port of 127.0.0.1.
    pub fn distccd(&self) -> Command {
        let mut command = self.command(self.path("bin/distccd"));
        command.args(["--daemon", "--no-detach", "--log-stderr", "--log-level", "info"]);
        command.args(["--listen", "127.0.0.1", "--port", "0", "--nice", "0"]);
        command
    }

    /// The same, with the workspace's `servers` first in its PATH.
    pub fn distccd_with_servers(&self) -> Command {
        let mut command = self.distccd();
        command.env("PATH", format!("{}:/usr/bin:/bin", self.path("servers").display()));
        command
    }

    /// What is left in the temporary directory and the state directory; empty when everybody cleaned up.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        let list = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path());
        list(self.path("tmp")).chain(list(self.path("top/state"))).collect()
    }

    /// Whether a compiler works in a directory of the daemon's: its source is there.
    pub fn compiles(&self) -> bool {
        let list = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
        list(self.path("tmp"))
            .flat_map(|entry| list(entry.path()))
            .any(|entry| entry.file_name().to_string_lossy().starts_with("source"))
    }

    /// Fails if anything is left, giving the last child a moment.
    pub fn assert_clean(&self) {
        wait_until("nothing is left over", || self.leftovers().is_empty());
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.dir);
        } else {
            eprintln!("the test's directory is kept: {}", self.dir.display());
        }
    }
}

/// A test run may itself be in the background of a shell, or under nohup, where interrupts are ignored; programs started
/// with ignored interrupts go on ignoring them, as they should.
#[allow(unsafe_code)]
fn with_default_signals(command: &mut Command) {
    use std::os::unix::process::CommandExt;

    let restore = || {
        for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP, libc::SIGTERM] {
            // SAFETY: a bare system call with integer arguments, allowed between fork and exec.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        Ok(())
    };
    // SAFETY: `restore` does nothing but such calls.
    unsafe { command.pre_exec(restore) };
}

/// The command is started by somebody who ignores the ends of children.
#[allow(unsafe_code)]
pub fn ignore_children(command: &mut Command) {
    use std::os::unix::process::CommandExt;

    let ignore = || {
        // SAFETY: a bare system call with integer arguments, allowed between fork and exec.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        Ok(())
    };
    // SAFETY: `ignore` does nothing but this call.
    unsafe { command.pre_exec(ignore) };
}

/// Runs to the end, and on panic later one can see what it said.
#[track_caller]
pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    eprintln!("$ {command:?}\n{}", explain(&output));
    output
}

/// Runs and asserts success.
#[track_caller]
pub fn succeed(command: &mut Command) -> Output {
    let output = run(command);
    assert!(output.status.success(), "{command:?} failed: {}", explain(&output));
    output
}

pub fn explain(output: &Output) -> String {
    format!(
        "status {}\nstdout: {}\nstderr: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The lines that are distcc's own and not the compiler's.
pub fn own_lines(output: &Output) -> Vec<String> {
    stderr(output).lines().filter(|line| line.starts_with("distcc[")).map(str::to_owned).collect()
}

/// Waits for a sign, not for time.
#[track_caller]
pub fn wait_until(what: &str, mut sign: impl FnMut() -> bool) {
    let start = Instant::now();
    while !sign() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A running daemon, ended when dropped.
pub struct Daemon {
    child: Child,
    pub port: u16,
    log: PathBuf,
}

impl Daemon {
    /// Ours, on a free port of 127.0.0.1.
    pub fn ours(workspace: &Workspace, options: &[&str]) -> Daemon {
        Daemon::start(workspace, workspace.distccd().args(options))
    }

    /// Any daemon that logs to standard error and says where it listens.
    pub fn start(workspace: &Workspace, command: &mut Command) -> Daemon {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let log = workspace.path(&format!("daemon{}.log", NEXT.fetch_add(1, Ordering::Relaxed)));
        let file = fs::File::create(&log).unwrap();
        let child = command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        let mut daemon = Daemon { child, port: 0, log };
        wait_until("the daemon listens", || {
            if let Some(status) = daemon.child.try_wait().unwrap() {
                panic!("the daemon ended with {status}: {}", daemon.log());
            }
            daemon.port = listening_port(&daemon.log()).unwrap_or(0);
            daemon.port != 0
        });
        daemon
    }

    /// The stock daemon, or `None` where it is not installed.
    pub fn stock(workspace: &Workspace, options: &[&str]) -> Option<Daemon> {
        let program = stock("distccd")?;
        let mut command = workspace.command(program);
        command.args(["--daemon", "--no-detach", "--log-stderr", "--log-level", "info", "--nice", "0"]);
        command
            .args(["--listen", "127.0.0.1", "--allow", "127.0.0.1", "--port", &free_port().to_string()])
            .args(options);
        Some(Daemon::start(workspace, &mut command))
    }

    pub fn of_kind(kind: Kind, workspace: &Workspace, options: &[&str]) -> Option<Daemon> {
        match kind {
            Kind::Ours => Some(Daemon::ours(workspace, options)),
            Kind::Stock => Daemon::stock(workspace, options),
        }
    }

    /// For `DISTCC_HOSTS`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it logs to.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        let mut text = Vec::new();
        fs::File::open(&self.log).unwrap().read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// How many jobs ended with this word. The line of a job is written after its answer, so a caller that
    /// has just seen the answer waits for the line with [`Daemon::wait_for_jobs`].
    pub fn jobs(&self, word: &str) -> usize {
        self.log().lines().filter(|line| line.contains("dcc_job_summary") && line.contains(word)).count()
    }

    #[track_caller]
    pub fn wait_for_jobs(&self, word: &str, count: usize) {
        let start = Instant::now();
        while self.jobs(word) < count && start.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(self.jobs(word), count, "{word} in the daemon's log:\n{}", self.log());
    }

    pub fn signal(&self, signal: i32) {
        signal_pid(self.pid(), signal);
    }

    /// Ends it as an init system does, and asserts that it ends well.
    #[track_caller]
    pub fn stop(mut self) -> String {
        self.signal(libc::SIGTERM);
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "the daemon ended with {status}: {}", self.log());
                return self.log();
            }
            assert!(start.elapsed() < Duration::from_secs(20), "the daemon does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The processes of the daemon: the supervisor and its workers.
    pub fn processes(&self) -> Vec<u32> {
        std::iter::once(self.pid()).chain(children(self.pid())).collect()
    }

    /// Resident memory of all its processes, in kB.
    pub fn memory(&self) -> u64 {
        self.processes().into_iter().map(|pid| field(pid, "status", "VmRSS:")).sum()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the daemon's log:\n{}", lines[lines.len().saturating_sub(200)..].join("\n"));
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            // The first asks, the second insists.
            for _ in 0..2 {
                self.signal(libc::SIGTERM);
                std::thread::sleep(Duration::from_millis(20));
            }
            let start = Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) && start.elapsed() < Duration::from_secs(5) {
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn listening_port(log: &str) -> Option<u16> {
    let line = log.lines().find(|line| line.contains("listening on "))?;
    line.rsplit(':').next()?.trim().parse().ok()
}

/// A port where nobody listens, and that nobody else in these tests gets.
///
/// It is below those that the kernel deals out (Linux: from 32768, `ip_local_port_range`), or some connection of
/// another test could have it before the server that it is meant for.
pub fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 22_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Several runs of the tests on one machine begin far apart.
    let start = std::process::id().wrapping_mul(7_919);
    loop {
        let port = FIRST + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        if TcpListener::bind(("0.0.0.0", port as u16)).is_ok() {
            return port as u16;
        }
    }
}

pub fn signal_pid(pid: u32, signal: i32) {
    let status = Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).status().unwrap();
    assert!(status.success());
}

/// The direct children of a process.
pub fn children(pid: u32) -> Vec<u32> {
    all_processes().into_iter().filter(|(_, parent)| *parent == pid).map(|(child, _)| child).collect()
}

/// Every process on the machine with its parent.
pub fn all_processes() -> Vec<(u32, u32)> {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter_map(|pid: u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // The name in parentheses may contain anything.
            let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect()
}

/// Command lines of processes that mention `needle`, such as a workspace's path in their environment or
/// arguments.
pub fn processes_of(workspace: &Workspace) -> Vec<String> {
    let needle = workspace.path("").to_string_lossy().into_owned();
    all_processes()
        .into_iter()
        .filter(|(pid, _)| *pid != std::process::id())
        .filter_map(|(pid, _)| {
            let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
            let mentions = String::from_utf8_lossy(&environment).contains(&needle);
            let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            mentions.then(|| format!("{pid}: {}", String::from_utf8_lossy(&line).replace('\0', " ")))
        })
        .collect()
}

/// A number from a file of /proc, 0 if the process has gone.
pub fn field(pid: u32, file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Kilobytes in the fields of this name of those mappings of a process whose first line, in words (addresses, rights, offset, device,
/// inode and perhaps a name), `counts`.
pub fn mapped(pid: u32, name: &str, counts: impl Fn(&[&str]) -> bool) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap_or_default();
    let (mut sum, mut is_counted) = (0, false);
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [field, kilobytes, "kB"] if is_counted && *field == name => {
                sum += kilobytes.parse::<u64>().unwrap()
            }
            mapping @ [_, rights, _, _, _, ..] if rights.len() == 4 => is_counted = counts(mapping),
            _ => {}
        }
    }
    sum
}

/// Puts a program and the libraries it is linked with into `root`.
pub fn put_program(root: &Path, program: &Path, to: &str) {
    let copy = |from: &Path, to: PathBuf| {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    };
    copy(program, root.join(to));
    let libraries = Command::new("ldd").arg(program).output().unwrap();
    for word in String::from_utf8_lossy(&libraries.stdout).split_whitespace() {
        if let Some(below) = word.strip_prefix('/') {
            copy(Path::new(word), root.join(below));
        }
    }
}

/// Numbers that are the same in every run.
pub struct Random(u64);

impl Random {
    /// One whose numbers are the same for the same seed.
    pub fn new(seed: u64) -> Random {
        // Nearby seeds begin alike otherwise; it must not be 0.
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next, below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }

    /// One of these.
    pub fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    /// At most so many bytes, of any kind.
    pub fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| self.below(256) as u8).collect()
    }

    /// One of these.
    pub fn pick(&mut self, from: &[&str]) -> String {
        (*self.of(from)).to_owned()
    }
}

//! Servers to be measured: a daemon of either kind, and our include server.

use std::fs;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::rig::cpu_of;
use crate::util::{self, Kind, Workspace, children, field, free_port, signal_pid, wait_until};

/// A daemon under test, ended when dropped.
pub struct Server {
    /// Whose.
    pub kind: Kind,
    /// Of the loopback address.
    pub port: u16,
    child: Child,
}

impl Server {
    /// On a free port, with four places for compilers, which it finds in `path`.
    pub fn start(workspace: &Workspace, kind: Kind, path: &str) -> Server {
        let program = match kind {
            Kind::Ours => workspace.path("bin/distccd"),
            Kind::Stock => "/usr/bin/distccd".into(),
        };
        let port = free_port();
        let log = fs::File::create(workspace.path("daemon.log")).unwrap();
        let mut command = workspace.command(program);
        command.args(["--daemon", "--no-detach", "--jobs", "4", "--nice", "0", "--user", "nobody"]);
        command.args(["--listen", "127.0.0.1", "--allow", "127.0.0.1", "--port", &port.to_string()]);
        command.args(["--log-stderr", "--log-level", "notice"]).env("PATH", path);
        // A stock daemon ends with a signal to its whole group.
        let child = command.process_group(0).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        wait_until("the daemon listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        thread::sleep(Duration::from_millis(200));
        Server { kind, port, child }
    }

    /// The supervisor and its workers, without compilers.
    pub fn processes(&self) -> Vec<u32> {
        std::iter::once(self.child.id()).chain(children(self.child.id())).collect()
    }

    /// Seconds, without compilers.
    pub fn cpu(&self) -> f64 {
        self.processes().into_iter().map(cpu_of).sum::<f64>() / 1e9
    }

    /// Seconds of the compilers that have ended.
    pub fn compiler_cpu(&self) -> f64 {
        self.processes().into_iter().map(|pid| stat_seconds(&pid.to_string(), [16, 17])).sum()
    }

    /// Kilobytes.
    pub fn pss(&self) -> u64 {
        self.processes().into_iter().map(|pid| field(pid, "smaps_rollup", "Pss:")).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        signal_pid(self.child.id(), 15);
        let _ = self.child.wait();
    }
}

/// Two times of /proc/PID/stat, counted as in proc(5), in seconds.
pub fn stat_seconds(pid: &str, fields: [usize; 2]) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Behind the name in parentheses comes field 3.
    let rest: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let number = |field: usize| rest.get(field - 3).and_then(|text| text.parse().ok()).unwrap_or(0.0);
    // The kernel shows hundredths of seconds on every architecture.
    fields.map(number).iter().sum::<f64>() / 100.0
}

/// Our include server, in the background.
pub struct IncludeServer {
    pid: u32,
}

impl IncludeServer {
    pub fn socket(workspace: &Workspace) -> PathBuf {
        workspace.path("tmp/socket")
    }

    pub fn command(workspace: &Workspace) -> Command {
        let mut command = workspace.command(workspace.path("bin/include_server"));
        command.arg("--port").arg(IncludeServer::socket(workspace));
        command.arg("--pid_file").arg(workspace.path("tmp/pid")).arg("-d0");
        command
    }

    pub fn running(workspace: &Workspace) -> IncludeServer {
        let pid = fs::read_to_string(workspace.path("tmp/pid")).unwrap();
        IncludeServer { pid: pid.trim().parse().unwrap() }
    }

    /// Milliseconds so far.
    pub fn cpu(&self) -> f64 {
        cpu_of(self.pid) / 1e6
    }

    /// MiB.
    pub fn peak(&self) -> f64 {
        util::field(self.pid, "status", "VmHWM:") as f64 / 1024.0
    }

    pub fn end(self) {
        signal_pid(self.pid, 15);
        let pid = self.pid;
        wait_until("the end of the include server", || cpu_of(pid) == 0.0);
    }
}

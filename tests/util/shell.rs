//! Servers of the secure shell, for one test each: own keys, own port, own log.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::{Workspace, children, free_port, mount_namespace, signal_pid, succeed, wait_until};

/// Whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    OpenSsh,
    Dropbear,
}

/// Where Debian has it; missing tools are an error in CI.
fn installed(program: &str) -> bool {
    let found = ["/usr/bin", "/usr/sbin"].iter().any(|dir| PathBuf::from(dir).join(program).exists());
    assert!(found || std::env::var_os("CI").is_none(), "{program} is missing: run tests/setup.sh test");
    if !found {
        eprintln!("SKIPPED: {program} is missing; run tests/setup.sh test");
    }
    found
}

/// A running server, ended with its connections when dropped.
pub struct ShellServer {
    child: Child,
    pub port: u16,
    log: PathBuf,
    /// For `DISTCC_SSH`.
    pub client: String,
}

impl ShellServer {
    /// `None` where it is not installed.
    pub fn start(workspace: &Workspace, shell: Shell) -> Option<ShellServer> {
        let dir = workspace.path("shell");
        fs::create_dir_all(&dir).unwrap();
        let port = free_port();
        let log = dir.join("log");
        let in_dir = |name: &str| dir.join(name).display().to_string();
        let path = format!("{}:/usr/bin:/bin", workspace.path("bin").display());
        let (command, client) = match shell {
            Shell::OpenSsh => {
                if !["ssh", "sshd", "ssh-keygen"].iter().all(|program| installed(program)) {
                    return None;
                }
                for key in ["host", "user"] {
                    let mut keygen = workspace.command("/usr/bin/ssh-keygen");
                    succeed(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f", &in_dir(key)]));
                }
                fs::copy(dir.join("user.pub"), dir.join("authorized")).unwrap();
                // Debian's sshd, as root, insists on it; its service makes it.
                let _ = fs::create_dir("/run/sshd");
                let config = format!(
                    "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\n\
                     StrictModes no\nPidFile none\nUsePAM no\nLogLevel VERBOSE\nSetEnv PATH={path}\n",
                    in_dir("host"),
                    in_dir("authorized")
                );
                fs::write(dir.join("config"), config).unwrap();
                let mut command = workspace.command("/usr/sbin/sshd");
                command.args(["-D", "-e", "-f", &in_dir("config")]);
                let client = format!(
                    "ssh -p {port} -i {} -o StrictHostKeyChecking=no -o UserKnownHostsFile={} -o LogLevel=ERROR",
                    in_dir("user"),
                    in_dir("known")
                );
                (command, client)
            }
            Shell::Dropbear => {
                if !["dropbear", "dbclient", "dropbearkey"].iter().all(|program| installed(program)) {
                    return None;
                }
                let mut public = String::new();
                for key in ["host", "user"] {
                    let mut keygen = workspace.command("/usr/bin/dropbearkey");
                    let output = succeed(keygen.args(["-t", "ed25519", "-f", &in_dir(key)]));
                    public = String::from_utf8(output.stdout).unwrap();
                }
                let line = public.lines().find(|line| line.starts_with("ssh-")).unwrap();
                fs::create_dir_all(dir.join("home/.ssh")).unwrap();
                fs::write(dir.join("home/.ssh/authorized_keys"), format!("{line}\n")).unwrap();
                for private in ["home", "home/.ssh"] {
                    fs::set_permissions(dir.join(private), fs::Permissions::from_mode(0o700)).unwrap();
                }
                // It looks for keys only in the home directory that the system knows: in a name space of its own, this
                // test's directory is in that place.
                let script = format!(
                    "home=$(getent passwd \"$(id -u)\" | cut -d: -f6) && mount --bind {} \"$home\" && \
                     exec /usr/sbin/dropbear -F -E -p 127.0.0.1:{port} -r {} -P {}",
                    in_dir("home"),
                    in_dir("host"),
                    in_dir("pid")
                );
                let mut command = workspace.command("unshare");
                command.args(mount_namespace()?).args(["sh", "-c", &script]);
                (command, format!("dbclient -y -y -p {port} -i {}", in_dir("user")))
            }
        };
        ShellServer::run(command, port, log, client)
    }

    fn run(mut command: Command, port: u16, log: PathBuf, client: String) -> Option<ShellServer> {
        let file = fs::File::create(&log).unwrap();
        let child =
            command.stdout(file.try_clone().unwrap()).stderr(file).stdin(Stdio::null()).spawn().unwrap();
        let mut server = ShellServer { child, port, log, client };
        wait_until("the secure shell's server listens", || {
            if let Some(status) = server.child.try_wait().unwrap() {
                panic!("it ended with {status}: {}", server.log());
            }
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Some(server)
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// How many handshakes it has seen to their end.
    pub fn logins(&self) -> usize {
        self.log()
            .lines()
            .filter(|line| line.contains("Accepted publickey") || line.contains("auth succeeded"))
            .count()
    }
}

impl Drop for ShellServer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the log of the secure shell's server:\n{}", self.log());
        }
        // Its connections, and with them the shared masters of clients.
        let mut ending = children(self.child.id());
        while let Some(pid) = ending.pop() {
            ending.extend(children(pid));
            let _ = Command::new("kill").arg(pid.to_string()).stderr(Stdio::null()).status();
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            signal_pid(self.child.id(), libc::SIGTERM);
        }
        let _ = self.child.wait();
    }
}

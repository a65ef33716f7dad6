//! Networks of the test's own: bridges, and machines of a kind (network namespaces with a host name) on them.

use std::fs;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Workspace, succeed, wait_until};

/// Networks and machines, removed when dropped.
pub struct Networks {
    prefix: String,
    namespaces: Vec<String>,
    bridges: usize,
}

fn ip(words: &str) {
    succeed(Command::new("ip").args(words.split(' ')));
}

impl Networks {
    /// So many networks, 10.98.NUMBER.0/24 each. `None` after a loud word where that is not allowed: an error in CI.
    pub fn new(bridges: usize) -> Option<Networks> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("dz{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
        let first = format!("{prefix}-net");
        let added = Command::new("ip").args(["netns", "add", &first]).output();
        // Where / is no mount point, in a plain chroot, they can be made and not entered.
        let entered = Command::new("ip").args(["netns", "exec", &first, "true"]).output();
        let works =
            [&added, &entered].iter().all(|it| it.as_ref().is_ok_and(|output| output.status.success()));
        if !is_root || !works {
            let _ = Command::new("ip").args(["netns", "del", &first]).output();
            assert!(std::env::var_os("CI").is_none(), "no network namespaces: {added:?} {entered:?}");
            eprintln!("SKIPPED: network namespaces need root and the program ip: {added:?} {entered:?}");
            return None;
        }
        for bridge in 0..bridges {
            ip(&format!("-n {first} link add br{bridge} type bridge mcast_snooping 0"));
            ip(&format!("-n {first} link set br{bridge} up"));
        }
        Some(Networks { prefix, namespaces: vec![first], bridges })
    }

    /// A machine with this name, and the address 10.98.NUMBER.LAST in each of the networks named.
    pub fn machine(&mut self, name: &str, last: u8, networks: &[usize]) -> Machine {
        let namespace = format!("{}-{name}", self.prefix);
        ip(&format!("netns add {namespace}"));
        self.namespaces.push(namespace.clone());
        ip(&format!("-n {namespace} link set lo up"));
        for network in networks {
            assert!(*network < self.bridges);
            let bridge = &self.namespaces[0];
            let port = format!("p{network}x{last}");
            ip(&format!("-n {namespace} link add eth{network} type veth peer name {port} netns {bridge}"));
            ip(&format!("-n {bridge} link set {port} master br{network} up"));
            ip(&format!("-n {namespace} addr add 10.98.{network}.{last}/24 dev eth{network}"));
            ip(&format!("-n {namespace} link set eth{network} up"));
        }
        Machine { namespace, name: name.to_owned() }
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        for namespace in &self.namespaces {
            let _ = Command::new("ip").args(["netns", "del", namespace]).status();
        }
    }
}

/// A machine of the networks.
#[derive(Clone)]
pub struct Machine {
    pub namespace: String,
    pub name: String,
}

impl Machine {
    /// The command as it runs on this machine. The process is the command's own.
    pub fn command(&self, on: &Command) -> Command {
        self.command_after(on, "true")
    }

    /// The same, with something that a shell does before, in a mount namespace of the command's own.
    fn command_after(&self, on: &Command, before: &str) -> Command {
        let script = format!("hostname {} && {before} && exec \"$0\" \"$@\"", self.name);
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, "unshare", "-mu", "sh", "-ec", &script]);
        command.arg(on.get_program()).args(on.get_args()).env_clear();
        command.envs(on.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", self.bus().display()));
        command.current_dir(on.get_current_dir().unwrap_or(Path::new("/"))).stdin(Stdio::null());
        command
    }

    /// Something about its interfaces or routes, in the words of `ip`.
    pub fn ip(&self, words: &str) {
        ip(&format!("-n {} {words}", self.namespace));
    }

    /// A datagram socket of this machine, bound to this address.
    #[allow(unsafe_code)]
    pub fn socket(&self, address: &str) -> UdpSocket {
        let namespace = fs::File::open(Path::new("/run/netns").join(&self.namespace)).unwrap();
        let address = address.to_owned();
        // A thread can be elsewhere than the rest of the process.
        let made = std::thread::spawn(move || {
            // SAFETY: takes integers only, and changes this thread alone.
            let entered = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
            assert_eq!(entered, 0, "{}", std::io::Error::last_os_error());
            UdpSocket::bind(address).unwrap()
        });
        made.join().unwrap()
    }

    fn bus(&self) -> PathBuf {
        std::env::temp_dir().join(format!("distcc-test-bus-{}", self.namespace))
    }

    /// Avahi on this machine, with a message bus; `None` after a loud word where it is missing: an error in CI.
    pub fn start_avahi(&self, workspace: &Workspace) -> Option<Avahi> {
        let missing: Vec<_> = ["/usr/bin/dbus-daemon", "/usr/sbin/avahi-daemon", "/usr/bin/avahi-browse"]
            .into_iter()
            .filter(|path| !Path::new(path).exists())
            .collect();
        if !missing.is_empty() {
            assert!(std::env::var_os("CI").is_none(), "{missing:?} are missing: run tests/setup.sh test");
            eprintln!("SKIPPED: {missing:?} are missing; run tests/setup.sh test");
            return None;
        }
        let bus = self.bus();
        let config = workspace.path(&format!("bus-{}.conf", self.name));
        fs::write(
            &config,
            format!(
                "<busconfig><type>system</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>\
                 <policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/><allow send_type=\"*\"/>\
                 <allow receive_type=\"*\"/></policy></busconfig>\n",
                bus.display()
            ),
        )
        .unwrap();
        let log = workspace.path(&format!("avahi-{}.log", self.name));
        let start = |command: &mut Command| {
            let file = fs::File::options().create(true).append(true).open(&log).unwrap();
            command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap()
        };
        let mut dbus = workspace.command("/usr/bin/dbus-daemon");
        dbus.arg(format!("--config-file={}", config.display())).args(["--nofork", "--nopidfile"]);
        let dbus = start(&mut self.command(&dbus));
        let mut avahi = Avahi { children: vec![dbus], bus: bus.clone(), log: log.clone() };
        wait_until("the message bus listens", || bus.exists());
        let mut daemon = workspace.command("/usr/sbin/avahi-daemon");
        daemon.args(["--no-drop-root", "--no-rlimits", "--no-chroot"]);
        let own_run = "mount -t tmpfs none /run && mkdir /run/avahi-daemon";
        avahi.children.push(start(&mut self.command_after(&daemon, own_run)));
        wait_until("Avahi serves", || avahi.log().contains("Server startup complete"));
        Some(avahi)
    }
}

/// Ended when dropped.
pub struct Avahi {
    children: Vec<Child>,
    bus: PathBuf,
    log: PathBuf,
}

impl Avahi {
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Avahi {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("Avahi's log:\n{}", self.log());
        }
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_file(&self.bus);
    }
}

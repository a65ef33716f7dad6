//! The include server of one build: its private directory, its start, its end.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::args;
use crate::compiler::{self, Start};
use crate::console;
use crate::scratch::{self, PrivateDir};
use crate::sys::file::{self, pipe};
use crate::sys::process::{self, Pid};
use crate::sys::signal::{self, Signal};
use crate::sys::user::effective_user;

/// Begins the name of a build's directory.
const PREFIX: &str = "distcc-pump.";
/// How long a server may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// A build's include server.
pub struct Server {
    directory: PrivateDir,
    pid: Pid,
    /// Closed with us, however we end: then the server ends, too.
    _alive: Option<OwnedFd>,
}

impl Server {
    /// Starts one that lives as long as this process, and says on our streams what it has to say; or, with `detached`, on
    /// its own, with its words in files.
    ///
    /// # Errors
    /// Lines for standard error.
    pub fn start(detached: bool) -> Result<Server, String> {
        let directory =
            PrivateDir::new(&scratch::directory(), PREFIX).map_err(|e| format!("distcc-pump: {e}\n"))?;
        let socket = directory.path().join("socket");
        let could_not = |why: String| format!("{why}__________Could not start distcc-pump include server\n");
        let pid_file = directory.path().join("pid");
        let words = words(&socket, &pid_file, detached).map_err(could_not)?;
        let io_failed = |e: io::Error| could_not(format!("distcc-pump: {e}\n"));
        let create = |name: &str| File::create(directory.path().join(name)).map_err(io_failed);
        let files = match detached {
            true => Some([create("stdout")?, create("stderr")?]),
            false => None,
        };
        let (read, write) = pipe().map_err(io_failed)?;
        let null = file::null().map_err(io_failed)?;
        let stdio = match &files {
            Some([out, err]) => [Some(null.as_fd()), Some(out.as_fd()), Some(err.as_fd())],
            None => [Some(read.as_fd()), None, None],
        };
        let status = run_self(&words, stdio).map_err(io_failed)?;
        if let Some(pid) = read_pid(&pid_file).filter(|_| is_socket(&socket) && status.success()) {
            let alive = (!detached).then_some(write);
            return Ok(Server { directory, pid, _alive: alive });
        }
        let mut said = fs::read_to_string(directory.path().join("stderr")).unwrap_or_default();
        if status.success() {
            said.push_str(&format!("__________Expected a socket at '{}'\n", socket.display()));
        }
        Err(could_not(said))
    }

    /// The one that the environment of `pump --shutdown` speaks of; `None` if there is none.
    pub fn from_env() -> Option<Running> {
        let directory = PathBuf::from(env::var_os("INCLUDE_SERVER_DIR")?);
        let metadata = fs::symlink_metadata(&directory).ok()?;
        // It is going to be removed: only what a pump of this user has made.
        let is_ours = metadata.is_dir()
            && metadata.uid() == effective_user()
            && directory.file_name()?.to_str()?.starts_with(PREFIX);
        let pid = env::var("INCLUDE_SERVER_PID").ok().and_then(|text| text.trim().parse().ok());
        is_ours.then(|| Running { pid: pid.and_then(Pid::from_number), directory })
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Leaves it running.
    pub fn leave(mut self) {
        self.directory.keep();
    }

    /// What is to be ended.
    pub fn running(self) -> Running {
        let Server { mut directory, pid, _alive } = self;
        directory.keep();
        Running { pid: Some(pid), directory: directory.path().to_owned() }
    }
}

/// A server that is to be ended, and its directory.
pub struct Running {
    pid: Option<Pid>,
    directory: PathBuf,
}

impl Running {
    /// How many compiles failed on servers only.
    pub fn discrepancies(&self) -> u64 {
        fs::metadata(self.directory.join("discrepancy_counter")).map_or(0, |metadata| metadata.len())
    }

    /// Ends it, repeats what it said, and removes its directory.
    pub fn end(self) {
        if let Some(pid) = self.pid.filter(|pid| self.is_alive(*pid)) {
            let _ = pid.kill(Signal::TERM);
            let began = Instant::now();
            while self.is_alive(pid) {
                if began.elapsed() > PATIENCE {
                    let _ = pid.kill(Signal::KILL);
                }
                signal::nap(Duration::from_millis(1));
            }
        }
        if let Ok(said) = fs::read(self.directory.join("stdout")) {
            console::out_bytes(&said);
        }
        if let Ok(said) = fs::read_to_string(self.directory.join("stderr")) {
            console::err(format_args!("{said}"));
        }
        if let Err(e) = scratch::remove_tree(&self.directory) {
            console::err(format_args!("distcc-pump: cannot remove {}: {e}\n", self.directory.display()));
        }
    }

    /// Whether the process is there and our server: numbers are used again.
    fn is_alive(&self, pid: Pid) -> bool {
        use std::os::unix::ffi::OsStrExt;

        let words = fs::read(format!("/proc/{}/cmdline", pid.number())).unwrap_or_default();
        let socket = self.directory.join("socket");
        words.split(|byte| *byte == 0).any(|word| word == socket.as_os_str().as_bytes())
    }
}

/// The words of the server's command.
fn words(socket: &Path, pid_file: &Path, detached: bool) -> Result<Vec<OsString>, String> {
    let mut words: Vec<OsString> = vec!["include_server".into()];
    words.extend([OsStr::new("--port"), socket.as_os_str()].map(OsStr::to_owned));
    words.extend([OsStr::new("--pid_file"), pid_file.as_os_str()].map(OsStr::to_owned));
    words.push("-d1".into());
    if !detached {
        words.push("--until-eof".into());
    }
    if let Some(more) = env::var_os("INCLUDE_SERVER_ARGS").filter(|more| !more.is_empty()) {
        let text = more.as_encoded_bytes();
        let is_plain =
            !text.iter().any(|byte| matches!(byte, b'$' | b'`' | b';' | b'|' | b'&' | b'<' | b'>'));
        let more_words = is_plain.then(|| args::split_words(text)).flatten().ok_or_else(|| {
            format!(
                "distcc-pump: INCLUDE_SERVER_ARGS is \"{}\": only words and quotes are understood\n",
                args::printable(&more)
            )
        })?;
        words.extend(more_words);
    }
    Ok(words)
}

/// Runs this program under the name `words[0]` to its end.
fn run_self(words: &[OsString], stdio: [Option<BorrowedFd>; 3]) -> io::Result<process::WaitStatus> {
    let start = Start { stdio, ..Start::default() };
    let pid = compiler::spawn(Path::new("/proc/self/exe"), words, &compiler::environment(&[]), &start)?;
    loop {
        match process::wait(pid) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn read_pid(file: &Path) -> Option<Pid> {
    let text = fs::read_to_string(file).ok()?;
    Pid::from_number(text.trim().parse().ok()?)
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

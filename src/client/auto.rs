//! The user's own include server, for clients that nobody has started one for: the first that needs it starts it, and it ends
//! by itself when nobody has asked for a while.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::include_server::{Compile, own};
use crate::closure::Closure;
use crate::compiler::{self, Start};
use crate::sys::file;
use crate::sys::lock::{Range, wait_lock};
use crate::sys::process;
use crate::topdir::{TopDir, own_socket};
use crate::waiting::{Interrupted, retry};

/// How long it stays without a question, in seconds, if `DISTCC_INCLUDE_SERVER_IDLE` does not say: a pause in somebody's work.
const IDLE: &str = "900";

/// Its socket for all clients, if there is a place for it.
pub fn port(top: &TopDir) -> io::Result<PathBuf> {
    Ok(top.include_server_dir()?.join("socket"))
}

/// Whether it is there.
pub fn is_running(top: &TopDir) -> bool {
    port(top).is_ok_and(|port| UnixStream::connect(own_socket(&port)).is_ok())
}

/// Asks it about this compile; a reason if there is no answer to use.
pub fn ask(top: &TopDir, compile: &Compile) -> Result<Result<Closure, String>, Interrupted> {
    let cannot = |e: io::Error| format!("the include server cannot be started: {e}");
    let port = match port(top) {
        Ok(port) => port,
        Err(e) => return Ok(Err(cannot(e))),
    };
    let socket = own_socket(&port);
    let mut stream = retry(|| UnixStream::connect(&socket))?;
    // One that was about to end has gone without an answer: then there is another one.
    for _ in 0..2 {
        let connected = match stream {
            Ok(connected) => connected,
            Err(_) => match start(&port, &socket)? {
                Ok(connected) => connected,
                Err(e) => return Ok(Err(cannot(e))),
            },
        };
        match own::inquire(&connected, compile)? {
            Ok(answer) => return Ok(answer),
            Err(e) => stream = Err(e),
        }
    }
    Ok(Err("the include server ended while it was asked about this source".to_owned()))
}

/// Starts it, unless somebody else does.
fn start(port: &Path, socket: &Path) -> Result<io::Result<UnixStream>, Interrupted> {
    let beside = |name: &str| port.with_file_name(name);
    // One client at a time: the others find it running.
    let lock = match File::options().write(true).create(true).truncate(false).open(beside("starting")) {
        Ok(lock) => lock,
        Err(e) => return Ok(Err(e)),
    };
    if let Err(e) = retry(|| wait_lock(&lock, Range::Whole))? {
        return Ok(Err(e));
    }
    if let Ok(connected) = retry(|| UnixStream::connect(socket))? {
        return Ok(Ok(connected));
    }
    match run(port, &beside("lock"))? {
        Ok(()) => retry(|| UnixStream::connect(socket)),
        Err(e) => Ok(Err(e)),
    }
}

fn run(port: &Path, lock: &Path) -> Result<io::Result<()>, Interrupted> {
    let idle = std::env::var_os("DISTCC_INCLUDE_SERVER_IDLE").unwrap_or_else(|| IDLE.into());
    let words: [&OsStr; 8] = [
        "include_server".as_ref(),
        "--port".as_ref(),
        port.as_os_str(),
        "--lock".as_ref(),
        lock.as_os_str(),
        "--idle-timeout".as_ref(),
        &idle,
        "-d0".as_ref(),
    ];
    let words: Vec<OsString> = words.map(OsStr::to_owned).to_vec();
    let null = match file::null() {
        Ok(null) => null,
        Err(e) => return Ok(Err(e)),
    };
    let start = Start { stdio: [Some(null.as_fd()); 3], ..Start::default() };
    let environment = compiler::environment(&[]);
    let pid = match compiler::spawn(Path::new("/proc/self/exe"), &words, &environment, &start) {
        Ok(pid) => pid,
        Err(e) => return Ok(Err(e)),
    };
    // It ends as soon as its child listens.
    Ok(match retry(|| process::wait(pid))? {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(io::Error::other("it could not begin (include_server --port says why)")),
        Err(e) => Err(e),
    })
}

//! The service manager, where one has started the daemon: sockets that it passes (sd_listen_fds(3)) and what it wants
//! to be told (sd_notify(3)). Both are a few environment variables, and need no library.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::args::printable;
use crate::sys::process::{self, Pid};
use crate::sys::socket;

/// More sockets than anybody passes.
pub const MAX_LISTENERS: usize = 32;

/// The listening sockets that were passed to this process; none where none were.
///
/// # Errors
/// Says what was passed that cannot be used.
pub fn passed_listeners() -> io::Result<Vec<TcpListener>> {
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<i32>().ok());
    // Variables that were meant for a process before us, and are still there, mean nothing.
    if number("LISTEN_PID") != Some(Pid::current().number()) {
        return Ok(Vec::new());
    }
    let count = number("LISTEN_FDS").and_then(|count| u16::try_from(count).ok()).unwrap_or(0);
    if usize::from(count) > MAX_LISTENERS {
        return Err(io::Error::other(format!("{count} sockets (LISTEN_FDS) are more than {MAX_LISTENERS}")));
    }
    socket::passed_listeners(count)
}

/// Whom to tell what the daemon does; nobody, mostly.
#[derive(Debug, Default)]
pub struct Manager {
    socket: Option<UnixDatagram>,
}

impl Manager {
    /// The one that `NOTIFY_SOCKET` names. What is wrong with it is worth a line, but no reason not to serve.
    pub fn from_env() -> Manager {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Manager::default();
        };
        match connect(&name) {
            Ok(socket) => Manager { socket: Some(socket) },
            Err(e) => {
                log::warn!("cannot tell the service manager (NOTIFY_SOCKET {}): {e}", printable(&name));
                Manager::default()
            }
        }
    }

    /// The daemon serves.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// It looks at its files anew; [`Manager::ready`] follows.
    pub fn reloading(&self) {
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", process::monotonic_micros()));
    }

    /// It finishes what it has, and ends.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, state: &str) {
        if let Some(Err(e)) = self.socket.as_ref().map(|socket| socket.send(state.as_bytes())) {
            log::warn!("cannot tell the service manager {state:?}: {e}");
        }
    }
}

/// A name that begins with `@` is one outside the file system.
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    // A manager that does not read must not hold up the daemon.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

//! The sockets that the daemon listens on: its own, or those that a service manager passes.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;

use mio::net::TcpListener;

use super::{Failure, manager};
use crate::daemon::options::Options;
use crate::environment;
use crate::exitcode::ExitCode;
use crate::logging::NOTICE;
use crate::sys::socket;

/// The sockets for jobs. What a service manager passes replaces `--listen` and `--port`.
pub fn for_jobs(options: &Options) -> Result<Vec<TcpListener>, Failure> {
    let passed = manager::passed_listeners()
        .map_err(|e| (ExitCode::BindFailed, format!("cannot use a socket of the service manager: {e}")))?;
    if !passed.is_empty() {
        log::info!(target: NOTICE, "the service manager has passed the sockets; --listen and --port do not count");
    }
    let mut listeners = Vec::new();
    for listener in passed {
        let address = listener.local_addr().map_err(|e| (ExitCode::BindFailed, e.to_string()))?;
        announce("listening", address);
        listeners.push(TcpListener::from_std(listener));
    }
    if listeners.is_empty() {
        listeners.push(bind(options, options.port, "listening")?);
    }
    // As in stock: who connects and says nothing costs a worker nothing, for a while.
    if environment::switch("DISTCC_TCP_DEFER_ACCEPT", true) {
        for listener in &listeners {
            if let Err(e) = socket::defer_accept(listener.as_fd()) {
                log::warn!("cannot have the kernel wait for the first bytes of connections: {e}");
            }
        }
    }
    Ok(listeners)
}

/// One socket of our own; `what` is how the log's line about it begins.
pub fn bind(options: &Options, port: u16, what: &str) -> Result<TcpListener, Failure> {
    let bad = |reason: String| (ExitCode::BindFailed, reason);
    let mut failure = None;
    for address in addresses(options, port).map_err(bad)? {
        match TcpListener::bind(address).and_then(|listener| Ok((listener.local_addr()?, listener))) {
            Ok((address, listener)) => {
                announce(what, address);
                return Ok(listener);
            }
            Err(e) => failure = Some(format!("bind of {}:{} failed: {e}", address.ip(), address.port())),
        }
    }
    Err(bad(failure.unwrap_or_else(|| "there is no address to listen on".to_owned())))
}

fn announce(what: &str, address: SocketAddr) {
    log::info!(target: NOTICE, "{what} on {}:{}", address.ip(), address.port());
}

/// The addresses to bind for this port, best first: every address of this machine through one dual-stack socket where
/// there is IPv6.
fn addresses(options: &Options, port: u16) -> Result<Vec<SocketAddr>, String> {
    let Some(name) = &options.listen else {
        return Ok(vec![(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()]);
    };
    let found = (name.trim_start_matches('[').trim_end_matches(']'), port).to_socket_addrs();
    found.map(Iterator::collect).map_err(|e| format!("--listen {name}: {e}"))
}

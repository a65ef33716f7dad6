//! Connecting to a server's TCP port: its name, its addresses in turn, each with a deadline.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use super::remote::{Failure, HostFailure};
use crate::background::Mailbox;
use crate::sys::file::{Readiness, wait_ready};
use crate::sys::socket::{keep_alive, receive_at_least};
use crate::sys::thread;
use crate::waiting::{self, Interrupted, retry};

/// How long the look-up of a name may take.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(10);

/// The addresses of a host. The resolver cannot be interrupted, so it runs in a thread that is left alone when the user
/// or the clock says so.
fn look_up(name: String, port: u16) -> Result<io::Result<Vec<SocketAddr>>, Interrupted> {
    let found = Mailbox::new();
    let answer = Arc::clone(&found);
    let ask = move || answer.put((name.as_str(), port).to_socket_addrs().map(Iterator::collect));
    if let Err(e) = thread::start(Box::new(ask)) {
        return Ok(Err(e));
    }
    let deadline = Instant::now() + LOOK_UP_TIMEOUT;
    loop {
        let now = Instant::now();
        match found.take(now + Duration::from_millis(20)).pop() {
            Some(addresses) => return Ok(addresses),
            None if now < deadline => waiting::check()?,
            None => return Ok(Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

/// How long one address may take to accept a connection (as in stock).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

// A server that has vanished is noticed after half a minute, and a lost packet or a short overload is no reason to give
// one up.
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_PROBES: u32 = 3;

/// A TCP connection being made, or made.
#[derive(Debug)]
pub struct Tcp {
    /// Non-blocking.
    pub stream: TcpStream,
    address: SocketAddr,
    /// Where to go if this address does not answer.
    others: Vec<SocketAddr>,
    deadline: Instant,
    /// How many bytes end a wait to read.
    gathered: usize,
    /// It takes more than a moment until so many are there.
    is_slow: bool,
}

/// Bytes that a wait is for: more than what most networks bring in a millisecond.
const GATHERED: usize = 192 * 1024;

impl Tcp {
    /// Starts connecting and returns at once, unless the name has to be looked up.
    pub fn start(name: &str, port: u16) -> Result<Tcp, Failure> {
        let mut addresses: Vec<SocketAddr> = match name.parse() {
            Ok(ip) => vec![SocketAddr::new(ip, port)],
            Err(_) => look_up(name.to_owned(), port)?.map_err(HostFailure::Resolve)?,
        };
        addresses.reverse();
        let mut last = HostFailure::Resolve(io::ErrorKind::NotFound.into());
        while let Some(address) = addresses.pop() {
            match TcpStream::connect(address) {
                Ok(stream) => {
                    let deadline = Instant::now() + CONNECT_TIMEOUT;
                    let others = addresses;
                    return Ok(Tcp { stream, address, others, deadline, gathered: 1, is_slow: false });
                }
                Err(e) => last = HostFailure::Connect(address, e),
            }
        }
        Err(last.into())
    }

    /// Waits until the connection stands, trying the other addresses in turn.
    pub fn finish(&mut self) -> Result<(), Failure> {
        loop {
            let failure = match self.finish_address()? {
                Ok(()) => {
                    // The whole request is written at once, so there is nothing to gain from waiting for
                    // more.
                    let _ = self.stream.set_nodelay(true);
                    return Ok(());
                }
                Err(e) => HostFailure::Connect(self.address, e),
            };
            loop {
                let Some(address) = self.others.pop() else { return Err(failure.into()) };
                if let Ok(stream) = TcpStream::connect(address) {
                    (self.stream, self.address) = (stream, address);
                    self.deadline = Instant::now() + CONNECT_TIMEOUT;
                    break;
                }
            }
        }
    }

    fn finish_address(&self) -> Result<io::Result<()>, Interrupted> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        Ok(match retry(|| wait_ready(self.stream.as_fd(), Readiness::Write, left))? {
            Ok(false) => Err(io::ErrorKind::TimedOut.into()),
            Err(e) => Err(e),
            Ok(true) => match self.stream.take_error() {
                Ok(Some(e)) | Err(e) => Err(e),
                Ok(None) => Ok(()),
            },
        })
    }

    /// Lets waits to read last until there are `count` bytes, or as many as make sense.
    pub fn gather(&mut self, count: usize) {
        let count = if self.is_slow { 1 } else { count.clamp(1, GATHERED) };
        if count != self.gathered {
            let _ = receive_at_least(self.stream.as_fd(), count);
            self.gathered = count;
        }
    }

    /// A server may compile for minutes without a word; one that has lost its power is silent for longer. Without this it
    /// would be noticed at the end of the time-out.
    pub fn expect_silence(&mut self) {
        if self.gathered > 1 {
            self.is_slow = true;
            self.gather(1);
        }
        let _ = keep_alive(self.stream.as_fd(), KEEP_ALIVE_IDLE, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_PROBES);
    }
}

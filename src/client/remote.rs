//! One job on one server: connect, send, receive. Every wait has a deadline.

use std::fmt;
use std::io::{self, Read};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use crate::backoff::Blame;
use crate::client::gather::Gather;
use crate::exitcode::ExitCode;
use crate::hosts::{Host, Place};
use crate::sys::file::{Readiness, wait_ready};
use crate::sys::process::WaitStatus;
use crate::sys::socket::keep_alive;
use crate::waiting::{self, Interrupted, retry};
use crate::wire::lzo::{self, Encoder};
use crate::wire::reply::{Decoder, Event, Part};
use crate::wire::{self, Version, limits, request};

/// What a server answered.
#[derive(Debug, Default)]
pub struct Reply {
    /// How the compiler ended there.
    pub status: Option<WaitStatus>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// The object.
    pub object: Vec<u8>,
    /// The dependency file; empty unless the server preprocesses.
    pub dependencies: Vec<u8>,
}

/// Why a job was not done by a host. Each blames the host, not the source.
#[derive(Debug)]
pub enum HostFailure {
    /// Its name has no address.
    Resolve(io::Error),
    /// No connection; with the last address tried.
    Connect(SocketAddr, io::Error),
    /// The connection broke while sending or receiving.
    Broken(io::Error),
    /// Nothing came or went for so long.
    Silent(Duration),
    /// It closed without a byte of an answer.
    NoAnswer,
    /// Its answer is not the protocol.
    Protocol(wire::Error),
    /// It reported success and returned nothing.
    NoObject,
    /// It answered with a status that speaks of itself, that it does not do the job; with its words.
    Refused(i32, String),
    /// The source is larger than the protocol carries.
    TooLarge(usize),
    /// The files of the source cannot be sent.
    Unsendable(io::Error),
    /// Its kind is not supported by this client.
    Unsupported(&'static str),
}

impl fmt::Display for HostFailure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            HostFailure::Resolve(e) => write!(f, "its name cannot be resolved: {e}"),
            HostFailure::Connect(address, e) => write!(f, "cannot connect to {address}: {e}"),
            HostFailure::Broken(e) => write!(f, "the connection broke: {e}"),
            HostFailure::Silent(time) => write!(f, "it was silent for {} s", time.as_secs()),
            HostFailure::NoAnswer => write!(
                f,
                "it closed the connection without an answer; its log tells why (is this machine allowed, the compiler installed?)"
            ),
            HostFailure::Protocol(e) => write!(f, "its answer makes no sense: {e}"),
            HostFailure::NoObject => write!(f, "it reported success and returned an empty object"),
            HostFailure::Refused(code, words) => write!(f, "it refused the job: {words} (exit code {code})"),
            HostFailure::TooLarge(len) => write!(f, "{len} bytes of source are more than a job can carry"),
            HostFailure::Unsendable(e) => write!(f, "the source's files cannot be sent: {e}"),
            HostFailure::Unsupported(what) => f.write_str(what),
        }
    }
}

impl HostFailure {
    /// What is to be left alone after this.
    pub fn blame(&self) -> Blame {
        const NO_COMPILER: i32 = ExitCode::CompilerMissing as i32;
        const NOT_ALLOWED: i32 = ExitCode::AccessDenied as i32;
        const BAD_OPTION: i32 = ExitCode::BadArguments as i32;
        const TOO_LONG: i32 = ExitCode::Timeout as i32;
        match self {
            HostFailure::NoObject | HostFailure::Refused(NO_COMPILER | NOT_ALLOWED, _) => Blame::Compiler,
            HostFailure::TooLarge(_)
            | HostFailure::Unsendable(_)
            | HostFailure::Refused(BAD_OPTION | TOO_LONG, _) => Blame::Job,
            _ => Blame::Host,
        }
    }
}

/// A failure of one attempt.
#[derive(Debug)]
pub enum Failure {
    /// The host's.
    Host(HostFailure),
    /// The user wants us to end.
    Interrupted(Interrupted),
}

impl From<HostFailure> for Failure {
    fn from(failure: HostFailure) -> Failure {
        Failure::Host(failure)
    }
}

impl From<Interrupted> for Failure {
    fn from(interrupted: Interrupted) -> Failure {
        Failure::Interrupted(interrupted)
    }
}

/// How long the look-up of a name may take.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(10);

/// The addresses of a host. The resolver cannot be interrupted, so it runs in a thread that is left alone when the user
/// or the clock says so.
fn look_up(name: String, port: u16) -> Result<io::Result<Vec<SocketAddr>>, Interrupted> {
    let (sender, found) = mpsc::channel();
    std::thread::spawn(move || sender.send((name.as_str(), port).to_socket_addrs().map(Iterator::collect)));
    let deadline = Instant::now() + LOOK_UP_TIMEOUT;
    loop {
        match found.recv_timeout(Duration::from_millis(20)) {
            Ok(addresses) => return Ok(addresses),
            Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => waiting::check()?,
            Err(_) => return Ok(Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

/// How long one address may take to accept a connection (as in stock).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// Most answers come within this time; what only long waits need is set up after it.
const SHORT_WAIT: Duration = Duration::from_secs(1);

// A server that has vanished is noticed after half a minute, and a lost packet or a short overload is no reason to give
// one up.
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_PROBES: u32 = 3;

/// A connection being made, or made.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    address: SocketAddr,
    /// Where to go if this address does not answer.
    others: Vec<SocketAddr>,
    deadline: Instant,
    io_timeout: Duration,
}

impl Connection {
    /// Starts connecting to `host` and returns at once, unless its name has to be looked up. `io_timeout` is
    /// for later.
    pub fn start(host: &Host, io_timeout: Duration) -> Result<Connection, Failure> {
        let Place::Tcp { name, port } = &host.place else {
            return Err(HostFailure::Unsupported(
                "ssh hosts are not supported yet; start a server there and name HOST:PORT",
            )
            .into());
        };
        let mut addresses: Vec<SocketAddr> = match name.parse() {
            Ok(ip) => vec![SocketAddr::new(ip, *port)],
            Err(_) => look_up(name.clone(), *port)?.map_err(HostFailure::Resolve)?,
        };
        addresses.reverse();
        let mut last = HostFailure::Resolve(io::ErrorKind::NotFound.into());
        while let Some(address) = addresses.pop() {
            match TcpStream::connect(address) {
                Ok(stream) => {
                    let deadline = Instant::now() + CONNECT_TIMEOUT;
                    return Ok(Connection { stream, address, others: addresses, deadline, io_timeout });
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

    /// Sends a whole request. `source` is compressed on the way if the version says so.
    ///
    /// A server may answer and close before it has read everything: if sending fails, the answer is still
    /// worth reading.
    pub fn send(&mut self, version: Version, argv: &[Vec<u8>], source: &[u8]) -> Result<(), Failure> {
        if source.len() > limits::BODY as usize {
            return Err(HostFailure::TooLarge(source.len()).into());
        }
        let mut head = Vec::with_capacity(1024);
        request::encode_head(version, argv, source.len() as u32, &mut head);
        if !version.compressed() {
            return self.send_gathered(Gather::new(head, source));
        }
        let start = head.len();
        head.reserve(lzo::max_compressed_len(source.len()));
        Encoder::new().compress(source, &mut head);
        let compressed = head.len() - start;
        if compressed > limits::BODY as usize {
            return Err(HostFailure::TooLarge(compressed).into());
        }
        request::patch_source_len(&mut head[..start], compressed as u32);
        self.send_gathered(Gather::new(head, &[]))
    }

    /// Sends a request whatever its pieces.
    pub fn send_gathered(&mut self, mut request: Gather) -> Result<(), Failure> {
        while let Some(written) = request.step(&mut self.stream) {
            if let Err(e) = written {
                self.wait_or_fail(e, Readiness::Write)?;
            }
        }
        Ok(())
    }

    /// Receives the reply. `begun` is called when its first byte is here.
    pub fn receive(&mut self, version: Version, begun: impl FnOnce()) -> Result<Reply, Failure> {
        let mut reply = Reply::default();
        let mut decoder = Decoder::new(version);
        let mut buffer = vec![0; 64 * 1024];
        let mut begun = Some(begun);
        loop {
            let count = match self.stream.read(&mut buffer) {
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset && decoder.is_untouched() => 0,
                Err(e) => {
                    self.wait_or_fail(e, Readiness::Read)?;
                    continue;
                }
            };
            if count == 0 {
                if decoder.may_end_here() {
                    return Ok(reply);
                }
                return Err(match decoder.is_untouched() {
                    true => HostFailure::NoAnswer,
                    false => HostFailure::Protocol(decoder.truncated()),
                }
                .into());
            }
            if let Some(begun) = begun.take() {
                begun();
            }
            let mut input = &buffer[..count];
            while let Some(event) = decoder.next(&mut input).map_err(HostFailure::Protocol)? {
                if reply.take(version, event).map_err(HostFailure::Protocol)? {
                    return Ok(reply);
                }
            }
        }
    }

    /// After a call that did not succeed at once: waits until it can be repeated.
    fn wait_or_fail(&self, error: io::Error, readiness: Readiness) -> Result<(), Failure> {
        match error.kind() {
            io::ErrorKind::Interrupted => return waiting::check().map_err(Failure::from),
            io::ErrorKind::WouldBlock => {}
            _ => return Err(HostFailure::Broken(error).into()),
        }
        let mut left = self.io_timeout;
        if left > SHORT_WAIT {
            match retry(|| wait_ready(self.stream.as_fd(), readiness, SHORT_WAIT))? {
                Ok(true) => return Ok(()),
                Ok(false) => left -= SHORT_WAIT,
                Err(e) => return Err(HostFailure::Broken(e).into()),
            }
            // A server may compile for minutes without a word; one that has lost its power is silent for longer. Without
            // this it would be noticed at the end of the time-out.
            let _ = keep_alive(self.stream.as_fd(), KEEP_ALIVE_IDLE, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_PROBES);
        }
        match retry(|| wait_ready(self.stream.as_fd(), readiness, left))? {
            Ok(true) => Ok(()),
            Ok(false) => Err(HostFailure::Silent(self.io_timeout).into()),
            Err(e) => Err(HostFailure::Broken(e).into()),
        }
    }
}

impl Reply {
    /// Takes one event; true when the reply is complete.
    fn take(&mut self, version: Version, event: Event) -> Result<bool, wire::Error> {
        match event {
            Event::Status(status) => self.status = Some(WaitStatus::from_raw(status)),
            Event::PartStart(..) => {}
            // Bodies come in order, so the one that has begun is the first that has not ended.
            Event::Bytes(part, bytes) => self.part(part).extend_from_slice(bytes),
            Event::PartEnd(part) if version.compressed() => {
                let compressed = std::mem::take(self.part(part));
                lzo::decompress(&compressed, self.part(part), limits::BODY as usize)
                    .map_err(|error| wire::Error::Lzo { token: part.token(), error })?;
            }
            Event::PartEnd(_) => {}
            Event::End => return Ok(true),
        }
        Ok(false)
    }

    fn part(&mut self, part: Part) -> &mut Vec<u8> {
        match part {
            Part::Stderr => &mut self.stderr,
            Part::Stdout => &mut self.stdout,
            Part::Object => &mut self.object,
            Part::Dependencies => &mut self.dependencies,
        }
    }

    /// A reply whose status speaks of the server itself is a refusal; its text says why.
    pub fn refusal(&self) -> Option<HostFailure> {
        let code = self.status?.code()?;
        if !ExitCode::OWN.contains(&code) {
            return None;
        }
        let text = String::from_utf8_lossy(&self.stderr);
        let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("no reason given").trim();
        Some(HostFailure::Refused(code, line.to_owned()))
    }
}

//! One job on one server: connect, send, receive. Every wait has a deadline.

use std::fmt;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::link::Link;
use super::reply::{Incoming, Reply, Target};
use crate::backoff::Blame;
use crate::client::gather::Gather;
use crate::exitcode::ExitCode;
use crate::hosts::Host;
use crate::object::Difference;
use crate::sys::file::prefer_large_pages;
use crate::waiting::{self, Interrupted, retry};
use crate::wire::lzo::{self, Encoder};
use crate::wire::reply::Decoder;
use crate::wire::{self, Version, limits, probe, request};

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
    /// Its compiler is another one than ours.
    OtherCompiler(Difference),
    /// The source is larger than the protocol carries.
    TooLarge(usize),
    /// The files of the source cannot be sent.
    Unsendable(io::Error),
    /// ssh, or what it started there, ended without an answer; with all that there is to say.
    Ssh(String),
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
            HostFailure::OtherCompiler(difference) => difference.fmt(f),
            HostFailure::TooLarge(len) => write!(f, "{len} bytes of source are more than a job can carry"),
            HostFailure::Unsendable(e) => write!(f, "the source's files cannot be sent: {e}"),
            HostFailure::Ssh(words) => f.write_str(words),
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
            HostFailure::NoObject
            | HostFailure::OtherCompiler(_)
            | HostFailure::Refused(NO_COMPILER | NOT_ALLOWED, _) => Blame::Compiler,
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

/// Most answers come within this time; what only long waits need is set up after it.
const SHORT_WAIT: Duration = Duration::from_secs(1);

/// What a server may answer before it has read the whole request, in bytes. Refusals are short; what exceeds this waits
/// until all is sent.
const EARLY_ANSWER: usize = 1 << 20;

/// Bytes that are received at a time. Most replies fit into the first, whose pages cost more than a call; large ones
/// stay in the processor's cache until they are where they belong, and a few more calls cost less than more pages.
const RECEIVED_FIRST: usize = 16 * 1024;
const RECEIVED: usize = 64 * 1024;
/// From so many bytes on that are to come it pays to wait for more than the next ones.
const WORTH_WAITING: usize = 64 * 1024;

/// A connection being made, or made.
#[derive(Debug)]
pub struct Connection {
    link: Link,
    io_timeout: Duration,
    /// Bytes of the answer that came while the request was being sent.
    early: Vec<u8>,
}

impl Connection {
    /// Starts connecting to `host` and returns at once, unless its name has to be looked up. `io_timeout` is
    /// for later.
    pub fn start(host: &Host, io_timeout: Duration) -> Result<Connection, Failure> {
        Ok(Connection { link: Link::start(host)?, io_timeout, early: Vec::new() })
    }

    /// Waits until the connection stands, trying the other addresses in turn.
    pub fn finish(&mut self) -> Result<(), Failure> {
        self.link.finish()
    }

    /// Sends a whole request of the plain protocol, whose source is all of `file`, of `len` bytes.
    pub fn send_file(&mut self, argv: &[Vec<u8>], file: &File, len: u64) -> Result<(), Failure> {
        let Ok(short) = u32::try_from(len) else { return Err(HostFailure::TooLarge(len as usize).into()) };
        let mut head = Vec::with_capacity(1024);
        request::encode_head(Version::Plain, argv, short, &mut head);
        self.send_gathered(Gather::with_file(head, file, len as usize))
    }

    /// Sends a whole request whose source is compressed already.
    pub fn send_stream(&mut self, version: Version, argv: &[Vec<u8>], stream: &[u8]) -> Result<(), Failure> {
        if stream.len() > limits::BODY as usize {
            return Err(HostFailure::TooLarge(stream.len()).into());
        }
        let mut head = Vec::with_capacity(1024);
        request::encode_head(version, argv, stream.len() as u32, &mut head);
        self.send_gathered(Gather::new(head, stream))
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
        prefer_large_pages(head.spare_capacity_mut());
        Encoder::new().compress(source, &mut head);
        let compressed = head.len() - start;
        if compressed > limits::BODY as usize {
            return Err(HostFailure::TooLarge(compressed).into());
        }
        request::patch_source_len(&mut head[..start], compressed as u32);
        self.send_gathered(Gather::new(head, &[]))
    }

    /// Sends a request as it is and reads the start of what comes back, at most [`probe::START`] bytes.
    pub fn ask(&mut self, request: &[u8]) -> Result<Vec<u8>, Failure> {
        // A server that does not know the protocol closes without reading on.
        if let Err(Failure::Interrupted(interrupted)) = self.send_gathered(Gather::new(request.to_vec(), &[]))
        {
            return Err(interrupted.into());
        }
        let mut start = std::mem::take(&mut self.early);
        let mut buffer = [0; probe::START];
        while start.len() < probe::START {
            match self.link.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => start.extend_from_slice(&buffer[..count]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => drop(self.wait(true, false)?),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => waiting::check()?,
                Err(_) => break,
            }
        }
        start.truncate(probe::START);
        Ok(start)
    }

    /// Sends a request whatever its pieces.
    ///
    /// Reads what comes meanwhile: a peer that first wants to get rid of its answer is no reason to stand still.
    pub fn send_gathered(&mut self, mut request: Gather) -> Result<(), Failure> {
        self.link.expect(request.left());
        while let Some(written) = request.step(&mut self.link) {
            if let Err(e) = written {
                self.check(e)?;
                let listening = self.early.len() < EARLY_ANSWER;
                if self.wait(listening, true)? {
                    self.read_early()?;
                }
            }
        }
        Ok(())
    }

    fn read_early(&mut self) -> Result<(), Failure> {
        let mut buffer = [0; 4096];
        match self.link.read(&mut buffer) {
            Ok(0) => Err(self.explained(HostFailure::Broken(io::ErrorKind::UnexpectedEof.into()))),
            Ok(count) => {
                self.early.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(e) => self.check(e),
        }
    }

    /// Receives the reply; an object for `target` goes there if it is large. `begun` is called when the first byte is here.
    pub fn receive(
        &mut self,
        version: Version,
        target: Option<Target>,
        begun: impl FnOnce(),
    ) -> Result<Reply, Failure> {
        let mut incoming = Incoming::new(version, target);
        let mut decoder = Decoder::new(version);
        let early = std::mem::take(&mut self.early);
        let mut count = early.len();
        let mut buffer = vec![0; count.max(RECEIVED_FIRST)];
        buffer[..count].copy_from_slice(&early);
        let mut begun = Some(begun);
        if count == 0 {
            // A compiler takes its time: reading at once would be in vain.
            self.wait(true, false)?;
        }
        loop {
            if count == 0 {
                count = match self.link.read(&mut buffer) {
                    Ok(0) if decoder.may_end_here() => return Ok(incoming.reply),
                    Ok(0) => return Err(self.ended(&decoder)),
                    Ok(count) => count,
                    Err(e) if e.kind() == io::ErrorKind::ConnectionReset && decoder.is_untouched() => {
                        return Err(self.ended(&decoder));
                    }
                    Err(e) => {
                        self.check(e)?;
                        self.wait(true, false)?;
                        continue;
                    }
                };
            }
            if let Some(begun) = begun.take() {
                begun();
            }
            let mut input = &buffer[..count];
            while let Some(event) = decoder.next(&mut input).map_err(HostFailure::Protocol)? {
                if incoming.take(event).map_err(HostFailure::Protocol)? {
                    self.link.end();
                    return Ok(incoming.reply);
                }
            }
            let is_all = count < buffer.len();
            count = 0;
            let left = decoder.left();
            if left >= WORTH_WAITING && buffer.len() < RECEIVED {
                buffer = vec![0; RECEIVED];
            }
            if is_all && buffer.len() >= RECEIVED {
                self.link.gather(left);
                self.wait(true, false)?;
            }
        }
    }

    fn ended(&mut self, decoder: &Decoder) -> Failure {
        self.explained(match decoder.is_untouched() {
            true => HostFailure::NoAnswer,
            false => HostFailure::Protocol(decoder.truncated()),
        })
    }

    /// What the link itself knows about an end without an answer goes before what we can guess.
    fn explained(&mut self, failure: HostFailure) -> Failure {
        self.link.last_words().map_or(failure, HostFailure::Ssh).into()
    }

    /// After a call that did not succeed at once: fails unless it can be repeated.
    fn check(&mut self, error: io::Error) -> Result<(), Failure> {
        match error.kind() {
            io::ErrorKind::Interrupted => Ok(waiting::check()?),
            io::ErrorKind::WouldBlock => Ok(()),
            _ => Err(self.explained(HostFailure::Broken(error))),
        }
    }

    /// Waits until it can be read or written, as asked for; true if it can be read.
    fn wait(&mut self, read: bool, write: bool) -> Result<bool, Failure> {
        let mut waited = Duration::ZERO;
        for limit in [SHORT_WAIT.min(self.io_timeout), self.io_timeout] {
            match retry(|| self.link.wait(read, write, limit - waited))? {
                Ok(Some(readable)) => return Ok(readable),
                Ok(None) => waited = limit,
                Err(e) => return Err(self.explained(HostFailure::Broken(e))),
            }
            self.link.expect_silence();
        }
        Err(self.explained(HostFailure::Silent(self.io_timeout)))
    }
}

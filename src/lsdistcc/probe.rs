//! One server under test: connect, and if asked for, send it a tiny job and look at its answer.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use crate::wire::probe::{START, good_start};

/// How far a probe is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It waits for the server.
    Waiting,
    /// The server is good.
    Good,
    /// It is not.
    Bad,
}

/// A connection to a server.
#[derive(Debug)]
pub struct Probe {
    /// Which name it belongs to.
    pub index: usize,
    /// Registered with the loop for reading and writing.
    pub stream: TcpStream,
    /// When the time for the present stage is over.
    pub deadline: Instant,
    begun: Instant,
    connected: bool,
    /// What the test compile sends; empty without one.
    request: Vec<u8>,
    sent: usize,
    compile: Duration,
    /// The start that is wanted.
    expected: Vec<u8>,
    got: Vec<u8>,
    /// Why it is bad, for `-v`.
    pub reason: String,
}

impl Probe {
    /// Starts connecting. `request` is empty if the connection itself is all that is asked for.
    pub fn start(
        index: usize,
        address: SocketAddr,
        request: &[u8],
        protocol: u32,
        (connect, compile): (Duration, Duration),
    ) -> io::Result<Probe> {
        let begun = Instant::now();
        Ok(Probe {
            index,
            stream: TcpStream::connect(address)?,
            deadline: begun + connect,
            begun,
            connected: false,
            request: request.to_vec(),
            sent: 0,
            compile,
            expected: good_start(protocol),
            got: Vec::new(),
            reason: "no answer in time".to_owned(),
        })
    }

    /// Since it began.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Goes on as far as the socket allows.
    pub fn advance(&mut self) -> Progress {
        match self.try_advance() {
            Ok(progress) => progress,
            Err(e) if e.kind() == ErrorKind::WouldBlock => Progress::Waiting,
            Err(e) => {
                self.reason = e.to_string();
                Progress::Bad
            }
        }
    }

    fn try_advance(&mut self) -> io::Result<Progress> {
        if !self.connected {
            if let Some(e) = self.stream.take_error()? {
                return Err(e);
            }
            match self.stream.peer_addr() {
                Err(e) if e.kind() == ErrorKind::NotConnected => return Ok(Progress::Waiting),
                result => result?,
            };
            self.connected = true;
            if self.request.is_empty() {
                return Ok(Progress::Good);
            }
            self.deadline = Instant::now() + self.compile;
        }
        while self.sent < self.request.len() {
            self.sent += self.stream.write(&self.request[self.sent..])?;
        }
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    let room = START - self.got.len();
                    self.got.extend_from_slice(&buffer[..count.min(room)]);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        if self.got == self.expected {
            return Ok(Progress::Good);
        }
        self.reason = match self.got.len() {
            0 => "it closed without an answer".to_owned(),
            _ => format!("it answered \"{}\"", self.got.escape_ascii()),
        };
        Ok(Progress::Bad)
    }
}

//! One client: its question comes in, its answer goes out, however slowly.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use mio::net::UnixStream;

use crate::sys::socket::send_with_descriptor;
use crate::wire::bodies::{Inquiry, InquiryDecoder};
use crate::wire::include::{Question, QuestionDecoder};

/// How long a client may take, its answer's making not counted.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a client asks.
#[derive(Debug)]
pub enum Asked {
    /// As stock's clients do.
    Question(Question),
    /// As our own.
    Inquiry(Inquiry),
}

enum State {
    Question(QuestionDecoder),
    Inquiry(InquiryDecoder),
    /// Bytes of the answer, and how many are gone.
    Answer(Vec<u8>, usize, Option<std::fs::File>),
}

/// A connection.
pub struct Connection {
    stream: UnixStream,
    state: State,
    since: Instant,
}

/// What came of a readiness.
pub enum Progress {
    /// Nothing to do until the next.
    Wait,
    /// Answer this.
    Asked(Asked),
    /// It is over.
    Close,
}

impl Connection {
    /// A new client, of our own kind or not.
    pub fn new(stream: UnixStream, is_own: bool) -> Connection {
        let state = match is_own {
            true => State::Inquiry(InquiryDecoder::default()),
            false => State::Question(QuestionDecoder::new()),
        };
        Connection { stream, state, since: Instant::now() }
    }

    /// For registering.
    pub fn stream(&mut self) -> &mut UnixStream {
        &mut self.stream
    }

    /// When it has lasted too long.
    pub fn deadline(&self) -> Instant {
        self.since + DEADLINE
    }

    /// Goes on as far as it goes.
    pub fn go_on(&mut self) -> Progress {
        match self.try_go_on() {
            Ok(progress) => progress,
            Err(e) => {
                log::debug!("a client: {e}");
                Progress::Close
            }
        }
    }

    fn try_go_on(&mut self) -> io::Result<Progress> {
        if matches!(self.state, State::Answer(..)) {
            return self.write();
        }
        let mut buffer = [0; 16 * 1024];
        loop {
            let count = match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(Progress::Close),
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(Progress::Wait),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            let input = &mut &buffer[..count];
            let asked = match &mut self.state {
                State::Question(decoder) => {
                    decoder.take(input).map_err(io::Error::other)?.map(Asked::Question)
                }
                State::Inquiry(decoder) => decoder.take(input).map_err(io::Error::other)?.map(Asked::Inquiry),
                State::Answer(..) => None,
            };
            if let Some(asked) = asked {
                return Ok(Progress::Asked(asked));
            }
        }
    }

    /// Sends the answer, with a descriptor if there is one.
    pub fn answer(&mut self, bytes: Vec<u8>, passed: Option<BorrowedFd>) -> Progress {
        self.since = Instant::now();
        let passed = match passed.map(|fd| fd.try_clone_to_owned()).transpose() {
            Ok(passed) => passed.map(std::fs::File::from),
            Err(e) => {
                log::warn!("cannot answer a client: {e}");
                return Progress::Close;
            }
        };
        self.state = State::Answer(bytes, 0, passed);
        self.go_on()
    }

    fn write(&mut self) -> io::Result<Progress> {
        let State::Answer(bytes, gone, passed) = &mut self.state else { return Ok(Progress::Wait) };
        while *gone < bytes.len() {
            let rest = &bytes[*gone..];
            let result = match passed {
                Some(file) => send_with_descriptor(self.stream.as_fd(), rest, file.as_fd()),
                None => self.stream.write(rest),
            };
            match result {
                Ok(count) => {
                    *gone += count;
                    *passed = None;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(Progress::Wait),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(Progress::Close)
    }
}

//! A connection in a worker: its socket, its job, its clock, and the answer on its way out.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::daemon::job::Compile;
use crate::daemon::limits;
use crate::daemon::outcome::Outcome;
use crate::daemon::session::Session;
use crate::daemon::stats::{Finished, JobEnd};
use crate::daemon::stream::{Peer, Stream};
use crate::sys::file;

/// How long a client may go on sending what is thrown away, after an answer to a request that is none.
const LINGER: Duration = Duration::from_secs(3);

/// One client's connection.
pub struct Connection {
    /// The socket, which does not block.
    pub stream: Stream,
    /// Whose it is.
    pub peer: Peer,
    /// What its bytes mean.
    pub session: Session,
    /// Its job, once the command is accepted.
    pub compile: Option<Compile>,
    /// The supervisor has been asked for a slot.
    pub slot: bool,
    /// The answer, while it is being sent.
    pub reply: Option<Reply>,
    /// How the job ended, once decided.
    pub outcome: Option<Outcome>,
    /// When it was accepted.
    pub started: Instant,
    /// A client that neither sends nor takes anything for so long is let go.
    pub silence: Duration,
    /// When the phase must have moved on.
    pub deadline: Instant,
    /// How much memory its source gets.
    pub memory: Memory,
    /// What is set aside for it until it is expanded, in bytes.
    pub compressed: usize,
    /// What a large command takes of the worker's memory, in bytes.
    pub command: usize,
    /// The same for the answer.
    pub answer: usize,
    /// Compiler and source as the client named them, once they have been used.
    pub names: Option<(Vec<u8>, Vec<u8>)>,
    /// Only waiting for the client to close.
    pub lingering: bool,
    /// Bytes cannot go from this kind of stream to a file without a copy.
    pub copies: bool,
    /// For the statistics.
    pub tally: Tally,
}

/// How much memory a job's source gets.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// What it needs, while it is small.
    #[default]
    AsItComes,
    /// A large one waits for it, since then.
    Wanted(Instant),
    /// All that it needs, or no more than it has.
    Decided,
}

/// What a connection has cost.
#[derive(Debug, Default)]
pub struct Tally {
    /// Bytes from the client.
    pub received: u64,
    /// Bytes to the client.
    pub sent: u64,
    /// When the compiler was started.
    pub compile_start: Option<Instant>,
    /// How long it ran.
    pub compile_time: Duration,
}

impl Tally {
    /// The compiler has ended.
    pub fn compiled(&mut self) {
        self.compile_time = self.compile_start.map(|start| start.elapsed()).unwrap_or_default();
    }
}

/// An answer on its way out.
pub struct Reply {
    head: Vec<u8>,
    sent: usize,
    /// The object that follows the head as it is: offset and bytes left.
    object: Option<(File, u64, u64)>,
    /// The client may still be sending: closing at once would throw the answer away.
    pub linger: bool,
}

/// Whether a connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It does.
    Keep,
    /// It is over.
    Close,
}

impl Reply {
    /// `head`, then so many bytes of the file from its start.
    pub fn new(head: Vec<u8>, object: Option<(File, u64)>) -> Reply {
        Reply { head, sent: 0, object: object.map(|(file, len)| (file, 0, len)), linger: false }
    }

    /// The same out of this empty file, with nothing left in memory.
    pub fn into_file(self, mut file: File) -> io::Result<Reply> {
        file.write_all(&self.head)?;
        let mut len = self.head.len() as u64;
        if let Some((mut object, ..)) = self.object {
            len += io::copy(&mut object, &mut file)?;
        }
        Ok(Reply::new(Vec::new(), Some((file, len))))
    }

    /// What it was in memory.
    pub fn into_memory(self) -> Vec<u8> {
        self.head
    }

    /// What it takes of the worker's memory, in bytes.
    pub fn memory(&self) -> usize {
        if self.head.len() > limits::SMALL { self.head.len() } else { 0 }
    }
}

impl Connection {
    /// A connection that has just been accepted.
    pub fn new(stream: Stream, peer: Peer, silence: Duration) -> Connection {
        let now = Instant::now();
        Connection {
            stream,
            peer,
            session: Session::new(),
            compile: None,
            slot: false,
            reply: None,
            outcome: None,
            started: now,
            silence,
            deadline: now + silence,
            memory: Memory::default(),
            compressed: 0,
            command: 0,
            answer: 0,
            names: None,
            lingering: false,
            copies: false,
            tally: Tally::default(),
        }
    }

    /// How many bytes of a plain source may go from the stream straight to where the job wants them.
    pub fn direct_source(&self) -> usize {
        let plain = self.session.version().is_some_and(|version| !version.compressed());
        if plain && !self.copies && self.compile.is_some() { self.session.source_left() } else { 0 }
    }

    /// For the statistics, when it ends.
    pub fn finished(&self) -> Finished {
        let millis = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        Finished {
            end: JobEnd::of(self.outcome.as_ref()),
            time: millis(self.started.elapsed()),
            compile_time: millis(self.tally.compile_time),
            received: self.tally.received,
            sent: self.tally.sent,
        }
    }

    /// Sends what can be sent of the reply.
    pub fn write(&mut self) -> Next {
        let Some(reply) = &mut self.reply else { return Next::Keep };
        loop {
            let result = match reply.step(&mut self.stream) {
                Some(result) => result,
                None if reply.linger => return self.linger(),
                None => return Next::Close,
            };
            match result {
                Ok(count) => {
                    self.tally.sent += count as u64;
                    self.deadline = Instant::now() + self.silence;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Next::Keep,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.outcome = Some(Outcome::ClientGone);
                    return Next::Close;
                }
            }
        }
    }

    fn linger(&mut self) -> Next {
        self.reply = None;
        self.lingering = true;
        self.deadline = Instant::now() + LINGER;
        match self.stream.finish_writing() {
            Ok(()) => Next::Keep,
            Err(_) => Next::Close,
        }
    }
}

impl Reply {
    /// One call to the kernel, which takes so many bytes; `None` when everything is sent.
    fn step(&mut self, stream: &mut Stream) -> Option<io::Result<usize>> {
        if self.sent < self.head.len() {
            return Some(stream.write(&self.head[self.sent..]).inspect(|count| self.sent += count));
        }
        let (object, offset, left) = self.object.as_mut().filter(|(_, _, left)| *left > 0)?;
        let most = (*left).min(1 << 30) as usize;
        Some(match file::send_file(stream.out_fd(), object.as_fd(), *offset, most) {
            // The object has become shorter than it was: the client must not take it for complete.
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                *offset += count as u64;
                *left -= count as u64;
                Ok(count)
            }
            Err(e) => Err(e),
        })
    }
}

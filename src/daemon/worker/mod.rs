//! A worker: one process, one event loop over the shared listener, its connections, its compilers and the
//! supervisor.
//!
//! Nothing here blocks but a compiler's spawn. Each connection has a session that decides and a
//! compile that owns files and child; the worker moves bytes between them and the socket, keeps the
//! clock, and writes the line per job.

mod admission;
mod jobs;
mod memory;
mod superior;

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::daemon::access::Access;
use crate::daemon::answer::Answers;
use crate::daemon::compilers::Compilers;
use crate::daemon::connection::{Connection, Next};
use crate::daemon::grants::Grants;
use crate::daemon::job::{self, Compile};
use crate::daemon::limits::{self, Complaints, Connections};
use crate::daemon::manager::{MAX_LISTENERS, Manager};
use crate::daemon::outcome::Outcome;
use crate::daemon::specs::Specs;
use crate::daemon::stream::{Peer, Stream};
use crate::daemon::workplace::Workplaces;
use crate::sorted_map::SortedMap;
use crate::sys::process::{self, Pid};
use crate::sys::signal::{Signal, SignalPipe};
use crate::sys::splice::Splicer;

use superior::{Superior, Task};

/// What all workers of a daemon know.
#[derive(Debug)]
pub struct Policy {
    /// Who is served.
    pub access: Access,
    /// What may run.
    pub compilers: Compilers,
    /// The longest a compiler may run.
    pub job_lifetime: Option<Duration>,
    /// The most address space of a compiler, in bytes.
    pub job_memory: Option<u64>,
    /// Leave the jobs' directories behind.
    pub keep_files: bool,
    /// The files that `-specs=` may name.
    pub specs: Option<Specs>,
    /// A client that neither sends nor takes anything for so long is let go.
    pub silence: Duration,
    /// One worker's share of the connections.
    pub connections: Connections,
    /// The supervisor keeps statistics.
    pub report: bool,
}

impl Policy {
    /// Who comes through a pipe or a local socket has been let in by whoever started us.
    fn allows(&self, peer: Peer) -> bool {
        match peer {
            Peer::Tcp(address) => self.access.allows(address.ip()),
            Peer::Local | Peer::Pipe => true,
        }
    }
}

const SUPERVISOR: Token = Token(usize::MAX);
const SIGNALS: Token = Token(usize::MAX - 1);
/// The token of the first listener; those of more are the numbers below it.
const FIRST_LISTENER: usize = usize::MAX - 2;

fn listener_token(at: usize) -> Token {
    Token(FIRST_LISTENER - at)
}

/// So many connections at once take memory that is worth returning afterwards.
const CROWD: usize = 50;

/// The longest sleep of the event loop, far below what the kernel's timeout can express.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// Runs until the supervisor says drain or stop, or is gone.
pub fn run(listeners: Vec<TcpListener>, supervisor: OwnedFd, policy: &Policy) -> io::Result<()> {
    let mut worker = Worker::new(policy, Superior::Supervisor(supervisor))?;
    worker.watch(listeners)?;
    worker.run().map(drop)
}

/// The same without a supervisor, one job at a time; `ready` is called when connections are taken. Returns the signal
/// that has ended it.
pub fn run_alone(
    listeners: Vec<TcpListener>,
    policy: &Policy,
    manager: &Manager,
) -> io::Result<Option<Signal>> {
    let mut worker = Worker::new(policy, Superior::Nobody(Grants::new(1), Task::Serve(manager)))?;
    worker.watch(listeners)?;
    manager.ready();
    worker.run().map(|end| end.signal)
}

/// Serves the one job that comes through `stream`.
pub fn run_once(stream: Stream, peer: Peer, policy: &Policy) -> io::Result<End> {
    let mut worker = Worker::new(policy, Superior::Nobody(Grants::new(1), Task::Once))?;
    worker.admit(stream, peer);
    worker.run()
}

/// How a worker has ended.
#[derive(Debug, Clone, Copy, Default)]
pub struct End {
    /// How its last job ended, for who has started us.
    pub exit_code: u8,
    /// What told it to.
    pub signal: Option<Signal>,
}

struct Worker<'a> {
    poll: Poll,
    /// None once draining, and for a single job.
    listeners: Vec<TcpListener>,
    superior: Superior<'a>,
    draining: bool,
    signals: SignalPipe,
    policy: &'a Policy,
    connections: SortedMap<u32, Box<Connection>>,
    /// There have been [`CROWD`] connections at once, or large commands, since there were no connections.
    crowded: bool,
    children: SortedMap<Pid, u32>,
    /// Connections with bytes left to read, or the listener with connections left to accept: edge-triggered
    /// events do not come again.
    unfinished: Vec<Token>,
    /// Connections that are not read while memory is short.
    parked: Vec<Token>,
    /// When to see whether there is enough for them.
    look_at_parked: Option<Instant>,
    /// When a job last gave memory back while others waited for it.
    memory_given_back: Option<Instant>,
    /// When to try again after accepting has failed for want of something; no event tells that it is there again.
    accept_again: Option<Instant>,
    next_id: u32,
    /// Bytes of sources and answers that still fit into memory.
    room: usize,
    /// Bytes set aside for compressed sources that are not expanded yet.
    compressed: usize,
    /// Bytes of large commands.
    commands: usize,
    /// What is being read.
    inbox: Vec<u8>,
    workplaces: Workplaces,
    splicer: Splicer,
    complaints: Complaints,
    end: End,
    answers: Answers,
}

impl<'a> Worker<'a> {
    fn new(policy: &'a Policy, superior: Superior<'a>) -> io::Result<Worker<'a>> {
        let poll = Poll::new()?;
        let signals = SignalPipe::new(&[Signal::CHLD, Signal::TERM, Signal::INT, Signal::HUP, Signal::ALRM])?;
        let signal_fd = signals.as_fd().as_raw_fd();
        poll.registry().register(&mut SourceFd(&signal_fd), SIGNALS, Interest::READABLE)?;
        Ok(Worker {
            poll,
            listeners: Vec::new(),
            superior,
            draining: false,
            signals,
            policy,
            connections: SortedMap::new(),
            crowded: false,
            children: SortedMap::new(),
            unfinished: Vec::new(),
            parked: Vec::new(),
            look_at_parked: None,
            memory_given_back: None,
            accept_again: None,
            next_id: 0,
            room: limits::MEMORY,
            compressed: 0,
            commands: 0,
            inbox: Vec::new(),
            workplaces: Workplaces::new(policy.keep_files),
            splicer: Splicer::new(),
            complaints: Complaints::new(Instant::now()),
            end: End::default(),
            answers: Answers::new(),
        })
    }

    /// Takes connections from `listeners`, and orders from the supervisor.
    fn watch(&mut self, listeners: Vec<TcpListener>) -> io::Result<()> {
        let registry = self.poll.registry();
        self.listeners = listeners;
        for (at, listener) in self.listeners.iter_mut().enumerate() {
            registry.register(listener, listener_token(at), Interest::READABLE)?;
        }
        if let Superior::Supervisor(line) = &self.superior {
            registry.register(&mut SourceFd(&line.as_raw_fd()), SUPERVISOR, Interest::READABLE)?;
        }
        Ok(())
    }

    fn run(mut self) -> io::Result<End> {
        let result = self.serve_all();
        Self::tell_left_out(self.complaints.take_left_out());
        result
    }

    fn serve_all(&mut self) -> io::Result<End> {
        let mut events = Events::with_capacity(256);
        while !self.listeners.is_empty() || !self.connections.is_empty() {
            while let Some(id) = self.own_grant() {
                self.granted(id);
            }
            let timeout = self.timeout();
            match self.poll.poll(&mut events, timeout) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            let unfinished = std::mem::take(&mut self.unfinished);
            for token in unfinished.into_iter().chain(events.iter().map(|event| event.token())) {
                match token {
                    SIGNALS => self.signals()?,
                    SUPERVISOR => {
                        if self.orders()? == Next::Close {
                            return Ok(self.end);
                        }
                    }
                    Token(number) if (FIRST_LISTENER - MAX_LISTENERS..=FIRST_LISTENER).contains(&number) => {
                        self.accept(FIRST_LISTENER - number);
                    }
                    Token(id) => self.serve(id as u32),
                }
            }
            self.expire();
            let is_unused = self.answers.buffers.expire(Instant::now());
            let is_left = self.connections.is_empty() && mem::take(&mut self.crowded);
            if is_left {
                self.connections.shrink_to_fit();
            }
            if is_unused || is_left {
                process::return_freed_memory();
            }
        }
        Ok(self.end)
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.unfinished.is_empty() {
            return Some(Duration::ZERO);
        }
        let deadlines = [
            self.accept_again,
            self.look_at_parked,
            self.workplaces.deadline(),
            self.answers.buffers.deadline(),
            self.complaints.deadline(),
            self.connections.values().map(|connection| connection.deadline).min(),
        ];
        let first = deadlines.into_iter().flatten().min()?;
        // A millisecond more, so that the deadline has passed when the wait ends.
        let left = first.saturating_duration_since(Instant::now()).min(LONGEST_SLEEP);
        Some(left + Duration::from_millis(1))
    }

    /// One more turn, and only one, however many events came.
    fn again(&mut self, token: Token) {
        if !self.unfinished.contains(&token) {
            self.unfinished.push(token);
        }
    }

    /// Something has happened on a connection.
    fn serve(&mut self, id: u32) {
        let Some(mut connection) = self.connections.remove(&id) else { return };
        let mut next = Next::Keep;
        if connection.reply.is_some() {
            next = connection.write();
        }
        if next == Next::Keep {
            next = self.read(id, &mut connection);
        }
        self.put_back(id, connection, next);
    }

    fn put_back(&mut self, id: u32, connection: Box<Connection>, next: Next) {
        self.connections.insert(id, connection);
        if next == Next::Close {
            self.close(id);
        }
    }

    /// Ends connections whose time is over.
    fn expire(&mut self) {
        let now = Instant::now();
        if self.accept_again.is_some_and(|at| at <= now) {
            self.accept_again = None;
            (0..self.listeners.len()).for_each(|at| self.again(listener_token(at)));
        }
        self.workplaces.expire(now);
        Self::tell_left_out(self.complaints.left_out(now));
        self.unpark(now);
        let expired: Vec<u32> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.deadline <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in expired {
            let Some(mut connection) = self.connections.remove(&id) else { continue };
            let next = match connection.compile.as_ref().and_then(Compile::child) {
                Some(pid) => {
                    // The answer follows when the compiler has ended.
                    let limit = self.policy.job_lifetime.unwrap_or_default();
                    let outcome = Outcome::JobTooLong(limit);
                    if connection.session.give_up(outcome.clone()).is_some() {
                        connection.outcome = Some(outcome);
                    }
                    job::kill(pid);
                    connection.deadline = now + FOREVER;
                    Next::Keep
                }
                None => {
                    if !connection.lingering {
                        connection.outcome = Some(Outcome::Silent(connection.silence));
                    }
                    Next::Close
                }
            };
            self.put_back(id, connection, next);
        }
    }
}

/// Longer than any daemon runs, and far from the end of `Instant`.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

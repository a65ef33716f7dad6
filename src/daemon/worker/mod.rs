//! A worker: one process, one event loop over the shared listener, its connections, its compilers and the
//! supervisor.
//!
//! Nothing here blocks but a compiler's spawn. Each connection has a session that decides and a
//! compile that owns files and child; the worker moves bytes between them and the socket, keeps the
//! clock, and writes the line per job.

mod admission;
mod jobs;
mod memory;

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::daemon::access::Access;
use crate::daemon::answer::Answers;
use crate::daemon::compilers::Compilers;
use crate::daemon::connection::{Connection, Next, SILENCE};
use crate::daemon::job::{self, Compile};
use crate::daemon::limits::{self, Complaints, Connections};
use crate::daemon::message::{self, Report, ToSupervisor, ToWorker};
use crate::daemon::outcome::Outcome;
use crate::daemon::stream::{Peer, Stream};
use crate::daemon::workplace::Workplaces;
use crate::logging;
use crate::sys::file::{self, Readiness};
use crate::sys::process::{self, Pid};
use crate::sys::signal::{Signal, SignalPipe};
use crate::sys::splice::Splicer;

/// What all workers of a daemon know.
#[derive(Debug)]
pub struct Policy {
    /// Who is served.
    pub access: Access,
    /// What may run.
    pub compilers: Compilers,
    /// The longest a compiler may run.
    pub job_lifetime: Option<Duration>,
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

const LISTENER: Token = Token(usize::MAX);
const SUPERVISOR: Token = Token(usize::MAX - 1);
const SIGNALS: Token = Token(usize::MAX - 2);

/// The longest sleep of the event loop, far below what the kernel's timeout can express.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// Runs until the supervisor says drain or stop, or is gone.
pub fn run(listener: TcpListener, supervisor: OwnedFd, policy: &Policy) -> io::Result<()> {
    let mut worker = Worker::new(policy)?;
    worker.watch(listener, supervisor)?;
    worker.run().map(drop)
}

/// Serves the one job that comes through `stream`; the exit code is for who has started us.
pub fn run_once(stream: Stream, peer: Peer, policy: &Policy) -> io::Result<u8> {
    let mut worker = Worker::new(policy)?;
    worker.admit(stream, peer);
    worker.run()
}

struct Worker<'a> {
    poll: Poll,
    /// `None` once draining, and for a single job.
    listener: Option<TcpListener>,
    /// `None` for a single job, which is its own master.
    supervisor: Option<OwnedFd>,
    draining: bool,
    signals: SignalPipe,
    policy: &'a Policy,
    connections: HashMap<u32, Connection>,
    children: HashMap<Pid, u32>,
    /// Connections with bytes left to read, or the listener with connections left to accept: edge-triggered
    /// events do not come again.
    unfinished: Vec<Token>,
    /// Connections that are not read while memory is short.
    parked: Vec<Token>,
    /// When to see whether there is enough for them.
    look_at_parked: Option<Instant>,
    /// When to try again after accepting has failed for want of something; no event tells that it is there again.
    accept_again: Option<Instant>,
    next_id: u32,
    /// A job that waits for a slot where nobody else has one.
    own_grant: Option<u32>,
    /// Bytes of sources that still fit into memory.
    room: usize,
    /// What is being read.
    inbox: Vec<u8>,
    workplaces: Workplaces,
    splicer: Splicer,
    complaints: Complaints,
    /// How the last job ended.
    exit_code: u8,
    answers: Answers,
}

impl<'a> Worker<'a> {
    fn new(policy: &'a Policy) -> io::Result<Worker<'a>> {
        let poll = Poll::new()?;
        let signals = SignalPipe::new(&[Signal::CHLD, Signal::TERM, Signal::INT, Signal::HUP])?;
        let signal_fd = signals.as_fd().as_raw_fd();
        poll.registry().register(&mut SourceFd(&signal_fd), SIGNALS, Interest::READABLE)?;
        Ok(Worker {
            poll,
            listener: None,
            supervisor: None,
            draining: false,
            signals,
            policy,
            connections: HashMap::new(),
            children: HashMap::new(),
            unfinished: Vec::new(),
            parked: Vec::new(),
            look_at_parked: None,
            accept_again: None,
            next_id: 0,
            own_grant: None,
            room: limits::SOURCES_IN_MEMORY,
            inbox: Vec::new(),
            workplaces: Workplaces::new(),
            splicer: Splicer::new(),
            complaints: Complaints::new(Instant::now()),
            exit_code: 0,
            answers: Answers::new(),
        })
    }

    /// Takes connections from `listener` and orders from `supervisor`.
    fn watch(&mut self, mut listener: TcpListener, supervisor: OwnedFd) -> io::Result<()> {
        let registry = self.poll.registry();
        registry.register(&mut listener, LISTENER, Interest::READABLE)?;
        registry.register(&mut SourceFd(&supervisor.as_raw_fd()), SUPERVISOR, Interest::READABLE)?;
        (self.listener, self.supervisor) = (Some(listener), Some(supervisor));
        Ok(())
    }

    fn run(mut self) -> io::Result<u8> {
        let mut events = Events::with_capacity(256);
        while self.listener.is_some() || !self.connections.is_empty() {
            while let Some(id) = self.own_grant.take() {
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
                    LISTENER => self.accept(),
                    SIGNALS => self.signals()?,
                    SUPERVISOR => {
                        if self.orders()? == Next::Close {
                            return Ok(self.exit_code);
                        }
                    }
                    Token(id) => self.serve(id as u32),
                }
            }
            self.expire();
            if self.connections.is_empty() && self.answers.has_been_large() {
                process::return_freed_memory();
            }
        }
        Ok(self.exit_code)
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.unfinished.is_empty() {
            return Some(Duration::ZERO);
        }
        let deadlines = self.connections.values().map(|connection| connection.deadline);
        let others = [self.accept_again, self.look_at_parked, self.workplaces.deadline()];
        let first = deadlines.chain(others.into_iter().flatten()).min()?;
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

    fn signals(&mut self) -> io::Result<()> {
        while let Some(signal) = self.signals.next() {
            if signal != Signal::CHLD {
                // A terminal's ^C or a service manager's TERM reaches every process; the supervisor's word
                // follows. Who has no supervisor obeys at once.
                if signal == Signal::HUP && self.supervisor.is_some() {
                    logging::reopen();
                } else if self.supervisor.is_none() {
                    self.stop();
                    self.exit_code = 128 + signal.number() as u8;
                }
            }
        }
        while let Some((pid, status)) = process::try_wait_any() {
            if let Some(id) = self.children.remove(&pid) {
                self.child_ended(id, status);
            }
        }
        Ok(())
    }

    /// Reads what the supervisor says.
    fn orders(&mut self) -> io::Result<Next> {
        let mut packet = [0; message::MAX_LEN];
        loop {
            let Some(supervisor) = &self.supervisor else { return Ok(Next::Keep) };
            let len = match file::receive_message(supervisor.as_fd(), &mut packet) {
                Ok(0) => return Ok(self.stop()),
                Ok(len) => len,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(Next::Keep),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Ok(self.stop()),
            };
            match ToWorker::decode(&packet[..len]) {
                Some(ToWorker::Grant(id)) => self.granted(id),
                Some(ToWorker::Drain) => self.drain(),
                Some(ToWorker::Stop) => return Ok(self.stop()),
                None => log::error!("unknown message from the supervisor"),
            }
        }
    }

    /// Ends at once: dropping a connection's job kills its compiler and removes its directory.
    fn stop(&mut self) -> Next {
        self.listener = None;
        self.connections.clear();
        Next::Close
    }

    /// For the statistics, if there are any.
    fn report(&mut self, report: impl FnOnce() -> Report) {
        if self.policy.report {
            self.say(ToSupervisor::Report(report()));
        }
    }

    fn say(&mut self, message: ToSupervisor) {
        let Some(supervisor) = &self.supervisor else {
            if let ToSupervisor::Want(id, _) = message {
                self.own_grant = Some(id);
            }
            return;
        };
        let packet = message.encode();
        loop {
            match file::send_message(supervisor.as_fd(), &packet) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    // The supervisor only reads, so this is soon over.
                    let _ = file::wait_ready(supervisor.as_fd(), Readiness::Write, Duration::from_secs(1));
                }
                // Gone: the event loop notices it.
                _ => return,
            }
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

    fn put_back(&mut self, id: u32, connection: Connection, next: Next) {
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
            self.again(LISTENER);
        }
        self.workplaces.expire(now);
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
                        connection.outcome = Some(Outcome::Silent(SILENCE));
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

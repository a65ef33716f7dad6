//! A worker: one process, one event loop over the shared listener, its connections, its compilers and the
//! supervisor.
//!
//! Nothing here blocks but a compiler's spawn. Each connection has a [`Session`] that decides and a
//! [`Compile`] that owns files and child; the worker moves bytes between them and the socket, keeps the
//! clock, and writes the line per job.

use std::collections::HashMap;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::args;
use crate::daemon::access::Access;
use crate::daemon::answer::Answers;
use crate::daemon::compilers::Compilers;
use crate::daemon::connection::{Connection, Next, SILENCE};
use crate::daemon::job::{self, Compile};
use crate::daemon::limits::{self, Complaints, Connections};
use crate::daemon::message::{self, Report, ToSupervisor, ToWorker};
use crate::daemon::outcome::{Outcome, Refusal, Summary};
use crate::daemon::session::{Action, Stage};
use crate::daemon::stats::Job;
use crate::daemon::stream::{Peer, Stream};
use crate::exitcode::ExitCode;
use crate::logging::{self, NOTICE};
use crate::sys::file::{self, Readiness};
use crate::sys::process::{self, Pid, WaitStatus};
use crate::sys::signal::{Signal, SignalPipe};

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

/// How much of one connection is read before the others have their turn.
const READ_AT_ONCE: usize = 1 << 20;
/// The longest sleep of the event loop, far below what the kernel's timeout can express.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);
/// How long accepting rests when it has failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The longest that a request may take to come in, however steadily it drips.
const LONGEST_REQUEST: Duration = Duration::from_secs(1800);
/// The same while draining.
const LAST_CHANCE: Duration = Duration::from_secs(10);

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
    /// When to try again after accepting has failed for want of something; no event tells that it is there again.
    accept_again: Option<Instant>,
    next_id: u32,
    /// A job that waits for a slot where nobody else has one.
    own_grant: Option<u32>,
    /// Bytes of compressed sources in memory.
    held: usize,
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
            accept_again: None,
            next_id: 0,
            own_grant: None,
            held: 0,
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
        }
        Ok(self.exit_code)
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.unfinished.is_empty() {
            return Some(Duration::ZERO);
        }
        let deadlines = self.connections.values().map(|connection| connection.deadline);
        let first = deadlines.chain(self.accept_again).min()?;
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

    /// Accepts one connection; the next comes with the next turn, so that other workers get theirs.
    fn accept(&mut self) {
        let Some(listener) = &self.listener else { return };
        let (stream, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
            Err(e) => {
                match e.kind() {
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => self.again(LISTENER),
                    // Another worker has been told to drain before us.
                    io::ErrorKind::InvalidInput => {}
                    // Descriptors or memory are short. An edge-triggered event for those who wait does not come
                    // again.
                    _ => {
                        log::warn!("cannot accept a connection: {e}");
                        self.accept_again = Some(Instant::now() + ACCEPT_PAUSE);
                    }
                }
                return;
            }
        };
        self.again(LISTENER);
        let _ = stream.set_nodelay(true);
        self.admit(Stream::Tcp(stream), Peer::Tcp(peer));
    }

    /// Lets a client in, if it may.
    fn admit(&mut self, mut stream: Stream, peer: Peer) {
        if !self.policy.allows(peer) {
            self.complain(format_args!("connection from client '{peer}' denied by access list"));
            self.exit_code = ExitCode::AccessDenied as u8;
            self.report(|| Report::Denied);
            return;
        }
        if !self.make_room(peer) {
            self.complain(format_args!("connection from client '{peer}' refused: too many connections"));
            self.report(|| Report::Denied);
            return;
        }
        log::info!("connection from {peer}");
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        if let Err(e) = stream.register(self.poll.registry(), Token(id as usize)) {
            log::warn!("cannot watch a connection: {e}");
            self.exit_code = ExitCode::IoError as u8;
            return;
        }
        self.connections.insert(id, Connection::new(stream, peer));
        self.report(|| Report::Accepted(id));
        // The request usually lies there already.
        self.serve(id);
    }

    /// Whether one more client fits; one that has sent nothing yet makes way, the longest waiting first.
    fn make_room(&mut self, peer: Peer) -> bool {
        let Connections { all, per_address } = self.policy.connections;
        let of_address = |it: &&Connection| it.peer.ip() == peer.ip();
        let count = self.connections.len();
        // Who has more than its share makes way itself.
        let crowded =
            count >= per_address && self.connections.values().filter(of_address).count() >= per_address;
        if !crowded && count < all {
            return true;
        }
        let silent = self
            .connections
            .iter()
            .filter(|(_, it)| it.session.is_untouched() && (!crowded || of_address(it)));
        let Some(oldest) = silent.min_by_key(|(_, it)| it.started).map(|(id, _)| *id) else { return false };
        self.close(oldest);
        true
    }

    fn complain(&mut self, complaint: std::fmt::Arguments) {
        if let Some(line) = self.complaints.take(complaint, Instant::now()) {
            log::warn!("{line}");
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

    /// No new connections; those from which nothing has come are let go, the others finish.
    fn drain(&mut self) {
        self.draining = true;
        // Closing is not enough: the supervisor has the socket too, and the kernel would go on accepting for it.
        if let Some(listener) = self.listener.take() {
            file::stop_listening(listener.as_fd());
        }
        // Who is still sending has a last chance.
        let last = Instant::now() + LAST_CHANCE;
        for connection in self.connections.values_mut().filter(|it| it.session.stage() == Stage::Receiving) {
            connection.deadline = connection.deadline.min(last);
        }
        let idle: Vec<u32> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.session.is_untouched() || connection.lingering)
            .map(|(id, _)| *id)
            .collect();
        for id in idle {
            self.close(id);
        }
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

    fn read(&mut self, id: u32, connection: &mut Connection) -> Next {
        let mut buffer = [0; 64 * 1024];
        for _ in 0..READ_AT_ONCE / buffer.len() {
            match connection.stream.read(&mut buffer) {
                Ok(0) => return self.client_closed(connection),
                Ok(count) => {
                    connection.tally.received += count as u64;
                    if connection.session.stage() == Stage::Receiving && !self.draining {
                        let last = connection.started + LONGEST_REQUEST;
                        connection.deadline = last.min(Instant::now() + SILENCE);
                    }
                    let mut input = &buffer[..count];
                    while let Some(action) = connection.session.take(&mut input) {
                        if self.act(id, connection, action) == Next::Close {
                            return Next::Close;
                        }
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Next::Keep,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.client_closed(connection),
            }
        }
        self.again(Token(id as usize));
        Next::Keep
    }

    fn client_closed(&mut self, connection: &mut Connection) -> Next {
        match connection.session.client_gone() {
            Some(Action::Finish(outcome)) => connection.outcome = Some(outcome),
            // A client that half-closes behind a complete request and waits for its reply, or that lingers no
            // longer.
            _ if connection.reply.is_some() && !connection.lingering => {
                connection.outcome = Some(Outcome::ClientGone);
            }
            _ => {}
        }
        // A running compiler is killed, and its end brings us back here.
        match connection.compile.as_ref().and_then(Compile::child) {
            Some(pid) => {
                job::kill(pid);
                Next::Keep
            }
            None => Next::Close,
        }
    }

    fn act(&mut self, id: u32, connection: &mut Connection, action: Action) -> Next {
        match action {
            Action::Judge(argv) => {
                let refusal = self.judge(connection, &argv).err();
                connection.session.judged(refusal);
                Next::Keep
            }
            Action::Source(bytes) => {
                let Some(compile) = &mut connection.compile else { return Next::Keep };
                let before = compile.held();
                let taken = compile.take_source(bytes, self.held < limits::SOURCES_IN_MEMORY);
                self.held = self.held + compile.held() - before;
                match taken {
                    Ok(()) => Next::Keep,
                    Err(e) => {
                        self.held -= compile.held();
                        connection.compile = None;
                        match connection.session.refuse(cannot("store the source", &e)) {
                            Some(action) => self.act(id, connection, action),
                            None => Next::Keep,
                        }
                    }
                }
            }
            Action::AskSlot => self.received(id, connection),
            Action::Finish(outcome) => self.finish(connection, outcome),
        }
    }

    fn judge(&self, connection: &mut Connection, argv: &[Vec<u8>]) -> Result<(), Refusal> {
        let Some(version) = connection.session.version() else { return Ok(()) };
        if self.draining {
            return Err(Refusal::new(ExitCode::Busy, "this server is shutting down".to_owned()));
        }
        let command = args::check(argv).map_err(|e| Refusal::new(ExitCode::AccessDenied, e.to_string()))?;
        let program = self.policy.compilers.resolve(command.compiler())?;
        let compile = Compile::new(command, program, version).map_err(|e| cannot("start a job", &e))?;
        connection.compile = Some(compile);
        Ok(())
    }

    /// The request is complete.
    fn received(&mut self, id: u32, connection: &mut Connection) -> Next {
        if connection.compile.is_none() {
            return Next::Close;
        }
        // No deadline while others compile; a client that goes away is noticed by itself.
        connection.deadline = Instant::now() + FOREVER;
        connection.slot = true;
        self.say(ToSupervisor::Want(id, connection.peer.ip()));
        Next::Keep
    }

    fn granted(&mut self, id: u32) {
        let Some(mut connection) = self.connections.remove(&id) else {
            // The client has gone meanwhile, and we have said so; the grant crossed that message.
            return;
        };
        let next = match self.start(id, &mut connection) {
            Ok(()) => Next::Keep,
            Err(outcome) => {
                if std::mem::take(&mut connection.slot) {
                    self.say(ToSupervisor::GiveBack(id));
                }
                match connection.session.give_up(outcome) {
                    Some(action) => self.act(id, &mut connection, action),
                    None => Next::Close,
                }
            }
        };
        self.put_back(id, connection, next);
    }

    /// Expands the source, now that it has a slot and no more of them than there are slots do so at once, and
    /// starts the compiler.
    fn start(&mut self, id: u32, connection: &mut Connection) -> Result<(), Outcome> {
        self.held -= connection.compile.as_ref().map_or(0, Compile::held);
        let refused = |what: &str, e: &io::Error| Outcome::Refused(cannot(what, e));
        let Some(compile) = &mut connection.compile else { return Err(Outcome::ClientGone) };
        self.answers
            .finish_source(compile)
            .map_err(|e| refused("store the source", &e))?
            .map_err(Outcome::BadRequest)?;
        let pid = compile.start(self.policy.compilers.path()).map_err(|e| {
            Outcome::Refused(Refusal::new(ExitCode::CompilerMissing, format!("cannot run the compiler: {e}")))
        })?;
        connection.session.compiling();
        self.children.insert(pid, id);
        self.say(ToSupervisor::Runs(id, pid.number()));
        connection.tally.compile_start = Some(Instant::now());
        self.report(|| {
            let (compiler, file) = compile.names();
            Report::Started(
                id,
                Job { client: connection.peer.address(), compiler: compiler.to_vec(), file: file.to_vec() },
            )
        });
        connection.deadline = Instant::now() + self.policy.job_lifetime.unwrap_or(FOREVER);
        Ok(())
    }

    fn child_ended(&mut self, id: u32, status: WaitStatus) {
        let Some(mut connection) = self.connections.remove(&id) else { return };
        if let Some(compile) = &mut connection.compile {
            compile.child_ended();
        }
        connection.tally.compiled();
        if std::mem::take(&mut connection.slot) {
            self.say(ToSupervisor::GiveBack(id));
        }
        let next = if connection.session.stage() == Stage::Compiling {
            let action = connection.session.exited(status);
            self.act(id, &mut connection, action)
        } else if let Some(outcome @ Outcome::JobTooLong(_)) = connection.outcome.take() {
            self.finish(&mut connection, outcome)
        } else {
            connection.outcome.get_or_insert(Outcome::ClientGone);
            Next::Close
        };
        self.put_back(id, connection, next);
    }

    /// The job is decided: answers, if that is possible.
    fn finish(&mut self, connection: &mut Connection, outcome: Outcome) -> Next {
        let answer = outcome.answer();
        let linger = matches!(outcome, Outcome::BadRequest(_));
        connection.outcome = Some(outcome);
        let (Some(version), Some((status, text))) = (connection.session.version(), answer) else {
            return Next::Close;
        };
        let mut reply = if let (Some(Outcome::Compiled(_)), Some(compile)) =
            (&connection.outcome, &mut connection.compile)
        {
            match self.answers.with_results(version, status, compile) {
                Ok(reply) => reply,
                Err(e) => {
                    let refusal = cannot("return the result", &e);
                    let reply = self.answers.with_text(
                        version,
                        WaitStatus::exited(refusal.code as u8),
                        &format!("distccd: {}\n", refusal.text),
                    );
                    connection.outcome = Some(Outcome::Refused(refusal));
                    reply
                }
            }
        } else {
            self.answers.with_text(version, status, &text)
        };
        reply.linger = linger;
        connection.reply = Some(reply);
        connection.deadline = Instant::now() + SILENCE;
        connection.write()
    }

    /// Ends connections whose time is over.
    fn expire(&mut self) {
        let now = Instant::now();
        if self.accept_again.is_some_and(|at| at <= now) {
            self.accept_again = None;
            self.again(LISTENER);
        }
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

    /// The end of a connection: its slot goes back, its line is written.
    fn close(&mut self, id: u32) {
        let Some(connection) = self.connections.remove(&id) else { return };
        if connection.slot {
            self.say(ToSupervisor::GiveBack(id));
        }
        self.report(|| Report::Finished(id, connection.finished()));
        self.held -= connection.compile.as_ref().map_or(0, Compile::held);
        let Some(outcome) = &connection.outcome else { return };
        self.exit_code = outcome.exit_code();
        let names = connection.compile.as_ref().map(Compile::names);
        // Who sends nothing at all, such as a client that finds it must compile locally, or a port scan, is
        // worth a line but no warning.
        if let Some(reason) = outcome.reason().filter(|_| !connection.session.is_untouched()) {
            self.complain(format_args!("{}: {reason}", connection.peer));
        }
        let summary = Summary { client: connection.peer, outcome, time: connection.started.elapsed(), names };
        log::info!(target: NOTICE, "{summary}");
    }
}

/// Longer than any daemon runs, and far from the end of `Instant`.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

fn cannot(what: &str, error: &io::Error) -> Refusal {
    Refusal::new(ExitCode::IoError, format!("this server cannot {what}: {error}"))
}

//! The supervisor: keeps the workers alive, hands out compile slots, and keeps the statistics where they are
//! wanted. It never sees a byte of a job; of the network only the statistics' few requests, if any.
//!
//! A worker is a fork of this process, so [`run`] returns twice: in the parent when the daemon ends, in each
//! child with what the child needs. The child's copy of the supervisor is dropped on the way, so that it
//! holds no descriptor of another worker.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};

use crate::daemon::access::Access;
use crate::daemon::ending;
use crate::daemon::grants::{Grants, JobId};
use crate::daemon::job;
use crate::daemon::manager::Manager;
use crate::daemon::memory::Memory;
use crate::daemon::message::{self, Report, ToSupervisor, ToWorker};
use crate::daemon::stats::{Gauges, Stats};
use crate::daemon::stats_server::StatsServer;
use crate::sorted_map::SortedMap;
use crate::sys::file;
use crate::sys::process::{self, Fork, Pid, WaitStatus};
use crate::sys::signal::{self, Signal, SignalPipe};

/// Which process one finds oneself in.
pub enum End {
    /// The supervisor: the daemon has ended, because of this signal.
    Daemon(Option<Signal>),
    /// A new worker, with its line to the supervisor.
    Worker(OwnedFd),
    /// The process that announces the server, with such a line.
    Announcer(OwnedFd),
}

const SIGNALS: Token = Token(usize::MAX);

/// A worker that has lived so long has not failed because of how it started.
const SETTLED: Duration = Duration::from_secs(10);
/// The longest wait before a failing worker is started again.
const MAX_DELAY: Duration = Duration::from_secs(30);

/// What it has to supervise, and with what.
pub struct Setup<'a> {
    /// How many worker processes.
    pub workers: usize,
    /// Whether there is one more, which announces the server.
    pub announces: bool,
    /// How many compile slots they share.
    pub slots: usize,
    /// When no further job is to start.
    pub memory: Memory,
    /// What jobs leave behind is to stay.
    pub keep_files: bool,
    /// Where to serve statistics, and to whom.
    pub stats: Option<(TcpListener, &'a Access)>,
    /// Whom to tell.
    pub manager: Manager,
}

/// Starts the workers and looks after them.
pub fn run(setup: Setup) -> io::Result<End> {
    let mut supervisor = Supervisor::new(setup)?;
    for place in 0..supervisor.places.len() {
        if let Some(line) = supervisor.start_worker(place)? {
            return Ok(supervisor.new_process(place, line));
        }
    }
    supervisor.manager.ready();
    match supervisor.serve()? {
        Some((place, line)) => Ok(supervisor.new_process(place, line)),
        None => Ok(End::Daemon(supervisor.ended_by)),
    }
}

struct Supervisor {
    poll: Poll,
    signals: SignalPipe,
    /// The workers' places, and perhaps one behind them for the process that announces the server: to it, every message
    /// means to end.
    places: Vec<Place>,
    workers: usize,
    grants: Grants,
    memory: Memory,
    keep_files: bool,
    stats: Option<StatsServer>,
    manager: Manager,
    /// The first signal to end: from then on it drains.
    ended_by: Option<Signal>,
}

/// One of the places for workers.
struct Place {
    worker: Option<Running>,
    /// When to start the next one, if there is none.
    restart: Option<Instant>,
    delay: Duration,
    /// What its line had no room for.
    unsent: VecDeque<ToWorker>,
}

struct Running {
    pid: Pid,
    line: OwnedFd,
    since: Instant,
    /// The process groups of its compilers, which must not outlive it.
    compilers: SortedMap<u32, Pid>,
}

impl Supervisor {
    fn new(setup: Setup) -> io::Result<Supervisor> {
        let Setup { workers, announces, slots, memory, keep_files, stats, manager } = setup;
        let poll = Poll::new()?;
        let signals = SignalPipe::new(&[Signal::CHLD, Signal::TERM, Signal::INT, Signal::HUP, Signal::ALRM])?;
        poll.registry().register(&mut SourceFd(&signals.as_fd().as_raw_fd()), SIGNALS, Interest::READABLE)?;
        let serve =
            |(listener, access): (_, &Access)| StatsServer::new(listener, access.clone(), poll.registry());
        let stats = stats.map(serve).transpose()?;
        let place = || Place { worker: None, restart: None, delay: Duration::ZERO, unsent: VecDeque::new() };
        Ok(Supervisor {
            poll,
            signals,
            places: (0..workers + usize::from(announces)).map(|_| place()).collect(),
            workers,
            grants: Grants::new(slots),
            memory,
            keep_files,
            stats,
            manager,
            ended_by: None,
        })
    }

    fn new_process(&self, place: usize, line: OwnedFd) -> End {
        if place < self.workers { End::Worker(line) } else { End::Announcer(line) }
    }

    /// `Some` in the new process.
    fn start_worker(&mut self, place: usize) -> io::Result<Option<OwnedFd>> {
        let (ours, theirs) = file::message_pair()?;
        match process::fork(signal::leave_parents_pipe)? {
            Fork::Child => Ok(Some(theirs)),
            Fork::Parent(pid) => {
                let registry = self.poll.registry();
                registry.register(
                    &mut SourceFd(&ours.as_raw_fd()),
                    Token(place),
                    Interest::READABLE | Interest::WRITABLE,
                )?;
                self.places[place].worker =
                    Some(Running { pid, line: ours, since: Instant::now(), compilers: SortedMap::new() });
                self.places[place].restart = None;
                Ok(None)
            }
        }
    }

    fn serve(&mut self) -> io::Result<Option<(usize, OwnedFd)>> {
        let mut events = Events::with_capacity(64);
        while !self.draining() || self.places.iter().any(|place| place.worker.is_some()) {
            match self.poll.poll(&mut events, self.timeout()) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                match event.token() {
                    SIGNALS => self.signals(),
                    token if StatsServer::owns(token) => self.serve_stats(|stats, registry, gauges| {
                        stats.ready(token, registry, gauges);
                    }),
                    Token(place) => {
                        self.hear(place);
                        self.flush(place);
                    }
                }
            }
            self.grant();
            self.serve_stats(StatsServer::expire);
            for place in self.due() {
                match self.start_worker(place) {
                    Ok(Some(line)) => return Ok(Some((place, line))),
                    Ok(None) => self.count(Stats::restarted),
                    Err(e) => {
                        log::error!("cannot start a worker: {e}");
                        self.places[place].start_later();
                    }
                }
            }
        }
        Ok(None)
    }

    fn draining(&self) -> bool {
        self.ended_by.is_some()
    }

    fn timeout(&self) -> Option<Duration> {
        let restarts = self.places.iter().filter_map(|place| place.restart.filter(|_| !self.draining()));
        let stats = self.stats.as_ref().and_then(StatsServer::deadline);
        let memory = self.memory.deadline().filter(|_| self.grants.may_grant());
        let first = restarts.chain(stats).chain(memory).min()?;
        Some(first.saturating_duration_since(Instant::now()) + Duration::from_millis(1))
    }

    fn serve_stats(&mut self, serve: impl FnOnce(&mut StatsServer, &Registry, &Gauges)) {
        let Some(stats) = &mut self.stats else { return };
        let gauges = Gauges {
            slots: self.grants.slots(),
            in_use: self.grants.in_use(),
            waiting: self.grants.waiting(),
            workers: self.places[..self.workers].iter().filter(|place| place.worker.is_some()).count(),
        };
        serve(stats, self.poll.registry(), &gauges);
    }

    fn count(&mut self, count: impl FnOnce(&mut Stats)) {
        if let Some(server) = &mut self.stats {
            count(&mut server.stats);
        }
    }

    fn due(&self) -> Vec<usize> {
        let now = Instant::now();
        let due = |place: &Place| !self.draining() && place.restart.is_some_and(|at| at <= now);
        (0..self.places.len()).filter(|at| due(&self.places[*at])).collect()
    }

    fn signals(&mut self) {
        while let Some(signal) = self.signals.next() {
            match signal {
                Signal::CHLD => {}
                Signal::HUP => self.reopen_log(),
                _ => self.end(signal),
            }
        }
        while let Some((pid, status)) = process::try_wait_any() {
            self.worker_ended(pid, status);
        }
    }

    /// A log file that has been moved away is made anew, by every process that writes it.
    fn reopen_log(&self) {
        ending::reopen_log(&self.manager);
        for worker in self.places.iter().filter_map(|place| place.worker.as_ref()) {
            let _ = worker.pid.kill(Signal::HUP);
        }
    }

    /// The first signal lets running jobs finish, the second does not.
    fn end(&mut self, signal: Signal) {
        let at_once = self.draining();
        ending::announce(signal, at_once, &self.manager);
        self.ended_by.get_or_insert(signal);
        let message = if at_once { ToWorker::Stop } else { ToWorker::Drain };
        for place in 0..self.places.len() {
            self.tell(place, message);
        }
    }

    fn worker_ended(&mut self, pid: Pid, status: WaitStatus) {
        let ended = |place: &Place| place.worker.as_ref().is_some_and(|worker| worker.pid == pid);
        let Some(at) = self.places.iter().position(ended) else { return };
        let draining = self.draining();
        // What it said before it died counts: it may have given slots back.
        self.hear(at);
        self.count(|stats| stats.forget_worker(at));
        let place = &mut self.places[at];
        let Some(worker) = place.worker.take() else { return };
        place.unsent.clear();
        let _ = self.poll.registry().deregister(&mut SourceFd(&worker.line.as_raw_fd()));
        self.grants.forget_worker(at);
        // A compiler's driver dies with its worker by itself, what it has started does not.
        for group in worker.compilers.values() {
            let _ = group.kill_group(Signal::KILL);
        }
        if !self.keep_files {
            job::sweep(worker.pid);
        }
        if draining {
            return;
        }
        let (what, number) = (if at < self.workers { "worker" } else { "announcer" }, pid.number());
        match status.signal() {
            Some(signal) => log::error!("{what} {number} died: {}", signal.description()),
            None => log::error!("{what} {number} ended with exit code {}", status.code().unwrap_or(0)),
        }
        if worker.since.elapsed() > SETTLED {
            place.delay = Duration::ZERO;
            place.restart = Some(Instant::now());
        } else {
            place.start_later();
        }
    }

    /// Reads what the worker in `place` says. A closed line is left to the end of its process.
    fn hear(&mut self, place: usize) {
        let Some(worker) = &mut self.places[place].worker else { return };
        let mut packet = [0; message::MAX_LEN];
        loop {
            let len = match file::receive_message(worker.line.as_fd(), &mut packet) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Ok(0) | Err(_) => return,
                Ok(len) => len,
            };
            match ToSupervisor::decode(&packet[..len]) {
                Some(ToSupervisor::Want(job, client)) => {
                    self.grants.want(JobId { worker: place, job }, client)
                }
                Some(ToSupervisor::GiveBack(job)) => {
                    worker.compilers.remove(&job);
                    let id = JobId { worker: place, job };
                    self.grants.give_back(id);
                    if let Some(server) = &mut self.stats {
                        server.stats.compiled(id);
                    }
                }
                Some(ToSupervisor::Runs(job, group)) => {
                    if let Some(group) = Pid::from_number(group) {
                        worker.compilers.insert(job, group);
                    }
                }
                Some(ToSupervisor::Report(report)) => {
                    if let Some(server) = &mut self.stats {
                        record(&mut server.stats, place, report);
                    }
                }
                None => log::error!("unknown message from worker {}", worker.pid.number()),
            }
        }
    }

    fn grant(&mut self) {
        while let Some(JobId { worker, job }) =
            self.grants.grant_next(|| self.memory.is_short(Instant::now()))
        {
            self.tell(worker, ToWorker::Grant(job));
        }
    }

    fn tell(&mut self, place: usize, message: ToWorker) {
        if self.places[place].worker.is_some() {
            self.places[place].unsent.push_back(message);
            self.flush(place);
        }
    }

    /// Sends what the line has room for; its writability brings us back for the rest.
    fn flush(&mut self, place: usize) {
        let Place { worker: Some(worker), unsent, .. } = &mut self.places[place] else { return };
        while let Some(message) = unsent.front() {
            match file::send_message(worker.line.as_fd(), &message.encode()) {
                Ok(()) => drop(unsent.pop_front()),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    log::error!("worker {} does not listen: {e}; ending it", worker.pid.number());
                    let _ = worker.pid.kill(Signal::KILL);
                    unsent.clear();
                }
            }
        }
    }
}

fn record(stats: &mut Stats, worker: usize, report: Report) {
    let id = |job| JobId { worker, job };
    match report {
        Report::Accepted(_) => stats.accepted(worker),
        Report::Denied => stats.denied(),
        Report::Started(job, what) => stats.started(id(job), what, Instant::now()),
        Report::Finished(job, finished) => stats.finished(id(job), finished, Instant::now()),
    }
}

impl Place {
    /// Waits longer each time, so that what cannot work does not keep the machine busy.
    fn start_later(&mut self) {
        self.delay = (self.delay * 2).clamp(Duration::from_millis(100), MAX_DELAY);
        self.restart = Some(Instant::now() + self.delay);
    }
}

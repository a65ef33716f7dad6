//! The event loop: clients of both kinds, signals, the clock.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mio::net::{UnixListener, UnixStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::connection::{Connection, Progress};
use super::service::Service;
use crate::sorted_map::SortedMap;
use crate::sys::signal::{Signal, SignalPipe};

/// Connections at once; more wait in the kernel.
const MAX_CONNECTIONS: usize = 512;
/// How often a server that is to end by itself looks whether it can still be reached.
const LOOK_EVERY: Duration = Duration::from_secs(20);
/// How long discrepancies of one build are held against the next, where a server outlives builds.
const FORGIVE: Duration = Duration::from_secs(60);
/// How long accepting rests when it has failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const SIGNALS: Token = Token(0);
const END_OF_INPUT: Token = Token(1);
const LISTENERS: [Token; 2] = [Token(2), Token(3)];
const FIRST_CONNECTION: usize = 4;

/// A socket that is listened at, and its name.
pub struct Listening {
    path: PathBuf,
    identity: Option<(u64, u64)>,
    listener: StdListener,
}

impl Listening {
    /// Listens at `path`, which only this user may connect to. What a dead server has left there goes.
    pub fn bind(path: &Path) -> io::Result<Listening> {
        use std::os::unix::fs::{FileTypeExt, PermissionsExt};

        if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
            fs::remove_file(path)?;
        }
        let listener = StdListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(Listening { path: path.to_owned(), identity: identity(path), listener })
    }

    /// Whether the name is still ours.
    fn is_there(&self) -> bool {
        self.identity.is_some() && identity(&self.path) == self.identity
    }

    /// Removes the clients' count of discrepancies.
    fn forgive(&self) -> io::Result<()> {
        fs::remove_file(self.path.with_file_name("discrepancy_counter"))
    }

    /// Takes the name away, if it is still ours.
    fn unlink(&self) {
        if self.is_there() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Which file is at `path`.
fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// When the server is to end by itself.
pub struct Limits {
    /// After this time without a question.
    pub idle: Option<Duration>,
    /// With its standard input.
    pub until_eof: bool,
}

/// Serves until told to end. `sockets` are stock's clients' and our own's.
pub fn serve(
    sockets: [Option<Listening>; 2],
    service: &mut Service,
    limits: &Limits,
    signals: &SignalPipe,
) -> io::Result<()> {
    let mut poll = Poll::new()?;
    poll.registry().register(&mut SourceFd(&signals.as_fd().as_raw_fd()), SIGNALS, Interest::READABLE)?;
    if limits.until_eof {
        poll.registry().register(&mut SourceFd(&0), END_OF_INPUT, Interest::READABLE)?;
    }
    let mut listeners = [const { None }; 2];
    for (at, socket) in sockets.iter().enumerate() {
        let Some(socket) = socket else { continue };
        let mut listener = UnixListener::from_std(socket.listener.try_clone()?);
        poll.registry().register(&mut listener, LISTENERS[at], Interest::READABLE)?;
        listeners[at] = Some(listener);
    }
    let mut server = Server {
        service,
        listeners,
        connections: SortedMap::new(),
        next: FIRST_CONNECTION,
        accept_at: Some(Instant::now()),
        last_question: Instant::now(),
    };
    let program = Program::current();
    let mut events = Events::with_capacity(256);
    let mut ending = false;
    while !ending {
        let now = Instant::now();
        let deadlines =
            server.connections.values().map(|connection| connection.deadline()).chain(server.accept_at);
        let idle = limits.idle.map(|idle| (server.last_question + idle).min(now + LOOK_EVERY));
        let timeout = deadlines.chain(idle).min().map(|at| at.saturating_duration_since(now));
        match poll.poll(&mut events, timeout) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            result => result?,
        }
        let mut accept = server.accept_at.is_some_and(|at| at <= Instant::now());
        for event in &events {
            match event.token() {
                SIGNALS => ending |= signals.next().is_some(),
                END_OF_INPUT => ending |= has_ended(),
                token if LISTENERS.contains(&token) => accept = true,
                Token(number) => server.go_on(number),
            }
        }
        if accept {
            server.accept(&poll);
        }
        let now = Instant::now();
        server.connections.retain(|_, connection| connection.deadline() > now);
        let is_idle = limits.idle.is_some_and(|idle| server.last_question + idle <= now);
        if is_idle && server.connections.is_empty() {
            log::info!("nobody has asked anything for {:?}", limits.idle.unwrap_or_default());
            ending = true;
        }
        if limits.idle.is_some() && server.last_question + FORGIVE <= now {
            let _ = sockets.iter().flatten().take(1).try_for_each(Listening::forgive);
        }
        if limits.idle.is_some() && !sockets.iter().flatten().all(Listening::is_there) {
            log::info!("the socket is gone");
            ending = true;
        }
        // A build's own server stays: nobody would start another one.
        if accept && limits.idle.is_some() && !program.is_current() {
            log::info!("the program has been replaced");
            ending = true;
        }
    }
    sockets.iter().flatten().for_each(Listening::unlink);
    // Who connected before the names were gone still gets an answer.
    server.accept(&poll);
    Ok(())
}

struct Server<'a> {
    service: &'a mut Service,
    listeners: [Option<UnixListener>; 2],
    connections: SortedMap<usize, Box<Connection>>,
    /// The number of the next connection.
    next: usize,
    /// When to accept without being told: events do not come again.
    accept_at: Option<Instant>,
    last_question: Instant,
}

impl Server<'_> {
    fn accept(&mut self, poll: &Poll) {
        self.accept_at = None;
        for kind in 0..self.listeners.len() {
            while let Some(listener) = &self.listeners[kind] {
                if self.connections.len() >= MAX_CONNECTIONS {
                    self.accept_at = Some(Instant::now() + ACCEPT_PAUSE);
                    return;
                }
                match listener.accept() {
                    Ok((stream, _)) => self.welcome(stream, kind == 1, poll),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(e) => {
                        log::warn!("cannot accept a client: {e}");
                        self.accept_at = Some(Instant::now() + ACCEPT_PAUSE);
                        break;
                    }
                }
            }
        }
    }

    fn welcome(&mut self, stream: UnixStream, is_own: bool, poll: &Poll) {
        let number = self.next;
        self.next = self.next.checked_add(1).unwrap_or(FIRST_CONNECTION);
        let mut connection = Connection::new(stream, is_own);
        // Most have asked already, and are done with when this returns.
        let progress = connection.go_on();
        if self.advance(&mut connection, progress) {
            let both = Interest::READABLE | Interest::WRITABLE;
            match poll.registry().register(connection.stream(), Token(number), both) {
                Ok(()) => drop(self.connections.insert(number, Box::new(connection))),
                Err(e) => log::warn!("cannot wait for a client: {e}"),
            }
        }
    }

    fn go_on(&mut self, number: usize) {
        let Some(mut connection) = self.connections.remove(&number) else { return };
        let progress = connection.go_on();
        if self.advance(&mut connection, progress) {
            self.connections.insert(number, connection);
        }
    }

    /// Whether the connection goes on.
    fn advance(&mut self, connection: &mut Connection, progress: Progress) -> bool {
        match progress {
            Progress::Wait => true,
            Progress::Close => false,
            Progress::Asked(asked) => {
                self.last_question = Instant::now();
                let is_own = matches!(asked, super::connection::Asked::Inquiry(_));
                let bytes = self.service.answer(asked);
                let shared = is_own.then(|| self.service.shared().as_fd());
                let progress = connection.answer(bytes, shared);
                matches!(progress, Progress::Wait)
            }
        }
    }
}

/// Whether standard input is at its end.
fn has_ended() -> bool {
    let mut byte = [0];
    loop {
        match io::stdin().lock().read(&mut byte) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return false,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return true,
        }
    }
}

/// The program that this process runs.
struct Program {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl Program {
    fn current() -> Program {
        let path = std::env::current_exe().unwrap_or_default();
        let running = File::open("/proc/self/exe").and_then(|file| file.metadata()).ok();
        Program { path, identity: running.map(|metadata| (metadata.dev(), metadata.ino())) }
    }

    /// Whether its name still means the same file: a newer program answers better.
    fn is_current(&self) -> bool {
        self.identity.is_none() || identity(&self.path) == self.identity
    }
}

/// The signals that end a server.
pub const ENDING: [Signal; 3] = [Signal::TERM, Signal::INT, Signal::HUP];

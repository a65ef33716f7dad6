//! The statistics over HTTP: a second listener in the supervisor's event loop.
//!
//! Whoever may send jobs may ask; nobody gets to hold up the supervisor. A connection costs at most its head's
//! and its answer's memory, there are few of them, each is over after seconds, and nothing here blocks.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};

use crate::daemon::access::Access;
use crate::daemon::http::{self, Head, Page};
use crate::daemon::machine::Machine;
use crate::daemon::stats::{Gauges, Stats};
use crate::scratch;

/// Connections at once. One more, and the oldest makes room: clients that hold their connections keep nobody
/// else out.
const MAX_CLIENTS: usize = 32;
/// How long a connection may last.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long one waits for the first byte of a request. Stock answers without any.
const QUIET: Duration = Duration::from_secs(1);
/// Connections that are accepted before the supervisor looks after its workers again.
const ACCEPT_AT_ONCE: usize = 16;
/// What a client may send behind its request, in bytes, before its connection is closed whether it has read
/// the answer or not.
const MAX_REST: usize = 64 * 1024;
/// How long accepting rests when it has failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The token of the listener; those of the connections are the numbers below it.
const LISTENER: Token = Token(usize::MAX - 1);
const FIRST_CLIENT: usize = usize::MAX - 1 - MAX_CLIENTS;

/// The listener, its connections, and what they ask for.
pub struct StatsServer {
    /// The counts.
    pub stats: Stats,
    machine: Machine,
    listener: TcpListener,
    access: Access,
    clients: [Option<Client>; MAX_CLIENTS],
    /// When to accept again, if not at the next event: edge-triggered events do not come again.
    accept_at: Option<Instant>,
}

struct Client {
    stream: TcpStream,
    state: State,
    since: Instant,
}

enum State {
    /// The head is coming in.
    Reading(Head),
    /// The answer goes out, from this byte on.
    Writing(Vec<u8>, usize),
    /// All is sent. The client has this many bytes left to send, then closes: closing with bytes unread would
    /// reset the connection under the answer.
    Closing(usize),
}

impl Client {
    fn deadline(&self) -> Instant {
        match &self.state {
            State::Reading(head) if head.is_empty() => self.since + QUIET,
            _ => self.since + DEADLINE,
        }
    }
}

/// Whether a connection goes on.
#[derive(PartialEq, Eq)]
enum Next {
    Keep,
    Close,
}

impl StatsServer {
    /// Serves on `listener` whomever `access` allows.
    pub fn new(mut listener: TcpListener, access: Access, registry: &Registry) -> io::Result<StatsServer> {
        registry.register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(StatsServer {
            stats: Stats::new(Instant::now()),
            machine: Machine::default(),
            listener,
            access,
            clients: [const { None }; MAX_CLIENTS],
            accept_at: None,
        })
    }

    /// Whether events with this token are for us.
    pub fn owns(token: Token) -> bool {
        (FIRST_CLIENT..=LISTENER.0).contains(&token.0)
    }

    /// An event has come.
    pub fn ready(&mut self, token: Token, registry: &Registry, gauges: &Gauges) {
        match token {
            LISTENER => self.accept(registry, gauges),
            Token(number) => self.serve(number - FIRST_CLIENT, gauges),
        }
    }

    /// When [`StatsServer::expire`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.clients.iter().flatten().map(Client::deadline).chain(self.accept_at).min()
    }

    /// Does what is due, and ends connections whose time is over.
    pub fn expire(&mut self, registry: &Registry, gauges: &Gauges) {
        let now = Instant::now();
        if self.accept_at.is_some_and(|at| at <= now) {
            self.accept(registry, gauges);
        }
        for at in 0..MAX_CLIENTS {
            let Some(client) = self.clients[at].as_mut().filter(|client| client.deadline() <= now) else {
                continue;
            };
            match &client.state {
                State::Reading(head) if head.is_empty() => {
                    let page = head.page();
                    self.answer(at, page, gauges);
                }
                _ => self.clients[at] = None,
            }
        }
    }

    fn accept(&mut self, registry: &Registry, gauges: &Gauges) {
        self.accept_at = None;
        for _ in 0..ACCEPT_AT_ONCE {
            match self.listener.accept() {
                Ok((stream, peer)) => {
                    if !self.access.allows(peer.ip()) {
                        log::error!(
                            "connection from client '{}:{}' denied by access list",
                            peer.ip().to_canonical(),
                            peer.port()
                        );
                        continue;
                    }
                    self.begin(stream, registry, gauges);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e)
                    if matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted) => {}
                Err(e) => {
                    log::warn!("cannot accept a connection to the statistics: {e}");
                    self.accept_at = Some(Instant::now() + ACCEPT_PAUSE);
                    return;
                }
            }
        }
        self.accept_at = Some(Instant::now());
    }

    fn begin(&mut self, mut stream: TcpStream, registry: &Registry, gauges: &Gauges) {
        let since = |client: &Option<Client>| client.as_ref().map(|client| client.since);
        // None is less than any time: a free place comes before the oldest connection's.
        let Some(at) = (0..MAX_CLIENTS).min_by_key(|at| since(&self.clients[*at])) else { return };
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(e) = registry.register(&mut stream, Token(FIRST_CLIENT + at), interest) {
            log::warn!("cannot watch a connection: {e}");
            return;
        }
        self.clients[at] =
            Some(Client { stream, state: State::Reading(Head::default()), since: Instant::now() });
        self.serve(at, gauges);
    }

    /// Something has happened on a connection. An event may be of one that had the place before; then there is
    /// nothing to read or write yet, or no connection.
    fn serve(&mut self, at: usize, gauges: &Gauges) {
        let Some(client) = &mut self.clients[at] else { return };
        if let State::Reading(head) = &mut client.state {
            match read_head(&mut client.stream, head) {
                Ok(Some(page)) => return self.answer(at, page, gauges),
                Ok(None) => return,
                Err(_) => {
                    self.clients[at] = None;
                    return;
                }
            }
        }
        if client.go_on() == Next::Close {
            self.clients[at] = None;
        }
    }

    fn answer(&mut self, at: usize, page: Page, gauges: &Gauges) {
        let now = Instant::now();
        let body = match page {
            Page::Stock => {
                let machine = self.machine.read(now, &scratch::directory());
                self.stats.stock_page(now, gauges, &machine)
            }
            Page::Metrics => self.stats.metrics(gauges),
            Page::Jobs => self.stats.jobs(now),
        };
        let Some(client) = &mut self.clients[at] else { return };
        client.state = State::Writing(http::answer(page, &body), 0);
        if client.go_on() == Next::Close {
            self.clients[at] = None;
        }
    }
}

/// Reads until the head is complete; the page it asks for.
fn read_head(stream: &mut TcpStream, head: &mut Head) -> io::Result<Option<Page>> {
    let mut buffer = [0; http::MAX_HEAD];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(Some(head.page())),
            Ok(count) => {
                if let Some(page) = head.take(&buffer[..count]) {
                    return Ok(Some(page));
                }
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

impl Client {
    /// Writes the answer, then reads what the client still sends.
    fn go_on(&mut self) -> Next {
        loop {
            let result = match &mut self.state {
                State::Reading(_) => return Next::Keep,
                State::Writing(answer, sent) if *sent == answer.len() => {
                    self.state = State::Closing(MAX_REST);
                    self.stream.shutdown(Shutdown::Write)
                }
                State::Writing(answer, sent) => match self.stream.write(&answer[*sent..]) {
                    Ok(0) => return Next::Close,
                    result => result.map(|count| *sent += count),
                },
                State::Closing(rest) => match self.stream.read(&mut [0; 4096]) {
                    Ok(count) if count > 0 && count <= *rest => {
                        *rest -= count;
                        Ok(())
                    }
                    Ok(_) => return Next::Close,
                    Err(e) => Err(e),
                },
            };
            match result {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Next::Keep,
                Err(_) => return Next::Close,
            }
        }
    }
}

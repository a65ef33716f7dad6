//! `lsdistcc`: which of the named hosts serve compiles.
//!
//! Names are looked up by threads, since the resolver blocks; everything else is one event loop: answers of the
//! resolver, connections, clocks. A host is printed as soon as it is known to be good. Source: reference `client.md`
//! section 5.6.

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token, Waker};

use crate::background::Mailbox;
use crate::console;
use crate::program::{self, Ending};
use crate::sorted_map::SortedMap;
use crate::sys::thread;
use crate::wire;

mod options;
mod probe;

use options::{Names, Options};
use probe::{Probe, Progress};

const USAGE: &str = "\
Usage: lsdistcc [OPTIONS] [FORMAT | HOST...]

Prints those of the named hosts that serve compiles, as entries for DISTCC_HOSTS. FORMAT
(default distcc%d) stands for a series of names, from 1 to the first that does not exist.

  -l       the latency in ms after each host
  -n       addresses instead of names
  -x       also hosts that do not serve, marked ,down
  -tSEC    end after this time [7; 0: never]
  -hMS     look a name up again after this time [500]
  -cMS     time to connect [900; 0: do not connect]
  -kMS     time for the test compile [1500; 0: none]
  -mBITS   leading bits in common with the first address [0]
  -oN      extra look-ups at the same time [1]
  -gN      missing names to tolerate in a series [0]
  -rPORT   the port [3632]
  -PN      the protocol, 1 to 3 [1]
  -pNAME   test with this compiler, such as -pgcc
  --zeroconf
           instead: the servers that announce themselves in this network, and what they offer
  -d       append this machine's domain to the names
  -v       say on standard error what happens
";

/// Stock's exit code for a wrong command line and for nothing found.
const NOTHING: Ending = Ending::Code(1);

/// The personality `lsdistcc`.
pub fn main(args: &[OsString]) -> Ending {
    if args.first().is_some_and(|word| word == "--help") {
        return program::answer("lsdistcc", format_args!("{USAGE}"));
    }
    if args.iter().any(|word| word == "--zeroconf") {
        return announced(args);
    }
    let options = match options::parse(args) {
        Ok(options) => options,
        Err(reason) => {
            console::err(format_args!("lsdistcc: {reason}\nTry 'lsdistcc --help'.\n"));
            return NOTHING;
        }
    };
    match Search::new(options).and_then(Search::run) {
        Ok(0) => NOTHING,
        Ok(_) => Ending::Code(0),
        Err(e) => {
            console::err(format_args!("lsdistcc: {e}\n"));
            NOTHING
        }
    }
}

/// Prints the servers that announce themselves, found anew.
#[cfg(feature = "zeroconf")]
fn announced(args: &[OsString]) -> Ending {
    use crate::hosts;
    use crate::zeroconf::background::Search;

    if args.len() > 1 {
        console::err(format_args!("lsdistcc: --zeroconf goes with nothing else\nTry 'lsdistcc --help'.\n"));
        return NOTHING;
    }
    let found = Search::new(&[]).and_then(|mut search| search.thoroughly());
    let servers = match found {
        Ok(servers) => servers,
        Err(e) => {
            console::err(format_args!("lsdistcc: cannot look for servers: {e}\n"));
            return NOTHING;
        }
    };
    let lines: String = hosts::parse("+zeroconf").announced.iter().fold(String::new(), |text, announced| {
        servers.iter().fold(text, |text, server| {
            let host = announced.host(&server.address.host, server.address.port, &server.offer);
            text + &format!("{}  # {}: {}\n", host.spec, server.name.escape_debug(), server.offer.summary())
        })
    });
    match program::answer("lsdistcc", format_args!("{lines}")) {
        Ending::Code(0) if servers.is_empty() => NOTHING,
        ending => ending,
    }
}

#[cfg(not(feature = "zeroconf"))]
fn announced(_args: &[OsString]) -> Ending {
    console::err(format_args!("lsdistcc: --zeroconf: this one is built without it\n"));
    NOTHING
}

/// What stock's test compile compiles.
const SOURCE: &[u8] = b"int foo(){return 0;}";

/// Look-ups of a list at the same time, and tries for each name.
const MOST_LOOK_UPS: usize = 32;
const MOST_TRIES: u32 = 5;

/// A name's index and its addresses.
type Answer = (usize, io::Result<Vec<IpAddr>>);

struct LookUp {
    tries: u32,
    again: Instant,
}

struct Search {
    options: Options,
    domain: String,
    request: Vec<u8>,
    poll: Poll,
    waker: Arc<Waker>,
    answers: Arc<Mailbox<Answer>>,
    /// The first name that has not been looked up.
    next: usize,
    look_ups: SortedMap<usize, LookUp>,
    probes: SortedMap<Token, Probe>,
    addresses: SortedMap<usize, IpAddr>,
    first_address: Option<IpAddr>,
    missing: usize,
    found: usize,
    reader_has_gone: bool,
}

/// Of the answers of look-ups; probes have the index of their names.
const WAKER: Token = Token(usize::MAX);

impl Search {
    fn new(options: Options) -> io::Result<Search> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let domain = match options.domain {
            true => domain().ok_or_else(|| io::Error::other("-d: this machine's domain is not known"))?,
            false => String::new(),
        };
        let request = match (&options.compiler, options.compile) {
            (Some(compiler), Some(_)) => wire::probe::request(compiler, options.protocol, SOURCE),
            _ => Vec::new(),
        };
        Ok(Search {
            options,
            domain,
            request,
            poll,
            waker,
            answers: Mailbox::new(),
            next: 0,
            look_ups: SortedMap::new(),
            probes: SortedMap::new(),
            addresses: SortedMap::new(),
            first_address: None,
            missing: 0,
            found: 0,
            reader_has_gone: false,
        })
    }

    /// Until all is known or the time is over; the number of good hosts.
    fn run(mut self) -> io::Result<usize> {
        let end = self.options.total.map(|total| Instant::now() + total);
        let mut events = Events::with_capacity(64);
        loop {
            self.start_look_ups()?;
            let is_over = end.is_some_and(|end| end <= Instant::now());
            if is_over || self.reader_has_gone || (self.look_ups.is_empty() && self.probes.is_empty()) {
                return Ok(self.found);
            }
            let clocks =
                self.look_ups.values().map(|it| it.again).chain(self.probes.values().map(|it| it.deadline));
            let next = clocks.chain(end).min();
            let wait = next.map(|next| next.saturating_duration_since(Instant::now()));
            match self.poll.poll(&mut events, wait) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                result => result?,
            }
            for event in &events {
                self.advance(event.token());
            }
            for (index, addresses) in self.answers.take(Instant::now()) {
                self.take_addresses(index, addresses);
            }
            self.look_at_clocks();
        }
    }

    fn start_look_ups(&mut self) -> io::Result<()> {
        let (most, tolerated) = match &self.options.names {
            Names::Series { .. } => (1 + self.options.overlap, self.options.gap),
            Names::List(_) => (MOST_LOOK_UPS, usize::MAX),
        };
        while self.next < self.options.names.len() && self.look_ups.len() < most && self.missing <= tolerated
        {
            let index = self.next;
            self.next += 1;
            self.say(format_args!("looking up {}", self.name(index)));
            self.look_ups
                .insert(index, LookUp { tries: 1, again: Instant::now() + self.options.look_up_again });
            match self.name(index).parse() {
                // Needs no resolver; and with -m the first in the list is the first to be known.
                Ok(address) => self.take_addresses(index, Ok(vec![address])),
                Err(_) => self.look_up(index)?,
            }
        }
        Ok(())
    }

    fn look_up(&self, index: usize) -> io::Result<()> {
        let name = self.name(index);
        let (answers, waker) = (Arc::clone(&self.answers), Arc::clone(&self.waker));
        let ask = move || {
            let addresses =
                (name.as_str(), 0).to_socket_addrs().map(|found| found.map(|it| it.ip()).collect());
            answers.put((index, addresses));
            let _ = waker.wake();
        };
        thread::start(Box::new(ask))
    }

    fn name(&self, index: usize) -> String {
        self.options.names.name(index, &self.domain)
    }

    fn take_addresses(&mut self, index: usize, addresses: io::Result<Vec<IpAddr>>) {
        // The answer to another try may have been faster.
        if self.look_ups.remove(&index).is_none() {
            return;
        }
        let addresses = match addresses {
            Ok(addresses) => addresses,
            Err(e) => {
                self.say(format_args!("{}: {e}", self.name(index)));
                Vec::new()
            }
        };
        // As stock, which knows no others.
        let address = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
        let Some(&address) = address else {
            self.missing += 1;
            return;
        };
        let first = *self.first_address.get_or_insert(address);
        if !share_bits(first, address, self.options.same_bits) {
            self.say(format_args!("{}: {address} is in another network than {first}", self.name(index)));
            return;
        }
        self.addresses.insert(index, address);
        let Some(connect) = self.options.connect else {
            self.good(index, Duration::ZERO);
            return;
        };
        let times = (connect, self.options.compile.unwrap_or_default());
        let address = SocketAddr::new(address, self.options.port);
        let probe = Probe::start(index, address, &self.request, self.options.protocol, times).and_then(
            |mut probe| {
                let interest = Interest::READABLE | Interest::WRITABLE;
                self.poll.registry().register(&mut probe.stream, Token(index), interest)?;
                Ok(probe)
            },
        );
        match probe {
            Ok(probe) => drop(self.probes.insert(Token(index), probe)),
            Err(e) => self.bad(index, &e.to_string(), Duration::ZERO),
        }
    }

    fn advance(&mut self, token: Token) {
        let Some(probe) = self.probes.get_mut(&token) else { return };
        let progress = probe.advance();
        self.conclude(token, progress);
    }

    fn conclude(&mut self, token: Token, progress: Progress) {
        if progress == Progress::Waiting {
            return;
        }
        let Some(probe) = self.probes.remove(&token) else { return };
        match progress {
            Progress::Good => self.good(probe.index, probe.elapsed()),
            _ => self.bad(probe.index, &probe.reason, probe.elapsed()),
        }
    }

    fn look_at_clocks(&mut self) {
        let now = Instant::now();
        let late: Vec<Token> =
            self.probes.iter().filter(|(_, probe)| probe.deadline <= now).map(|(token, _)| *token).collect();
        for token in late {
            self.conclude(token, Progress::Bad);
        }
        let again: Vec<usize> =
            self.look_ups.iter().filter(|(_, it)| it.again <= now).map(|(index, _)| *index).collect();
        for index in again {
            let Some(look_up) = self.look_ups.get_mut(&index) else { continue };
            look_up.tries += 1;
            look_up.again = now + self.options.look_up_again;
            if look_up.tries > MOST_TRIES || self.look_up(index).is_err() {
                self.take_addresses(index, Err(io::ErrorKind::TimedOut.into()));
            }
        }
    }

    fn good(&mut self, index: usize, took: Duration) {
        self.found += 1;
        self.print(index, "", took);
    }

    fn bad(&mut self, index: usize, reason: &str, took: Duration) {
        self.say(format_args!("{}: {reason}", self.name(index)));
        if self.options.down_too {
            self.print(index, ",down", took);
        }
    }

    fn print(&mut self, index: usize, down: &str, took: Duration) {
        let name = match self.addresses.get(&index) {
            Some(IpAddr::V6(address)) if self.options.addresses => format!("[{address}]"),
            Some(address) if self.options.addresses => address.to_string(),
            _ => match self.name(index) {
                name if name.contains(':') => format!("[{name}]"),
                name => name,
            },
        };
        let port = match self.options.port {
            crate::hosts::DEFAULT_PORT => String::new(),
            port => format!(":{port}"),
        };
        let suffix = ["", ",lzo", ",lzo,cpp"][self.options.protocol as usize - 1];
        let latency = if self.options.latency { format!(" {}", took.as_millis()) } else { String::new() };
        let line = format_args!("{name}{port}{suffix}{down}{latency}\n");
        self.reader_has_gone |= console::out(line).is_err();
    }

    fn say(&self, text: std::fmt::Arguments) {
        if self.options.verbose {
            console::err(format_args!("lsdistcc: {text}\n"));
        }
    }
}

/// Whether the first `bits` of two addresses are the same.
fn share_bits(a: IpAddr, b: IpAddr, bits: u32) -> bool {
    if bits == 0 {
        return true;
    }
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()) >> (32 - bits) == 0,
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()) >> (128 - bits) == 0,
        _ => false,
    }
}

/// `.DOMAIN` of this machine: from the longer of `HOST` and `HOSTNAME`, from its own name, or from the resolver's
/// configuration.
fn domain() -> Option<String> {
    let of = |name: String| name.find('.').map(|dot| name[dot..].trim_end().to_owned());
    let named = ["HOST", "HOSTNAME"].into_iter().filter_map(|name| std::env::var(name).ok().and_then(of));
    let file = |path: &str| std::fs::read_to_string(path).ok();
    named.max_by_key(String::len).or_else(|| file("/proc/sys/kernel/hostname").and_then(of)).or_else(|| {
        let text = file("/etc/resolv.conf")?;
        let mut words = text.lines().map(str::split_whitespace);
        words.find_map(|mut line| match line.next() {
            Some("domain" | "search") => line.next().map(|domain| format!(".{domain}")),
            _ => None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_compared_by_leading_bits() {
        let share = |a: &str, b: &str, bits| share_bits(a.parse().unwrap(), b.parse().unwrap(), bits);
        assert!(share("10.0.0.1", "192.168.0.1", 0));
        assert!(share("10.0.0.1", "10.0.0.200", 24) && !share("10.0.0.1", "10.0.1.1", 24));
        assert!(share("::1", "::2", 31) && !share("::1", "127.0.0.1", 1));
    }
}

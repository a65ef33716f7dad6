//! The sockets of all interfaces, and a [`Speaker`] for each.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::{GROUP_V4, GROUP_V6, MAX_MESSAGE, PORT, Speaker};
use crate::sorted_map::SortedMap;
use crate::sys::multicast::{self, Interface, Network};

/// Messages that are heard on a link in a second. More than that is a flood, of which the rest is thrown away.
const MOST_HEARD: u32 = 200;

/// Interfaces that are served at most.
const MOST_LINKS: usize = 64;

const CHANGES: Token = Token(usize::MAX);
const WAKE: Token = Token(usize::MAX - 1);

/// One interface. (What speaks there is apart from it, so that there is one copy of this code for all kinds of speakers.)
struct Link {
    networks: Vec<Network>,
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    /// Messages since then.
    heard: (Instant, u32),
}

/// All interfaces.
pub struct Links<S> {
    poll: Poll,
    events: Events,
    changes: OwnedFd,
    /// Which interfaces, and which addresses of them.
    wanted: Wanted,
    /// By the kernel's number.
    links: SortedMap<u32, (Link, S)>,
    buffer: Vec<u8>,
}

/// What is to be used of what there is.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Names of interfaces; all if none is named.
    pub interfaces: Vec<String>,
    /// The only address.
    pub address: Option<IpAddr>,
}

impl Wanted {
    fn choose(&self, mut found: Vec<Interface>) -> Vec<Interface> {
        found.retain_mut(|it| {
            it.networks.retain(|network| self.address.is_none_or(|only| only == network.address));
            let is_named = self.interfaces.is_empty() || self.interfaces.contains(&it.name);
            is_named && !it.networks.is_empty()
        });
        found.truncate(MOST_LINKS);
        found
    }
}

impl<S: Speaker> Links<S> {
    /// Without any link yet: they come with [`Links::refresh`]. What comes in at one of `wake` ends a wait.
    pub fn new(wanted: Wanted, wake: &[BorrowedFd]) -> io::Result<Links<S>> {
        let poll = Poll::new()?;
        let changes = multicast::changes()?;
        let register = |fd: BorrowedFd, token| {
            poll.registry().register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE)
        };
        register(changes.as_fd(), CHANGES)?;
        wake.iter().try_for_each(|fd| register(*fd, WAKE))?;
        Ok(Links {
            poll,
            events: Events::with_capacity(32),
            changes,
            wanted,
            links: SortedMap::new(),
            buffer: vec![0; MAX_MESSAGE],
        })
    }

    /// What happens on each link.
    pub fn speakers(&mut self) -> impl Iterator<Item = (u32, &mut S)> {
        self.links.iter_mut().map(|(index, (_, speaker))| (*index, speaker))
    }

    /// This machine's own addresses on the links.
    pub fn own_addresses(&self) -> Vec<IpAddr> {
        self.links.values().flat_map(|(link, _)| &link.networks).map(|network| network.address).collect()
    }

    /// Looks which interfaces there are; whether a link has gone.
    pub fn refresh(&mut self, make: impl Fn(Instant) -> S) -> io::Result<bool> {
        multicast::forget_changes(self.changes.as_fd());
        let now = Instant::now();
        let found = self.wanted.choose(multicast::interfaces()?);
        let machine: Vec<IpAddr> =
            found.iter().flat_map(|interface| &interface.networks).map(|network| network.address).collect();
        let before = self.links.len();
        self.links.retain(|index, _| found.iter().any(|interface| interface.index == *index));
        let has_lost = self.links.len() < before;
        for interface in found {
            let new = || (Link { networks: Vec::new(), v4: None, v6: None, heard: (now, 0) }, make(now));
            let (link, speaker) = self.links.get_or_insert_with(interface.index, new);
            if link.networks == interface.networks {
                continue;
            }
            link.networks = interface.networks;
            link.open_sockets(interface.index, &self.poll, &interface.name);
            let addresses: Vec<IpAddr> = link.networks.iter().map(|network| network.address).collect();
            speaker.set_addresses(&addresses, &machine, now);
        }
        self.speak(now);
        Ok(has_lost)
    }

    /// Listens and speaks until something has happened, or until `until`. True if interfaces have changed.
    pub fn turn(&mut self, until: Option<Instant>) -> io::Result<bool> {
        let deadlines = self.links.values().filter_map(|(_, speaker)| speaker.deadline());
        let next = deadlines.chain(until).min();
        // Rounded up, so that no wait ends just before its time.
        let wait = next.map(|next| next.saturating_duration_since(Instant::now()) + Duration::from_millis(1));
        match self.poll.poll(&mut self.events, wait) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(false),
            result => result?,
        }
        let now = Instant::now();
        let mut has_changed = false;
        for event in &self.events {
            match event.token() {
                CHANGES => has_changed = true,
                WAKE => {}
                Token(number) => {
                    let Some((link, speaker)) = self.links.get_mut(&((number / 2) as u32)) else { continue };
                    link.listen(number % 2 == 1, speaker, &mut self.buffer, now);
                }
            }
        }
        self.speak(now);
        Ok(has_changed)
    }

    /// Sends what the speakers have to say. That a datagram cannot be sent is as if it were lost.
    pub fn speak(&mut self, now: Instant) {
        for (link, speaker) in self.links.values_mut() {
            link.speak(speaker, now);
        }
    }
}

impl Link {
    fn speak(&self, speaker: &mut dyn Speaker, now: Instant) {
        if speaker.deadline().is_some_and(|deadline| deadline <= now) {
            speaker.advance(now);
        }
        while let Some((to, message)) = speaker.next_message() {
            let all = [SocketAddr::from((GROUP_V4, PORT)), SocketAddr::from((GROUP_V6, PORT))];
            for (socket, group) in [&self.v4, &self.v6].into_iter().zip(all) {
                let Some(socket) = socket else { continue };
                let to = to.unwrap_or(group);
                if to.is_ipv4() == group.is_ipv4() {
                    let _ = socket.send_to(&message, to);
                }
            }
        }
    }

    fn open_sockets(&mut self, index: u32, poll: &Poll, name: &str) {
        let has = |v4: bool| self.networks.iter().any(|network| network.address.is_ipv4() == v4);
        let open = |result: io::Result<std::net::UdpSocket>, odd: usize| {
            let opened = result.and_then(|socket| {
                let mut socket = UdpSocket::from_std(socket);
                let token = Token(index as usize * 2 + odd);
                poll.registry().register(&mut socket, token, Interest::READABLE)?;
                Ok(socket)
            });
            opened.inspect_err(|e| log::warn!("no multicast DNS on {name}: {e}")).ok()
        };
        if has(true) != self.v4.is_some() {
            self.v4 = None;
            if has(true) {
                self.v4 = open(multicast::socket_v4(GROUP_V4, PORT, index), 0);
            }
        }
        if has(false) != self.v6.is_some() {
            self.v6 = None;
            if has(false) {
                self.v6 = open(multicast::socket_v6(GROUP_V6, PORT, index), 1);
            }
        }
    }

    fn listen(&mut self, v6: bool, speaker: &mut dyn Speaker, buffer: &mut [u8], now: Instant) {
        let Some(socket) = (if v6 { &self.v6 } else { &self.v4 }) else { return };
        if now >= self.heard.0 + Duration::from_secs(1) {
            self.heard = (now, 0);
        }
        loop {
            match socket.recv_from(buffer) {
                Ok((len, from)) => {
                    // Whoever is not on this link is none of our neighbours (RFC 6762 section 11).
                    let is_near = self.networks.iter().any(|network| network.contains(from.ip()));
                    if is_near && self.heard.1 < MOST_HEARD {
                        self.heard.1 += 1;
                        speaker.hear(&buffer[..len], from, now);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }
}

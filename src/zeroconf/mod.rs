//! Servers that find themselves: DNS service discovery over multicast DNS (RFC 6763, RFC 6762), with stock's names, so
//! that the world of Avahi sees our servers and we see theirs (reference `daemon.md` section 14, `client.md` section 3.7).
//!
//! [`Announcer`] and [`Browser`] decide, each for one network interface, without I/O or a clock of their own; [`links`]
//! has the sockets and the interfaces. A server announces from a small process beside the daemon. A client never waits
//! for the network: it reads [`found`]'s file, which a background process of the user keeps up to date ([`background`]).

pub mod announcer;
mod answers;
pub mod background;
pub mod browser;
mod cache;
pub mod found;
pub mod links;
mod random;
mod records;

pub use announcer::Announcer;
pub use browser::Browser;
pub use cache::Server;
pub use records::Service;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use crate::dns::Name;

/// Where multicast DNS is spoken (RFC 6762 section 3).
pub const PORT: u16 = 5353;
/// The group of IPv4.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
/// The group of IPv6, of which every link has its own.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);

/// The largest message (RFC 6762 section 17), and what we send at most.
pub const MAX_MESSAGE: usize = 9000;
const MAX_SENT: usize = 1400;

/// The type of our service.
pub fn service_type() -> Name {
    Name::new(["_distcc", "_tcp", "local"])
}

/// A number that no other daemon is likely to have.
pub fn random_id() -> u32 {
    random::Random::new().number() as u32
}

/// One side of the conversation on one link. It is told what happens and when; what it has to say is fetched from it.
pub trait Speaker {
    /// A message has come from a neighbour.
    fn hear(&mut self, message: &[u8], from: SocketAddr, now: Instant);
    /// When [`Speaker::advance`] is due, if nothing happens before.
    fn deadline(&self) -> Option<Instant>;
    /// Time has passed.
    fn advance(&mut self, now: Instant);
    /// The addresses of this link, and of the whole machine.
    fn set_addresses(&mut self, link: &[IpAddr], machine: &[IpAddr], now: Instant);
    /// The next message to send: to one neighbour, or to all.
    fn next_message(&mut self) -> Option<(Option<SocketAddr>, Vec<u8>)>;
}

#[cfg(test)]
mod tests;

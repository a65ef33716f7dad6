//! How it is sent: all at once or in drops, to the end or not, with a proper close, a half one or a reset, by clients
//! that take their answer, take it slowly, or never.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::arsenal::Arsenal;
use crate::util::Random;
use crate::util::net::{connect_from, loopback, reset};

/// Clients that one attacker keeps waiting.
const PARKED: usize = 40;
/// A server that has not closed after so long holds the connection for ever.
const PATIENCE: Duration = Duration::from_secs(30);
/// Addresses that the attack comes from.
const ADDRESSES: usize = 500;

/// One of several at once.
pub struct Attacker<'a> {
    arsenal: &'a Arsenal,
    random: Random,
    port: u16,
    stats_port: u16,
    parked: VecDeque<TcpStream>,
}

impl<'a> Attacker<'a> {
    pub fn new(arsenal: &'a Arsenal, seed: u64, port: u16, stats_port: u16) -> Attacker<'a> {
        Attacker { arsenal, random: Random::new(seed), port, stats_port, parked: VecDeque::new() }
    }

    /// One hostile stream; `number` spreads the rare large ones, of which each comes early once.
    pub fn strike(&mut self, number: usize) {
        match number {
            // The largest bombs take seconds and a GB each.
            _ if number % 250_000 == 100 => return self.bomb(2),
            _ if number % 5_000 == 60 => return self.bomb(1),
            _ if number % 200 == 40 => return self.bomb(0),
            _ => {}
        }
        if self.random.below(10) == 0 {
            let bytes = self.arsenal.http(&mut self.random);
            self.deliver(self.stats_port, &bytes);
        } else {
            let bytes = self.arsenal.hostile(&mut self.random);
            self.deliver(self.port, &bytes);
        }
    }

    fn connect(&mut self, port: u16) -> Option<TcpStream> {
        let source = loopback(self.random.below(ADDRESSES));
        // A small buffer keeps the daemon busy with the answer.
        let receive_buffer = (self.random.below(4) == 0).then_some(2048);
        connect_from(source, port, receive_buffer).ok()
    }

    /// The whole of it, and the answer.
    fn bomb(&mut self, size: usize) {
        let Some(mut stream) = self.connect(self.port) else { return };
        let _ = stream.write_all(self.arsenal.bomb(size));
        match self.random.below(3) {
            0 => reset(stream),
            1 => self.park(stream),
            _ => read_until_closed(&mut stream),
        }
    }

    fn deliver(&mut self, port: u16, bytes: &[u8]) {
        let Some(mut stream) = self.connect(port) else { return };
        let cut = self.random.below(bytes.len() + 1);
        match self.random.below(12) {
            // Resets before the first byte, in the middle, and at any time behind the last: the job waits, runs, or
            // its answer is on the way.
            0 => reset(stream),
            1 => {
                let _ = stream.write_all(&bytes[..cut]);
                reset(stream);
            }
            2 | 3 => {
                let _ = stream.write_all(bytes);
                std::thread::sleep(Duration::from_micros(self.random.below(4000) as u64));
                reset(stream);
            }
            4 => {
                let _ = stream.write_all(bytes).and_then(|()| {
                    stream.set_read_timeout(Some(Duration::from_millis(5)))?;
                    stream.read(&mut [0; 20])
                });
                reset(stream);
            }
            5 => {
                let _ = stream.write_all(bytes);
            }
            6 => {
                let _ = stream.write_all(&bytes[..cut]);
                self.park(stream);
            }
            7 => {
                let _ = stream.write_all(bytes);
                self.park(stream);
            }
            8 => {
                let _ = stream.set_nodelay(true);
                for piece in bytes.chunks(1 + self.random.below(30)).take(20) {
                    if stream.write_all(piece).is_err() {
                        break;
                    }
                }
            }
            _ => {
                let _ = stream.write_all(bytes);
                let _ = stream.shutdown(Shutdown::Write);
                read_until_closed(&mut stream);
            }
        }
    }

    /// Keeps a connection without another word; the oldest goes, and some take a little of their answer.
    fn park(&mut self, stream: TcpStream) {
        let _ = stream.set_nonblocking(true);
        self.parked.push_back(stream);
        if self.parked.len() > PARKED {
            self.parked.pop_front();
        }
        let at = self.random.below(self.parked.len());
        let _ = self.parked[at].read(&mut [0; 7]);
    }
}

/// Panics if the server does not close.
fn read_until_closed(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 65536];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => {
                let late = matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                assert!(!late, "the connection is still open after {PATIENCE:?}");
                return;
            }
        }
    }
}

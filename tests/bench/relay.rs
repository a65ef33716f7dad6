//! A line of so many bits a second between clients and a server, as a relay on the loopback address: a token bucket for
//! each direction, shared by all connections.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes that go at once; connections take turns in such pieces.
const PIECE: usize = 8 * 1024;
/// How long the line may have been idle and still make up for it: more than a sleep is late, less than a job takes.
const BURST: Duration = Duration::from_millis(5);

/// Full duplex, without delay and without the overhead of packets.
pub struct Line {
    /// Where clients find it.
    pub port: u16,
    server: Arc<AtomicU16>,
    carried: Arc<AtomicU64>,
}

impl Line {
    /// With so many millions of bits a second in each direction.
    pub fn start(megabits: u32) -> Line {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (server, carried) = (Arc::new(AtomicU16::new(0)), Arc::new(AtomicU64::new(0)));
        let (to, count) = (Arc::clone(&server), Arc::clone(&carried));
        thread::spawn(move || {
            let directions = [Bucket::new(megabits), Bucket::new(megabits)].map(Arc::new);
            for client in listener.incoming() {
                let client = client.unwrap();
                let server = TcpStream::connect(("127.0.0.1", to.load(Ordering::Relaxed))).unwrap();
                let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
                for ((from, to), bucket) in [(client, server), back].into_iter().zip(&directions) {
                    let (bucket, count) = (Arc::clone(bucket), Arc::clone(&count));
                    thread::spawn(move || carry(from, to, &bucket, &count));
                }
            }
        });
        Line { port, server, carried }
    }

    /// From now on connections lead to this port.
    pub fn lead_to(&self, port: u16) {
        self.server.store(port, Ordering::Relaxed);
    }

    /// Bytes so far, both directions together.
    pub fn carried(&self) -> u64 {
        self.carried.load(Ordering::Relaxed)
    }
}

/// Until either end closes; an end that has closed in this direction may still read.
fn carry(mut from: TcpStream, mut to: TcpStream, bucket: &Bucket, carried: &AtomicU64) {
    let _ = to.set_nodelay(true);
    let mut buffer = [0; PIECE];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        bucket.take(count);
        carried.fetch_add(count as u64, Ordering::Relaxed);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

struct Bucket {
    bytes_per_second: f64,
    /// When what has been taken is through.
    free: Mutex<Instant>,
}

impl Bucket {
    fn new(megabits: u32) -> Bucket {
        Bucket { bytes_per_second: f64::from(megabits) * 1e6 / 8.0, free: Mutex::new(Instant::now()) }
    }

    /// Returns when so many bytes are through.
    fn take(&self, bytes: usize) {
        let now = Instant::now();
        let through = {
            let mut free = self.free.lock().unwrap();
            let start = now.checked_sub(BURST).map_or(*free, |earliest| free.max(earliest));
            *free = start + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second);
            *free
        };
        thread::sleep(through.saturating_duration_since(now));
    }
}

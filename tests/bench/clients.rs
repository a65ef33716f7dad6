//! Clients to be measured, and a server that costs them nothing: a thread that answers at once.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use distcc::wire::lzo::Encoder;
use distcc::wire::reply::{self, Part};
use distcc::wire::request::{Decoder, Event};
use distcc::wire::{Version, limits};

use crate::rig::cpu_of;

/// Runs a client to its end; its seconds of processor time, with `alone` without those of its children.
#[allow(unsafe_code)]
#[expect(clippy::zombie_processes, reason = "waited for below, with its account")]
pub fn run(command: &mut Command, alone: bool) -> f64 {
    let child = command.spawn().unwrap();
    let pid = child.id();
    // SAFETY: all pointers are to locals that live through the calls; the zeroed structures are plain numbers.
    unsafe {
        let mut own = 0.0;
        if alone {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let left = libc::waitid(libc::P_PID, pid, &mut info, libc::WEXITED | libc::WNOWAIT);
            assert_eq!(left, 0, "{}", std::io::Error::last_os_error());
            // While it has ended and is not forgotten.
            own = cpu_of(pid) / 1e9;
        }
        let (mut status, mut usage) = (0, std::mem::zeroed::<libc::rusage>());
        let ended = libc::wait4(pid as libc::pid_t, &mut status, 0, &mut usage);
        assert_eq!((ended, status), (pid as libc::pid_t, 0), "{command:?}");
        let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
        if alone { own } else { seconds(usage.ru_utime) + seconds(usage.ru_stime) }
    }
}

/// Reads each request and sends what has been prepared.
pub struct InstantServer {
    /// Of the loopback address.
    pub port: u16,
    answer: Arc<Mutex<Vec<u8>>>,
}

impl InstantServer {
    /// On a free port.
    pub fn start() -> InstantServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = Arc::new(Mutex::new(Vec::new()));
        let prepared = Arc::clone(&answer);
        thread::spawn(move || {
            let mut buffer = vec![0; 256 * 1024];
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut decoder = Decoder::new();
                'request: while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    let mut input = &buffer[..count];
                    while let Some(event) = decoder.next(&mut input).unwrap() {
                        if event == Event::End {
                            // A client that ends early is seen by its exit code.
                            let _ = stream.write_all(&prepared.lock().unwrap());
                            break 'request;
                        }
                    }
                }
            }
        });
        InstantServer { port, answer }
    }

    /// From now on it answers with this object.
    pub fn answer(&self, version: Version, object: &[u8]) {
        assert!(object.len() < limits::BODY as usize);
        let mut sent = object.to_vec();
        if version.compressed() {
            sent.clear();
            Encoder::new().compress(object, &mut sent);
        }
        let mut bytes = Vec::new();
        reply::encode_start(version, 0, &mut bytes);
        reply::encode_part(Part::Stderr, 0, &mut bytes);
        reply::encode_part(Part::Stdout, 0, &mut bytes);
        reply::encode_part(Part::Object, sent.len() as u32, &mut bytes);
        bytes.extend_from_slice(&sent);
        if version == Version::Pump {
            reply::encode_part(Part::Dependencies, 0, &mut bytes);
        }
        *self.answer.lock().unwrap() = bytes;
    }
}

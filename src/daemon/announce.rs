//! The process beside the workers that tells the network of this server (`--zeroconf`).
//!
//! It alone of the daemon hears strangers' multicast messages. It ends with goodbyes when the supervisor says so or has
//! gone, and costs nothing while nobody asks.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::compiler::{self, Start};
use crate::daemon::compilers::Compilers;
use crate::daemon::processors::processors;
use crate::hosts::offer::Offer;
use crate::logging::{self, NOTICE};
use crate::program;
use crate::sorted_map::SortedMap;
use crate::sys::file::{self, Readiness, wait_ready};
use crate::sys::process;
use crate::sys::signal::{Signal, SignalPipe};
use crate::zeroconf::links::{Links, Wanted};
use crate::zeroconf::{Announcer, Service};

/// What it has to tell of.
#[derive(Debug, Clone)]
pub struct Announcement {
    /// Where the daemon listens.
    pub listening: SocketAddr,
    /// On which interfaces to announce; all if none is named.
    pub interfaces: Vec<String>,
    /// Compilers at once.
    pub jobs: usize,
}

/// The longest that a compiler may take to say its version, and that all together may take.
const PATIENCE: Duration = Duration::from_secs(2);
const ALL_PATIENCE: Duration = Duration::from_secs(10);
/// A longer answer is none.
const LONGEST_ANSWER: usize = 100;
/// Names of compilers that are looked at. More do not fit into a record.
const MOST_NAMES: usize = 128;

/// Announces until `line`, which nobody else reads, says or becomes anything.
pub fn run(announcement: &Announcement, compilers: &Compilers, line: &OwnedFd) -> io::Result<()> {
    let signals = SignalPipe::new(&[Signal::TERM, Signal::INT, Signal::HUP])?;
    let address = Some(announcement.listening.ip()).filter(|ip| !ip.is_unspecified());
    if address.is_some_and(|ip: IpAddr| ip.is_loopback()) {
        log::warn!(
            "--zeroconf: nothing is announced, since only this machine can reach {}",
            announcement.listening
        );
    }
    let service = Rc::new(service(announcement, compilers));
    let wanted = Wanted { interfaces: announcement.interfaces.clone(), address };
    let mut links = Links::new(wanted, &[signals.as_fd(), line.as_fd()])?;
    let make = |now| Announcer::new(Rc::clone(&service), now);
    links.refresh(make)?;
    let mut logged = Vec::new();
    loop {
        let has_changed = links.turn(None)?;
        while let Some(signal) = signals.next() {
            if signal == Signal::HUP {
                logging::reopen();
            }
        }
        // Whatever the supervisor says is that it ends.
        if wait_ready(line.as_fd(), Readiness::Read, Duration::ZERO).unwrap_or(false) {
            break;
        }
        if has_changed {
            links.refresh(make)?;
        }
        for (link, announcer) in links.speakers().filter(|(_, announcer)| announcer.is_settled()) {
            let name = announcer.instance().first_label();
            if !logged.contains(&(link, name.clone())) {
                log::info!("announced as \"{name}\" on interface {link}");
                logged.retain(|(other, _)| *other != link);
                logged.push((link, name));
            }
        }
    }
    links.speakers().for_each(|(_, announcer)| announcer.farewell());
    links.speak(Instant::now());
    Ok(())
}

fn service(announcement: &Announcement, compilers: &Compilers) -> Service {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim().split('.').next().filter(|host| !host.is_empty()).unwrap_or("localhost");
    let mut asked = Asked { answers: SortedMap::new(), deadline: Instant::now() + ALL_PATIENCE };
    let served = compilers.served();
    let program_of = |name: &str| served.iter().find(|(served, _)| served == name);
    // As stock; where there is no cc, the most usual one stands for it.
    let native = ["cc", "gcc", "clang"].into_iter().find_map(program_of);
    let mut ask = |option: &'static str| native.and_then(|(name, path)| asked.ask(name, path, option));
    let (cc_version, cc_machine) = (ask("-dumpversion"), ask("-dumpmachine"));
    let versions: Vec<(String, String)> = served
        .iter()
        .take(MOST_NAMES)
        .filter_map(|(name, path)| Some((name.clone(), asked.ask(name, path, "-dumpversion")?)))
        .collect();
    let list = Offer::compiler_list(&versions, cc_machine.as_deref().unwrap_or("?"));
    let subtype = cc_version.as_ref().zip(cc_machine.as_ref()).map(|(version, machine)| {
        let text = format!("{machine}--{version}").to_ascii_lowercase();
        let plain = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
        format!("_{}", text.chars().map(plain).collect::<String>())
    });
    let offer = Offer {
        jobs: u32::try_from(announcement.jobs).ok(),
        cpus: u32::try_from(processors()).ok(),
        protocols: Some("123".to_owned()),
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        machine: Some(program::TRIPLE.to_owned()),
        cc_version,
        cc_machine,
        id: Some(format!("{:08x}", crate::zeroconf::random_id())),
        compilers: Some(list).filter(|list| !list.is_empty()),
    };
    log::info!(target: NOTICE, "announcing this server: {}", offer.summary());
    Service { host: host.to_owned(), port: announcement.listening.port(), text: offer.to_strings(), subtype }
}

/// Answers of compilers, of which many names stand for few files.
struct Asked {
    answers: SortedMap<(PathBuf, &'static str), Option<String>>,
    deadline: Instant,
}

impl Asked {
    fn ask(&mut self, name: &str, path: &Path, option: &'static str) -> Option<String> {
        let left = self.deadline.saturating_duration_since(Instant::now()).min(PATIENCE);
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let answer = self.answers.get_or_insert_with((real, option), || {
            let answer = ask(name, path, option, left);
            answer.inspect_err(|e| log::debug!("{name} {option}: {e}")).ok()
        });
        answer.clone()
    }
}

/// One line of plain text from a compiler.
fn ask(name: &str, path: &Path, option: &str, patience: Duration) -> io::Result<String> {
    let null = file::null()?;
    let (answer, writer) = file::pipe()?;
    let start = Start {
        stdio: [Some(null.as_fd()), Some(writer.as_fd()), Some(null.as_fd())],
        new_group: true,
        bound_to_us: true,
        ..Start::default()
    };
    let argv: [OsString; 2] = [name.into(), option.into()];
    let pid = compiler::spawn(path, &argv, &compiler::environment(&[]), &start)?;
    drop(writer);
    let text = read_line(File::from(answer), patience);
    // It has said what it had to say, or takes too long.
    let _ = pid.kill_group(Signal::KILL);
    while process::wait(pid).is_err_and(|e| e.kind() == io::ErrorKind::Interrupted) {}
    let text = text?.trim().to_owned();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_plain) {
        true => Ok(text),
        false => Err(io::Error::other("no plain answer")),
    }
}

fn read_line(mut from: File, patience: Duration) -> io::Result<String> {
    let deadline = Instant::now() + patience;
    let mut text = Vec::new();
    let mut buffer = [0; LONGEST_ANSWER];
    while !text.ends_with(b"\n") {
        let left = deadline.saturating_duration_since(Instant::now());
        match wait_ready(from.as_fd(), Readiness::Read, left) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Ok(false) => return Err(io::ErrorKind::TimedOut.into()),
            result => result?,
        };
        match from.read(&mut buffer)? {
            0 => break,
            count if text.len() + count > LONGEST_ANSWER => return Err(io::ErrorKind::InvalidData.into()),
            count => text.extend_from_slice(&buffer[..count]),
        }
    }
    String::from_utf8(text).map_err(|_| io::ErrorKind::InvalidData.into())
}

//! The background process of a user that looks for servers, and how clients use what it finds.
//!
//! It holds a lock while it runs, so there is one, and keeps [`found`]'s file up to date. Clients that need the list start
//! it when the lock is free. It ends when no client has asked for ten minutes. Only a client that comes before the first
//! list is there waits, for a second at most.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::found::{self, FoundServer};
use super::links::{Links, Wanted};
use super::{Browser, Server};
use crate::compiler::{self, Start};
use crate::program::Ending;
use crate::sys::file::close_standard_streams;
use crate::sys::lock::{self, Range};
use crate::sys::process::{self, Fork, Pid};
use crate::sys::signal::{self, Signal, SignalPipe};
use crate::sys::watch::{Change, DirectoryWatch};
use crate::topdir::TopDir;
use crate::waiting;

/// The personality's name, which is for nobody to type.
pub const NAME: &str = "distcc-zeroconf";

/// What a client waits for the first list.
const PATIENCE: Duration = Duration::from_secs(1);
/// The list is complete when nothing new was heard for so long after the first server, or when so much time has passed.
const QUIET: Duration = Duration::from_millis(400);
const SETTLED: Duration = Duration::from_millis(850);
/// Nobody repeats itself within a second (RFC 6762 section 6), and then there are up to 120 ms of chance.
const THOROUGH: Duration = Duration::from_millis(1300);
/// Lists are written no more often.
const BETWEEN_LISTS: Duration = Duration::from_millis(100);
/// Without any client for so long it ends.
const IDLE: Duration = Duration::from_secs(600);
/// Clients say that they are there not more often than this.
const STAMP: Duration = Duration::from_secs(30);

/// The servers that are known now. Starts the background process if it does not run, and then waits for its first list.
///
/// # Errors
/// A sentence, if the process cannot be started or has no list within a second.
pub fn servers(top: &TopDir) -> Result<Vec<FoundServer>, String> {
    let failed = |e: io::Error| format!("cannot look for servers (zeroconf): {e}");
    let directory = top.zeroconf_dir().map_err(failed)?;
    let lock_file = open_lock(&directory).map_err(failed)?;
    stamp(&lock_file);
    let started = Instant::now();
    let mut holder = lock::holder(&lock_file).map_err(failed)?;
    if holder.is_none() {
        start(&directory).map_err(failed)?;
    }
    loop {
        // The file of an earlier process does not count.
        if let Some(servers) = holder.and_then(|pid| found::read(&directory, pid)) {
            return Ok(servers);
        }
        if started.elapsed() >= PATIENCE || waiting::check().is_err() {
            return Err(
                "looking for servers (zeroconf) takes longer than a second; the next job will know more"
                    .to_owned(),
            );
        }
        signal::nap(Duration::from_millis(10));
        holder = lock::holder(&lock_file).map_err(failed)?;
    }
}

const LOCK: &str = "servers.lock";

fn open_lock(directory: &Path) -> io::Result<File> {
    let path = directory.join(LOCK);
    File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|e| io::Error::new(e.kind(), format!("cannot open the lock file {}: {e}", path.display())))
}

/// The lock file's time is when a client was last there.
fn stamp(lock_file: &File) {
    let is_recent = lock_file.metadata().and_then(|metadata| metadata.modified()).is_ok_and(|time| {
        // A stamp from the future, after the clock was set back, would last too long.
        SystemTime::now().duration_since(time).is_ok_and(|age| age < STAMP)
    });
    if !is_recent {
        let _ = lock_file.set_modified(SystemTime::now());
    }
}

fn start(directory: &Path) -> io::Result<()> {
    let program = Path::new("/proc/self/exe");
    let argv = [NAME.into(), std::path::absolute(directory)?.into_os_string()];
    let pid = compiler::spawn(program, &argv, &compiler::environment(&[]), &Start::default())?;
    // It detaches itself at once.
    loop {
        match process::wait(pid) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Ok(status) if status.success() => return Ok(()),
            Ok(_) => return Err(io::Error::other("the background process could not be started")),
            Err(e) => return Err(e),
        }
    }
}

/// The personality: `args` is the directory, and after how many seconds without a client it ends, if not those of [`IDLE`].
pub fn main(args: &[OsString]) -> Ending {
    let Some(directory) = args.first() else { return Ending::Code(1) };
    let idle = args.get(1).and_then(|seconds| seconds.to_str()?.parse().ok());
    match run(Path::new(directory), idle.map_or(IDLE, Duration::from_secs)) {
        Ok(()) => Ending::Code(0),
        Err(_) => Ending::Code(1),
    }
}

fn run(directory: &Path, idle: Duration) -> io::Result<()> {
    // What the client was given is not for us: who waits for the end of a build's pipes would wait for us.
    crate::sys::file::close_all_but_standard_streams();
    close_standard_streams()?;
    if let Fork::Parent(_) = process::fork(|| ())? {
        return Ok(());
    }
    process::new_session()?;
    std::env::set_current_dir("/")?;
    let lock_file = open_lock(directory)?;
    if !lock::try_lock(&lock_file, Range::Whole)? {
        return Ok(());
    }
    let result = browse(directory, &lock_file, idle);
    // Whoever comes after us need not wonder how old it is.
    let _ = fs::remove_file(found::file(directory));
    result
}

fn browse(directory: &Path, lock_file: &File, idle: Duration) -> io::Result<()> {
    let signals = SignalPipe::new(&[Signal::TERM, Signal::INT, Signal::HUP])?;
    let mut watch = DirectoryWatch::new(directory)?;
    let mut search = Search::new(&[signals.as_fd(), watch.as_fd()])?;
    let mut changes = Vec::new();
    let pid = Pid::current().number();
    let mut written: Option<Vec<FoundServer>> = None;
    let mut end = Instant::now() + idle;
    let mut may_write = Instant::now();
    while signals.next().is_none() {
        let until = match written {
            None => search.settles(),
            Some(_) if search.has_changed => may_write.min(end),
            Some(_) => end,
        };
        search.turn(until)?;
        watch.changes(&mut changes)?;
        let is_lock = |change: &Change| matches!(change, Change::Removed(name) if name == LOCK);
        if changes.drain(..).any(|change| is_lock(&change)) {
            // Nobody could find us any more.
            return Ok(());
        }
        let now = Instant::now();
        if written.is_none() && now < search.settles() {
            continue;
        }
        if now >= may_write && (search.take_change() || written.is_none()) {
            may_write = now + BETWEEN_LISTS;
            let servers = search.servers();
            if written.as_ref() != Some(&servers) {
                // Without the directory there is nobody to write for.
                found::write(directory, pid, &servers)?;
                written = Some(servers);
            }
        }
        if now >= end {
            let age = lock_file.metadata()?.modified()?.elapsed().unwrap_or_default();
            let Some(left) = idle.checked_sub(age).filter(|left| !left.is_zero()) else { return Ok(()) };
            end = now + left;
        }
    }
    Ok(())
}

/// A search on all links.
pub struct Search {
    links: Links<Browser>,
    begun: Instant,
    /// When the last news came, if there were any.
    news: Option<Instant>,
    has_changed: bool,
}

impl Search {
    /// Asks at once. What comes in at one of `wake` ends a wait.
    pub fn new(wake: &[BorrowedFd]) -> io::Result<Search> {
        let mut links = Links::new(Wanted::default(), wake)?;
        links.refresh(Browser::new)?;
        Ok(Search { links, begun: Instant::now(), news: None, has_changed: false })
    }

    /// When the first list is complete.
    fn settles(&self) -> Instant {
        let latest = self.begun + SETTLED;
        self.news.map_or(latest, |news| (news + QUIET).min(latest))
    }

    fn turn(&mut self, until: Instant) -> io::Result<()> {
        if self.links.turn(Some(until))? {
            self.has_changed |= self.links.refresh(Browser::new)?;
        }
        // Every link's, so that none is left for later.
        let news =
            self.links.speakers().filter_map(|(_, browser)| browser.take_change().then_some(())).count();
        if news > 0 {
            self.has_changed = true;
            self.news = Some(Instant::now());
        }
        Ok(())
    }

    fn take_change(&mut self) -> bool {
        std::mem::take(&mut self.has_changed)
    }

    /// What is known.
    pub fn servers(&mut self) -> Vec<FoundServer> {
        let own = self.links.own_addresses();
        let on_link: Vec<(u32, Vec<Server>)> =
            self.links.speakers().map(|(link, browser)| (link, browser.servers())).collect();
        found::merge(&on_link, &own)
    }

    /// Searches until also those who have just answered somebody else have answered us.
    pub fn thoroughly(&mut self) -> io::Result<Vec<FoundServer>> {
        let end = self.begun + THOROUGH;
        while Instant::now() < end {
            self.turn(end)?;
        }
        Ok(self.servers())
    }
}

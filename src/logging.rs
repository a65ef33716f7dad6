//! The log of each personality, in stock's line format: `PROGRAM[PID] SEVERITYtext`, one `write` per line.
//!
//! Messages that concern a user's build and a program's own log are the same thing in distcc: lines on
//! standard error unless a file is named. The crate `log` has no level "notice", which is the daemon's
//! default; records with the target [`NOTICE`] stand for it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use env_logger::{Builder, Target};
use log::{Level, LevelFilter};

use crate::sys::file;

/// The target of records that are more than info and less than a warning, such as the daemon's line per job.
pub const NOTICE: &str = "notice";

/// Where the lines go.
pub enum Destination {
    /// Standard error.
    Stderr,
    /// A file, opened for appending; its name, to open it again when it has been rotated.
    File(File, PathBuf),
    /// Standard error, where systemd's journal reads it: each line begins with its priority (sd-daemon(3)), and the
    /// journal itself keeps program, pid and time.
    Journal,
    /// A descriptor that the caller has opened.
    Descriptor(File),
    /// The system's log daemon.
    Syslog(UnixDatagram),
}

impl Destination {
    /// Standard error, as whoever reads it wants the lines.
    pub fn stderr() -> Destination {
        if is_journal() { Destination::Journal } else { Destination::Stderr }
    }

    /// Connects to the system's log daemon; fails where none runs.
    pub fn syslog() -> io::Result<Destination> {
        let socket = UnixDatagram::unbound()?;
        socket.connect("/dev/log")?;
        Ok(Destination::Syslog(socket))
    }

    /// Opens `path` for appending, making it if it is missing.
    pub fn file(path: &Path) -> io::Result<Destination> {
        // Absolute, since a daemon changes its directory.
        Ok(Destination::File(open(path)?, std::path::absolute(path)?))
    }
}

/// Starts logging to standard error.
pub fn start(program: &'static str, level: LevelFilter) {
    start_to(program, level, level >= LevelFilter::Info, Destination::Stderr);
}

/// Starts logging. `notice` shows records of that target even when `level` is below info. A second call has
/// no effect.
pub fn start_to(program: &'static str, level: LevelFilter, notice: bool, destination: Destination) {
    let (to_syslog, to_journal) =
        (matches!(destination, Destination::Syslog(_)), matches!(destination, Destination::Journal));
    let mut builder = Builder::new();
    builder.filter_level(level);
    if notice {
        builder.filter_module(NOTICE, LevelFilter::Info.max(level));
    }
    builder.format(move |out, record| {
        let severity = match record.level() {
            Level::Error => "ERROR: ",
            Level::Warn => "Warning: ",
            Level::Info | Level::Debug | Level::Trace => "",
        };
        // The pid of now, not of the start: the daemon's workers log too.
        let pid = std::process::id();
        // Numbers of syslog, RFC 3164 section 4.1.1.
        let priority = match record.level() {
            Level::Error => 3,
            Level::Warn => 4,
            Level::Info if record.target() == NOTICE => 5,
            Level::Info => 6,
            Level::Debug | Level::Trace => 7,
        };
        if to_journal {
            writeln!(out, "<{priority}>{severity}{}", record.args())
        } else if to_syslog {
            // Facility daemon, RFC 3164 section 4.1.
            write!(out, "<{}>{program}[{pid}]: {severity}{}", 3 * 8 + priority, record.args())
        } else {
            writeln!(out, "{program}[{pid}] {severity}{}", record.args())
        }
    });
    match destination {
        Destination::Stderr | Destination::Journal => builder.target(Target::Stderr),
        Destination::File(file, path) => {
            builder.target(Target::Pipe(Box::new(LogFile { file, path: Some(path) })))
        }
        Destination::Descriptor(file) => builder.target(Target::Pipe(Box::new(LogFile { file, path: None }))),
        Destination::Syslog(socket) => builder.target(Target::Pipe(Box::new(Datagrams(socket)))),
    };
    let _ = builder.try_init();
}

/// From the next line on a log file is the one that has its name then: the old one has been moved away.
pub fn reopen() {
    REOPEN.store(true, Ordering::Relaxed);
}

/// Whether standard error is the journal's: it says which file that is, since programs may be started with another.
fn is_journal() -> bool {
    let Some(stream) = std::env::var_os("JOURNAL_STREAM") else { return false };
    let stderr = file::duplicate(io::stderr().as_fd()).and_then(|stderr| File::from(stderr).metadata());
    stderr.is_ok_and(|stderr| stream == *format!("{}:{}", stderr.dev(), stderr.ino()))
}

static REOPEN: AtomicBool = AtomicBool::new(false);

fn open(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).open(path)
}

/// Falls back to standard error when the file cannot be written: a full disk must not hide what went wrong.
struct LogFile {
    file: File,
    /// To open it again; none for a descriptor.
    path: Option<PathBuf>,
}

impl Write for LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(path) = self.path.as_ref().filter(|_| REOPEN.swap(false, Ordering::Relaxed)) {
            // A file that cannot be made, by a user who is not root any more, leaves the old one in use.
            if let Ok(file) = open(path) {
                self.file = file;
            }
        }
        self.file.write_all(line).or_else(|_| io::stderr().write_all(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A line is a datagram; one that the log daemon does not take is lost, as with every syslog.
struct Datagrams(UnixDatagram);

impl Write for Datagrams {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = self.0.send(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

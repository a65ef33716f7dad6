//! The log of each personality, in stock's line format: `PROGRAM[PID] SEVERITYtext`, one `write` per line.
//!
//! Messages that concern a user's build and a program's own log are the same thing in distcc: lines on
//! standard error unless a file is named. The crate `log` has no level "notice", which is the daemon's
//! default; records with the target [`NOTICE`] stand for it.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;

use env_logger::{Builder, Target};
use log::{Level, LevelFilter};

/// The target of records that are more than info and less than a warning, such as the daemon's line per job.
pub const NOTICE: &str = "notice";

/// Where the lines go.
pub enum Destination {
    /// Standard error.
    Stderr,
    /// A file, opened for appending.
    File(File),
    /// The system's log daemon.
    Syslog(UnixDatagram),
}

impl Destination {
    /// Connects to the system's log daemon; fails where none runs.
    pub fn syslog() -> io::Result<Destination> {
        let socket = UnixDatagram::unbound()?;
        socket.connect("/dev/log")?;
        Ok(Destination::Syslog(socket))
    }

    /// Opens `path` for appending, making it if it is missing.
    pub fn file(path: &std::path::Path) -> io::Result<Destination> {
        File::options().append(true).create(true).open(path).map(Destination::File)
    }
}

/// Starts logging to standard error.
pub fn start(program: &'static str, level: LevelFilter) {
    start_to(program, level, level >= LevelFilter::Info, Destination::Stderr);
}

/// Starts logging. `notice` shows records of that target even when `level` is below info. A second call has
/// no effect.
pub fn start_to(program: &'static str, level: LevelFilter, notice: bool, destination: Destination) {
    let to_syslog = matches!(destination, Destination::Syslog(_));
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
        if to_syslog {
            let priority = match record.level() {
                Level::Error => 3,
                Level::Warn => 4,
                Level::Info if record.target() == NOTICE => 5,
                Level::Info => 6,
                Level::Debug | Level::Trace => 7,
            };
            // Facility daemon, RFC 3164 section 4.1.
            write!(out, "<{}>{program}[{pid}]: {severity}{}", 3 * 8 + priority, record.args())
        } else {
            writeln!(out, "{program}[{pid}] {severity}{}", record.args())
        }
    });
    match destination {
        Destination::Stderr => builder.target(Target::Stderr),
        Destination::File(file) => builder.target(Target::Pipe(Box::new(OneWrite(file)))),
        Destination::Syslog(socket) => builder.target(Target::Pipe(Box::new(Datagrams(socket)))),
    };
    let _ = builder.try_init();
}

/// Falls back to standard error when the file cannot be written: a full disk must not hide what went wrong.
struct OneWrite(File);

impl Write for OneWrite {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(line).or_else(|_| io::stderr().write_all(line))?;
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

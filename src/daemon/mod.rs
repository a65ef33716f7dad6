//! The daemon: options → log → listen → drop privileges → leave the terminal → supervise workers.
//!
//! Each worker runs one event loop (`worker`) in which a job is a [`session`] that decides and a `job` that
//! acts; the supervisor hands out compile slots ([`grants`]) and serves statistics ([`stats`]). Source for
//! behaviour: reference `daemon.md`; for the shape: `design.md` section 3.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use mio::net::TcpListener;

use crate::console;
use crate::environment;
use crate::exitcode::ExitCode;
use crate::logging::{self, Destination, NOTICE};
use crate::program::{self, Ending};
use crate::scratch::{self, PrivateDir};
use crate::sys::file;
use crate::sys::process::{self, Fork, Pid};
use crate::sys::signal::{self, Signal};
use crate::sys::user::{self, Identity};

pub mod access;
#[cfg(feature = "zeroconf")]
mod announce;
mod answer;
mod buffers;
pub mod cmdlist;
mod compilers;
mod connection;
pub mod depfile;
mod ending;
pub mod grants;
pub mod http;
mod job;
pub mod limits;
mod listening;
pub mod machine;
pub mod manager;
mod memory;
pub mod message;
pub mod options;
pub mod outcome;
mod pidfile;
mod processors;
pub mod session;
mod specs;
pub mod stats;
mod stats_server;
pub mod stream;
mod supervisor;
mod toolchain;
pub mod tree;
mod worker;
mod workplace;

#[cfg(feature = "zeroconf")]
use announce::Announcement;
use compilers::Compilers;
use manager::Manager;
use memory::Memory;
use options::{LogTo, Mode, Options, Request};
use pidfile::PidFile;
use processors::processors;
use specs::Specs;
use stream::Stream;
use worker::Policy;

/// The personality `distccd`.
pub fn main(args: &[OsString]) -> Ending {
    let options = match options::parse(args) {
        Ok(Request::Serve(options)) => options,
        Ok(Request::ListCompilers(options)) => return list_compilers(&options),
        Ok(Request::Help) => {
            return program::answer("distccd", format_args!("{}", options::HELP));
        }
        Ok(Request::Version) => {
            return program::answer("distccd", format_args!("{}", program::version_text("distccd")));
        }
        Err(reason) => {
            console::err(format_args!("distccd: ERROR: {reason}\n"));
            return ExitCode::BadArguments.into();
        }
    };
    match start(&options) {
        Ok(ending) => ending,
        Err((code, reason)) => {
            log::error!("{reason}");
            // A log that the user does not look at is no place for the reason of a failed start.
            if options.log_to != LogTo::Stderr {
                console::err(format_args!("distccd: ERROR: {reason}\n"));
            }
            code.into()
        }
    }
}

type Failure = (ExitCode, String);

fn start(options: &Options) -> Result<Ending, Failure> {
    let mode = mode(options);
    start_logging(options, mode);
    let compilers = Compilers::new(options).map_err(|reason| (ExitCode::BadArguments, reason))?;
    if !compilers.is_usable() {
        return Err((
            ExitCode::CompilerMissing,
            format!(
                "no compiler is allowed: none of {} exists; make one with a link for each compiler: mkdir -p /usr/lib/distcc && ln -s ../../bin/distcc /usr/lib/distcc/gcc",
                compilers.dirs()
            ),
        ));
    }
    if let Err(e) = user::be_nice(options.nice) {
        log::warn!("cannot become nicer by {}: {e}", options.nice);
    }
    let specs = options.sysroot.as_deref().map(Specs::new).transpose().map_err(|e| {
        let dir = options.sysroot.as_deref().unwrap_or(Path::new("")).display();
        (ExitCode::BadArguments, format!("--sysroot: {dir} cannot be used: {e}"))
    })?;
    let policy = Policy {
        access: options.access.clone(),
        compilers,
        specs,
        job_lifetime: options.job_lifetime,
        job_memory: options.job_memory,
        keep_files: environment::switch("DISTCC_SAVE_TEMPS", false),
        silence: environment::io_timeout().map_err(|reason| (ExitCode::BadArguments, reason))?,
        report: matches!(mode, Mode::Daemon { .. }) && options.stats_port.is_some() && !options.no_fork,
        connections: options.connections.share(workers(options)),
    };
    match mode {
        Mode::Daemon { detach } => serve_many(options, detach, &policy),
        Mode::Inetd => serve_one(options, &policy),
    }
}

/// Worker processes.
fn workers(options: &Options) -> usize {
    if options.no_fork { 1 } else { processors().min(options.jobs) }
}

/// Shows what would be served, judged as the user that the daemon becomes.
fn list_compilers(options: &Options) -> Ending {
    logging::start("distccd", log::LevelFilter::Warn);
    let listed = drop_privileges(options)
        .and_then(|()| Compilers::new(options).map_err(|reason| (ExitCode::BadArguments, reason)));
    match listed {
        Ok(compilers) => {
            let mut lines = compilers.list();
            lines.push(String::new());
            program::answer("distccd", format_args!("{}", lines.join("\n")))
        }
        Err((code, reason)) => {
            log::error!("{reason}");
            code.into()
        }
    }
}

/// The mode of the command line, or the one that standard input suggests, as in stock.
fn mode(options: &Options) -> Mode {
    use std::os::unix::fs::FileTypeExt;

    let stdin = crate::sys::file::duplicate(std::os::fd::AsFd::as_fd(&io::stdin())).map(File::from);
    let is_socket =
        || stdin.and_then(|stdin| stdin.metadata()).is_ok_and(|stdin| stdin.file_type().is_socket());
    if !options.mode_is_given && is_socket() { Mode::Inetd } else { options.mode }
}

fn serve_one(options: &Options, policy: &Policy) -> Result<Ending, Failure> {
    scratch::make_directory();
    drop_privileges(options)?;
    check_scratch()?;
    let io_failed = |e: io::Error| (ExitCode::IoError, format!("cannot serve standard input: {e}"));
    let (stream, peer) = Stream::from_standard_streams().map_err(io_failed)?;
    start_lifetime(options);
    let end = worker::run_once(stream, peer, policy).map_err(io_failed)?;
    Ok(match end.signal {
        Some(Signal::ALRM) => Ending::Signal(Signal::ALRM),
        _ => Ending::Code(end.exit_code),
    })
}

fn serve_many(options: &Options, detach: bool, policy: &Policy) -> Result<Ending, Failure> {
    if options.default_access {
        log::info!(target: NOTICE, "no --allow: serving this machine and private networks only ({})", options.access);
    }
    let manager = Manager::from_env();
    let listeners = listening::for_jobs(options)?;
    let stats_listener = match options.stats_port {
        Some(_) if options.no_fork => {
            log::warn!("--stats has no effect: with --no-fork there is no process that could serve them");
            None
        }
        port => port.map(|port| listening::bind(options, port, "stats server listening")).transpose()?,
    };
    let pid_file = pid_file(options)?;
    // Before: a process that has changed its user may not write there. Workers and compilers inherit it.
    options.oom_score_adj.into_iter().for_each(adjust_oom_score);
    scratch::make_directory();
    drop_privileges(options)?;
    check_scratch()?;
    if detach {
        if let Fork::Parent(daemon) = process::fork(|| ()).map_err(|e| general("cannot fork", &e))? {
            // Written before the start command returns; removed by the daemon.
            if let Some(pid_file) = pid_file {
                write_pid(&pid_file, daemon);
                pid_file.leave();
            }
            return Ok(Ending::Code(0));
        }
        leave_terminal().map_err(|e| general("cannot leave the terminal", &e))?;
    }
    if let Some(pid_file) = pid_file.as_ref().filter(|_| !detach) {
        write_pid(pid_file, Pid::current());
    }
    process::raise_file_limit();
    process::keep_freed_memory();
    if !policy.keep_files {
        job::sweep_left_overs();
    }
    let kind = if options.no_fork { "non-forking" } else { "preforking" };
    log::info!(target: NOTICE, "{kind} daemon started ({} {})", env!("CARGO_PKG_VERSION"), program::TRIPLE);
    start_lifetime(options);

    let announcement = announcement(options, &listeners);
    let ended_by = if options.no_fork {
        // Its line closes with us.
        let (_line, theirs) = file::message_pair().map_err(|e| general("cannot make a socket pair", &e))?;
        if announcement.is_some() {
            if let Fork::Child =
                process::fork(signal::leave_parents_pipe).map_err(|e| general("cannot fork", &e))?
            {
                pid_file.into_iter().for_each(PidFile::leave);
                drop((listeners, _line));
                announce(announcement.as_ref(), policy, &theirs);
                return Ok(Ending::Code(0));
            }
        }
        drop(theirs);
        worker::run_alone(listeners, policy, &manager).map_err(|e| general("the daemon failed", &e))?
    } else {
        let setup = supervisor::Setup {
            workers: workers(options),
            announces: announcement.is_some(),
            slots: options.jobs,
            memory: Memory::new(options.min_free_memory),
            keep_files: policy.keep_files,
            stats: stats_listener.map(|listener| (listener, &options.access)),
            manager,
        };
        match supervisor::run(setup).map_err(|e| general("the supervisor failed", &e))? {
            supervisor::End::Daemon(signal) => signal,
            supervisor::End::Worker(line) => {
                // The file is the supervisor's to remove, and its lock ends with that.
                pid_file.into_iter().for_each(PidFile::leave);
                worker::run(listeners, line, policy).map_err(|e| general("a worker failed", &e))?;
                return Ok(Ending::Code(0));
            }
            supervisor::End::Announcer(line) => {
                pid_file.into_iter().for_each(PidFile::leave);
                drop(listeners);
                announce(announcement.as_ref(), policy, &line);
                return Ok(Ending::Code(0));
            }
        }
    };
    drop(pid_file);
    log::info!(target: NOTICE, "all jobs are done; ended");
    Ok(match ended_by {
        // As in stock, whoever started it sees why.
        Some(Signal::ALRM) => Ending::Signal(Signal::ALRM),
        _ => Ending::Code(0),
    })
}

#[cfg(not(feature = "zeroconf"))]
type Announcement = ();

#[cfg(not(feature = "zeroconf"))]
fn announcement(_options: &Options, _listeners: &[TcpListener]) -> Option<Announcement> {
    None
}

#[cfg(not(feature = "zeroconf"))]
fn announce(_announcement: Option<&Announcement>, _policy: &Policy, _line: &OwnedFd) {}

/// What the network is to be told, if anything.
#[cfg(feature = "zeroconf")]
fn announcement(options: &Options, listeners: &[TcpListener]) -> Option<Announcement> {
    let listening = listeners.first()?.local_addr().ok().filter(|_| options.zeroconf)?;
    Some(Announcement { listening, interfaces: options.zeroconf_interfaces.clone(), jobs: options.jobs })
}

/// The process that tells it. That it cannot is no reason not to serve.
#[cfg(feature = "zeroconf")]
fn announce(announcement: Option<&Announcement>, policy: &Policy, line: &OwnedFd) {
    let Some(announcement) = announcement else { return };
    if let Err(e) = announce::run(announcement, &policy.compilers, line) {
        log::error!("cannot announce this server (--zeroconf): {e}");
    }
}

/// Has the daemon end by itself.
fn start_lifetime(options: &Options) {
    if let Some(lifetime) = options.lifetime {
        signal::alarm(u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX));
    }
}

/// As in stock, a pid file that cannot be made is an error in the log, and the daemon serves.
fn pid_file(options: &Options) -> Result<Option<PidFile>, Failure> {
    let Some(path) = &options.pid_file else { return Ok(None) };
    match PidFile::create(path) {
        Ok(pid_file) => Ok(Some(pid_file)),
        Err(pidfile::Error::Taken(pid)) => Err((
            ExitCode::GeneralFailure,
            format!(
                "another distccd (process {pid}) has the pid file {}: end that one first, or name another file with --pid-file",
                path.display()
            ),
        )),
        Err(pidfile::Error::Io(e)) => {
            log::error!("cannot make the pid file {}: {e}", path.display());
            Ok(None)
        }
    }
}

fn write_pid(pid_file: &PidFile, daemon: Pid) {
    if let Err(e) = pid_file.write(daemon) {
        log::error!("cannot write the pid file: {e}");
    }
}

/// Only root may make a process safer than it was; that this fails is no reason not to serve.
fn adjust_oom_score(adjustment: i32) {
    if let Err(e) = std::fs::write("/proc/self/oom_score_adj", adjustment.to_string()) {
        log::warn!("cannot set oom_score_adj to {adjustment}: {e}");
    }
}

fn general(what: &str, error: &io::Error) -> Failure {
    (ExitCode::GeneralFailure, format!("{what}: {error}"))
}

fn start_logging(options: &Options, mode: Mode) {
    let destination = match &options.log_to {
        LogTo::Stderr => Destination::stderr(),
        LogTo::File(path) => Destination::file(path).unwrap_or_else(|e| {
            console::err(format_args!(
                "distccd: ERROR: cannot open the log file {}: {e}; logging elsewhere\n",
                path.display()
            ));
            system_log()
        }),
        // Standard error is the user's terminal there, at the other end of ssh.
        LogTo::Syslog if mode == Mode::Inetd && Destination::syslog().is_err() => {
            logging::start_to("distccd", log::LevelFilter::Error, false, Destination::Stderr);
            return;
        }
        LogTo::Syslog => system_log(),
    };
    logging::start_to("distccd", options.log_level, options.log_notice, destination);
    if let Some(level) = &options.unknown_level {
        log::warn!("--log-level: \"{level}\" is not a level; there are error, warning, notice, info, debug");
    }
}

/// The system's log, or standard error where there is none.
fn system_log() -> Destination {
    Destination::syslog().unwrap_or_else(|e| {
        console::err(format_args!(
            "distccd: no system log ({e}); logging to standard error; name a file with --log-file\n"
        ));
        Destination::stderr()
    })
}

/// Users that a daemon becomes when none is named: those of the distributions' packages.
const USERS: [&str; 3] = ["distccd", "distcc", "nobody"];

fn drop_privileges(options: &Options) -> Result<(), Failure> {
    if !user::is_root() {
        if let Some(name) = &options.user {
            log::warn!("--user {name} has no effect: only root can become another user");
        }
        return Ok(());
    }
    let named = options.user.as_deref();
    if let Some(name) = named.filter(|name| Identity::of_user(name).is_none()) {
        log::warn!("no such user as \"{name}\"");
    }
    let identity = named.into_iter().chain(USERS).find_map(Identity::of_user).unwrap_or(Identity::NOBODY);
    user::become_user(identity)
        .map_err(|e| (ExitCode::SetuidFailed, format!("cannot drop root privileges: {e}")))
}

/// A daemon whose user cannot make job directories would refuse every job.
fn check_scratch() -> Result<(), Failure> {
    let dir = scratch::directory();
    if dir.is_relative() {
        return Err((ExitCode::IoError, format!("TMPDIR is {}, not an absolute path", dir.display())));
    }
    PrivateDir::new(&dir, "distccd_")
        .map(drop)
        .map_err(|e| (ExitCode::IoError, format!("TMPDIR cannot be used: {e}")))
}

fn leave_terminal() -> io::Result<()> {
    process::new_session()?;
    crate::sys::file::close_standard_streams()?;
    std::env::set_current_dir("/")
}

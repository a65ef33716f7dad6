//! The daemon: options → log → listen → drop privileges → leave the terminal → supervise workers.
//!
//! Each worker runs one event loop (`worker`) in which a job is a [`session`] that decides and a `job` that
//! acts; the supervisor hands out compile slots ([`grants`]) and serves statistics ([`stats`]). Source for
//! behaviour: reference `daemon.md`; for the shape: `design.md` section 3.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use mio::net::TcpListener;

use crate::console;
use crate::exitcode::ExitCode;
use crate::logging::{self, Destination, NOTICE};
use crate::program::{self, Ending};
use crate::scratch::{self, PrivateDir};
use crate::sys::process::{self, Fork, Pid};
use crate::sys::user::{self, Identity};

pub mod access;
mod answer;
pub mod cmdlist;
mod compilers;
mod connection;
pub mod grants;
pub mod http;
mod job;
pub mod limits;
pub mod machine;
pub mod message;
pub mod options;
pub mod outcome;
pub mod session;
pub mod stats;
mod stats_server;
pub mod stream;
mod supervisor;
mod worker;
mod workplace;

use compilers::Compilers;
use options::{LogTo, Mode, Options, Request};
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
        Ok(Request::NotBuiltYet(option)) => return program::not_built_yet(&format!("distccd {option}")),
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
    start_logging(options, mode)?;
    let compilers = Compilers::new(&options.masquerade_dirs, &options.allow_compilers, options.any_compiler)
        .map_err(|reason| (ExitCode::BadArguments, reason))?;
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
    let policy = Policy {
        access: options.access.clone(),
        compilers,
        job_lifetime: options.job_lifetime,
        report: matches!(mode, Mode::Daemon { .. }) && options.stats_port.is_some(),
        connections: options.connections.share(process::processors().min(options.jobs)),
    };
    match mode {
        Mode::Daemon { detach } => serve_many(options, detach, &policy),
        Mode::Inetd => serve_one(options, &policy),
    }
}

/// Shows what would be served, judged as the user that the daemon becomes.
fn list_compilers(options: &Options) -> Ending {
    logging::start("distccd", log::LevelFilter::Warn);
    let listed = drop_privileges(options).and_then(|()| {
        Compilers::new(&options.masquerade_dirs, &options.allow_compilers, options.any_compiler)
            .map_err(|reason| (ExitCode::BadArguments, reason))
    });
    match listed {
        Ok(compilers) => {
            let lines: String = compilers.list().into_iter().map(|line| line + "\n").collect();
            program::answer("distccd", format_args!("{lines}"))
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
    drop_privileges(options)?;
    check_scratch()?;
    let io_failed = |e: io::Error| (ExitCode::IoError, format!("cannot serve standard input: {e}"));
    let (stream, peer) = Stream::from_standard_streams().map_err(io_failed)?;
    worker::run_once(stream, peer, policy).map(Ending::Code).map_err(io_failed)
}

fn serve_many(options: &Options, detach: bool, policy: &Policy) -> Result<Ending, Failure> {
    if options.default_access {
        log::info!(target: NOTICE, "no --allow: serving this machine and private networks only ({})", options.access);
    }
    let listener = listen(options, options.port, "listening")?;
    let stats_listener =
        options.stats_port.map(|port| listen(options, port, "stats server listening")).transpose()?;
    let pid_file = options.pid_file.as_deref().map(PidFile::create).transpose()?;
    // Before: a process that has changed its user may not write there. Workers and compilers inherit it.
    options.oom_score_adj.into_iter().for_each(adjust_oom_score);
    drop_privileges(options)?;
    check_scratch()?;
    if detach {
        if let Fork::Parent(daemon) = process::fork(|| ()).map_err(|e| general("cannot fork", &e))? {
            // Written before the start command returns; removed by the daemon.
            if let Some(pid_file) = pid_file {
                pid_file.write(daemon)?;
                std::mem::forget(pid_file);
            }
            return Ok(Ending::Code(0));
        }
        leave_terminal().map_err(|e| general("cannot leave the terminal", &e))?;
    }
    if let Some(pid_file) = pid_file.as_ref().filter(|_| !detach) {
        pid_file.write(Pid::current())?;
    }
    process::raise_file_limit();
    process::keep_freed_memory();
    job::sweep_left_overs();
    log::info!(target: NOTICE, "preforking daemon started ({} {})", env!("CARGO_PKG_VERSION"), program::TRIPLE);

    let workers = process::processors().min(options.jobs);
    let stats = stats_listener.map(|listener| (listener, &options.access));
    let end =
        supervisor::run(workers, options.jobs, stats).map_err(|e| general("the supervisor failed", &e))?;
    match end {
        supervisor::End::Daemon => {
            drop(pid_file);
            log::info!(target: NOTICE, "all jobs are done; ended");
        }
        supervisor::End::Worker(line) => {
            // The file is the supervisor's to remove.
            std::mem::forget(pid_file);
            worker::run(listener, line, policy).map_err(|e| general("a worker failed", &e))?;
        }
    }
    Ok(Ending::Code(0))
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

fn start_logging(options: &Options, mode: Mode) -> Result<(), Failure> {
    let destination = match &options.log_to {
        LogTo::Stderr => Destination::Stderr,
        LogTo::File(path) => Destination::file(path)
            .map_err(|e| (ExitCode::IoError, format!("cannot open the log file {}: {e}", path.display())))?,
        // Standard error is the user's terminal there, at the other end of ssh.
        LogTo::Syslog if mode == Mode::Inetd && Destination::syslog().is_err() => {
            logging::start_to("distccd", log::LevelFilter::Error, false, Destination::Stderr);
            return Ok(());
        }
        LogTo::Syslog => Destination::syslog().unwrap_or_else(|e| {
            console::err(format_args!(
                "distccd: no system log ({e}); logging to standard error; name a file with --log-file\n"
            ));
            Destination::Stderr
        }),
    };
    logging::start_to("distccd", options.log_level, options.log_notice, destination);
    Ok(())
}

/// `what` is how the log's line about it begins.
fn listen(options: &Options, port: u16, what: &str) -> Result<TcpListener, Failure> {
    let bad = |reason: String| (ExitCode::BindFailed, reason);
    let mut failure = None;
    for address in options::listen_addresses(options, port).map_err(bad)? {
        match TcpListener::bind(address).and_then(|listener| Ok((listener.local_addr()?, listener))) {
            Ok((address, listener)) => {
                let (ip, port) = (address.ip(), address.port());
                log::info!(target: NOTICE, "{what} on {ip}:{port}");
                return Ok(listener);
            }
            Err(e) => failure = Some(format!("bind of {}:{} failed: {e}", address.ip(), address.port())),
        }
    }
    Err(bad(failure.unwrap_or_else(|| "there is no address to listen on".to_owned())))
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

/// The file with the supervisor's pid, made before privileges are dropped, removed when the daemon ends.
struct PidFile {
    path: PathBuf,
    file: File,
}

impl PidFile {
    fn create(path: &Path) -> Result<PidFile, Failure> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let file = File::create(&path)
            .map_err(|e| (ExitCode::IoError, format!("cannot make the pid file {}: {e}", path.display())))?;
        Ok(PidFile { path, file })
    }

    fn write(&self, daemon: Pid) -> Result<(), Failure> {
        (&self.file).write_all(format!("{}\n", daemon.number()).as_bytes()).map_err(|e| {
            (ExitCode::IoError, format!("cannot write the pid file {}: {e}", self.path.display()))
        })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // A directory that the daemon's user may not write to keeps an empty file, as with stock.
        if std::fs::remove_file(&self.path).is_err() {
            let _ = self.file.set_len(0);
        }
    }
}

//! `include_server`: tells clients which files a compile reads, one process for a build or for a user. Source: reference
//! `pump.md` sections 2, 3.9 and 6.
//!
//! Two sockets: stock's protocol at `--port`, whose answers name files of a tree; and beside it one for clients of our own
//! version, which get the bodies as places in a file (`wire::bodies`).

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use log::LevelFilter;

use crate::args::printable;
use crate::console;
use crate::decimal::Decimal;
use crate::logging;
use crate::program::{self, Ending};
use crate::sys::file::{close_standard_streams, set_nonblocking};
use crate::sys::lock::try_lock_for_family;
use crate::sys::process::{self, Fork};
use crate::sys::signal::{self, SignalPipe};
use crate::topdir::own_socket;

mod answer;
mod bodies;
mod connection;
mod mirror;
mod options;
mod serve;
mod service;

use options::{Options, USAGE};
use serve::{ENDING, Limits, Listening, serve};
use service::Service;

/// Stock's exit code for everything that keeps it from serving.
const FAILED: Ending = Ending::Code(1);
/// How long a server of the same lock may take to begin or end.
const PATIENCE: Duration = Duration::from_secs(2);

/// The personality `include_server`.
pub fn main(args: &[OsString]) -> Ending {
    match args.first().and_then(|word| word.to_str()) {
        Some("--help") => return program::answer("include_server", format_args!("{USAGE}")),
        Some("--version") => {
            let text = program::version_text("include_server");
            return program::answer("include_server", format_args!("{text}"));
        }
        _ => {}
    }
    let options = match options::parse(args) {
        Ok(options) => options,
        Err(reason) => {
            console::err(format_args!("include_server: {reason}\n\n{USAGE}"));
            return FAILED;
        }
    };
    let level = match options.debug {
        0 => LevelFilter::Error,
        1 => LevelFilter::Warn,
        2..=15 => LevelFilter::Info,
        _ => LevelFilter::Debug,
    };
    logging::start("include_server", level);
    match run(&options) {
        Ok(()) => Ending::Code(0),
        Err(reason) => {
            log::error!("{reason}");
            FAILED
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let mirror_parent = mirror::parent()?;
    let lock = options.lock.as_deref().map(|path| hold(path, &options.port)).transpose()?;
    let Some(lock) = lock.map_or(Some(None), |held| held.map(Some)) else { return Ok(()) };
    let bind = |path: &Path| {
        Listening::bind(path).map_err(|e| format!("cannot listen at {}: {e}", printable(path.as_os_str())))
    };
    let port = bind(&options.port)?;
    // Its name is longer: where it does not fit, our own clients do as stock's.
    let own = bind(&own_socket(&options.port)).inspect_err(|reason| log::info!("{reason}")).ok();
    // Before the fork: who started us may end us as soon as our parent has ended.
    let signals = SignalPipe::new(&ENDING).map_err(|e| e.to_string())?;
    if options.detach {
        match process::fork(|| ()) {
            Ok(Fork::Parent(pid)) => {
                write_pid(options, pid)?;
                return Ok(());
            }
            Ok(Fork::Child) => {
                process::new_session().map_err(|e| e.to_string())?;
                if lock.is_some() {
                    // Nobody reads what the user's own server says, and whoever started it may wait for its end.
                    close_standard_streams().map_err(|e| e.to_string())?;
                }
            }
            Err(e) => return Err(format!("cannot start a process: {e}")),
        }
    } else {
        write_pid(options, process::Pid::current())?;
    }
    process::raise_file_limit();
    let began = Instant::now();
    if options.until_eof {
        use std::os::fd::AsFd;

        set_nonblocking(io::stdin().as_fd(), true).map_err(|e| e.to_string())?;
    }
    // Units are named by absolute paths, and nobody's directory is to be kept busy.
    let _ = std::env::set_current_dir("/");
    let mut service =
        Service::new(mirror_parent).map_err(|e| format!("cannot keep compressed files: {e}"))?;
    let limits = Limits { idle: options.idle_timeout, until_eof: options.until_eof };
    let result = serve([Some(port), own], &mut service, &limits, &signals);
    if options.statistics {
        let counts = &service.counts;
        let usage = process::usage();
        let _ = console::out(format_args!(
            "include_server: {} compiles covered, {} not, in {} s; took {} s of a processor and {} MiB of memory\n",
            counts.covered,
            counts.refused,
            Decimal(began.elapsed().as_millis() as u64 / 100, 1),
            Decimal(usage.cpu.as_millis() as u64 / 10, 2),
            Decimal(usage.peak_memory * 10 / 1024, 1)
        ));
    }
    result.map_err(|e| format!("cannot wait for clients: {e}"))
}

/// Takes the lock; `None` if a server that has it answers at `port`.
fn hold(path: &Path, port: &Path) -> Result<Option<File>, String> {
    let cannot = |e: io::Error| format!("cannot lock {}: {e}", printable(path.as_os_str()));
    let file =
        File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(cannot)?;
    let began = Instant::now();
    loop {
        if try_lock_for_family(&file).map_err(cannot)? {
            return Ok(Some(file));
        }
        if UnixStream::connect(port).is_ok() {
            return Ok(None);
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("{} is held by a server that does not answer", printable(path.as_os_str())));
        }
        // It is about to listen, or to end.
        signal::nap(Duration::from_millis(5));
    }
}

fn write_pid(options: &Options, pid: process::Pid) -> Result<(), String> {
    let Some(path) = &options.pid_file else { return Ok(()) };
    fs::write(path, format!("{}\n", pid.number()))
        .map_err(|e| format!("cannot write {}: {e}", printable(AsRef::<OsStr>::as_ref(path))))
}

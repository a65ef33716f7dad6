//! The client: `argv → verdict → host and slot → preprocess → send → receive → outputs → exit status`.
//!
//! Whatever goes wrong remotely ends in a correct local compile, with one line that says why. `remote` is
//! one exchange with one host, `attempt` a job's way over hosts; this file decides what is done where that did not do it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::Path;

use crate::args::{self, Job, LocalSlot, Processor, Verdict, printable};
use crate::exitcode::ExitCode;
use crate::program::Ending;
use crate::state::Phase;
use crate::sys::process::WaitStatus;
use crate::sys::signal;
use crate::waiting::Interrupted;

mod attempt;
mod auto;
mod colour;
mod command;
mod config;
mod desk;
mod directives;
mod discrepancy;
mod doctor;
mod exchange;
mod explain;
mod gather;
mod include_server;
mod includes;
mod inquiry;
mod link;
mod local;
mod messages;
mod names;
mod native;
mod preprocess;
mod pump;
mod remote;
mod reply;
mod server_names;
mod sharing;
mod show;
mod source;
mod split;
mod ssh;
mod tcp;
mod toolchain;
mod words;

use attempt::{Task, Undone, attempts};
use command::CompileCommand;
use config::Config;
use desk::Desk;
use words::{Described, base_name};

/// The personality `distcc` under its own name.
pub fn main(args: &[OsString]) -> Ending {
    if let Some(ending) = show::own_option(args) {
        return ending;
    }
    run(CompileCommand::explicit(args))
}

/// The personality of a compiler: `argv0` is its name, or a link to us.
pub fn masquerade(argv0: &OsStr, args: &[OsString]) -> Ending {
    run(CompileCommand::masqueraded(argv0, args))
}

/// How a client run ends early.
#[derive(Debug)]
enum Stop {
    /// The user wants us to end: no fallback, no message.
    Interrupted(Interrupted),
    /// A local matter that no compile can mend.
    Failed(ExitCode, String),
}

impl From<Interrupted> for Stop {
    fn from(interrupted: Interrupted) -> Stop {
        Stop::Interrupted(interrupted)
    }
}

fn run(command: CompileCommand) -> Ending {
    config::start_logging();
    if command.recursion > 0 {
        log::error!(
            "distcc seems to have invoked itself recursively! {} is distcc again; put the real compiler's directory into PATH behind distcc's",
            printable(&command.argv[0])
        );
        return ExitCode::Recursion.into();
    }
    match compile(&command) {
        Ok(status) => Ending::Code(status.shell_code()),
        Err(Stop::Interrupted(Interrupted(signal))) => Ending::Signal(signal),
        Err(Stop::Failed(code, reason)) => {
            log::error!("{reason}");
            code.into()
        }
    }
}

fn compile(command: &CompileCommand) -> Result<WaitStatus, Stop> {
    signal::watch_interrupts().map_err(|e| Stop::Failed(ExitCode::GeneralFailure, e.to_string()))?;
    if command.nested {
        return local::run(command);
    }
    match judge(command)? {
        Verdict::Local(local) => {
            log::info!("compiling locally: {}", local.reason);
            let input = local.input.as_deref().unwrap_or(OsStr::new(""));
            let mut desk = Desk::open(input)?;
            let _slot = match local.slot {
                LocalSlot::Compile => desk.local_slot()?,
                LocalSlot::Cpp => desk.local_cpp_slot()?,
            };
            desk.set_phase(Phase::Compile);
            local::run(command)
        }
        Verdict::Remote(job) => distribute(command, &job),
    }
}

/// What is to become of a command: the first step of a compile, and what `--explain` shows.
fn judge(command: &CompileCommand) -> Result<Verdict, Interrupted> {
    let mut words = command.words().into_owned();
    if let Some(name) = names::of_generic(command) {
        words[0] = name;
    }
    colour::add(&mut words);
    match Processor::of(&words) {
        Some(processor) => native::judge(command, &words, &processor),
        None => Ok(scan(&words)),
    }
}

/// The verdict of the words, and of the environment where that decides too.
fn scan(words: &[OsString]) -> Verdict {
    let changed = COMPILER_VARIABLES.iter().find(|(name, _)| env::var_os(name).is_some());
    match (args::scan(words), changed) {
        (Verdict::Remote(job), Some((name, why))) => Verdict::Local(args::Local {
            reason: args::Reason::at(name.as_bytes(), why),
            slot: LocalSlot::Compile,
            input: Some(job.input().to_owned()),
        }),
        (verdict, _) => verdict,
    }
}

/// Variables that change what a compiler does, with the reason why only this machine's can do it.
const COMPILER_VARIABLES: [(&str, &str); 5] = [
    ("CCC_OVERRIDE_OPTIONS", "changes the compiler's options"),
    ("COMPILER_PATH", "chooses the compiler's parts"),
    ("DEPENDENCIES_OUTPUT", "makes the compiler write a dependency file"),
    ("GCC_EXEC_PREFIX", "chooses the compiler's parts"),
    ("SUNPRO_DEPENDENCIES", "makes the compiler write a dependency file"),
];

fn distribute(command: &CompileCommand, job: &Job) -> Result<WaitStatus, Stop> {
    let config = Config::from_env().map_err(|reason| Stop::Failed(ExitCode::BadArguments, reason))?;
    let mut desk = Desk::open(job.input())?;
    log::info!("compile from {} to {}", base_name(job.input()), base_name(job.output()));
    let undone = match attempts(Task { command, job, config: &config }, &mut desk)? {
        Ok(status) => return Ok(status),
        Err(undone) => undone,
    };
    let mut failed = None;
    match undone {
        Undone::Quietly => {}
        Undone::Unpreprocessed(failed) => {
            if !config.fallback {
                let _ = io::stderr().write_all(&failed.stderr);
                return Ok(failed.status);
            }
        }
        Undone::Unwritten(reason) => {
            if !config.fallback {
                return Err(Stop::Failed(ExitCode::IoError, reason));
            }
            log::info!("{reason}");
        }
        Undone::Because(what, reason) if config.fallback => {
            log::warn!("failed to distribute {what}, running locally instead: {reason}");
        }
        Undone::Because(what, reason) => {
            let reason = format!(
                "failed to distribute {what}, and fallbacks are disabled (DISTCC_FALLBACK=0): {reason}"
            );
            return Err(Stop::Failed(ExitCode::NoHosts, reason));
        }
        Undone::CompileError(error) => {
            if config.skip_local_retry || !config.fallback {
                error.messages.show();
                return Ok(error.status);
            }
            failed = Some(error);
        }
    }
    let _slot = desk.local_slot()?;
    desk.set_phase(Phase::Compile);
    let status = local::run(command)?;
    if let Some(error) = failed.filter(|error| error.status != status) {
        let crashed = error.status.signal().is_some();
        log::warn!(
            "{} failed on {} ({}) but {} locally{}",
            printable(job.input()),
            error.host,
            Described(error.status),
            if status.success() { "compiles".to_owned() } else { format!("ends with {}", Described(status)) },
            if crashed { "" } else { "; compare the compilers' versions" }
        );
        // What fails as preprocessed here says nothing about pump mode.
        if error.by_pump && !crashed {
            if let Some(counter) = pump::counter(&config, desk.top()) {
                let dependencies = job.dependency_file().map(Path::new);
                counter.add(&printable(job.input()).to_string(), dependencies);
            }
        }
    }
    Ok(status)
}

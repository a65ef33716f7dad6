//! The client: `argv → verdict → host and slot → preprocess → send → receive → outputs → exit status`.
//!
//! Whatever goes wrong remotely ends in a correct local compile, with one line that says why. `remote` is
//! one attempt on one host; this file decides what an attempt's end means.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::args::{self, Job, LocalSlot, Processor, Verdict, printable};
use crate::backoff::{Backoff, Blame};
use crate::closure::reads_files;
use crate::exitcode::ExitCode;
use crate::hosts::{Host, Place};
use crate::program::Ending;
use crate::scratch;
use crate::state::Phase;
use crate::sys::file::contains;
use crate::sys::process::WaitStatus;
use crate::sys::signal;
use crate::topdir::TopDir;
use crate::waiting::Interrupted;
use crate::wire::{Version, limits};

mod auto;
mod colour;
mod command;
mod config;
mod desk;
mod discrepancy;
mod doctor;
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
mod sharing;
mod show;
mod split;
mod ssh;
mod tcp;
mod toolchain;

use command::CompileCommand;
use config::Config;
use desk::{Desk, LOCALHOST, NoHost};
use messages::Messages;
use preprocess::{Preprocessed, Running};
use pump::Pump;
use remote::{Connection, Failure, HostFailure, Reply};
use toolchain::{CompilerCheck, Toolchain};

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

/// What the attempts on hosts came to, if not to a finished job.
enum Undone {
    /// Compile locally and say why: what could not be distributed (and where), and the reason.
    Because(String, String),
    /// Compile locally without a word: it is no failure of any host, and only this machine can do it.
    Quietly,
    /// The preprocessor failed; a local compile repeats its messages, and does what else a failing compile does.
    Unpreprocessed(preprocess::Failed),
    /// The object is here and cannot be written; the local compiler says it in its own words, if it fails as well.
    Unwritten(String),
    /// A server's compiler failed; a local compile decides and repeats its messages.
    CompileError(WaitStatus, Messages, String),
}

fn distribute(command: &CompileCommand, job: &Job) -> Result<WaitStatus, Stop> {
    let config = Config::from_env().map_err(|reason| Stop::Failed(ExitCode::BadArguments, reason))?;
    let mut desk = Desk::open(job.input())?;
    log::info!("compile from {} to {}", base_name(job.input()), base_name(job.output()));
    let undone = match attempts(command, job, &config, &mut desk)? {
        Ok(status) => return Ok(status),
        Err(undone) => undone,
    };
    let mut remote_status = None;
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
        Undone::CompileError(status, messages, host) => {
            if config.skip_local_retry || !config.fallback {
                messages.show();
                return Ok(status);
            }
            remote_status = Some((status, host));
        }
    }
    let _slot = desk.local_slot()?;
    desk.set_phase(Phase::Compile);
    let status = local::run(command)?;
    if let Some((remote, host)) = remote_status.filter(|(remote, _)| *remote != status) {
        log::warn!(
            "{} failed on {host} ({}) but {} locally{}",
            printable(job.input()),
            Described(remote),
            if status.success() { "compiles".to_owned() } else { format!("ends with {}", Described(status)) },
            if remote.signal().is_none() { "; compare the compilers' versions" } else { "" }
        );
        if let Some(counter) = pump::counter(&config, desk.top()).filter(|_| remote.signal().is_none()) {
            let dependencies = job.dependency_file().map(Path::new);
            counter.add(&printable(job.input()).to_string(), dependencies);
        }
    }
    Ok(status)
}

/// Hosts that one job tries before it is compiled locally.
const MAX_ATTEMPTS: usize = 3;

/// Tries hosts until one has done the job.
fn attempts(
    command: &CompileCommand,
    job: &Job,
    config: &Config,
    desk: &mut Desk,
) -> Result<Result<WaitStatus, Undone>, Stop> {
    let (mut source, mut pump) = (Source::NotBegun, Pump::new());
    let mut tried = Vec::new();
    let file = printable(job.input());
    let locks = match desk.locks() {
        Ok(locks) => locks,
        Err(NoHost { reason }) => return Ok(Err(Undone::Because(file.to_string(), reason))),
    };
    let marks = Backoff::new(&locks, config.backoff_period, command.argv[0].as_bytes());
    let top = desk.top().cloned();
    let mut toolchain = Toolchain::new(command, job, config.check, top.as_ref());
    desk.add_announced(|| toolchain::compiler(command, top.as_ref()))?;
    for _ in 0..MAX_ATTEMPTS {
        let (host, slot) = match desk.pick_host(&locks, &marks, &tried)? {
            Ok(found) => found,
            Err(NoHost { reason }) if tried.is_empty() => {
                return Ok(Err(Undone::Because(file.to_string(), reason)));
            }
            Err(_) => break,
        };
        if host.place == Place::Local {
            desk.set_phase(Phase::Compile);
            return local::run(command).map(Ok);
        }
        // The slot is held until its host is marked: who takes it next looks for the mark.
        match attempt(
            command,
            job,
            config,
            desk,
            (&host, slot.number),
            &mut source,
            (&mut pump, &mut toolchain),
        )? {
            Attempt::Done(status) => {
                marks.enjoy(&host);
                // That one of the hosts has another compiler is worth a word even so.
                for (other, failure) in &tried {
                    if let HostFailure::OtherCompiler(difference) = failure {
                        log::warn!(
                            "{file} was compiled on {} instead of {}: {difference}",
                            host.spec,
                            other.spec
                        );
                    }
                }
                log::info!("compile {file} on {} completed ok", host.spec);
                return Ok(Ok(status));
            }
            Attempt::CompileError(status, messages) => {
                log::info!("compile {file} on {} failed with {}", host.spec, Described(status));
                return Ok(Err(Undone::CompileError(status, messages, host.spec)));
            }
            Attempt::Local(undone) => return Ok(Err(undone)),
            Attempt::HostFailed(failure) => {
                marks.dislike(&host, failure.blame());
                log::info!("{}: {failure}", host.spec);
                tried.push((host, failure));
            }
        }
    }
    Ok(Err(match tried.last() {
        Some((host, failure)) => Undone::Because(format!("{file} to {}", host.spec), failure.to_string()),
        None => Undone::Quietly,
    }))
}

/// How one attempt on one host ended.
enum Attempt {
    Done(WaitStatus),
    CompileError(WaitStatus, Messages),
    HostFailed(HostFailure),
    /// No host could do better.
    Local(Undone),
}

/// Variables that change what a compiler does, with the reason why only this machine's can do it.
const COMPILER_VARIABLES: [(&str, &str); 5] = [
    ("CCC_OVERRIDE_OPTIONS", "changes the compiler's options"),
    ("COMPILER_PATH", "chooses the compiler's parts"),
    ("DEPENDENCIES_OUTPUT", "makes the compiler write a dependency file"),
    ("GCC_EXEC_PREFIX", "chooses the compiler's parts"),
    ("SUNPRO_DEPENDENCIES", "makes the compiler write a dependency file"),
];

/// The source's way through the attempts: preprocessed once, sent as often as needed.
enum Source {
    NotBegun,
    Ready(Preprocessed),
}

fn attempt(
    command: &CompileCommand,
    job: &Job,
    config: &Config,
    desk: &mut Desk,
    (host, slot): (&Host, u32),
    source: &mut Source,
    (pump, toolchain): (&mut Pump, &mut Toolchain),
) -> Result<Attempt, Stop> {
    let mut connection = None;
    if host.cpp {
        if let Some(attempt) =
            pump.attempt((command, job), config, desk, (host, slot), &mut connection, toolchain)?
        {
            return Ok(attempt);
        }
    }
    let io_failed = |what: &str, e: io::Error| {
        Attempt::Local(Undone::Because(printable(job.input()).to_string(), format!("{what}: {e}")))
    };
    let begun = match source {
        Source::Ready(_) => None,
        Source::NotBegun if job.already_preprocessed() => None,
        Source::NotBegun => {
            let cpp_slot = desk.local_cpp_slot()?;
            match Running::start(command, job) {
                Ok(running) => Some((running, cpp_slot)),
                // The local compile is going to fail in the same way and to say so itself.
                Err(_) => return Ok(Attempt::Local(Undone::Quietly)),
            }
        }
    };

    // The connection is being made while the preprocessor works.
    desk.set_phase(Phase::Connect);
    let connection = connection.unwrap_or_else(|| Connection::start(host, config.io_timeout));

    if let Some((running, cpp_slot)) = begun {
        desk.set_place(LOCALHOST, cpp_slot.as_ref().map_or(0, |slot| slot.number));
        desk.set_phase(Phase::Preprocess);
        match running.finish()? {
            Ok(Ok(preprocessed)) => {
                if config.save_temps {
                    keep(&preprocessed.text, job);
                }
                *source = Source::Ready(preprocessed);
            }
            Ok(Err(failed)) => {
                let status = Described(failed.status);
                log::info!("preprocessing {} failed with {status}", printable(job.input()));
                return Ok(Attempt::Local(Undone::Unpreprocessed(failed)));
            }
            Err(e) => return Ok(io_failed("cannot preprocess", e)),
        }
        desk.set_place(host.name(), slot);
    } else if let Source::NotBegun = source {
        match preprocess::read_source(job) {
            Ok(Some(preprocessed)) => *source = Source::Ready(preprocessed),
            Ok(None) => {
                log::info!("compiling locally: the preprocessed source does not name its file and directory");
                return Ok(Attempt::Local(Undone::Quietly));
            }
            Err(_) => return Ok(Attempt::Local(Undone::Quietly)),
        }
    }
    let Source::Ready(preprocessed) = source else { return Ok(Attempt::Local(Undone::Quietly)) };
    if let Some(reason) = unsendable(&preprocessed.text, job) {
        log::info!("compiling locally: {reason}");
        return Ok(Attempt::Local(Undone::Quietly));
    }

    let begun = Instant::now();
    let directory = working_directory();
    let command_for = |toolchain: &Toolchain, cross| toolchain.server_argv(&directory, cross);
    let version = if host.lzo { Version::Lzo } else { Version::Plain };
    let send =
        |connection: &mut Connection, argv: &[Vec<u8>]| connection.send(version, argv, &preprocessed.text);
    let exchanged = exchange_by_name(connection, (host, config), desk, toolchain, version, command_for, send);
    let reply = match exchanged {
        Ok(reply) => {
            let (bytes, seconds) = (preprocessed.text.len(), begun.elapsed().as_secs_f64());
            log::info!(
                "{bytes} bytes from {} compiled on {} in {seconds:.4}s, rate {:.0}kB/s",
                printable(job.input()),
                host.name(),
                bytes as f64 / 1024.0 / seconds
            );
            reply
        }
        Err(Failure::Host(failure)) => return Ok(Attempt::HostFailed(failure)),
        Err(Failure::Interrupted(interrupted)) => return Err(interrupted.into()),
    };
    let status = reply.status.unwrap_or(WaitStatus::exited(ExitCode::ProtocolError as u8));
    if messages::is_unsure(&reply.stderr) {
        log::info!(
            "compiling locally: a warning depends on comments or macros, which the server could not see"
        );
        return Ok(Attempt::Local(Undone::Quietly));
    }
    if !status.success() {
        return Ok(Attempt::CompileError(status, Messages::new(preprocessed, reply)));
    }
    if reply.object.is_empty() {
        return Ok(Attempt::HostFailed(HostFailure::NoObject));
    }
    desk.set_phase(Phase::Receive);
    if let Some(failure) = other_compiler(toolchain, &reply.object, desk, (job, host))? {
        return Ok(Attempt::HostFailed(failure));
    }
    let mut reply = reply;
    if let Some(file) = job.split_file() {
        let Some(text) = split::rename(&reply.object, file.as_bytes()) else {
            log::info!("compiling locally: the server's text does not name its .dwo file as gcc's does");
            return Ok(Attempt::Local(Undone::Quietly));
        };
        reply.object = text;
        if !job.assembly_only() {
            return Ok(match split::assemble(command, job, &reply.object, desk)? {
                Ok(said) => {
                    reply.stderr.extend_from_slice(&said.stderr);
                    Messages::new(preprocessed, reply).show();
                    Attempt::Done(status)
                }
                Err(reason) => {
                    log::info!("compiling locally: {reason}");
                    Attempt::Local(Undone::Quietly)
                }
            });
        }
    }
    if let Err(e) = scratch::write_output(Path::new(job.output()), &reply.object, job.assembly_only()) {
        return Ok(unwritten(job.output(), &e));
    }
    Messages::new(preprocessed, reply).show();
    Ok(Attempt::Done(status))
}

/// Looks who made an object, and warns if that does not keep it from being taken.
fn other_compiler(
    toolchain: &mut Toolchain,
    object: &[u8],
    desk: &mut Desk,
    (job, host): (&Job, &Host),
) -> Result<Option<HostFailure>, Stop> {
    Ok(match toolchain.judge(object, desk)? {
        Some((difference, true)) => Some(HostFailure::OtherCompiler(difference)),
        Some((difference, false)) => {
            log::warn!("{} compiled on {}: {difference}", printable(job.input()), host.spec);
            None
        }
        None => None,
    })
}

fn unwritten(file: &OsStr, error: &io::Error) -> Attempt {
    Attempt::Local(Undone::Unwritten(format!("cannot write {}: {error}", printable(file))))
}

/// For who wants to see what is sent; no reason to stop.
fn keep(text: &[u8], job: &Job) {
    match scratch::keep(text, job.language().preprocessed_extension()) {
        Ok(path) => log::info!("the preprocessed source is kept in {} (DISTCC_SAVE_TEMPS)", path.display()),
        Err(e) => log::warn!("cannot keep the preprocessed source (DISTCC_SAVE_TEMPS): {e}"),
    }
}

/// Why this text can only be compiled here.
fn unsendable(text: &[u8], job: &Job) -> Option<&'static str> {
    if text.len() > limits::BODY as usize {
        return Some("the preprocessed source is larger than a job can carry");
    }
    let asks_for_names =
        || [&b"__builtin_FILE"[..], b"__builtin_source_location"].iter().any(|name| contains(text, name));
    if job.maps_paths_of_builtins() && asks_for_names() {
        return Some("clang maps the paths of __builtin_FILE only where it preprocesses itself");
    }
    reads_files(text).then_some("the assembler reads a file of this machine (.incbin or .include)")
}

/// The compiler and its arguments as a server gets them first.
fn words_for_server(command: &CompileCommand, job: &Job) -> Vec<OsString> {
    let top = TopDir::find().ok();
    let mut toolchain = Toolchain::new(command, job, CompilerCheck::Off, top.as_ref());
    // Interrupted: without the names.
    let _ = toolchain.learn_names();
    toolchain.server_argv(&working_directory(), true)
}

/// The directory as compilers call it: `PWD` if that is right, since it may hold symbolic links.
fn working_directory() -> PathBuf {
    let identity = |path: &Path| path.metadata().map(|metadata| (metadata.dev(), metadata.ino())).ok();
    let logical = env::var_os("PWD").map(PathBuf::from).filter(|path| {
        path.is_absolute() && identity(path).is_some() && identity(path) == identity(Path::new("."))
    });
    logical.unwrap_or_else(|| env::current_dir().unwrap_or_default())
}

/// One exchange; two if the server knows the compiler by its plain name only. `command_for` makes the command with the
/// one or the other name, `send` sends it with what belongs to it.
fn exchange_by_name(
    connection: Result<Connection, Failure>,
    (host, config): (&Host, &Config),
    desk: &mut Desk,
    toolchain: &mut Toolchain,
    version: Version,
    command_for: impl Fn(&Toolchain, bool) -> Vec<OsString>,
    send: impl Fn(&mut Connection, &[Vec<u8>]) -> Result<(), Failure>,
) -> Result<Reply, Failure> {
    let mut connection = connection?;
    connection.finish()?;
    toolchain.learn_names()?;
    let argv = |cross| command_for(toolchain, cross);
    let locks = desk.locks().unwrap_or_else(|_| PathBuf::new());
    let period = config.backoff_period;
    if !toolchain.has_cross_name(host, &locks, period) {
        return exchange(Ok(connection), host, desk, version, &argv(false), &send);
    }
    match exchange(Ok(connection), host, desk, version, &argv(true), &send) {
        Err(Failure::Host(failure))
            if failure.blame() == Blame::Compiler || matches!(failure, HostFailure::NoAnswer) =>
        {
            log::info!("{}: {failure}; trying the compiler's plain name", host.spec);
            let connection = Connection::start(host, config.io_timeout)?;
            let reply = exchange(Ok(connection), host, desk, version, &argv(false), &send)?;
            toolchain.dislike_cross_name(host, &locks, period);
            Ok(reply)
        }
        result => result,
    }
}

/// One request and its reply; `send` sends the command with what belongs to it.
fn exchange(
    connection: Result<Connection, Failure>,
    host: &Host,
    desk: &mut Desk,
    version: Version,
    argv: &[OsString],
    send: impl FnOnce(&mut Connection, &[Vec<u8>]) -> Result<(), Failure>,
) -> Result<Reply, Failure> {
    let mut connection = connection?;
    connection.finish()?;
    desk.set_phase(Phase::Send);
    let argv: Vec<Vec<u8>> = argv.iter().map(|word| word.as_bytes().to_vec()).collect();
    log::info!("exec on {}: {}", host.spec, Quoted(&argv));
    let sent = send(&mut connection, &argv);
    if let Err(Failure::Interrupted(interrupted)) = sent {
        return Err(interrupted.into());
    }
    desk.set_phase(Phase::Compile);
    let received = connection.receive(version, || desk.set_phase(Phase::Receive));
    // When the server answered before it had read everything, the answer counts; otherwise the first thing
    // that broke.
    match (sent, received) {
        (_, Ok(reply)) => reply.refusal().map_or(Ok(reply), |refusal| Err(refusal.into())),
        (Err(sending), Err(Failure::Host(_))) => Err(sending),
        (_, Err(receiving)) => Err(receiving),
    }
}

fn base_name(path: &OsStr) -> args::Printable<'_> {
    printable(Path::new(path).file_name().unwrap_or(path))
}

/// A wait status in words.
struct Described(WaitStatus);

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match (self.0.code(), self.0.signal()) {
            (_, Some(signal)) => {
                let core = if self.0.dumped_core() { " (core dumped)" } else { "" };
                write!(f, "signal {}: {}{core}", signal.number(), signal.description())
            }
            (code, None) => write!(f, "exit code {}", code.unwrap_or(0)),
        }
    }
}

/// A command as stock logs it: words with blanks, quotes or semicolons stand in double quotes.
struct Quoted<'a>(&'a [Vec<u8>]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (at, word) in self.0.iter().enumerate() {
            let text = String::from_utf8_lossy(word);
            let separator = if at == 0 { "" } else { " " };
            match word.is_empty() || word.iter().any(|byte| b" \t\n\"';".contains(byte)) {
                true => write!(f, "{separator}\"{text}\"")?,
                false => write!(f, "{separator}{text}")?,
            }
        }
        Ok(())
    }
}

//! A job's attempts on hosts: preprocessed once, sent as often as needed, and what an attempt's end means for the next.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::time::Instant;

use super::command::{CompileCommand, working_directory};
use super::config::Config;
use super::desk::{Desk, LOCALHOST, NoHost};
use super::directives;
use super::exchange::{Request, exchange};
use super::messages::{self, Messages};
use super::preprocess::{self, Macros, Preprocessed, Running};
use super::pump::Pump;
use super::remote::{Connection, Failure, HostFailure};
use super::reply::{Object, Reply, Target};
use super::source::Source;
use super::toolchain::{self, Toolchain};
use super::words::Described;
use super::{Stop, local, split};
use crate::args::{Job, printable};
use crate::backoff::Backoff;
use crate::decimal::Decimal;
use crate::exitcode::ExitCode;
use crate::hosts::{Host, Place};
use crate::scratch;
use crate::slots::Slot;
use crate::state::Phase;
use crate::sys::process::WaitStatus;
use crate::waiting::Interrupted;
use crate::wire::Version;

/// One compile to distribute, and how the user wants that.
#[derive(Clone, Copy)]
pub struct Task<'a> {
    /// The command as the user gave it.
    pub command: &'a CompileCommand,
    /// What it does.
    pub job: &'a Job,
    /// The user's settings.
    pub config: &'a Config,
}

/// What the attempts on hosts came to, if not to a finished job.
pub enum Undone {
    /// Compile locally and say why: what could not be distributed (and where), and the reason.
    Because(String, String),
    /// Compile locally without a word: it is no failure of any host, and only this machine can do it.
    Quietly,
    /// The preprocessor failed; a local compile repeats its messages, and does what else a failing compile does.
    Unpreprocessed(preprocess::Failed),
    /// The object is here and cannot be written; the local compiler says it in its own words, if it fails as well.
    Unwritten(String),
    /// A server's compiler failed; a local compile decides and repeats its messages.
    CompileError(RemoteError),
}

/// What a server's compiler failed with.
pub struct RemoteError {
    pub status: WaitStatus,
    pub messages: Messages,
    /// The server, as the list of hosts names it.
    pub host: String,
    /// Whether the server had preprocessed the source.
    pub by_pump: bool,
}

/// How one attempt on one host ended.
pub enum Attempt {
    /// With the outputs written.
    Done(WaitStatus),
    /// The server's compiler failed, and said why.
    CompileError(WaitStatus, Messages),
    /// Another host may do better.
    HostFailed(HostFailure),
    /// No host could do better.
    Local(Undone),
}

/// What ends an attempt before its last step.
enum Early {
    Stop(Stop),
    Ended(Attempt),
}

impl From<Stop> for Early {
    fn from(stop: Stop) -> Early {
        Early::Stop(stop)
    }
}

impl From<Interrupted> for Early {
    fn from(interrupted: Interrupted) -> Early {
        Early::Stop(interrupted.into())
    }
}

impl From<Attempt> for Early {
    fn from(attempt: Attempt) -> Early {
        Early::Ended(attempt)
    }
}

/// Hosts that one job tries before it is compiled locally.
const MAX_ATTEMPTS: usize = 3;

/// Tries hosts until one has done the job.
pub fn attempts(task: Task, desk: &mut Desk) -> Result<Result<WaitStatus, Undone>, Stop> {
    let Task { command, job, config } = task;
    let file = printable(job.input());
    let locks = match desk.locks() {
        Ok(locks) => locks,
        Err(NoHost { reason }) => return Ok(Err(Undone::Because(file.to_string(), reason))),
    };
    let marks = Backoff::new(&locks, config.backoff_period, command.argv[0].as_encoded_bytes());
    let top = desk.top().cloned();
    let toolchain = Toolchain::new(command, job, config.check, top.as_ref());
    let mut errand = Errand { task, source: None, pump: Pump::new(), toolchain };
    desk.add_announced(|| toolchain::compiler(command, top.as_ref()))?;
    let mut tried = Vec::new();
    for _ in 0..MAX_ATTEMPTS {
        // The slot is held until its host is marked: who takes it next looks for the mark.
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
        match errand.attempt(&host, &slot, desk)? {
            Attempt::Done(status) => {
                marks.enjoy(&host);
                // That one of the hosts has another compiler is worth a word even so.
                for (other, failure) in &tried {
                    if let HostFailure::OtherCompiler(difference) = failure {
                        let (host, other) = (&host.spec, &other.spec);
                        log::warn!("{file} was compiled on {host} instead of {other}: {difference}");
                    }
                }
                log::info!("compile {file} on {} completed ok", host.spec);
                return Ok(Ok(status));
            }
            Attempt::CompileError(status, messages) => {
                log::info!("compile {file} on {} failed with {}", host.spec, Described(status));
                let by_pump = errand.source.is_none();
                let error = RemoteError { status, messages, host: host.spec, by_pump };
                return Ok(Err(Undone::CompileError(error)));
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

/// A job on its way from host to host, with what one attempt made and the next can use.
struct Errand<'a> {
    task: Task<'a>,
    /// Once it is preprocessed.
    source: Option<Source>,
    pump: Pump,
    toolchain: Toolchain<'a>,
}

impl Errand<'_> {
    fn attempt(&mut self, host: &Host, slot: &Slot, desk: &mut Desk) -> Result<Attempt, Stop> {
        match self.try_host(host, slot, desk) {
            Ok(status) => Ok(Attempt::Done(status)),
            Err(Early::Ended(attempt)) => Ok(attempt),
            Err(Early::Stop(stop)) => Err(stop),
        }
    }

    fn try_host(&mut self, host: &Host, slot: &Slot, desk: &mut Desk) -> Result<WaitStatus, Early> {
        let mut connection = None;
        if host.cpp {
            let seat = (host, slot.number);
            let ended = self.pump.attempt(self.task, seat, &mut connection, desk, &mut self.toolchain)?;
            if let Some(attempt) = ended {
                return Err(attempt.into());
            }
        }
        // What one host takes with macros, another may not.
        let sent = |source: &Source| source.macros() == Macros::Expanded || host.directives;
        let source = match self.source.take().filter(sent) {
            Some(source) => source,
            None => self.make_source(host, slot, &mut connection, desk)?,
        };
        let source = self.source.insert(source);
        let connection = connection.unwrap_or_else(|| connect(host, self.task.config, desk));
        let reply = send(source, connection, (self.task, host), desk, &mut self.toolchain)?;
        deliver(source, reply, (self.task, host), desk, &mut self.toolchain)
    }

    /// What can be sent of this job, if anything can.
    fn make_source(
        &self,
        host: &Host,
        slot: &Slot,
        connection: &mut Option<Result<Connection, Failure>>,
        desk: &mut Desk,
    ) -> Result<Source, Early> {
        let job = self.task.job;
        if host.directives && !job.already_preprocessed() {
            if let Some(source) = self.make_with_macros(host, slot, connection, desk)? {
                return Ok(source);
            }
        }
        let mut source = match job.already_preprocessed() {
            true => read_source(job)?,
            false => {
                let made = self.preprocess(Macros::Expanded, host, slot, connection, desk)?;
                Source::Made(made.map_err(|failed| Attempt::Local(Undone::Unpreprocessed(failed)))?)
            }
        };
        match source.unsendable(job, host.lzo) {
            Ok(None) => Ok(source),
            Ok(Some(reason)) => Err(only_here(reason)),
            Err(e) => Err(only_here(&format!("the source cannot be read: {e}"))),
        }
    }

    /// A source whose macros the server expands, unless that might make a difference.
    fn make_with_macros(
        &self,
        host: &Host,
        slot: &Slot,
        connection: &mut Option<Result<Connection, Failure>>,
        desk: &mut Desk,
    ) -> Result<Option<Source>, Early> {
        let job = self.task.job;
        let mut unsuited = directives::unsuited_job(job);
        if unsuited.is_none() {
            match self.preprocess(Macros::Kept, host, slot, connection, desk)? {
                Ok(preprocessed) => {
                    unsuited = directives::unsuited_text(&preprocessed, job.input());
                    let mut source = Source::Made(preprocessed);
                    // Macros that nobody uses may hold what keeps a source here.
                    if unsuited.is_none() && matches!(source.unsendable(job, host.lzo), Ok(None)) {
                        return Ok(Some(source));
                    }
                }
                Err(_) => unsuited = Some("that fails"),
            }
        }
        let reason = unsuited.unwrap_or("it cannot be sent so");
        log::info!("{}: macros are expanded here, not by the server: {reason}", printable(job.input()));
        Ok(None)
    }

    /// Preprocesses while the connection is being made.
    fn preprocess(
        &self,
        macros: Macros,
        host: &Host,
        slot: &Slot,
        connection: &mut Option<Result<Connection, Failure>>,
        desk: &mut Desk,
    ) -> Result<Result<Preprocessed, preprocess::Failed>, Early> {
        let Task { command, job, config } = self.task;
        let cpp_slot = desk.local_cpp_slot()?;
        // The local compile is going to fail in the same way and to say so itself.
        let running = Running::start(command, job, macros).map_err(|_| Attempt::Local(Undone::Quietly))?;
        connection.get_or_insert_with(|| connect(host, config, desk));
        desk.set_place(LOCALHOST, cpp_slot.as_ref().map_or(0, |slot| slot.number));
        desk.set_phase(Phase::Preprocess);
        let file = printable(job.input());
        let preprocessed = match running.finish()? {
            Ok(Ok(preprocessed)) => preprocessed,
            Ok(Err(failed)) => {
                log::info!("preprocessing {file} failed with {}", Described(failed.status));
                return Ok(Err(failed));
            }
            Err(e) => {
                let undone = Undone::Because(file.to_string(), format!("cannot preprocess: {e}"));
                return Err(Attempt::Local(undone).into());
            }
        };
        desk.set_place(host.name(), slot.number);
        if config.save_temps {
            keep(&preprocessed.text, job);
        }
        Ok(Ok(preprocessed))
    }
}

fn connect(host: &Host, config: &Config, desk: &mut Desk) -> Result<Connection, Failure> {
    desk.set_phase(Phase::Connect);
    Connection::start(host, config.io_timeout)
}

/// Only this machine can do it, which is no failure of any host.
fn only_here(reason: &str) -> Early {
    log::info!("compiling locally: {reason}");
    Attempt::Local(Undone::Quietly).into()
}

fn read_source(job: &Job) -> Result<Source, Early> {
    match Source::given(job) {
        Ok(Some(source)) => Ok(source),
        Ok(None) => Err(only_here("the preprocessed source does not name its file and directory")),
        Err(_) => Err(Attempt::Local(Undone::Quietly).into()),
    }
}

/// A request for a server that does not preprocess.
struct Plain<'a> {
    source: &'a Source,
    directory: PathBuf,
    version: Version,
    target: Option<Target>,
}

impl Request for Plain<'_> {
    fn version(&self) -> Version {
        self.version
    }

    fn command(&self, toolchain: &Toolchain, cross: bool) -> Vec<OsString> {
        let mut argv = toolchain.server_argv(&self.directory, cross);
        if self.source.macros() == Macros::Kept {
            argv.push(directives::OPTION.into());
        }
        argv
    }

    fn target(&self) -> Option<Target> {
        self.target.clone()
    }

    fn send(&self, connection: &mut Connection, argv: &[Vec<u8>]) -> Result<(), Failure> {
        match (self.source.file(), self.source.stream()) {
            (Some(file), _) if !self.version.compressed() => {
                connection.send_file(argv, file, self.source.len())
            }
            (_, Some(stream)) if self.version.compressed() => {
                connection.send_stream(self.version, argv, stream)
            }
            _ => {
                let text = self.source.bytes().map_err(HostFailure::Unsendable)?;
                connection.send(self.version, argv, &text)
            }
        }
    }
}

fn send(
    source: &Source,
    connection: Result<Connection, Failure>,
    (task, host): (Task, &Host),
    desk: &mut Desk,
    toolchain: &mut Toolchain,
) -> Result<Reply, Early> {
    let begun = Instant::now();
    let version = if host.lzo { Version::Lzo } else { Version::Plain };
    let target = (!task.job.returns_assembly()).then(|| Target::of(task.job));
    let request = Plain { source, directory: working_directory(), version, target };
    match exchange(&request, connection, (host, task.config), desk, toolchain) {
        Ok(reply) => {
            let (bytes, micros) = (source.len(), begun.elapsed().as_micros() as u64);
            log::info!(
                "{bytes} bytes from {} compiled on {} in {}s, rate {}kB/s",
                printable(task.job.input()),
                host.name(),
                Decimal(micros / 100, 4),
                bytes.saturating_mul(1_000_000) / 1024 / micros.max(1)
            );
            Ok(reply)
        }
        Err(Failure::Host(failure)) => Err(Attempt::HostFailed(failure).into()),
        Err(Failure::Interrupted(interrupted)) => Err(interrupted.into()),
    }
}

/// Writes and shows what came, if it is what a local compile would have made.
fn deliver(
    source: &Source,
    mut reply: Reply,
    (task, host): (Task, &Host),
    desk: &mut Desk,
    toolchain: &mut Toolchain,
) -> Result<WaitStatus, Early> {
    let Task { command, job, .. } = task;
    let status = reply.status.unwrap_or(WaitStatus::exited(ExitCode::ProtocolError as u8));
    if source.macros() == Macros::Expanded && messages::is_unsure(&reply.stderr) {
        return Err(only_here("a warning depends on comments or macros, which the server could not see"));
    }
    if !status.success() {
        return Err(Attempt::CompileError(status, Messages::new(source.messages(), reply)).into());
    }
    if reply.object.is_empty() {
        return Err(Attempt::HostFailed(HostFailure::NoObject).into());
    }
    if let Object::Unwritten(e) = &reply.object {
        return Err(unwritten(job.output(), e).into());
    }
    desk.set_phase(Phase::Receive);
    if let Some(failure) = other_compiler(toolchain, &reply.object, desk, (job, host))? {
        return Err(Attempt::HostFailed(failure).into());
    }
    let mut is_written = false;
    if let Some(file) = job.split_file() {
        let renamed = split::rename(reply.object.bytes(), file.as_encoded_bytes());
        let why = "the server's text does not name its .dwo file as gcc's does";
        reply.object = Object::Read(renamed.ok_or_else(|| only_here(why))?);
        if !job.assembly_only() {
            let said = split::assemble(command, job, reply.object.bytes(), desk)?;
            reply.stderr.extend_from_slice(&said.map_err(|reason| only_here(&reason))?.stderr);
            is_written = true;
        }
    }
    if job.assembly_only() {
        let tried = split::try_assembling(command, job, reply.object.bytes(), desk)?;
        tried.map_err(|reason| only_here(&reason))?;
    }
    if !is_written {
        let object = std::mem::take(&mut reply.object);
        object.deliver(&Target::of(job)).map_err(|e| unwritten(job.output(), &e))?;
    }
    Messages::new(source.messages(), reply).show();
    Ok(status)
}

/// Looks who made an object, and warns if that does not keep it from being taken.
pub fn other_compiler(
    toolchain: &mut Toolchain,
    object: &Object,
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

/// An output that came and cannot be written.
pub fn unwritten(file: &OsStr, error: &io::Error) -> Attempt {
    Attempt::Local(Undone::Unwritten(format!("cannot write {}: {error}", printable(file))))
}

/// For who wants to see what is sent; no reason to stop.
fn keep(text: &[u8], job: &Job) {
    match scratch::keep(text, job.language().preprocessed_extension()) {
        Ok(path) => log::info!("the preprocessed source is kept in {} (DISTCC_SAVE_TEMPS)", path.display()),
        Err(e) => log::warn!("cannot keep the preprocessed source (DISTCC_SAVE_TEMPS): {e}"),
    }
}

//! A job on a server that preprocesses: what the compile reads is found out once, sent as often as hosts are tried, and
//! the server's object, dependency file and messages come back.
//!
//! The ladder: where pump mode cannot do a file, or a server did not do it, the file is preprocessed here and
//! sent to the same host; a verbose log has the reason. Only failures that another way of sending cannot mend are the
//! host's.

use std::env;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::attempt::{Attempt, Task, Undone, other_compiler, unwritten};
use super::command::{CompileCommand, working_directory};
use super::config::Config;
use super::desk::{Desk, LOCALHOST};
use super::discrepancy::Counter;
use super::exchange::{Request, exchange};
use super::gather::Gather;
use super::include_server::{self, Compile};
use super::messages::Messages;
use super::remote::{Connection, Failure, HostFailure};
use super::reply::{Object, Reply, Target};
use super::toolchain::Toolchain;
use super::{Stop, auto, server_names, split};
use crate::args::{Job, printable};
use crate::backoff::{Backoff, Blame};
use crate::closure::{Closure, reads_files};
use crate::environment::switch;
use crate::exitcode::ExitCode;
use crate::hosts::Host;
use crate::include;
use crate::output::{self, Manner};
use crate::state::Phase;
use crate::sys::process::WaitStatus;
use crate::topdir::TopDir;
use crate::wire::Version;

/// Variables that change what preprocessing does; a server has its own environment.
const PREPROCESSOR_VARIABLES: [&str; 6] = [
    "CPATH",
    "C_INCLUDE_PATH",
    "CPLUS_INCLUDE_PATH",
    "OBJC_INCLUDE_PATH",
    "OBJCPLUS_INCLUDE_PATH",
    "SOURCE_DATE_EPOCH",
];

/// One job's way through pump mode.
pub struct Pump {
    state: State,
}

enum State {
    Untried,
    Ready(Sendable),
    /// Preprocess here.
    Plain,
}

/// A job that can be sent.
struct Sendable {
    /// Files with absolute names begin with a `#line`.
    lines: bool,
    directory: PathBuf,
    argv: Vec<OsString>,
    closure: Closure,
    target: Option<Target>,
}

/// What came of an exchange.
enum Outcome {
    Ended(Attempt),
    /// The job has to be sent in another way.
    Unfit(String),
    /// The object names the server's own directories.
    ShowsDirectories,
}

/// Names, in the marks of hosts, those that do not map their own directories away: stock's. What asks for its name there, be
/// it by an assert, gets a name of the server's, unless a `#line` says another one.
const UNMAPPED: &[u8] = b"#line";
/// How long a host is taken for such a one; whatever it is by then, the answer is right, but messages lack their lines of
/// source.
const UNMAPPED_PERIOD: Duration = Duration::from_secs(3600);

/// The include server of this build, if there is one.
pub fn socket() -> Option<PathBuf> {
    env::var_os("INCLUDE_SERVER_PORT").filter(|port| !port.is_empty()).map(PathBuf::from)
}

/// The build's count of discrepancies; without a build, that of the user's own include server.
pub fn counter(config: &Config, top: Option<&TopDir>) -> Option<Counter> {
    let socket = match socket() {
        Some(socket) => socket,
        None if may_start() => auto::port(top?).ok()?,
        None => return None,
    };
    Counter::beside(&socket, config.max_discrepancy)
}

/// Whether a count of discrepancies is left from a build that has ended: the user's own include server, which forgives
/// after a while, runs no more.
fn build_is_over(top: Option<&TopDir>) -> bool {
    socket().is_none() && top.is_some_and(|top| !auto::is_running(top))
}

/// Whether a client may start an include server.
fn may_start() -> bool {
    switch("DISTCC_INCLUDE_SERVER", true)
}

impl Pump {
    /// Not tried yet.
    pub fn new() -> Pump {
        Pump { state: State::Untried }
    }

    /// Does the job on `host`; `None` if it has to be preprocessed here. A connection that is of use for that is put
    /// back into `connection`.
    pub fn attempt(
        &mut self,
        task: Task,
        (host, slot): (&Host, u32),
        connection: &mut Option<Result<Connection, Failure>>,
        desk: &mut Desk,
        toolchain: &mut Toolchain,
    ) -> Result<Option<Attempt>, Stop> {
        let Task { job, config, .. } = task;
        let started = match connection.take() {
            Some(started) => started,
            None => {
                desk.set_phase(Phase::Connect);
                Connection::start(host, config.io_timeout)
            }
        };
        if let State::Untried = self.state {
            let lines = desk.locks().is_ok_and(|locks| unmapped(&locks).is_refused(host));
            self.ask(task, lines, (host, slot), desk)?;
        }
        let State::Ready(sendable) = &self.state else {
            *connection = Some(started);
            return Ok(None);
        };
        match exchange(sendable, started, (host, config), desk, toolchain) {
            Ok(reply) => match finish((task, host), sendable, reply, desk, toolchain)? {
                Outcome::Ended(attempt) => Ok(Some(attempt)),
                Outcome::Unfit(reason) => {
                    self.state = self.plain(job, &reason);
                    Ok(None)
                }
                Outcome::ShowsDirectories if !sendable.lines => {
                    log::info!(
                        "{}: its objects name its own directories, unless #line says others",
                        host.spec
                    );
                    if let Ok(locks) = desk.locks() {
                        unmapped(&locks).dislike(host, Blame::Compiler);
                    }
                    self.ask(task, true, (host, slot), desk)?;
                    self.attempt(task, (host, slot), connection, desk, toolchain)
                }
                Outcome::ShowsDirectories => {
                    self.state = self.plain(job, "the server's object names the server's directories");
                    Ok(None)
                }
            },
            Err(Failure::Interrupted(interrupted)) => Err(interrupted.into()),
            Err(Failure::Host(failure)) if may_be_the_way(&failure) => {
                self.state = self.plain(job, &failure.to_string());
                Ok(None)
            }
            Err(Failure::Host(failure)) => Ok(Some(Attempt::HostFailed(failure))),
        }
    }

    /// Asks an include server what to send.
    fn ask(
        &mut self,
        task: Task,
        lines: bool,
        (host, slot): (&Host, u32),
        desk: &mut Desk,
    ) -> Result<(), Stop> {
        let cpp_slot = desk.local_cpp_slot()?;
        desk.set_place(LOCALHOST, cpp_slot.as_ref().map_or(0, |slot| slot.number));
        desk.set_phase(Phase::Preprocess);
        self.state = match prepare(task, lines, desk.top())? {
            Ok(sendable) => State::Ready(sendable),
            Err(reason) => self.plain(task.job, &reason),
        };
        desk.set_place(host.name(), slot);
        Ok(())
    }

    fn plain(&self, job: &Job, reason: &str) -> State {
        log::info!("preprocessing {} locally: {reason}", printable(job.input()));
        State::Plain
    }
}

/// The marks of hosts that do not map their directories away.
fn unmapped(locks: &Path) -> Backoff<'_> {
    Backoff::new(locks, UNMAPPED_PERIOD, UNMAPPED)
}

/// Everything that is to be sent, or why it cannot.
fn prepare(task: Task, lines: bool, top: Option<&TopDir>) -> Result<Result<Sendable, String>, Stop> {
    let Task { command, job, config } = task;
    if let Some(counter) = counter(config, top).filter(Counter::is_full) {
        if !build_is_over(top) {
            return Ok(Err("pump mode has failed too often in this build".to_owned()));
        }
        counter.forget();
    }
    let (directory, argv) = match words(job) {
        Ok(words) => words,
        Err(reason) => return Ok(Err(reason)),
    };
    let compile = Compile {
        lines,
        directory: &directory,
        argv: argv.iter().map(|word| word.as_bytes().to_vec()).collect(),
        context: context(command, &directory),
    };
    let asked = match (socket(), top) {
        (Some(socket), _) => include_server::ask(&socket, &compile)?,
        (None, Some(top)) if may_start() => auto::ask(top, &compile)?,
        (None, _) => Err("there is no include server (INCLUDE_SERVER_PORT is not set)".to_owned()),
    };
    let target = (!job.returns_assembly()).then(|| Target { is_searched: true, ..Target::of(job) });
    Ok(asked.map(|closure| Sendable { lines, directory, argv, closure, target }))
}

/// The working directory and the command for a server that preprocesses.
fn words(job: &Job) -> Result<(PathBuf, Vec<OsString>), String> {
    if let Some(name) = PREPROCESSOR_VARIABLES.iter().find(|name| env::var_os(name).is_some()) {
        return Err(format!("{name} is set, and servers do not have it"));
    }
    let directory = env::current_dir().map_err(|e| format!("the working directory has no name: {e}"))?;
    let argv = job.pump_argv(&directory, &working_directory()).map_err(|reason| reason.to_string())?;
    Ok((directory, argv))
}

/// For a person: what a server that preprocesses would get of this job, or why it would not. Asks nobody.
pub fn describe(command: &CompileCommand, job: &Job) -> String {
    let answer = words(job).and_then(|(cwd, argv)| {
        let program = cwd.join(command.program().unwrap_or(Path::new(&command.argv[0])));
        let unit = include::Unit { cwd, program, argv, environment: include::environment() };
        let mut engine = include::Engine::new();
        let closure = engine.closure(&unit).map_err(|reason| reason.to_string())?;
        let files: Vec<&Path> =
            closure.files.iter().filter(|file| !file.system).map(|file| file.real.as_path()).collect();
        let mut bytes = 0;
        for file in &files {
            let text = std::fs::read(file).map_err(|e| format!("cannot read {}: {e}", file.display()))?;
            if reads_files(&text) {
                return Err(format!("{} may read files in asm statements", file.display()));
            }
            bytes += text.len();
        }
        let exactly = if closure.exact { "" } else { ", some of them perhaps not read" };
        Ok(format!("in pump mode, sends: {} files of {bytes} bytes{exactly}", files.len()))
    });
    answer.unwrap_or_else(|reason| format!("in pump mode, preprocessed here: {reason}"))
}

/// The compiler's file, and the variables by which it finds what it reads.
fn context(command: &CompileCommand, directory: &Path) -> Vec<Vec<u8>> {
    let program = command.program().unwrap_or(Path::new(&command.argv[0]));
    let mut context = vec![directory.join(program).into_os_string().into_vec()];
    for (name, value) in include::environment() {
        let value = if name == "PATH" { command.path.clone() } else { value };
        context.push([name.as_bytes(), b"=", value.as_bytes()].concat());
    }
    context
}

impl Request for Sendable {
    fn version(&self) -> Version {
        Version::Pump
    }

    fn command(&self, toolchain: &Toolchain, cross: bool) -> Vec<OsString> {
        toolchain.named(self.argv.clone(), cross)
    }

    fn target(&self) -> Option<Target> {
        self.target.clone()
    }

    fn send(&self, connection: &mut Connection, argv: &[Vec<u8>]) -> Result<(), Failure> {
        let request = Gather::of_closure(self.directory.as_os_str().as_bytes(), argv, &self.closure);
        let request = request.map_err(HostFailure::Unsendable)?;
        log::info!("{} bytes in {} files and links", request.left(), self.closure.entries.len());
        connection.send_gathered(request)
    }
}

/// Whether the same host may do the job when it is sent preprocessed.
fn may_be_the_way(failure: &HostFailure) -> bool {
    match failure {
        HostFailure::Broken(_) | HostFailure::NoAnswer | HostFailure::Protocol(_) | HostFailure::Ssh(_) => {
            true
        }
        other => other.blame() == Blame::Job,
    }
}

/// What the reply means to a job that was sent in this way.
fn finish(
    (task, host): (Task, &Host),
    Sendable { lines, directory, .. }: &Sendable,
    mut reply: Reply,
    desk: &mut Desk,
    toolchain: &mut Toolchain,
) -> Result<Outcome, Stop> {
    let job = task.job;
    let status = reply.status.unwrap_or(WaitStatus::exited(ExitCode::ProtocolError as u8));
    if let Some(refusal) = reply.refusal() {
        let is_of_this_way = matches!(&refusal, HostFailure::Refused(code, _)
            if [ExitCode::ProtocolError, ExitCode::IoError].iter().any(|it| *it as i32 == *code));
        if is_of_this_way || may_be_the_way(&refusal) {
            return Ok(Outcome::Unfit(refusal.to_string()));
        }
        return Ok(Outcome::Ended(Attempt::HostFailed(refusal)));
    }
    if !status.success() {
        return Ok(Outcome::Ended(Attempt::CompileError(status, Messages::of_server(reply))));
    }
    if reply.object.is_empty() {
        return Ok(Outcome::Ended(Attempt::HostFailed(HostFailure::NoObject)));
    }
    if let Object::Unwritten(e) = &reply.object {
        return Ok(Outcome::Ended(unwritten(job.output(), e)));
    }
    // Stock's servers put their own directory into it where a file that is named absolutely asks for its name. With
    // debug information they always do, which has to be borne.
    if reply.names_directories() {
        let has_debug = job.argv().iter().any(|word| word.as_bytes().starts_with(b"-g"));
        if !(*lines && has_debug) {
            return Ok(Outcome::ShowsDirectories);
        }
        let mut bytes = match std::mem::take(&mut reply.object).into_bytes() {
            Ok(bytes) => bytes,
            Err(e) => return Ok(Outcome::Ended(unwritten(job.output(), &e))),
        };
        server_names::overwrite(&mut bytes, directory.as_os_str().as_bytes());
        reply.object = Object::Read(bytes);
    }
    desk.set_phase(Phase::Receive);
    if let Some(failure) = other_compiler(toolchain, &reply.object, desk, (job, host))? {
        return Ok(Outcome::Ended(Attempt::HostFailed(failure)));
    }
    if job.assembly_only() {
        if let Err(reason) = split::try_assembling(task.command, job, reply.object.bytes(), desk)? {
            log::info!("compiling locally: {reason}");
            return Ok(Outcome::Ended(Attempt::Local(Undone::Quietly)));
        }
    }
    // The object comes last: who builds by it must find the dependencies.
    if let Some(file) = job.dependency_file() {
        if reply.dependencies.is_empty() {
            return Ok(Outcome::Unfit("the server sent no dependency file".to_owned()));
        }
        if let Err(e) = output::write(Path::new(file), &reply.dependencies, Manner::InPlace) {
            return Ok(Outcome::Ended(unwritten(file, &e)));
        }
    }
    if let Err(e) = std::mem::take(&mut reply.object).deliver(&Target::of(job)) {
        return Ok(Outcome::Ended(unwritten(job.output(), &e)));
    }
    Messages::of_server(reply).show();
    Ok(Outcome::Ended(Attempt::Done(status)))
}

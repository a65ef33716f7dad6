//! The preprocessor as a child: started early, waited for late, its output in memory.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;

use super::command::CompileCommand;
use super::directives;
use crate::args::Job;
use crate::compiler::{self, Start};
use crate::scratch;
use crate::sys::file::{self, Contents};
use crate::sys::process::{self, Pid, WaitStatus};
use crate::sys::signal::Signal;
use crate::waiting::{Interrupted, retry};

/// A preprocessor at work. Dropping it ends it.
pub struct Running {
    pid: Option<Pid>,
    /// A byte for whoever reads standard input.
    bait: Option<File>,
    stdout: Option<File>,
    stderr: File,
    macros: Macros,
}

/// What becomes of macros before a text is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Macros {
    /// They are expanded here.
    Expanded,
    /// The server's compiler expands them.
    Kept,
}

/// What a preprocessor has left.
pub struct Preprocessed {
    /// The text, as the compiler is to see it.
    pub text: Contents,
    /// The file that has it, if nobody can change that.
    pub file: Option<File>,
    /// Whether it has read standard input (`#include "/dev/stdin"`), which only one compiler can.
    pub reads_input: bool,
    /// Its warnings. They are shown when the job succeeds remotely, and thrown away when a local compile is
    /// going to repeat them.
    pub stderr: Contents,
    /// What it has done with macros.
    pub macros: Macros,
}

/// The command of the preprocessor, which calls the compiler as the user does: the job may know what `cc` is.
pub fn argv(command: &CompileCommand, job: &Job, macros: Macros) -> Vec<OsString> {
    let mut argv = job.preprocess_argv();
    argv[..1].clone_from_slice(&command.argv[..1]);
    if macros == Macros::Kept {
        argv.push(directives::OPTION.into());
    }
    argv
}

/// A preprocessor that did not succeed.
pub struct Failed {
    /// How it ended.
    pub status: WaitStatus,
    /// What it said.
    pub stderr: Contents,
}

impl Running {
    /// Starts the preprocessor of `job`.
    pub fn start(command: &CompileCommand, job: &Job, macros: Macros) -> io::Result<Running> {
        let program = command.program().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let (bait, end) = file::pipe()?;
        File::from(end).write_all(b"\n")?;
        let bait = File::from(bait);
        let argv = argv(command, job, macros);
        let mut running = Running::spawn(program, &argv, &command.environment(), &bait, None)?;
        running.macros = macros;
        running.bait = Some(bait);
        Ok(running)
    }

    /// Starts `program` with what it writes kept in memory.
    pub fn spawn(
        program: &Path,
        argv: &[OsString],
        environment: &[OsString],
        stdin: &File,
        cwd: Option<&Path>,
    ) -> io::Result<Running> {
        let stdout = scratch::anonymous_file(c"distcc-source")?;
        let stderr = scratch::anonymous_file(c"distcc-messages")?;
        let start = Start {
            stdio: [Some(stdin.as_fd()), Some(stdout.as_fd()), Some(stderr.as_fd())],
            // So that the driver and what it started can be ended together.
            new_group: true,
            cwd,
            ..Start::default()
        };
        let pid = compiler::spawn(program, argv, environment, &start)?;
        Ok(Running { pid: Some(pid), bait: None, stdout: Some(stdout), stderr, macros: Macros::Expanded })
    }

    /// Waits for the end. `Ok(Err(failed))` is a preprocessor that failed.
    pub fn finish(mut self) -> Result<io::Result<Result<Preprocessed, Failed>>, Interrupted> {
        let Some(pid) = self.pid else { return Ok(Err(io::ErrorKind::NotFound.into())) };
        let status = match retry(|| process::wait(pid))? {
            Ok(status) => status,
            Err(e) => return Ok(Err(e)),
        };
        self.pid = None;
        Ok(self.collect(status))
    }

    fn collect(&mut self, status: WaitStatus) -> io::Result<Result<Preprocessed, Failed>> {
        let stderr = Contents::of(&mut self.stderr)?;
        if !status.success() {
            return Ok(Err(Failed { status, stderr }));
        }
        let mut file = self.stdout.take().ok_or(io::ErrorKind::NotFound)?;
        let text = Contents::of(&mut file)?;
        let file = Some(file).filter(|_| matches!(text, Contents::Mapped(_)));
        let is_taken = |bait: &File| file::unread(bait.as_fd()).is_ok_and(|left| left == 0);
        let reads_input = self.bait.as_ref().is_some_and(is_taken);
        Ok(Ok(Preprocessed { text, file, reads_input, stderr, macros: self.macros }))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(pid) = self.pid {
            let _ = pid.kill_group(Signal::KILL);
            let _ = process::wait(pid);
        }
    }
}

//! A compile on this machine, exactly as it would run without us.

use std::io;
use std::path::Path;

use super::Stop;
use super::command::CompileCommand;
use crate::args::printable;
use crate::compiler::{self, Start};
use crate::exitcode::ExitCode;
use crate::sys::process::{self, Pid, WaitStatus};
use crate::sys::signal::Signal;
use crate::waiting::{Interrupted, retry};

/// Runs the command with our standard streams, in our process group, and returns how it ended.
pub fn run(command: &CompileCommand) -> Result<WaitStatus, Stop> {
    let failed = |why: String| {
        let name = printable(&command.argv[0]);
        Stop::Failed(ExitCode::CompilerMissing, format!("cannot run {name}: {why}"))
    };
    let program = command.program().map(Path::to_owned).or_else(|| fallback_program(command));
    let program = program.ok_or_else(|| failed(why_missing(command)))?;
    let pid = compiler::spawn(&program, &command.argv, &command.environment(), &Start::default())
        .map_err(|e| failed(e.to_string()))?;
    match retry(|| process::wait(pid)) {
        Ok(Ok(status)) => Ok(status),
        Ok(Err(e)) => {
            Err(Stop::Failed(ExitCode::GeneralFailure, format!("cannot wait for the compiler: {e}")))
        }
        Err(interrupted) => Err(end(pid, interrupted)),
    }
}

/// A compiler given with a path that does not exist is searched by its last part, as stock does it.
fn fallback_program(command: &CompileCommand) -> Option<std::path::PathBuf> {
    compiler::find(Path::new(&command.argv[0]).file_name()?, &command.path)
}

/// Why no program was found.
fn why_missing(command: &CompileCommand) -> String {
    let word = Path::new(&command.argv[0]);
    let has_directory = word.components().count() > 1;
    match has_directory.then(|| word.metadata()) {
        Some(Ok(metadata)) if metadata.is_dir() => "it is a directory".to_owned(),
        Some(Ok(_)) => "it is not executable for this user".to_owned(),
        Some(Err(e)) => format!("{e}; nor is there such a name in PATH ({})", printable(&command.path)),
        None => format!("there is no such program in PATH ({})", printable(&command.path)),
    }
}

/// Passes the interrupt on, since it may have been sent to us alone, and waits: a compiler removes its
/// half-written output when it is interrupted, and make must not go on before that.
fn end(pid: Pid, interrupted: Interrupted) -> Stop {
    let _ = pid.kill(interrupted.0);
    for _ in 0..PATIENCE {
        match process::wait(pid) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            _ => return interrupted.into(),
        }
    }
    let _ = pid.kill(Signal::KILL);
    let _ = process::wait(pid);
    interrupted.into()
}

/// How many of the alarms that follow an interrupt (every 20 ms, see `sys::signal`) a compiler has to end in:
/// 2 s.
const PATIENCE: u32 = 100;

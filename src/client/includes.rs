//! `distcc --scan-includes`: what a compile reads, by the include engine.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::args::printable;
use crate::console;
use crate::exitcode::ExitCode;
use crate::include::{Closure, Engine, Unit, environment};
use crate::program::Ending;

use super::command::CompileCommand;
use super::config;

/// Status of a command whose files cannot be told, as in stock.
const NO_ANSWER: u8 = 1;

/// Prints the files of the command in `args`; nothing is compiled.
pub fn scan(args: &[OsString]) -> Ending {
    config::start_logging();
    if args.is_empty() {
        console::err(format_args!("distcc: missing operand\nTry 'distcc --help'.\n"));
        return ExitCode::BadArguments.into();
    }
    let command = CompileCommand::explicit(args);
    let Some(program) = command.program().map(Path::to_owned) else {
        log::error!("cannot scan includes: {} is not in PATH", printable(&args[0]));
        return ExitCode::CompilerMissing.into();
    };
    let cwd = match std::env::current_dir() {
        Ok(cwd) => cwd,
        Err(e) => {
            log::error!("cannot scan includes: the working directory cannot be found: {e}");
            return Ending::Code(NO_ANSWER);
        }
    };
    let unit = Unit { cwd, program, argv: command.argv, environment: environment() };
    match Engine::new().closure(&unit) {
        Ok(closure) => {
            print(closure);
            Ending::Code(0)
        }
        Err(reason) => {
            log::error!("cannot scan includes: {reason}");
            Ending::Code(NO_ANSWER)
        }
    }
}

/// One line each: the kind in nine columns, a space, the path from the root.
fn print(closure: &Closure) {
    let line = |kind: &str, path: &Path| {
        let mut text = format!("{kind:9} ").into_bytes();
        text.extend_from_slice(path.as_os_str().as_bytes());
        text.push(b'\n');
        console::out_bytes(&text);
    };
    for file in closure.files.iter().filter(|file| !file.system) {
        line("FILE", &file.real);
    }
    for directory in &closure.defaults {
        line("SYSTEMDIR", directory);
    }
    let is_system = |path: &Path| closure.defaults.iter().any(|default| path.starts_with(default));
    for link in closure.links.iter().filter(|link| !is_system(&link.path)) {
        line("SYMLINK", &link.path);
    }
    for directory in closure.directories.iter().filter(|directory| !is_system(directory)) {
        line("DIRECTORY", directory);
    }
}

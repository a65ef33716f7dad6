//! `pump`: a build with an include server of its own. Source: reference `pump.md` section 1.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::Arguments;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::args::printable;
use crate::compiler::{self, Start};
use crate::console;
use crate::program::{self, Ending};
use crate::sys::process::{self, Pid, WaitStatus, is_executable};
use crate::sys::{signal, start};

mod hosts;
mod server;

use hosts::{Counts, Search};
use server::{Running, Server};

const USAGE: &str = "\
Usage:
  pump COMMAND [ARGS...]      runs COMMAND with pump mode: servers preprocess
  eval `pump --startup`       the same for everything that follows
  pump --shutdown             the end of that
  pump --help, --version

COMMAND is a build that compiles with distcc, on hosts with ,cpp,lzo in DISTCC_HOSTS:
  pump make -j20 CC=\"distcc gcc\"

Environment:
  DISTCC_HOSTS            the hosts; else $DISTCC_DIR/hosts, ~/.distcc/hosts, /etc/distcc/hosts
  DISTCC_POTENTIAL_HOSTS  use those of these that answer (lsdistcc), instead; LSDISTCC_ARGS
  DISTCC_MAX_DISCREPANCY  end pump mode after so many compiles that failed on servers only [1]
  DISTCC_LOCATION         the directory of distcc [that of pump]
  INCLUDE_SERVER_ARGS     more options for the include server: include_server --help
  TMPDIR                  where the private directory of a build is [/tmp]
";

/// Whatever keeps a build from starting, as in stock.
const FAILED: Ending = Ending::Code(1);

/// The personality `pump`.
pub fn main(args: &[OsString]) -> Ending {
    let whole: Vec<&OsStr> = args.iter().map(OsString::as_os_str).collect();
    let first = whole.first().copied().unwrap_or_default();
    match whole.as_slice() {
        _ if first.is_empty() || first == "-h" || first == "--help" => {
            program::answer("pump", format_args!("{USAGE}"))
        }
        [only] if *only == "--version" => {
            program::answer("pump", format_args!("{}", program::version_text("pump")))
        }
        [only] if *only == "--startup" => start_up().unwrap_or_else(failed),
        [only] if *only == "--shutdown" => shut_down(),
        _ => run(args).unwrap_or_else(failed),
    }
}

fn failed(reason: String) -> Ending {
    let end = if reason.is_empty() || reason.ends_with('\n') { "" } else { "\n" };
    console::err(format_args!("{reason}{end}"));
    FAILED
}

/// What a build gets.
struct Build {
    server: Option<Server>,
    hosts: Option<OsString>,
    path: OsString,
}

/// Starts the server and finds the hosts; `say` is for lines about how that goes.
fn begin(detached: bool, say: &dyn Fn(Arguments)) -> Result<Build, String> {
    let limit = max_discrepancy()?;
    debug_assert!(limit > 0);
    let location = location()?;
    say(format_args!("Using distcc-pump from {}", location.display()));
    let search = Search::start().map_err(|e| format!("distcc-pump: cannot run lsdistcc: {e}"))?;
    let mut path = location.into_os_string();
    if let Some(old) = env::var_os("PATH") {
        path.push(":");
        path.push(old);
    }
    let Some(search) = search else {
        let counts = hosts::count().map_err(|reason| format!("distcc-pump: error: {reason}"))?;
        let server = Server::start(detached)?;
        say_hosts(counts, say);
        return Ok(Build { server: Some(server), hosts: None, path });
    };
    let server = Server::start(detached);
    let (found, list) = search.finish(server.is_ok());
    say(format_args!("Found {found} available distcc servers"));
    let server = match server {
        Ok(server) => Some(server),
        Err(reason) => {
            console::err(format_args!("{reason}__________Warning: the build runs without pump mode\n"));
            None
        }
    };
    Ok(Build { server, hosts: Some(list), path })
}

fn say_hosts(Counts { all, pump }: Counts, say: &dyn Fn(Arguments)) {
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    match all == pump {
        true => say(format_args!("Using {all} distcc server{} in pump mode", plural(all))),
        false => say(format_args!(
            "Using {all} distcc server{}, of which only {pump} support{} pump mode",
            plural(all),
            if pump == 1 { "s" } else { "" }
        )),
    }
}

fn start_up() -> Result<Ending, String> {
    let Build { server, hosts, path } = begin(true, &|_| ())?;
    let mut lines = Vec::new();
    let mut export = |name: &str, value: &OsStr| {
        lines.extend_from_slice(format!("export {name}=").as_bytes());
        lines.extend_from_slice(&quoted(value));
        lines.push(b'\n');
    };
    if let Some(server) = &server {
        export("INCLUDE_SERVER_PID", OsStr::new(&server.pid().number().to_string()));
        export("INCLUDE_SERVER_DIR", server.directory().as_os_str());
        export("INCLUDE_SERVER_PORT", server.socket().as_os_str());
    }
    let hosts = hosts.or_else(|| env::var_os("DISTCC_HOSTS")).filter(|hosts| !hosts.is_empty());
    if let Some(hosts) = &hosts {
        export("DISTCC_HOSTS", hosts);
    }
    export("PATH", &path);
    console::out_bytes(&lines);
    if let Some(server) = server {
        server.leave();
    }
    Ok(Ending::Code(0))
}

/// As one word of a shell, whatever is in it.
fn quoted(value: &OsStr) -> Vec<u8> {
    let mut quoted = b"'".to_vec();
    for byte in value.as_bytes() {
        match byte {
            b'\'' => quoted.extend_from_slice(b"'\\''"),
            byte => quoted.push(*byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

fn shut_down() -> Ending {
    if let Some(running) = Server::from_env() {
        end(running, &say_out);
    }
    Ending::Code(0)
}

fn say_out(text: Arguments) {
    // A reader that has gone misses nothing that it wants.
    let _ = console::out(format_args!("__________{text}\n"));
}

fn end(running: Running, say: &dyn Fn(Arguments)) {
    let count = running.discrepancies();
    if count > 0 {
        let demoted = max_discrepancy().is_ok_and(|limit| count >= limit);
        console::err(format_args!(
            "__________Warning: {count} pump-mode compilation(s) failed on server, but succeeded locally.\n{}\
             __________See DISCREPANCIES in include_server(1).\n",
            if demoted { "__________Distcc-pump was demoted to plain mode.\n" } else { "" }
        ));
    }
    say(format_args!("Shutting down distcc-pump include server"));
    running.end();
}

fn run(args: &[OsString]) -> Result<Ending, String> {
    signal::watch_interrupts().map_err(|e| format!("distcc-pump: {e}"))?;
    let Build { server, hosts, path } = begin(false, &say_out)?;
    let socket = server.as_ref().map(|server| server.socket().into_os_string());
    let mut changes = vec![("PATH", path.as_os_str())];
    changes.extend(socket.as_deref().map(|socket| ("INCLUDE_SERVER_PORT", socket)));
    changes.extend(hosts.as_deref().map(|hosts| ("DISTCC_HOSTS", hosts)));
    let ending = command(args, &path, &compiler::environment(&changes));
    if let Some(server) = server {
        end(server.running(), &say_out);
    }
    Ok(ending)
}

/// Runs the command to its end, which is the end of ours.
fn command(args: &[OsString], path: &OsStr, environment: &[OsString]) -> Ending {
    let Some(program) = compiler::find(&args[0], path) else {
        console::err(format_args!("pump: {}: command not found\n", printable(&args[0])));
        return Ending::Code(127);
    };
    match compiler::spawn(&program, args, environment, &Start::default()).and_then(wait) {
        Ok(status) => match signal::interrupted() {
            Some(signal) => Ending::Signal(signal),
            None => Ending::Code(status.shell_code()),
        },
        Err(e) => {
            console::err(format_args!("pump: cannot run {}: {e}\n", printable(program.as_os_str())));
            Ending::Code(126)
        }
    }
}

/// Waits for the command. Who interrupts us means it.
fn wait(pid: Pid) -> io::Result<WaitStatus> {
    let mut told = false;
    loop {
        match process::wait(pid) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {
                if let Some(signal) = signal::interrupted().filter(|_| !told) {
                    let _ = pid.kill(signal);
                    told = true;
                }
            }
            result => return result,
        }
    }
}

/// How many compiles may fail on servers only.
fn max_discrepancy() -> Result<u64, String> {
    let Some(value) = env::var_os("DISTCC_MAX_DISCREPANCY").filter(|value| !value.is_empty()) else {
        return Ok(1);
    };
    let number = value.to_str().and_then(|text| text.trim().parse().ok()).filter(|number| *number > 0);
    number.ok_or_else(|| {
        format!("distcc-pump: DISTCC_MAX_DISCREPANCY is \"{}\", not a number from 1 on", printable(&value))
    })
}

/// The directory of `distcc`: `DISTCC_LOCATION`, or the one that our name leads to.
fn location() -> Result<PathBuf, String> {
    let directory = match env::var_os("DISTCC_LOCATION").filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => own_directory(),
    };
    let directory = std::path::absolute(&directory).unwrap_or(directory);
    if is_executable(&directory.join("distcc")) {
        return Ok(directory);
    }
    Err(format!(
        "distcc-pump: there is no distcc in {}: set DISTCC_LOCATION to the directory that has it",
        printable(directory.as_os_str())
    ))
}

fn own_directory() -> PathBuf {
    let name = start::arguments().first().cloned().unwrap_or_default();
    let path = compiler::find(&name, &env::var_os("PATH").unwrap_or_default());
    let path = path.unwrap_or_else(|| env::current_exe().unwrap_or_default());
    let directory = path.parent().unwrap_or(Path::new(".")).to_owned();
    if is_executable(&directory.join("distcc")) {
        return directory;
    }
    match path.read_link() {
        Ok(target) => directory.join(target).parent().unwrap_or(Path::new("/")).to_owned(),
        Err(_) => directory,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn a_shell_gets_the_value_back() {
        for (value, expected) in
            [("a b", "'a b'"), ("it's", "'it'\\''s'"), ("", "''"), ("$x`y`\n", "'$x`y`\n'")]
        {
            let quoted = OsString::from_vec(quoted(OsStr::new(value)));
            assert_eq!(quoted, expected);
        }
    }
}

//! `distcc --doctor`: asks every host what can be asked, all at once, and says what to do.
//!
//! Nothing here is a job of the user's: no slot is taken, no host is left alone for what comes out.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::command::{CompileCommand, SAFEGUARD};
use super::config;
use super::remote::{Connection, Failure, HostFailure};
use super::reply::Reply;
use crate::background::Mailbox;
use crate::compiler;
use crate::decimal::Decimal;
use crate::exitcode::ExitCode;
use crate::hostlist::{self, Found};
use crate::hosts::{self, Host, Place};
use crate::program::{self, Ending};
use crate::scratch::{self, PrivateDir};
use crate::sys::process::{self, WaitStatus};
use crate::sys::thread;
use crate::topdir::TopDir;
use crate::waiting::retry;
use crate::wire::{Version, probe};

/// The time for all hosts together.
const PATIENCE: Duration = Duration::from_secs(5);

/// A source of this many bytes measures how fast bytes travel.
const LOAD: usize = 1 << 20;

/// Marks a source as preprocessed, which is what servers get.
const MARKER: &[u8] = b"# 1 \"hello.c\"\n";
const SOURCE: &[u8] = b"int distcc_doctor;\n";

/// Compilers that a build may use, in the order in which they are looked for.
const COMPILERS: [&str; 3] = ["gcc", "clang", "cc"];

/// Carries it out for the hosts that `args` name, or for those of the list.
pub fn run(args: &[OsString]) -> Ending {
    config::start_logging();
    let Found { list, source, lack } = match host_list(args) {
        Ok(found) => found,
        Err(reason) => {
            log::error!("{reason}");
            return Ending::Code(1);
        }
    };
    let mut text = String::new();
    for problem in &list.problems {
        let _ = writeln!(text, "{source}, {problem}");
    }
    lack.iter().for_each(|lack| _ = writeln!(text, "{source}: {lack}"));
    let local = Local::find();
    match &local {
        Some(local) => {
            let ident = local.ident.as_deref().unwrap_or("its version is unknown");
            let _ = writeln!(text, "this machine: {} ({ident})", local.compiler);
        }
        None => text.push_str("this machine: no compiler; gcc, clang and cc are not in PATH\n"),
    }
    let compiler = local.as_ref().map_or("gcc", |local| &local.compiler);
    let ident = local.as_ref().and_then(|local| local.ident.as_deref());
    let findings = ask_all(&list.hosts, compiler, ident);
    let mut all_good = list.problems.is_empty() && !list.hosts.is_empty();
    if list.hosts.is_empty() {
        let _ = writeln!(text, "{source} contains no usable host");
    }
    for (host, finding) in list.hosts.iter().zip(findings) {
        // Nobody counts on a host that is marked down.
        all_good &= finding.usable || host.down;
        let verdict = if finding.usable { "good" } else { "NOT USABLE" };
        let _ = write!(text, "{}: {verdict}\n{}", host.spec, finding.text);
    }
    match program::answer("distcc", format_args!("{text}")) {
        Ending::Code(0) if !all_good => Ending::Code(1),
        ending => ending,
    }
}

fn host_list(args: &[OsString]) -> Result<Found, String> {
    let top = TopDir::find().ok();
    let mut found = if args.is_empty() {
        hostlist::find(top.as_ref())?
    } else {
        let words: Vec<_> = args.iter().map(|word| word.to_string_lossy()).collect();
        Found { list: hosts::parse(&words.join("\n")), source: "the command line".to_owned(), lack: None }
    };
    found.add_announced(top.as_ref());
    Ok(found)
}

/// This machine's compiler.
struct Local {
    compiler: String,
    ident: Option<String>,
}

impl Local {
    fn find() -> Option<Local> {
        let found = COMPILERS.into_iter().find_map(|name| {
            let command = CompileCommand::explicit(&[name.into()]);
            command.program().map(std::path::Path::to_owned).map(|program| (name, command, program))
        });
        let (name, command, program) = found?;
        let compile = || -> io::Result<Vec<u8>> {
            let dir = PrivateDir::new(&scratch::directory(), "distcc_")?;
            let (source, object) = (dir.path().join("hello.c"), dir.path().join("hello.o"));
            fs::write(&source, SOURCE)?;
            let argv = [
                name.into(),
                "-c".into(),
                source.into_os_string(),
                "-o".into(),
                object.clone().into_os_string(),
            ];
            // Behind a name of ours in PATH is the compiler itself.
            let mut environment = command.environment();
            environment.retain(|entry| !entry.to_string_lossy().starts_with(SAFEGUARD));
            environment.push(format!("{SAFEGUARD}=1").into());
            let pid = compiler::spawn(&program, &argv, &environment, &compiler::Start::default())?;
            match retry(|| process::wait(pid)) {
                Ok(ended) => ended.map(drop)?,
                Err(_) => return Err(io::ErrorKind::Interrupted.into()),
            }
            fs::read(object)
        };
        Some(Local { compiler: name.to_owned(), ident: compile().ok().and_then(|object| ident(&object)) })
    }
}

/// What came out for one host.
struct Finding {
    usable: bool,
    /// Lines, each with its end.
    text: String,
}

/// Asks in threads; whoever has not answered in time is not waited for.
fn ask_all(hosts: &[Host], compiler: &str, local_ident: Option<&str>) -> Vec<Finding> {
    let deadline = Instant::now() + PATIENCE;
    let reports = Mailbox::new();
    let mut findings: Vec<Option<Finding>> = hosts.iter().map(|_| None).collect();
    let mut asked = 0;
    for (index, host) in hosts.iter().enumerate() {
        let (answer, host, compiler) = (Arc::clone(&reports), host.clone(), compiler.to_owned());
        let local_ident = local_ident.map(str::to_owned);
        let ask = move || answer.put((index, examine(&host, &compiler, local_ident.as_deref())));
        match thread::start(Box::new(ask)) {
            Ok(()) => asked += 1,
            Err(e) => {
                let mut finding = Finding { usable: false, text: String::new() };
                finding.say("problem", &format!("there is no thread to ask it: {e}"));
                findings[index] = Some(finding);
            }
        }
    }
    while asked > 0 && Instant::now() < deadline {
        for (index, finding) in reports.take(deadline) {
            findings[index] = Some(finding);
            asked -= 1;
        }
    }
    let late = || {
        let what = format!("no answer within {} s", PATIENCE.as_secs());
        let mut finding = Finding { usable: false, text: String::new() };
        finding.say("problem", &what);
        finding.say("to do", "is the machine up and its port open, its name served, ssh without a question?");
        finding
    };
    findings.into_iter().map(|finding| finding.unwrap_or_else(late)).collect()
}

impl Finding {
    fn say(&mut self, what: &str, text: &str) {
        let _ = writeln!(self.text, "  {what:<11} {text}");
    }

    fn fail(&mut self, failure: &HostFailure, host: &Host, compiler: &str) {
        self.usable = false;
        self.say("problem", &failure.to_string());
        if let Some(advice) = advice(failure, host, compiler) {
            self.say("to do", &advice);
        }
    }
}

fn examine(host: &Host, compiler: &str, local_ident: Option<&str>) -> Finding {
    let mut finding = Finding { usable: true, text: String::new() };
    if host.place == Place::Local {
        finding.say("kind", "this machine, without a server");
        return finding;
    }
    if let Some(offer) = &host.offer {
        finding.say("announces", &offer.summary());
    }
    if host.down {
        finding.say("note", "marked down in the host list, so no job goes there");
    }
    match examine_server(host, compiler, local_ident, &mut finding) {
        Ok(()) => {}
        Err(Failure::Host(failure)) => finding.fail(&failure, host, compiler),
        Err(Failure::Interrupted(_)) => finding.usable = false,
    }
    finding
}

fn examine_server(
    host: &Host,
    compiler: &str,
    local_ident: Option<&str>,
    finding: &mut Finding,
) -> Result<(), Failure> {
    let source = [MARKER, SOURCE].concat();
    let begun = Instant::now();
    let mut connection = Connection::start(host, PATIENCE)?;
    connection.finish()?;
    let connected = begun.elapsed();
    if matches!(host.place, Place::Tcp { .. }) {
        finding.say("connection", &format!("made in {}", Shown(connected)));
    }
    let begun = Instant::now();
    let reply = compile(connection, Version::Plain, compiler, &source)?;
    let round_trip = begun.elapsed();
    finding.say("compile", &format!("{compiler} there and back in {}", Shown(round_trip)));

    let mut protocols = vec!["1"];
    match connect(host).and_then(|connection| compile(connection, Version::Lzo, compiler, &source)) {
        Ok(_) => protocols.push("2 (lzo)"),
        Err(Failure::Host(failure)) if host.lzo => return Err(failure.into()),
        Err(Failure::Interrupted(interrupted)) => return Err(interrupted.into()),
        Err(Failure::Host(_)) => {}
    }
    let request = probe::request(compiler, 3, SOURCE);
    if connect(host)?.ask(&request)? == probe::good_start(3) {
        protocols.push("3 (pump)");
    }
    finding.say("protocols", &protocols.join(", "));

    let load = [MARKER, SOURCE, &vec![b'\n'; LOAD]].concat();
    let begun = Instant::now();
    compile(connect(host)?, Version::Plain, compiler, &load)?;
    let took = begun.elapsed().saturating_sub(round_trip).max(Duration::from_micros(1));
    finding.say("transfer", &format!("1 MiB in {}, compiled", Shown(took)));

    compare(ident(reply.object.bytes()), local_ident, compiler, finding);
    Ok(())
}

/// An object of another version is thrown away, or worse.
fn compare(theirs: Option<String>, ours: Option<&str>, compiler: &str, finding: &mut Finding) {
    match (theirs, ours) {
        (Some(theirs), Some(ours)) if theirs == ours => {
            finding.say("version", &format!("{theirs}, the same as here"));
        }
        (Some(theirs), Some(ours)) => {
            finding.usable = false;
            finding.say("problem", &format!("{compiler} there is {theirs}, here it is {ours}"));
            finding.say(
                "to do",
                &format!("install the same version there, or build with a name like {compiler}-12"),
            );
        }
        (theirs, _) => {
            let theirs = theirs.unwrap_or_else(|| "not told by its objects".to_owned());
            finding.say("version", &format!("{theirs}, not compared"));
        }
    }
}

fn connect(host: &Host) -> Result<Connection, Failure> {
    let mut connection = Connection::start(host, PATIENCE)?;
    connection.finish()?;
    Ok(connection)
}

/// One job; fails if no object comes back.
fn compile(
    mut connection: Connection,
    version: Version,
    compiler: &str,
    source: &[u8],
) -> Result<Reply, Failure> {
    let argv: Vec<Vec<u8>> =
        [compiler, "-c", "hello.c", "-o", "hello.o"].iter().map(|word| word.as_bytes().to_vec()).collect();
    let sent = connection.send(version, &argv, source);
    let reply = match (sent, connection.receive(version, None, || ())) {
        (_, Ok(reply)) => reply,
        (Err(failure), Err(_)) | (Ok(()), Err(failure)) => return Err(failure),
    };
    if let Some(refusal) = reply.refusal() {
        return Err(refusal.into());
    }
    if !reply.status.is_some_and(WaitStatus::success) {
        let code = reply.status.map_or(0, |status| i32::from(status.shell_code()));
        let words = String::from_utf8_lossy(&reply.stderr).lines().next().unwrap_or_default().to_owned();
        return Err(HostFailure::Refused(code, words).into());
    }
    match reply.object.is_empty() {
        true => Err(HostFailure::NoObject.into()),
        false => Ok(reply),
    }
}

/// What can be done about it, if that is known.
fn advice(failure: &HostFailure, host: &Host, compiler: &str) -> Option<String> {
    const NO_COMPILER: i32 = ExitCode::CompilerMissing as i32;
    const NOT_ALLOWED: i32 = ExitCode::AccessDenied as i32;
    Some(match failure {
        HostFailure::Resolve(_) => "check the spelling, or write the address".to_owned(),
        HostFailure::Connect(address, e) if e.kind() == io::ErrorKind::ConnectionRefused => {
            format!("start distccd there, or name its port if that is not {}", address.port())
        }
        HostFailure::Connect(address, _) => {
            format!("is the machine up? does a firewall keep port {} closed?", address.port())
        }
        HostFailure::NoAnswer => {
            "look at the server's log; stock servers do so if --allow does not name this machine, or if /usr/lib/distcc lacks the compiler"
                .to_owned()
        }
        HostFailure::Refused(NO_COMPILER, words) if words.contains("executable") || words.contains("ermission") => {
            format!(
                "the daemon runs as a user that may not run {compiler}: on {}, look at \"distccd --list-compilers\" and at the permissions of the compiler and the directories above it",
                host.name()
            )
        }
        HostFailure::Refused(NO_COMPILER, _) => format!(
            "on {}: install {compiler}, or put it into the PATH of the daemon; if it is there, the daemon's user may not run it (distccd --list-compilers)",
            host.name()
        ),
        HostFailure::Refused(NOT_ALLOWED, _) => {
            format!("on {}: distccd --allow-compiler {compiler}, or a link of that name in /usr/lib/distcc", host.name())
        }
        HostFailure::Protocol(_) => "is that a distccd? Another service seems to have the port".to_owned(),
        HostFailure::Silent(_) => "the server is overloaded, or something between swallows the bytes".to_owned(),
        _ => return None,
    })
}

/// The compiler that an object names: `GCC: (Debian 12.2.0-14) 12.2.0`, `Debian clang version 14.0.6`.
fn ident(object: &[u8]) -> Option<String> {
    object.split(|byte| *byte == 0).filter(|text| text.len() < 200).find_map(|text| {
        let text = std::str::from_utf8(text).ok()?;
        (text.starts_with("GCC: (") || text.contains("clang version ")).then(|| text.to_owned())
    })
}

/// A time for people.
struct Shown(Duration);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self.0.as_micros() {
            micros @ 0..10_000 => write!(f, "{} ms", Decimal(micros as u64 / 100, 1)),
            micros => write!(f, "{} ms", micros / 1000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_name_their_compiler() {
        let object = b"\x7fELF\0.comment\0\0GCC: (Debian 12.2.0-14) 12.2.0\0x";
        assert_eq!(ident(object).as_deref(), Some("GCC: (Debian 12.2.0-14) 12.2.0"));
        assert_eq!(ident(b"\0Debian clang version 14.0.6\0").as_deref(), Some("Debian clang version 14.0.6"));
        assert_eq!(ident(b"no object"), None);
    }
}

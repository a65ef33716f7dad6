//! A server started through ssh, its standard input and output being the connection.
//!
//! The command is stock's: `SSH [WORDS...] [-l USER] HOST COMMAND --inetd --enable-tcp-insecure`, where `DISTCC_SSH` has
//! the first words (reference `client.md` section 7); `sharing` adds one option to OpenSSH. Three pipes connect us: what
//! ssh and the remote shell write to standard error is kept, for it is the only one to know why there is no server.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use super::remote::{Failure, HostFailure};
use super::sharing;
use crate::args::printable;
use crate::compiler::{self, Start};
use crate::sys::file::{self, Interest, enlarge_pipe, set_nonblocking, unread, wait_for_any};
use crate::sys::process::{self, Pid, WaitStatus};
use crate::sys::signal::Signal;

/// How long ssh may take until it reads its standard input, which it does when the remote command runs. A person may
/// have to type a passphrase.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long ssh may take to end by itself, once the server has answered or closed.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// What is kept of standard error, in bytes; the rest is read and dropped.
const MOST_WORDS: usize = 16 * 1024;

/// What a message shows of it, in characters.
const SHOWN_WORDS: usize = 400;

/// The largest pipe that Linux gives to everybody, in bytes.
const LARGEST_PIPE: usize = 1 << 20;

/// The exit code of ssh for its own failures, and that of shells for a command that does not exist.
const SSH_FAILED: i32 = 255;
const COMMAND_NOT_FOUND: i32 = 127;

/// A running ssh. It ends with us.
#[derive(Debug)]
pub struct Session {
    child: Option<Pid>,
    /// The program, as messages call it.
    program: String,
    /// `[USER@]HOST`
    target: String,
    remote_command: String,
    input: File,
    output: File,
    errors: Option<File>,
    words: Vec<u8>,
    /// When it was first written to.
    begun: Instant,
    /// Bytes that it was given.
    written: usize,
    connected: bool,
}

impl Session {
    /// Starts ssh and returns at once.
    pub fn start(user: Option<&str>, name: &str, command: Option<&str>) -> Result<Session, Failure> {
        let mut argv = command_words(env::var_os("DISTCC_SSH").as_deref());
        let program = printable(&argv[0]).to_string();
        let failed = |e: io::Error| Failure::from(HostFailure::Ssh(format!("cannot run {program}: {e}")));
        let path = env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        let Some(file) = compiler::find(&argv[0], &path) else {
            return Err(failed(io::Error::other(
                "there is no such program in PATH (DISTCC_SSH names another)",
            )));
        };
        if let Some(config) = sharing::config(&file, &argv[1..])? {
            argv.extend(["-F".into(), config.into_os_string()]);
        }
        if let Some(user) = user {
            argv.extend(["-l".into(), user.into()]);
        }
        let remote_command = command.unwrap_or("distccd");
        argv.extend([name, remote_command, "--inetd", "--enable-tcp-insecure"].map(OsString::from));
        log::debug!(
            "running {}",
            argv.iter().map(|word| printable(word).to_string()).collect::<Vec<_>>().join(" ")
        );

        let (their_input, input) = file::pipe().map_err(failed)?;
        let (output, their_output) = file::pipe().map_err(failed)?;
        let (errors, their_errors) = file::pipe().map_err(failed)?;
        for theirs in [&their_input, &their_output, &their_errors] {
            set_nonblocking(theirs.as_fd(), false).map_err(failed)?;
        }
        let start = Start {
            stdio: [Some(their_input.as_fd()), Some(their_output.as_fd()), Some(their_errors.as_fd())],
            bound_to_us: true,
            ..Start::default()
        };
        let child = compiler::spawn(&file, &argv, &compiler::environment(&[]), &start).map_err(failed)?;
        let target = user.map_or_else(|| name.to_owned(), |user| format!("{user}@{name}"));
        Ok(Session {
            child: Some(child),
            program,
            target,
            remote_command: remote_command.to_owned(),
            input: input.into(),
            output: output.into(),
            errors: Some(errors.into()),
            words: Vec::new(),
            begun: Instant::now(),
            written: 0,
            connected: false,
        })
    }

    /// Prepares for a request of this length: the fewer pieces, the fewer changes between us and ssh.
    pub fn expect(&self, len: usize) {
        if len > file::DEFAULT_PIPE {
            enlarge_pipe(self.input.as_fd(), len.min(LARGEST_PIPE));
        }
    }

    /// Reads what the server has answered.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.output.read(buffer)?;
        self.connected = true;
        Ok(count)
    }

    /// Writes to the server.
    pub fn write(&mut self, pieces: &[IoSlice]) -> io::Result<usize> {
        let count = self.input.write_vectored(pieces)?;
        if self.written == 0 {
            self.begun = Instant::now();
        }
        self.written += count;
        Ok(count)
    }

    /// See `Link::wait`. Fails when ssh has not connected in its time.
    pub fn wait(&mut self, read: bool, write: bool, timeout: Duration) -> io::Result<Option<bool>> {
        let end = Instant::now() + timeout;
        loop {
            let mut now = Instant::now();
            let to_connect = (!self.connected).then(|| self.begun + CONNECT_TIMEOUT);
            let until = to_connect.map_or(end, |deadline| deadline.min(end));
            // Where standard error has ended, another descriptor stands for it and is not looked at.
            let errors = self.errors.as_ref().unwrap_or(&self.output);
            let mut interests = [
                Interest { fd: self.output.as_fd(), read, write: false },
                Interest { fd: self.input.as_fd(), read: false, write },
                Interest { fd: errors.as_fd(), read: self.errors.is_some(), write: false },
            ];
            let ready = wait_for_any(&mut interests, until.saturating_duration_since(now))?;
            let [readable, writable, has_words] = interests.map(|it| it.read || it.write);
            if has_words {
                self.take_words();
            }
            if readable || writable {
                return Ok(Some(readable));
            }
            now = Instant::now();
            if to_connect.is_some_and(|deadline| now >= deadline) {
                self.connected = unread(self.input.as_fd()).is_ok_and(|left| left < self.written);
                if !self.connected {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            } else if !ready && now >= end {
                return Ok(None);
            }
        }
    }

    /// Reads what is there of standard error.
    fn take_words(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(errors) = &mut self.errors {
            match errors.read(&mut buffer) {
                Ok(count) if count > 0 => {
                    let room = MOST_WORDS - self.words.len();
                    self.words.extend_from_slice(&buffer[..count.min(room)]);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                _ => self.errors = None,
            }
        }
    }

    /// After a complete reply: lets ssh end, which may serve other jobs with its connection, and passes on what it said.
    pub fn end(&mut self) {
        self.wait_for_end();
        for line in lines(&self.words) {
            log::warn!("{}: {}: {line}", self.target, self.program);
        }
    }

    /// After an end without a reply: what ssh said, how it ended, and what can be done.
    pub fn last_words(&mut self) -> String {
        let late = !self.connected && self.begun.elapsed() >= CONNECT_TIMEOUT;
        let status = if late { None } else { self.wait_for_end() };
        self.take_words();
        explain(&self.program, &self.target, &self.remote_command, status, &self.words)
    }

    /// How ssh ended, if it does within its time.
    fn wait_for_end(&mut self) -> Option<WaitStatus> {
        let end = Instant::now() + END_TIMEOUT;
        let mut buffer = [0; 4096];
        let mut is_open = true;
        while let Some(child) = self.child {
            if let Ok(Some(status)) = process::try_wait(child) {
                self.child = None;
                self.take_words();
                return Some(status);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            // It closes its standard output when it ends, or a moment before.
            let moment = if is_open { left } else { left.min(Duration::from_millis(2)) };
            let mut interests = [Interest { fd: self.output.as_fd(), read: is_open, write: false }];
            if wait_for_any(&mut interests, moment).is_err() {
                break;
            }
            if interests[0].read {
                is_open = matches!(self.output.read(&mut buffer), Ok(1..));
            }
            self.take_words();
        }
        None
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(child) = self.child {
            let _ = child.kill(Signal::KILL);
            let _ = process::wait(child);
        }
    }
}

/// `DISTCC_SSH` split at spaces, as in stock; `ssh` without it. At least one word.
fn command_words(variable: Option<&OsStr>) -> Vec<OsString> {
    let text = variable.map_or(&b""[..], OsStr::as_bytes);
    let words = text.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let mut words: Vec<OsString> = words.map(|word| OsStr::from_bytes(word).to_owned()).collect();
    if words.is_empty() {
        words.push("ssh".into());
    }
    words
}

/// The lines that say something. Those of frames do not, nor that another job's ssh was faster to offer its connection.
fn lines(words: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(words)
        .lines()
        .map(|line| line.trim().chars().filter(|c| !c.is_control()).collect::<String>())
        .filter(|line| line.contains(|c: char| c.is_ascii_alphanumeric() || !c.is_ascii()))
        .filter(|line| !line.contains("already exists, disabling multiplexing"))
        .filter(|line| !line.starts_with("mux_client_request_session: session request failed"))
        .collect()
}

/// One line.
fn explain(program: &str, target: &str, command: &str, status: Option<WaitStatus>, words: &[u8]) -> String {
    let said = lines(words).join("; ");
    let skip = said.chars().count().saturating_sub(SHOWN_WORDS);
    let cut = if skip > 0 { "..." } else { "" };
    let said: String = said.chars().skip(skip).collect();
    let said = if said.is_empty() { String::new() } else { format!(": {cut}{said}") };
    match status.map(|status| (status.code(), status.signal())) {
        Some((Some(COMMAND_NOT_FOUND), _)) => format!(
            "{program} ran no server there{said} (exit code 127; \"{command}\" is not in the PATH there: name it, {target}:/path/to/distccd)"
        ),
        Some((Some(SSH_FAILED), _)) => {
            format!("{program} failed{said} (exit code 255; try: {program} {target} true)")
        }
        Some((Some(code), _)) => {
            format!("{program} ended without an answer from {command}{said} (exit code {code})")
        }
        Some((None, signal)) => {
            format!("{program} was killed by signal {}{said}", signal.map_or(0, Signal::number))
        }
        None => format!("{program} does not connect or end, given up{said} (try: {program} {target} true)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_split_at_spaces() {
        let words = |text: &str| command_words(Some(text.as_ref()));
        assert_eq!(command_words(None), ["ssh"]);
        assert_eq!(words(""), ["ssh"]);
        assert_eq!(words("  "), ["ssh"]);
        assert_eq!(words(" dbclient  -p 22 "), ["dbclient", "-p", "22"]);
        assert_eq!(words("a\tb 'c d'"), ["a\tb", "'c", "d'"]);
    }

    #[test]
    fn the_words_of_ssh_are_one_line() {
        let words = b"@@@@@\r\n@ WARNING: CHANGED! @\r\n@@@@@\r\n\nHost key verification failed.\r\n";
        let line = explain("ssh", "u@h", "distccd", Some(WaitStatus::exited(255)), words);
        assert_eq!(
            line,
            "ssh failed: @ WARNING: CHANGED! @; Host key verification failed. (exit code 255; try: ssh u@h true)"
        );
        let long = "x".repeat(1000);
        assert!(explain("ssh", "h", "distccd", None, long.as_bytes()).chars().count() < 500);
    }
}

//! How a job ended, decided once: then answered, logged and counted.

use std::fmt;
use std::time::Duration;

use crate::daemon::stream::Peer;
use crate::exitcode::ExitCode;
use crate::sys::process::WaitStatus;
use crate::wire;

/// A job that this server does not do, with what the user can do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What the client sees as the compiler's exit code; stock clients then compile locally.
    pub code: ExitCode,
    /// One sentence.
    pub text: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(code: ExitCode, text: String) -> Refusal {
        Refusal { code, text }
    }
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The compiler ran; this is how it ended.
    Compiled(WaitStatus),
    /// It was not run.
    Refused(Refusal),
    /// What came is not a request.
    BadRequest(wire::Error),
    /// The client closed in the middle of its request.
    Truncated(wire::Error),
    /// The client closed while its job waited or ran, or did not take the answer.
    ClientGone,
    /// Nothing came or went for so long.
    Silent(Duration),
    /// The compiler ran longer than `--job-lifetime`.
    JobTooLong(Duration),
}

impl Outcome {
    /// Stock's word for it (reference `daemon.md` section 8.1).
    pub fn word(&self) -> &'static str {
        match self {
            Outcome::Compiled(status) if status.success() => "COMPILE_OK",
            Outcome::Compiled(_) => "COMPILE_ERROR",
            Outcome::JobTooLong(_) => "COMPILE_TIMEOUT",
            Outcome::ClientGone | Outcome::Silent(_) => "CLI_DISCONN",
            Outcome::BadRequest(_) => "REJ_BAD_REQ",
            Outcome::Refused(refusal) if refusal.code == ExitCode::Busy => "REJ_OVERLOAD",
            Outcome::Truncated(_) | Outcome::Refused(_) => "OTHER",
        }
    }

    /// The wait status in the line, and what stock calls `ret`.
    fn numbers(&self) -> (WaitStatus, u8) {
        let own = |code: ExitCode| (WaitStatus::exited(code as u8), code as u8);
        match self {
            Outcome::Compiled(status) => (*status, 0),
            Outcome::JobTooLong(_) => (WaitStatus::exited(ExitCode::Timeout as u8), 0),
            Outcome::ClientGone | Outcome::Silent(_) => own(ExitCode::IoError),
            Outcome::BadRequest(_) => (WaitStatus::exited(0), ExitCode::ProtocolError as u8),
            Outcome::Truncated(_) => (WaitStatus::exited(0), ExitCode::Truncated as u8),
            Outcome::Refused(refusal) => own(refusal.code),
        }
    }

    /// The exit code of a server of one job: 0 for one that was answered, even if the compile failed.
    pub fn exit_code(&self) -> u8 {
        match self {
            // What has been said to the client is said.
            Outcome::Refused(_) => 0,
            other => other.numbers().1,
        }
    }

    /// Why, for those that are not plain results of a compiler.
    pub fn reason(&self) -> Option<String> {
        match self {
            Outcome::Compiled(_) => None,
            Outcome::Refused(refusal) => Some(refusal.text.clone()),
            Outcome::BadRequest(error) | Outcome::Truncated(error) => Some(error.to_string()),
            Outcome::ClientGone => {
                Some("the client closed the connection before it had its answer".to_owned())
            }
            Outcome::Silent(time) => Some(format!("nothing moved for {} s", time.as_secs())),
            Outcome::JobTooLong(limit) => Some(format!("the compiler ran longer than {} s", limit.as_secs())),
        }
    }
}

/// Stock's line per job, which log scanners read; without the program's name and pid.
pub struct Summary<'a> {
    /// Whose job.
    pub client: Peer,
    /// How it ended.
    pub outcome: &'a Outcome,
    /// From the connection's start to its end.
    pub time: Duration,
    /// Compiler and source as the client named them, once known.
    pub names: Option<(&'a [u8], &'a [u8])>,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (status, ret) = self.outcome.numbers();
        write!(
            f,
            "(dcc_job_summary) client: {} {} exit:{} sig:{} core:{} ret:{ret} time:{}ms ",
            self.client,
            self.outcome.word(),
            status.code().unwrap_or(0),
            status.signal().map_or(0, |signal| signal.number()),
            if status.dumped_core() { 128 } else { 0 },
            self.time.as_millis()
        )?;
        if let (Outcome::Compiled(_), Some((compiler, input))) = (self.outcome, self.names) {
            write!(f, "{} {}", compiler.escape_ascii(), input.escape_ascii())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_that_of_stock() {
        let line = Summary {
            client: Peer::Tcp("127.0.0.1:38648".parse().unwrap()),
            outcome: &Outcome::Compiled(WaitStatus::exited(0)),
            time: Duration::from_millis(28),
            names: Some((b"gcc", b"hello.c")),
        };
        assert_eq!(
            line.to_string(),
            "(dcc_job_summary) client: 127.0.0.1:38648 COMPILE_OK exit:0 sig:0 core:0 ret:0 time:28ms gcc hello.c"
        );
        let line = Summary { outcome: &Outcome::BadRequest(wire::Error::NoArguments), names: None, ..line };
        assert_eq!(
            line.to_string(),
            "(dcc_job_summary) client: 127.0.0.1:38648 REJ_BAD_REQ exit:0 sig:0 core:0 ret:109 time:28ms "
        );
    }

    #[test]
    fn control_bytes_do_not_reach_the_log() {
        let line = Summary {
            client: Peer::Tcp("[::ffff:10.0.0.1]:5".parse().unwrap()),
            outcome: &Outcome::Compiled(WaitStatus::from_raw(9)),
            time: Duration::ZERO,
            names: Some((b"gcc", b"a\nb.c")),
        };
        assert_eq!(
            line.to_string(),
            "(dcc_job_summary) client: 10.0.0.1:5 COMPILE_ERROR exit:0 sig:9 core:0 ret:0 time:0ms gcc a\\nb.c"
        );
    }
}

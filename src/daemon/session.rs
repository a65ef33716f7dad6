//! One connection's job as a state machine without I/O: bytes, a verdict, a slot and a child's end go in;
//! what to do next comes out.
//!
//! ```text
//! Receiving ──request complete──▶ Queued ──slot──▶ Compiling ──child ended──▶ (reply) Over
//!     │  refused: the rest of the request is swallowed, then answered ─────────▲
//!     └─ not the protocol ─────────────────────────────────────────────────────┘
//! ```
//!
//! The worker owns the socket, the files, the child and the clock.

use crate::daemon::outcome::{Outcome, Refusal};
use crate::exitcode::ExitCode;
use crate::sys::process::WaitStatus;
use crate::wire::path::Rooted;
use crate::wire::request::{Decoder, Event};
use crate::wire::{self, Version};

/// Where a job is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The request is coming in.
    #[default]
    Receiving,
    /// Complete, waiting for a compile slot.
    Queued,
    /// The compiler runs.
    Compiling,
    /// Decided; only the answer remains.
    Over,
}

/// What the worker has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// The command is complete: judge it, then call [`Session::judged`]. With the directory where it is to run in a
    /// version that says so.
    Judge(Vec<Vec<u8>>, Option<Rooted>),
    /// A piece of the source: bytes of the preprocessed text, or files, their bytes and links.
    Take(Event<'a>),
    /// The request is complete: ask for a slot, then call [`Session::compiling`].
    AskSlot,
    /// The job is decided.
    Finish(Outcome),
}

/// The state machine.
#[derive(Debug, Default)]
pub struct Session {
    stage: Stage,
    decoder: Decoder,
    version: Option<Version>,
    directory: Option<Rooted>,
    refusal: Option<Refusal>,
    touched: bool,
    whole: bool,
}

impl Session {
    /// For a new connection.
    pub fn new() -> Session {
        Session::default()
    }

    /// Where the job is.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The request's version; without one there can be no answer.
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// Whether anything has come from the client.
    pub fn is_untouched(&self) -> bool {
        !self.touched
    }

    /// Whether everything had come that the client had to send, when the job was decided.
    pub fn has_whole_request(&self) -> bool {
        self.whole
    }

    /// Bytes of memory that the command takes, as far as it has come.
    pub fn command_held(&self) -> usize {
        self.decoder.command_held()
    }

    /// Takes bytes from the front of `input`; `None` when they are used up. Bytes after a complete request
    /// are thrown away.
    pub fn take<'a>(&mut self, input: &mut &'a [u8]) -> Option<Action<'a>> {
        self.touched |= !input.is_empty();
        while self.stage == Stage::Receiving {
            match self.decoder.next(input) {
                Ok(None) => return None,
                Ok(Some(Event::Version(version))) => self.version = Some(version),
                Ok(Some(Event::Directory(directory))) => self.directory = Some(directory),
                Ok(Some(Event::Command(argv))) => return Some(Action::Judge(argv, self.directory.take())),
                Ok(Some(Event::SourceStart(_))) => {}
                Ok(Some(Event::End)) => {
                    return Some(match self.refusal.take() {
                        Some(refusal) => self.finish(Outcome::Refused(refusal)),
                        None => {
                            self.stage = Stage::Queued;
                            Action::AskSlot
                        }
                    });
                }
                Ok(Some(_)) if self.refusal.is_some() => {}
                Ok(Some(piece)) => return Some(Action::Take(piece)),
                Err(error) => return Some(self.bad_request(error)),
            }
        }
        *input = &[];
        None
    }

    /// How many bytes of the source are to come, once its length is known; they may go past the session, which is told with
    /// [`Session::skip_source`].
    pub fn source_left(&self) -> usize {
        if self.stage == Stage::Receiving { self.decoder.source_left() } else { 0 }
    }

    /// So many bytes of the source have been taken elsewhere.
    pub fn skip_source(&mut self, count: usize) {
        self.decoder.skip_source(count);
    }

    /// The answer to [`Action::Judge`]. A refusal waits until the client has sent everything: it reads
    /// nothing before that.
    pub fn judged(&mut self, refusal: Option<Refusal>) {
        self.refusal = refusal;
    }

    /// The source cannot be used after all. Before the end of the request this waits like
    /// [`Session::judged`].
    pub fn refuse<'a>(&mut self, refusal: Refusal) -> Option<Action<'a>> {
        if self.stage == Stage::Receiving && !self.decoder.is_complete() {
            self.refusal = Some(refusal);
            return None;
        }
        Some(self.finish(Outcome::Refused(refusal)))
    }

    /// A slot has come, and the compiler has been started.
    pub fn compiling(&mut self) {
        if self.stage == Stage::Queued {
            self.stage = Stage::Compiling;
        }
    }

    /// The compiler has ended.
    pub fn exited(&mut self, status: WaitStatus) -> Action<'static> {
        self.finish(Outcome::Compiled(status))
    }

    /// The client has closed its side.
    pub fn client_gone(&mut self) -> Option<Action<'static>> {
        match self.stage {
            Stage::Over => None,
            Stage::Receiving => {
                let error = self.decoder.truncated();
                Some(self.finish(Outcome::Truncated(error)))
            }
            Stage::Queued | Stage::Compiling => Some(self.finish(Outcome::ClientGone)),
        }
    }

    /// A deadline has passed, or the job must not go on for a reason of ours.
    pub fn give_up(&mut self, outcome: Outcome) -> Option<Action<'static>> {
        (self.stage != Stage::Over).then(|| self.finish(outcome))
    }

    fn bad_request<'a>(&mut self, error: wire::Error) -> Action<'a> {
        self.finish(Outcome::BadRequest(error))
    }

    fn finish<'a>(&mut self, outcome: Outcome) -> Action<'a> {
        self.stage = Stage::Over;
        self.whole = self.decoder.is_complete();
        // What it holds of a request is of no further use.
        self.decoder = Decoder::new();
        Action::Finish(outcome)
    }
}

impl Outcome {
    /// The wait status and the text to answer with; `None` for those who are not answered.
    pub fn answer(&self) -> Option<(WaitStatus, String)> {
        match self {
            Outcome::Compiled(status) => Some((*status, String::new())),
            Outcome::Refused(refusal) => {
                Some((WaitStatus::exited(refusal.code as u8), format!("distccd: {}\n", refusal.text)))
            }
            Outcome::BadRequest(error) => Some((
                WaitStatus::exited(ExitCode::ProtocolError as u8),
                format!("distccd: bad request: {error}\n"),
            )),
            Outcome::JobTooLong(limit) => Some((
                WaitStatus::exited(ExitCode::Timeout as u8),
                format!("distccd: the compiler was stopped after {} s (--job-lifetime)\n", limit.as_secs()),
            )),
            Outcome::ClientGone | Outcome::Truncated(_) | Outcome::Silent(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::request;

    fn request(source: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        request::encode_head(Version::Plain, &["gcc", "-c", "a.c"], source.len() as u32, &mut bytes);
        bytes.extend_from_slice(source);
        bytes
    }

    fn actions(session: &mut Session, bytes: &[u8], verdict: Option<Refusal>) -> Vec<String> {
        let mut input = bytes;
        let mut seen = Vec::new();
        while let Some(action) = session.take(&mut input) {
            if matches!(action, Action::Judge(..)) {
                session.judged(verdict.clone());
            }
            seen.push(format!("{action:?}").split('(').next().unwrap().to_owned());
        }
        assert!(input.is_empty());
        seen
    }

    #[test]
    fn a_job_goes_through_its_stages() {
        let mut session = Session::new();
        assert!(session.is_untouched());
        assert_eq!(actions(&mut session, &request(b"int x;"), None), ["Judge", "Take", "AskSlot"]);
        assert_eq!(session.stage(), Stage::Queued);
        session.compiling();
        assert_eq!(session.stage(), Stage::Compiling);
        assert_eq!(
            session.exited(WaitStatus::exited(0)),
            Action::Finish(Outcome::Compiled(WaitStatus::exited(0)))
        );
        assert_eq!(session.client_gone(), None);
    }

    #[test]
    fn a_refusal_comes_after_the_whole_request() {
        let refusal = Refusal::new(ExitCode::AccessDenied, "no".to_owned());
        let mut session = Session::new();
        let bytes = request(b"int x;");
        let (first, last) = bytes.split_at(bytes.len() - 1);
        assert_eq!(actions(&mut session, first, Some(refusal)), ["Judge"]);
        assert_eq!(session.stage(), Stage::Receiving);
        assert_eq!(actions(&mut session, last, None), ["Finish"]);
    }

    #[test]
    fn bytes_behind_the_request_are_thrown_away() {
        let mut session = Session::new();
        let mut bytes = request(b"");
        bytes.extend_from_slice(b"more");
        assert_eq!(actions(&mut session, &bytes, None), ["Judge", "AskSlot"]);
    }

    #[test]
    fn who_leaves_is_not_answered() {
        let mut session = Session::new();
        actions(&mut session, b"DIST0000", None);
        let Some(Action::Finish(outcome)) = session.client_gone() else { panic!("not finished") };
        assert!(matches!(outcome, Outcome::Truncated(_)));
        assert_eq!(outcome.answer(), None);
    }

    #[test]
    fn a_bad_request_is_answered_only_in_a_version() {
        let mut session = Session::new();
        assert_eq!(actions(&mut session, b"DIST00000009", None), ["Finish"]);
        assert_eq!(session.version(), None);
        let mut session = Session::new();
        assert_eq!(actions(&mut session, b"DIST00000001ARGC00000000", None), ["Finish"]);
        assert_eq!(session.version(), Some(Version::Plain));
    }
}

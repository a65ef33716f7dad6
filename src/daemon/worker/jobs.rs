//! A job's way through the worker: bytes to the session, its decisions to files, slot, compiler and answer.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use mio::Token;

use super::memory::Decision;
use super::{FOREVER, Worker};
use crate::args;
use crate::daemon::connection::{Connection, Next};
use crate::daemon::job::{self, Compile};
use crate::daemon::message::{Report, ToSupervisor};
use crate::daemon::outcome::{Outcome, Refusal, Summary};
use crate::daemon::session::{Action, Stage};
use crate::daemon::stats::Job;
use crate::daemon::tree::Trouble;
use crate::exitcode::ExitCode;
use crate::logging::NOTICE;
use crate::sys::process::WaitStatus;
use crate::wire::path::Rooted;
use crate::wire::request::Event;

/// From so many bytes on, those of a source go straight from the socket to their place, a plain one's to its file without
/// passing through our memory: for fewer one read is as cheap.
const DIRECT: usize = 32 * 1024;
/// How much is read at once.
const INBOX: usize = 64 * 1024;
/// How much of one connection is read before the others have their turn.
const READ_AT_ONCE: usize = 1 << 20;
/// The longest that a request may take to come in, however steadily it drips.
const LONGEST_REQUEST: Duration = Duration::from_secs(1800);

impl Worker<'_> {
    pub(super) fn read(&mut self, id: u32, connection: &mut Connection) -> Next {
        let mut buffer = std::mem::take(&mut self.inbox);
        buffer.resize(INBOX, 0);
        let next = self.read_into(&mut buffer, id, connection);
        self.inbox = buffer;
        next
    }

    fn read_into(&mut self, buffer: &mut [u8], id: u32, connection: &mut Connection) -> Next {
        let mut got = 0;
        while got < READ_AT_ONCE {
            if self.memory_for(connection) == Decision::Wait {
                self.park(id, connection);
                return Next::Keep;
            }
            let left = connection.direct_source();
            let direct = left >= DIRECT;
            let mut in_place = false;
            let result = if direct {
                self.splicer.take(connection.stream.in_fd(), left)
            } else if let Some(result) = self.read_in_place(connection) {
                in_place = true;
                result
            } else {
                connection.stream.read(buffer)
            };
            match result {
                Ok(0) => return self.client_closed(connection),
                Ok(count) => {
                    got += count;
                    connection.tally.received += count as u64;
                    if connection.session.stage() == Stage::Receiving && !self.draining {
                        let last = connection.started + LONGEST_REQUEST;
                        connection.deadline = last.min(Instant::now() + connection.silence);
                    }
                    let next = if direct {
                        self.received_directly(id, connection, count)
                    } else if in_place {
                        connection.session.skip_source(count);
                        self.received(id, connection, &[])
                    } else {
                        self.received(id, connection, &buffer[..count])
                    };
                    if next == Next::Close {
                        return Next::Close;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Next::Keep,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::InvalidInput && direct => {
                    connection.copies = true;
                }
                Err(_) => return self.client_closed(connection),
            }
        }
        self.again(Token(id as usize));
        Next::Keep
    }

    /// Reads a large compressed source, if it has its memory, to where it is to be.
    fn read_in_place(&mut self, connection: &mut Connection) -> Option<io::Result<usize>> {
        let left = connection.session.source_left();
        let compile = connection.compile.as_mut().filter(|_| left >= DIRECT)?;
        compile.read_source(connection.stream.in_fd(), left, &mut self.answers.buffers)
    }

    fn received(&mut self, id: u32, connection: &mut Connection, mut input: &[u8]) -> Next {
        while let Some(action) = connection.session.take(&mut input) {
            if self.act(id, connection, action) == Next::Close {
                return Next::Close;
            }
        }
        self.make_room_for_command(id, connection)
    }

    /// So many bytes of the source are in the splicer.
    fn received_directly(&mut self, id: u32, connection: &mut Connection, count: usize) -> Next {
        connection.session.skip_source(count);
        let stored = self.store(id, connection, |compile, worker| {
            Ok(compile.take_spliced(&mut worker.splicer, count, &mut worker.workplaces)?)
        });
        match stored {
            Next::Close => Next::Close,
            // They may have been the last.
            Next::Keep => self.received(id, connection, &[]),
        }
    }

    /// Adds to a job's source.
    fn store(
        &mut self,
        id: u32,
        connection: &mut Connection,
        store: impl FnOnce(&mut Compile, &mut Self) -> Result<(), Trouble>,
    ) -> Next {
        let Some(compile) = &mut connection.compile else { return Next::Keep };
        let Err(trouble) = store(compile, self) else { return Next::Keep };
        self.forget(connection);
        let action = match without_source(trouble) {
            Outcome::Refused(refusal) => connection.session.refuse(refusal),
            outcome => connection.session.give_up(outcome),
        };
        match action {
            Some(action) => self.act(id, connection, action),
            None => Next::Keep,
        }
    }

    /// A connection's job, if it has one, is over.
    fn forget(&mut self, connection: &mut Connection) {
        self.commands -= std::mem::take(&mut connection.command);
        self.no_longer_compressed(connection);
        let Some(compile) = connection.compile.take() else { return };
        self.free_memory(compile.memory);
        if let Some(workplace) = compile.into_workplace() {
            self.workplaces.give_back(workplace);
        }
    }

    fn client_closed(&mut self, connection: &mut Connection) -> Next {
        match connection.session.client_gone() {
            Some(Action::Finish(outcome)) => connection.outcome = Some(outcome),
            // A client that half-closes behind a complete request and waits for its reply, or that lingers no
            // longer.
            _ if connection.reply.is_some() && !connection.lingering => {
                connection.outcome = Some(Outcome::ClientGone);
            }
            _ => {}
        }
        // A running compiler is killed, and its end brings us back here.
        match connection.compile.as_ref().and_then(Compile::child) {
            Some(pid) => {
                job::kill(pid);
                Next::Keep
            }
            None => Next::Close,
        }
    }

    pub(super) fn act(&mut self, id: u32, connection: &mut Connection, action: Action) -> Next {
        match action {
            Action::Judge(argv, directory) => {
                let refusal = self.judge(connection, &argv, directory.as_ref()).err();
                connection.session.judged(refusal);
                Next::Keep
            }
            Action::Take(piece) => {
                if let Event::Source(bytes) | Event::File(bytes) = &piece {
                    self.reserve_small(connection, bytes.len());
                }
                self.store(id, connection, |compile, worker| {
                    let taken = compile.take(piece, &mut worker.answers.buffers, &mut worker.workplaces);
                    worker.free_memory(compile.give_back_memory());
                    taken
                })
            }
            Action::AskSlot => self.ask_slot(id, connection),
            Action::Finish(outcome) => self.finish(connection, outcome),
        }
    }

    fn judge(
        &mut self,
        connection: &mut Connection,
        argv: &[Vec<u8>],
        directory: Option<&Rooted>,
    ) -> Result<(), Refusal> {
        let Some(version) = connection.session.version() else { return Ok(()) };
        if self.draining {
            return Err(Refusal::new(ExitCode::Busy, "this server is shutting down".to_owned()));
        }
        let specs = |name: &[u8]| self.policy.specs.as_ref()?.find(name);
        // Not the code of a compiler that is not allowed: our clients leave the compiler alone after that one.
        let checked = match directory {
            Some(directory) => args::check_in(argv, directory.depth(), &specs),
            None => args::check_with_specs(argv, &specs),
        };
        let command = checked.map_err(|e| Refusal::new(ExitCode::BadArguments, e.to_string()))?;
        let program = self.policy.compilers.resolve(command.compiler())?;
        connection.compile = Some(match directory {
            Some(directory) => {
                Compile::in_root(command, program, directory).map_err(|e| cannot("start a job", &e))?
            }
            None => Compile::new(command, program, version),
        });
        Ok(())
    }

    /// The request is complete.
    fn ask_slot(&mut self, id: u32, connection: &mut Connection) -> Next {
        if connection.compile.is_none() {
            return Next::Close;
        }
        // No deadline while others compile; a client that goes away is noticed by itself.
        connection.deadline = Instant::now() + FOREVER;
        connection.slot = true;
        self.say(ToSupervisor::Want(id, connection.peer.ip()));
        Next::Keep
    }

    pub(super) fn granted(&mut self, id: u32) {
        let Some(mut connection) = self.connections.remove(&id) else {
            // The client has gone meanwhile, and we have said so; the grant crossed that message.
            return;
        };
        let next = match self.start(id, &mut connection) {
            Ok(()) => Next::Keep,
            Err(outcome) => {
                if std::mem::take(&mut connection.slot) {
                    self.say(ToSupervisor::GiveBack(id));
                }
                match connection.session.give_up(outcome) {
                    Some(action) => self.act(id, &mut connection, action),
                    None => Next::Close,
                }
            }
        };
        self.put_back(id, connection, next);
    }

    /// Expands the source, now that it has a slot and no more of them than there are slots do so at once, and
    /// starts the compiler.
    fn start(&mut self, id: u32, connection: &mut Connection) -> Result<(), Outcome> {
        self.no_longer_compressed(connection);
        let Some(compile) = &mut connection.compile else { return Err(Outcome::ClientGone) };
        // An expanded source may take what there is, but no more.
        compile.memory += std::mem::take(&mut self.room);
        let before = compile.memory;
        let finished = compile.finish_source(&mut self.answers.buffers, &mut self.workplaces);
        self.room = before - compile.memory;
        finished.map_err(without_source)?;
        let pid = compile.start(self.policy.compilers.path(), self.policy.job_memory).map_err(|e| {
            Outcome::Refused(Refusal::new(ExitCode::CompilerMissing, format!("cannot run the compiler: {e}")))
        })?;
        connection.session.compiling();
        self.children.insert(pid, id);
        self.say(ToSupervisor::Runs(id, pid.number()));
        connection.tally.compile_start = Some(Instant::now());
        self.report(|| {
            let (compiler, file) = compile.names();
            Report::Started(
                id,
                Job { client: connection.peer.address(), compiler: compiler.to_vec(), file: file.to_vec() },
            )
        });
        connection.deadline = Instant::now() + self.policy.job_lifetime.unwrap_or(FOREVER);
        Ok(())
    }

    pub(super) fn child_ended(&mut self, id: u32, status: WaitStatus) {
        let Some(mut connection) = self.connections.remove(&id) else { return };
        if let Some(compile) = &mut connection.compile {
            compile.child_ended(status);
        }
        connection.tally.compiled();
        if std::mem::take(&mut connection.slot) {
            self.say(ToSupervisor::GiveBack(id));
        }
        let next = if connection.session.stage() == Stage::Compiling {
            let action = connection.session.exited(status);
            self.act(id, &mut connection, action)
        } else if let Some(outcome @ Outcome::JobTooLong(_)) = connection.outcome.take() {
            self.finish(&mut connection, outcome)
        } else {
            connection.outcome.get_or_insert(Outcome::ClientGone);
            Next::Close
        };
        self.put_back(id, connection, next);
    }

    /// The job is decided: answers, if that is possible.
    fn finish(&mut self, connection: &mut Connection, outcome: Outcome) -> Next {
        let answer = outcome.answer();
        connection.outcome = Some(outcome);
        let (Some(version), Some((status, text))) = (connection.session.version(), answer) else {
            return Next::Close;
        };
        let mut reply = if let (Some(Outcome::Compiled(_)), Some(compile)) =
            (&connection.outcome, &mut connection.compile)
        {
            let (compiler, source) = compile.names();
            connection.names = Some((compiler.to_vec(), source.to_vec()));
            // What the source has is free in a moment.
            match self.answers.with_results(version, status, compile, self.room + compile.memory) {
                Ok(reply) => reply,
                Err(e) => {
                    let refusal = cannot("return the result", &e);
                    let reply = self.answers.with_text(
                        version,
                        WaitStatus::exited(refusal.code as u8),
                        &format!("distccd: {}\n", refusal.text),
                    );
                    connection.outcome = Some(Outcome::Refused(refusal));
                    reply
                }
            }
        } else {
            self.answers.with_text(version, status, &text)
        };
        reply.linger = !connection.session.has_whole_request();
        if let Some(compile) = &mut connection.compile {
            self.free_memory(std::mem::take(&mut compile.memory));
        }
        connection.answer = reply.memory().min(self.room);
        self.room -= connection.answer;
        connection.reply = Some(reply);
        connection.deadline = Instant::now() + connection.silence;
        let next = connection.write();
        // However long the client takes for the rest, the job needs nothing any more.
        self.forget(connection);
        next
    }

    /// The end of a connection: its slot goes back, its line is written.
    pub(super) fn close(&mut self, id: u32) {
        let Some(mut connection) = self.connections.remove(&id) else { return };
        if connection.slot {
            self.say(ToSupervisor::GiveBack(id));
        }
        self.report(|| Report::Finished(id, connection.finished()));
        self.conclude(&connection);
        self.forget(&mut connection);
        if let Some(reply) = connection.reply.take() {
            self.answers.buffers.give_back(reply.into_memory());
        }
        self.free_memory(connection.answer);
    }

    /// Writes what is to be said of a connection.
    fn conclude(&mut self, connection: &Connection) {
        let Some(outcome) = &connection.outcome else { return };
        self.end.exit_code = outcome.exit_code();
        // Only what a compiler has been started for has its line however many there are.
        if connection.tally.compile_start.is_none() && !self.may_complain() {
            return;
        }
        // Who sends nothing at all, such as a client that finds it must compile locally, or a port scan, is
        // worth a line but no warning.
        if let Some(reason) = outcome.reason().filter(|_| !connection.session.is_untouched()) {
            log::warn!("{}: {reason}", connection.peer);
        }
        let names = connection.names.as_ref().map(|(compiler, source)| (&compiler[..], &source[..]));
        let summary = Summary { client: connection.peer, outcome, time: connection.started.elapsed(), names };
        log::info!(target: NOTICE, "{summary}");
    }
}

/// What becomes of a job whose source cannot be had.
fn without_source(trouble: Trouble) -> Outcome {
    match trouble {
        Trouble::Io(e) => Outcome::Refused(cannot("store the source", &e)),
        Trouble::Wire(error) => Outcome::BadRequest(error),
    }
}

fn cannot(what: &str, error: &io::Error) -> Refusal {
    Refusal::new(ExitCode::IoError, format!("this server cannot {what}: {error}"))
}

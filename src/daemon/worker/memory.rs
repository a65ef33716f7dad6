//! Which sources go into memory, which wait for it, and which go to the disk; and which commands it has room for.
//!
//! A small source gets its memory as it comes. A large one gets all that it needs or none. If there is not enough, it is not
//! read while other jobs, whose sources are complete, wait for a slot anyway, nor for a moment in which others may
//! come to their end; then it goes to the disk, so that nobody who stalls can hold up others. Compressed ones leave room for
//! being expanded.

use std::time::{Duration, Instant};

use mio::Token;

use super::{FOREVER, Worker};
use crate::daemon::connection::{Connection, Memory, Next};
use crate::daemon::job::SMALL;
use crate::daemon::limits;
use crate::daemon::message::ToSupervisor;
use crate::daemon::outcome::{Outcome, Refusal};
use crate::daemon::session::Stage;
use crate::exitcode::ExitCode;
use crate::wire::Version;

/// How long a large source waits for memory though no job waits for a slot.
const PATIENCE: Duration = Duration::from_millis(100);
/// The same while others give memory back.
const LONG_PATIENCE: Duration = Duration::from_secs(2);

/// Whether to read on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Go,
    Wait,
}

impl Worker<'_> {
    /// Sets memory aside for what is still to come of a connection's source.
    pub(super) fn memory_for(&mut self, connection: &mut Connection) -> Decision {
        let left = connection.session.source_left();
        let Some(compile) = &mut connection.compile else { return Decision::Go };
        if connection.memory == Memory::Decided || compile.memory + left <= SMALL {
            return Decision::Go;
        }
        let is_compressed = connection.session.version().is_some_and(Version::compressed);
        let leaves_room =
            !is_compressed || self.compressed == 0 || self.compressed + left <= limits::COMPRESSED;
        let is_alone = self.room + compile.memory == limits::MEMORY;
        let spare = if is_compressed || is_alone { 0 } else { limits::FIRST };
        if left + spare <= self.room && leaves_room {
            self.room -= left;
            compile.memory += left;
            if is_compressed {
                self.compressed += left;
                connection.compressed = left;
            }
        } else {
            let since = match connection.memory {
                Memory::Wanted(since) => since,
                _ => Instant::now(),
            };
            let others_wait = || self.connections.values().any(|it| it.session.stage() == Stage::Queued);
            let given_back = || self.memory_given_back.is_some_and(|at| at.elapsed() < PATIENCE);
            let waited = since.elapsed();
            if waited < PATIENCE || waited < LONG_PATIENCE && given_back() || others_wait() {
                connection.memory = Memory::Wanted(since);
                return Decision::Wait;
            }
        }
        connection.memory = Memory::Decided;
        Decision::Go
    }

    /// Sets memory aside for bytes that have come already, as far as there is any and the source is not decided about.
    pub(super) fn reserve_small(&mut self, connection: &mut Connection, len: usize) {
        if let (Some(compile), Memory::AsItComes | Memory::Wanted(_)) =
            (&mut connection.compile, connection.memory)
        {
            let reserved = len.min(self.room);
            self.room -= reserved;
            compile.memory += reserved;
        }
    }

    /// A compressed source is about to be expanded, or is not needed any more.
    pub(super) fn no_longer_compressed(&mut self, connection: &mut Connection) {
        let len = std::mem::take(&mut connection.compressed);
        self.compressed -= len;
        self.call_parked(len);
    }

    /// Gives memory back.
    pub(super) fn free_memory(&mut self, len: usize) {
        self.room += len;
        self.call_parked(len);
    }

    /// So much memory has been given back, which others may wait for.
    fn call_parked(&mut self, len: usize) {
        if !self.parked.is_empty() && len > 0 {
            let now = Instant::now();
            (self.memory_given_back, self.look_at_parked) = (Some(now), Some(now));
        }
    }

    /// Counts a large command as it comes. If there is no room for it, those make way whose requests have been coming in
    /// for the longest time: an honest client's command is there at once.
    pub(super) fn make_room_for_command(&mut self, id: u32, connection: &mut Connection) -> Next {
        let held = connection.session.command_held();
        if held <= limits::SMALL || connection.session.stage() == Stage::Over {
            return Next::Keep;
        }
        self.commands += held - connection.command;
        connection.command = held;
        self.crowded = true;
        while self.commands > limits::COMMANDS {
            let half_sent = |it: &Connection| it.command > 0 && it.session.stage() == Stage::Receiving;
            let others = self.connections.iter().filter(|(_, it)| half_sent(it));
            let Some(oldest) = others.min_by_key(|(_, it)| it.started).map(|(id, _)| *id) else {
                return self.make_way(id, connection);
            };
            let Some(mut other) = self.connections.remove(&oldest) else { break };
            let next = self.make_way(oldest, &mut other);
            self.put_back(oldest, other, next);
        }
        Next::Keep
    }

    fn make_way(&mut self, id: u32, connection: &mut Connection) -> Next {
        if std::mem::take(&mut connection.slot) {
            self.say(ToSupervisor::GiveBack(id));
        }
        let text = "this server has no memory for such a long command now".to_owned();
        let outcome = Outcome::Refused(Refusal::new(ExitCode::Busy, text));
        match connection.session.give_up(outcome) {
            Some(action) => self.act(id, connection, action),
            None => Next::Close,
        }
    }

    /// Leaves a connection unread for a while.
    pub(super) fn park(&mut self, id: u32, connection: &mut Connection) {
        connection.deadline = Instant::now() + FOREVER;
        self.parked.push(Token(id as usize));
        self.look_at_parked.get_or_insert(Instant::now() + PATIENCE);
    }

    /// Looks at the parked connections again, if it is time.
    pub(super) fn unpark(&mut self, now: Instant) {
        if self.look_at_parked.is_none_or(|at| at > now) {
            return;
        }
        self.look_at_parked = None;
        for token in std::mem::take(&mut self.parked) {
            if let Some(connection) = self.connections.get_mut(&(token.0 as u32)) {
                connection.deadline = now + connection.silence;
                self.again(token);
            }
        }
    }
}

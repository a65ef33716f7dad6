//! Whose word counts: the supervisor's, at the other end of a line, or nobody's, where one process is all there is.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::{End, Worker};
use crate::daemon::connection::Next;
use crate::daemon::ending;
use crate::daemon::grants::{Grants, JobId};
use crate::daemon::manager::Manager;
use crate::daemon::message::{self, Report, ToSupervisor, ToWorker};
use crate::logging;
use crate::sys::file::{self, Readiness};
use crate::sys::process;
use crate::sys::signal::Signal;

/// Who says which job may compile, and when to end.
pub(super) enum Superior<'a> {
    /// The supervisor, at the end of this line.
    Supervisor(OwnedFd),
    /// Nobody: the only process there is, with a slot of its own.
    Nobody(Grants, Task<'a>),
}

/// What the only process there is has to do.
#[derive(Clone, Copy)]
pub(super) enum Task<'a> {
    /// One job.
    Once,
    /// Whatever comes.
    Serve(&'a Manager),
}

impl Worker<'_> {
    /// The next job to compile, where nobody else says which.
    pub(super) fn own_grant(&mut self) -> Option<u32> {
        match &mut self.superior {
            Superior::Supervisor(_) => None,
            Superior::Nobody(grants, _) => grants.grant_next(|| false).map(|id| id.job),
        }
    }

    pub(super) fn signals(&mut self) -> io::Result<()> {
        while let Some(signal) = self.signals.next() {
            match (&self.superior, signal) {
                (_, Signal::CHLD) => {}
                (Superior::Supervisor(_), Signal::HUP) => logging::reopen(),
                // A terminal's ^C or a service manager's TERM reaches every process; the supervisor's word follows.
                (Superior::Supervisor(_), _) => {}
                (Superior::Nobody(_, Task::Once), _) => {
                    self.stop();
                    self.end = End { exit_code: 128 + signal.number() as u8, signal: Some(signal) };
                }
                (Superior::Nobody(_, Task::Serve(manager)), Signal::HUP) => ending::reopen_log(manager),
                (Superior::Nobody(_, Task::Serve(manager)), _) => {
                    let end = self.end.signal.is_some();
                    ending::announce(signal, end, manager);
                    self.end.signal.get_or_insert(signal);
                    if end {
                        self.stop();
                    } else {
                        self.drain();
                    }
                }
            }
        }
        while let Some((pid, status)) = process::try_wait_any() {
            if let Some(id) = self.children.remove(&pid) {
                self.child_ended(id, status);
            }
        }
        Ok(())
    }

    /// Reads what the supervisor says.
    pub(super) fn orders(&mut self) -> io::Result<Next> {
        let mut packet = [0; message::MAX_LEN];
        loop {
            let Superior::Supervisor(line) = &self.superior else { return Ok(Next::Keep) };
            let len = match file::receive_message(line.as_fd(), &mut packet) {
                Ok(0) => return Ok(self.stop()),
                Ok(len) => len,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(Next::Keep),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Ok(self.stop()),
            };
            match ToWorker::decode(&packet[..len]) {
                Some(ToWorker::Grant(id)) => self.granted(id),
                Some(ToWorker::Drain) => self.drain(),
                Some(ToWorker::Stop) => return Ok(self.stop()),
                None => log::error!("unknown message from the supervisor"),
            }
        }
    }

    /// Ends at once: dropping a connection's job kills its compiler and removes its directory.
    pub(super) fn stop(&mut self) -> Next {
        self.listeners.clear();
        self.connections.clear();
        Next::Close
    }

    /// For the statistics, if there are any.
    pub(super) fn report(&mut self, report: impl FnOnce() -> Report) {
        if self.policy.report {
            self.say(ToSupervisor::Report(report()));
        }
    }

    pub(super) fn say(&mut self, message: ToSupervisor) {
        let line = match &mut self.superior {
            Superior::Supervisor(line) => line,
            Superior::Nobody(grants, _) => {
                let own = |job| JobId { worker: 0, job };
                match message {
                    ToSupervisor::Want(job, client) => grants.want(own(job), client),
                    ToSupervisor::GiveBack(job) => grants.give_back(own(job)),
                    ToSupervisor::Runs(..) | ToSupervisor::Report(_) => {}
                }
                return;
            }
        };
        let packet = message.encode();
        loop {
            match file::send_message(line.as_fd(), &packet) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    // The supervisor only reads, so this is soon over.
                    let _ = file::wait_ready(line.as_fd(), Readiness::Write, Duration::from_secs(1));
                }
                // Gone: the event loop notices it.
                _ => return,
            }
        }
    }
}

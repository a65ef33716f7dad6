//! What a job needs of this user's directory: its record for monitors, slots, the marks of failed hosts.
//!
//! None of it may stop a compile: where the directory cannot be used, work goes on without, as in stock.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Stop;
use super::remote::HostFailure;
use crate::backoff::Backoff;
use crate::hostlist;
use crate::hosts::Host;
use crate::hosts::offer::Compiler;
use crate::slots::{self, Slot, Slots};
use crate::state::{Phase, Writer};
use crate::topdir::TopDir;
use crate::waiting::Interrupted;

/// One job's place in this user's directory.
pub struct Desk {
    top: Option<TopDir>,
    /// Why locks cannot be used, if they cannot.
    locks: Result<PathBuf, String>,
    record: Option<Writer>,
    hosts: Option<Result<hostlist::Found, String>>,
}

/// This machine, in records and names of locks.
pub const LOCALHOST: &str = "localhost";

/// There is no host for this job.
pub struct NoHost {
    /// A sentence.
    pub reason: String,
}

impl Desk {
    /// Finds the directory and starts the job's record.
    pub fn open(source: &OsStr) -> Result<Desk, Stop> {
        let top = TopDir::find();
        let locks = match &top {
            Ok(top) => top.lock_dir().map_err(|e| e.to_string()),
            Err(e) => Err(e.to_string()),
        };
        let top = top.ok();
        let record = top
            .as_ref()
            .and_then(|top| top.state_dir().ok())
            .and_then(|directory| Writer::create(&directory, &source.to_string_lossy()).ok());
        Ok(Desk { top, locks, record, hosts: None })
    }

    /// This user's directory.
    pub fn top(&self) -> Option<&TopDir> {
        self.top.as_ref()
    }

    /// Shows what the job is doing.
    pub fn set_phase(&mut self, phase: Phase) {
        if let Some(record) = &mut self.record {
            record.set_phase(phase);
        }
    }

    /// Shows where the job is.
    pub fn set_place(&mut self, host: &str, slot: u32) {
        if let Some(record) = &mut self.record {
            record.set_place(host, slot);
        }
    }

    /// Waits for a slot for a compiler or linker on this machine; `None` where locks do not work.
    pub fn local_slot(&mut self) -> Result<Option<Slot>, Stop> {
        let count = self.local_limits().0;
        let slot = self.slot_of_this_machine(count)?;
        self.set_place(LOCALHOST, slot.as_ref().map_or(0, |slot| slot.number));
        Ok(slot)
    }

    /// The same for a preprocessor.
    pub fn local_cpp_slot(&mut self) -> Result<Option<Slot>, Stop> {
        let count = self.local_limits().1;
        self.slot_of_this_machine(count)
    }

    fn slot_of_this_machine(&mut self, count: u32) -> Result<Option<Slot>, Stop> {
        let Ok(locks) = self.locks.clone() else { return Ok(None) };
        let wanted = [Slots { lock_name: LOCALHOST.to_owned(), count }];
        match slots::acquire(&locks, &wanted, || self.set_phase(Phase::Blocked)) {
            Ok(slot) => Ok(Some(slot)),
            Err(slots::Error::Interrupted(interrupted)) => Err(interrupted.into()),
            Err(slots::Error::Io(_)) => Ok(None),
        }
    }

    /// Adds the servers that announce themselves, but for those that say that they lack the job's compiler, which is asked
    /// only if any says something about compilers.
    pub fn add_announced(
        &mut self,
        compiler: impl FnOnce() -> Result<Option<Compiler>, Interrupted>,
    ) -> Result<(), Interrupted> {
        let top = self.top.clone();
        let Ok(found) = self.host_list() else { return Ok(()) };
        if found.list.announced.is_empty() {
            return Ok(());
        }
        found.add_announced(top.as_ref());
        let offers = || found.list.hosts.iter().filter_map(|host| host.offer.as_ref());
        if offers().any(|offer| offer.names_compilers()) {
            if let Some(compiler) = compiler()? {
                found.keep_only_with(&compiler);
            }
        }
        if let Some(lack) = &found.lack {
            log::info!("{lack}");
        }
        Ok(())
    }

    /// Where locks and marks are, or why they cannot be used.
    pub fn locks(&self) -> Result<PathBuf, NoHost> {
        self.locks.clone().map_err(|reason| NoHost { reason })
    }

    /// Takes a slot on the first free host that is neither among `marks` nor `tried`.
    pub fn pick_host(
        &mut self,
        locks: &Path,
        marks: &Backoff,
        tried: &[(Host, HostFailure)],
    ) -> Result<Result<(Host, Slot), NoHost>, Stop> {
        loop {
            let mut waited = false;
            let picked = self.pick_without_second_look(locks, marks, tried, &mut waited)?;
            match &picked {
                // Its failure was met by others while we waited for it: all who wait would go there one after the other.
                Ok((host, _)) if waited && marks.is_disliked(host) => {}
                _ => return Ok(picked),
            }
        }
    }

    fn pick_without_second_look(
        &mut self,
        locks: &Path,
        marks: &Backoff,
        tried: &[(Host, HostFailure)],
        waited: &mut bool,
    ) -> Result<Result<(Host, Slot), NoHost>, Stop> {
        let no_host = |reason: String| Ok(Err(NoHost { reason }));
        let found = match self.host_list() {
            Ok(found) => found,
            Err(reason) => return no_host(reason.clone()),
        };
        let list = &found.list;
        let usable = |host: &&Host| {
            !host.down && !marks.is_disliked(host) && tried.iter().all(|(other, _)| other.spec != host.spec)
        };
        let mut hosts: Vec<Host> = Vec::new();
        for host in list.hosts.iter().filter(usable) {
            // A machine named twice has its slots once.
            match hosts.iter_mut().find(|other| other.lock_name() == host.lock_name()) {
                Some(other) => other.slots = other.slots.max(host.slots),
                None => hosts.push(host.clone()),
            }
        }
        if list.randomize {
            hostlist::shuffle(&mut hosts);
        }
        // Waiting for a server is no use when all are marked; but this machine's own entry alone is no
        // distribution either.
        if hosts.is_empty() {
            return no_host(why_no_host(found, marks.period()));
        }
        let candidates: Vec<Slots> =
            hosts.iter().map(|host| Slots { lock_name: host.lock_name(), count: host.slots }).collect();
        let blocked = || {
            *waited = true;
            self.set_phase(Phase::Blocked);
        };
        match slots::acquire(locks, &candidates, blocked) {
            Ok(slot) => {
                let host = hosts.swap_remove(slot.candidate);
                self.set_place(host.name(), slot.number);
                Ok(Ok((host, slot)))
            }
            Err(slots::Error::Interrupted(interrupted)) => Err(interrupted.into()),
            Err(slots::Error::Io(e)) => no_host(e.to_string()),
        }
    }

    /// Slots for compilers and for preprocessors on this machine.
    fn local_limits(&mut self) -> (u32, u32) {
        match self.host_list() {
            Ok(found) => (found.list.local_slots, found.list.local_cpp_slots),
            Err(_) => {
                let list = crate::hosts::parse("");
                (list.local_slots, list.local_cpp_slots)
            }
        }
    }

    /// The list, read when it is first needed, its bad entries reported once.
    fn host_list(&mut self) -> &mut Result<hostlist::Found, String> {
        let top = self.top.as_ref();
        self.hosts.get_or_insert_with(|| {
            let found = hostlist::find(top)?;
            // With no host left the reason for compiling locally says it.
            for problem in found.list.problems.iter().filter(|_| !found.list.hosts.is_empty()) {
                log::warn!("host list {}, {problem}; entry left out", found.source);
            }
            Ok(found)
        })
    }
}

fn why_no_host(found: &hostlist::Found, period: Duration) -> String {
    let hostlist::Found { list, source, lack } = found;
    if list.hosts.is_empty() {
        return match list.problems.first() {
            None if lack.is_some() => lack.clone().unwrap_or_default(),
            None => format!("the host list {source} contains no hosts"),
            Some(problem) => format!("the host list {source} contains no usable host: {problem}"),
        };
    }
    let which = match list.hosts.as_slice() {
        [host] => format!("the only host, {}, is", host.spec),
        hosts => format!("all {} hosts of {source} are", hosts.len()),
    };
    if list.hosts.iter().all(|host| host.down) {
        return format!("{which} marked down");
    }
    format!(
        "{which} left alone, having failed recently, for up to {} s (DISTCC_BACKOFF_PERIOD)",
        period.as_secs()
    )
}

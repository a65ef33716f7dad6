//! What the jobs' records come to, per host: who works where, what has been done, what went elsewhere.
//!
//! All of it is derived from the records as they change, so that clients, stock's included, do nothing for it. Values in,
//! values out: `watch` brings the records.

use crate::sorted_map::SortedMap;
use crate::state::{Phase, Record};

/// This machine, in records.
const LOCALHOST: &str = "localhost";

/// Where a job was that was over before its record could be read.
pub const UNKNOWN: &str = "?";

/// Everything seen so far.
#[derive(Debug, Default)]
pub struct Tally {
    jobs: SortedMap<i32, Job>,
    /// Jobs whose records have changed since they were read, if they were.
    changed: SortedMap<i32, ()>,
    hosts: SortedMap<String, Counts>,
}

#[derive(Debug)]
struct Job {
    record: Record,
    /// The host that has it, also while this machine preprocesses for it.
    host: Option<String>,
}

/// One host's jobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Running now.
    pub running: usize,
    /// Ended there.
    pub done: usize,
    /// Begun there, and gone on elsewhere.
    pub failed: usize,
}

impl Tally {
    /// A job's record as it is now.
    pub fn saw(&mut self, record: Record) {
        self.changed.remove(&record.pid);
        let before = self.jobs.remove(&record.pid).and_then(|job| job.host);
        let host = match record.phase {
            Phase::Connect | Phase::Send | Phase::Compile | Phase::Receive | Phase::Done => {
                Some(record.host.clone())
            }
            // It waits for, or works at, something on this machine, which tells nothing of its host.
            Phase::Startup | Phase::Blocked | Phase::Preprocess => before.clone(),
        };
        if let Some(left) = before.filter(|before| Some(before) != host.as_ref() && before != LOCALHOST) {
            self.hosts.get_or_insert_with(left, Default::default).failed += 1;
        }
        self.jobs.insert(record.pid, Job { record, host });
    }

    /// A job's record has changed, and could not be read.
    pub fn missed(&mut self, pid: i32) {
        self.changed.insert(pid, ());
    }

    /// A job's record is not there any more.
    pub fn gone(&mut self, pid: i32) {
        let changed = self.changed.remove(&pid).is_some();
        let (worked, host) = match self.jobs.remove(&pid) {
            Some(Job { record, host }) => {
                (matches!(record.phase, Phase::Send | Phase::Compile | Phase::Receive | Phase::Done), host)
            }
            None => (false, None),
        };
        if worked || changed {
            let host = host.unwrap_or_else(|| UNKNOWN.to_owned());
            self.hosts.get_or_insert_with(host, Counts::default).done += 1;
        }
    }

    /// All records at once: what is not among them has gone.
    pub fn saw_all(&mut self, records: Vec<Record>) {
        let known: SortedMap<i32, ()> =
            self.jobs.keys().chain(self.changed.keys()).map(|pid| (*pid, ())).collect();
        let gone = known
            .into_iter()
            .map(|(pid, ())| pid)
            .filter(|pid| records.iter().all(|record| record.pid != *pid));
        gone.for_each(|pid| self.gone(pid));
        records.into_iter().for_each(|record| self.saw(record));
    }

    /// Jobs that wait for a slot.
    pub fn waiting(&self) -> usize {
        self.jobs.values().filter(|job| job.record.phase == Phase::Blocked).count()
    }

    /// The running jobs, by host and slot.
    pub fn records(&self) -> Vec<&Record> {
        let running = self.jobs.values().map(|job| &job.record).filter(|record| record.phase != Phase::Done);
        let mut records: Vec<&Record> = running.collect();
        records.sort_unstable_by_key(|record| (&record.host, record.slot, record.pid));
        records
    }

    /// Every host that has been seen, by name.
    pub fn hosts(&self) -> SortedMap<&str, Counts> {
        let mut hosts: SortedMap<&str, Counts> =
            self.hosts.iter().map(|(name, counts)| (name.as_str(), *counts)).collect();
        for job in self.jobs.values() {
            let works = !matches!(job.record.phase, Phase::Startup | Phase::Blocked | Phase::Done);
            // A job that preprocesses has, of a host that is not known yet, this machine's name.
            let host = job.host.as_deref().unwrap_or(&job.record.host);
            if works {
                hosts.get_or_insert_with(host, Default::default).running += 1;
            }
        }
        hosts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(pid: i32, phase: Phase, host: &str) -> Record {
        Record { pid, file: "a.c".into(), host: host.into(), slot: 0, phase }
    }

    fn counts(tally: &Tally, host: &str) -> (usize, usize, usize) {
        let counts = tally.hosts().get(host).copied().unwrap_or_default();
        (counts.running, counts.done, counts.failed)
    }

    #[test]
    fn a_job_is_done_where_it_ended() {
        let mut tally = Tally::default();
        for (phase, host) in [
            (Phase::Startup, ""),
            (Phase::Blocked, ""),
            (Phase::Connect, "a"),
            (Phase::Preprocess, LOCALHOST),
            (Phase::Send, "a"),
            (Phase::Compile, "a"),
        ] {
            tally.saw(record(1, phase, host));
        }
        assert_eq!(counts(&tally, "a"), (1, 0, 0));
        tally.gone(1);
        assert_eq!(counts(&tally, "a"), (0, 1, 0));
        assert_eq!(counts(&tally, LOCALHOST), (0, 0, 0));
    }

    #[test]
    fn a_job_that_goes_on_elsewhere_has_failed() {
        let mut tally = Tally::default();
        for (phase, host) in [
            (Phase::Connect, "a"),
            (Phase::Preprocess, LOCALHOST),
            (Phase::Connect, "b"),
            (Phase::Send, "b"),
            (Phase::Blocked, "b"),
            (Phase::Compile, LOCALHOST),
        ] {
            tally.saw(record(1, phase, host));
        }
        assert_eq!((counts(&tally, "a"), counts(&tally, "b")), ((0, 0, 1), (0, 0, 1)));
        tally.gone(1);
        assert_eq!(counts(&tally, LOCALHOST), (0, 1, 0));
    }

    #[test]
    fn a_job_that_never_worked_counts_nowhere() {
        let mut tally = Tally::default();
        tally.saw(record(1, Phase::Blocked, ""));
        assert_eq!((tally.waiting(), tally.hosts().len()), (1, 0));
        tally.saw(record(2, Phase::Connect, "a"));
        tally.saw_all(Vec::new());
        assert_eq!((tally.waiting(), tally.records().len(), counts(&tally, "a")), (0, 0, (0, 0, 0)));
    }

    #[test]
    fn a_job_that_was_too_fast_counts_where_it_was_seen() {
        let mut tally = Tally::default();
        tally.saw(record(1, Phase::Connect, "a"));
        [1, 2].into_iter().for_each(|pid| tally.missed(pid));
        tally.gone(1);
        tally.saw_all(Vec::new());
        assert_eq!((counts(&tally, "a"), counts(&tally, UNKNOWN)), ((0, 1, 0), (0, 1, 0)));
        tally.missed(3);
        tally.saw(record(3, Phase::Blocked, ""));
        tally.gone(3);
        assert_eq!(counts(&tally, UNKNOWN), (0, 1, 0));
    }

    #[test]
    fn a_process_number_may_come_again() {
        let mut tally = Tally::default();
        tally.saw(record(1, Phase::Compile, "a"));
        tally.saw_all(vec![record(2, Phase::Compile, "a")]);
        tally.saw(record(1, Phase::Compile, "b"));
        assert_eq!((counts(&tally, "a"), counts(&tally, "b")), ((1, 1, 0), (1, 0, 0)));
    }
}

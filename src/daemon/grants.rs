//! Who compiles next: the supervisor's compile slots as a value, without I/O.
//!
//! Jobs of one client address are served in order of arrival; addresses take turns, so that one client's
//! hundred jobs do not keep another's single job waiting.

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::sorted_map::SortedMap;

/// A job, by the worker that has it and that worker's number for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobId {
    /// The worker.
    pub worker: usize,
    /// Its number for the job.
    pub job: u32,
}

/// The slots, who has them, who waits.
#[derive(Debug)]
pub struct Grants {
    free: usize,
    held: SortedMap<JobId, ()>,
    /// Addresses in the order of their turns, each with its jobs in order of arrival.
    waiting: VecDeque<(IpAddr, VecDeque<JobId>)>,
}

impl Grants {
    /// With so many slots.
    pub fn new(slots: usize) -> Grants {
        Grants { free: slots, held: SortedMap::new(), waiting: VecDeque::new() }
    }

    /// How many there are in all.
    pub fn slots(&self) -> usize {
        self.free + self.held.len()
    }

    /// How many are taken.
    pub fn in_use(&self) -> usize {
        self.held.len()
    }

    /// How many jobs wait for one.
    pub fn waiting(&self) -> usize {
        self.waiting.iter().map(|(_, jobs)| jobs.len()).sum()
    }

    /// Whether a job waits although a slot is free, because memory is short.
    pub fn may_grant(&self) -> bool {
        self.free > 0 && !self.waiting.is_empty()
    }

    /// A job wants a slot.
    pub fn want(&mut self, id: JobId, client: IpAddr) {
        match self.waiting.iter_mut().find(|(address, _)| *address == client) {
            Some((_, jobs)) => jobs.push_back(id),
            None => self.waiting.push_back((client, VecDeque::from([id]))),
        }
    }

    /// A job gives its slot back, or does not want one any more.
    pub fn give_back(&mut self, id: JobId) {
        self.release(|other| *other == id);
    }

    /// A worker has died with all its jobs.
    pub fn forget_worker(&mut self, worker: usize) {
        self.release(|other| other.worker == worker);
    }

    fn release(&mut self, gone: impl Fn(&JobId) -> bool) {
        let before = self.held.len();
        self.held.retain(|id, _| !gone(id));
        self.free += before - self.held.len();
        for (_, jobs) in &mut self.waiting {
            jobs.retain(|id| !gone(id));
        }
        self.waiting.retain(|(_, jobs)| !jobs.is_empty());
    }

    /// The next job to start, which has its slot from now on; `None` when no slot is free, nobody waits, or
    /// `memory_is_short` while another job runs: then that one has to end first, and the machine gets on all the same.
    /// The memory is asked only when it decides.
    pub fn grant_next(&mut self, memory_is_short: impl FnOnce() -> bool) -> Option<JobId> {
        if !self.may_grant() || (!self.held.is_empty() && memory_is_short()) {
            return None;
        }
        let (client, mut jobs) = self.waiting.pop_front()?;
        let id = jobs.pop_front()?;
        if !jobs.is_empty() {
            self.waiting.push_back((client, jobs));
        }
        self.free -= 1;
        self.held.insert(id, ());
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn plenty() -> bool {
        false
    }

    fn id(job: u32) -> JobId {
        JobId { worker: 0, job }
    }

    #[test]
    fn slots_are_given_in_order_and_not_twice() {
        let mut grants = Grants::new(2);
        (1..=4).for_each(|job| grants.want(id(job), A));
        assert_eq!(
            (grants.grant_next(plenty), grants.grant_next(plenty), grants.grant_next(plenty)),
            (Some(id(1)), Some(id(2)), None)
        );
        assert_eq!((grants.slots(), grants.in_use(), grants.waiting()), (2, 2, 2));
        grants.give_back(id(1));
        grants.give_back(id(1));
        assert_eq!((grants.grant_next(plenty), grants.grant_next(plenty)), (Some(id(3)), None));
    }

    #[test]
    fn addresses_take_turns() {
        let mut grants = Grants::new(4);
        (1..=3).for_each(|job| grants.want(id(job), A));
        grants.want(id(9), B);
        let order: Vec<_> = std::iter::from_fn(|| grants.grant_next(plenty)).map(|id| id.job).collect();
        assert_eq!(order, [1, 9, 2, 3]);
    }

    #[test]
    fn short_of_memory_one_job_runs_at_a_time() {
        let mut grants = Grants::new(3);
        grants.want(id(1), A);
        assert_eq!(grants.grant_next(|| panic!("nobody else runs")), Some(id(1)));
        assert_eq!(grants.grant_next(|| panic!("nobody waits")), None);
        grants.want(id(2), A);
        assert_eq!(grants.grant_next(|| true), None);
        assert_eq!(grants.grant_next(plenty), Some(id(2)));
        grants.want(id(3), A);
        grants.give_back(id(1));
        assert_eq!(grants.grant_next(|| true), None);
        grants.give_back(id(2));
        assert_eq!(grants.grant_next(|| true), Some(id(3)));
    }

    #[test]
    fn who_leaves_the_queue_is_not_called() {
        let mut grants = Grants::new(1);
        grants.want(id(1), A);
        grants.want(id(2), A);
        grants.give_back(id(1));
        assert_eq!(grants.grant_next(plenty), Some(id(2)));
    }

    #[test]
    fn a_dead_worker_gives_everything_back() {
        let mut grants = Grants::new(2);
        for worker in 0..2 {
            (1..=2).for_each(|job| grants.want(JobId { worker, job }, A));
        }
        assert_eq!(grants.grant_next(plenty).map(|id| id.worker), Some(0));
        assert_eq!(grants.grant_next(plenty).map(|id| id.worker), Some(0));
        grants.forget_worker(0);
        assert_eq!(grants.grant_next(plenty), Some(JobId { worker: 1, job: 1 }));
        assert_eq!(grants.grant_next(plenty), Some(JobId { worker: 1, job: 2 }));
        assert_eq!(grants.grant_next(plenty), None);
    }
}

//! What one worker holds at most, and how often it complains.

use std::time::{Duration, Instant};

/// Bytes of sources and answers that a worker keeps in memory; what comes beyond waits or goes to the disk.
pub const MEMORY: usize = 48 << 20;

/// So much of [`MEMORY`] is for compressed sources until they are expanded, unless there is only one. Beside them, four sources
/// of 10 MB find room for being expanded; what finds none goes to the disk.
pub const COMPRESSED: usize = 8 << 20;

/// So much of [`MEMORY`] a large plain source leaves free, unless it is alone: for the first 64 KB of those that wait for memory.
/// What of a source is on the disk once makes all of it go there.
pub const FIRST: usize = 4 << 20;

/// Bytes of large commands that a worker keeps in memory; beyond it, who has not sent all of its request makes way.
pub const COMMANDS: usize = 16 << 20;

/// Up to so many bytes, a command or an answer counts for nothing: there is room for one of every connection.
pub const SMALL: usize = 16 << 10;

/// How many connections there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// In all.
    pub all: usize,
    /// Of one client address.
    pub per_address: usize,
}

impl Connections {
    /// One worker's share of a daemon's connections; they spread over the workers only roughly, so nobody gets less
    /// than a handful.
    pub fn share(self, workers: usize) -> Connections {
        let share = |count: usize| count.div_ceil(workers.max(1)).max(8);
        Connections { all: share(self.all), per_address: share(self.per_address) }
    }
}

/// Lets only so many complaints through, so that an attack cannot fill the disk with them: a supply that lasts for what
/// happens now and then, and grows again slowly. Those that are left out are counted.
#[derive(Debug)]
pub struct Complaints {
    supply: u32,
    /// When the supply last grew.
    grown: Instant,
    /// Since when some are left out, and how many.
    left_out: Option<(Instant, u32)>,
}

/// Complaints that may come at once.
const SUPPLY: u32 = 100;
/// The time in which the supply grows by one. A worker under attack for a day writes some 5 MB.
const GROWTH: Duration = Duration::from_secs(5);
/// How long those that are left out are counted before the number is told.
const COUNTED: Duration = Duration::from_secs(10);

impl Complaints {
    /// None so far.
    pub fn new(now: Instant) -> Complaints {
        Complaints { supply: SUPPLY, grown: now, left_out: None }
    }

    /// Whether one more may be written at `now`; if not, it is counted.
    pub fn may_write(&mut self, now: Instant) -> bool {
        while self.supply < SUPPLY && now.saturating_duration_since(self.grown) >= GROWTH {
            self.supply += 1;
            self.grown += GROWTH;
        }
        if self.supply == SUPPLY {
            self.grown = now;
        }
        if self.supply == 0 {
            let (_, count) = self.left_out.get_or_insert((now, 0));
            *count = count.saturating_add(1);
            return false;
        }
        self.supply -= 1;
        true
    }

    /// How many were left out, once it is time to tell.
    pub fn left_out(&mut self, now: Instant) -> Option<u32> {
        self.deadline().filter(|at| *at <= now)?;
        self.take_left_out()
    }

    /// How many were left out, before nobody can tell any more.
    pub fn take_left_out(&mut self) -> Option<u32> {
        self.left_out.take().map(|(_, count)| count)
    }

    /// When to tell how many were left out, if any.
    pub fn deadline(&self) -> Option<Instant> {
        self.left_out.map(|(since, _)| since + COUNTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_complaints_ends_in_a_count() {
        let start = Instant::now();
        let mut complaints = Complaints::new(start);
        let written = (0..1000).filter(|_| complaints.may_write(start)).count();
        assert_eq!(written, SUPPLY as usize);
        assert_eq!(complaints.deadline(), Some(start + COUNTED));
        assert_eq!(complaints.left_out(start), None);
        assert_eq!(complaints.left_out(start + COUNTED), Some(900));
        assert_eq!((complaints.deadline(), complaints.take_left_out()), (None, None));
    }

    #[test]
    fn the_supply_of_complaints_grows_slowly() {
        let start = Instant::now();
        let mut complaints = Complaints::new(start);
        let written =
            |complaints: &mut Complaints, now| (0..1000).filter(|_| complaints.may_write(now)).count();
        let all = written(&mut complaints, start);
        assert_eq!(written(&mut complaints, start + GROWTH / 2), 0);
        assert_eq!(written(&mut complaints, start + GROWTH * 5 / 2), 2);
        assert_eq!(written(&mut complaints, start + GROWTH * 3), 1);
        let later = start + GROWTH * 1000;
        assert_eq!(written(&mut complaints, later), all);
        assert_eq!(written(&mut complaints, later + GROWTH / 2), 0);
    }

    #[test]
    fn a_share_is_never_nothing() {
        let daemon = Connections { all: 4000, per_address: 10 };
        assert_eq!(daemon.share(4), Connections { all: 1000, per_address: 8 });
    }
}

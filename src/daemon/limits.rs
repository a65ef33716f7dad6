//! What one worker holds at most, and how often it complains.

use std::fmt;
use std::time::{Duration, Instant};

/// Bytes of sources that a worker keeps in memory; what comes beyond waits or goes to the disk.
pub const SOURCES_IN_MEMORY: usize = 32 << 20;

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

/// Lets only so many complaints through in a while, so that an attack cannot fill the disk with them.
#[derive(Debug)]
pub struct Complaints {
    since: Instant,
    count: u32,
}

/// Complaints that are written in one [`PERIOD`].
const MOST: u32 = 100;
const PERIOD: Duration = Duration::from_secs(10);

impl Complaints {
    /// None so far.
    pub fn new(now: Instant) -> Complaints {
        Complaints { since: now, count: 0 }
    }

    /// What to write for one more complaint at `now`: itself, or nothing; and after a flood how many were left out.
    pub fn take<'a>(&mut self, complaint: fmt::Arguments<'a>, now: Instant) -> Option<String> {
        let mut left_out = 0;
        if now.duration_since(self.since) >= PERIOD {
            left_out = self.count.saturating_sub(MOST);
            *self = Complaints::new(now);
        }
        self.count = self.count.saturating_add(1);
        match (self.count <= MOST, left_out) {
            (false, _) => None,
            (true, 0) => Some(complaint.to_string()),
            (true, _) => Some(format!("{complaint} ({left_out} more complaints were left out before)")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_complaints_is_cut() {
        let start = Instant::now();
        let mut complaints = Complaints::new(start);
        let written = (0..1000).filter(|_| complaints.take(format_args!("no"), start).is_some()).count();
        assert_eq!(written, MOST as usize);
        let later = start + PERIOD;
        let first = complaints.take(format_args!("no"), later).unwrap();
        assert_eq!(first, "no (900 more complaints were left out before)");
        assert_eq!(complaints.take(format_args!("no"), later).as_deref(), Some("no"));
    }

    #[test]
    fn a_share_is_never_nothing() {
        let daemon = Connections { all: 4000, per_address: 10 };
        assert_eq!(daemon.share(4), Connections { all: 1000, per_address: 8 });
    }
}

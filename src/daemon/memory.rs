//! Whether memory is short: below a share of it that the administrator wants left, no further job starts while
//! others run.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::daemon::machine::kilobytes;
use crate::decimal::Decimal;
use crate::logging::NOTICE;

/// How old a reading may be when it decides.
const FRESH: Duration = Duration::from_millis(100);

/// Looks at the kernel's account of memory, but not too often.
#[derive(Debug)]
pub struct Memory {
    /// In percent of all memory; 0 to look at nothing.
    least: u8,
    meminfo: PathBuf,
    last: Option<(Instant, bool)>,
}

impl Memory {
    /// Short is what leaves less than `least` percent of this machine's memory available.
    pub fn new(least: u8) -> Memory {
        Memory { least, meminfo: "/proc/meminfo".into(), last: None }
    }

    /// Whether it is short at `now`, or was a moment ago. A kernel before 3.14, which does not say what is available,
    /// has enough.
    pub fn is_short(&mut self, now: Instant) -> bool {
        if self.least == 0 {
            return false;
        }
        if let Some((_, short)) = self.last.filter(|(at, _)| now.saturating_duration_since(*at) < FRESH) {
            return short;
        }
        let available = fs::read_to_string(&self.meminfo).ok().and_then(|text| available(&text));
        let short = available.is_some_and(|per_mille| per_mille < u64::from(self.least) * 10);
        let was_short = self.last.is_some_and(|(_, short)| short);
        self.last = Some((now, short));
        match (was_short, short) {
            (false, true) => log::info!(
                target: NOTICE,
                "memory is short, {} % of it are available: jobs wait until it is {} % (--min-free-mem) or no other runs",
                Decimal(available.unwrap_or_default(), 1),
                self.least
            ),
            (true, false) => log::info!(target: NOTICE, "memory is not short any more"),
            _ => {}
        }
        short
    }

    /// When to look again for those who wait because it is short.
    pub fn deadline(&self) -> Option<Instant> {
        self.last.filter(|(_, short)| *short).map(|(at, _)| at + FRESH)
    }
}

/// How much of the memory can be had without swapping, in thousandths, by the text of /proc/meminfo.
fn available(meminfo: &str) -> Option<u64> {
    let all = kilobytes(meminfo, "MemTotal:").filter(|all| *all > 0)?;
    Some(kilobytes(meminfo, "MemAvailable:")?.saturating_mul(1000) / all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_of_all_memory() {
        assert_eq!(available("MemTotal:  2000 kB\nMemFree: 1 kB\nMemAvailable:  500 kB\n"), Some(250));
        for unknown in
            ["", "MemTotal: 2000 kB\n", "MemTotal: 0 kB\nMemAvailable: 0 kB\n", "MemAvailable: 5 kB\n"]
        {
            assert_eq!(available(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn it_is_read_again_after_a_moment_only() {
        let dir = crate::scratch::PrivateDir::new(&std::env::temp_dir(), "distcc-memory-").unwrap();
        let meminfo = dir.path().join("meminfo");
        let mut memory = Memory { meminfo: meminfo.clone(), ..Memory::new(10) };
        let start = Instant::now();
        let say = |available: u32| {
            fs::write(&meminfo, format!("MemTotal: 1000 kB\nMemAvailable: {available} kB\n"))
        };
        say(99).unwrap();
        assert!(memory.is_short(start));
        assert_eq!(memory.deadline(), Some(start + FRESH));
        say(100).unwrap();
        assert!(memory.is_short(start + FRESH / 2));
        assert!(!memory.is_short(start + FRESH));
        assert_eq!(memory.deadline(), None);
        fs::remove_file(&meminfo).unwrap();
        assert!(!memory.is_short(start + FRESH * 2));
        assert!(!Memory { meminfo, ..Memory::new(0) }.is_short(start));
    }
}

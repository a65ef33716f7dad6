//! What the statistics page says about the machine, read from /proc (proc(5)) and the file system of TMPDIR.
//!
//! What cannot be read is `None`: /proc may be missing or hide other users' processes.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::sys::file;

/// How old a reading may be when it is shown again: looking at every process of a busy machine takes
/// milliseconds, during which no slot is granted, and anybody who is served may ask as often as they like.
/// Stock's other numbers are in slots of three seconds, too.
const FRESH: Duration = Duration::from_secs(3);
/// No more processes than these are looked at, for the same reason.
const MAX_PROCESSES: usize = 4096;

/// A reading.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// Load averages over 1, 5 and 15 minutes.
    pub load: Option<[String; 3]>,
    /// Tasks that run or could.
    pub running: Option<u64>,
    /// Processes in uninterruptible sleep.
    pub blocked: usize,
    /// The process that has most memory resident, by name, and how much that is, in kB.
    pub largest: Option<(String, u64)>,
    /// Sectors (512 bytes) per second to and from the disks that stock looks at, hda and sda, between the last
    /// two readings.
    pub sectors_per_second: Option<u64>,
    /// Bytes that the daemon may still write to TMPDIR.
    pub free_space: Option<u64>,
    /// Memory that can be had without swapping, in kB.
    pub free_memory: Option<u64>,
}

/// Reads, but not too often.
#[derive(Debug, Default)]
pub struct Machine {
    last: Option<(Instant, Reading)>,
    /// Sectors so far.
    sectors: Option<(Instant, u64)>,
}

impl Machine {
    /// The machine as it is now, or was a moment ago.
    pub fn read(&mut self, now: Instant, tmpdir: &Path) -> Reading {
        if let Some((at, reading)) = &self.last {
            if now.saturating_duration_since(*at) < FRESH {
                return reading.clone();
            }
        }
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (blocked, largest) = processes(Path::new("/proc"));
        let loads = text("/proc/loadavg");
        let reading = Reading {
            load: load_averages(&loads),
            running: running_tasks(&loads),
            blocked,
            largest,
            sectors_per_second: self.sectors_per_second(now, sectors(&text("/proc/diskstats"))),
            free_space: file::free_space(tmpdir).ok(),
            free_memory: kilobytes(&text("/proc/meminfo"), "MemAvailable:"),
        };
        self.last = Some((now, reading.clone()));
        reading
    }

    fn sectors_per_second(&mut self, now: Instant, sectors: Option<u64>) -> Option<u64> {
        let sectors = sectors?;
        let (then, before) = self.sectors.replace((now, sectors))?;
        let millis = now.saturating_duration_since(then).as_millis().max(1) as u64;
        Some(sectors.saturating_sub(before).saturating_mul(1000) / millis)
    }
}

/// As the kernel writes them, with two decimals.
fn load_averages(loadavg: &str) -> Option<[String; 3]> {
    let is_number = |word: &&str| word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let mut words = loadavg.split_whitespace().take_while(is_number).map(str::to_owned);
    Some([words.next()?, words.next()?, words.next()?])
}

/// `0.20 0.18 0.12 1/80 11206`: the fourth is "running/all".
fn running_tasks(loadavg: &str) -> Option<u64> {
    loadavg.split_whitespace().nth(3)?.split('/').next()?.parse().ok()
}

/// The number behind a name in files such as /proc/meminfo.
pub(super) fn kilobytes(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// Fields 6 and 10 of a line are sectors read and written (the kernel's iostats.rst).
fn sectors(diskstats: &str) -> Option<u64> {
    let of_disk = |line: &str| {
        let mut words = line.split_whitespace().skip(2);
        words.next().filter(|name| ["hda", "sda"].contains(name))?;
        let mut numbers = words.map(|word| word.parse::<u64>().unwrap_or(0));
        Some(numbers.nth(2)?.saturating_add(numbers.nth(3)?))
    };
    diskstats.lines().filter_map(of_disk).reduce(u64::saturating_add)
}

/// How many processes are in state D, and the largest.
fn processes(proc: &Path) -> (usize, Option<(String, u64)>) {
    let mut blocked = 0;
    let mut largest: Option<(String, u64)> = None;
    let is_process = |name: &std::ffi::OsStr| name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| is_process(&entry.file_name())).take(MAX_PROCESSES) {
        // Gone meanwhile, or not ours to read. The name of a process may be any bytes.
        let Ok(status) = fs::read(entry.path().join("status")) else { continue };
        let status = String::from_utf8_lossy(&status);
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        blocked += usize::from(field("State:").is_some_and(|state| state.starts_with('D')));
        let resident = kilobytes(&status, "VmRSS:").unwrap_or(0);
        if resident > largest.as_ref().map_or(0, |(_, most)| *most) {
            largest = Some((field("Name:").unwrap_or_default().to_owned(), resident));
        }
    }
    (blocked, largest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_proc_are_understood() {
        let loadavg = "6.23 3.38 2.79 13/1034 4711\n";
        assert_eq!(load_averages(loadavg), Some(["6.23", "3.38", "2.79"].map(String::from)));
        assert_eq!(running_tasks(loadavg), Some(13));
        assert_eq!((load_averages("x"), running_tasks("")), (None, None));
        assert_eq!(kilobytes("MemTotal: 7 kB\nMemAvailable:   8042 kB\n", "MemAvailable:"), Some(8042));
        let diskstats =
            "   8       0 sda 10 1 200 5 20 2 300 6 0 7 8\n   8       1 sda1 9 1 100 5 20 2 300 6 0 7 8\n";
        assert_eq!(sectors(diskstats), Some(500));
        assert_eq!(sectors("7 0 loop0 0 0 0"), None);
        assert_eq!(sectors("8 0 sda 1"), None);
    }

    #[test]
    fn a_rate_needs_two_readings() {
        let mut machine = Machine::default();
        let start = Instant::now();
        assert_eq!(machine.sectors_per_second(start, Some(1000)), None);
        assert_eq!(machine.sectors_per_second(start + Duration::from_secs(2), Some(1500)), Some(250));
        assert_eq!(machine.sectors_per_second(start + Duration::from_secs(4), None), None);
    }

    #[test]
    fn this_machine_can_be_read() {
        let mut machine = Machine::default();
        let now = Instant::now();
        let reading = machine.read(now, &std::env::temp_dir());
        assert!(reading.free_space.is_some_and(|bytes| bytes > 0));
        assert!(reading.largest.as_ref().is_some_and(|(name, kb)| !name.is_empty() && *kb > 0));
        assert_eq!(machine.read(now, Path::new("/no/such")), reading);
        let later = machine.read(now + FRESH, Path::new("/no/such"));
        assert_eq!(later.free_space, None);
    }
}

//! What the daemon has done, counted, and the texts that tell it (`pages`).
//!
//! Values in, text out: the clock, the supervisor's slots and the machine's state are handed in.

mod pages;
mod windows;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::daemon::grants::JobId;
use crate::daemon::outcome::Outcome;
use crate::exitcode::ExitCode;
use crate::sorted_map::SortedMap;

use windows::Windows;

/// How a connection's job ended, in the classes that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEnd {
    /// The compiler succeeded.
    Ok,
    /// The compiler failed.
    Error,
    /// The compiler ran longer than `--job-lifetime`.
    Timeout,
    /// The client went away or fell silent.
    ClientGone,
    /// What came was not a request.
    BadRequest,
    /// The client closed in the middle of its request.
    Truncated,
    /// Refused: compiler or options are not allowed.
    NotAllowed,
    /// Refused: there is no such compiler, or it cannot be run.
    NoCompiler,
    /// Refused: too much to do, or shutting down.
    Busy,
    /// Refused: files of ours could not be used.
    IoError,
    /// Refused for another reason.
    Refused,
    /// Nothing was asked for: the daemon itself closed an idle connection.
    Nothing,
    /// The worker that had it died.
    Lost,
}

impl JobEnd {
    /// All, in the order of their numbers.
    pub const ALL: [JobEnd; 13] = [
        JobEnd::Ok,
        JobEnd::Error,
        JobEnd::Timeout,
        JobEnd::ClientGone,
        JobEnd::BadRequest,
        JobEnd::Truncated,
        JobEnd::NotAllowed,
        JobEnd::NoCompiler,
        JobEnd::Busy,
        JobEnd::IoError,
        JobEnd::Refused,
        JobEnd::Nothing,
        JobEnd::Lost,
    ];

    /// The class of an outcome.
    pub fn of(outcome: Option<&Outcome>) -> JobEnd {
        match outcome {
            None => JobEnd::Nothing,
            Some(Outcome::Compiled(status)) if status.success() => JobEnd::Ok,
            Some(Outcome::Compiled(_)) => JobEnd::Error,
            Some(Outcome::JobTooLong(_)) => JobEnd::Timeout,
            Some(Outcome::ClientGone | Outcome::Silent(_)) => JobEnd::ClientGone,
            Some(Outcome::BadRequest(_)) => JobEnd::BadRequest,
            Some(Outcome::Truncated(_)) => JobEnd::Truncated,
            Some(Outcome::Refused(refusal)) => match refusal.code {
                ExitCode::AccessDenied | ExitCode::BadArguments => JobEnd::NotAllowed,
                ExitCode::CompilerMissing => JobEnd::NoCompiler,
                ExitCode::Busy => JobEnd::Busy,
                ExitCode::IoError => JobEnd::IoError,
                _ => JobEnd::Refused,
            },
        }
    }

    /// Whether stock counts it in `dcc_num_compiles`.
    fn is_compile(self) -> bool {
        matches!(self, JobEnd::Ok | JobEnd::Error | JobEnd::Timeout | JobEnd::ClientGone)
    }
}

/// A job whose compiler has been started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Whose it is.
    pub client: SocketAddr,
    /// The compiler as the client named it, or the end of that.
    pub compiler: Vec<u8>,
    /// The source as the client named it, or the end of that.
    pub file: Vec<u8>,
}

/// A connection that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// How.
    pub end: JobEnd,
    /// From the connection's start to its end, in ms.
    pub time: u32,
    /// How long the compiler ran, in ms.
    pub compile_time: u32,
    /// Bytes from the client.
    pub received: u64,
    /// Bytes to the client.
    pub sent: u64,
}

/// What the supervisor knows at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Compile slots.
    pub slots: usize,
    /// Those taken.
    pub in_use: usize,
    /// Jobs that wait for one.
    pub waiting: usize,
    /// Worker processes.
    pub workers: usize,
}

/// The counts since the daemon's start.
#[derive(Debug)]
pub struct Stats {
    accepted: u64,
    denied: u64,
    restarts: u64,
    ends: [u64; JobEnd::ALL.len()],
    /// In ms.
    compile_time: u64,
    received: u64,
    sent: u64,
    /// The successful job that took longest, and how long, in ms.
    longest: Option<(Job, u32)>,
    windows: Windows,
    /// Open connections of each worker.
    open: SortedMap<usize, u64>,
    jobs: SortedMap<JobId, Started>,
}

/// A job from its compiler's start to its connection's end.
#[derive(Debug)]
struct Started {
    job: Job,
    since: Instant,
    /// Its compiler has not ended yet.
    runs: bool,
}

impl Stats {
    /// Counts from `now` on.
    pub fn new(now: Instant) -> Stats {
        Stats {
            accepted: 0,
            denied: 0,
            restarts: 0,
            ends: [0; JobEnd::ALL.len()],
            compile_time: 0,
            received: 0,
            sent: 0,
            longest: None,
            windows: Windows::new(now),
            open: SortedMap::new(),
            jobs: SortedMap::new(),
        }
    }

    /// A worker has a new connection.
    pub fn accepted(&mut self, worker: usize) {
        self.accepted += 1;
        *self.open.get_or_insert_with(worker, || 0) += 1;
    }

    /// A client that is not served has tried to connect.
    pub fn denied(&mut self) {
        self.accepted += 1;
        self.denied += 1;
    }

    /// A compiler has been started.
    pub fn started(&mut self, id: JobId, job: Job, now: Instant) {
        self.jobs.insert(id, Started { job, since: now, runs: true });
    }

    /// A job has given back its slot: its compiler has ended, if it ever ran.
    pub fn compiled(&mut self, id: JobId) {
        if let Some(started) = self.jobs.get_mut(&id) {
            started.runs = false;
        }
    }

    /// A connection has ended.
    pub fn finished(&mut self, id: JobId, finished: Finished, now: Instant) {
        let open = self.open.get_or_insert_with(id.worker, || 0);
        *open = open.saturating_sub(1);
        self.ends[finished.end as usize] += 1;
        self.compile_time += u64::from(finished.compile_time);
        self.received = self.received.saturating_add(finished.received);
        self.sent = self.sent.saturating_add(finished.sent);
        self.windows.advance(now);
        if finished.end.is_compile() {
            self.windows.count();
        }
        let started = self.jobs.remove(&id);
        if finished.end != JobEnd::Ok {
            return;
        }
        self.windows.add_busy(now, Duration::from_millis(finished.time.into()));
        if let Some(started) = started {
            if self.longest.as_ref().is_none_or(|(_, most)| finished.time > *most) {
                self.longest = Some((started.job, finished.time));
            }
        }
    }

    /// A worker has died with all its connections.
    pub fn forget_worker(&mut self, worker: usize) {
        self.ends[JobEnd::Lost as usize] += self.open.remove(&worker).unwrap_or_default();
        self.jobs.retain(|id, _| id.worker != worker);
    }

    /// A worker has been started in place of one that died.
    pub fn restarted(&mut self) {
        self.restarts += 1;
    }

    fn count(&self, ends: &[JobEnd]) -> u64 {
        ends.iter().map(|end| self.ends[*end as usize]).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::machine::Reading;
    use crate::daemon::outcome::Refusal;
    use crate::sys::process::WaitStatus;

    const SECOND: Duration = Duration::from_secs(1);

    fn id(job: u32) -> JobId {
        JobId { worker: 0, job }
    }

    fn job(file: &[u8]) -> Job {
        Job { client: "10.0.0.1:5".parse().unwrap(), compiler: b"gcc".to_vec(), file: file.to_vec() }
    }

    fn finished(end: JobEnd, time: u32) -> Finished {
        Finished { end, time, compile_time: time / 2, received: 100, sent: 10 }
    }

    /// The value of a field of stock's page.
    fn field(stats: &mut Stats, now: Instant, name: &str) -> String {
        let page = stats.stock_page(now, &Gauges { slots: 7, ..Gauges::default() }, &Reading::default());
        let line =
            page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{name} is not in {page}"))
    }

    #[test]
    fn every_end_has_its_number() {
        for (number, end) in JobEnd::ALL.into_iter().enumerate() {
            assert_eq!(end as usize, number);
        }
        let refused = |code| Some(Outcome::Refused(Refusal::new(code, String::new())));
        for (outcome, end) in [
            (None, JobEnd::Nothing),
            (Some(Outcome::Compiled(WaitStatus::exited(0))), JobEnd::Ok),
            (Some(Outcome::Compiled(WaitStatus::exited(1))), JobEnd::Error),
            (Some(Outcome::Silent(SECOND)), JobEnd::ClientGone),
            (refused(ExitCode::AccessDenied), JobEnd::NotAllowed),
            (refused(ExitCode::Busy), JobEnd::Busy),
            (refused(ExitCode::OutOfMemory), JobEnd::Refused),
        ] {
            assert_eq!(JobEnd::of(outcome.as_ref()), end, "{outcome:?}");
        }
    }

    #[test]
    fn an_empty_page_is_that_of_stock() {
        let now = Instant::now();
        let mut stats = Stats::new(now);
        let machine = Reading {
            load: Some(["6.23", "0.50", "10.00"].map(str::to_owned)),
            running: Some(13),
            blocked: 1,
            largest: Some(("cc1plus".to_owned(), 123_368)),
            sectors_per_second: None,
            free_space: Some(78_522 << 20),
            free_memory: Some(2048),
        };
        let page = stats.stock_page(now, &Gauges { slots: 2, ..Gauges::default() }, &machine);
        assert_eq!(
            page,
            "argv /distccd\n<distccstats>\ndcc_tcp_accept 0\ndcc_rej_bad_req 0\ndcc_rej_overload 0\n\
             dcc_compile_ok 0\ndcc_compile_error 0\ndcc_compile_timeout 0\ndcc_cli_disconnect 0\ndcc_other 0\n\
             dcc_longest_job none\ndcc_longest_job_compiler none\ndcc_longest_job_time_msecs -1\n\
             dcc_max_kids 2\ndcc_avg_kids1 0\ndcc_avg_kids2 0\ndcc_avg_kids3 0\ndcc_current_load 13\n\
             dcc_load1 6.23\ndcc_load2 0.50\ndcc_load3 10.00\ndcc_num_compiles1 0\ndcc_num_compiles2 0\n\
             dcc_num_compiles3 0\ndcc_num_procstate_D 1\ndcc_max_RSS 123368\ndcc_max_RSS_name (cc1plus)\n\
             dcc_io_rate -1\ndcc_free_space 78522 MB\ndcc_free_mem 2 MB\n</distccstats>\n"
        );
    }

    #[test]
    fn ends_are_counted_where_stock_counts_them() {
        let now = Instant::now();
        let mut stats = Stats::new(now);
        for (number, end) in (1..).zip(JobEnd::ALL) {
            for job in 0..number {
                stats.accepted(0);
                stats.finished(id(job), finished(end, 10), now);
            }
        }
        stats.denied();
        for (name, value) in [
            ("dcc_tcp_accept", 92),
            ("dcc_compile_ok", 1),
            ("dcc_compile_error", 2),
            ("dcc_compile_timeout", 3),
            ("dcc_cli_disconnect", 4),
            ("dcc_rej_bad_req", 5),
            ("dcc_rej_overload", 9),
            ("dcc_other", 6 + 7 + 8 + 10 + 11 + 13),
            ("dcc_max_kids", 7),
            // Not before the slot is complete.
            ("dcc_num_compiles1", 0),
        ] {
            assert_eq!(field(&mut stats, now, name), value.to_string(), "{name}");
        }
        assert_eq!(field(&mut stats, now + 3 * SECOND, "dcc_num_compiles1"), "10");
        let metrics = stats.metrics(&Gauges { slots: 7, in_use: 2, waiting: 3, workers: 4 });
        for line in [
            "distccd_jobs_total{result=\"refused\"} 45",
            "distccd_refusals_total{reason=\"address\"} 1",
            "distccd_refusals_total{reason=\"busy\"} 9",
            "distccd_compile_seconds_total 0.455",
            "distccd_received_bytes_total 9100",
            "distccd_jobs_total{result=\"lost\"} 13",
            "distccd_connections_total 92",
            "distccd_connections 0",
            "distccd_slots_in_use 2",
            "distccd_jobs_waiting 3",
        ] {
            assert!(metrics.lines().any(|other| other == line), "{line} is not in {metrics}");
        }
    }

    #[test]
    fn the_longest_successful_job_is_named() {
        let now = Instant::now();
        let mut stats = Stats::new(now);
        for (number, end, time) in
            [(1, JobEnd::Ok, 20), (2, JobEnd::Ok, 50), (3, JobEnd::Ok, 30), (4, JobEnd::Error, 99)]
        {
            stats.accepted(0);
            stats.started(id(number), job(format!("{number}\n.c").as_bytes()), now);
            stats.finished(id(number), finished(end, time), now);
        }
        assert_eq!(field(&mut stats, now, "dcc_longest_job"), "2\\n.c");
        assert_eq!(field(&mut stats, now, "dcc_longest_job_compiler"), "gcc");
        assert_eq!(field(&mut stats, now, "dcc_longest_job_time_msecs"), "50");
    }

    #[test]
    fn windows_move() {
        let start = Instant::now();
        let mut stats = Stats::new(start);
        // One job of ten seconds each second, for twenty minutes: ten at once.
        for second in 0..20 * 60 {
            let now = start + second * SECOND;
            stats.accepted(0);
            stats.finished(id(second), finished(JobEnd::Ok, 10_000), now);
        }
        let end = start + 20 * 60 * SECOND;
        assert_eq!(
            ["dcc_num_compiles1", "dcc_num_compiles2", "dcc_num_compiles3"]
                .map(|name| field(&mut stats, end, name)),
            ["60", "300", "900"]
        );
        assert_eq!(
            ["dcc_avg_kids1", "dcc_avg_kids2", "dcc_avg_kids3"].map(|name| field(&mut stats, end, name)),
            ["10", "10", "10"]
        );
        let later = end + 3 * 60 * SECOND;
        assert_eq!(
            ["dcc_num_compiles1", "dcc_num_compiles2", "dcc_num_compiles3"]
                .map(|name| field(&mut stats, later, name)),
            ["0", "120", "720"]
        );
        assert_eq!(field(&mut stats, later, "dcc_avg_kids1"), "0");
        let much_later = end + 24 * 3600 * SECOND;
        assert_eq!(field(&mut stats, much_later, "dcc_num_compiles3"), "0");
        assert_eq!(field(&mut stats, much_later, "dcc_avg_kids3"), "0");
    }

    #[test]
    fn a_job_longer_than_every_window_is_no_problem() {
        let start = Instant::now();
        let mut stats = Stats::new(start);
        let now = start + 3600 * SECOND;
        stats.finished(id(1), finished(JobEnd::Ok, u32::MAX), now);
        assert_eq!(field(&mut stats, now, "dcc_avg_kids3"), "1");
    }

    #[test]
    fn running_jobs_are_listed() {
        let now = Instant::now();
        let mut stats = Stats::new(now);
        assert_eq!(stats.jobs(now), "[\n]\n");
        stats.started(id(1), job(b"b\"\\\n\xff\x7f.c"), now + SECOND);
        stats.started(id(2), job(b"a.c"), now);
        stats.started(JobId { worker: 1, job: 1 }, job(b"c.c"), now);
        stats.forget_worker(1);
        assert_eq!(
            stats.jobs(now + 2 * SECOND),
            "[\n{\"client\":\"10.0.0.1:5\",\"file\":\"a.c\",\"compiler\":\"gcc\",\"age_ms\":2000},\n\
             {\"client\":\"10.0.0.1:5\",\"file\":\"b\\\"\\\\\\u000a\u{fffd}\\u007f.c\",\"compiler\":\"gcc\",\"age_ms\":1000}\n]\n"
        );
        stats.compiled(id(1));
        stats.finished(id(2), finished(JobEnd::Ok, 1), now);
        assert_eq!(stats.jobs(now), "[\n]\n");
    }
}

//! The three texts about the counts: stock's page (reference `daemon.md` section 13), Prometheus's text format (version
//! 0.0.4) and a list of the running jobs in JSON.

use std::fmt::{Display, Write};
use std::net::SocketAddr;
use std::time::Instant;

use super::{Gauges, JobEnd, Started, Stats};
use crate::daemon::machine::Reading;

impl Stats {
    /// Stock's page. What stock's `dcc_max_kids` is, the most jobs at once, is here the number of slots.
    pub fn stock_page(&mut self, now: Instant, gauges: &Gauges, machine: &Reading) -> String {
        self.windows.advance(now);
        let other = [
            JobEnd::Truncated,
            JobEnd::NotAllowed,
            JobEnd::NoCompiler,
            JobEnd::IoError,
            JobEnd::Refused,
            JobEnd::Lost,
        ];
        let (longest, compiler, time) = match &self.longest {
            Some((job, time)) => (shown(&job.file), shown(&job.compiler), i64::from(*time)),
            None => ("none".to_owned(), "none".to_owned(), -1),
        };
        let number = |number: Option<u64>| number.map_or("-1".to_owned(), |number| number.to_string());
        let load = machine.load.clone().unwrap_or_else(|| ["-1.00"; 3].map(str::to_owned));
        let (name, resident) = machine.largest.clone().unwrap_or(("none".to_owned(), 0));
        let megabytes = |bytes: Option<u64>| format!("{} MB", number(bytes.map(|bytes| bytes >> 20)));
        let mut page = "argv /distccd\n<distccstats>\n".to_owned();
        let mut line = |name: &str, value: &dyn Display| {
            let _ = writeln!(page, "{name} {value}");
        };
        line("dcc_tcp_accept", &self.accepted);
        line("dcc_rej_bad_req", &self.count(&[JobEnd::BadRequest]));
        line("dcc_rej_overload", &self.count(&[JobEnd::Busy]));
        line("dcc_compile_ok", &self.count(&[JobEnd::Ok]));
        line("dcc_compile_error", &self.count(&[JobEnd::Error]));
        line("dcc_compile_timeout", &self.count(&[JobEnd::Timeout]));
        line("dcc_cli_disconnect", &self.count(&[JobEnd::ClientGone]));
        line("dcc_other", &self.count(&other));
        line("dcc_longest_job", &longest);
        line("dcc_longest_job_compiler", &compiler);
        line("dcc_longest_job_time_msecs", &time);
        line("dcc_max_kids", &gauges.slots);
        line("dcc_avg_kids1", &self.windows.average_busy(1));
        line("dcc_avg_kids2", &self.windows.average_busy(5));
        line("dcc_avg_kids3", &self.windows.average_busy(15));
        line("dcc_current_load", &number(machine.running));
        line("dcc_load1", &load[0]);
        line("dcc_load2", &load[1]);
        line("dcc_load3", &load[2]);
        line("dcc_num_compiles1", &self.windows.compiles(1));
        line("dcc_num_compiles2", &self.windows.compiles(5));
        line("dcc_num_compiles3", &self.windows.compiles(15));
        line("dcc_num_procstate_D", &machine.blocked);
        line("dcc_max_RSS", &resident);
        line("dcc_max_RSS_name", &format_args!("({})", shown(name.as_bytes())));
        line("dcc_io_rate", &number(machine.sectors_per_second));
        line("dcc_free_space", &megabytes(machine.free_space));
        line("dcc_free_mem", &megabytes(machine.free_memory.map(|kb| kb.saturating_mul(1024))));
        page + "</distccstats>\n"
    }

    /// The same for Prometheus, with what stock does not count.
    pub fn metrics(&self, gauges: &Gauges) -> String {
        let mut page = String::new();
        let mut family = |name: &str, kind: &str, help: &str, samples: &[(&str, String)]| {
            let _ = writeln!(page, "# HELP distccd_{name} {help}\n# TYPE distccd_{name} {kind}");
            for (labels, value) in samples {
                let _ = writeln!(page, "distccd_{name}{labels} {value}");
            }
        };
        let count = |ends: &[JobEnd]| self.count(ends).to_string();
        let refusals = [
            ("{reason=\"not_allowed\"}", JobEnd::NotAllowed),
            ("{reason=\"no_compiler\"}", JobEnd::NoCompiler),
            ("{reason=\"busy\"}", JobEnd::Busy),
            ("{reason=\"io_error\"}", JobEnd::IoError),
            ("{reason=\"other\"}", JobEnd::Refused),
        ];
        let refused = refusals.map(|(_, end)| end);
        let results = [
            ("{result=\"ok\"}", count(&[JobEnd::Ok])),
            ("{result=\"error\"}", count(&[JobEnd::Error])),
            ("{result=\"timeout\"}", count(&[JobEnd::Timeout])),
            ("{result=\"client_gone\"}", count(&[JobEnd::ClientGone])),
            ("{result=\"bad_request\"}", count(&[JobEnd::BadRequest])),
            ("{result=\"truncated\"}", count(&[JobEnd::Truncated])),
            ("{result=\"refused\"}", count(&refused)),
            ("{result=\"lost\"}", count(&[JobEnd::Lost])),
        ];
        let mut reasons = vec![("{reason=\"address\"}", self.denied.to_string())];
        reasons.extend(refusals.map(|(label, end)| (label, count(&[end]))));
        let seconds = format!("{}.{:03}", self.compile_time / 1000, self.compile_time % 1000);
        let open: u64 = self.open.values().sum();
        let one = |value: &dyn std::fmt::Display| [("", value.to_string())];
        family(
            "jobs_total",
            "counter",
            "Connections that have ended, by what became of their job.",
            &results,
        );
        family("refusals_total", "counter", "Refused jobs, and connections from denied addresses.", &reasons);
        family("compile_seconds_total", "counter", "Time that compilers have run.", &one(&seconds));
        family("received_bytes_total", "counter", "Bytes from clients.", &one(&self.received));
        family("sent_bytes_total", "counter", "Bytes to clients.", &one(&self.sent));
        family(
            "connections_total",
            "counter",
            "Accepted connections, denied ones included.",
            &one(&self.accepted),
        );
        family("connections", "gauge", "Open connections.", &one(&open));
        family("slots", "gauge", "Compilers that may run at once.", &one(&gauges.slots));
        family("slots_in_use", "gauge", "Compile slots that are taken.", &one(&gauges.in_use));
        family("jobs_waiting", "gauge", "Jobs that wait for a compile slot.", &one(&gauges.waiting));
        family("workers", "gauge", "Worker processes.", &one(&gauges.workers));
        family("worker_restarts_total", "counter", "Workers started because one died.", &one(&self.restarts));
        page
    }

    /// The jobs whose compilers run, the oldest first, as a JSON array of objects.
    pub fn jobs(&self, now: Instant) -> String {
        let mut running: Vec<&Started> = self.jobs.values().filter(|started| started.runs).collect();
        running.sort_unstable_by_key(|started| started.since);
        let mut page = "[".to_owned();
        for (at, Started { job, since, .. }) in running.into_iter().enumerate() {
            let client = SocketAddr::new(job.client.ip().to_canonical(), job.client.port());
            let _ = write!(
                page,
                "{}\n{{\"client\":{},\"file\":{},\"compiler\":{},\"age_ms\":{}}}",
                if at == 0 { "" } else { "," },
                json_string(client.to_string().as_bytes()),
                json_string(&job.file),
                json_string(&job.compiler),
                now.saturating_duration_since(*since).as_millis()
            );
        }
        page + "\n]\n"
    }
}

/// A name on a line of its own.
fn shown(name: &[u8]) -> String {
    name.escape_ascii().to_string()
}

/// RFC 8259 section 7. Bytes that are not UTF-8 become U+FFFD.
fn json_string(bytes: &[u8]) -> String {
    let mut out = "\"".to_owned();
    for char in String::from_utf8_lossy(bytes).chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            _ if char.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(char));
            }
            _ => out.push(char),
        }
    }
    out + "\""
}

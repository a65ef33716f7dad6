//! `distccmon-text`: what this user's jobs are doing.

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use crate::console;
use crate::decimal;
use crate::exitcode::ExitCode;
use crate::program::{self, Ending};
use crate::state::{self, Phase, Record};
use crate::sys::signal;
use crate::topdir::TopDir;

mod tally;
mod watch;

const USAGE: &str = "\
usage: distccmon-text [-w] [DELAY]

Shows the running distcc jobs of this user, once, or again every DELAY seconds.
Jobs are found in $DISTCC_DIR/state or ~/.distcc/state.

  -w    draw over the last picture, with a line per host: slots in use, jobs
        done, jobs that failed there and went on elsewhere; DELAY is 1 if not
        given
";

/// What the arguments ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Help,
    /// One report, or more if the delay is not zero.
    Report(Duration),
    Watch(Duration),
}

/// The personality `distccmon-text`.
pub fn main(args: &[OsString]) -> Ending {
    let Some(request) = parse(args) else {
        console::err(format_args!("{USAGE}"));
        return Ending::Code(1);
    };
    crate::logging::start("distccmon-text", log::LevelFilter::Warn);
    let shown = match request {
        Request::Help => return program::answer("distccmon-text", format_args!("{USAGE}")),
        Request::Report(delay) => report(delay).map(|()| None),
        Request::Watch(delay) => TopDir::find().and_then(|top| watch::run(&top, delay)),
    };
    match shown {
        Ok(None) => Ending::Code(0),
        Ok(Some(signal)) => Ending::Signal(signal),
        // Its reader has seen enough.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ending::Code(0),
        Err(e) => {
            log::error!("cannot show the jobs' states: {e}");
            ExitCode::IoError.into()
        }
    }
}

fn parse(args: &[OsString]) -> Option<Request> {
    let words: Option<Vec<&str>> = args.iter().map(|word| word.to_str()).collect();
    match words?.as_slice() {
        ["--help"] => Some(Request::Help),
        [] => Some(Request::Report(Duration::ZERO)),
        ["-w"] => Some(Request::Watch(Duration::from_secs(1))),
        ["-w", delay] => parse_delay(delay).map(|delay| Request::Watch(delay.max(SHORTEST_DELAY))),
        [delay] => parse_delay(delay).map(Request::Report),
        _ => None,
    }
}

/// More pictures than this per second only cost time.
const SHORTEST_DELAY: Duration = Duration::from_millis(50);

/// Seconds, with decimals if need be; negative ones and no numbers are refused.
fn parse_delay(word: &str) -> Option<Duration> {
    decimal::parse(word, 9).map(Duration::from_nanos)
}

fn report(delay: Duration) -> io::Result<()> {
    let directory = TopDir::find()?.state_dir()?;
    loop {
        let jobs = state::read_all(&directory, |reason| log::warn!("{reason}"))?;
        let lines: String = jobs.iter().filter(|job| job.phase != Phase::Done).map(line).collect();
        console::out(format_args!("{lines}\n"))?;
        if delay.is_zero() {
            return Ok(());
        }
        signal::nap(delay);
    }
}

/// Stock's format `%6ld  %-10.10s  %-30.30s %24.24s[%d]` (`client.md` section 5.5).
fn line(job: &Record) -> String {
    let Record { pid, file, host, slot, phase } = job;
    format!("{pid:6}  {:<10}  {file:<30.30} {host:>24.24}[{slot}]\n", phase.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_that_of_stock() {
        let job = Record {
            pid: 27056,
            file: "hello.c".into(),
            host: "127.0.0.1".into(),
            slot: 0,
            phase: Phase::Compile,
        };
        let expected = " 27056  Compile     hello.c                                       127.0.0.1[0]\n";
        assert_eq!(line(&job), expected);
    }

    #[test]
    fn delays_are_seconds() {
        assert_eq!(parse_delay("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(parse_delay("0"), Some(Duration::ZERO));
        assert_eq!(parse_delay("2x"), None);
        assert_eq!(parse_delay("-1"), None);
    }

    #[test]
    fn arguments_are_a_watch_or_a_report() {
        let parse = |words: &[&str]| parse(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(parse(&[]), Some(Request::Report(Duration::ZERO)));
        assert_eq!(parse(&["2"]), Some(Request::Report(Duration::from_secs(2))));
        assert_eq!(parse(&["-w"]), Some(Request::Watch(Duration::from_secs(1))));
        assert_eq!(parse(&["-w", "0"]), Some(Request::Watch(SHORTEST_DELAY)));
        assert_eq!(parse(&["--help"]), Some(Request::Help));
        assert_eq!((parse(&["2", "3"]), parse(&["-x"]), parse(&["-w", "x"])), (None, None, None));
    }
}

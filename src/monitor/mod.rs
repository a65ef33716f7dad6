//! `distccmon-text`: what this user's jobs are doing.

use std::ffi::OsString;

use std::time::Duration;

use crate::console;
use crate::exitcode::ExitCode;
use crate::program::Ending;
use crate::state::{self, Phase, Record};
use crate::sys::signal;
use crate::topdir::TopDir;

const USAGE: &str = "\
usage: distccmon-text [DELAY]

Shows the running distcc jobs of this user, once, or again every DELAY seconds.
Jobs are found in $DISTCC_DIR/state or ~/.distcc/state.
";

/// The personality `distccmon-text`.
pub fn main(args: &[OsString]) -> Ending {
    let delay = match args {
        [] => Duration::ZERO,
        [word] if word == "--help" => {
            console::out(format_args!("{USAGE}"));
            return Ending::Code(0);
        }
        [word] => match word.to_str().and_then(parse_delay) {
            Some(delay) => delay,
            None => return usage_error(),
        },
        _ => return usage_error(),
    };
    crate::logging::start("distccmon-text", log::LevelFilter::Warn);
    match show(delay) {
        Ok(()) => Ending::Code(0),
        Err(e) => {
            log::error!("cannot read the jobs' states: {e}");
            ExitCode::IoError.into()
        }
    }
}

fn usage_error() -> Ending {
    console::err(format_args!("{USAGE}"));
    Ending::Code(1)
}

/// Seconds with a fraction, as strtod reads them; negative ones and no numbers are refused.
fn parse_delay(word: &str) -> Option<Duration> {
    word.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

fn show(delay: Duration) -> std::io::Result<()> {
    let directory = TopDir::find()?.state_dir()?;
    loop {
        let jobs = state::read_all(&directory, |reason| log::warn!("{reason}"))?;
        let lines: String = jobs.iter().filter(|job| job.phase != Phase::Done).map(line).collect();
        let reader_has_gone = console::try_out(format_args!("{lines}\n")).is_err();
        if delay.is_zero() || reader_has_gone {
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
}

//! The command line of `include_server`, as stock's programs and scripts use it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use pico_args::Arguments;

use crate::args::printable;

/// The text of `--help`.
pub const USAGE: &str = "\
Usage: include_server --port SOCKET [OPTIONS]

Tells distcc clients which files a compile reads (pump mode), so that servers preprocess. The programs
pump and distcc start it by themselves.

  --port SOCKET           the socket to listen at (INCLUDE_SERVER_PORT of the clients)
  --pid_file FILE         write the number of the server's process there
  -dN, --debug_pattern N  messages: 1 warnings, more for all [1]
  -t, --time              say at the end what was done
  -s, --statistics        the same
  --idle-timeout SECONDS  end after this time without a question [0: never]
  --lock FILE             only one server holds this file; another one ends
  --until-eof             end when standard input does
  --no-detach             stay in the foreground
  --help, --version

Understood and not needed, since every answer is checked against the files as they are: -e, --email,
--no-email, --email_bound N, --path_observation_re RE, --stat_reset_triggers LIST, -x, --exact_analysis,
-v, --verify, --no_force_dirs, --unsafe_absolute_includes, --unsafe_no_unexpanded_functions.
";

/// What the server is to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// The socket.
    pub port: PathBuf,
    /// Where its process's number goes.
    pub pid_file: Option<PathBuf>,
    /// The bits of `-d`.
    pub debug: u32,
    /// Say at the end what was done.
    pub statistics: bool,
    /// End after this time without a question.
    pub idle_timeout: Option<Duration>,
    /// Held by the one server of this place.
    pub lock: Option<PathBuf>,
    /// End with standard input.
    pub until_eof: bool,
    /// Leave the caller's session.
    pub detach: bool,
}

/// Options with a value that change nothing here.
const WITH_VALUE: [&str; 3] = ["--email_bound", "--path_observation_re", "--stat_reset_triggers"];
/// Options that change nothing here.
const WITHOUT_VALUE: [&str; 6] = [
    "--no-email",
    "--no_email",
    "--no_force_dirs",
    "--unsafe_absolute_includes",
    "--simple_algorithm",
    "--unsafe_no_unexpanded_functions",
];
/// The same with a short form.
const PAIRS: [[&str; 2]; 3] = [["-e", "--email"], ["-x", "--exact_analysis"], ["-v", "--verify"]];

/// Understands `args`.
///
/// # Errors
/// A sentence.
pub fn parse(args: &[OsString]) -> Result<Options, String> {
    let mut words = Arguments::from_vec(args.iter().flat_map(|word| apart(word)).collect());
    for option in WITH_VALUE {
        while words.opt_value_from_os_str(option, any).map_err(said)?.is_some() {}
    }
    for option in WITHOUT_VALUE {
        while words.contains(option) {}
    }
    for pair in PAIRS {
        while words.contains(pair) {}
    }
    if words.contains(["-w", "--write_include_closure"]) {
        return Err("--write_include_closure is not supported: use distcc --scan-includes".to_owned());
    }
    let options = Options {
        port: words.opt_value_from_os_str("--port", any).map_err(said)?.unwrap_or_default().into(),
        pid_file: words.opt_value_from_os_str("--pid_file", any).map_err(said)?.map(PathBuf::from),
        debug: words
            .opt_value_from_str(["-d", "--debug_pattern"])
            .map_err(|e| format!("-d: {e}"))?
            .unwrap_or(1),
        statistics: words.contains(["-s", "--statistics"]) | words.contains(["-t", "--time"]),
        idle_timeout: words
            .opt_value_from_str("--idle-timeout")
            .map_err(said)?
            .filter(|seconds| *seconds > 0)
            .map(Duration::from_secs),
        lock: words.opt_value_from_os_str("--lock", any).map_err(said)?.map(PathBuf::from),
        until_eof: words.contains("--until-eof"),
        detach: !words.contains("--no-detach"),
    };
    if let Some(word) = words.finish().first() {
        return Err(format!("{} is no option", printable(word)));
    }
    match options.port.as_os_str().is_empty() {
        true => Err("--port is missing".to_owned()),
        false => Ok(options),
    }
}

/// `--option=value` as two words.
fn apart(word: &OsStr) -> Vec<OsString> {
    let bytes = word.as_bytes();
    match bytes.iter().position(|byte| *byte == b'=').filter(|_| bytes.starts_with(b"--")) {
        Some(at) => [&bytes[..at], &bytes[at + 1..]].map(|part| OsStr::from_bytes(part).to_owned()).to_vec(),
        None => vec![word.to_owned()],
    }
}

fn any(value: &OsStr) -> Result<OsString, std::convert::Infallible> {
    Ok(value.to_owned())
}

fn said(e: pico_args::Error) -> String {
    e.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, String> {
        parse(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn what_pump_says_is_understood() {
        let options =
            parsed("--port /d/socket --pid_file /p -d1 --email --stat_reset_triggers=a:b -e").unwrap();
        assert_eq!((options.port, options.pid_file), ("/d/socket".into(), Some("/p".into())));
        assert_eq!((options.debug, options.detach, options.idle_timeout), (1, true, None));
        let options = parsed("--port=x --idle-timeout 5 --until-eof -d19 -t").unwrap();
        assert_eq!(options.idle_timeout, Some(Duration::from_secs(5)));
        assert!(options.until_eof && options.statistics && options.debug == 19);
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for (line, name) in [
            ("--port x --frobnicate", "--frobnicate"),
            ("--port x more", "more"),
            ("-d1", "--port"),
            ("--port x -w", "--write_include_closure"),
            ("--port x -dx", "-d"),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.contains(name), "{line}: {error}");
        }
    }
}

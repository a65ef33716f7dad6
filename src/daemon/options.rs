//! The daemon's command line, and the settings it comes to.

use std::convert::Infallible;
use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use log::LevelFilter;
use pico_args::Arguments;

use crate::args::printable;
use crate::daemon::access::Access;
use crate::daemon::limits::Connections;
use crate::daemon::processors::processors;
use crate::daemon::toolchain::Toolchain;
use crate::hosts::DEFAULT_PORT;

/// The text of `--help`.
pub const HELP: &str = "\
Usage: distccd --daemon [OPTIONS]

Modes:
  --daemon                 serve until told to end; --no-detach: in the foreground
  --no-fork                ... in a single process, one job at a time
  --inetd                  serve one job on standard input and output, for inetd and ssh
  --lifetime SECONDS       end after that time
Jobs:
  -j, --jobs N             compilers at once (default: processors + 2)
  -N, --nice N             be so much nicer (default 5)
  --job-lifetime SECONDS   stop compilers that run longer (default: never)
  --job-memory MB          what a compiler may take of memory (default: everything)
  --min-free-mem PERCENT   with less memory available one job runs at a time (default 5; 0: never)
  --masquerade-dir DIR     allow the compilers named in DIR, besides /usr/lib/distcc
  --allow-compiler GLOB    allow compilers whose names match, such as 'gcc-*'
  --toolchain PREFIX=DIR   gcc is DIR/PREFIXgcc: for clients of another kind of machine
  --list-compilers         show what would be served, and by which rule
  --enable-tcp-insecure    allow any program in PATH as a compiler
  --sysroot DIR            allow -specs=FILE where DIR has that file
Network:
  -p, --port N             default 3632; 0 takes a free one and logs it
  --listen ADDRESS         default: all addresses
  -a, --allow ADDR[/BITS]  serve these clients; several are possible
  --max-connections N      in all (default 4000); --max-connections-per-client N (default 2000)
  --stats                  statistics over HTTP for the same clients; --stats-port N (default 3633)
  --zeroconf               announce this server; --zeroconf-interface NAME: only there
  --allow-private          serve private networks and this machine (the default without --allow)
Process:
  --user NAME              become NAME when started as root (default distccd, distcc or nobody)
  -P, --pid-file FILE      also keeps a second daemon with the same file from starting
  --oom-score-adj N        which processes go first when memory runs short (-1000 to 1000)
Log:
  --log-file FILE, --log-stderr; default: the system log
  --log-level LEVEL        error, warning, notice (default), info, debug
  --verbose                the same as --log-level debug
  --help, --version
";

/// Where the log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTo {
    /// Standard error.
    Stderr,
    /// The system log.
    Syslog,
    /// This file.
    File(PathBuf),
}

/// What kind of server to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Listen and serve many; leave the terminal or not.
    Daemon {
        /// Leave it.
        detach: bool,
    },
    /// Serve one job on standard input and output.
    Inetd,
}

/// The daemon's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What kind of server to be.
    pub mode: Mode,
    /// The command line names the mode; otherwise standard input tells.
    pub mode_is_given: bool,
    /// Compilers at once.
    pub jobs: usize,
    /// Niceness to add.
    pub nice: i32,
    /// Serve from a single process, one job at a time.
    pub no_fork: bool,
    /// End after this time.
    pub lifetime: Option<Duration>,
    /// The longest a compiler may run.
    pub job_lifetime: Option<Duration>,
    /// Address space of a compiler, in bytes.
    pub job_memory: Option<u64>,
    /// With less of the memory available, in percent, only one job runs at a time; 0 for no such limit.
    pub min_free_memory: u8,
    /// Where the files are that `-specs=` may name.
    pub sysroot: Option<PathBuf>,
    /// Directories that name allowed compilers, besides the default ones.
    pub masquerade_dirs: Vec<PathBuf>,
    /// Patterns of compiler names that are allowed besides.
    pub allow_compilers: Vec<String>,
    /// Cross toolchains that plain names stand for.
    pub toolchains: Vec<Toolchain>,
    /// Any compiler name is allowed.
    pub any_compiler: bool,
    /// The port; 0 for any.
    pub port: u16,
    /// The port for statistics, 0 for any; `None` for no statistics.
    pub stats_port: Option<u16>,
    /// The address to listen on; `None` for all.
    pub listen: Option<String>,
    /// Announce the server in the network.
    pub zeroconf: bool,
    /// Names of the interfaces to announce it on; all if none is named.
    pub zeroconf_interfaces: Vec<String>,
    /// Who is served.
    pub access: Access,
    /// Nobody was named with `--allow`.
    pub default_access: bool,
    /// How many clients may be connected.
    pub connections: Connections,
    /// Added to the kernel's reasons to end the daemon's workers and compilers when memory runs short.
    pub oom_score_adj: Option<i32>,
    /// Whom to become when started as root.
    pub user: Option<String>,
    /// Where to write the pid.
    pub pid_file: Option<PathBuf>,
    /// Where the log goes.
    pub log_to: LogTo,
    /// What is logged.
    pub log_level: LevelFilter,
    /// Whether records of the level between info and warning are logged.
    pub log_notice: bool,
    /// A `--log-level` that is none: worth a warning, as in stock, and no reason not to serve.
    pub unknown_level: Option<String>,
}

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Serve.
    Serve(Box<Options>),
    /// Print which compilers would be served.
    ListCompilers(Box<Options>),
    /// Print the help text.
    Help,
    /// Print the version.
    Version,
}

/// Options of stock for authentication with GSSAPI, which this daemon does not have. Who asks for it must not get
/// a daemon that serves without, so they are errors, as in a stock daemon that is built without it.
const GSSAPI: [&str; 4] = ["--auth", "--show-principal", "--blacklist", "--whitelist"];

/// The port for statistics, where none is named.
const DEFAULT_STATS_PORT: u16 = 3633;

/// The range of `--jobs`.
const MAX_JOBS: usize = 10_000;

/// The most for `--job-memory`: more than any machine has, and far from overflow in bytes.
const MAX_MEGABYTES: i64 = 1 << 30;

/// Reads the command line.
///
/// # Errors
/// `WORD: reason`, for stock's message `distccd: ERROR: WORD: reason`.
pub fn parse(args: &[OsString]) -> Result<Request, String> {
    // What stands behind "--" is no option, and so ignored.
    let options = args.split(|word| word == "--").next().unwrap_or_default();
    let mut args = Arguments::from_vec(options.to_vec());
    if args.contains("--help") {
        return Ok(Request::Help);
    }
    if args.contains("--version") {
        return Ok(Request::Version);
    }
    let is_gssapi = |word: &&OsString| {
        GSSAPI
            .iter()
            .any(|name| word.as_encoded_bytes().split(|b| *b == b'=').next() == Some(name.as_bytes()))
    };
    if let Some(word) = options.iter().find(is_gssapi) {
        return Err(format!(
            "{}: there is no authentication with GSSAPI here; limit who is served with --allow and a firewall, or let clients come through ssh",
            printable(word)
        ));
    }
    // --no-fifo has had no effect for twenty years, but stands in scripts.
    args.contains("--no-fifo");
    let list_compilers = args.contains("--list-compilers");
    let wizard = args.contains(["-W", "--wizard"]);
    let no_fork = args.contains("--no-fork") || wizard;
    let (inetd, daemon) = (args.contains("--inetd"), args.contains("--daemon"));
    let mode = match (inetd, args.contains("--no-detach") || wizard) {
        (true, _) => Mode::Inetd,
        (false, stay) => Mode::Daemon { detach: !stay },
    };

    let jobs = match number(&mut args, ["-j", "--jobs"])? {
        None => processors() + 2,
        Some(jobs @ 1..) if jobs as usize <= MAX_JOBS => jobs as usize,
        Some(_) => return Err(format!("--jobs: must be from 1 to {MAX_JOBS}")),
    };
    let port = port(&mut args, ["-p", "--port"])?.unwrap_or(DEFAULT_PORT);
    let stats_port = port_of_stats(&mut args)?;
    let nice = number(&mut args, ["-N", "--nice"])?.unwrap_or(5).clamp(-20, 19) as i32;
    let lifetime = seconds(&mut args, "--lifetime")?;
    let job_lifetime = seconds(&mut args, "--job-lifetime")?;
    let job_memory = match number(&mut args, ["--job-memory", "--job-memory"])? {
        None => None,
        Some(megabytes) if (1..=MAX_MEGABYTES).contains(&megabytes) => Some((megabytes as u64) << 20),
        Some(_) => return Err(format!("--job-memory: must be from 1 to {MAX_MEGABYTES} (MB)")),
    };
    let min_free_memory = match number(&mut args, ["--min-free-mem", "--min-free-mem"])?.unwrap_or(5) {
        percent @ 0..=100 => percent as u8,
        _ => return Err("--min-free-mem: must be from 0 to 100 (percent)".to_owned()),
    };

    let allow: Vec<String> = all(&mut args, ["-a", "--allow"])?;
    let mut access = Access::parse(allow.iter().map(String::as_str))?;
    let default_access = allow.is_empty();
    if args.contains("--allow-private") || default_access {
        access.extend(Access::private());
    }

    let count = |args: &mut Arguments, name, default| match number(args, [name, name])? {
        None => Ok(default),
        Some(count @ 1..) => usize::try_from(count).map_err(|_| format!("{name}: too many")),
        Some(_) => Err(format!("{name}: must be at least 1")),
    };
    let connections = Connections {
        all: count(&mut args, "--max-connections", 4000)?,
        per_address: count(&mut args, "--max-connections-per-client", 2000)?,
    };

    let log_stderr = args.contains("--log-stderr") || wizard;
    let log_file: Option<PathBuf> = last(&mut args, "--log-file")?;
    let level: Option<String> = last(&mut args, "--log-level")?;
    let verbose = args.contains("--verbose") || wizard;
    let unknown_level = level.clone().filter(|name| log_level(name).is_none());
    let (log_level, log_notice) = match verbose {
        true => (LevelFilter::Debug, true),
        false => level.as_deref().and_then(log_level).unwrap_or((LevelFilter::Warn, true)),
    };

    let zeroconf = args.contains("--zeroconf");
    if zeroconf && !cfg!(feature = "zeroconf") {
        return Err("--zeroconf: this distccd is built without it".to_owned());
    }

    let options = Options {
        mode,
        mode_is_given: inetd || daemon || wizard,
        jobs,
        nice,
        no_fork,
        lifetime,
        job_lifetime,
        job_memory,
        min_free_memory,
        sysroot: last(&mut args, "--sysroot")?,
        masquerade_dirs: all(&mut args, ["--masquerade-dir", "--masquerade-dir"])?,
        allow_compilers: all(&mut args, ["--allow-compiler", "--allow-compiler"])?,
        toolchains: all::<String>(&mut args, ["--toolchain", "--toolchain"])?
            .iter()
            .map(|text| text.parse())
            .collect::<Result<_, _>>()?,
        any_compiler: args.contains("--enable-tcp-insecure") | args.contains("--make-me-a-botnet"),
        port,
        stats_port,
        listen: last(&mut args, "--listen")?,
        zeroconf,
        zeroconf_interfaces: all(&mut args, ["--zeroconf-interface", "--zeroconf-interface"])?,
        access,
        default_access,
        connections,
        oom_score_adj: number(&mut args, ["--oom-score-adj", "--oom-score-adj"])?
            .map(|adj| adj.clamp(-1000, 1000) as i32),
        user: last(&mut args, "--user")?,
        pid_file: last_of(&mut args, ["-P", "--pid-file"])?,
        log_to: match (log_stderr, log_file) {
            (true, _) => LogTo::Stderr,
            (false, Some(file)) => LogTo::File(file),
            (false, None) => LogTo::Syslog,
        },
        log_level,
        log_notice,
        unknown_level,
    };
    // Words that are no options are ignored, as in stock.
    match args.finish().iter().find(|word| word.as_encoded_bytes().starts_with(b"-")) {
        Some(word) => Err(format!("{}: unknown option", printable(word))),
        None if list_compilers => Ok(Request::ListCompilers(Box::new(options))),
        None => Ok(Request::Serve(Box::new(options))),
    }
}

/// The level, and whether "notice" is shown, from the names of syslog.
fn log_level(name: &str) -> Option<(LevelFilter, bool)> {
    Some(match name {
        "emerg" | "emergency" | "alert" | "crit" | "critical" | "err" | "error" => {
            (LevelFilter::Error, false)
        }
        "warn" | "warning" => (LevelFilter::Warn, false),
        "note" | "notice" => (LevelFilter::Warn, true),
        "info" => (LevelFilter::Info, true),
        "debug" => (LevelFilter::Debug, true),
        _ => return None,
    })
}

/// As in stock, the port alone turns nothing on.
fn port_of_stats(args: &mut Arguments) -> Result<Option<u16>, String> {
    let port = port(args, ["--stats-port", "--stats-port"])?.unwrap_or(DEFAULT_STATS_PORT);
    Ok(args.contains("--stats").then_some(port))
}

fn port(args: &mut Arguments, names: [&'static str; 2]) -> Result<Option<u16>, String> {
    let Some(port) = number(args, names)? else { return Ok(None) };
    u16::try_from(port)
        .map(Some)
        .map_err(|_| format!("{}: must be from 1 to 65535, or 0 for a free one", names[1]))
}

/// A time, where 0 and less mean none, as in stock.
fn seconds(args: &mut Arguments, name: &'static str) -> Result<Option<Duration>, String> {
    let seconds = number(args, [name, name])?.and_then(|seconds| u32::try_from(seconds).ok());
    Ok(seconds.filter(|seconds| *seconds > 0).map(|seconds| Duration::from_secs(seconds.into())))
}

fn number(args: &mut Arguments, names: [&'static str; 2]) -> Result<Option<i64>, String> {
    let Some(text) = last_of::<String>(args, names)? else { return Ok(None) };
    text.parse().map(Some).map_err(|_| format!("{}: invalid numeric value \"{text}\"", names[1]))
}

/// The last value of an option that can be repeated, as an init script may put a user's after its own.
fn last<T: FromStr<Err = Infallible>>(args: &mut Arguments, name: &'static str) -> Result<Option<T>, String> {
    last_of(args, [name, name])
}

fn last_of<T: FromStr<Err = Infallible>>(
    args: &mut Arguments,
    names: [&'static str; 2],
) -> Result<Option<T>, String> {
    Ok(all(args, names)?.pop())
}

/// All values of an option with these names, which may be the same one twice.
fn all<T: FromStr<Err = Infallible>>(
    args: &mut Arguments,
    names: [&'static str; 2],
) -> Result<Vec<T>, String> {
    let values =
        if names[0] == names[1] { args.values_from_str(names[0]) } else { args.values_from_str(names) };
    values.map_err(|e| match e {
        pico_args::Error::OptionWithoutAValue(name) => format!("{name}: missing argument"),
        other => format!("{}: {other}", names[1]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(words: &str) -> Result<Request, String> {
        parse(&words.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    fn options(words: &str) -> Options {
        match parse_words(words) {
            Ok(Request::Serve(options)) => *options,
            other => panic!("{words}: {other:?}"),
        }
    }

    #[test]
    fn all_ways_to_give_a_value() {
        for words in ["-p4000", "-p 4000", "--port 4000", "--port=4000", "-p1 -p4000"] {
            assert_eq!(options(words).port, 4000, "{words}");
        }
        let all = options(
            "--daemon -j 3 -N0 -a 10.0.0.0/8 --allow=::1 -P /run/x.pid --log-file /var/log/x --masquerade-dir /m",
        );
        assert_eq!(all.mode, Mode::Daemon { detach: true });
        assert!(!all.default_access);
        assert_eq!((all.jobs, all.nice), (3, 0));
        assert_eq!(all.access.to_string(), "10.0.0.0/8 ::1/128");
        assert_eq!(all.pid_file, Some("/run/x.pid".into()));
        assert_eq!(all.log_to, LogTo::File("/var/log/x".into()));
        assert_eq!(all.masquerade_dirs, [PathBuf::from("/m")]);
    }

    #[test]
    fn defaults_are_safe() {
        let options = options("--daemon --no-detach");
        assert_eq!(options.mode, Mode::Daemon { detach: false });
        assert!(options.default_access && !options.any_compiler);
        assert_eq!(
            super::parse(&["--inetd".into(), "--enable-tcp-insecure".into()])
                .map(|it| matches!(it, Request::Serve(it) if it.mode == Mode::Inetd && it.any_compiler)),
            Ok(true)
        );
        assert_eq!(options.access, Access::private());
        assert_eq!((options.port, options.nice, options.log_to), (3632, 5, LogTo::Syslog));
        assert_eq!((options.log_level, options.log_notice), (LevelFilter::Warn, true));
        assert_eq!(options.stats_port, None);
    }

    #[test]
    fn statistics_are_asked_for() {
        assert_eq!(options("--stats").stats_port, Some(3633));
        assert_eq!(options("--stats-port 4000 --stats").stats_port, Some(4000));
        assert_eq!(options("--stats --stats-port=0").stats_port, Some(0));
        assert_eq!(options("--stats-port 4000").stats_port, None);
        assert!(HELP.lines().count() <= 40);
    }

    #[test]
    fn the_wizard_wants_to_see_everything() {
        let options = options("--wizard");
        assert_eq!(options.mode, Mode::Daemon { detach: false });
        assert!(options.no_fork);
        assert_eq!((options.log_to, options.log_level), (LogTo::Stderr, LevelFilter::Debug));
    }

    #[test]
    fn memory_and_time_have_units() {
        let all = options("--job-memory 512 --min-free-mem 10 --lifetime 7 --job-lifetime -1 --sysroot=/s");
        assert_eq!((all.job_memory, all.min_free_memory), (Some(512 << 20), 10));
        assert_eq!((all.lifetime, all.job_lifetime), (Some(Duration::from_secs(7)), None));
        assert_eq!(all.sysroot, Some("/s".into()));
        let all = options("--daemon");
        assert_eq!((all.job_memory, all.min_free_memory, all.lifetime, all.no_fork), (None, 5, None, false));
    }

    #[test]
    fn an_unknown_level_is_only_worth_a_warning() {
        let all = options("--log-level loud");
        assert_eq!(all.unknown_level.as_deref(), Some("loud"));
        assert_eq!((all.log_level, all.log_notice), (LevelFilter::Warn, true));
        assert_eq!(options("--log-level alert").unknown_level, None);
    }

    #[test]
    fn behind_two_dashes_nothing_is_an_option() {
        assert_eq!(options("--daemon -- --help --bogus").mode, Mode::Daemon { detach: true });
    }

    #[test]
    fn errors_name_the_word() {
        for (words, part) in [
            ("--bogus", "--bogus: unknown option"),
            ("--port", "missing argument"),
            ("--port x", "invalid numeric value"),
            ("--port 65536", "--port"),
            ("--stats-port 65536", "--stats-port"),
            ("--jobs 0", "--jobs"),
            ("--allow 10.0.0.0/40", "10.0.0.0/40"),
            ("--min-free-mem 101", "--min-free-mem"),
            ("--job-memory 0", "--job-memory"),
            ("--auth", "GSSAPI"),
            ("--whitelist=x", "GSSAPI"),
        ] {
            let error = parse_words(words).unwrap_err();
            assert!(error.contains(part), "{words}: {error}");
        }
    }
}

//! One program, many names: the base name of `argv[0]` says who we are.
//!
//! Every name of the table is a personality; the binary's own name takes a personality's name as its first
//! word, too (`distcc distccd --daemon`). A name with `distcc` in it is the client; any other name is a
//! compiler that we masquerade as.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode as ProcessExit;

use crate::exitcode::ExitCode;
use crate::hosts::DEFAULT_PORT;
use crate::sys::signal::Signal;
use crate::{client, daemon, monitor};

/// How the process is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With this exit code.
    Code(u8),
    /// As if this signal had not been handled.
    Signal(Signal),
}

impl From<ExitCode> for Ending {
    fn from(code: ExitCode) -> Ending {
        Ending::Code(code as u8)
    }
}

/// A personality: its arguments in, its end out.
type Main = fn(&[OsString]) -> Ending;

const PERSONALITIES: &[(&str, Main)] = &[
    ("distcc", client::main),
    ("distcc-pump", |_| client::not_built_yet("pump")),
    ("distccd", daemon::main),
    ("distccmon-text", monitor::main),
    ("include_server", |_| client::not_built_yet("include_server")),
    ("lsdistcc", |_| client::not_built_yet("lsdistcc")),
    ("pump", |_| client::not_built_yet("pump")),
    ("update-distcc-symlinks", |_| client::not_built_yet("update-distcc-symlinks")),
];

/// Runs the personality that `argv` asks for.
pub fn run(argv: &[OsString]) -> Ending {
    let argv0 = argv.first().map_or(OsStr::new("distcc"), OsString::as_os_str);
    let args = argv.get(1..).unwrap_or_default();
    let name = argv0.as_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    if name == b"distcc" {
        // `distcc` itself is not in question here: "distcc distcc" is a recursion.
        let second = args.first().filter(|word| *word != "distcc").and_then(|word| find(word.as_bytes()));
        return match second {
            Some(main) => main(&args[1..]),
            None => client::main(args),
        };
    }
    match find(name) {
        Some(main) => main(args),
        None if contains(name, b"distcc") => client::main(args),
        None => client::masquerade(argv0, args),
    }
}

fn find(name: &[u8]) -> Option<Main> {
    PERSONALITIES.iter().find(|(own, _)| own.as_bytes() == name).map(|(_, main)| *main)
}

fn contains(name: &[u8], part: &[u8]) -> bool {
    name.windows(part.len()).any(|window| window == part)
}

/// Ends the process.
pub fn end(ending: Ending) -> ProcessExit {
    match ending {
        Ending::Code(code) => ProcessExit::from(code),
        Ending::Signal(signal) => crate::sys::signal::die_of(signal),
    }
}

/// The text of `--version`; scripts look at its first line and the protocols in its second.
pub fn version_text(program: &str) -> String {
    format!(
        "{program} {} {}\n  (protocols 1 and 2) (default port {DEFAULT_PORT})\n  a reimplementation in Rust, wire compatible with distcc 3.4; MIT OR Apache-2.0\n",
        env!("CARGO_PKG_VERSION"),
        TRIPLE
    )
}

/// The kind of machine this binary was built for.
pub const TRIPLE: &str = concat_triple();

const fn concat_triple() -> &'static str {
    if cfg!(target_arch = "x86_64") {
        "x86_64-linux"
    } else if cfg!(target_arch = "aarch64") {
        "aarch64-linux"
    } else if cfg!(target_arch = "arm") {
        "arm-linux"
    } else if cfg!(target_arch = "riscv64") {
        "riscv64-linux"
    } else {
        "unknown-linux"
    }
}

//! One program, many names: the base name of `argv[0]` says who we are.
//!
//! Every name of the table is a personality; the binary's own name takes a personality's name as its first
//! word, too (`distcc distccd --daemon`). A name with `distcc` in it is the client; any other name is a
//! compiler that we masquerade as.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::program::Ending;
use crate::{client, daemon, include_server, lsdistcc, monitor, pump, symlinks};

/// A personality: its arguments in, its end out.
type Main = fn(&[OsString]) -> Ending;

const PERSONALITIES: &[(&str, Main)] = &[
    ("distcc", client::main),
    #[cfg(feature = "zeroconf")]
    (crate::zeroconf::background::NAME, crate::zeroconf::background::main),
    ("distcc-pump", pump::main),
    ("distccd", daemon::main),
    ("distccmon-text", monitor::main),
    ("include_server", include_server::main),
    ("lsdistcc", lsdistcc::main),
    ("pump", pump::main),
    ("update-distcc-symlinks", symlinks::main),
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
pub fn end(ending: Ending) -> ! {
    match ending {
        Ending::Code(code) => std::process::exit(code.into()),
        Ending::Signal(signal) => crate::sys::signal::die_of(signal),
    }
}

//! The integration tests: real processes of ours and of the stock programs, on loopback.
//!
//! Stock binaries come from the distribution's `distcc` package (`tests/setup.sh test`). Where they are
//! missing, the tests that need them say so and fail under CI, where everything must be there.

// Through the harness's capture, as only these macros go.
#![allow(clippy::disallowed_macros)]

mod util;

/// Command lines against the golden corpus and against a model of stock's own scan.
mod args;
/// One static file and a compiler, and nothing else.
mod bare;
/// Builds as people run them: CMake, Ninja, make in the style of Linux.
mod build_tools;
/// Single jobs of our client: results, failures, fallback.
mod client;
/// The inputs that fuzzing has kept.
mod corpus;
mod cost;
/// Starting, serving and ending of our daemon.
mod daemon;
/// Hundreds of option sets, with and without distcc in front.
mod differential;
/// Hosts that expand macros themselves.
mod directives;
/// `distcc --doctor` on good and bad hosts.
mod doctor;
/// Environment variables, exit codes, directories; ccache and makepkg.
mod environment;
/// Every kind of trouble with hosts: how it ends, what is said, who is left alone.
mod failures;
/// What a hostile or broken peer can do to the daemon; much more of it is in `attack`, a test of its own.
mod hostile;
/// Host lists: what they mean, where they come from, what is wrong with them.
mod hosts;
/// The include engine beside `gcc -M` and `clang -M`.
mod include;
/// One job on standard input and output.
mod inetd;
/// `install.sh`, and what it installs.
mod install;
/// `^C` and signals.
mod interrupt;
/// A tree in the manner of Linux: generated headers, and some that are included before everything else.
mod kernel_style;
/// Who is killed, and when.
mod kill;
/// The daemon's log: the system's log daemon, and the line of every kind of job.
mod logs;
/// `lsdistcc` beside stock's.
mod lsdistcc;
/// The manual pages.
mod manual;
/// Memory of the daemon, however clients behave.
mod memory;
/// `distccmon-text`, ours and stock's, on either's states.
mod monitor;
/// One binary, many names.
mod multicall;
/// `-march=native` and its kin.
mod native;
/// Client and daemon without the system calls of the last twelve years.
mod old_kernel;
/// The daemon's command line and environment, beside stock's.
mod options;
/// The include engine's macros and conditions, beside gcc -E.
mod preprocessor;
/// Servers that preprocess: protocol 3 in both directions.
mod pump;
/// What a hostile client can do to such a server.
mod pump_attack;
/// `pump` and the include server, with and without each other.
mod pump_build;
/// The commands that users of pump know, and what may be wrong around them.
mod pump_commands;
/// The commands of the README.
mod readme;
/// What users of stock's client and of ours see of a daemon that refuses, fails or succeeds.
mod refusals;
/// What once went wrong, named after its cause.
mod regression;
/// Memory, turns, pid file and privileges of the daemon.
mod resources;
/// Words from `@FILE`.
mod response;
/// The daemon under systemd, or what looks like it.
mod service;
/// Split DWARF: `.o` and `.dwo`.
mod split;
/// Servers reached through OpenSSH and dropbear.
mod ssh;
/// The statistics over HTTP.
mod stats;
/// `update-distcc-symlinks`.
mod symlinks;
/// Which compiler servers are asked for, and whether what comes back is from it.
mod toolchain;
/// Servers that announce themselves, in networks of the test's own, with Avahi.
#[cfg(feature = "zeroconf")]
mod zeroconf;
/// What a build without them says instead.
#[cfg(not(feature = "zeroconf"))]
mod zeroconf_less;

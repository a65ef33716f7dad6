//! The one binary: its name decides what it is (see `distcc::multicall`).

use std::process::ExitCode;

use distcc::multicall;

fn main() -> ExitCode {
    let argv: Vec<_> = std::env::args_os().collect();
    multicall::end(multicall::run(&argv))
}

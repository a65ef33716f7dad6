//! What all personalities have in common: how they end, and what they say about themselves.

use std::fmt::Arguments;
use std::io;

use crate::console;
use crate::exitcode::ExitCode;
use crate::hosts::DEFAULT_PORT;
use crate::sys::signal::Signal;

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

/// Ends with `text` on standard output. What cannot be written there is an error (stock says nothing), but for a reader
/// that has seen enough.
pub fn answer(program: &str, text: Arguments) -> Ending {
    match console::out(text) {
        Ok(()) => Ending::Code(0),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ending::Code(0),
        Err(e) => {
            console::err(format_args!("{program}: cannot write to standard output: {e}\n"));
            ExitCode::IoError.into()
        }
    }
}

/// The text of `--version`; scripts look at its first line and the protocols in its second.
pub fn version_text(program: &str) -> String {
    format!(
        "{program} {} {}\n  (protocols 1, 2 and 3) (default port {DEFAULT_PORT})\n  a reimplementation in Rust, wire compatible with distcc 3.4; MIT OR Apache-2.0\n",
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

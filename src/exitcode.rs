//! Exit codes of all personalities, with the numbers and meanings of distcc 3.4.
//!
//! Codes below 100 belong to the compiler, 128 and above to a compiler killed by a signal, so a script can
//! tell our own failures from those of the compile.

use std::process::ExitCode as ProcessExit;

/// A failure of distcc's own (source: reference `client.md` section 8 and `daemon.md` section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Something failed that has no code of its own.
    GeneralFailure = 100,
    /// Bad option, operand or numeric environment value.
    BadArguments = 101,
    /// The server could not bind its address.
    BindFailed = 102,
    /// A connection could not be made.
    ConnectFailed = 103,
    /// No memory, no process.
    OutOfMemory = 105,
    /// A host list that cannot be understood.
    BadHostSpec = 106,
    /// Reading or writing failed, or a directory cannot be used.
    IoError = 107,
    /// The peer closed in the middle of a message.
    Truncated = 108,
    /// The peer broke the protocol.
    ProtocolError = 109,
    /// The compiler does not exist or cannot be executed.
    CompilerMissing = 110,
    /// distcc ran itself as the compiler.
    Recursion = 111,
    /// Root privileges could not be dropped.
    SetuidFailed = 112,
    /// The server's rules refuse the job.
    AccessDenied = 113,
    /// The server takes no jobs now.
    Busy = 114,
    /// No usable host, and compiling locally is switched off.
    NoHosts = 116,
    /// A deadline passed.
    Timeout = 118,
}

impl ExitCode {
    /// The range in which a status from a server speaks of the server and not of the compile.
    pub const OWN: std::ops::RangeInclusive<i32> = 100..=120;
}

impl From<ExitCode> for ProcessExit {
    fn from(code: ExitCode) -> Self {
        ProcessExit::from(code as u8)
    }
}

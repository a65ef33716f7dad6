//! What the environment says about this client. Read once; source: reference `client.md` section 8.

use std::env;
use std::fs::File;
use std::time::Duration;

use log::LevelFilter;

use super::toolchain::CompilerCheck;
use crate::args::printable;
use crate::environment::{io_timeout, seconds, switch};
use crate::logging::{self, Destination};
use crate::sys::file::inherited;

/// The client's settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Compile locally when distributing fails.
    pub fallback: bool,
    /// Believe a remote compile error instead of compiling again locally.
    pub skip_local_retry: bool,
    /// How long a failed host is left alone.
    pub backoff_period: Duration,
    /// The longest silence of a server.
    pub io_timeout: Duration,
    /// How many compiles may fail on servers only before the rest of a build preprocesses here; at least 1.
    pub max_discrepancy: u64,
    /// Leave in TMPDIR what is sent.
    pub save_temps: bool,
    /// What is done about objects of other compilers.
    pub check: CompilerCheck,
}

impl Config {
    /// Reads the environment.
    ///
    /// # Errors
    /// A sentence that names the variable whose number is none.
    pub fn from_env() -> Result<Config, String> {
        Ok(Config {
            fallback: switch("DISTCC_FALLBACK", true),
            skip_local_retry: env::var_os("DISTCC_SKIP_LOCAL_RETRY").is_some(),
            backoff_period: Duration::from_secs(seconds("DISTCC_BACKOFF_PERIOD", 60)?),
            io_timeout: io_timeout()?,
            max_discrepancy: max_discrepancy()?,
            save_temps: switch("DISTCC_SAVE_TEMPS", false),
            check: compiler_check(),
        })
    }
}

/// A word that means nothing is no reason to stop a build, nor to take wrong objects.
fn compiler_check() -> CompilerCheck {
    let Some(value) = env::var_os("DISTCC_CHECK_COMPILER") else { return CompilerCheck::Version };
    match value.as_encoded_bytes() {
        b"strict" => CompilerCheck::Strict,
        b"warn" => CompilerCheck::Warn,
        b"off" => CompilerCheck::Off,
        b"" | b"version" => CompilerCheck::Version,
        _ => {
            let value = printable(&value);
            log::warn!(
                "DISTCC_CHECK_COMPILER is \"{value}\", not version, strict, warn or off; using version"
            );
            CompilerCheck::Version
        }
    }
}

/// Starts the client's log where `DISTCC_LOG`, `UNCACHED_ERR_FD` and `DISTCC_VERBOSE` want it (`client.md` section 9).
pub fn start_logging() {
    let verbose = switch("DISTCC_VERBOSE", false);
    let level = |quiet| if verbose { LevelFilter::Debug } else { quiet };
    let Some(path) = env::var_os("DISTCC_LOG").filter(|path| !path.is_empty()) else {
        let destination = uncached().map_or(Destination::Stderr, Destination::Descriptor);
        return logging::start_to("distcc", level(LevelFilter::Warn), verbose, destination);
    };
    match Destination::file(path.as_ref()) {
        Ok(file) => logging::start_to("distcc", level(LevelFilter::Info), true, file),
        Err(e) => {
            logging::start("distcc", level(LevelFilter::Warn));
            log::error!("cannot open the log file {} (DISTCC_LOG): {e}", printable(&path));
        }
    }
}

/// A build that has no room for a single failure could not begin.
fn max_discrepancy() -> Result<u64, String> {
    let Some(value) = env::var_os("DISTCC_MAX_DISCREPANCY").filter(|value| !value.is_empty()) else {
        return Ok(1);
    };
    let number = value.to_str().and_then(|text| text.trim().parse().ok()).filter(|number| *number > 0);
    number
        .ok_or_else(|| format!("DISTCC_MAX_DISCREPANCY is \"{}\", not a number from 1 on", printable(&value)))
}

/// Where ccache wants what is not to be repeated when it repeats the compiler's messages.
fn uncached() -> Option<File> {
    let number = env::var_os("UNCACHED_ERR_FD")?.to_str()?.parse().ok()?;
    if number == 0 { None } else { inherited(number).ok() }
}

//! Settings from environment variables, as client and daemon read them.

use std::env;
use std::ffi::OsStr;
use std::time::Duration;

use crate::args::printable;

/// `1` and `0` mean something, all else is the default, as in stock.
pub fn switch(name: &str, default: bool) -> bool {
    match env::var_os(name) {
        Some(value) if value == OsStr::new("1") => true,
        Some(value) if value == OsStr::new("0") => false,
        _ => default,
    }
}

/// A number of seconds. Nothing in a variable is as no variable: scripts empty what they cannot unset.
///
/// # Errors
/// A sentence that names the variable whose number is none.
pub fn seconds(name: &str, default: u64) -> Result<u64, String> {
    let Some(value) = env::var_os(name).filter(|value| !value.is_empty()) else { return Ok(default) };
    let number = value.to_str().and_then(|text| text.trim().parse().ok());
    number.ok_or_else(|| format!("{name} is \"{}\", not a number of seconds", printable(&value)))
}

/// `DISTCC_IO_TIMEOUT`: the longest silence of the other side.
///
/// # Errors
/// A sentence, if the number is none or 0.
pub fn io_timeout() -> Result<Duration, String> {
    match seconds("DISTCC_IO_TIMEOUT", 300)? {
        0 => Err("DISTCC_IO_TIMEOUT must be at least 1 second".to_owned()),
        seconds => Ok(Duration::from_secs(seconds)),
    }
}

//! The hosts of a build in pump mode: those of the list, or those that answer.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

use crate::args;
use crate::compiler::{self, Start};
use crate::hostlist;
use crate::sys::file::{pipe, set_nonblocking};
use crate::sys::process::{self, Pid};
use crate::topdir::TopDir;

/// How many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// All.
    pub all: usize,
    /// Those that preprocess.
    pub pump: usize,
}

/// Counts the hosts of the list in use, and those that announce themselves if it has a `+zeroconf`. Of the latter some may
/// join during the build, so none is enough.
///
/// # Errors
/// A line, if there are none for pump mode.
pub fn count() -> Result<Counts, String> {
    let top = TopDir::find().ok();
    let mut found = hostlist::find(top.as_ref())?;
    let some_may_join = found.list.announced.iter().any(|announced| announced.cpp);
    found.add_announced(top.as_ref());
    let hosts = &found.list.hosts;
    let counts = Counts { all: hosts.len(), pump: hosts.iter().filter(|host| host.cpp).count() };
    if some_may_join {
        return Ok(counts);
    }
    if let (0, Some(problem)) = (counts.all, found.list.problems.first()) {
        return Err(format!("{} contains no usable host: {problem}", found.source));
    }
    if counts.all == 0 {
        return Err(format!("{} contains no hosts", found.source));
    }
    if counts.pump == 0 {
        return Err(format!(
            "pump mode requested, but {} does not contain any hosts with ',cpp' option",
            found.source
        ));
    }
    Ok(counts)
}

/// The host of a line of `lsdistcc`, which may have a time (`-l`) behind it, and options of its own (`-P`) that ours
/// replace.
fn name(line: &str) -> Option<&str> {
    let host = line.split_whitespace().next()?;
    if host.ends_with(",down") {
        return None;
    }
    host.split(',').next()
}

/// `lsdistcc` at work on `DISTCC_POTENTIAL_HOSTS`.
pub struct Search {
    pid: Pid,
    output: File,
}

impl Search {
    /// Starts it, if there are potential hosts.
    pub fn start() -> io::Result<Option<Search>> {
        let Some(potential) = env::var_os("DISTCC_POTENTIAL_HOSTS").filter(|hosts| !hosts.is_empty()) else {
            return Ok(None);
        };
        let mut words: Vec<OsString> = vec!["lsdistcc".into(), "-c150".into()];
        for list in [env::var_os("LSDISTCC_ARGS").unwrap_or_default(), potential] {
            let split = args::split_words(list.as_encoded_bytes());
            words.extend(split.ok_or_else(|| {
                io::Error::other(format!("\"{}\" is no list of words", args::printable(&list)))
            })?);
        }
        let (read, write) = pipe()?;
        set_nonblocking(read.as_fd(), false)?;
        set_nonblocking(write.as_fd(), false)?;
        let start = Start { stdio: [None, Some(write.as_fd()), None], ..Start::default() };
        let environment = compiler::environment(&[]);
        let pid = compiler::spawn(Path::new("/proc/self/exe"), &words, &environment, &start)?;
        Ok(Some(Search { pid, output: read.into() }))
    }

    /// Waits for its end: how many it found, and the host list.
    pub fn finish(mut self, pump: bool) -> (usize, OsString) {
        let mut text = String::new();
        let _ = self.output.read_to_string(&mut text);
        while process::wait(self.pid).is_err_and(|e| e.kind() == io::ErrorKind::Interrupted) {}
        let options = if pump { ",cpp,lzo" } else { ",lzo" };
        let found: Vec<String> =
            text.lines().filter_map(name).map(|host| format!("{host}{options}")).collect();
        (found.len(), OsStr::new(&format!("--randomize {}", found.join(" "))).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_come_without_what_is_said_of_them() {
        for (line, host) in [
            ("a:3632", Some("a:3632")),
            ("[::1]:4000,lzo,cpp 12", Some("[::1]:4000")),
            ("a 7", Some("a")),
            ("a,down", None),
            ("", None),
        ] {
            assert_eq!(name(line), host, "{line:?}");
        }
    }
}

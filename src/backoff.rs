//! Hosts that are left alone for a while after they failed.
//!
//! The mark is a file in the lock directory whose modification time is the moment of dislike, as in stock, so
//! both kinds of client learn from each other. Source: reference `client.md` section 4.4.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::hosts::Host;

/// The marks of one lock directory.
#[derive(Debug)]
pub struct Backoff<'a> {
    directory: &'a Path,
    /// How long a mark counts; zero switches marks off.
    period: Duration,
}

impl<'a> Backoff<'a> {
    /// Marks in `directory` that count for `period`.
    pub fn new(directory: &'a Path, period: Duration) -> Backoff<'a> {
        Backoff { directory, period }
    }

    /// Whether `host` is to be left alone now.
    pub fn is_disliked(&self, host: &Host) -> bool {
        let marked = fs::metadata(self.file(host)).and_then(|metadata| metadata.modified());
        // A mark from the future, after the clock was set back, counts.
        marked.is_ok_and(|time| {
            SystemTime::now().duration_since(time).map_or(!self.period.is_zero(), |age| age < self.period)
        })
    }

    /// Leaves `host` alone from now on. That the mark cannot be made is no reason to stop a compile.
    pub fn dislike(&self, host: &Host) {
        if !self.period.is_zero() {
            use std::io::Write;
            let _ = File::create(self.file(host)).and_then(|mut file| file.write_all(b"x"));
        }
    }

    /// Forgets the mark: the host has done a job.
    pub fn enjoy(&self, host: &Host) {
        if !self.period.is_zero() {
            let _ = fs::remove_file(self.file(host));
        }
    }

    fn file(&self, host: &Host) -> PathBuf {
        self.directory.join(format!("backoff_{}_0", host.lock_name()))
    }
}

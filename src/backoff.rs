//! Hosts that are left alone for a while after they failed.
//!
//! The mark is a file in the lock directory whose modification time is the moment of dislike, as in stock, so
//! both kinds of client learn from each other. Source: reference `client.md` section 4.4.
//!
//! A host may be fine and only lack a compiler. Such marks name the compiler as well and stand in a directory
//! of their own, which stock does not look at. Its modification time is that of the latest mark: where nobody
//! refuses anything, the marks cost one look per job.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::hosts::Host;

/// The marks of one lock directory, as they concern one compiler.
#[derive(Debug)]
pub struct Backoff<'a> {
    directory: &'a Path,
    /// How long a mark counts; zero switches marks off.
    period: Duration,
    compiler: &'a [u8],
    /// There were marks of compilers that count when this was made.
    has_refusals: bool,
}

/// What a failure says something about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The host: no job is sent there.
    Host,
    /// The host's compiler of this name: other compilers are still sent there.
    Compiler,
    /// This job only: the next may be done by the same host.
    Job,
}

/// Where the marks of compilers are, below the lock directory.
const REFUSALS: &str = "refused";

impl<'a> Backoff<'a> {
    /// Marks in `directory` that count for `period`, as they concern the compiler with this name.
    pub fn new(directory: &'a Path, period: Duration, compiler: &'a [u8]) -> Backoff<'a> {
        let mut marks = Backoff { directory, period, compiler, has_refusals: false };
        marks.has_refusals = marks.counts(&directory.join(REFUSALS));
        marks
    }

    /// How long a mark counts.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Whether `host` is to be left alone now.
    pub fn is_disliked(&self, host: &Host) -> bool {
        self.counts(&self.of_host(host)) || self.is_refused(host)
    }

    /// Whether `host` is, but for what concerns the host as a whole.
    pub fn is_refused(&self, host: &Host) -> bool {
        self.has_refusals && self.counts(&self.of_compiler(host))
    }

    /// Leaves `host` alone from now on, as far as it is to blame. That the mark cannot be made is no reason to
    /// stop a compile.
    pub fn dislike(&self, host: &Host, blame: Blame) {
        if self.period.is_zero() {
            return;
        }
        let mark = match blame {
            Blame::Host => self.of_host(host),
            Blame::Compiler => {
                let mark = self.of_compiler(host);
                // There already, mostly; else the file cannot be made either.
                let _ = fs::create_dir(self.directory.join(REFUSALS));
                // A new file tells the directory's time.
                let _ = fs::remove_file(&mark);
                mark
            }
            Blame::Job => return,
        };
        let _ = File::create(mark).and_then(|mut file| file.write_all(b"x"));
    }

    /// Forgets the marks: the host has done a job with this compiler.
    pub fn enjoy(&self, host: &Host) {
        if self.period.is_zero() {
            return;
        }
        let _ = fs::remove_file(self.of_host(host));
        if self.has_refusals {
            let _ = fs::remove_file(self.of_compiler(host));
            // Fails while other marks are there.
            let _ = fs::remove_dir(self.directory.join(REFUSALS));
        }
    }

    fn counts(&self, mark: &Path) -> bool {
        let marked = fs::metadata(mark).and_then(|metadata| metadata.modified());
        // A mark from the future, after the clock was set back, counts.
        marked.is_ok_and(|time| {
            SystemTime::now().duration_since(time).map_or(!self.period.is_zero(), |age| age < self.period)
        })
    }

    fn of_host(&self, host: &Host) -> PathBuf {
        self.directory.join(format!("backoff_{}_0", host.lock_name()))
    }

    fn of_compiler(&self, host: &Host) -> PathBuf {
        let name = file_name_part(self.compiler);
        self.directory.join(REFUSALS).join(format!("{}_{name}", host.lock_name()))
    }
}

/// A file name has at most 255 bytes (`NAME_MAX`), and the host's part needs some; of a longer compiler's name its end
/// tells more than its start.
const LONGEST_PART: usize = 100;

/// `name` as a part of a file's name.
fn file_name_part(name: &[u8]) -> String {
    let name = &name[name.len().saturating_sub(LONGEST_PART)..];
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-+._".contains(byte);
    name.iter().map(|byte| if plain(byte) { char::from(*byte) } else { '=' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::PrivateDir;

    const MINUTE: Duration = Duration::from_secs(60);

    fn host(spec: &str) -> Host {
        crate::hosts::parse(spec).hosts.remove(0)
    }

    #[test]
    fn a_failed_host_is_left_alone_for_the_period() {
        let dir = PrivateDir::new(&std::env::temp_dir(), "distcc_test_").unwrap();
        let (a, b) = (host("a"), host("b:1"));
        let marks = Backoff::new(dir.path(), MINUTE, b"gcc");
        marks.dislike(&a, Blame::Host);
        assert!(marks.is_disliked(&a) && !marks.is_disliked(&b));
        let mark = dir.path().join("backoff_tcp_a_3632_0");
        assert_eq!(fs::read(&mark).unwrap(), b"x");
        let set = |time| File::options().write(true).open(&mark).unwrap().set_modified(time).unwrap();
        set(SystemTime::now() - MINUTE);
        assert!(!marks.is_disliked(&a), "its time is over");
        set(SystemTime::now() + MINUTE);
        assert!(marks.is_disliked(&a), "the clock was set back");
        marks.enjoy(&a);
        assert!(!mark.exists());
    }

    #[test]
    fn a_refused_compiler_is_not_the_host() {
        let dir = PrivateDir::new(&std::env::temp_dir(), "distcc_test_").unwrap();
        let (a, b) = (host("a"), host("b"));
        let marks = |compiler| Backoff::new(dir.path(), MINUTE, compiler);
        marks(b"/opt/bin/cc 1").dislike(&a, Blame::Compiler);
        assert!(marks(b"/opt/bin/cc 1").is_disliked(&a));
        assert!(!marks(b"/opt/bin/cc 1").is_disliked(&b));
        assert!(!marks(b"gcc").is_disliked(&a));
        assert!(dir.path().join("refused/tcp_a_3632_=opt=bin=cc=1").exists());
        marks(b"gcc").enjoy(&a);
        assert!(marks(b"/opt/bin/cc 1").is_disliked(&a), "another compiler's success");
        let refused = File::open(dir.path().join("refused")).unwrap();
        refused.set_modified(SystemTime::now() - MINUTE).unwrap();
        assert!(!marks(b"/opt/bin/cc 1").has_refusals, "no mark can count any more");
        marks(b"/opt/bin/cc 1").dislike(&a, Blame::Compiler);
        assert!(marks(b"/opt/bin/cc 1").is_disliked(&a), "a mark that is made again");
        marks(b"/opt/bin/cc 1").enjoy(&a);
        assert!(!dir.path().join("refused").exists(), "the directory goes with the last mark");
    }

    #[test]
    fn no_period_no_marks() {
        let dir = PrivateDir::new(&std::env::temp_dir(), "distcc_test_").unwrap();
        let marks = Backoff::new(dir.path(), Duration::ZERO, b"gcc");
        for blame in [Blame::Host, Blame::Compiler, Blame::Job] {
            marks.dislike(&host("a"), blame);
        }
        Backoff::new(dir.path(), MINUTE, b"gcc").dislike(&host("b"), Blame::Job);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_long_name_still_fits() {
        assert_eq!(file_name_part(&[b'x'; 5000]).len(), LONGEST_PART);
    }
}

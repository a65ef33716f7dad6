//! `distccmon-text -w`: a picture of hosts and jobs, drawn again in the same place.
//!
//! Records are read as the kernel says that they change, so that a job which lives shorter than the picture is counted
//! all the same; and all of them again for each picture, which mends what was missed.

use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use super::tally::{Counts, Tally};
use crate::console;
use crate::hostlist;
use crate::state;
use crate::sys::file::{Readiness, wait_ready};
use crate::sys::signal::{self, Signal};
use crate::sys::terminal;
use crate::sys::watch::{Change, DirectoryWatch};
use crate::topdir::TopDir;

/// Draws every `delay`, until interrupted (`Ok(Some)`) or the reader has gone (`Err(BrokenPipe)`).
pub fn run(top: &TopDir, delay: Duration) -> io::Result<Option<Signal>> {
    let directory = top.state_dir()?;
    let limits = limits(top);
    signal::watch_interrupts()?;
    // Without it short jobs may be missed; the others are seen in each picture.
    let mut changes = DirectoryWatch::new(&directory).ok();
    let mut tally = Tally::default();
    let mut screen = Screen::open()?;
    loop {
        tally.saw_all(state::read_all(&directory, |_| {})?);
        screen.show(&picture(&tally, &limits))?;
        collect(&directory, changes.as_mut(), &mut tally, Instant::now() + delay)?;
        if let Some(signal) = signal::interrupted() {
            return Ok(Some(signal));
        }
    }
}

/// Takes changes until `deadline` or an interrupt.
fn collect(
    directory: &Path,
    changes: Option<&mut DirectoryWatch>,
    tally: &mut Tally,
    deadline: Instant,
) -> io::Result<()> {
    let Some(watch) = changes else {
        signal::nap(deadline.saturating_duration_since(Instant::now()));
        return Ok(());
    };
    let mut changes = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match wait_ready(watch.as_fd(), Readiness::Read, left) {
            Ok(true) => watch.changes(&mut changes)?,
            Ok(false) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(e) => return Err(e),
        }
        for change in changes.drain(..) {
            let (Change::Written(name) | Change::Removed(name)) = &change;
            let Some(pid) = state::pid_of(name) else { continue };
            match change {
                Change::Written(ref name) => match state::read(&directory.join(name)) {
                    Ok(Some(record)) => tally.saw(record),
                    _ => tally.missed(pid),
                },
                Change::Removed(_) => tally.gone(pid),
            }
        }
        if left.is_zero() {
            return Ok(());
        }
    }
}

/// The machines of the host list with their slots, in the list's order; servers on one machine together, as in records.
fn limits(top: &TopDir) -> Vec<(String, u32)> {
    let mut limits: Vec<(String, u32)> = Vec::new();
    let Ok(found) = hostlist::find(Some(top)) else { return limits };
    for host in &found.list.hosts {
        match limits.iter_mut().find(|(name, _)| name == host.name()) {
            Some((_, slots)) => *slots += host.slots,
            None => limits.push((host.name().to_owned(), host.slots)),
        }
    }
    limits
}

/// Lines without escapes.
fn picture(tally: &Tally, limits: &[(String, u32)]) -> String {
    let mut hosts = tally.hosts();
    let records = tally.records();
    let mut text = format!(
        "{} jobs, {} of them waiting for a slot\n\n{:<36} {:>9} {:>9} {:>9}\n",
        records.len(),
        tally.waiting(),
        "host",
        "slots",
        "done",
        "failed"
    );
    let mut line = |name: &str, slots: String, counts: Counts| {
        let Counts { done, failed, .. } = counts;
        let _ = writeln!(text, "{name:<36.36} {slots:>9} {done:>9} {failed:>9}");
    };
    for (name, slots) in limits {
        let counts = hosts.remove(name.as_str()).unwrap_or_default();
        line(name, format!("{}/{slots}", counts.running), counts);
    }
    for (name, counts) in hosts {
        line(name, counts.running.to_string(), counts);
    }
    text.push('\n');
    records.into_iter().for_each(|record| text.push_str(&super::line(record)));
    text
}

/// Standard output: drawn over on a terminal, else one picture after the other with an empty line between.
struct Screen {
    is_terminal: bool,
    shown: String,
}

/// The cursor is hidden meanwhile; the screen is cleared once.
const BEGIN: &str = "\x1b[?25l\x1b[2J";
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";
const END: &str = "\x1b[?25h";

impl Screen {
    fn open() -> io::Result<Screen> {
        let is_terminal = io::stdout().is_terminal();
        if is_terminal {
            console::out(format_args!("{BEGIN}"))?;
        }
        Ok(Screen { is_terminal, shown: String::new() })
    }

    fn show(&mut self, picture: &str) -> io::Result<()> {
        if !self.is_terminal {
            return console::out(format_args!("{picture}\n"));
        }
        let size = terminal::size(io::stdout().as_fd());
        let frame = frame(picture, size.unwrap_or((24, 80)));
        if frame != self.shown {
            console::out(format_args!("{frame}"))?;
            self.shown = frame;
        }
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.is_terminal {
            let _ = console::out(format_args!("{END}"));
        }
    }
}

/// The picture for a terminal of so many rows and columns: cut to fit, and nothing of an older one stays.
fn frame(picture: &str, (rows, columns): (usize, usize)) -> String {
    let lines: Vec<&str> = picture.lines().collect();
    // The last row stays empty: a line that ends there would scroll.
    let fits = rows.saturating_sub(1).max(1);
    let more = lines.len().saturating_sub(fits);
    let shown = if more > 0 { fits - 1 } else { lines.len() };
    let mut text = HOME.to_owned();
    let mut put = |line: &str| {
        // One column less: not every terminal keeps a full line on its row.
        text.extend(line.chars().take(columns.saturating_sub(1)));
        text.push_str(CLEAR_LINE);
        text.push('\n');
    };
    lines[..shown].iter().for_each(|line| put(line));
    if more > 0 {
        put(&format!("... {} more", more + 1));
    }
    text.push_str(CLEAR_BELOW);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Phase, Record};

    #[test]
    fn hosts_of_the_list_come_first_with_their_slots() {
        let mut tally = Tally::default();
        for (pid, host) in [(1, "b"), (2, "b"), (3, "z")] {
            let phase = Phase::Compile;
            tally.saw(Record { pid, file: "a.c".into(), host: host.into(), slot: pid, phase });
        }
        tally.gone(1);
        let text = picture(&tally, &[("b".into(), 8), ("a".into(), 4)]);
        let hosts: Vec<Vec<&str>> =
            text.lines().skip(3).take(3).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(hosts, [["b", "1/8", "1", "0"], ["a", "0/4", "0", "0"], ["z", "1", "0", "0"]]);
        assert!(text.starts_with("2 jobs, 0 of them waiting"), "{text}");
        assert!(
            text.ends_with(
                "b[2]\n     3  Compile     a.c                                                   z[3]\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_picture_is_cut_to_the_terminal() {
        let text = frame("one\ntwo\nthree\nfour\n", (4, 5));
        assert_eq!(text, "\x1b[Hone\x1b[K\ntwo\x1b[K\n... \x1b[K\n\x1b[J");
        let text = frame("one\ntwo\nthree\n", (4, 80));
        assert_eq!(text, "\x1b[Hone\x1b[K\ntwo\x1b[K\nthree\x1b[K\n\x1b[J");
        assert!(frame("one\ntwo\n", (1, 80)).contains("... 2 more"));
    }
}

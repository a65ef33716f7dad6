//! Process groups that end with this process.
//!
//! `PR_SET_PDEATHSIG` reaches a child, but not what the child starts, such as gcc's cc1; and whoever is killed with all that might
//! look after its children ends nobody. The kernel still closes a pipe then, and tells those who asked to be told when
//! it does, with the signal that they asked for (fcntl(2): `F_SETOWN`, `F_SETSIG`, `O_ASYNC`).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::{cvt, file};

/// `F_SETSIG` of asm-generic/fcntl.h, on every architecture; the libc crate does not have it.
const F_SETSIG: libc::c_int = 10;

/// A pipe that nobody writes to. The group that was [started](super::process::Command::leash) with it last gets SIGKILL as soon as
/// this is dropped, or as this process is no more.
#[derive(Debug)]
pub struct Leash {
    /// What the group holds.
    read: OwnedFd,
    _write: OwnedFd,
}

impl Leash {
    /// Without a group yet.
    ///
    /// # Errors
    /// When there is no descriptor to be had, or no kernel that does this.
    pub fn new() -> io::Result<Leash> {
        let (read, write) = file::pipe()?;
        // SAFETY: fcntl with integer arguments touches no memory of ours.
        unsafe {
            cvt(libc::fcntl(read.as_raw_fd(), F_SETSIG, libc::SIGKILL))?;
            cvt(libc::fcntl(read.as_raw_fd(), libc::F_SETFL, libc::O_ASYNC | libc::O_NONBLOCK))?;
        }
        Ok(Leash { read, _write: write })
    }
}

impl AsFd for Leash {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::{Command, wait};
    use crate::sys::signal::Signal;

    fn sleeper(leash: &Leash) -> super::super::process::Pid {
        let words = |words: &[&std::ffi::CStr]| words.iter().map(|word| (*word).to_owned()).collect();
        let command = Command {
            program: c"/bin/sh".to_owned(),
            argv: words(&[c"sh", c"-c", c"sleep 60 & wait"]),
            env: words(&[c"PATH=/usr/bin:/bin"]),
            stdio: [None; 3],
            cwd: None,
            new_group: true,
            die_with_parent: false,
            leash: Some(leash.as_fd()),
            no_core: false,
            max_file_len: None,
            max_memory: None,
        };
        command.spawn().unwrap()
    }

    #[test]
    fn a_group_ends_with_its_leash() {
        let leash = Leash::new().unwrap();
        let pid = sleeper(&leash);
        drop(leash);
        assert_eq!(wait(pid).unwrap().signal(), Some(Signal::KILL));
        // Its own child is adopted, and then it is no more.
        while pid.kill_group(Signal::KILL).is_ok() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_leash_holds_one_group_after_another() {
        let leash = Leash::new().unwrap();
        let first = sleeper(&leash);
        first.kill_group(Signal::KILL).unwrap();
        wait(first).unwrap();
        let second = sleeper(&leash);
        drop(leash);
        assert_eq!(wait(second).unwrap().signal(), Some(Signal::KILL));
    }
}

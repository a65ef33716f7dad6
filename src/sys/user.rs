//! Users and privileges.

use std::ffi::CString;
use std::io;

use super::cvt;

/// A user's numbers, looked up by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    uid: libc::uid_t,
    gid: libc::gid_t,
}

impl Identity {
    /// Looks `name` up in the system's user database; `None` if there is no such user.
    pub fn of_user(name: &str) -> Option<Identity> {
        let name = CString::new(name).ok()?;
        // SAFETY: `name` is NUL-terminated. The result points into storage that the next look-up reuses; this
        // program has one thread while it looks users up, and the numbers are copied out before
        // anything else is called.
        unsafe {
            let entry = libc::getpwnam(name.as_ptr());
            entry.as_ref().map(|entry| Identity { uid: entry.pw_uid, gid: entry.pw_gid })
        }
    }

    /// The numbers that stock falls back to where even `nobody` is missing.
    pub const NOBODY: Identity = Identity { uid: 65534, gid: 65534 };
}

/// Whether this process could act as root.
pub fn is_root() -> bool {
    // SAFETY: these calls take and touch nothing.
    unsafe { libc::getuid() == 0 || libc::geteuid() == 0 }
}

/// The number of the user as whom this process acts.
pub fn effective_user() -> u32 {
    // SAFETY: takes and touches nothing.
    unsafe { libc::geteuid() }
}

/// Becomes `identity` for good: group, supplementary groups, user, then a check that there is no way back,
/// then `no_new_privs`.
pub fn become_user(identity: Identity) -> io::Result<()> {
    // SAFETY: one group, and the count says so; the other calls take integers.
    unsafe {
        cvt(libc::setgroups(1, &identity.gid))?;
        cvt(libc::setgid(identity.gid))?;
        cvt(libc::setuid(identity.uid))?;
        if identity.uid != 0 && libc::setuid(0) == 0 {
            return Err(io::Error::other("root privileges came back after they were dropped"));
        }
    }
    no_new_privileges();
    Ok(())
}

/// Forbids this process and its children to gain privileges by running a set-user-id program. Kernels before
/// 3.5 lack it.
pub fn no_new_privileges() {
    // SAFETY: prctl with integer arguments touches no memory of ours.
    unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
}

/// Makes this process `increment` nicer.
pub fn be_nice(increment: i32) -> io::Result<()> {
    // SAFETY: both calls take integers only. setpriority reports errors without the ambiguity of nice(2)'s
    // result.
    unsafe {
        let current = libc::getpriority(libc::PRIO_PROCESS, 0);
        cvt(libc::setpriority(libc::PRIO_PROCESS, 0, (current + increment).clamp(-20, 19)))?;
    }
    Ok(())
}

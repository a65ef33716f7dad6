//! Processes: spawn, fork, wait, kill.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use super::cvt;
use super::signal::{self, AllBlocked, Signal};

/// A process id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pid(libc::pid_t);

impl Pid {
    /// This process.
    pub fn current() -> Pid {
        Pid(std::process::id() as libc::pid_t)
    }

    /// A process that another of ours has told us of; `None` for what cannot be one.
    pub fn from_number(number: i32) -> Option<Pid> {
        (number > 1).then_some(Pid(number))
    }

    /// The number, as in messages and file names.
    pub fn number(self) -> i32 {
        self.0
    }

    /// Sends `signal` to this process.
    pub fn kill(self, signal: Signal) -> io::Result<()> {
        // SAFETY: kill takes integers only.
        cvt(unsafe { libc::kill(self.0, signal.number()) }).map(drop)
    }

    /// Sends `signal` to every process of the group that this process leads.
    pub fn kill_group(self, signal: Signal) -> io::Result<()> {
        // SAFETY: kill takes integers only; a Pid is never 0 or negative.
        cvt(unsafe { libc::kill(-self.0, signal.number()) }).map(drop)
    }
}

/// Whether a process with this number exists, whoever owns it.
pub fn exists(pid: i32) -> bool {
    // SAFETY: signal 0 only asks.
    pid > 0
        && (unsafe { libc::kill(pid, 0) } == 0
            || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM))
}

/// How a process ended: the 16 bits of wait(2), which also travel in the STAT token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitStatus(i32);

impl WaitStatus {
    /// From the wire or from wait(2). Only the low 16 bits mean anything.
    pub fn from_raw(raw: u32) -> WaitStatus {
        WaitStatus((raw & 0xffff) as i32)
    }

    /// An ordinary end with this exit code.
    pub fn exited(code: u8) -> WaitStatus {
        WaitStatus(i32::from(code) << 8)
    }

    /// For the wire.
    pub fn raw(self) -> u32 {
        self.0 as u32
    }

    /// Exit code 0, no signal.
    pub fn success(self) -> bool {
        self.0 == 0
    }

    /// The exit code, if the process ended by exiting.
    pub fn code(self) -> Option<i32> {
        (self.0 & 0x7f == 0).then_some((self.0 >> 8) & 0xff)
    }

    /// The signal that ended the process, if one did.
    pub fn signal(self) -> Option<Signal> {
        let number = self.0 & 0x7f;
        (number != 0).then_some(Signal(number))
    }

    /// Whether a core file was written.
    pub fn dumped_core(self) -> bool {
        self.0 & 0x80 != 0
    }

    /// What a shell would say: the exit code, or 128 + the signal's number.
    pub fn shell_code(self) -> u8 {
        match (self.code(), self.signal()) {
            (Some(code), _) => code as u8,
            (None, Some(signal)) => 128 + signal.number() as u8,
            (None, None) => 0,
        }
    }
}

/// A program to start. Nothing of it is inherited but what is named here: descriptors are close-on-exec
/// throughout the program.
pub struct Command<'a> {
    /// Path of the program; no search is done.
    pub program: CString,
    /// All words, the program's own name first.
    pub argv: Vec<CString>,
    /// The whole environment, `NAME=VALUE`.
    pub env: Vec<CString>,
    /// Standard input, output and error; `None` keeps ours.
    pub stdio: [Option<BorrowedFd<'a>>; 3],
    /// Working directory; `None` keeps ours.
    pub cwd: Option<CString>,
    /// Lead a process group of its own, so that it and all it starts can be killed together.
    pub new_group: bool,
    /// Be killed when the process that started it dies.
    pub die_with_parent: bool,
    /// The read end of a [`Leash`](super::leash::Leash), which then holds the group that this process leads.
    pub leash: Option<BorrowedFd<'a>>,
    /// Never write a core file.
    pub no_core: bool,
    /// The largest file it may write, in bytes.
    pub max_file_len: Option<u64>,
    /// The most address space it and each program that it starts may have, in bytes.
    pub max_memory: Option<u64>,
}

/// What the child needs, prepared beforehand: between clone and exec it shares our memory and must not
/// allocate.
struct ChildPlan {
    program: *const libc::c_char,
    argv: Vec<*const libc::c_char>,
    env: Vec<*const libc::c_char>,
    stdio: [Option<RawFd>; 3],
    cwd: Option<*const libc::c_char>,
    new_group: bool,
    die_with_parent: bool,
    leash: Option<RawFd>,
    no_core: bool,
    max_file_len: Option<libc::rlim_t>,
    max_memory: Option<libc::rlim_t>,
    parent: libc::pid_t,
    /// The error of the step that failed, left here by the child.
    errno: libc::c_int,
}

/// The child's stack: it makes a handful of shallow libc calls.
const CHILD_STACK: usize = 32 * 1024;

impl Command<'_> {
    /// Starts the program without copying our memory map (a vfork-class clone); returns when it has been
    /// executed or has failed to.
    pub fn spawn(&self) -> io::Result<Pid> {
        let pointers = |words: &[CString]| {
            words.iter().map(|word| word.as_ptr()).chain(std::iter::once(std::ptr::null())).collect()
        };
        let mut plan = ChildPlan {
            program: self.program.as_ptr(),
            argv: pointers(&self.argv),
            env: pointers(&self.env),
            stdio: self.stdio.map(|fd| fd.map(|fd| fd.as_raw_fd())),
            cwd: self.cwd.as_ref().map(|path| path.as_ptr()),
            new_group: self.new_group,
            die_with_parent: self.die_with_parent,
            leash: self.leash.map(|fd| fd.as_raw_fd()),
            no_core: self.no_core,
            max_file_len: self.max_file_len.map(|len| len as libc::rlim_t),
            max_memory: self.max_memory.map(|len| len as libc::rlim_t),
            parent: Pid::current().0,
            errno: 0,
        };
        let mut stack = vec![0u128; CHILD_STACK / size_of::<u128>()];
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        let blocked = AllBlocked::new();
        // SAFETY: the child runs `child` on its own stack, whose end is aligned to 16 as every ABI asks,
        // while CLONE_VFORK holds this thread still until the child has executed or exited; so
        // `plan`, `stack` and `self` outlive its use of them and nobody else touches them meanwhile.
        // Signals are blocked, so no handler of ours runs in the shared memory.
        let pid = cvt(unsafe {
            libc::clone(child, stack.as_mut_ptr_range().end.cast(), flags, (&raw mut plan).cast())
        });
        drop(blocked);
        let pid = Pid(pid?);
        // SAFETY: `plan` is a live local; volatile because the child wrote it behind the compiler's back.
        let errno = unsafe { (&raw const plan.errno).read_volatile() };
        if errno != 0 {
            let _ = wait(pid);
            return Err(io::Error::from_raw_os_error(errno));
        }
        Ok(pid)
    }
}

/// The child between clone and exec. Under an emulator that turns the clone into a fork, the error does not
/// reach the parent, so the exit code says it too: 110, as everywhere (see `exitcode`).
extern "C" fn child(plan: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `plan` is the parent's live ChildPlan, and the parent stands still; the calls are system calls
    // on prepared pointers.
    unsafe {
        let plan = &mut *plan.cast::<ChildPlan>();
        let Err(error) = become_program(plan);
        plan.errno = error;
        libc::_exit(110)
    }
}

/// # Safety
/// Only in the child of [`Command::spawn`].
unsafe fn become_program(plan: &ChildPlan) -> Result<std::convert::Infallible, libc::c_int> {
    // SAFETY: see `child`; errno belongs to the thread that stands still.
    unsafe {
        let done = |result: libc::c_int| if result < 0 { Err(*libc::__errno_location()) } else { Ok(()) };
        if plan.new_group {
            done(libc::setpgid(0, 0))?;
        }
        if plan.die_with_parent {
            done(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0))?;
            // The parent may have died before the call took effect.
            if libc::getppid() != plan.parent {
                return Err(libc::ESRCH);
            }
        }
        if let Some(leash) = plan.leash {
            // The descriptor is a copy for this process, and so is its mark; the pipe behind it is the same.
            done(libc::fcntl(leash, libc::F_SETOWN, -libc::getpid()))?;
            done(libc::fcntl(leash, libc::F_SETFD, 0))?;
        }
        if plan.no_core {
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            done(libc::setrlimit(libc::RLIMIT_CORE, &none))?;
        }
        for (resource, most) in [(libc::RLIMIT_FSIZE, plan.max_file_len), (libc::RLIMIT_AS, plan.max_memory)]
        {
            let Some(most) = most else { continue };
            // A lower limit that we live under ourselves stays: it cannot be raised.
            let mut limit: libc::rlimit = std::mem::zeroed();
            done(libc::getrlimit(resource, &mut limit))?;
            limit.rlim_max = limit.rlim_max.min(most);
            limit.rlim_cur = limit.rlim_cur.min(limit.rlim_max);
            done(libc::setrlimit(resource, &limit))?;
        }
        for (target, fd) in (0..).zip(plan.stdio) {
            if let Some(fd) = fd {
                // Descriptors of ours are above 2, so that no dup2 here overwrites a later one's source.
                done(libc::dup2(fd, target))?;
            }
        }
        if let Some(cwd) = plan.cwd {
            done(libc::chdir(cwd))?;
        }
        signal::reset_in_child();
        libc::execve(plan.program, plan.argv.as_ptr(), plan.env.as_ptr());
        Err(*libc::__errno_location())
    }
}

/// Waits for the end of `pid`. A signal ends the wait with `Interrupted`.
pub fn wait(pid: Pid) -> io::Result<WaitStatus> {
    let mut status = 0;
    // SAFETY: `status` lives through the call.
    cvt(unsafe { libc::waitpid(pid.0, &mut status, 0) })?;
    Ok(WaitStatus(status))
}

/// The end of `pid`, if it has ended.
pub fn try_wait(pid: Pid) -> io::Result<Option<WaitStatus>> {
    let mut status = 0;
    // SAFETY: `status` lives through the call.
    let ended = cvt(unsafe { libc::waitpid(pid.0, &mut status, libc::WNOHANG) })?;
    Ok((ended != 0).then_some(WaitStatus(status)))
}

/// The next child of ours that has ended, whichever it is.
pub fn try_wait_any() -> Option<(Pid, WaitStatus)> {
    let mut status = 0;
    // SAFETY: `status` lives through the call.
    let ended = cvt(unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) }).ok()?;
    (ended > 0).then_some((Pid(ended), WaitStatus(status)))
}

/// Which side of a fork one is on.
pub enum Fork {
    /// The process that forked, and its new child.
    Parent(Pid),
    /// The new process.
    Child,
}

/// Copies this process, and runs `begin` in the copy before any signal can be handled there: it makes the copy's handlers its own.
///
/// The program has one thread, so the child may go on like the parent.
pub fn fork(begin: impl FnOnce()) -> io::Result<Fork> {
    let _blocked = AllBlocked::new();
    // SAFETY: with a single thread there is no lock that another one could hold in the copy.
    match cvt(unsafe { libc::fork() })? {
        0 => {
            begin();
            Ok(Fork::Child)
        }
        pid => Ok(Fork::Parent(Pid(pid))),
    }
}

/// Leaves the terminal: a session of its own.
pub fn new_session() -> io::Result<()> {
    // SAFETY: takes and touches nothing.
    cvt(unsafe { libc::setsid() }).map(drop)
}

/// Asks the kernel to send `signal` to this process when its parent dies.
pub fn signal_when_parent_dies(signal: Signal, parent: Pid) -> io::Result<()> {
    // SAFETY: prctl with integer arguments touches no memory of ours; getppid takes nothing.
    unsafe {
        cvt(libc::prctl(libc::PR_SET_PDEATHSIG, signal.number(), 0, 0, 0))?;
        if libc::getppid() != parent.0 {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
    }
    Ok(())
}

/// Whether `path` names a program this process may execute.
pub fn is_executable(path: &std::path::Path) -> bool {
    use std::os::unix::ffi::OsStrExt;

    let Ok(c_path) = CString::new(path.as_os_str().as_bytes()) else { return false };
    // SAFETY: `c_path` is NUL-terminated and outlives the call.
    let allowed = unsafe { libc::access(c_path.as_ptr(), libc::X_OK) } == 0;
    // Root may "execute" directories.
    allowed && path.metadata().is_ok_and(|metadata| metadata.is_file())
}

/// Allows this process as many open files as the system lets it.
pub fn raise_file_limit() {
    // SAFETY: `limit` lives through both calls.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

/// Makes the allocator keep large blocks that are freed, for the next job, until [`return_freed_memory`]. Getting
/// them from the kernel anew, page by page, costs as much as expanding what they are for.
pub fn keep_freed_memory() {
    #[cfg(target_env = "musl")]
    super::heap::keep(KEPT_BLOCK);
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt takes integers only.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT_BLOCK as libc::c_int);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BLOCK as libc::c_int);
    }
}

/// Returns what is free to the system.
pub fn return_freed_memory() {
    #[cfg(target_env = "musl")]
    super::heap::return_kept();
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes an integer only.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// With glibc, blocks up to this size, and so much free memory at the end of the heap, are kept; with musl, so much in large blocks.
#[cfg(any(target_env = "gnu", target_env = "musl"))]
const KEPT_BLOCK: usize = 16 << 20;

/// What this process has used so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Of processors, the kernel's work for it included; without its children.
    pub cpu: Duration,
    /// The most memory that it had at once, in KiB.
    pub peak_memory: u64,
}

/// Asks the kernel.
pub fn usage() -> Usage {
    // SAFETY: the structure is made of integers, for which zeros are good values.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` lives through the call, which cannot fail for this process.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    Usage { cpu: time(usage.ru_utime) + time(usage.ru_stime), peak_memory: usage.ru_maxrss as u64 }
}

/// Microseconds of the clock that never goes back, as a service manager wants them.
pub fn monotonic_micros() -> u64 {
    let mut now = libc::timespec::default();
    // SAFETY: `now` lives through the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    // The fields' widths differ between systems.
    #[allow(clippy::unnecessary_cast)]
    let (seconds, nanos) = (now.tv_sec as u64, now.tv_nsec as u64);
    seconds * 1_000_000 + nanos / 1000
}

/// Processors that this process may run on, at least 1.
pub fn processors() -> usize {
    // SAFETY: a set of processors is an array of numbers, of which zero is one.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` lives through the call and is as large as it says.
    let result = cvt(unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) });
    let count = match result {
        // SAFETY: reads `set`, all of which has a value.
        Ok(_) => unsafe { libc::CPU_COUNT(&set) as usize },
        // The machine has more processors than the set has room for.
        // SAFETY: sysconf takes a number and touches no memory of ours.
        Err(_) => unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) as usize },
    };
    count.max(1)
}

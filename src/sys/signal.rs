//! Signals, turned into values: a handler only leaves a note; the ordinary flow reads it and returns.
//!
//! The client *watches* for interrupts ([`watch_interrupts`]): its blocking calls end with `Interrupted`, and
//! it looks with [`interrupted`]. The daemon's loops read signals from a pipe ([`SignalPipe`]) like any other
//! event.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::time::Duration;

use super::{cvt, cvt_len, file};

/// A signal number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal(pub(super) libc::c_int);

impl Signal {
    /// The terminal's interrupt key.
    pub const INT: Signal = Signal(libc::SIGINT);
    /// A request to end.
    pub const TERM: Signal = Signal(libc::SIGTERM);
    /// The terminal has gone; for a daemon: look at your files anew.
    pub const HUP: Signal = Signal(libc::SIGHUP);
    /// A timer of this process has run out ([`alarm`]).
    pub const ALRM: Signal = Signal(libc::SIGALRM);
    /// A child has changed its state.
    pub const CHLD: Signal = Signal(libc::SIGCHLD);
    /// Cannot be handled: the process ends.
    pub const KILL: Signal = Signal(libc::SIGKILL);

    /// The kernel's number.
    pub fn number(self) -> i32 {
        self.0
    }

    /// The kernel's description, for example `Segmentation fault`.
    pub fn description(self) -> String {
        // SAFETY: strsignal returns a NUL-terminated string, possibly in storage that its next call reuses;
        // it is copied at once, and this program has one thread.
        let text = unsafe { std::ffi::CStr::from_ptr(libc::strsignal(self.0)) };
        text.to_string_lossy().into_owned()
    }
}

/// The signals that end a client and that it cleans up for.
const INTERRUPTS: [Signal; 3] = [Signal::INT, Signal::TERM, Signal::HUP];

/// The interrupt that has come in, 0 if none has.
static INTERRUPT: AtomicI32 = AtomicI32::new(0);

/// The writing end of the [`SignalPipe`] in use, -1 if there is none.
static PIPE: AtomicI32 = AtomicI32::new(-1);

/// Signals that came while there was no pipe, a bit each.
static EARLY: AtomicU32 = AtomicU32::new(0);

/// From now on an interrupt does not end the process: the blocking call it meets fails with `Interrupted`,
/// and [`interrupted`] tells which it was. An interrupt that was ignored when the process started (`nohup`)
/// stays ignored.
pub fn watch_interrupts() -> io::Result<()> {
    for signal in INTERRUPTS {
        if !is_ignored(signal)? {
            handle(signal, note_interrupt)?;
        }
    }
    handle(Signal(libc::SIGALRM), note_interrupt)
}

/// The interrupt that has come in since [`watch_interrupts`].
pub fn interrupted() -> Option<Signal> {
    match INTERRUPT.load(Ordering::Relaxed) {
        0 => None,
        number => Some(Signal(number)),
    }
}

/// Ends this process the way `signal` would have ended it without a handler, so that a calling shell or make
/// sees the truth.
pub fn die_of(signal: Signal) -> ! {
    // SAFETY: sigaction-free ways to the same end: default action, unblocked, raised; then exit in case the
    // signal did not kill.
    unsafe {
        libc::signal(signal.0, libc::SIG_DFL);
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, signal.0);
        libc::sigprocmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
        libc::raise(signal.0);
        libc::_exit(128 + signal.0)
    }
}

/// Leaves the note. A signal can arrive just before a blocking call starts, which would then not notice: so
/// the note is followed by an alarm every 20 ms, which interrupts whatever blocks by then.
extern "C" fn note_interrupt(number: libc::c_int) {
    if number != libc::SIGALRM {
        INTERRUPT.store(number, Ordering::Relaxed);
    }
    let every = libc::timeval { tv_sec: 0, tv_usec: 20_000 };
    let timer = libc::itimerval { it_interval: every, it_value: every };
    // SAFETY: setitimer is a bare system call, safe in a handler; `timer` lives through it. errno is put back
    // for the interrupted code.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut());
        *errno = before;
    }
}

/// Signals as bytes of a pipe, for an event loop.
pub struct SignalPipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl SignalPipe {
    /// Catches `signals` into a new pipe. One pipe at a time in a process; a worker makes its own after the
    /// fork.
    pub fn new(signals: &[Signal]) -> io::Result<SignalPipe> {
        let (read, write) = file::pipe()?;
        PIPE.store(write.as_raw_fd(), Ordering::Relaxed);
        for signal in signals {
            handle(*signal, note_in_pipe)?;
        }
        // Those that a new process had before it came to this.
        let early = EARLY.swap(0, Ordering::Relaxed);
        (0..u32::BITS)
            .filter(|number| early & (1 << number) != 0)
            .for_each(|number| note_in_pipe(number as i32));
        Ok(SignalPipe { read, write })
    }

    /// The next signal that has come in.
    pub fn next(&self) -> Option<Signal> {
        let mut byte = 0u8;
        // SAFETY: one byte of room, and the length says so.
        let read = unsafe { libc::read(self.read.as_raw_fd(), (&raw mut byte).cast(), 1) };
        matches!(cvt_len(read), Ok(1)).then_some(Signal(byte.into()))
    }
}

/// For a new process: signals do not go into the pipe that its parent reads, but wait for its own.
pub fn leave_parents_pipe() {
    PIPE.store(-1, Ordering::Relaxed);
    EARLY.store(0, Ordering::Relaxed);
}

impl Drop for SignalPipe {
    fn drop(&mut self) {
        // Only if the handler still writes here: a forked worker drops its parent's pipe after it has made
        // its own.
        let _ = PIPE.compare_exchange(self.write.as_raw_fd(), -1, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl AsFd for SignalPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}

/// Writes the signal's number; a full pipe loses it, but then the loop has hundreds to wake up for.
extern "C" fn note_in_pipe(number: libc::c_int) {
    let pipe = PIPE.load(Ordering::Relaxed);
    if pipe < 0 {
        EARLY.fetch_or(1 << number, Ordering::Relaxed);
        return;
    }
    let byte = number as u8;
    // SAFETY: write is safe in a handler; one byte of a live local. errno is put back for the interrupted
    // code.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        libc::write(pipe, (&raw const byte).cast(), 1);
        *errno = before;
    }
}

fn handle(signal: Signal, handler: extern "C" fn(libc::c_int)) -> io::Result<()> {
    // SAFETY: an all-zero sigaction is valid; the handlers of this module do only what is safe in a handler.
    // No SA_RESTART: a blocking call must end.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as libc::sighandler_t;
        libc::sigemptyset(&mut action.sa_mask);
        cvt(libc::sigaction(signal.0, &action, std::ptr::null_mut())).map(drop)
    }
}

fn is_ignored(signal: Signal) -> io::Result<bool> {
    // SAFETY: asks only; `current` is a plain C struct with room for the answer.
    unsafe {
        let mut current: libc::sigaction = std::mem::zeroed();
        cvt(libc::sigaction(signal.0, std::ptr::null(), &mut current))?;
        Ok(current.sa_sigaction == libc::SIG_IGN)
    }
}

/// Ignores `signal` from now on, in this process and the programs it becomes.
pub fn ignore(signal: Signal) {
    // SAFETY: sets a disposition; touches no memory of ours.
    unsafe { libc::signal(signal.0, libc::SIG_IGN) };
}

/// Blocks every signal while it lives, so that no handler runs in a child that still shares our memory.
pub(super) struct AllBlocked(libc::sigset_t);

impl AllBlocked {
    pub(super) fn new() -> AllBlocked {
        // SAFETY: both sets are plain C structs that live through the calls.
        unsafe {
            let mut all = std::mem::zeroed();
            let mut before = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::sigprocmask(libc::SIG_SETMASK, &all, &mut before);
            AllBlocked(before)
        }
    }
}

impl Drop for AllBlocked {
    fn drop(&mut self) {
        // SAFETY: restores the mask that `new` saved.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
    }
}

/// Gives every signal its default action and unblocks all. For a child between fork and exec.
///
/// # Safety
/// Only in such a child: the handlers of the program do not run afterwards.
pub(super) unsafe fn reset_in_child() {
    // SAFETY: simple system calls on live locals; failures (KILL, STOP) do not matter. SIGPIPE and
    // SIGXFSZ are what `start` ignores.
    unsafe {
        for Signal(number) in INTERRUPTS {
            // An ignored interrupt stays ignored: the user said nohup.
            let mut current: libc::sigaction = std::mem::zeroed();
            libc::sigaction(number, std::ptr::null(), &mut current);
            if current.sa_sigaction != libc::SIG_IGN {
                libc::signal(number, libc::SIG_DFL);
            }
        }
        for number in [libc::SIGALRM, libc::SIGCHLD, libc::SIGPIPE, libc::SIGXFSZ] {
            libc::signal(number, libc::SIG_DFL);
        }
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}

/// Has the kernel send [`Signal::ALRM`] to this process in `seconds`; its forks do not inherit that.
pub fn alarm(seconds: u32) {
    // SAFETY: takes an integer and touches nothing of ours.
    unsafe { libc::alarm(seconds) };
}

/// Sleeps until `time` has passed or a signal comes.
pub fn nap(time: Duration) {
    // On some systems it has more fields than these two.
    let mut wanted = libc::timespec::default();
    (wanted.tv_sec, wanted.tv_nsec) = (time.as_secs() as _, time.subsec_nanos() as _);
    // SAFETY: `wanted` lives through the call; the rest after a signal is not asked for.
    unsafe { libc::nanosleep(&wanted, std::ptr::null_mut()) };
}

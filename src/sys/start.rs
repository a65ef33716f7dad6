//! The process's first steps, in place of the standard library's.
//!
//! Before `main` that library's runtime finds out where the stack is and sets up a handler that explains its overflow:
//! sixteen system calls, among them a reading of `/proc/self/maps`, and a sixth of all instructions of a short
//! client. This program starts at C's `main` and does what of it matters here.

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;

/// The words that this process was started with.
static ARGUMENTS: OnceLock<Vec<OsString>> = OnceLock::new();

/// To be called first, with the arguments of C's `main`.
///
/// Standard streams that are closed are opened on `/dev/null`, so that no file of ours gets their numbers; a reader
/// that has gone is an error of the write and not the end of the process; children can be waited for, even if who
/// started us ignores its own (`SIGCHLD`), which is inherited.
///
/// # Safety
/// `argv` has `argc` pointers to strings that end with NUL.
pub unsafe fn begin(argc: c_int, argv: *const *const c_char) {
    let words = (0..argc as usize).map(|at| {
        // SAFETY: `at` is below `argc`, and the caller vouches for what stands there.
        let word = unsafe { CStr::from_ptr(*argv.add(at)) };
        OsStr::from_bytes(word.to_bytes()).to_owned()
    });
    let _ = ARGUMENTS.set(words.collect());
    fill_closed_streams();
    // SAFETY: no handler is installed; an ignored signal does nothing, and nor does SIGCHLD by default.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        // A file as large as the user's limit allows is an error where it is written, not the end of a server.
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
    }
    #[cfg(silent_panics)]
    tell_of_bugs();
}

/// The smallest builds (`cross/build.sh`) have no text for panics, which would be a tenth of them: a panic is an instruction
/// that the processor refuses. So its address is told; the same sources built with symbols say which line that is.
#[cfg(silent_panics)]
fn tell_of_bugs() {
    for signal in [libc::SIGILL, libc::SIGTRAP] {
        // SAFETY: an all-zero sigaction is valid, and the handler only writes. It is gone when it returns, so that the
        // instruction ends the process as it would have without it.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = tell_where as *const () as libc::sighandler_t;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_RESETHAND;
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
    }
}

#[cfg(silent_panics)]
extern "C" fn tell_where(_: c_int, info: *const libc::siginfo_t, _: *const libc::c_void) {
    let mut text =
        *b"................ <- the place of a bug in distcc: please report this number and the version\n";
    // SAFETY: the kernel passes a valid pointer, and for these signals the address is set.
    let mut address = unsafe { (*info).si_addr() } as usize;
    for digit in text[..16].iter_mut().rev() {
        *digit = b"0123456789abcdef"[address % 16];
        address /= 16;
    }
    // SAFETY: `text` lives through the call.
    unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
}

/// The words that this process was started with, its own name first; none before [`begin`].
pub fn arguments() -> &'static [OsString] {
    ARGUMENTS.get().map_or(&[], Vec::as_slice)
}

fn fill_closed_streams() {
    let mut streams = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: three entries, as it says; with no events and no time it only looks.
    let closed = unsafe { libc::poll(streams.as_mut_ptr(), 3, 0) } > 0;
    for stream in streams.iter().filter(|stream| closed && stream.revents & libc::POLLNVAL != 0) {
        // SAFETY: the path ends with NUL. The lowest free number is the stream's, as those below it are open by now.
        let opened = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
        debug_assert_eq!(opened, stream.fd);
    }
}

//! Threads of the C library.
//!
//! The standard library's would add 25 KB to a static program: a tree of all threads for messages about overflown stacks,
//! and names, for which musl brings `snprintf` and floating point.

use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// What a thread does.
type Work = Box<dyn FnOnce() + Send>;

/// Bytes of stack for each, as in the standard library; musl's own 128 KB would be few.
const STACK: usize = 2 << 20;

/// Starts `work` in a thread of its own, which nobody waits for.
///
/// # Errors
/// The kernel's, when there are too many threads or too little memory.
pub fn start(work: Work) -> io::Result<()> {
    // A box in a box: the outer one's pointer is a single word, which is what a thread is handed.
    let work = Box::into_raw(Box::new(work));
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let mut thread = MaybeUninit::<libc::pthread_t>::uninit();
    // SAFETY: the attributes are set up by the first call and used until the last one; `run` takes a pointer made from a box as
    // this one was.
    let error = unsafe {
        let attributes = attributes.as_mut_ptr();
        libc::pthread_attr_init(attributes);
        libc::pthread_attr_setdetachstate(attributes, libc::PTHREAD_CREATE_DETACHED);
        libc::pthread_attr_setstacksize(attributes, STACK);
        let error = libc::pthread_create(thread.as_mut_ptr(), attributes, run, work.cast());
        libc::pthread_attr_destroy(attributes);
        error
    };
    if error != 0 {
        // SAFETY: there is no thread that owns it.
        drop(unsafe { Box::from_raw(work) });
        return Err(io::Error::from_raw_os_error(error));
    }
    Ok(())
}

/// Where a thread begins. One that panics ends the process: nobody could be told of it (and as an `extern "C"` function, it
/// does not unwind).
extern "C" fn run(work: *mut c_void) -> *mut c_void {
    // SAFETY: `start` made the pointer from such a box, and gave it to this thread only.
    let work = unsafe { Box::from_raw(work.cast::<Work>()) };
    work();
    ptr::null_mut()
}

/// Wakes a thread that waits, but not for longer than it wants to.
///
/// The standard library's timed waits hand the kernel a time of the C library's size for a call that takes the kernel's, so they end up
/// to a second early where the two differ: on 32-bit processors with times beyond 2038. `.clippy.toml` forbids them.
#[derive(Default)]
pub struct Bell {
    rung: AtomicU32,
}

/// A time as `futex` takes it: two of the kernel's long integers.
#[repr(C)]
struct Interval {
    seconds: libc::c_long,
    nanoseconds: libc::c_long,
}

impl Bell {
    /// How often it has rung, for [`Bell::wait`].
    pub fn count(&self) -> u32 {
        self.rung.load(Ordering::Acquire)
    }

    /// Rings, and wakes one who waits.
    pub fn ring(&self) {
        self.rung.fetch_add(1, Ordering::Release);
        // SAFETY: the kernel only compares the address with those at which threads wait.
        unsafe {
            libc::syscall(libc::SYS_futex, self.rung.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1)
        };
    }

    /// Waits until it has rung more often than `count`, `at_most` has passed or a signal came. It may also return for no reason.
    pub fn wait(&self, count: u32, at_most: Duration) {
        let at_most = Interval {
            seconds: at_most.as_secs().try_into().unwrap_or(libc::c_long::MAX),
            nanoseconds: at_most.subsec_nanos() as libc::c_long,
        };
        // SAFETY: the number and the time live through the call, which reads them.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.rung.as_ptr(),
                libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                count,
                &raw const at_most,
            )
        };
    }
}

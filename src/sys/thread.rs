//! Threads of the C library.
//!
//! The standard library's would add 25 KB to a static program: a tree of all threads for messages about overflown stacks,
//! and names, for which musl brings `snprintf` and floating point.

use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

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

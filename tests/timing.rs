//! What must not take long: tests that measure time. They have the machine to themselves: no other test of this binary
//! runs beside one, and no other binary either.

// Through the harness's capture, as only these macros go.
#![allow(clippy::disallowed_macros)]

mod util;

/// Thousands of connections that do nothing.
#[path = "crowd.rs"]
mod crowd;
/// Many jobs on few slots.
#[path = "slots.rs"]
mod slots;

use std::sync::{Mutex, MutexGuard, PoisonError};

static MACHINE: Mutex<()> = Mutex::new(());

/// Until it is dropped, nothing else is measured.
fn alone() -> MutexGuard<'static, ()> {
    // A test that failed has nothing to do with the next one.
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

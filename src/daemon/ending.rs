//! What a daemon says and sees to when a signal comes, whichever of its processes is in charge.

use crate::daemon::manager::Manager;
use crate::logging::{self, NOTICE};
use crate::sys::signal::{self, Signal};

/// How long jobs may go on after the daemon's `--lifetime`, in seconds.
const LAST_JOBS: u32 = 30;

/// A signal to end: the first lets running jobs finish, the next one ends them (`at_once`).
pub fn announce(signal: Signal, at_once: bool, manager: &Manager) {
    manager.stopping();
    let why = match signal {
        Signal::ALRM => "the --lifetime is over".to_owned(),
        _ => format!("signal {}", signal.number()),
    };
    if at_once {
        log::info!(target: NOTICE, "{why}: ending at once");
        return;
    }
    log::info!(target: NOTICE, "{why}: finishing the running jobs");
    // A daemon with a lifetime is one that must not stay behind: no job gets to keep it.
    if signal == Signal::ALRM {
        signal::alarm(LAST_JOBS);
    }
}

/// A log file that has been moved away is made anew.
pub fn reopen_log(manager: &Manager) {
    manager.reloading();
    logging::reopen();
    log::info!(target: NOTICE, "signal 1: the log file is opened again");
    manager.ready();
}

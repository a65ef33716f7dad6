//! Work that nothing can interrupt, such as the resolver's, is done in threads that are left alone when time is over.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Where threads leave what they have found.
pub struct Mailbox<T> {
    letters: Mutex<Vec<T>>,
    arrival: Condvar,
}

impl<T> Mailbox<T> {
    /// Empty, and to be shared.
    pub fn new() -> Arc<Self> {
        Arc::new(Mailbox { letters: Mutex::new(Vec::new()), arrival: Condvar::new() })
    }

    /// Leaves one.
    pub fn put(&self, letter: T) {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).push(letter);
        self.arrival.notify_one();
    }

    /// Takes all that have come; if there is none, waits for one, but not beyond `deadline`.
    pub fn take(&self, deadline: Instant) -> Vec<T> {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if !letters.is_empty() || left == Duration::ZERO {
                return std::mem::take(&mut letters);
            }
            letters = self.arrival.wait_timeout(letters, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::thread;

    #[test]
    fn letters_come_or_time_passes() {
        let mailbox = Mailbox::new();
        assert_eq!(mailbox.take(Instant::now()), [0; 0]);
        assert_eq!(mailbox.take(Instant::now() + Duration::from_millis(5)), [0; 0]);
        let sender = Arc::clone(&mailbox);
        thread::start(Box::new(move || sender.put(7))).unwrap();
        assert_eq!(mailbox.take(Instant::now() + Duration::from_secs(60)), [7]);
    }
}

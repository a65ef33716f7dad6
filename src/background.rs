//! Work that nothing can interrupt, such as the resolver's, is done in threads that are left alone when time is over.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::sys::thread::Bell;

/// Where threads leave what they have found.
pub struct Mailbox<T> {
    letters: Mutex<Vec<T>>,
    arrival: Bell,
}

impl<T> Mailbox<T> {
    /// Empty, and to be shared.
    pub fn new() -> Arc<Self> {
        Arc::new(Mailbox { letters: Mutex::new(Vec::new()), arrival: Bell::default() })
    }

    /// Leaves one.
    pub fn put(&self, letter: T) {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).push(letter);
        self.arrival.ring();
    }

    /// Takes all that have come; if there is none, waits for one, but not beyond `deadline`.
    pub fn take(&self, deadline: Instant) -> Vec<T> {
        loop {
            let count = self.arrival.count();
            let letters = std::mem::take(&mut *self.letters.lock().unwrap_or_else(PoisonError::into_inner));
            let left = deadline.saturating_duration_since(Instant::now());
            if !letters.is_empty() || left == Duration::ZERO {
                return letters;
            }
            self.arrival.wait(count, left);
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
        let (start, wait) = (Instant::now(), Duration::from_millis(5));
        assert_eq!(mailbox.take(start + wait), [0; 0]);
        assert!(start.elapsed() >= wait);
        let sender = Arc::clone(&mailbox);
        thread::start(Box::new(move || sender.put(7))).unwrap();
        assert_eq!(mailbox.take(Instant::now() + Duration::from_secs(60)), [7]);
    }
}

//! A worker's memory for large bodies, which goes from job to job while there are large jobs.
//!
//! Getting memory from the kernel page by page costs as much as compressing or expanding what it is for.

use std::time::{Duration, Instant};

use crate::daemon::job::SMALL;

/// The most that unused buffers take, in bytes.
const KEPT: usize = 16 << 20;
/// A window that a long run has made longer than this is not kept.
const KEPT_WINDOW: usize = 1 << 20;
/// How long buffers are kept that nothing needs.
const KEPT_TIME: Duration = Duration::from_secs(1);

/// The buffers that no job has.
#[derive(Debug, Default)]
pub struct Buffers {
    unused: Vec<Vec<u8>>,
    /// What bodies are expanded through; its contents do not matter.
    window: Vec<u8>,
    /// When a large job last had one of them.
    used: Option<Instant>,
}

impl Buffers {
    /// An empty one with room for so many bytes.
    pub fn take(&mut self, len: usize) -> Vec<u8> {
        if len <= SMALL {
            return Vec::with_capacity(len);
        }
        self.used = Some(Instant::now());
        let fitting = (0..self.unused.len()).filter(|at| self.unused[*at].capacity() >= len);
        match fitting.min_by_key(|at| self.unused[*at].capacity()) {
            Some(at) => self.unused.swap_remove(at),
            None => {
                // In place of one that is too small, or each new size of jobs would add its own.
                self.unused.pop();
                Vec::with_capacity(len)
            }
        }
    }

    /// Takes one back, or any other.
    pub fn give_back(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= SMALL {
            return;
        }
        self.used = Some(Instant::now());
        let kept: usize = self.unused.iter().map(Vec::capacity).sum();
        if kept + buffer.capacity() <= KEPT {
            buffer.clear();
            self.unused.push(buffer);
        }
    }

    /// Gives a body room for `len` bytes in all.
    pub fn enlarge(&mut self, body: &mut Vec<u8>, len: usize) {
        if len <= SMALL {
            body.reserve(len.saturating_sub(body.len()));
        } else if body.capacity() < len {
            let mut larger = self.take(len);
            larger.extend_from_slice(body);
            *body = larger;
        }
    }

    /// Lends what bodies are expanded through.
    pub fn with_window<R>(&mut self, use_it: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let before = self.window.capacity();
        let result = use_it(&mut self.window);
        if self.window.capacity() > before.max(SMALL) {
            self.used = Some(Instant::now());
        }
        if self.window.capacity() > KEPT_WINDOW {
            self.window = Vec::new();
        }
        result
    }

    /// When nothing will have needed them for long enough.
    pub fn deadline(&self) -> Option<Instant> {
        self.used.map(|used| used + KEPT_TIME)
    }

    /// Drops them all, if that is now; then there is memory to return to the system.
    pub fn expire(&mut self, now: Instant) -> bool {
        let is_over = self.deadline().is_some_and(|deadline| deadline <= now);
        if is_over {
            *self = Buffers::default();
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: usize = 1 << 20;

    #[test]
    fn the_next_job_has_the_memory_of_the_last() {
        let mut buffers = Buffers::default();
        let (mut small, mut large) = (buffers.take(LARGE), buffers.take(2 * LARGE));
        small.push(1);
        large.push(2);
        let places = [small.as_ptr(), large.as_ptr()];
        buffers.give_back(large);
        buffers.give_back(small);
        let (small, large) = (buffers.take(LARGE - 1), buffers.take(LARGE - 1));
        assert!(small.is_empty() && large.is_empty());
        assert_eq!([small.as_ptr(), large.as_ptr()], places);
    }

    #[test]
    fn a_body_that_grows_stays_the_same() {
        let mut buffers = Buffers::default();
        let mut body = b"body".to_vec();
        buffers.enlarge(&mut body, SMALL);
        assert!(body.capacity() >= SMALL && buffers.deadline().is_none());
        buffers.enlarge(&mut body, LARGE);
        assert!(body == b"body" && body.capacity() >= LARGE);
    }

    #[test]
    fn not_more_is_kept_than_is_worth_it() {
        let mut buffers = Buffers::default();
        let taken: Vec<Vec<u8>> = (0..KEPT / LARGE + 3).map(|_| buffers.take(LARGE)).collect();
        taken.into_iter().for_each(|buffer| buffers.give_back(buffer));
        assert_eq!(buffers.unused.len(), KEPT / LARGE);
        // One that is too small makes way.
        drop(buffers.take(2 * LARGE));
        assert_eq!(buffers.unused.len(), KEPT / LARGE - 1);
        buffers.with_window(|window| window.resize(KEPT_WINDOW + 1, 0));
        buffers.with_window(|window| assert_eq!(window.capacity(), 0));
    }

    #[test]
    fn what_nothing_needs_is_not_kept_for_long() {
        let mut buffers = Buffers::default();
        buffers.give_back(Vec::with_capacity(SMALL));
        assert_eq!(buffers.deadline(), None, "small buffers do not matter");
        buffers.give_back(Vec::with_capacity(LARGE));
        buffers.with_window(|window| window.resize(LARGE, 0));
        let deadline = buffers.deadline().unwrap();
        assert!(!buffers.expire(deadline - Duration::from_millis(1)));
        assert_eq!(buffers.unused.len(), 1);
        assert!(buffers.expire(deadline));
        assert!(buffers.unused.is_empty() && buffers.deadline().is_none());
        buffers.with_window(|window| assert_eq!(window.capacity(), 0));
    }
}

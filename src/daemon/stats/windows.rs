//! The last minutes, for averages.

use std::time::{Duration, Instant};

/// The last minutes in slots of three seconds, as stock keeps them.
#[derive(Debug)]
pub(super) struct Windows {
    start: Instant,
    /// The number of the slot that is being filled.
    current: u64,
    /// A ring: the slot with number n is at n modulo the length.
    slots: Vec<Slot>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    compiles: u64,
    /// The time that successful jobs took of these three seconds, all together, in ms.
    busy: u64,
}

impl Windows {
    /// In ms.
    const SLOT: u64 = 3000;
    const PER_MINUTE: u64 = 60_000 / Self::SLOT;
    /// The longest window is 15 minutes and ends a minute ago; and there is the current slot.
    const LEN: u64 = 16 * Self::PER_MINUTE + 1;

    pub(super) fn new(start: Instant) -> Windows {
        Windows { start, current: 0, slots: vec![Slot::default(); Self::LEN as usize] }
    }

    fn millis(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_millis() as u64
    }

    fn slot(&mut self, number: u64) -> &mut Slot {
        &mut self.slots[(number % Self::LEN) as usize]
    }

    /// Empties the slots that have begun since.
    pub(super) fn advance(&mut self, now: Instant) {
        let number = self.millis(now) / Self::SLOT;
        let first = (self.current + 1).max((number + 1).saturating_sub(Self::LEN));
        for new in first..=number {
            *self.slot(new) = Slot::default();
        }
        self.current = self.current.max(number);
    }

    /// A compile has ended in the current slot.
    pub(super) fn count(&mut self) {
        let current = self.current;
        self.slot(current).compiles += 1;
    }

    /// A job that took `time` has ended now.
    pub(super) fn add_busy(&mut self, now: Instant, time: Duration) {
        let end = self.millis(now);
        let start = end.saturating_sub(time.as_millis() as u64);
        let oldest = (self.current + 1).saturating_sub(Self::LEN);
        for number in (start / Self::SLOT).max(oldest)..=self.current {
            let slot_start = number * Self::SLOT;
            let overlap = end.min(slot_start + Self::SLOT).saturating_sub(start.max(slot_start));
            self.slot(number).busy += overlap;
        }
    }

    /// The slots of a window of so many minutes that ended so many slots before the current one.
    fn window(&self, minutes: u64, ago: u64) -> impl Iterator<Item = &Slot> {
        let end = self.current.saturating_sub(ago);
        let first = end.saturating_sub(minutes * Self::PER_MINUTE);
        (first..end).map(|number| &self.slots[(number % Self::LEN) as usize])
    }

    /// Compiles in the last minutes, without the current slot.
    pub(super) fn compiles(&self, minutes: u64) -> u64 {
        self.window(minutes, 0).map(|slot| slot.compiles).sum()
    }

    /// Successful jobs at once on average. Jobs are known only when they have ended, hence the minute's
    /// distance.
    pub(super) fn average_busy(&self, minutes: u64) -> u64 {
        let busy: u64 = self.window(minutes, Self::PER_MINUTE).map(|slot| slot.busy).sum();
        busy / (minutes * 60_000)
    }
}

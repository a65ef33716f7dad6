//! What conditions came out as, and the macros that this was because of: as long as those are what they were,
//! nothing has to be expanded or calculated again.

use super::expand::Reads;
use super::expression::Truth;
use super::pool::ListId;
use super::symbol::Symbol;
use super::table::{State, Table};

/// Whether a name is a macro.
pub fn is_defined(table: &Table, name: Symbol) -> Truth {
    match table.state(name) {
        State::Undefined => Truth::False,
        State::Defined(_) | State::Builtin => Truth::True,
        State::Forgotten => Truth::Unknown,
        State::Maybe => {
            let candidates = table.candidates(name);
            match candidates.iter().filter(|state| **state == State::Undefined).count() {
                0 => Truth::True,
                all if all == candidates.len() => Truth::False,
                _ => Truth::Unknown,
            }
        }
    }
}

struct Verdict {
    reads: Box<[(Symbol, State)]>,
    truth: Truth,
}

/// Ways to come to a verdict that are remembered of one condition. Most have one; those of headers that are included
/// several times on purpose, such as `<stddef.h>`, some more.
const MOST_WAYS: usize = 8;

/// What one compiler in one situation makes of conditions.
#[derive(Default)]
pub struct Verdicts {
    /// By list; the latest first.
    ways: Vec<Vec<Verdict>>,
    size: usize,
}

impl Verdicts {
    /// What a condition comes out as, if it is known for macros as they are.
    pub fn find(&self, condition: ListId, table: &Table) -> Option<Truth> {
        let ways = self.ways.get(condition.index())?;
        let holds = |way: &&Verdict| way.reads.iter().all(|&(name, state)| table.state(name) == state);
        ways.iter().find(holds).map(|way| way.truth)
    }

    /// Remembers what a condition came out as, and why.
    pub fn note(&mut self, condition: ListId, truth: Truth, reads: &Reads) {
        // A macro that may be several things says nothing by its state alone.
        if reads.placed || reads.macros.iter().any(|&(_, state)| state == State::Maybe) {
            return;
        }
        if self.ways.len() <= condition.index() {
            self.ways.resize_with(condition.index() + 256, Vec::new);
        }
        let ways = &mut self.ways[condition.index()];
        if ways.len() == MOST_WAYS
            && let Some(oldest) = ways.pop()
        {
            self.size -= size_of_val(&*oldest.reads);
        }
        self.size += size_of_val(&*reads.macros);
        ways.insert(0, Verdict { reads: reads.macros[..].into(), truth });
    }

    /// Roughly the bytes that all this takes.
    pub fn size(&self) -> usize {
        self.size + self.ways.len() * (size_of::<Vec<Verdict>>() + size_of::<Verdict>())
    }
}

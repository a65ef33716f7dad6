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
    /// Where its macros end in [`Verdicts::reads`]; they begin where those of the one before it end.
    end: u32,
    truth: Truth,
    /// The verdict before it of the same condition, by its number and one more.
    other: u32,
}

/// Ways to come to a verdict that are remembered of one condition. Most have one; those of headers that are included
/// several times on purpose, such as `<stddef.h>`, some more.
const MOST_WAYS: usize = 8;

/// What one compiler in one situation makes of conditions.
#[derive(Default)]
pub struct Verdicts {
    /// By list: the number of its latest verdict and one more, 0 for none.
    latest: Vec<u32>,
    /// In the order in which they came, which is that in which they will be wanted.
    all: Vec<Verdict>,
    reads: Vec<(Symbol, State)>,
}

impl Verdicts {
    /// What a condition comes out as, if it is known for macros as they are.
    pub fn find(&self, condition: ListId, table: &Table) -> Option<Truth> {
        let mut ways = self.ways(condition);
        let holds = |&(name, state): &(Symbol, State)| table.state(name) == state;
        ways.find(|&at| self.macros(at).iter().all(holds)).map(|at| self.all[at].truth)
    }

    /// Remembers what a condition came out as, and why.
    pub fn note(&mut self, condition: ListId, truth: Truth, reads: &Reads) {
        // A macro that may be several things says nothing by its state alone.
        if reads.placed || reads.macros.iter().any(|&(_, state)| state == State::Maybe) {
            return;
        }
        if self.latest.len() <= condition.index() {
            self.latest.resize(condition.index() + 256, 0);
        }
        // Those of headers as they once were would stay for ever: all begin anew.
        let is_full = self.ways(condition).count() >= MOST_WAYS;
        let other = if is_full { 0 } else { self.latest[condition.index()] };
        self.reads.extend_from_slice(&reads.macros);
        self.all.push(Verdict { end: self.reads.len() as u32, truth, other });
        self.latest[condition.index()] = self.all.len() as u32;
    }

    /// The verdicts of a condition, the latest first.
    fn ways(&self, condition: ListId) -> impl Iterator<Item = usize> {
        let latest = self.latest.get(condition.index()).copied().unwrap_or(0) as usize;
        std::iter::successors(latest.checked_sub(1), |&at| (self.all[at].other as usize).checked_sub(1))
    }

    /// The macros that a verdict was because of.
    fn macros(&self, at: usize) -> &[(Symbol, State)] {
        let start = at.checked_sub(1).map_or(0, |before| self.all[before].end);
        &self.reads[start as usize..self.all[at].end as usize]
    }

    /// Roughly the bytes that all this takes.
    pub fn size(&self) -> usize {
        self.latest.len() * size_of::<u32>() + size_of_val(&self.all[..]) + size_of_val(&self.reads[..])
    }
}

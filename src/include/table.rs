//! What is known of each macro at a point of a unit.

use super::hash::Set;
use super::pool::MacroRef;
use super::symbol::{Symbol, known};
use crate::sorted_map::SortedMap;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is no macro.
    Undefined,
    /// It is this macro.
    Defined(MacroRef),
    /// A macro of the compiler without a definition, such as `__FILE__` or `__has_include`.
    Builtin,
    /// One of several of the above: see [`Table::candidates`].
    Maybe,
    /// Nothing is known.
    Forgotten,
}

impl State {
    /// As one number.
    fn packed(self) -> u32 {
        match self {
            State::Undefined => 0,
            State::Builtin => 1,
            State::Maybe => 2,
            State::Forgotten => 3,
            State::Defined(at) => at.number() + 4,
        }
    }

    fn unpacked(number: u32) -> State {
        match number {
            0 => State::Undefined,
            1 => State::Builtin,
            2 => State::Maybe,
            3 => State::Forgotten,
            more => State::Defined(MacroRef::with_number(more - 4)),
        }
    }
}

/// All macros of a unit.
#[derive(Default)]
pub struct Table {
    unit: u32,
    /// By symbol, packed; entries of other units are as good as none.
    entries: Vec<(u32, u32)>,
    candidates: SortedMap<Symbol, Vec<State>>,
    /// Names of which nothing will be known any more.
    lost: Set<Symbol>,
    pushed: SortedMap<Symbol, Vec<(State, Vec<State>)>>,
}

impl Table {
    /// Forgets everything: a new unit begins.
    pub fn clear(&mut self) {
        self.candidates.clear();
        self.lost.clear();
        self.pushed.clear();
        self.unit = self.unit.wrapping_add(1);
        if self.unit == 0 {
            self.entries.clear();
            self.unit = 1;
        }
    }

    /// What a name stands for.
    pub fn state(&self, name: Symbol) -> State {
        match self.entries.get(name.index()) {
            Some(&(unit, state)) if unit == self.unit => State::unpacked(state),
            _ => State::Undefined,
        }
    }

    /// What a name may stand for, if that is [`State::Maybe`].
    pub fn candidates(&self, name: Symbol) -> &[State] {
        self.candidates.get(&name).map_or(&[], Vec::as_slice)
    }

    /// `#define` or `#undef`; `certain` if it happens whatever the unknown conditions are.
    pub fn set(&mut self, name: Symbol, state: State, certain: bool) {
        let old = self.state(name);
        if certain || old == state {
            if old != State::Forgotten || state != State::Undefined || certain {
                self.put(name, state);
            }
            return;
        }
        match old {
            State::Forgotten => return,
            State::Maybe => {}
            old => {
                self.candidates.insert(name, vec![old]);
            }
        }
        let candidates = self.candidates.get_or_insert_with(name, Vec::new);
        if !candidates.contains(&state) {
            candidates.push(state);
        }
        self.put(name, State::Maybe);
    }

    /// Nothing will be known of this name any more, whatever is done with it.
    pub fn lose(&mut self, name: Symbol) {
        self.put(name, State::Forgotten);
        self.lost.insert(name);
    }

    /// Nothing is known of this name until it is set with certainty.
    pub fn forget(&mut self, name: Symbol) {
        self.put(name, State::Forgotten);
    }

    /// `push_macro`.
    pub fn push(&mut self, name: Symbol, certain: bool) {
        if !certain {
            return self.lose(name);
        }
        let saved = (self.state(name), self.candidates(name).to_vec());
        self.pushed.get_or_insert_with(name, Vec::new).push(saved);
    }

    /// `pop_macro`.
    pub fn pop(&mut self, name: Symbol, certain: bool) {
        if !certain {
            return self.lose(name);
        }
        if let Some((state, candidates)) = self.pushed.get_mut(&name).and_then(Vec::pop) {
            self.put(name, state);
            self.candidates.insert(name, candidates);
        }
    }

    fn put(&mut self, name: Symbol, state: State) {
        if name == known::DEFINED || (!self.lost.is_empty() && self.lost.contains(&name)) {
            return;
        }
        if self.entries.len() <= name.index() {
            self.entries.resize(name.index() + 1024, (0, 0));
        }
        self.entries[name.index()] = (self.unit, state.packed());
    }
}

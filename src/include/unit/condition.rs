//! Conditions and computed names: what they come out as in every world that is possible.

use super::super::directive::{Condition, How};
use super::super::expand::{Expander, Stop, Surroundings};
use super::super::expression::{Truth, evaluate, header_name};
use super::super::pool::ListId;
use super::super::symbol::{Symbol, known};
use super::super::table::State;
use super::super::verdict::is_defined;
use super::{Frame, Result, Run, Shared};
use crate::sorted_map::SortedMap;

/// Ways to read one line when it is not known which of several definitions macros have.
const MAX_WORLDS: usize = 64;

const TOO_LARGE: &str = "has macros that expand to too much";

impl Run<'_> {
    /// The header names that an `#include` of macros can mean.
    pub(super) fn computed(&mut self, list: ListId, frame: Frame) -> Result<Vec<Vec<u8>>> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut worlds = vec![SortedMap::new()];
        let mut tried = 0;
        while let Some(choices) = worlds.pop() {
            tried += 1;
            if tried > MAX_WORLDS {
                return Err("includes a file whose name has too many possible values".to_owned());
            }
            let result = self.with_expander(list, &choices, frame, |expander, _| {
                let tokens = expander.all()?;
                Ok(header_name(&tokens, expander.around.symbols, expander.around.clang))
            });
            match result {
                Ok(Some(name)) if !names.contains(&name) => names.push(name),
                Ok(Some(_)) => {}
                Ok(None) => {}
                Err(Stop::Choose(name)) => self.fork(&choices, name, &mut worlds),
                Err(Stop::TooLarge) => return Err(TOO_LARGE.to_owned()),
                Err(_) => return Err("includes a file whose name only the compiler knows".to_owned()),
            }
        }
        Ok(names)
    }

    fn fork(
        &self,
        choices: &SortedMap<Symbol, State>,
        name: Symbol,
        worlds: &mut Vec<SortedMap<Symbol, State>>,
    ) {
        for &candidate in self.shared.table.candidates(name) {
            let mut choices = choices.clone();
            choices.insert(name, candidate);
            worlds.push(choices);
        }
    }

    fn with_expander<T>(
        &mut self,
        list: ListId,
        choices: &SortedMap<Symbol, State>,
        frame: Frame,
        job: impl FnOnce(&mut Expander, bool) -> std::result::Result<T, Stop>,
    ) -> std::result::Result<T, Stop> {
        let Shared { symbols, store, table, .. } = &mut *self.shared;
        let file = symbols.spelling(self.ways[frame.found.way].name.path).to_vec();
        self.reads.clear();
        let mut around = Surroundings {
            table,
            pool: &store.pool,
            symbols,
            choices,
            answers: &self.setup.answers,
            includes: &self.includes,
            file: &file,
            base_file: &self.base_file,
            depth: frame.depth,
            clang: self.setup.clang,
            asserted: self.asserted,
            reads: &mut self.reads,
        };
        job(&mut Expander::new(&mut around, store.pool.tokens(list)), self.setup.cplusplus)
    }

    /// What a condition comes out as.
    pub(super) fn truth(&mut self, condition: Condition, frame: Frame) -> Result<Truth> {
        let list = match condition {
            Condition::Defined(name) => return Ok(is_defined(&self.shared.table, name)),
            Condition::Undefined(name) => return Ok(!is_defined(&self.shared.table, name)),
            Condition::Expression(list) => list,
        };
        if let Some(truth) = self.setup.verdicts.find(list, &self.shared.table) {
            return Ok(truth);
        }
        self.includes.clear();
        // Nearly always nothing is in doubt.
        if let Ok(truth) = self.with_expander(list, &SortedMap::new(), frame, evaluate) {
            self.setup.verdicts.note(list, truth, &self.reads);
            return Ok(truth);
        }
        self.possible_truth(list, frame)
    }

    /// The same for one that has to be tried with the possible values of macros, or needs something found out.
    fn possible_truth(&mut self, condition: ListId, frame: Frame) -> Result<Truth> {
        let mut all: Option<Truth> = None;
        let mut worlds = vec![SortedMap::new()];
        let mut tried = 0;
        while let Some(choices) = worlds.pop() {
            tried += 1;
            if tried > MAX_WORLDS + 1024 {
                return Ok(Truth::Unknown);
            }
            match self.with_expander(condition, &choices, frame, evaluate) {
                Ok(truth) => match all {
                    None => all = Some(truth),
                    Some(other) if other == truth => {}
                    Some(_) => all = Some(Truth::Unknown),
                },
                Err(Stop::Choose(_)) if worlds.len() > MAX_WORLDS => return Ok(Truth::Unknown),
                Err(Stop::Choose(name)) => self.fork(&choices, name, &mut worlds),
                Err(Stop::Ask(name, argument)) => {
                    let Shared { store, symbols, .. } = &*self.shared;
                    self.setup.find_answers(name, &argument, store, symbols)?;
                    worlds.push(choices);
                }
                Err(Stop::Find(which, name)) => {
                    let value = self.exists(which, &name, frame)?;
                    self.includes.insert((which, name), value);
                    worlds.push(choices);
                }
                Err(Stop::Unknown) => all = Some(Truth::Unknown),
                Err(Stop::TooLarge) => return Err(TOO_LARGE.to_owned()),
            }
        }
        Ok(all.unwrap_or(Truth::Unknown))
    }

    /// What `__has_include` and its kin say. What is found there must exist on a server, too.
    fn exists(&mut self, which: Symbol, name: &[u8], frame: Frame) -> Result<i64> {
        let how = match which {
            known::HAS_INCLUDE_NEXT => How::Next,
            known::HAS_EMBED => How::Embed,
            _ => How::Include,
        };
        let name = self.shared.symbols.intern(name);
        let Some(found) = self.meant(how, name, frame.found)? else { return Ok(0) };
        self.need(found, true);
        let empty = self.ways[found.way].stamp.len == 0;
        Ok(if which == known::HAS_EMBED && empty { 2 } else { 1 })
    }
}

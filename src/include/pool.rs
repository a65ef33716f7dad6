//! Lists of tokens and definitions of macros, each kept once however many files have it: the same conditions and
//! definitions stand in hundreds of headers, and what is one thing is evaluated and compared as one.

use std::hash::{Hash, Hasher};

use super::hash::{Map, Quick};
use super::symbol::Symbol;
use super::token::Token;

/// A list of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListId(u32);

impl ListId {
    /// Its place in arrays that are indexed by lists.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A definition. Macros of one name that are defined alike are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MacroRef(u32);

impl MacroRef {
    /// Its number, from 0 on.
    pub fn number(self) -> u32 {
        self.0
    }

    /// The definition with a number that [`MacroRef::number`] gave.
    pub fn with_number(number: u32) -> MacroRef {
        MacroRef(number)
    }
}

/// A macro's definition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Macro {
    /// Its name.
    pub name: Symbol,
    /// `None` for an object-like macro.
    pub parameters: Option<Box<Parameters>>,
    /// What it stands for.
    pub body: ListId,
}

/// The parameters of a function-like macro.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Parameters {
    /// Their names; the last one takes all remaining arguments if `variadic`.
    pub names: Vec<Symbol>,
    /// Whether there are variable arguments.
    pub variadic: bool,
}

/// All of them.
#[derive(Default)]
pub struct Pool {
    tokens: Vec<Token>,
    /// Where each list ends in `tokens`; it begins where the one before it ends.
    ends: Vec<u32>,
    macros: Vec<Macro>,
    /// By the hashes of their contents, or the next free number behind those.
    lists_by_hash: Map<u64, u32>,
    macros_by_hash: Map<u64, u32>,
    parameters: usize,
}

impl Pool {
    /// The list of these tokens.
    pub fn list(&mut self, tokens: &[Token]) -> ListId {
        let mut slot = hash_of(tokens);
        while let Some(&known) = self.lists_by_hash.get(&slot) {
            if self.tokens(ListId(known)) == tokens {
                return ListId(known);
            }
            slot = slot.wrapping_add(1);
        }
        let new = number(self.ends.len());
        self.tokens.extend_from_slice(tokens);
        self.ends.push(number(self.tokens.len()));
        self.lists_by_hash.insert(slot, new);
        ListId(new)
    }

    /// The tokens of a list.
    pub fn tokens(&self, list: ListId) -> &[Token] {
        let start = list.index().checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.tokens[start as usize..self.ends[list.index()] as usize]
    }

    /// The number of a definition.
    pub fn define(&mut self, definition: Macro) -> MacroRef {
        let mut slot = hash_of(&definition);
        while let Some(&known) = self.macros_by_hash.get(&slot) {
            if self.macros[known as usize] == definition {
                return MacroRef(known);
            }
            slot = slot.wrapping_add(1);
        }
        let new = number(self.macros.len());
        if let Some(parameters) = &definition.parameters {
            self.parameters += size_of::<Parameters>() + parameters.names.len() * size_of::<Symbol>();
        }
        self.macros.push(definition);
        self.macros_by_hash.insert(slot, new);
        MacroRef(new)
    }

    /// A definition.
    pub fn definition(&self, at: MacroRef) -> &Macro {
        &self.macros[at.0 as usize]
    }

    /// Roughly the bytes that all this takes.
    pub fn size(&self) -> usize {
        // A place in a map takes its key, its value and as much again for what is free.
        let mapped = 2 * size_of::<(u64, u32)>();
        self.tokens.len() * size_of::<Token>()
            + self.ends.len() * (size_of::<u32>() + mapped)
            + self.macros.len() * (size_of::<Macro>() + mapped)
            + self.parameters
    }
}

fn hash_of(what: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = Quick::default();
    what.hash(&mut hasher);
    hasher.finish()
}

fn number(count: usize) -> u32 {
    u32::try_from(count).expect("memory ends before four billion tokens")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::include::symbol::known;
    use crate::include::token::Kind;

    #[test]
    fn what_is_alike_is_one() {
        let mut pool = Pool::default();
        let plus = Token::new(Kind::Punctuation, known::PLUS);
        let minus = Token { spaced: true, ..Token::new(Kind::Punctuation, known::MINUS) };
        let empty = pool.list(&[]);
        let one = pool.list(&[plus]);
        let two = pool.list(&[plus, minus]);
        assert_eq!((pool.list(&[plus]), pool.list(&[plus, minus]), pool.list(&[])), (one, two, empty));
        assert_ne!(pool.list(&[plus, Token { spaced: false, ..minus }]), two);
        assert_eq!(pool.tokens(two), [plus, minus]);
        assert_eq!(pool.tokens(empty), []);
        let object = Macro { name: known::FILE, parameters: None, body: one };
        let function = Macro { parameters: Some(Box::default()), ..object.clone() };
        let (first, second) = (pool.define(object.clone()), pool.define(function.clone()));
        assert_ne!(first, second);
        assert_eq!((pool.define(object), pool.define(function.clone())), (first, second));
        assert_eq!(pool.definition(second), &function);
    }
}

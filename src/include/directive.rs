//! A file as its directives: all that the rest of the engine ever sees of a source or header.

use super::pool::{ListId, MacroRef};
use super::symbol::Symbol;

/// How a file is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// `#include`.
    Include,
    /// `#include_next`: the search goes on behind the directory of this file.
    Next,
    /// `#import`: at most once.
    Import,
    /// `#embed`: bytes, not text.
    Embed,
}

/// What an `#if` asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Whether this is a macro, however that is written: the most frequent condition by far.
    Defined(Symbol),
    /// Whether it is none.
    Undefined(Symbol),
    /// The value of these tokens.
    Expression(ListId),
}

/// What only the compiler itself can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsupported {
    /// `.incbin` in assembler text.
    Incbin,
    /// `#pragma clang module`.
    ModulePragma,
    /// `_Pragma` of something that is no string there and then.
    HiddenPragma,
    /// `push_macro` or `pop_macro` of something that is no string there and then.
    HiddenName,
}

impl Unsupported {
    /// As the reason why a unit has to be compiled in another way.
    pub fn reason(self) -> &'static str {
        match self {
            Unsupported::Incbin => "includes a file in assembler text (.incbin)",
            Unsupported::ModulePragma => "uses module pragmas",
            Unsupported::HiddenPragma => "has a _Pragma operator without a plain string on its line",
            Unsupported::HiddenName => "pushes or pops macros whose names macros make",
        }
    }
}

/// One directive, or something in the text that matters like one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directive {
    /// `#if`.
    If(Condition),
    /// `#elif`.
    Elif(Condition),
    /// `#else`.
    Else,
    /// `#endif`.
    Endif,
    /// `#define`.
    Define(Symbol, MacroRef),
    /// `#undef`.
    Undef(Symbol),
    /// The file of this name, which has its delimiters.
    Include(How, Symbol),
    /// The file whose name these tokens make.
    Computed(How, ListId),
    /// `#pragma once`.
    Once,
    /// `_Pragma("once")`.
    OnceOperator,
    /// `#pragma push_macro`.
    PushMacro(Symbol),
    /// `#pragma pop_macro`.
    PopMacro(Symbol),
    /// This macro may be pushed or popped where nobody sees it: nothing is known of it from here on.
    Forget(Symbol),
    /// A pragma that changes the target's or optimiser's predefined macros, or restores them.
    Retarget,
    /// `#assert`, `#unassert`: nothing is known of assertions any more.
    Assertion,
    /// The unit cannot be done if this is reached.
    Unsupported(Unsupported),
    /// `import` or `module` at the beginning of a line: modules, if the language has them.
    Module,
}

/// A directive and where a false condition continues.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// What to do.
    pub directive: Directive,
    /// For conditionals: where the next branch of the same group begins, or its `#endif`.
    pub next: u32,
}

/// A file, lexed.
#[derive(Debug, Default)]
pub struct Lexed {
    /// In the order of the text.
    pub steps: Vec<Step>,
    /// The macro that guards the whole file: when it is defined, the file has no effect.
    pub guard: Option<Symbol>,
    /// Calls such as `__has_builtin(x)` whose answers only the compiler knows, as they stand here; in conditions also `name(x)`,
    /// which are such calls if the name is that of an asker.
    pub questions: Vec<(Symbol, ListId)>,
    /// Macros that ask with their parameter, as `#define __glibc_has_attribute(x) __has_attribute (x)`, and what they ask.
    pub askers: Vec<(Symbol, Symbol)>,
}

impl Lexed {
    /// Roughly the bytes that it takes, besides what is in the pool.
    pub fn size(&self) -> usize {
        size_of::<Lexed>()
            + self.steps.len() * size_of::<Step>()
            + self.questions.len() * size_of::<(Symbol, ListId)>()
            + self.askers.len() * size_of::<(Symbol, Symbol)>()
    }
}

//! The lexer, the expander and the evaluator by themselves, on text that is no file: for fuzz targets and for
//! tests beside a compiler, without a disk or a compiler of their own.

use super::directive::{Condition, Directive, Lexed};
use super::expand::{Expander, Reads, Surroundings};
use super::expression::{Truth, evaluate};
use super::lines::{self, Dialect, Line, Lines};
use super::pool::Pool;
use super::reader::lex;
use super::symbol::Symbols;
use super::table::{State, Table};
use super::token::Token;
use super::verdict::{Verdicts, is_defined};
use super::{lex as tokens, store::Store};
use crate::sorted_map::SortedMap;

/// What became of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A line of text, expanded.
    Text(Vec<u8>),
    /// The value of a condition, if it can be known.
    Condition(Option<bool>),
    /// Text that cannot be expanded, or is too large.
    Undecided,
}

/// C as gcc reads it by default.
const C: Dialect =
    Dialect { trigraphs: false, raw_strings: false, line_comments: true, digit_separators: false };
/// C++, with all that other dialects lack.
const CPLUSPLUS: Dialect =
    Dialect { trigraphs: true, raw_strings: true, line_comments: true, digit_separators: true };

/// Reads text line by line as C without predefined macros: `#define` and `#undef` act, `#if` and `#elif` are only
/// evaluated, and every other line is expanded by itself.
pub fn outcomes(text: &[u8]) -> Vec<Outcome> {
    let mut lone = Lone::default();
    lone.table.clear();
    let mut outcomes = Vec::new();
    let plain = lines::plain(text, C);
    let mut lines = Lines::new(&plain, C, true);
    let mut line_tokens = Vec::new();
    while let Some(line) = lines.next() {
        match line {
            Line::Text(line) => {
                line_tokens.clear();
                tokens::tokens(line, &mut lone.symbols, &mut line_tokens);
                let expanded = lone.with_expander(&line_tokens, |expander| expander.all());
                outcomes.push(
                    expanded.map_or(Outcome::Undecided, |all| Outcome::Text(spelled(&all, &lone.symbols))),
                );
            }
            Line::Directive(line) => {
                let file = lone.store.add_text(&[b"#", line].concat(), C, &mut lone.symbols);
                let lexed = std::sync::Arc::clone(lone.store.lexed(file));
                for step in &lexed.steps {
                    match step.directive {
                        Directive::Define(name, at) => lone.table.set(name, State::Defined(at), true),
                        Directive::Undef(name) => lone.table.set(name, State::Undefined, true),
                        Directive::If(condition) | Directive::Elif(condition) => {
                            outcomes.push(Outcome::Condition(match lone.truth(condition) {
                                Truth::True => Some(true),
                                Truth::False => Some(false),
                                Truth::Unknown => None,
                            }));
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    outcomes
}

/// The parts, without an engine around them.
#[derive(Default)]
struct Lone {
    symbols: Symbols,
    store: Store,
    table: Table,
    verdicts: Verdicts,
    reads: Reads,
}

impl Lone {
    fn with_expander<T>(&mut self, tokens: &[Token], job: impl FnOnce(&mut Expander) -> T) -> T {
        self.reads.clear();
        let mut around = Surroundings {
            table: &self.table,
            pool: &self.store.pool,
            symbols: &mut self.symbols,
            choices: &SortedMap::new(),
            answers: &SortedMap::new(),
            includes: &SortedMap::new(),
            file: b"",
            base_file: b"",
            depth: 0,
            clang: false,
            asserted: false,
            reads: &mut self.reads,
        };
        job(&mut Expander::new(&mut around, tokens))
    }

    /// Evaluates a condition. What was remembered of it is the same.
    fn truth(&mut self, condition: Condition) -> Truth {
        let list = match condition {
            Condition::Defined(name) => return is_defined(&self.table, name),
            Condition::Undefined(name) => return !is_defined(&self.table, name),
            Condition::Expression(list) => list,
        };
        let remembered = self.verdicts.find(list, &self.table);
        let tokens = self.store.pool.tokens(list).to_vec();
        let Ok(truth) = self.with_expander(&tokens, |expander| evaluate(expander, false)) else {
            assert_eq!(remembered, None, "remembered of a condition that stops");
            return Truth::Unknown;
        };
        match remembered {
            Some(remembered) => assert_eq!(remembered, truth),
            None => self.verdicts.note(list, truth, &self.reads),
        }
        truth
    }
}

/// Lexes text in two dialects; how many directives it has in each. What they jump to is within the text.
pub fn directives(text: &[u8]) -> [usize; 2] {
    [C, CPLUSPLUS].map(|dialect| {
        let mut symbols = Symbols::new();
        let mut pool = Pool::default();
        let lexed: Lexed = lex(text, dialect, &mut symbols, &mut pool);
        for (at, step) in lexed.steps.iter().enumerate() {
            let next = step.next as usize;
            assert!(next <= lexed.steps.len() && next > at, "step {at} jumps to {next}");
            match step.directive {
                Directive::Define(name, at) => assert_eq!(pool.definition(at).name, name),
                Directive::Include(_, wanted) => assert!(wanted.index() < symbols.len()),
                Directive::Computed(_, list)
                | Directive::If(Condition::Expression(list))
                | Directive::Elif(Condition::Expression(list)) => {
                    assert!(pool.tokens(list).iter().all(|token| token.spelling.index() < symbols.len()));
                }
                _ => {}
            }
        }
        lexed.steps.len()
    })
}

fn spelled(tokens: &[Token], symbols: &Symbols) -> Vec<u8> {
    let mut text = Vec::new();
    for token in tokens {
        if token.spaced {
            text.push(b' ');
        }
        text.extend_from_slice(symbols.spelling(token.spelling));
    }
    text
}

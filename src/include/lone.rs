//! The lexer, the expander and the evaluator by themselves, on text that is no file: for fuzz targets and for
//! tests beside a compiler, without a disk or a compiler of their own.

use std::collections::HashMap;

use super::directive::{Directive, How, Lexed, lex};
use super::expand::{Expander, Surroundings};
use super::expression::{Truth, evaluate};
use super::lines::{Dialect, Line, Lines};
use super::symbol::Symbols;
use super::table::{MacroRef, State, Table};
use super::token::Token;
use super::{lex as tokens, store::Store};

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
    let mut symbols = Symbols::new();
    let mut store = Store::default();
    let mut table = Table::default();
    table.clear();
    let mut outcomes = Vec::new();
    let mut lines = Lines::new(text, C, true);
    let mut line_tokens = Vec::new();
    while let Some(line) = lines.next() {
        let (choices, answers, includes) = (HashMap::new(), HashMap::new(), HashMap::new());
        match line {
            Line::Text(line) => {
                line_tokens.clear();
                tokens::tokens(line, &mut symbols, &mut line_tokens);
                let mut around = surroundings(&table, &store, &mut symbols, &choices, &answers, &includes);
                let expanded = Expander::new(&mut around, &line_tokens).all();
                outcomes
                    .push(expanded.map_or(Outcome::Undecided, |all| Outcome::Text(spelled(&all, &symbols))));
            }
            Line::Directive(line) => {
                let file = store.add_text(&[b"#", line].concat(), C, &mut symbols);
                let lexed = std::sync::Arc::clone(store.lexed(file));
                for step in &lexed.steps {
                    match &step.directive {
                        Directive::Define(name, place) => {
                            table.set(*name, State::Defined(MacroRef { file, place: *place }), true);
                        }
                        Directive::Undef(name) => table.set(*name, State::Undefined, true),
                        Directive::If(condition) | Directive::Elif(condition) => {
                            let mut around =
                                surroundings(&table, &store, &mut symbols, &choices, &answers, &includes);
                            let truth = evaluate(&mut Expander::new(&mut around, condition), false);
                            outcomes.push(Outcome::Condition(match truth {
                                Ok(Truth::True) => Some(true),
                                Ok(Truth::False) => Some(false),
                                _ => None,
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

/// Lexes text in two dialects; how many directives it has in each. What they jump to is within the text.
pub fn directives(text: &[u8]) -> [usize; 2] {
    [C, CPLUSPLUS].map(|dialect| {
        let mut symbols = Symbols::new();
        let lexed: Lexed = lex(text, dialect, &mut symbols);
        for (at, step) in lexed.steps.iter().enumerate() {
            let next = step.next as usize;
            assert!(next <= lexed.steps.len() && next > at, "step {at} jumps to {next}");
            match &step.directive {
                Directive::Define(name, place) => assert_eq!(lexed.macros[*place as usize].name, *name),
                Directive::Include(How::Include, wanted) => {
                    assert!(wanted.iter().all(|token| token.spelling.index() < symbols.len()));
                }
                _ => {}
            }
        }
        lexed.steps.len()
    })
}

fn surroundings<'a>(
    table: &'a Table,
    store: &'a Store,
    symbols: &'a mut Symbols,
    choices: &'a HashMap<super::symbol::Symbol, State>,
    answers: &'a HashMap<super::ask::Question, Option<i64>>,
    includes: &'a HashMap<(super::symbol::Symbol, Vec<u8>), i64>,
) -> Surroundings<'a> {
    Surroundings {
        table,
        store,
        symbols,
        choices,
        answers,
        includes,
        file: b"",
        base_file: b"",
        depth: 0,
        clang: false,
        asserted: false,
    }
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

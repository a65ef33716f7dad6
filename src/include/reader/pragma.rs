//! Pragmas, as directives and as operators in the text.

use super::super::directive::{Directive, Unsupported};
use super::super::lex;
use super::super::symbol::{Symbol, known};
use super::super::token::{Kind, Token};
use super::Reader;
use crate::sys::file::contains;

impl Reader<'_> {
    pub(super) fn pragma(&mut self, rest: &[Token]) {
        let words: Vec<Symbol> = rest.iter().map(|token| token.spelling).collect();
        match &words[..] {
            [known::ONCE, ..] => self.push(Directive::Once),
            [known::PUSH_MACRO, known::OPEN, quoted, ..] => {
                let name = self.unquoted(*quoted);
                self.push(Directive::PushMacro(name));
            }
            [known::POP_MACRO, known::OPEN, quoted, ..] => {
                let name = self.unquoted(*quoted);
                self.push(Directive::PopMacro(name));
            }
            [
                known::GCC | known::CLANG,
                known::TARGET
                | known::OPTIMIZE
                | known::RESET_OPTIONS
                | known::PUSH_OPTIONS
                | known::POP_OPTIONS,
                ..,
            ] => self.push(Directive::Retarget),
            [known::CLANG, known::MODULE, ..] => self.push(Directive::Unsupported(Unsupported::ModulePragma)),
            _ => self.outside(),
        }
    }

    /// A macro's name in quotes.
    fn unquoted(&mut self, quoted: Symbol) -> Symbol {
        let spelling = self.symbols.spelling(quoted).to_vec();
        let name =
            spelling.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(&spelling);
        self.symbols.intern(name.trim_ascii())
    }

    /// The `_Pragma` operators of a line of text, which act where they stand.
    pub(super) fn operators(&mut self, tokens: &[Token]) {
        let mut rest = tokens;
        while let Some(at) = rest.iter().position(|token| token.spelling == known::OPERATOR_PRAGMA) {
            self.pragma_words(&rest[..at]);
            rest = &rest[at + 1..];
            match rest {
                [open, quoted, close, ..]
                    if open.is(known::OPEN) && quoted.kind == Kind::String && close.is(known::CLOSE) =>
                {
                    let words = self.destringized(quoted.spelling);
                    match words.first().map(|word| word.spelling) {
                        Some(known::ONCE) => self.push(Directive::OnceOperator),
                        // gcc obeys the operator in some modes only.
                        Some(known::PUSH_MACRO | known::POP_MACRO) => self.pragma_words(&words),
                        _ => self.pragma(&words),
                    }
                    rest = &rest[3..];
                }
                _ => self.push(Directive::Unsupported(Unsupported::HiddenPragma)),
            }
        }
        self.pragma_words(rest);
    }

    /// The tokens within a string literal.
    fn destringized(&mut self, quoted: Symbol) -> Vec<Token> {
        let spelling = self.symbols.spelling(quoted);
        let start = spelling.iter().position(|&byte| byte == b'"').map_or(0, |at| at + 1);
        let inner = spelling[start..].strip_suffix(b"\"").unwrap_or(&spelling[start..]);
        let mut text = Vec::with_capacity(inner.len());
        let mut bytes = inner.iter().peekable();
        while let Some(&byte) = bytes.next() {
            match (byte, bytes.peek()) {
                (b'\\', Some(&&next @ (b'\\' | b'"'))) => {
                    text.push(next);
                    bytes.next();
                }
                _ => text.push(byte),
            }
        }
        let mut tokens = Vec::new();
        lex::tokens(&text, self.symbols, &mut tokens);
        tokens
    }

    /// Where macros may be pushed or popped by text that macros produce, they are forgotten.
    pub(super) fn pragma_words(&mut self, tokens: &[Token]) {
        for (at, token) in tokens.iter().enumerate() {
            let (within, nested);
            let words = match token.kind {
                Kind::String if mentions_push(self.symbols.spelling(token.spelling)) => {
                    nested = self.destringized(token.spelling);
                    &nested[..]
                }
                Kind::Name if matches!(token.spelling, known::PUSH_MACRO | known::POP_MACRO) => {
                    within = &tokens[at..];
                    within
                }
                _ => continue,
            };
            match words {
                [what, open, quoted, ..]
                    if matches!(what.spelling, known::PUSH_MACRO | known::POP_MACRO)
                        && open.is(known::OPEN)
                        && quoted.kind == Kind::String =>
                {
                    let name = self.unquoted(quoted.spelling);
                    self.push(Directive::Forget(name));
                }
                _ => self.push(Directive::Unsupported(Unsupported::HiddenName)),
            }
        }
    }
}

fn mentions_push(spelling: &[u8]) -> bool {
    contains(spelling, b"push_macro") || contains(spelling, b"pop_macro")
}

//! A file as its directives: all that the rest of the engine ever sees of a source or header.

use super::lex;
use super::lines::{Dialect, Line, Lines};
use super::symbol::{Symbol, Symbols, known};
use super::token::{Kind, Token};
use crate::sys::file::contains;

/// A macro's definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Macro {
    /// Its name.
    pub name: Symbol,
    /// `None` for an object-like macro.
    pub parameters: Option<Parameters>,
    /// What it stands for.
    pub body: Vec<Token>,
}

/// The parameters of a function-like macro.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Their names; the last one takes all remaining arguments if `variadic`.
    pub names: Vec<Symbol>,
    /// Whether there are variable arguments.
    pub variadic: bool,
}

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

/// One directive, or something in the text that matters like one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Directive {
    /// `#if`, with its expression.
    If(Vec<Token>),
    /// `#elif`, with its expression.
    Elif(Vec<Token>),
    /// `#else`.
    Else,
    /// `#endif`.
    Endif,
    /// `#define`: the place of the definition in the file's list.
    Define(Symbol, u32),
    /// `#undef`.
    Undef(Symbol),
    /// A file is wanted, by these tokens.
    Include(How, Vec<Token>),
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
    /// The unit cannot be done, for this reason, if this is reached.
    Unsupported(&'static str),
    /// `import` or `module` at the beginning of a line: modules, if the language has them.
    Module,
}

/// A directive and where a false condition continues.
#[derive(Clone, Debug)]
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
    /// What its `#define`s define.
    pub macros: Vec<Macro>,
    /// The macro that guards the whole file: when it is defined, the file has no effect.
    pub guard: Option<Symbol>,
    /// Calls such as `__has_builtin(x)` whose answers only the compiler knows, as they stand here.
    pub questions: Vec<(Symbol, Vec<Token>)>,
}

impl Lexed {
    /// Roughly the bytes that it takes.
    pub fn size(&self) -> usize {
        let tokens = |step: &Step| match &step.directive {
            Directive::If(tokens) | Directive::Elif(tokens) | Directive::Include(_, tokens) => tokens.len(),
            _ => 0,
        };
        let tokens = self.steps.iter().map(tokens).sum::<usize>()
            + self.macros.iter().map(|known| known.body.len()).sum::<usize>()
            + self.questions.iter().map(|(_, argument)| argument.len()).sum::<usize>();
        size_of::<Lexed>()
            + tokens * size_of::<Token>()
            + self.steps.len() * size_of::<Step>()
            + self.macros.len() * size_of::<Macro>()
    }
}

/// Lexes a whole file.
pub fn lex(bytes: &[u8], dialect: Dialect, symbols: &mut Symbols) -> Lexed {
    let mut reader = Reader { lexed: Lexed::default(), symbols, open: Vec::new(), guard: Guard::Wanted };
    let keep_text = TEXT_WORDS.iter().any(|word| contains(bytes, word));
    let mut lines = Lines::new(bytes, dialect, keep_text);
    let mut tokens = Vec::new();
    while let Some(line) = lines.next() {
        tokens.clear();
        match line {
            Line::Directive(text) => {
                header_tokens(text, reader.symbols, &mut tokens);
                reader.directive(&tokens);
            }
            Line::Text(text) => {
                lex::tokens(text, reader.symbols, &mut tokens);
                reader.text(&tokens);
            }
        }
    }
    reader.finish()
}

/// Words in text that may matter. Text of files without them is never looked at.
const TEXT_WORDS: [&[u8]; 6] = [b"_Pragma", b"push_macro", b"pop_macro", b"import", b"module", b".incbin"];

/// The tokens of a directive, with a header name where one belongs.
fn header_tokens(text: &[u8], symbols: &mut Symbols, into: &mut Vec<Token>) {
    let name = text.iter().position(|byte| !byte.is_ascii_lowercase() && *byte != b'_').unwrap_or(text.len());
    let rest = text[name..].trim_ascii_start();
    let asks = matches!(&text[..name], b"include" | b"include_next" | b"import" | b"embed");
    let end = match rest.first() {
        Some(b'<') if asks => b'>',
        Some(b'"') if asks => b'"',
        _ => return lex::tokens(text, symbols, into),
    };
    match rest[1..].iter().position(|&byte| byte == end) {
        Some(len) => {
            into.push(Token::new(Kind::Name, symbols.intern(&text[..name])));
            into.push(Token::new(Kind::Header, symbols.intern(&rest[..len + 2])));
        }
        None => lex::tokens(text, symbols, into),
    }
}

/// How far the search for an include guard has come.
enum Guard {
    /// Nothing yet but blanks and comments.
    Wanted,
    /// Within the group that the macro guards.
    Open(Symbol),
    /// Behind the group.
    Closed(Symbol),
    /// Something else stands outside.
    None,
}

struct Reader<'a> {
    lexed: Lexed,
    symbols: &'a mut Symbols,
    /// The latest branch of each open conditional.
    open: Vec<usize>,
    guard: Guard,
}

impl Reader<'_> {
    fn push(&mut self, directive: Directive) {
        if self.open.is_empty() && !matches!(self.guard, Guard::Open(_)) {
            self.guard = Guard::None;
        }
        self.lexed.steps.push(Step { directive, next: u32::MAX });
    }

    fn directive(&mut self, tokens: &[Token]) {
        let Some((first, rest)) = tokens.split_first() else { return };
        let Some(name) = first.name() else {
            // `# 1 "file"` has no effect here, but it is no blank either.
            return self.outside();
        };
        match name {
            known::IF => self.begin(rest.to_vec(), guard_of_if(rest)),
            known::IFDEF => self.begin(defined(rest, false), None),
            known::IFNDEF => self.begin(defined(rest, true), rest.first().and_then(Token::name)),
            known::ELIF => self.branch(Directive::Elif(rest.to_vec())),
            known::ELIFDEF => self.branch(Directive::Elif(defined(rest, false))),
            known::ELIFNDEF => self.branch(Directive::Elif(defined(rest, true))),
            known::ELSE => self.branch(Directive::Else),
            known::ENDIF => self.end(),
            known::DEFINE => self.define(rest),
            known::UNDEF => match rest.first().and_then(Token::name) {
                Some(name) => self.push(Directive::Undef(name)),
                None => self.outside(),
            },
            known::INCLUDE => self.push(Directive::Include(How::Include, rest.to_vec())),
            known::INCLUDE_NEXT => self.push(Directive::Include(How::Next, rest.to_vec())),
            known::IMPORT => self.push(Directive::Include(How::Import, rest.to_vec())),
            known::EMBED => self.push(Directive::Include(How::Embed, rest.to_vec())),
            known::PRAGMA => self.pragma(rest),
            known::ASSERT | known::UNASSERT => self.push(Directive::Assertion),
            _ => self.outside(),
        }
    }

    /// Something without effect on includes, but no part of an include guard.
    fn outside(&mut self) {
        if self.open.is_empty() {
            self.guard = Guard::None;
        }
    }

    fn begin(&mut self, condition: Vec<Token>, guard: Option<Symbol>) {
        self.ask(&condition);
        self.guard = match (&self.guard, guard) {
            (Guard::Wanted, Some(guard)) if self.open.is_empty() => Guard::Open(guard),
            _ if self.open.is_empty() => Guard::None,
            _ => std::mem::replace(&mut self.guard, Guard::None),
        };
        self.open.push(self.lexed.steps.len());
        self.lexed.steps.push(Step { directive: Directive::If(condition), next: u32::MAX });
    }

    fn branch(&mut self, directive: Directive) {
        if let Directive::Elif(condition) = &directive {
            let condition = condition.clone();
            self.ask(&condition);
        }
        let at = self.lexed.steps.len();
        if self.open.len() == 1 {
            self.guard = Guard::None;
        }
        // Without an `#if` it is an error; then it has no effect.
        let Some(latest) = self.open.last_mut() else { return };
        self.lexed.steps[*latest].next = at as u32;
        *latest = at;
        self.lexed.steps.push(Step { directive, next: u32::MAX });
    }

    fn end(&mut self) {
        let at = self.lexed.steps.len();
        let Some(latest) = self.open.pop() else { return };
        self.lexed.steps[latest].next = at as u32;
        self.lexed.steps.push(Step { directive: Directive::Endif, next: u32::MAX });
        if self.open.is_empty() {
            self.guard = match self.guard {
                Guard::Open(guard) => Guard::Closed(guard),
                _ => Guard::None,
            };
        }
    }

    fn define(&mut self, rest: &[Token]) {
        let Some(definition) = definition(rest) else { return self.outside() };
        for token in &definition.body {
            if token.kind == Kind::String && contains(self.symbols.spelling(token.spelling), b".incbin") {
                self.push(Directive::Unsupported(INCBIN));
            }
        }
        self.pragma_words(&definition.body);
        self.ask(&definition.body);
        let place = self.lexed.macros.len() as u32;
        let name = definition.name;
        self.lexed.macros.push(definition);
        self.push(Directive::Define(name, place));
    }

    fn pragma(&mut self, rest: &[Token]) {
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
            [known::CLANG, known::MODULE, ..] => self.push(Directive::Unsupported("uses module pragmas")),
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

    fn text(&mut self, tokens: &[Token]) {
        self.outside();
        let words = || tokens.iter().filter_map(Token::name).filter(|&name| name != known::EXPORT);
        if let Some(known::IMPORT | known::MODULE) = words().next().filter(|_| {
            tokens
                .first()
                .and_then(Token::name)
                .is_some_and(|name| matches!(name, known::IMPORT | known::MODULE | known::EXPORT))
        }) {
            self.push(Directive::Module);
        }
        for token in tokens {
            if token.kind == Kind::String && contains(self.symbols.spelling(token.spelling), b".incbin") {
                self.push(Directive::Unsupported(INCBIN));
            }
        }
        self.operators(tokens);
    }

    /// The `_Pragma` operators of a line of text, which act where they stand.
    fn operators(&mut self, tokens: &[Token]) {
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
                _ => self.push(Directive::Unsupported(
                    "has a _Pragma operator without a plain string on its line",
                )),
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
    fn pragma_words(&mut self, tokens: &[Token]) {
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
                _ => self.push(Directive::Unsupported("pushes or pops macros whose names macros make")),
            }
        }
    }

    /// Remembers what the compiler will have to be asked.
    fn ask(&mut self, tokens: &[Token]) {
        for (at, token) in tokens.iter().enumerate() {
            if let Some((argument, _)) = super::ask::question(&tokens[at..]) {
                self.lexed.questions.push((token.spelling, argument.to_vec()));
            }
        }
    }

    fn finish(mut self) -> Lexed {
        if let Guard::Closed(guard) = self.guard {
            self.lexed.guard = Some(guard);
        }
        let end = self.lexed.steps.len() as u32;
        for step in &mut self.lexed.steps {
            step.next = step.next.min(end);
        }
        self.lexed
    }
}

const INCBIN: &str = "includes a file in assembler text (.incbin)";

fn mentions_push(spelling: &[u8]) -> bool {
    contains(spelling, b"push_macro") || contains(spelling, b"pop_macro")
}

/// `#ifdef X` as an expression.
fn defined(rest: &[Token], negated: bool) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(3);
    if negated {
        tokens.push(Token::new(Kind::Punctuation, known::NOT));
    }
    tokens.push(Token::new(Kind::Name, known::DEFINED));
    tokens.extend(rest.first());
    tokens
}

/// The guard of `#if !defined X` and `#if !defined(X)`.
fn guard_of_if(rest: &[Token]) -> Option<Symbol> {
    let [not, defined, operand @ ..] = rest else { return None };
    if !(not.is(known::NOT) && defined.name() == Some(known::DEFINED)) {
        return None;
    }
    match operand {
        [name] => name.name(),
        [open, name, close] if open.is(known::OPEN) && close.is(known::CLOSE) => name.name(),
        _ => None,
    }
}

/// What stands behind `#define`.
pub fn definition(rest: &[Token]) -> Option<Macro> {
    let (first, mut body) = rest.split_first()?;
    let name = first.name()?;
    let mut parameters = None;
    if body.first().is_some_and(|open| open.is(known::OPEN) && !open.spaced) {
        let close = body.iter().position(|token| token.is(known::CLOSE))?;
        parameters = Some(parameter_list(&body[1..close])?);
        body = &body[close + 1..];
    }
    let mut body = body.to_vec();
    if let Some(first) = body.first_mut() {
        first.spaced = false;
        first.written_spaced = false;
    }
    Some(Macro { name, parameters, body })
}

fn parameter_list(tokens: &[Token]) -> Option<Parameters> {
    let mut list = Parameters::default();
    let mut rest = tokens;
    while let Some((token, behind)) = rest.split_first() {
        if token.is(known::ELLIPSIS) {
            list.names.push(known::VA_ARGS);
            list.variadic = true;
            return behind.is_empty().then_some(list);
        }
        list.names.push(token.name()?);
        rest = behind;
        match rest.split_first() {
            None => break,
            Some((comma, behind)) if comma.is(known::COMMA) && !behind.is_empty() => rest = behind,
            // GNU: `name...`.
            Some((dots, [])) if dots.is(known::ELLIPSIS) => {
                list.variadic = true;
                return Some(list);
            }
            Some(_) => return None,
        }
    }
    Some(list)
}

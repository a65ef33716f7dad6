//! From a file's text to its directives.

use super::directive::{Condition, Directive, How, Lexed, Step, Unsupported};
use super::lex;
use super::lines::{self, Dialect, Line, Lines};
use super::pool::{Macro, Parameters, Pool};
use super::symbol::{Symbol, Symbols, known};
use super::token::{Kind, Token};
use super::words;
use crate::sys::file::contains;

mod pragma;

/// Lexes a whole file.
pub fn lex(bytes: &[u8], dialect: Dialect, symbols: &mut Symbols, pool: &mut Pool) -> Lexed {
    let mut reader =
        Reader { lexed: Lexed::default(), symbols, pool, open: Vec::new(), guard: Guard::Wanted };
    let keep_text = words::are_in(bytes);
    let plain = lines::plain(bytes, dialect);
    let mut lines = Lines::new(&plain, dialect, keep_text);
    let mut tokens = Vec::new();
    while let Some(line) = lines.next() {
        tokens.clear();
        match line {
            Line::Directive(text) => {
                header_tokens(text, reader.symbols, &mut tokens);
                reader.directive(&tokens);
            }
            Line::Text(text) if !words::are_in(text) => reader.outside(),
            Line::Text(text) => {
                lex::tokens(text, reader.symbols, &mut tokens);
                reader.text(&tokens);
            }
        }
    }
    reader.finish()
}

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
    pool: &'a mut Pool,
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
            known::IF => {
                let condition = self.condition(rest);
                let guard = match condition {
                    Condition::Undefined(name) => Some(name),
                    _ => None,
                };
                self.begin(condition, guard);
            }
            known::IFDEF => {
                let condition = self.defined(rest, false);
                self.begin(condition, None);
            }
            known::IFNDEF => {
                let condition = self.defined(rest, true);
                self.begin(condition, rest.first().and_then(Token::name));
            }
            known::ELIF => {
                let condition = self.condition(rest);
                self.branch(Directive::Elif(condition));
            }
            known::ELIFDEF | known::ELIFNDEF => {
                let condition = self.defined(rest, name == known::ELIFNDEF);
                self.branch(Directive::Elif(condition));
            }
            known::ELSE => self.branch(Directive::Else),
            known::ENDIF => self.end(),
            known::DEFINE => self.define(rest),
            known::UNDEF => match rest.first().and_then(Token::name) {
                Some(name) => self.push(Directive::Undef(name)),
                None => self.outside(),
            },
            known::INCLUDE => self.include(How::Include, rest),
            known::INCLUDE_NEXT => self.include(How::Next, rest),
            known::IMPORT => self.include(How::Import, rest),
            known::EMBED => self.include(How::Embed, rest),
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

    fn include(&mut self, how: How, rest: &[Token]) {
        match rest {
            [Token { kind: Kind::Header, spelling, .. }] => self.push(Directive::Include(how, *spelling)),
            _ => {
                let list = self.pool.list(rest);
                self.push(Directive::Computed(how, list));
            }
        }
    }

    /// What an expression asks.
    fn condition(&mut self, tokens: &[Token]) -> Condition {
        let (negated, question) = match tokens {
            [not, rest @ ..] if not.is(known::NOT) => (true, rest),
            _ => (false, tokens),
        };
        let operand = match question {
            [defined, operand @ ..] if defined.name() == Some(known::DEFINED) => operand,
            _ => &[],
        };
        let name = match operand {
            [name] => name.name(),
            [open, name, close] if open.is(known::OPEN) && close.is(known::CLOSE) => name.name(),
            _ => None,
        };
        match name {
            Some(name) if negated => Condition::Undefined(name),
            Some(name) => Condition::Defined(name),
            None => {
                self.ask(tokens);
                self.perhaps_ask(tokens);
                Condition::Expression(self.pool.list(tokens))
            }
        }
    }

    /// What `#ifdef` and its kin ask.
    fn defined(&mut self, rest: &[Token], negated: bool) -> Condition {
        let mut tokens = vec![Token::new(Kind::Name, known::DEFINED)];
        if negated {
            tokens.insert(0, Token::new(Kind::Punctuation, known::NOT));
        }
        tokens.extend(rest.first());
        self.condition(&tokens)
    }

    fn begin(&mut self, condition: Condition, guard: Option<Symbol>) {
        self.guard = match (&self.guard, guard) {
            (Guard::Wanted, Some(guard)) if self.open.is_empty() => Guard::Open(guard),
            _ if self.open.is_empty() => Guard::None,
            _ => std::mem::replace(&mut self.guard, Guard::None),
        };
        self.open.push(self.lexed.steps.len());
        self.lexed.steps.push(Step { directive: Directive::If(condition), next: u32::MAX });
    }

    fn branch(&mut self, directive: Directive) {
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
        let Some((name, parameters, body)) = definition(rest) else { return self.outside() };
        for token in body {
            if token.kind == Kind::String && contains(self.symbols.spelling(token.spelling), b".incbin") {
                self.push(Directive::Unsupported(Unsupported::Incbin));
            }
        }
        self.pragma_words(body);
        match (&parameters, asks_with(body)) {
            (Some(list), Some((question, argument))) if list.names == [argument] => {
                self.lexed.askers.push((name, question));
            }
            _ => self.ask(body),
        }
        let list = match body {
            [first, rest @ ..] if first.spaced || first.written_spaced => {
                let first = Token { spaced: false, written_spaced: false, ..*first };
                self.pool.list(&[&[first], rest].concat())
            }
            _ => self.pool.list(body),
        };
        let place = self.pool.define(Macro { name, parameters: parameters.map(Box::new), body: list });
        self.push(Directive::Define(name, place));
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
                self.push(Directive::Unsupported(Unsupported::Incbin));
            }
        }
        self.operators(tokens);
    }

    /// Remembers what the compiler will have to be asked.
    fn ask(&mut self, tokens: &[Token]) {
        for (at, token) in tokens.iter().enumerate() {
            if let Some((argument, _)) = super::ask::question(&tokens[at..]) {
                let argument = self.pool.list(argument);
                self.lexed.questions.push((token.spelling, argument));
            }
        }
    }

    /// Remembers the calls that macros may turn into questions.
    fn perhaps_ask(&mut self, tokens: &[Token]) {
        for call in tokens.windows(4) {
            let [name, open, argument, close] = call else { continue };
            let (Some(name), Some(_)) = (name.name(), argument.name()) else { continue };
            let is_call = open.is(known::OPEN) && close.is(known::CLOSE);
            if is_call && name != known::DEFINED && !super::ask::is_question(name) {
                let argument = self.pool.list(&call[2..3]);
                self.lexed.questions.push((name, argument));
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

/// The first question in the body of a macro, and its argument if that is one name.
fn asks_with(body: &[Token]) -> Option<(Symbol, Symbol)> {
    (0..body.len()).find_map(|at| match super::ask::question(&body[at..])? {
        ([argument], _) => Some((body[at].spelling, argument.name()?)),
        _ => None,
    })
}

/// What stands behind `#define`: name, parameters and body.
fn definition(rest: &[Token]) -> Option<(Symbol, Option<Parameters>, &[Token])> {
    let (first, mut body) = rest.split_first()?;
    let name = first.name()?;
    let mut parameters = None;
    if body.first().is_some_and(|open| open.is(known::OPEN) && !open.spaced) {
        let close = body.iter().position(|token| token.is(known::CLOSE))?;
        parameters = Some(parameter_list(&body[1..close])?);
        body = &body[close + 1..];
    }
    Some((name, parameters, body))
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

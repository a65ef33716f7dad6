//! Macro expansion, token by token, as compilers do it: a stack of what is still to be read, on which a macro
//! is disabled while its own expansion is being read.

use super::ask::Question;
use super::hash::Set;
use super::lex;
use super::pool::{Macro, MacroRef, Parameters, Pool};
use super::symbol::{Symbol, Symbols, known};
use super::table::{State, Table};
use super::token::{Kind, Token};
use crate::sorted_map::SortedMap;

/// Why an expansion cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// This macro may be one of several: expand again with a choice.
    Choose(Symbol),
    /// Depends on something that only the compiler knows.
    Unknown,
    /// The compiler has to be asked this first.
    Ask(Symbol, Vec<Token>),
    /// It has to be found out first whether this header exists, for `__has_include` or its kin.
    Find(Symbol, Vec<u8>),
    /// Larger than any sensible program makes it.
    TooLarge,
}

/// What an expansion has looked at.
#[derive(Default)]
pub struct Reads {
    /// Macros, each with what it was. Useless if `placed`.
    pub macros: Vec<(Symbol, State)>,
    /// It depends on more than macros: on where it stands, on what is there on the disk, or simply on too much.
    pub placed: bool,
}

/// Macros, beyond which it does not pay to remember what was looked at.
const MOST_READS: usize = 64;

impl Reads {
    /// Nothing yet.
    pub fn clear(&mut self) {
        self.macros.clear();
        self.placed = false;
    }

    fn note(&mut self, name: Symbol, state: State) {
        if self.placed || self.macros.contains(&(name, state)) {
            return;
        }
        if self.macros.len() == MOST_READS {
            self.placed = true;
        } else {
            self.macros.push((name, state));
        }
    }
}

/// What an expansion depends on.
pub struct Surroundings<'a> {
    /// The macros.
    pub table: &'a Table,
    /// Their definitions.
    pub pool: &'a Pool,
    /// Spellings.
    pub symbols: &'a mut Symbols,
    /// For macros that may be several: which one they are taken for.
    pub choices: &'a SortedMap<Symbol, State>,
    /// What the compiler has answered.
    pub answers: &'a SortedMap<Question, Option<i64>>,
    /// What `__has_include` and its kin say here.
    pub includes: &'a SortedMap<(Symbol, Vec<u8>), i64>,
    /// `__FILE__`, as the compiler names it.
    pub file: &'a [u8],
    /// `__BASE_FILE__`.
    pub base_file: &'a [u8],
    /// `__INCLUDE_LEVEL__`.
    pub depth: usize,
    /// The compiler is clang, not gcc.
    pub clang: bool,
    /// Assertions have been made, so the compiler's answers about them no longer hold.
    pub asserted: bool,
    /// What of all this was looked at.
    pub reads: &'a mut Reads,
}

impl Surroundings<'_> {
    /// What a name stands for.
    pub fn look_up(&mut self, name: Symbol) -> State {
        let state = self.table.state(name);
        self.reads.note(name, state);
        state
    }
}

/// Tokens that one expansion may produce.
const MAX_TOKENS: usize = 4 << 20;
/// Macro calls within arguments of macro calls.
const MAX_DEPTH: usize = 400;

/// Something on the stack of what is to be read.
struct Context<'a> {
    tokens: Tokens<'a>,
    at: usize,
    /// Enabled again when this is read.
    of: Option<Symbol>,
}

enum Tokens<'a> {
    Body(&'a [Token]),
    Own(Vec<Token>),
}

impl Tokens<'_> {
    fn slice(&self) -> &[Token] {
        match self {
            Tokens::Body(tokens) => tokens,
            Tokens::Own(tokens) => tokens,
        }
    }
}

/// Reads a list of tokens with all macros expanded.
pub struct Expander<'s, 'a> {
    /// What it all depends on.
    pub around: &'s mut Surroundings<'a>,
    stack: Vec<Context<'a>>,
    disabled: Set<Symbol>,
    produced: usize,
    depth: usize,
}

/// An argument: as written, and expanded when first needed.
struct Argument {
    raw: Vec<Token>,
    expanded: Option<Vec<Token>>,
}

impl<'s, 'a> Expander<'s, 'a> {
    /// Begins to read tokens of a file.
    pub fn new(around: &'s mut Surroundings<'a>, tokens: &'a [Token]) -> Expander<'s, 'a> {
        Expander::over(around, Tokens::Body(tokens))
    }

    /// Begins to read tokens that were made.
    pub fn own(around: &'s mut Surroundings<'a>, tokens: Vec<Token>) -> Expander<'s, 'a> {
        Expander::over(around, Tokens::Own(tokens))
    }

    fn over(around: &'s mut Surroundings<'a>, tokens: Tokens<'a>) -> Expander<'s, 'a> {
        let input = Context { tokens, at: 0, of: None };
        Expander { around, stack: vec![input], disabled: Set::default(), produced: 0, depth: 0 }
    }

    /// Everything, expanded.
    pub fn all(&mut self) -> Result<Vec<Token>, Stop> {
        let mut tokens = Vec::new();
        while let Some(token) = self.next()? {
            tokens.push(token);
        }
        Ok(tokens)
    }

    /// The next token, not expanded.
    pub fn raw(&mut self) -> Option<Token> {
        self.read(0)
    }

    /// The next token that is no longer to be expanded.
    pub fn next(&mut self) -> Result<Option<Token>, Stop> {
        self.next_above(0)
    }

    /// The next token of the contexts above the lowest `floor`.
    fn read(&mut self, floor: usize) -> Option<Token> {
        while self.stack.len() > floor {
            let context = self.stack.last_mut()?;
            if let Some(&token) = context.tokens.slice().get(context.at) {
                context.at += 1;
                let mut token = token;
                if token.kind == Kind::Name
                    && !self.disabled.is_empty()
                    && self.disabled.contains(&token.spelling)
                {
                    token.painted = true;
                }
                return Some(token);
            }
            if let Some(name) = context.of {
                self.disabled.remove(&name);
            }
            self.stack.pop();
        }
        None
    }

    fn next_above(&mut self, floor: usize) -> Result<Option<Token>, Stop> {
        loop {
            let Some(token) = self.read(floor) else { return Ok(None) };
            if token.kind != Kind::Name || token.painted {
                return Ok(Some(token));
            }
            match self.state(token.spelling)? {
                State::Defined(at) => {
                    if !self.enter(token, at, floor)? {
                        return Ok(Some(token));
                    }
                }
                State::Builtin => return Ok(Some(self.builtin(token))),
                _ => return Ok(Some(token)),
            }
        }
    }

    /// What a name stands for, in the world of our choices.
    pub fn state(&mut self, name: Symbol) -> Result<State, Stop> {
        match self.around.look_up(name) {
            State::Maybe => self.around.choices.get(&name).copied().ok_or(Stop::Choose(name)),
            State::Forgotten => Err(Stop::Unknown),
            state => Ok(state),
        }
    }

    fn builtin(&mut self, token: Token) -> Token {
        let text = match token.spelling {
            known::FILE => string(self.around.file),
            known::BASE_FILE => string(self.around.base_file),
            known::INCLUDE_LEVEL => {
                self.around.reads.placed = true;
                let spelling = self.around.symbols.intern(self.around.depth.to_string().as_bytes());
                return Token { spaced: token.spaced, ..Token::new(Kind::Number, spelling) };
            }
            known::LINE
            | known::COUNTER
            | known::DATE
            | known::TIME
            | known::TIMESTAMP
            | known::FILE_NAME
            | known::OPERATOR_PRAGMA => return Token { kind: Kind::Unknown, ..token },
            _ => return token,
        };
        self.around.reads.placed = true;
        Token { spaced: token.spaced, ..Token::new(Kind::String, self.around.symbols.intern(&text)) }
    }

    /// Begins to read a macro's expansion; says whether it is one here.
    fn enter(&mut self, token: Token, at: MacroRef, floor: usize) -> Result<bool, Stop> {
        let pool: &'a Pool = self.around.pool;
        let definition: &'a Macro = pool.definition(at);
        let body = pool.tokens(definition.body);
        let tokens = match &definition.parameters {
            None if body.iter().any(|token| token.is(known::PASTE)) => {
                Tokens::Own(self.substitute(definition, body, &mut [], false)?)
            }
            None => Tokens::Body(body),
            Some(parameters) => {
                if !self.next_is_open(floor) {
                    return Ok(false);
                }
                let Some((mut arguments, omitted)) = self.arguments(parameters, floor)? else {
                    // Too few or too many, or no end: an error to the compiler.
                    return Err(Stop::Unknown);
                };
                Tokens::Own(self.substitute(definition, body, &mut arguments, omitted)?)
            }
        };
        self.count(tokens.slice().len() + 1)?;
        // The space before the call is the space before its expansion.
        let tokens = match tokens {
            Tokens::Body(body) if body.first().is_some_and(|first| first.spaced != token.spaced) => {
                Tokens::Own(body.to_vec())
            }
            tokens => tokens,
        };
        let tokens = match tokens {
            Tokens::Own(mut own) => {
                if let Some(first) = own.first_mut() {
                    first.spaced = token.spaced;
                }
                Tokens::Own(own)
            }
            body => body,
        };
        self.disabled.insert(definition.name);
        self.stack.push(Context { tokens, at: 0, of: Some(definition.name) });
        Ok(true)
    }

    fn count(&mut self, tokens: usize) -> Result<(), Stop> {
        self.produced += tokens;
        if self.produced > MAX_TOKENS { Err(Stop::TooLarge) } else { Ok(()) }
    }

    /// Whether the next token is `(`. Contexts that are read to their end are left, even if it is not.
    fn next_is_open(&mut self, floor: usize) -> bool {
        while self.stack.len() > floor {
            let Some(context) = self.stack.last() else { return false };
            if let Some(token) = context.tokens.slice().get(context.at) {
                return token.is(known::OPEN);
            }
            if let Some(name) = context.of {
                self.disabled.remove(&name);
            }
            self.stack.pop();
        }
        false
    }

    /// Reads the arguments of a call up to its closing parenthesis, and whether the variable ones were left
    /// out. `None` if they do not fit.
    fn arguments(
        &mut self,
        parameters: &Parameters,
        floor: usize,
    ) -> Result<Option<(Vec<Argument>, bool)>, Stop> {
        self.read(floor);
        let wanted = parameters.names.len();
        let mut all = vec![Vec::new()];
        let mut open = 0usize;
        loop {
            let Some(token) = self.read(floor) else { return Ok(None) };
            self.count(1)?;
            if token.is(known::OPEN) {
                open += 1;
            } else if token.is(known::CLOSE) {
                if open == 0 {
                    break;
                }
                open -= 1;
            } else if token.is(known::COMMA) && open == 0 && !(parameters.variadic && all.len() == wanted) {
                all.push(Vec::new());
                continue;
            }
            if let Some(last) = all.last_mut() {
                last.push(token);
            }
        }
        let mut omitted = false;
        if wanted == 0 {
            if all.len() == 1 && all[0].is_empty() {
                all.clear();
            }
        } else if parameters.variadic && all.len() + 1 == wanted {
            all.push(Vec::new());
            omitted = true;
        } else if parameters.variadic && wanted == 1 && all[0].is_empty() {
            omitted = true;
        }
        if all.len() != wanted {
            return Ok(None);
        }
        Ok(Some((all.into_iter().map(|raw| Argument { raw, expanded: None }).collect(), omitted)))
    }

    /// A body with its arguments put in.
    fn substitute(
        &mut self,
        definition: &'a Macro,
        body: &'a [Token],
        arguments: &mut [Argument],
        omitted: bool,
    ) -> Result<Vec<Token>, Stop> {
        let names = definition.parameters.as_ref().map_or(&[][..], |parameters| &parameters.names);
        let variadic = definition.parameters.as_ref().is_some_and(|parameters| parameters.variadic);
        let parameter = |token: &Token| {
            (token.kind == Kind::Name)
                .then(|| names.iter().position(|name| *name == token.spelling))
                .flatten()
        };
        let mut out: Vec<Token> = Vec::new();
        let mut at = 0;
        let mut pasting = false;
        while at < body.len() {
            let token = body[at];
            if token.is(known::PASTE) && at > 0 && at + 1 < body.len() {
                // GNU: `, ## __VA_ARGS__`.
                let last = names.len().wrapping_sub(1);
                if variadic && body[at - 1].is(known::COMMA) && parameter(&body[at + 1]) == Some(last) {
                    if omitted {
                        out.pop();
                    }
                    at += 1;
                    continue;
                }
                pasting = true;
                at += 1;
                continue;
            }
            let before_paste =
                body.get(at + 1).is_some_and(|next| next.is(known::PASTE)) && at + 2 < body.len();
            let mut piece;
            let mut used = 1;
            if token.is(known::HASH)
                && let Some(which) = body.get(at + 1).and_then(parameter)
            {
                let text = stringized(&arguments[which].raw, self.around.symbols)?;
                piece = vec![Token::new(Kind::String, self.around.symbols.intern(&text))];
                used = 2;
            } else if token.name() == Some(known::VA_OPT) && variadic {
                let Some(end) = va_opt_end(&body[at..]) else { return Err(Stop::Unknown) };
                let last = arguments.len() - 1;
                piece = if self.expanded(&mut arguments[last])?.is_empty() {
                    Vec::new()
                } else {
                    self.substitute(definition, &body[at + 2..at + end], arguments, omitted)?
                };
                used = end + 1;
            } else if let Some(which) = parameter(&token) {
                piece = if pasting || before_paste {
                    arguments[which].raw.clone()
                } else {
                    self.expanded(&mut arguments[which])?
                };
                self.count(piece.len())?;
            } else {
                piece = vec![token];
            }
            if let Some(first) = piece.first_mut() {
                first.spaced = token.spaced;
            }
            if piece.is_empty() {
                piece.push(Token { spaced: token.spaced, ..Token::new(Kind::Other, known::EMPTY) });
            }
            if pasting && let Some(left) = out.pop() {
                let right = piece.remove(0);
                self.paste(left, right, &mut out)?;
                pasting = false;
            }
            out.append(&mut piece);
            at += used;
        }
        out.retain(|token| token.spelling != known::EMPTY);
        Ok(out)
    }

    fn paste(&mut self, left: Token, right: Token, out: &mut Vec<Token>) -> Result<(), Stop> {
        if left.kind == Kind::Unknown || right.kind == Kind::Unknown {
            return Err(Stop::Unknown);
        }
        if right.spelling == known::EMPTY {
            out.push(left);
            return Ok(());
        }
        if left.spelling == known::EMPTY {
            out.push(Token { spaced: left.spaced, ..right });
            return Ok(());
        }
        let symbols = &mut self.around.symbols;
        let text = [symbols.spelling(left.spelling), symbols.spelling(right.spelling)].concat();
        if text.len() > MAX_TOKENS {
            return Err(Stop::TooLarge);
        }
        match lex::single(&text) {
            Some(kind) => {
                let token = Token::new(kind, symbols.intern(&text));
                out.push(Token { spaced: left.spaced, ..token });
            }
            None => out.extend([left, right]),
        }
        Ok(())
    }

    /// An argument, expanded by itself.
    fn expanded(&mut self, argument: &mut Argument) -> Result<Vec<Token>, Stop> {
        if let Some(expanded) = &argument.expanded {
            return Ok(expanded.clone());
        }
        if self.depth == MAX_DEPTH {
            return Err(Stop::TooLarge);
        }
        self.depth += 1;
        let floor = self.stack.len();
        self.stack.push(Context { tokens: Tokens::Own(argument.raw.clone()), at: 0, of: None });
        let mut expanded = Vec::new();
        while let Some(token) = self.next_above(floor)? {
            self.count(1)?;
            expanded.push(token);
        }
        self.depth -= 1;
        argument.expanded = Some(expanded.clone());
        Ok(expanded)
    }
}

/// Where the parenthesis behind `__VA_OPT__` closes.
fn va_opt_end(tokens: &[Token]) -> Option<usize> {
    if !tokens.get(1)?.is(known::OPEN) {
        return None;
    }
    let mut open = 0;
    tokens.iter().position(|token| {
        open += i32::from(token.is(known::OPEN)) - i32::from(token.is(known::CLOSE));
        open == 0 && token.is(known::CLOSE)
    })
}

/// What `#` makes of an argument.
fn stringized(tokens: &[Token], symbols: &Symbols) -> Result<Vec<u8>, Stop> {
    let mut text = vec![b'"'];
    for (at, token) in tokens.iter().enumerate() {
        if token.spaced && at > 0 {
            text.push(b' ');
        }
        let literal = matches!(token.kind, Kind::String | Kind::Char | Kind::Header);
        for &byte in symbols.spelling(token.spelling) {
            if literal && matches!(byte, b'"' | b'\\') {
                text.push(b'\\');
            }
            text.push(byte);
        }
        if text.len() > MAX_TOKENS {
            return Err(Stop::TooLarge);
        }
    }
    text.push(b'"');
    Ok(text)
}

/// A string literal with this content.
fn string(content: &[u8]) -> Vec<u8> {
    let mut text = vec![b'"'];
    for &byte in content {
        if matches!(byte, b'"' | b'\\') {
            text.push(b'\\');
        }
        text.push(byte);
    }
    text.push(b'"');
    text
}

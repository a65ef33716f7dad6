//! The conditions of `#if` and `#elif`, with values that may be unknown.

use super::expand::{Expander, Stop};
use super::symbol::{Symbol, Symbols, known};
use super::table::State;
use super::token::{Kind, Token};
use super::{ask, lex};

/// A truth value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// Yes.
    True,
    /// No.
    False,
    /// Only the compiler knows.
    Unknown,
}

impl std::ops::Not for Truth {
    type Output = Truth;

    fn not(self) -> Truth {
        match self {
            Truth::True => Truth::False,
            Truth::False => Truth::True,
            Truth::Unknown => Truth::Unknown,
        }
    }
}

/// An integer as `#if` knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Value {
    /// Two's complement; `None` if it is unknown.
    bits: Option<u64>,
    unsigned: bool,
}

impl Value {
    const UNKNOWN: Value = Value { bits: None, unsigned: false };

    fn signed(value: i64) -> Value {
        Value { bits: Some(value as u64), unsigned: false }
    }

    fn truth(self) -> Truth {
        match self.bits {
            None => Truth::Unknown,
            Some(0) => Truth::False,
            Some(_) => Truth::True,
        }
    }

    fn of(truth: Truth) -> Value {
        match truth {
            Truth::True => Value::signed(1),
            Truth::False => Value::signed(0),
            Truth::Unknown => Value::UNKNOWN,
        }
    }
}

/// Why there is no value.
enum Fault {
    /// No expression at all; the compiler will say so.
    Malformed,
    Stop(Stop),
}

impl From<Stop> for Fault {
    fn from(stop: Stop) -> Fault {
        Fault::Stop(stop)
    }
}

type Result<T> = std::result::Result<T, Fault>;

/// Nested parentheses and operators.
const MAX_DEPTH: usize = 256;

/// Evaluates a condition. `cplusplus` gives `and`, `true` and their kin their meanings.
pub fn evaluate(expander: &mut Expander, cplusplus: bool) -> std::result::Result<Truth, Stop> {
    let mut parser = Parser { expander, cplusplus, peeked: None, depth: 0 };
    let result = parser.conditional().and_then(|value| match parser.take()? {
        None => Ok(value.truth()),
        Some(_) => Err(Fault::Malformed),
    });
    match result {
        Ok(truth) => Ok(truth),
        Err(Fault::Malformed | Fault::Stop(Stop::Unknown)) => Ok(Truth::Unknown),
        Err(Fault::Stop(stop)) => Err(stop),
    }
}

struct Parser<'p, 's, 'a> {
    expander: &'p mut Expander<'s, 'a>,
    cplusplus: bool,
    peeked: Option<Token>,
    depth: usize,
}

impl Parser<'_, '_, '_> {
    fn peek(&mut self) -> Result<Option<Token>> {
        if self.peeked.is_none() {
            self.peeked = self.expander.next()?;
        }
        Ok(self.peeked)
    }

    fn take(&mut self) -> Result<Option<Token>> {
        let token = self.peek()?;
        self.peeked = None;
        Ok(token)
    }

    /// The operator that comes next.
    fn operator(&mut self) -> Result<Option<Symbol>> {
        Ok(self.peek()?.and_then(|token| match token.kind {
            Kind::Punctuation => Some(token.spelling),
            Kind::Name if self.cplusplus => lex::operator_word(token.spelling),
            _ => None,
        }))
    }

    fn expect(&mut self, punctuation: Symbol) -> Result<()> {
        match self.take()? {
            Some(token) if token.is(punctuation) => Ok(()),
            _ => Err(Fault::Malformed),
        }
    }

    fn conditional(&mut self) -> Result<Value> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Fault::Stop(Stop::TooLarge));
        }
        let condition = self.binary(1)?;
        let value = if self.operator()? == Some(known::QUESTION) {
            self.take()?;
            let then = self.comma()?;
            self.expect(known::COLON)?;
            let otherwise = self.conditional()?;
            let unsigned = then.unsigned || otherwise.unsigned;
            match condition.truth() {
                Truth::True => Value { unsigned, ..then },
                Truth::False => Value { unsigned, ..otherwise },
                Truth::Unknown if then.bits == otherwise.bits => Value { unsigned, ..then },
                Truth::Unknown => Value { bits: None, unsigned },
            }
        } else {
            condition
        };
        self.depth -= 1;
        Ok(value)
    }

    fn comma(&mut self) -> Result<Value> {
        let mut value = self.conditional()?;
        while self.operator()? == Some(known::COMMA) {
            self.take()?;
            value = self.conditional()?;
        }
        Ok(value)
    }

    fn binary(&mut self, lowest: u8) -> Result<Value> {
        let mut left = self.unary()?;
        while let Some(operator) = self.operator()? {
            let Some(level) = level(operator).filter(|level| *level >= lowest) else { break };
            self.take()?;
            let right = self.binary(level + 1)?;
            left = apply(operator, left, right);
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Value> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Fault::Stop(Stop::TooLarge));
        }
        let value = match self.operator()? {
            Some(known::NOT) => {
                self.take()?;
                Value::of(!self.unary()?.truth())
            }
            Some(known::COMPLEMENT) => {
                self.take()?;
                let value = self.unary()?;
                Value { bits: value.bits.map(|bits| !bits), ..value }
            }
            Some(known::MINUS) => {
                self.take()?;
                let value = self.unary()?;
                Value { bits: value.bits.map(u64::wrapping_neg), ..value }
            }
            Some(known::PLUS) => {
                self.take()?;
                self.unary()?
            }
            Some(known::OPEN) => {
                self.take()?;
                let value = self.comma()?;
                self.expect(known::CLOSE)?;
                value
            }
            Some(known::HASH) => {
                self.take()?;
                self.assertion()?
            }
            Some(_) => return Err(Fault::Malformed),
            None => self.primary()?,
        };
        self.depth -= 1;
        Ok(value)
    }

    fn primary(&mut self) -> Result<Value> {
        let Some(token) = self.take()? else { return Err(Fault::Malformed) };
        match token.kind {
            Kind::Number => {
                number(self.expander.around.symbols.spelling(token.spelling)).ok_or(Fault::Malformed)
            }
            Kind::Char => Ok(character(self.expander.around.symbols.spelling(token.spelling))),
            Kind::Unknown => Ok(Value::UNKNOWN),
            Kind::Name => self.name(token.spelling),
            _ => Err(Fault::Malformed),
        }
    }

    fn name(&mut self, name: Symbol) -> Result<Value> {
        match name {
            known::DEFINED => self.defined(),
            known::TRUE if self.cplusplus => Ok(Value::signed(1)),
            _ if self.expander.state(name)? != State::Builtin => Ok(Value::signed(0)),
            known::HAS_INCLUDE | known::HAS_INCLUDE_NEXT | known::HAS_EMBED => self.has_include(name),
            _ if ask::is_question(name) => {
                let argument = self.parenthesised()?;
                for name in argument.iter().filter_map(Token::name) {
                    if self.expander.around.look_up(name) != State::Undefined {
                        return Ok(Value::UNKNOWN);
                    }
                }
                let answer = self.answer(name, argument)?;
                Ok(answer.map_or(Value::UNKNOWN, Value::signed))
            }
            _ => Ok(Value::signed(0)),
        }
    }

    /// `# predicate ( answer )`.
    fn assertion(&mut self) -> Result<Value> {
        self.expander.around.reads.placed = true;
        let mut tokens = vec![self.expander.raw().ok_or(Fault::Malformed)?];
        let Some(open) = self.expander.raw() else { return Ok(Value::UNKNOWN) };
        if !open.is(known::OPEN) {
            // `#predicate` alone: how the rest reads depends on it.
            return Err(Fault::Stop(Stop::Unknown));
        }
        tokens.push(open);
        loop {
            let token = self.expander.raw().ok_or(Fault::Malformed)?;
            tokens.push(token);
            if token.is(known::CLOSE) {
                break;
            }
        }
        if self.expander.around.asserted {
            return Ok(Value::UNKNOWN);
        }
        let answer = self.answer(known::HASH, tokens)?;
        Ok(answer.map_or(Value::UNKNOWN, Value::signed))
    }

    fn defined(&mut self) -> Result<Value> {
        let mut token = self.expander.raw().ok_or(Fault::Malformed)?;
        let parenthesised = token.is(known::OPEN);
        if parenthesised {
            token = self.expander.raw().ok_or(Fault::Malformed)?;
        }
        let name = token.name().ok_or(Fault::Malformed)?;
        if parenthesised && !self.expander.raw().is_some_and(|close| close.is(known::CLOSE)) {
            return Err(Fault::Malformed);
        }
        match self.expander.state(name) {
            Ok(state) => Ok(Value::signed(i64::from(state != State::Undefined))),
            Err(Stop::Unknown) => Ok(Value::UNKNOWN),
            Err(stop) => Err(stop.into()),
        }
    }

    /// The raw tokens between `(` and its `)`.
    fn parenthesised(&mut self) -> Result<Vec<Token>> {
        if !self.expander.raw().is_some_and(|open| open.is(known::OPEN)) {
            return Err(Fault::Malformed);
        }
        let mut tokens = Vec::new();
        let mut open = 0;
        loop {
            let token = self.expander.raw().ok_or(Fault::Malformed)?;
            if token.is(known::OPEN) {
                open += 1;
            } else if token.is(known::CLOSE) {
                if open == 0 {
                    return Ok(tokens);
                }
                open -= 1;
            }
            tokens.push(token);
        }
    }

    fn has_include(&mut self, which: Symbol) -> Result<Value> {
        self.expander.around.reads.placed = true;
        let tokens = self.parenthesised()?;
        let tokens = match tokens.first() {
            Some(token) if matches!(token.kind, Kind::Header | Kind::String) => tokens,
            Some(token) if token.is(known::LESS) => tokens,
            _ => Expander::own(self.expander.around, tokens).all()?,
        };
        let name = header_name(&tokens, self.expander.around.symbols, self.expander.around.clang)
            .ok_or(Fault::Stop(Stop::Unknown))?;
        match self.expander.around.includes.get(&(which, name.clone())) {
            Some(value) => Ok(Value::signed(*value)),
            None => Err(Fault::Stop(Stop::Find(which, name))),
        }
    }

    /// What the compiler answered.
    fn answer(&mut self, name: Symbol, argument: Vec<Token>) -> Result<Option<i64>> {
        match self.expander.around.answers.get(&ask::key(name, &argument)) {
            Some(answer) => Ok(*answer),
            None => Err(Fault::Stop(Stop::Ask(name, argument))),
        }
    }
}

/// The header name, with its delimiters, that these tokens spell.
pub fn header_name(tokens: &[Token], symbols: &Symbols, clang: bool) -> Option<Vec<u8>> {
    let first = tokens.first()?;
    match first.kind {
        Kind::Header => return Some(symbols.spelling(first.spelling).to_vec()),
        Kind::String => {
            let spelling = symbols.spelling(first.spelling);
            return spelling.starts_with(b"\"").then(|| spelling.to_vec());
        }
        _ if first.spelling == known::LESS => {}
        _ => return None,
    }
    let mut name = vec![b'<'];
    for (at, token) in tokens.iter().enumerate().skip(1) {
        if token.kind == Kind::Unknown {
            return None;
        }
        if token.is(known::GREATER) {
            name.push(b'>');
            return Some(name);
        }
        if at > 1 && if clang { token.spaced } else { token.written_spaced } {
            name.push(b' ');
        }
        name.extend_from_slice(symbols.spelling(token.spelling));
    }
    None
}

/// How tightly a binary operator binds.
fn level(operator: Symbol) -> Option<u8> {
    Some(match operator {
        known::OR_OR => 1,
        known::AND_AND => 2,
        known::OR => 3,
        known::XOR => 4,
        known::AND => 5,
        known::EQUAL | known::NOT_EQUAL => 6,
        known::LESS | known::GREATER | known::LESS_EQUAL | known::GREATER_EQUAL => 7,
        known::SHIFT_LEFT | known::SHIFT_RIGHT => 8,
        known::PLUS | known::MINUS => 9,
        known::STAR | known::SLASH | known::PERCENT => 10,
        _ => return None,
    })
}

fn apply(operator: Symbol, left: Value, right: Value) -> Value {
    use Truth::{False, True, Unknown};
    match operator {
        known::AND_AND => {
            return Value::of(match (left.truth(), right.truth()) {
                (False, _) | (_, False) => False,
                (True, True) => True,
                _ => Unknown,
            });
        }
        known::OR_OR => {
            return Value::of(match (left.truth(), right.truth()) {
                (True, _) | (_, True) => True,
                (False, False) => False,
                _ => Unknown,
            });
        }
        _ => {}
    }
    let shift = matches!(operator, known::SHIFT_LEFT | known::SHIFT_RIGHT);
    let unsigned = if shift { left.unsigned } else { left.unsigned || right.unsigned };
    let compares = level(operator).is_some_and(|level| matches!(level, 6 | 7));
    let bits = match (left.bits, right.bits) {
        (Some(a), Some(b)) => calculate(operator, a, b, unsigned, right.unsigned),
        _ => None,
    };
    Value { bits, unsigned: unsigned && !compares }
}

fn calculate(operator: Symbol, a: u64, b: u64, unsigned: bool, right_unsigned: bool) -> Option<u64> {
    let (sa, sb) = (a as i64, b as i64);
    let less = if unsigned { a < b } else { sa < sb };
    Some(match operator {
        known::OR => a | b,
        known::XOR => a ^ b,
        known::AND => a & b,
        known::EQUAL => u64::from(a == b),
        known::NOT_EQUAL => u64::from(a != b),
        known::LESS => u64::from(less),
        known::GREATER => u64::from(!less && a != b),
        known::LESS_EQUAL => u64::from(less || a == b),
        known::GREATER_EQUAL => u64::from(!less),
        known::SHIFT_LEFT => shifted(a, if right_unsigned { b.min(64) as i64 } else { sb }, unsigned),
        known::SHIFT_RIGHT => {
            shifted(a, if right_unsigned { -(b.min(64) as i64) } else { sb.saturating_neg() }, unsigned)
        }
        known::PLUS => a.wrapping_add(b),
        known::MINUS => a.wrapping_sub(b),
        known::STAR => a.wrapping_mul(b),
        known::SLASH if unsigned => a.checked_div(b)?,
        known::SLASH if b != 0 => sa.wrapping_div(sb) as u64,
        known::PERCENT if unsigned => a.checked_rem(b)?,
        known::PERCENT if b != 0 => sa.wrapping_rem(sb) as u64,
        _ => return None,
    })
}

/// Left by `by` bits; right if that is negative, as gcc does.
fn shifted(bits: u64, by: i64, unsigned: bool) -> u64 {
    match by {
        64.. => 0,
        0..64 => bits << by,
        -63..0 if unsigned => bits >> -by,
        -63..0 => ((bits as i64) >> -by) as u64,
        _ if unsigned => 0,
        _ => ((bits as i64) >> 63) as u64,
    }
}

/// An integer constant.
fn number(spelling: &[u8]) -> Option<Value> {
    let digits: Vec<u8> = spelling.iter().copied().filter(|&byte| byte != b'\'').collect();
    let (radix, digits) = match digits.as_slice() {
        [b'0', b'x' | b'X', rest @ ..] => (16, rest),
        [b'0', b'b' | b'B', rest @ ..] => (2, rest),
        [b'0', ..] => (8, &digits[..]),
        _ => (10, &digits[..]),
    };
    let len = digits.iter().position(|byte| !char::from(*byte).is_digit(radix)).unwrap_or(digits.len());
    let (digits, suffix) = digits.split_at(len);
    let suffix = suffix.to_ascii_lowercase();
    let unsigned = suffix.contains(&b'u');
    let known_suffix = matches!(
        &suffix[..],
        b"" | b"u" | b"l" | b"ul" | b"lu" | b"ll" | b"ull" | b"llu" | b"z" | b"uz" | b"zu" | b"i64" | b"ui64"
    );
    if digits.is_empty() || !known_suffix {
        return None;
    }
    let mut bits: u64 = 0;
    for digit in digits {
        let digit = u64::from(char::from(*digit).to_digit(radix)?);
        bits = bits.checked_mul(radix.into())?.checked_add(digit)?;
    }
    Some(Value { bits: Some(bits), unsigned: unsigned || bits > i64::MAX as u64 })
}

/// A character constant; those whose value depends on the target's characters are unknown.
fn character(spelling: &[u8]) -> Value {
    let prefix = spelling.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let inner = spelling[prefix..].strip_prefix(b"'").and_then(|rest| rest.strip_suffix(b"'"));
    let plain = match inner {
        Some([byte]) if byte.is_ascii() && *byte != b'\\' => Some(*byte),
        Some([b'\\', byte]) => match byte {
            b'0' => Some(0),
            b'n' => Some(b'\n'),
            b't' => Some(b'\t'),
            b'r' => Some(b'\r'),
            b'\\' | b'\'' | b'"' | b'?' => Some(*byte),
            _ => None,
        },
        _ => None,
    };
    plain.map_or(Value::UNKNOWN, |byte| Value::signed(byte.into()))
}

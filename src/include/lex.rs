//! The text of a logical line to tokens.

use super::lines::is_name_byte;
use super::symbol::{Symbol, Symbols, known};
use super::token::{Kind, Token};

/// Appends the tokens of one logical line without comments.
pub fn tokens(line: &[u8], symbols: &mut Symbols, into: &mut Vec<Token>) {
    let mut at = 0;
    let mut spaced = false;
    while at < line.len() {
        if is_blank(line[at]) {
            spaced = true;
            at += 1;
            continue;
        }
        let rest = &line[at..];
        let (kind, len) = match header_len(rest, into) {
            Some(len) => (Kind::Header, len),
            None => measure(rest),
        };
        let spelling = match kind {
            Kind::Punctuation => meaning(&rest[..len]),
            _ => &rest[..len],
        };
        let mut token = Token::new(kind, symbols.intern(spelling));
        token.spaced = spaced;
        token.written_spaced = spaced;
        into.push(token);
        spaced = false;
        at += len;
    }
}

/// In C++ these names are operators. They stay names (`#define and &&` is C), the evaluator asks here.
pub fn operator_word(name: Symbol) -> Option<Symbol> {
    Some(match name {
        known::WORD_AND => known::AND_AND,
        known::WORD_BITAND => known::AND,
        known::WORD_BITOR => known::OR,
        known::WORD_COMPL => known::COMPLEMENT,
        known::WORD_NOT => known::NOT,
        known::WORD_NOT_EQ => known::NOT_EQUAL,
        known::WORD_OR => known::OR_OR,
        known::WORD_XOR => known::XOR,
        _ => return None,
    })
}

/// Whether the bytes are exactly one token, as the result of `##` must be.
pub fn single(bytes: &[u8]) -> Option<Kind> {
    if bytes.is_empty() || is_blank(bytes[0]) {
        return None;
    }
    let (kind, len) = measure(bytes);
    (len == bytes.len()).then_some(kind)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c | 0)
}

/// Behind `__has_include (` stands a header name.
fn header_len(rest: &[u8], before: &[Token]) -> Option<usize> {
    let end = match rest[0] {
        b'<' => b'>',
        b'"' => b'"',
        _ => return None,
    };
    let [.., name, open] = before else { return None };
    let asks = matches!(name.spelling, known::HAS_INCLUDE | known::HAS_INCLUDE_NEXT | known::HAS_EMBED);
    if !(asks && open.is(known::OPEN)) {
        return None;
    }
    rest[1..].iter().position(|&byte| byte == end).map(|at| at + 2)
}

fn measure(rest: &[u8]) -> (Kind, usize) {
    let first = rest[0];
    let second = rest.get(1).copied().unwrap_or(0);
    if first.is_ascii_digit() || (first == b'.' && second.is_ascii_digit()) {
        return (Kind::Number, number_len(rest));
    }
    if is_name_byte(first) || universal_name_len(rest) > 0 {
        let len = name_len(rest);
        return match rest.get(len) {
            Some(b'"') if is_prefix(&rest[..len]) => literal(rest, len, Kind::String),
            Some(b'\'') if is_prefix(&rest[..len]) => literal(rest, len, Kind::Char),
            Some(b'"') if matches!(&rest[..len], b"R" | b"LR" | b"uR" | b"UR" | b"u8R") => raw(rest, len),
            _ => (Kind::Name, len),
        };
    }
    match first {
        b'"' => literal(rest, 0, Kind::String),
        b'\'' => literal(rest, 0, Kind::Char),
        _ if first.is_ascii_punctuation() && !matches!(first, b'\\' | b'@' | b'`') => {
            (Kind::Punctuation, operator_len(rest))
        }
        _ => (Kind::Other, 1),
    }
}

fn is_prefix(name: &[u8]) -> bool {
    matches!(name, b"L" | b"u" | b"U" | b"u8")
}

fn number_len(rest: &[u8]) -> usize {
    let mut len = 1;
    while let Some(&byte) = rest.get(len) {
        let sign = matches!(byte, b'+' | b'-') && matches!(rest[len - 1], b'e' | b'E' | b'p' | b'P');
        let separator = byte == b'\'' && rest.get(len + 1).is_some_and(|&next| is_name_byte(next));
        if !(is_name_byte(byte) || byte == b'.' || sign || separator) {
            break;
        }
        len += 1;
    }
    len
}

fn name_len(rest: &[u8]) -> usize {
    let mut len = 0;
    while let Some(&byte) = rest.get(len) {
        if is_name_byte(byte) {
            len += 1;
            continue;
        }
        match universal_name_len(&rest[len..]) {
            0 => break,
            more => len += more,
        }
    }
    len
}

/// `\u` and four digits, `\U` and eight.
fn universal_name_len(rest: &[u8]) -> usize {
    let digits = match rest.get(..2) {
        Some(b"\\u") => 4,
        Some(b"\\U") => 8,
        _ => return 0,
    };
    let hex = rest.get(2..2 + digits).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    if hex { 2 + digits } else { 0 }
}

/// A literal whose quote is at `from`; without an end it takes the line.
fn literal(rest: &[u8], from: usize, kind: Kind) -> (Kind, usize) {
    let quote = rest[from];
    let mut at = from + 1;
    while let Some(&byte) = rest.get(at) {
        at += match byte {
            b'\\' => 2,
            byte if byte == quote => return (kind, at + 1),
            _ => 1,
        };
    }
    (Kind::Other, rest.len())
}

fn raw(rest: &[u8], quote: usize) -> (Kind, usize) {
    let Some(open) = rest[quote + 1..].iter().take(17).position(|&byte| byte == b'(') else {
        return (Kind::Name, quote);
    };
    let mut close = vec![b')'];
    close.extend_from_slice(&rest[quote + 1..quote + 1 + open]);
    close.push(b'"');
    match crate::sys::file::find(rest, &close) {
        Some(at) => (Kind::String, at + close.len()),
        None => (Kind::Name, quote),
    }
}

/// What a digraph stands for.
fn meaning(operator: &[u8]) -> &[u8] {
    match operator {
        b"<:" => b"[",
        b":>" => b"]",
        b"<%" => b"{",
        b"%>" => b"}",
        b"%:" => b"#",
        b"%:%:" => b"##",
        other => other,
    }
}

/// The length of the longest operator that begins here, where some operator does.
fn operator_len(rest: &[u8]) -> usize {
    match rest {
        [b'%', b':', b'%', b':', ..] => 4,
        [b'.', b'.', b'.', ..] | [b'<', b'<', b'=', ..] | [b'>', b'>', b'=', ..] => 3,
        [b'-', b'>', b'*', ..] | [b'<', b'=', b'>', ..] => 3,
        [b'#', b'#', ..] | [b'<', b'<' | b'=' | b':' | b'%', ..] | [b'>', b'>' | b'=', ..] => 2,
        [b'&', b'&', ..] | [b'|', b'|', ..] | [b'+', b'+', ..] | [b'-', b'-' | b'>', ..] => 2,
        [b'=' | b'!' | b'+' | b'-' | b'*' | b'/' | b'%' | b'&' | b'|' | b'^', b'=', ..] => 2,
        [b':', b':' | b'>', ..] | [b'%', b'>' | b':', ..] | [b'.', b'*', ..] => 2,
        _ => 1,
    }
}

//! Translation phases 1 to 3 as far as directives need them: finds the logical lines that begin with `#`, and
//! steps over everything else (comments, literals, raw strings, other text) as quickly as it can.

use std::borrow::Cow;

use crate::sys::file::{contains, find, find_byte};

/// What of the lexical grammar depends on the language and its standard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dialect {
    /// `??=` means `#`.
    pub trigraphs: bool,
    /// `R"x(…)x"` is one token.
    pub raw_strings: bool,
    /// `//` begins a comment.
    pub line_comments: bool,
    /// `1'000` is one number.
    pub digit_separators: bool,
}

/// One logical line: splices are gone and comments are single spaces.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// What stands behind the `#`.
    Directive(&'a [u8]),
    /// Another line that is not blank; its text only if asked for.
    Text(&'a [u8]),
}

/// Steps through a file.
pub struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    dialect: Dialect,
    /// Whether the text of lines without directives is wanted.
    keep_text: bool,
    line: Vec<u8>,
}

impl<'a> Lines<'a> {
    /// Begins with the first line of what [`plain`] gave.
    pub fn new(bytes: &'a [u8], dialect: Dialect, keep_text: bool) -> Lines<'a> {
        Lines { bytes, at: 0, dialect, keep_text, line: Vec::new() }
    }

    /// The next line that is not blank.
    pub fn next(&mut self) -> Option<Line<'_>> {
        loop {
            self.skip_blanks();
            match self.byte()? {
                b'\n' | b'\r' => self.at += 1,
                b'#' => {
                    self.at += 1;
                    self.directive();
                    return Some(Line::Directive(&self.line));
                }
                b'%' if self.byte_behind(1) == Some(b':') => {
                    self.at += 1;
                    self.skip_splices();
                    self.at += 1;
                    self.directive();
                    return Some(Line::Directive(&self.line));
                }
                _ => {
                    self.line.clear();
                    self.text();
                    return Some(Line::Text(&self.line));
                }
            }
        }
    }

    #[inline(always)] // A call would take longer, even where size counts.
    fn byte(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// The byte after `self.at + skip`, over splices.
    fn byte_behind(&self, skip: usize) -> Option<u8> {
        let mut at = self.at + skip;
        while let Some(len) = splice(self.bytes, at) {
            at += len;
        }
        self.bytes.get(at).copied()
    }

    fn skip_splices(&mut self) {
        while let Some(len) = splice(self.bytes, self.at) {
            self.at += len;
        }
    }

    /// White space within a line, comments and splices. Says whether there were any.
    fn skip_blanks(&mut self) -> bool {
        let start = self.at;
        loop {
            match self.byte() {
                Some(b' ' | b'\t' | 0x0b | 0x0c | 0) => self.at += 1,
                Some(b'\r') if self.bytes.get(self.at + 1) == Some(&b'\n') => self.at += 1,
                Some(b'\\') => match splice(self.bytes, self.at) {
                    Some(len) => self.at += len,
                    None => break,
                },
                Some(b'/') => {
                    if !self.skip_comment() {
                        break;
                    }
                }
                _ => break,
            }
        }
        self.at > start
    }

    /// A comment that begins here.
    fn skip_comment(&mut self) -> bool {
        match self.byte_behind(1) {
            Some(b'*') => {
                self.at += 1;
                self.skip_splices();
                self.at += 1;
                self.skip_to_comment_end();
                true
            }
            Some(b'/') if self.dialect.line_comments => {
                self.skip_line();
                true
            }
            _ => false,
        }
    }

    fn skip_to_comment_end(&mut self) {
        while let Some(star) = find_byte(&self.bytes[self.at..], b'*') {
            self.at += star + 1;
            if self.byte_behind(0) == Some(b'/') {
                self.skip_splices();
                self.at += 1;
                return;
            }
        }
        self.at = self.bytes.len();
    }

    /// To the end of the logical line; the newline stays.
    fn skip_line(&mut self) {
        let rest = &self.bytes[self.at..];
        let line = &rest[..find_byte(rest, b'\n').unwrap_or(rest.len())];
        if !line.contains(&b'\\') && !line.contains(&b'\r') {
            self.at += line.len();
            return;
        }
        loop {
            match self.byte() {
                None | Some(b'\n') => return,
                Some(b'\\') => self.at += splice(self.bytes, self.at).unwrap_or(1),
                Some(b'\r') if self.ends_line() => return,
                Some(_) => self.at += 1,
            }
        }
    }

    /// A lone carriage return ends a line, too.
    fn ends_line(&self) -> bool {
        matches!(self.byte(), None | Some(b'\n' | b'\r'))
    }

    /// Gathers the rest of a directive.
    fn directive(&mut self) {
        self.line.clear();
        self.skip_blanks();
        let wants_header = self.directive_name();
        if self.skip_blanks() {
            self.line.push(b' ');
        }
        if wants_header && matches!(self.byte(), Some(b'<' | b'"')) {
            self.header_name();
        }
        self.gather(true);
    }

    /// Gathers the directive's name; says whether a header name comes next.
    fn directive_name(&mut self) -> bool {
        loop {
            self.skip_splices();
            match self.byte() {
                Some(byte) if is_name_byte(byte) => self.line.push(byte),
                _ => break,
            }
            self.at += 1;
        }
        matches!(&self.line[..], b"include" | b"include_next" | b"import" | b"embed")
    }

    /// Gathers a header name: nothing has a meaning in it but its end.
    fn header_name(&mut self) {
        let end = if self.byte() == Some(b'<') { b'>' } else { b'"' };
        let (start, len) = (self.at, self.line.len());
        let first = self.bytes[self.at];
        self.line.push(first);
        self.at += 1;
        loop {
            self.skip_splices();
            match self.byte() {
                None | Some(b'\n' | b'\r') => {
                    self.line.truncate(len);
                    self.at = start;
                    return;
                }
                Some(byte) => {
                    self.line.push(byte);
                    self.at += 1;
                    if byte == end {
                        return;
                    }
                }
            }
        }
    }

    fn text(&mut self) {
        self.gather(self.keep_text);
    }

    /// Goes to the end of the logical line, and gathers it if `keep`.
    fn gather(&mut self, keep: bool) {
        loop {
            let rest = &self.bytes[self.at..];
            let plain = rest.iter().position(|&byte| IS_SPECIAL[usize::from(byte)]).unwrap_or(rest.len());
            if keep {
                self.line.extend_from_slice(&rest[..plain]);
            }
            self.at += plain;
            let Some(byte) = self.byte() else { return };
            match byte {
                b'\n' => return,
                b'\r' => {
                    if self.bytes.get(self.at + 1) != Some(&b'\n') {
                        return;
                    }
                    self.at += 1;
                }
                b'\\' => match splice(self.bytes, self.at) {
                    Some(len) => self.at += len,
                    None => self.one(keep),
                },
                b'/' => {
                    if self.skip_comment() {
                        if keep {
                            self.line.push(b' ');
                        }
                    } else {
                        self.one(keep);
                    }
                }
                b'<' if keep && follows_has_include(&self.line) => {
                    let before = self.at;
                    self.header_name();
                    if self.at == before {
                        self.one(keep);
                    }
                }
                b'"' if self.dialect.raw_strings && self.is_raw() => self.raw_string(keep),
                b'\'' if self.dialect.digit_separators && self.is_separator() => self.one(keep),
                b'"' | b'\'' => self.literal(byte, keep),
                _ => self.one(keep),
            }
        }
    }

    fn one(&mut self, keep: bool) {
        if keep {
            self.line.push(self.bytes[self.at]);
        }
        self.at += 1;
    }

    /// A string or character literal, to its end or that of the line.
    fn literal(&mut self, quote: u8, keep: bool) {
        self.one(keep);
        loop {
            match self.byte() {
                None | Some(b'\n') => return,
                Some(b'\\') => match splice(self.bytes, self.at) {
                    Some(len) => self.at += len,
                    None => {
                        self.one(keep);
                        self.skip_splices();
                        if !self.ends_line() {
                            self.one(keep);
                        }
                    }
                },
                Some(byte) => {
                    self.one(keep);
                    if byte == quote {
                        return;
                    }
                }
            }
        }
    }

    /// Whether the quote here belongs to a raw string: its prefix stands before it, with no splice between.
    fn is_raw(&self) -> bool {
        let start =
            self.bytes[..self.at].iter().rposition(|&byte| !is_name_byte(byte)).map_or(0, |at| at + 1);
        matches!(&self.bytes[start..self.at], b"R" | b"LR" | b"uR" | b"UR" | b"u8R")
    }

    fn raw_string(&mut self, keep: bool) {
        let from = self.at;
        let rest = &self.bytes[from + 1..];
        let open = rest.iter().take(17).position(|&byte| byte == b'(');
        let end = open.and_then(|open| {
            let mut close = vec![b')'];
            close.extend_from_slice(&rest[..open]);
            close.push(b'"');
            let body = &rest[open..];
            find(body, &close).map(|at| from + 1 + open + at + close.len())
        });
        match end {
            Some(end) => {
                if keep {
                    self.line.extend_from_slice(&self.bytes[from..end]);
                }
                self.at = end;
            }
            None => self.literal(b'"', keep),
        }
    }

    /// Whether the `'` here stands within a number.
    fn is_separator(&self) -> bool {
        let before = &self.bytes[self.at.saturating_sub(LONGEST_NUMBER)..self.at];
        let start = before.iter().rposition(|&byte| !(is_name_byte(byte) || byte == b'\'' || byte == b'.'));
        let word = &before[start.map_or(0, |at| at + 1)..];
        let number = word.first().is_some_and(u8::is_ascii_digit)
            || (word.first() == Some(&b'.') && word.get(1).is_some_and(u8::is_ascii_digit));
        number && self.bytes.get(self.at + 1).is_some_and(|&next| is_name_byte(next))
    }
}

/// Bytes, more than any real number has; looking further back would take quadratic time.
const LONGEST_NUMBER: usize = 256;

/// The length of a backslash and newline, with blanks between allowed as compilers do.
fn splice(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at) != Some(&b'\\') {
        return None;
    }
    let mut end = at + 1;
    while matches!(bytes.get(end), Some(b' ' | b'\t' | 0x0b | 0x0c)) {
        end += 1;
    }
    match (bytes.get(end), bytes.get(end + 1)) {
        (Some(b'\r'), Some(b'\n')) => Some(end + 2 - at),
        (Some(b'\n' | b'\r'), _) => Some(end + 1 - at),
        _ => None,
    }
}

/// Whether a byte can be part of an identifier.
pub fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// By byte: whether it may end a line or begin something that is not what it looks like.
const IS_SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let bytes = b"\n\r\\/<\"'";
    let mut at = 0;
    while at < bytes.len() {
        special[bytes[at] as usize] = true;
        at += 1;
    }
    special
};

/// Whether a `<` here begins a header name: behind `__has_include (` and its kin.
fn follows_has_include(line: &[u8]) -> bool {
    let Some(line) = line.trim_ascii_end().strip_suffix(b"(") else { return false };
    let line = line.trim_ascii_end();
    [&b"__has_include"[..], b"__has_include_next", b"__has_embed"].iter().any(|name| line.ends_with(name))
}

/// A file's bytes without a byte order mark and trigraphs.
pub fn plain(bytes: &[u8], dialect: Dialect) -> Cow<'_, [u8]> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    if dialect.trigraphs { without_trigraphs(bytes) } else { Cow::Borrowed(bytes) }
}

fn without_trigraphs(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !contains(bytes, b"??") {
        return Cow::Borrowed(bytes);
    }
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let meant = match bytes.get(at..at + 3) {
            Some([b'?', b'?', third]) => match third {
                b'=' => Some(b'#'),
                b'/' => Some(b'\\'),
                b'\'' => Some(b'^'),
                b'(' => Some(b'['),
                b')' => Some(b']'),
                b'!' => Some(b'|'),
                b'<' => Some(b'{'),
                b'>' => Some(b'}'),
                b'-' => Some(b'~'),
                _ => None,
            },
            _ => None,
        };
        plain.push(meant.unwrap_or(bytes[at]));
        at += if meant.is_some() { 3 } else { 1 };
    }
    Cow::Owned(plain)
}

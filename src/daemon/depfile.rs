//! The dependency file of a job that ran in a root, as the client's own compiler would have written it.
//!
//! Compilers break the list into lines by the names' lengths, so taking the root out of the names is not enough:
//! the first rule is laid out anew. Both layouts were taken from the compilers' output (gcc 12, clang 14).

use crate::daemon::job::replace;
use crate::sys::file::contains;

/// How a compiler breaks its lines.
struct Layout {
    /// What a new line begins with.
    indent: &'static [u8],
    /// The column at which it counts itself then.
    start: usize,
    /// The last column at which a name may end that has no line of its own.
    last: usize,
}

/// The blank in front of the name is not counted.
const GCC: Layout = Layout { indent: b" ", start: 1, last: 72 };
/// Of 75 columns three are kept for the blank in front and for the line's end.
const CLANG: Layout = Layout { indent: b"  ", start: 3, last: 72 };

/// `text` without `root`, the path of the directory that stood for the client's `/`.
pub fn clean(text: &[u8], root: &[u8]) -> Vec<u8> {
    // As make wants it, and so as compilers write it.
    let mut escaped = Vec::new();
    for &byte in root {
        match byte {
            b' ' | b'#' => escaped.extend([b'\\', byte]),
            b'$' => escaped.extend(b"$$"),
            _ => escaped.push(byte),
        }
    }
    if !contains(text, &escaped) {
        return text.to_vec();
    }
    let rule_end = end_of_rule(text);
    let (rule, rest) = text.split_at(rule_end);
    let mut out = lay_out(rule, &escaped);
    out.extend(replace(rest, &escaped, b""));
    out
}

/// Behind the last line of the first rule.
fn end_of_rule(text: &[u8]) -> usize {
    let mut start = 0;
    while let Some(at) = text[start..].iter().position(|byte| *byte == b'\n') {
        let end = start + at;
        if end == 0 || text[end - 1] != b'\\' {
            return end + 1;
        }
        start = end + 1;
    }
    text.len()
}

fn lay_out(rule: &[u8], root: &[u8]) -> Vec<u8> {
    let Some(at) = rule.windows(3).position(|bytes| bytes == b" \\\n") else {
        // It had room with the root, so it has room without.
        return replace(rule, root, b"");
    };
    let layout = if rule[at + 3..].starts_with(CLANG.indent) { CLANG } else { GCC };
    let mut out: Vec<u8> = Vec::new();
    let mut column = 0;
    for name in names(rule) {
        let name = replace(name, root, b"");
        // clang counts a name as it is on disk, gcc as it is written.
        let len = if layout.start == CLANG.start { unescaped_len(&name) } else { name.len() };
        if column > 0 {
            if column + len > layout.last {
                out.extend_from_slice(b" \\\n");
                out.extend_from_slice(layout.indent);
                column = layout.start;
            } else {
                out.push(b' ');
                column += 1;
            }
        }
        out.extend_from_slice(&name);
        column += len;
    }
    out.push(b'\n');
    out
}

/// The words of a rule: blanks without a backslash in front, and line ends, part them.
fn names(rule: &[u8]) -> Vec<&[u8]> {
    let mut names = Vec::new();
    let mut start = 0;
    for at in 0..=rule.len() {
        let parts = match rule.get(at) {
            Some(b' ') => at == 0 || rule[at - 1] != b'\\',
            Some(b'\n') | None => true,
            _ => false,
        };
        if parts {
            let name = &rule[start..at];
            if !name.is_empty() && name != b"\\" {
                names.push(name);
            }
            start = at + 1;
        }
    }
    names
}

fn unescaped_len(name: &[u8]) -> usize {
    let escapes = name.windows(2).filter(|pair| matches!(*pair, b"\\ " | b"\\#" | b"$$")).count();
    name.len() - escapes
}

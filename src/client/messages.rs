//! What a preprocessor here and a compiler there have said, as one compiler would have said it.

use std::io::{self, Write};

use super::reply::Reply;
use crate::sys::file::{contains, find};

/// What preprocessor and compiler wrote, held back until it is decided whose words the user sees.
pub struct Messages {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// Warnings that a compiler gives differently for preprocessed text, so that only a local compile knows whether they are
/// true. Found by comparing both for each compiler (`tests/data/differential`).
///
/// A `/* fall through */` comment silences the first two in gcc; -Wbidi-chars comes from both halves, for different
/// columns; the others are not given for what a macro made.
const UNSURE_WARNINGS: [&[u8]; 9] = [
    b"-Wimplicit-fallthrough",
    b"this statement may fall through",
    b"-Wbidi-chars",
    b"-Wconstant-logical-operand",
    b"-Wlogical-op",
    b"-Wparentheses-equality",
    b"-Wself-assign",
    b"-Wtautological-",
    b"-Wunreachable-code",
];

/// Whether a local compile might not say this.
pub fn is_unsure(stderr: &[u8]) -> bool {
    !stderr.is_empty() && UNSURE_WARNINGS.iter().any(|warning| contains(stderr, warning))
}

impl Messages {
    /// Joins what the preprocessor here has said to what the compiler there has.
    pub fn new(preprocessor: &[u8], reply: Reply) -> Messages {
        Messages { stdout: reply.stdout, stderr: join(preprocessor, &reply.stderr) }
    }

    /// Those of a server that has done it all.
    pub fn of_server(reply: Reply) -> Messages {
        Messages { stdout: reply.stdout, stderr: reply.stderr }
    }

    /// Writes all of it where the compiler wrote it. A closed descriptor is the user's choice.
    pub fn show(&self) {
        if !self.stdout.is_empty() {
            let _ = io::stdout().write_all(&self.stdout).and_then(|()| io::stdout().flush());
        }
        if !self.stderr.is_empty() {
            let _ = io::stderr().write_all(&self.stderr);
        }
    }
}

/// What both halves of a compile complain about (an option, a `#pragma GCC warning`, a character) is a single complaint
/// to the user, and so is clang's count at the end.
fn join(ours: &[u8], theirs: &[u8]) -> Vec<u8> {
    if ours.is_empty() {
        return theirs.to_vec();
    }
    let (mut joined, mut warnings, mut repeated) = (Vec::new(), 0, 0);
    for line in lines(ours) {
        match count(line) {
            Some(count) => warnings += count,
            None => joined.extend_from_slice(line),
        }
    }
    let mut repeats = false;
    for line in lines(theirs) {
        if let Some(count) = count(line) {
            warnings += count;
            continue;
        }
        // Indented lines show the place of what stands above, and so do pragmas.
        if !line.starts_with(b" ") && !line.starts_with(b"#") {
            repeats = lines(ours).any(|other| other == line || is_same_pragma(other, line));
            repeated += usize::from(repeats && contains(line, b"warning: "));
        }
        if !repeats {
            joined.extend_from_slice(line);
        }
    }
    // Gcc gives no count.
    if warnings > 0 {
        let warnings = warnings.saturating_sub(repeated).max(1);
        let plural = if warnings == 1 { "" } else { "s" };
        joined.extend_from_slice(format!("{warnings} warning{plural} generated.\n").as_bytes());
    }
    joined
}

/// Whether both are about one `#pragma GCC warning` of clang: its preprocessor gives the warning and leaves the pragma to
/// the compiler, at another column if a `_Pragma` made it.
fn is_same_pragma(ours: &[u8], theirs: &[u8]) -> bool {
    /// File and line, and the text.
    fn parts(line: &[u8]) -> Option<(&[u8], &[u8])> {
        let text = find(line, b": warning: ").filter(|_| line.ends_with(b"[-W#pragma-messages]\n"))?;
        let column = line[..text].iter().rposition(|byte| *byte == b':')?;
        Some((&line[..column], &line[text..]))
    }
    parts(theirs).is_some_and(|theirs| parts(ours) == Some(theirs))
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n')
}

/// How many warnings clang says it gave, if this is the line that says it.
fn count(line: &[u8]) -> Option<usize> {
    let line = std::str::from_utf8(line).ok()?;
    let number = line.strip_suffix(" warning generated.\n").or(line.strip_suffix(" warnings generated.\n"))?;
    number.parse().ok().filter(|count| *count < 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(ours: &str, theirs: &str) -> String {
        String::from_utf8(join(ours.as_bytes(), theirs.as_bytes())).unwrap()
    }

    #[test]
    fn a_complaint_about_an_option_is_made_once() {
        let unknown = "warning: unknown warning option '-Wx'\n1 warning generated.\n";
        assert_eq!(joined(unknown, unknown), unknown);
        assert_eq!(
            joined("cc1: warning: -Wx\n", "cc1: warning: -Wx\na.c:1: y\n"),
            "cc1: warning: -Wx\na.c:1: y\n"
        );
        // The driver does not count.
        let unused = "clang: warning: -lm: unused\n";
        assert_eq!(
            joined(unused, "a.c:1: warning: y\n1 warning generated.\n"),
            [unused, "a.c:1: warning: y\n1 warning generated.\n"].concat()
        );
    }

    #[test]
    fn a_pragma_warns_once() {
        let by_macro = "a.c:1:1: warning: look [-W#pragma-messages]\n_Pragma(x)\n^\n1 warning generated.\n";
        let again = "a.c:1:13: warning: look [-W#pragma-messages]\n#pragma x\n   ^\n1 warning generated.\n";
        let other = "a.c:2:13: warning: look [-W#pragma-messages]\n1 warning generated.\n";
        assert_eq!(joined(by_macro, again), by_macro);
        assert!(
            joined(by_macro, other)
                .ends_with("a.c:2:13: warning: look [-W#pragma-messages]\n2 warnings generated.\n")
        );
    }

    #[test]
    fn counts_are_added() {
        assert_eq!(
            joined("a.c:1: x\n1 warning generated.\n", "a.c:2: y\na.c:3: y\n2 warnings generated.\n"),
            "a.c:1: x\na.c:2: y\na.c:3: y\n3 warnings generated.\n"
        );
        assert_eq!(joined("", "a.c:2: y\n1 warning generated.\n"), "a.c:2: y\n1 warning generated.\n");
        assert_eq!(
            joined("a.c:1: x\n  1 | a\n", "a.c:1: x\n  b\na.c:2: y\n  c\n"),
            "a.c:1: x\n  1 | a\na.c:2: y\n  c\n"
        );
    }

    #[test]
    fn warnings_that_depend_on_comments_and_macros() {
        assert!(is_unsure(b"a.c:1: warning: x [-Wtautological-compare]\n"));
        assert!(!is_unsure(b"a.c:1: warning: unused variable [-Wunused-variable]\n"));
        assert!(!is_unsure(b""));
    }
}

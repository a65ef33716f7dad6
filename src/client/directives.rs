//! Text that a server's compiler finishes: `gcc -E -fdirectives-only` obeys directives and leaves macros as they are, with
//! their definitions, and `gcc -fdirectives-only` expands them where it compiles.
//!
//! Preprocessing C++ so costs about half, the text has the columns of the source, and is two to five times as
//! long (docs/performance.md). So a host gets it only if the host list says so. What a macro means must not depend on where it
//! is expanded, and nobody may complain of it twice; where that is not certain, text is sent whose macros are expanded.
//!
//! Some pragmas are gone from such a text without having had their effect: gcc 12 does not write what `pop_macro` defines
//! again, and looks for poisoned words only where it expands macros. So the files are looked through for them.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;

use super::preprocess::Preprocessed;
use crate::args::Job;
use crate::sys::file::{contains, find};

/// For both halves.
pub const OPTION: &str = "-fdirectives-only";

/// Oldest gcc whose objects have been compared with those of the ordinary way.
const OLDEST_GCC: u32 = 11;

/// Bytes at the start of a text that have the definition of the compiler's version in them.
const VERSION_WITHIN: usize = 4096;

/// What means something else on a server, or after it has been obeyed once. Comments and unused macros count as well: that
/// costs time only.
const DEPENDENT: [(&str, &str); 4] = [
    ("__DATE__", "__DATE__ is the server's"),
    ("__TIME__", "__TIME__ is the server's"),
    ("__TIMESTAMP__", "__TIMESTAMP__ is the server's"),
    ("__BASE_FILE__", "__BASE_FILE__ is the server's name for it"),
];

/// Why this job's macros are to be expanded here, as far as its command tells.
pub fn unsuited_job(job: &Job) -> Option<&'static str> {
    if job.is_of_clang() {
        return Some("clang has no -fdirectives-only");
    }
    let has = |part: &[u8]| job.argv().iter().any(|word| contains(word.as_encoded_bytes(), part));
    if has(b"trigraphs") {
        // Goes to the preprocessor only.
        return Some("trigraphs are replaced where macros are expanded");
    }
    has(b"-imacros").then_some("the text does not name the files of -imacros")
}

/// Why the macros of this text, made of `input`, are to be expanded here.
pub fn unsuited_text(preprocessed: &Preprocessed, input: &OsStr) -> Option<&'static str> {
    if !preprocessed.stderr.is_empty() {
        return Some("the compiler complains, and would complain again on a server");
    }
    let text = &preprocessed.text;
    if gcc_version(text).is_none_or(|version| version < OLDEST_GCC) {
        return Some("the compiler is no gcc from 11 on");
    }
    if let Some((_, why)) = DEPENDENT.iter().find(|(word, _)| contains(text, word.as_bytes())) {
        return Some(why);
    }
    unsuited_files(text, input).unwrap_or(Some("a file of it cannot be read again"))
}

/// The same, for the files that the text was made of.
fn unsuited_files(text: &[u8], input: &OsStr) -> io::Result<Option<&'static str>> {
    let mut names = vec![input.as_bytes()];
    let mut rest = text;
    // `# 1 "NAME" 1` enters a file, whatever `#line` calls it later.
    while let Some(at) = find(rest, ENTERED) {
        rest = &rest[at + ENTERED.len()..];
        let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let Some(end) = line.iter().rposition(|byte| *byte == b'"') else { continue };
        if !line[end..].starts_with(b"\" 1") {
            continue;
        }
        if line[..end].contains(&b'\\') {
            return Ok(Some("the name of a file has a quote or backslash in it"));
        }
        names.push(&line[..end]);
    }
    names.sort_unstable();
    names.dedup();
    let mut content = Vec::new();
    for name in names {
        content.clear();
        File::open(OsStr::from_bytes(name))?.read_to_end(&mut content)?;
        if contains(&content, b"pop_macro") {
            return Ok(Some("gcc forgets definitions that are put back (pop_macro)"));
        }
        if poisons(&content) {
            return Ok(Some("gcc forgets which words are poisoned"));
        }
    }
    Ok(None)
}

const ENTERED: &[u8] = b"\n# 1 \"";

/// Whether there is a `#pragma GCC poison`, or a comment that looks like one.
fn poisons(text: &[u8]) -> bool {
    let mut start = 0;
    while let Some(at) = find(&text[start..], b"poison") {
        let before = &text[..start + at];
        // Perhaps on the line before, with a backslash at its end.
        let mut lines = before.rsplit(|byte| *byte == b'\n');
        let near = [lines.next(), lines.next()];
        if near.into_iter().flatten().any(|line| contains(line, b"ragma")) {
            return true;
        }
        start += at + 1;
    }
    false
}

/// From the definitions that the text begins with.
fn gcc_version(text: &[u8]) -> Option<u32> {
    let start = &text[..text.len().min(VERSION_WITHIN)];
    let mut lines = start.split(|byte| *byte == b'\n');
    let version = lines.find_map(|line| line.strip_prefix(b"#define __GNUC__ "))?;
    std::str::from_utf8(version).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poison_is_told_from_other_words() {
        assert!(poisons(b"int a;\n#pragma GCC poison malloc\n"));
        assert!(poisons(b"#  pragma GCC \\\n poison malloc"));
        assert!(poisons(b"_Pragma(\"GCC poison x\")"));
        assert!(!poisons(b"#pragma once\n\n\nvoid poison(int);\n#include <linux/poison.h>\n"));
        assert!(!poisons(b""));
    }

    #[test]
    fn the_version_is_in_the_text() {
        let text = "# 0 \"a.c\"\n#define __STDC__ 1\n# 0 \"<built-in>\"\n#define __GNUC__ 12\nint i;\n";
        assert_eq!(gcc_version(text.as_bytes()), Some(12));
        assert_eq!(gcc_version(b"# 1 \"a.c\"\nint i;\n"), None);
        assert_eq!(gcc_version(b"#define __GNUC__ x\n"), None);
        assert_eq!(gcc_version(b""), None);
    }
}

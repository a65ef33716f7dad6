//! Response files: a word `@FILE` stands for the words in that file.
//!
//! The rules are those of libiberty's `expandargv`, which gcc uses, and of LLVM's GNU tokenizer, which clang
//! uses: words end at white space; quotes of both kinds group; a backslash takes the next character as it is;
//! words from a file may be `@FILE` again, read from the same working directory; a file that cannot be read
//! leaves the word as it stands. Where those two, or libiberty before and since gcc 15 (POSIX rules for a
//! backslash within quotes), read a file differently, the word is left as it stands: such a command is then
//! run by the local compiler, which knows best.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// How many files one command may name, nested ones included (libiberty's own limit).
const MAX_FILES: usize = 2000;

/// The most bytes that all files of a command may have together. A program's words are limited to 2 MiB on Linux
/// (a quarter of the stack's limit).
const MAX_LEN: usize = 4 << 20;

/// Puts the words of response files in their places. `read` returns a file's bytes, or `None` if the word
/// is to be left as it is. Returns `None` if no word was replaced.
pub fn expand(argv: &[OsString], mut read: impl FnMut(&OsStr) -> Option<Vec<u8>>) -> Option<Vec<OsString>> {
    let names_file = |word: &OsString| word.as_bytes().starts_with(b"@");
    if !argv.iter().any(names_file) {
        return None;
    }
    let mut replaced = false;
    let (mut files, mut len) = (0, 0);
    let mut expanded = Vec::with_capacity(argv.len());
    // The words still to be looked at, the next one last.
    let mut pending: Vec<OsString> = argv.iter().rev().cloned().collect();
    while let Some(word) = pending.pop() {
        // The compiler itself is no response file.
        let words = match word.as_bytes().strip_prefix(b"@") {
            Some(name) if !expanded.is_empty() && files < MAX_FILES => {
                files += 1;
                read(OsStr::from_bytes(name)).and_then(|text| {
                    len += text.len();
                    if len <= MAX_LEN { words(&text) } else { None }
                })
            }
            _ => None,
        };
        match words {
            Some(words) => {
                replaced = true;
                pending.extend(words.into_iter().rev());
            }
            None => expanded.push(word),
        }
    }
    replaced.then_some(expanded)
}

/// The words of a response file, or `None` if compilers (or shells) disagree on them.
pub fn words(text: &[u8]) -> Option<Vec<OsString>> {
    // Clang recodes or skips what begins so, gcc does not.
    let has_byte_order_mark =
        [&b"\xef\xbb\xbf"[..], b"\xff\xfe", b"\xfe\xff"].iter().any(|mark| text.starts_with(mark));
    // White space to one of them only, or its end.
    let has_odd_space = text.iter().any(|byte| matches!(byte, 0 | 0x0b | 0x0c));
    if has_byte_order_mark || has_odd_space {
        return None;
    }
    let mut words = Vec::new();
    let mut rest = text.iter().copied().peekable();
    loop {
        while rest.next_if(u8::is_ascii_whitespace).is_some() {}
        if rest.peek().is_none() {
            return Some(words);
        }
        let mut word = Vec::new();
        let mut quote = None;
        while let Some(byte) = rest.next_if(|byte| quote.is_some() || !byte.is_ascii_whitespace()) {
            match (quote, byte) {
                (_, b'\\') => word.push(escaped(quote, rest.next()?)?),
                (Some(open), _) if byte == open => quote = None,
                (None, b'\'' | b'"') => quote = Some(byte),
                _ => word.push(byte),
            }
        }
        // Clang drops an empty word.
        if word.is_empty() {
            return None;
        }
        words.push(OsString::from_vec(word));
    }
}

/// What a backslash before `byte` means, if it means the same everywhere.
fn escaped(quote: Option<u8>, byte: u8) -> Option<u8> {
    match quote {
        _ if byte == b'\n' => None,
        None => Some(byte),
        Some(b'"') => matches!(byte, b'$' | b'`' | b'"' | b'\\').then_some(byte),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(words: Option<Vec<OsString>>) -> Option<String> {
        words.map(|words| words.join(OsStr::new("|")).into_string().unwrap())
    }

    fn split(text: &str) -> Option<String> {
        shown(words(text.as_bytes()))
    }

    #[test]
    fn words_are_split_as_gcc_splits_them() {
        let is = |text, expected: &str| assert_eq!(split(text).as_deref(), Some(expected), "{text}");
        is("", "");
        is(" \n\t\r\n", "");
        is("-c a.c\n  -o\ta.o\n", "-c|a.c|-o|a.o");
        is("'a b' \"c d\" e\\ f", "a b|c d|e f");
        is("-DX=\\\"y\\\" -D'Y=\"z\"'", "-DX=\"y\"|-DY=\"z\"");
        is("\"a\\\"b\\\\c\" \\'x", "a\"b\\c|'x");
        is("a'b'\"c\"d", "abcd");
        is("'not closed \n", "not closed \n");
        is("# no comments", "#|no|comments");
    }

    #[test]
    fn what_compilers_read_differently_is_left_to_them() {
        for text in
            ["'a\\b'", "\"a\\b\"", "a\\\nb", "a\\", "''", "a \"\" b", "a\x0bb", "a\x0cb", "a\0b", "\u{feff}a"]
        {
            assert_eq!(split(text), None, "{text:?}");
        }
    }

    fn expanded(line: &str, files: &[(&str, &str)]) -> Option<String> {
        let argv: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let read = |name: &OsStr| {
            let file = files.iter().find(|(file, _)| *file == name)?;
            Some(file.1.as_bytes().to_vec())
        };
        shown(expand(&argv, read))
    }

    #[test]
    fn files_nest_and_missing_ones_stay() {
        let files = [("f", "-c @g -O2"), ("g", "a.c @h @missing"), ("h", "")];
        assert_eq!(expanded("gcc @f -o x", &files).as_deref(), Some("gcc|-c|a.c|@missing|-O2|-o|x"));
        assert_eq!(expanded("gcc -c a.c", &files), None);
        assert_eq!(expanded("gcc @missing", &files), None);
        assert_eq!(expanded("@f @h", &files).as_deref(), Some("@f"), "the compiler's own name");
    }

    #[test]
    fn a_file_that_names_itself_comes_to_an_end() {
        let files = [("f", "-O2 @f")];
        let words = expanded("gcc @f", &files).unwrap();
        assert_eq!(words.matches("-O2").count(), MAX_FILES);
        assert!(words.ends_with("@f"), "and stays local");
        let doubling = [("f", "@f @f")];
        assert_eq!(expanded("gcc @f", &doubling).unwrap().matches("@f").count(), MAX_FILES + 1);
        let long = "x".repeat(MAX_LEN + 1);
        assert_eq!(expanded("gcc @f", &[("f", &long)]), None);
    }
}

//! What one compile reads: the files and links that a server needs to preprocess the source itself (pump mode).
//!
//! Made by an include engine, or from an include server's answer; sent by the client as it is. Names are those of this
//! machine, absolute, without `..`, and pass through no link that is an entry as well: a link stands in front of nothing,
//! it is only there for the compiler to follow. A file that the compiler reaches through a link is entered under
//! its physical name. Directories that must exist, though nothing in them is read, hold [`PLACEHOLDER`].

use std::fs::File;
use std::os::fd::AsFd;
use std::rc::Rc;

use crate::sys::file::Mapping;
use crate::sys::search::find_pair;

/// What a stock include server calls the empty file whose only purpose is its directory (reference `pump.md`
/// section 2).
pub const PLACEHOLDER: &[u8] = b"forcing_technique_271828";

/// Everything that a compile reads but for the compiler's own headers.
#[derive(Debug, Default)]
pub struct Closure {
    /// In the order in which they are made.
    pub entries: Vec<Entry>,
}

/// A file or link.
#[derive(Debug)]
pub struct Entry {
    /// Its absolute path.
    pub name: Vec<u8>,
    /// What is there.
    pub content: Content,
}

/// What is at a path.
#[derive(Debug)]
pub enum Content {
    /// A symbolic link with this text: an absolute path of this machine; or `../` many times and then the link's own
    /// path, for a directory of system headers that the server has itself.
    Link(Vec<u8>),
    /// A file with these bytes, which are compressed on the way.
    Plain(Vec<u8>),
    /// A file, as an LZO1X stream; no bytes for an empty file.
    Compressed(Vec<u8>),
    /// The same, in `len` bytes of a store from `offset` on.
    Stored {
        /// The store, shared by many entries.
        store: Rc<Store>,
        /// Where the stream begins.
        offset: u64,
        /// Its length in bytes.
        len: u32,
    },
}

/// A file of streams, behind which others may be appended.
#[derive(Debug)]
pub struct Store {
    /// The file.
    pub file: File,
    /// Its first bytes, where they can be had without a call for each stream.
    pages: Option<Mapping>,
}

impl Store {
    /// With `len` bytes at least, and as many streams in them as there are.
    pub fn new(file: File, len: u64) -> Store {
        let pages = usize::try_from(len).ok().and_then(|len| Mapping::of_growing(file.as_fd(), len).ok());
        Store { file, pages }
    }

    /// The bytes of a stream; `None` if they have to be read.
    pub fn stream(&self, offset: u64, len: u32) -> Option<&[u8]> {
        let start = usize::try_from(offset).ok()?;
        self.pages.as_ref()?.get(start..start.checked_add(len as usize)?)
    }
}

/// Whether an asm statement in `text` may read a file (`.incbin`, `.include`), which nobody but the compiler could find. A
/// directive in a string that is none of asm costs no more than the distribution of one file.
pub fn reads_files(text: &[u8]) -> bool {
    let mut comments = Comments { text, at: 0, inside: Inside::Code };
    let mut at = 0;
    while let Some(found) = find_pair(&text[at..], *b".i") {
        let place = at + found;
        let (before, after) = (&text[..place], &text[place + 1..]);
        at = place + 1;
        let word = [&b"incbin"[..], b"include"].iter().find_map(|word| after.strip_prefix(*word));
        if word.is_some_and(|behind| may_be_directive(before, behind)) && !comments.cover(place) {
            return true;
        }
    }
    false
}

/// Whether a word between these may be a directive of an assembler, rather than `options.include_files`, `f().include(x)` or
/// `{ .include = x }`.
fn may_be_directive(before: &[u8], behind: &[u8]) -> bool {
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    // `\n` or `\012` in a string ends a statement of assembler.
    let is_escape = before.iter().rev().take(4).any(|byte| *byte == b'\\');
    let is_member = before.last().is_some_and(|byte| of_name(*byte) || matches!(byte, b')' | b']'));
    if is_member && !is_escape {
        return false;
    }
    let value = behind.trim_ascii_start();
    match value.first() {
        None => true,
        Some(b'=' | b'(') => false,
        // Without a blank only what ends a string or an argument, or stands for something else in it.
        Some(byte) => value.len() < behind.len() || matches!(byte, b'"' | b'\\' | b')' | b'%'),
    }
}

/// Tells whether places are in comments, for places in ascending order. Where literals are not what they seem (`1'000`), it
/// sees too few comments; in raw strings, too many of those that an assembler takes for some as well.
struct Comments<'a> {
    text: &'a [u8],
    at: usize,
    inside: Inside,
}

#[derive(Clone, Copy)]
enum Inside {
    Code,
    Line,
    Block,
    Quote(u8),
}

impl Comments<'_> {
    fn cover(&mut self, place: usize) -> bool {
        use Inside::{Block, Code, Line, Quote};

        while self.at < place {
            let (len, inside) = match (self.inside, &self.text[self.at..]) {
                (Code, [b'/', b'/', ..]) => (2, Line),
                (Code, [b'/', b'*', ..]) => (2, Block),
                (Code, [quote @ (b'"' | b'\''), ..]) => (1, Quote(*quote)),
                (Block, [b'*', b'/', ..]) => (2, Code),
                (inside @ (Line | Quote(_)), [b'\\', b'\r', b'\n', ..]) => (3, inside),
                (inside @ (Line | Quote(_)), [b'\\', _, ..]) => (2, inside),
                (Line | Quote(_), [b'\n', ..]) => (1, Code),
                (Quote(quote), [byte, ..]) if *byte == quote => (1, Code),
                (inside, _) => (1, inside),
            };
            self.at += len;
            self.inside = inside;
        }
        matches!(self.inside, Line | Block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_told_from_members() {
        for text in [
            r#"asm(".incbin \"x\"");"#,
            r#"asm(".section a\n.incbin \"x\"");"#,
            r#"asm("nop\012.include\t\"x\"");"#,
            r#"asm("x: .include " "\"x\"");"#,
            r#"asm(".incbin" " \"x\"");"#,
            "asm(STRING(.include x));",
            "asm(STRING(.include) x);",
            "asm(R\"(\n\t.incbin \"x\"\n)\");",
            "asm(\".incbin %c0\" : : \"i\"(name));",
            ".incbin",
            "/* x */ asm(\".incbin x\"); // y",
            "char *s = \"/*\"; asm(\".incbin x\");",
            "char *s = \"\\\"/*\", c = '\"'; asm(\".incbin x\");",
            "// x\nasm(\".incbin x\");",
            "#error it's /* not\nasm(\".incbin x\");",
        ] {
            assert!(reads_files(text.as_bytes()), "{text}");
        }
        for text in [
            "options.include_memtables = 1;",
            "options.include = 1;",
            "a[1].include ;",
            "f().include (x);",
            "f(x)\n    .include(y)\n    .include (z);",
            "struct a b = { .include = 1, .incbin =2 };",
            "// see files.include and x.includes",
            "x.inc",
            "/* from C via asm(\".include <a.h>\") */",
            "// x \\\n asm(\".incbin x\")",
            "char *s = \"x\"; /* ' .incbin x\n .incbin y */ // .incbin z",
        ] {
            assert!(!reads_files(text.as_bytes()), "{text}");
        }
    }
}

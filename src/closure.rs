//! What one compile reads: the files and links that a server needs to preprocess the source itself (pump mode).
//!
//! Made by an include engine, or from an include server's answer; sent by the client as it is. Names are those of this
//! machine, absolute, without `..`, and pass through no link that is an entry as well: a link stands in front of nothing,
//! it is only there for the compiler to follow. A file that the compiler reaches through a link is entered under
//! its physical name. Directories that must exist, though nothing in them is read, hold [`PLACEHOLDER`].

use std::fs::File;
use std::rc::Rc;

use crate::sys::file::find_byte;

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
        store: Rc<File>,
        /// Where the stream begins.
        offset: u64,
        /// Its length in bytes.
        len: u32,
    },
}

/// Whether an asm statement in `text` may read a file (`.incbin`, `.include`), which nobody but the compiler could find. A
/// word like these elsewhere costs no more than the distribution of one file.
pub fn reads_files(text: &[u8]) -> bool {
    let mut rest = text;
    // Points are rare and quickly found; this reads every byte of every source.
    while let Some(at) = find_byte(rest, b'.') {
        rest = &rest[at + 1..];
        if rest.starts_with(b"incbin") || rest.starts_with(b"include") {
            return true;
        }
    }
    false
}

//! Lexed files, each once for as long as it does not change.

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use super::directive::{Lexed, Macro, lex};
use super::disk::Stamp;
use super::hash::Map;
use super::lines::Dialect;
use super::symbol::{Symbol, Symbols};
use super::table::MacroRef;

/// A lexed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId(u32);

/// What is known of the file at a path.
struct Known {
    stamp: Stamp,
    file: FileId,
    hash: u128,
}

/// All of them.
#[derive(Default)]
pub struct Store {
    files: Vec<Arc<Lexed>>,
    by_path: Map<(Symbol, Dialect), Known>,
    /// Text that is no file, by itself.
    by_text: Map<(Vec<u8>, Dialect), FileId>,
    size: usize,
    outdated: usize,
}

impl Store {
    /// The file that is at a path, if it is still what was lexed.
    pub fn find(&self, path: Symbol, dialect: Dialect, stamp: &Stamp) -> Option<FileId> {
        self.by_path.get(&(path, dialect)).filter(|known| known.stamp == *stamp).map(|known| known.file)
    }

    /// Lexes a file. What it was before is kept for the units that are at work with it.
    pub fn add(
        &mut self,
        path: Symbol,
        dialect: Dialect,
        stamp: Stamp,
        bytes: &[u8],
        symbols: &mut Symbols,
    ) -> FileId {
        let file = self.lex(bytes, dialect, symbols);
        if let Some(old) =
            self.by_path.insert((path, dialect), Known { stamp, file, hash: content_hash(bytes) })
        {
            self.outdated += self.lexed(old.file).size();
        }
        file
    }

    /// The hash of a file's content; 0 if it is not known.
    pub fn hash(&self, path: Symbol, dialect: Dialect) -> u128 {
        self.by_path.get(&(path, dialect)).map_or(0, |known| known.hash)
    }

    /// Lexes text that is no file, if the same was not lexed before.
    pub fn add_text(&mut self, bytes: &[u8], dialect: Dialect, symbols: &mut Symbols) -> FileId {
        let key = (bytes.to_vec(), dialect);
        if let Some(file) = self.by_text.get(&key) {
            return *file;
        }
        let file = self.lex(bytes, dialect, symbols);
        self.size += bytes.len();
        self.by_text.insert(key, file);
        file
    }

    fn lex(&mut self, bytes: &[u8], dialect: Dialect, symbols: &mut Symbols) -> FileId {
        let file = FileId(self.files.len() as u32);
        let lexed = lex(bytes, dialect, symbols);
        self.size += lexed.size();
        self.files.push(Arc::new(lexed));
        file
    }

    /// Roughly the bytes that all this takes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Those of them that belong to files as they no longer are.
    pub fn outdated(&self) -> usize {
        self.outdated
    }

    /// A file's directives.
    pub fn lexed(&self, file: FileId) -> &Arc<Lexed> {
        &self.files[file.0 as usize]
    }

    /// A macro's definition.
    pub fn definition(&self, at: MacroRef) -> &Macro {
        &self.lexed(at.file).macros[at.place as usize]
    }

    /// Every question in every file.
    pub fn questions(&self) -> impl Iterator<Item = &(Symbol, Vec<super::token::Token>)> {
        self.files.iter().flat_map(|file| &file.questions)
    }
}

/// What tells contents apart: in two halves with different beginnings, 128 bits, so that no two meet.
pub fn content_hash(bytes: &[u8]) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(salt);
        hasher.write(bytes);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::include::disk::Kind;

    /// The engine goes by these sums when it forgets.
    #[test]
    fn what_is_outdated_is_counted() {
        let dialect =
            Dialect { trigraphs: false, raw_strings: false, line_comments: true, digit_separators: false };
        let (mut store, mut symbols) = (Store::default(), Symbols::new());
        let path = symbols.intern(b"/x.h");
        let text = b"#define X 1\n".repeat(100);
        let stamp = |time| Stamp {
            identity: (1, 1),
            len: text.len() as u64,
            modified: (time, 0),
            changed: (time, 0),
            kind: Kind::File,
        };
        let first = store.add(path, dialect, stamp(1), &text, &mut symbols);
        let size = store.size();
        assert_eq!((store.outdated(), store.find(path, dialect, &stamp(1))), (0, Some(first)));
        assert!(size >= 100 * size_of::<Macro>());
        let second = store.add(path, dialect, stamp(2), &text, &mut symbols);
        assert_eq!((store.outdated(), store.size()), (size, 2 * size));
        assert_eq!(store.find(path, dialect, &stamp(1)), None);
        assert_eq!(store.find(path, dialect, &stamp(2)), Some(second));
        // Text of command lines comes again and again.
        let words = store.add_text(b"#define Y\n", dialect, &mut symbols);
        let size = store.size();
        assert_eq!(store.add_text(b"#define Y\n", dialect, &mut symbols), words);
        assert_eq!(store.size(), size);
    }
}

//! Lexed files, each once for as long as it does not change.

use std::sync::Arc;

use super::ask;
use super::directive::Lexed;
use super::hash::{self, Map};
use super::lines::Dialect;
use super::pool::{ListId, Pool};
use super::reader::lex;
use super::symbol::{Symbol, Symbols};
use crate::sorted_map::SortedMap;

/// A lexed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId(u32);

/// What is known of the file at a path.
struct Known {
    /// What the disk calls it as it is.
    version: u32,
    file: FileId,
}

/// All of them.
#[derive(Default)]
pub struct Store {
    /// What the files have in them.
    pub pool: Pool,
    files: Vec<Arc<Lexed>>,
    /// The hashes of their contents; 0 of text that is no file.
    hashes: Vec<u128>,
    by_path: Map<(Symbol, Dialect), Known>,
    /// Text that is no file, by itself.
    by_text: Map<(Vec<u8>, Dialect), FileId>,
    size: usize,
    outdated: usize,
}

impl Store {
    /// The file that is at a path, if it is still what was lexed.
    pub fn find(&self, path: Symbol, dialect: Dialect, version: u32) -> Option<FileId> {
        self.by_path.get(&(path, dialect)).filter(|known| known.version == version).map(|known| known.file)
    }

    /// Lexes a file. What it was before is kept for the units that are at work with it.
    pub fn add(
        &mut self,
        path: Symbol,
        dialect: Dialect,
        version: u32,
        bytes: &[u8],
        symbols: &mut Symbols,
    ) -> FileId {
        let file = self.lex(bytes, dialect, symbols);
        self.hashes[file.0 as usize] = content_hash(bytes);
        if let Some(old) = self.by_path.insert((path, dialect), Known { version, file }) {
            self.outdated += self.lexed(old.file).size();
        }
        file
    }

    /// The hash of a file's content; 0 if it is not known.
    pub fn hash(&self, path: Symbol, dialect: Dialect) -> u128 {
        self.by_path.get(&(path, dialect)).map_or(0, |known| self.hashes[known.file.0 as usize])
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
        let lexed = lex(bytes, dialect, symbols, &mut self.pool);
        self.size += lexed.size();
        self.files.push(Arc::new(lexed));
        self.hashes.push(0);
        file
    }

    /// Roughly the bytes that all this takes.
    pub fn size(&self) -> usize {
        self.size + self.pool.size()
    }

    /// Those of them that belong to files as they no longer are.
    pub fn outdated(&self) -> usize {
        self.outdated
    }

    /// A file's directives.
    pub fn lexed(&self, file: FileId) -> &Arc<Lexed> {
        &self.files[file.0 as usize]
    }

    /// Every question in every file, also those that are asked through macros.
    pub fn questions(&self) -> impl Iterator<Item = (Symbol, ListId)> {
        let askers: SortedMap<Symbol, Symbol> =
            self.files.iter().flat_map(|file| &file.askers).copied().collect();
        let questions = self.files.iter().flat_map(|file| &file.questions);
        questions.filter_map(move |&(name, argument)| match ask::is_question(name) {
            true => Some((name, argument)),
            false => Some((*askers.get(&name)?, argument)),
        })
    }
}

/// What tells contents apart: in two halves with different beginnings, 128 bits, so that no two meet that nobody
/// made for it.
pub fn content_hash(bytes: &[u8]) -> u128 {
    u128::from(hash::of_bytes(bytes, 0)) << 64 | u128::from(hash::of_bytes(bytes, 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::include::directive::Step;

    /// The engine goes by these sums when it forgets.
    #[test]
    fn what_is_outdated_is_counted() {
        let dialect =
            Dialect { trigraphs: false, raw_strings: false, line_comments: true, digit_separators: false };
        let (mut store, mut symbols) = (Store::default(), Symbols::new());
        let path = symbols.intern(b"/x.h");
        let text = b"#define X 1\n".repeat(100);
        let first = store.add(path, dialect, 1, &text, &mut symbols);
        let size = store.size();
        assert_eq!((store.outdated(), store.find(path, dialect, 1)), (0, Some(first)));
        let pool = store.pool.size();
        assert!(size - pool >= 100 * size_of::<Step>() && pool > 0);
        let second = store.add(path, dialect, 2, &text, &mut symbols);
        // What both have in them is kept once.
        assert_eq!((store.outdated(), store.size()), (size - pool, 2 * size - pool));
        assert_eq!(store.find(path, dialect, 1), None);
        assert_eq!(store.find(path, dialect, 2), Some(second));
        // Text of command lines comes again and again.
        let words = store.add_text(b"#define Y\n", dialect, &mut symbols);
        let size = store.size();
        assert_eq!(store.add_text(b"#define Y\n", dialect, &mut symbols), words);
        assert_eq!(store.size(), size);
    }
}

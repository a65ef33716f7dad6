//! Where the files are that directives name.

use super::super::directive::How;
use super::super::disk::{self, Dependency, Kind, Seen};
use super::super::store::FileId;
use super::super::symbol::{Symbol, known};
use super::{Found, Node, Result, Run, Shared, Way};

/// Bytes of one file.
const MAX_FILE: u64 = 64 << 20;

/// A name as it is searched for. Who asks matters only as far as it changes the answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Query {
    /// With its delimiters.
    name: Symbol,
    /// Where to look first, and where a file found there goes on with `#include_next`.
    first: Option<(Symbol, Option<usize>)>,
    /// The directory of the search path to begin with.
    from: usize,
}

/// What a search came to.
pub struct Resolution {
    /// The file's name, the same from the root, and where it goes on with `#include_next`.
    found: Option<(Symbol, Symbol, Option<usize>)>,
    /// As long as this is as it was, no other file comes first.
    seen: Box<[Dependency]>,
    /// The unit that made sure of that last, and what it calls the file.
    unit: u32,
    now: Option<Found>,
}

impl Resolution {
    /// Roughly the bytes that one takes, with its place in a map.
    pub const SIZE: usize = 2 * (size_of::<Query>() + size_of::<Resolution>()) + 4 * size_of::<Dependency>();
}

impl Run<'_> {
    /// The file that a name with its delimiters means to another file.
    pub(super) fn meant(&mut self, how: How, name: Symbol, by: Found) -> Result<Option<Found>> {
        let Some(query) = self.query(how, name, by) else { return Ok(None) };
        let unit = self.setup.unit;
        if let Some(known) = self.setup.resolutions.get(&query).filter(|known| known.unit == unit) {
            return Ok(known.now);
        }
        let found = match self.recalled(query)? {
            Some(found) => Some(found),
            None => self.resolve(query)?,
        };
        if let Some(known) = self.setup.resolutions.get_mut(&query) {
            known.unit = unit;
            known.now = found;
        }
        Ok(found)
    }

    fn query(&self, how: How, name: Symbol, by: Found) -> Option<Query> {
        let spelling = self.shared.symbols.spelling(name);
        let query = match (how, by.next) {
            _ if spelling.len() <= 2 => return None,
            _ if spelling[1] == b'/' => Query { name, first: Some((known::EMPTY, None)), from: usize::MAX },
            (How::Next, Some(next)) => Query { name, first: None, from: next },
            _ if spelling[0] == b'<' => Query { name, first: None, from: self.setup.search.quote_only },
            _ => {
                // gcc goes on with the first directory of all; clang as it would for the file that includes.
                let next = if self.setup.clang { by.next } else { Some(0) };
                Query { name, first: Some((self.ways[by.way].directory, next)), from: 0 }
            }
        };
        Some(query)
    }

    /// What an earlier unit found, if that is still so.
    fn recalled(&mut self, query: Query) -> Result<Option<Found>> {
        let Some(known) = self.setup.resolutions.get(&query) else { return Ok(None) };
        let Some((path, absolute, next)) = known.found else { return Ok(None) };
        let Shared { symbols, disk, .. } = &mut *self.shared;
        if !known.seen.iter().all(|seen| disk.relies(*seen, symbols)) {
            return Ok(None);
        }
        Ok(self.at(path, absolute)?.map(|way| Found { way, next }))
    }

    /// Searches, and remembers what was found.
    fn resolve(&mut self, query: Query) -> Result<Option<Found>> {
        self.passed.clear();
        let mut found = match query.first {
            Some((directory, next)) => self.probe(directory, query.name, next)?,
            None => None,
        };
        let mut at = query.from;
        while found.is_none() && at < self.setup.directories.len() {
            found = self.probe(self.setup.directories[at], query.name, Some(at + 1))?;
            at += 1;
        }
        let named = found.map(|found| {
            let way = &self.ways[found.way];
            (way.path, way.absolute, found.next)
        });
        let resolution = Resolution { found: named, seen: self.passed[..].into(), unit: 0, now: None };
        self.setup.resolutions.insert(query, resolution);
        Ok(found)
    }

    /// Looks in a directory, which has a slash at its end or is empty.
    fn probe(&mut self, directory: Symbol, name: Symbol, next: Option<usize>) -> Result<Option<Found>> {
        let symbols = &self.shared.symbols;
        let (directory, name) = (symbols.spelling(directory), symbols.spelling(name));
        let name = &name[1..name.len() - 1];
        let path = [directory, name].concat();
        // What is not in a directory that is not there needs no look of its own.
        if let Some(slash) = name.iter().rposition(|&byte| byte == b'/').filter(|&slash| slash > 0) {
            let len = directory.len() + slash;
            let within = self.absolute(&path[..len]);
            if self.shared.disk.look(within, &mut self.shared.symbols) == Seen::Absent {
                self.pass(within);
                return Ok(None);
            }
        }
        let absolute = self.absolute(&path);
        let path = self.shared.symbols.intern(&path);
        let way = self.at(path, absolute)?;
        if way.is_none() {
            self.pass(absolute);
        }
        Ok(way.map(|way| Found { way, next }))
    }

    /// Notes that nothing was found at a path.
    fn pass(&mut self, absolute: Symbol) {
        self.passed.push(self.shared.disk.reason(absolute, &mut self.shared.symbols));
    }

    /// The file of a name that is not searched for.
    pub(super) fn named(&mut self, path: Symbol) -> Result<Option<Found>> {
        let spelling = self.shared.symbols.spelling(path).to_vec();
        let absolute = self.absolute(&spelling);
        Ok(self.at(path, absolute)?.map(|way| Found { way, next: None }))
    }

    /// Whether nothing has this name.
    pub(super) fn is_absent(&mut self, name: &[u8]) -> bool {
        let absolute = self.absolute(name);
        self.shared.disk.look(absolute, &mut self.shared.symbols) == Seen::Absent
    }

    /// The way of what is at a path, unless that is a directory.
    fn at(&mut self, path: Symbol, absolute: Symbol) -> Result<Option<usize>> {
        let stamp = match self.shared.disk.look(absolute, &mut self.shared.symbols) {
            Seen::Absent => return Ok(None),
            Seen::Present(stamp) if stamp.kind == Kind::Directory => return Ok(None),
            Seen::Present(stamp) => stamp,
            Seen::Error(code) => {
                let error = std::io::Error::from_raw_os_error(code);
                return Err(self.trouble(path, &format!("cannot be looked at: {error}")));
            }
        };
        if let Some(&way) = self.ways_by_path.get(&path) {
            return Ok(Some(way));
        }
        let nodes = &mut self.nodes;
        let node = *self.nodes_by_identity.entry(stamp.identity).or_insert_with(|| {
            nodes.push(Node::default());
            nodes.len() - 1
        });
        let directory = self.directory(path);
        self.ways.push(Way { path, absolute, directory, stamp, node, lexed: None, needed: None });
        self.ways_by_path.insert(path, self.ways.len() - 1);
        Ok(Some(self.ways.len() - 1))
    }

    /// A file's directives and its guard; `None` if it is nothing to be read.
    pub(super) fn load(&mut self, found: Found) -> Result<Option<(FileId, Option<Symbol>)>> {
        let way = &self.ways[found.way];
        if way.lexed.is_some() {
            return Ok(way.lexed);
        }
        let (absolute, stamp) = (way.absolute, way.stamp);
        match stamp.kind {
            Kind::File => {}
            Kind::Directory | Kind::Null => return Ok(None),
            Kind::Other => return Err(self.trouble(way.path, "is no regular file")),
        }
        let dialect = self.setup.dialect;
        let file = match self.shared.store.find(absolute, dialect, &stamp) {
            Some(file) => file,
            None => {
                if stamp.len > MAX_FILE {
                    return Err(self.trouble(way.path, "is larger than 64 MiB"));
                }
                let (bytes, now) = match disk::read(self.shared.symbols.path(absolute)) {
                    Ok(read) => read,
                    Err(e) => return Err(self.trouble(way.path, &format!("cannot be read: {e}"))),
                };
                if now != stamp {
                    return Err(self.trouble(way.path, "changed while it was read"));
                }
                self.shared.store.add(absolute, dialect, stamp, &bytes, &mut self.shared.symbols)
            }
        };
        let lexed = Some((file, self.shared.store.lexed(file).guard));
        self.ways[found.way].lexed = lexed;
        Ok(lexed)
    }

    pub(super) fn trouble(&self, path: Symbol, what: &str) -> String {
        format!("{} {what}", String::from_utf8_lossy(self.shared.symbols.spelling(path)))
    }

    /// A path from the root.
    fn absolute(&mut self, path: &[u8]) -> Symbol {
        let absolute = match path.first() {
            Some(b'/') => path.to_vec(),
            _ => [self.cwd, b"/", path].concat(),
        };
        self.shared.symbols.intern(&disk::without_dots(absolute))
    }

    /// The directory in a file's name.
    fn directory(&mut self, path: Symbol) -> Symbol {
        let path = self.shared.symbols.spelling(path);
        let len = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let directory = path[..len].to_vec();
        self.shared.symbols.intern(&directory)
    }
}

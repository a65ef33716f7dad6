//! Where the files are that directives name.

use std::hash::{Hash, Hasher};

use super::super::directive::How;
use super::super::disk::{self, Dependency, Kind, Seen};
use super::super::hash::Map;
use super::super::store::FileId;
use super::super::symbol::{Symbol, known};
use super::{Found, Node, Result, Run, Shared, Way};

/// Bytes of one file.
const MAX_FILE: u64 = 64 << 20;

/// A name as it is searched for. Who asks matters only as far as it changes the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Query {
    /// With its delimiters.
    name: Symbol,
    /// Where to look first, and where a file found there goes on with `#include_next`.
    first: Option<(Symbol, Option<u32>)>,
    /// The directory of the search path to begin with.
    from: u32,
}

impl Hash for Query {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (directory, next) = match self.first {
            None => (0, 0),
            Some((directory, next)) => (directory.index() as u64 + 1, next.map_or(0, |next| next + 1)),
        };
        state.write_u64(directory << 32 | self.name.index() as u64);
        state.write_u64(u64::from(next) << 32 | u64::from(self.from));
    }
}

/// A file's name.
#[derive(Clone, Copy)]
pub(super) struct Name {
    /// As the compiler calls it.
    pub path: Symbol,
    /// The same from the root.
    pub absolute: Symbol,
    /// Its directory as far as `path` tells: empty, or with a slash at its end.
    pub directory: Symbol,
}

/// What a search came to.
struct Resolution {
    /// The file, and where it goes on with `#include_next`.
    found: Option<(Name, Option<u32>)>,
    /// As long as this is as it was, no other file comes first.
    seen: Box<[Dependency]>,
    /// The unit that made sure of that last, and what it calls the file.
    unit: u32,
    now: Option<Found>,
}

/// All searches so far.
#[derive(Default)]
pub struct Resolutions {
    by_query: Map<Query, u32>,
    all: Vec<Resolution>,
}

impl Resolutions {
    fn add(&mut self, query: Query) -> usize {
        self.by_query.insert(query, self.all.len() as u32);
        self.all.push(Resolution { found: None, seen: Box::default(), unit: 0, now: None });
        self.all.len() - 1
    }

    /// Roughly the bytes that all this takes: most depend on three directories.
    pub fn size(&self) -> usize {
        self.all.len()
            * (2 * size_of::<(Query, u32)>() + size_of::<Resolution>() + 3 * size_of::<Dependency>())
    }
}

impl Run<'_> {
    /// The file that a name with its delimiters means to another file.
    pub(super) fn meant(&mut self, how: How, name: Symbol, by: Found) -> Result<Option<Found>> {
        let Some(query) = self.query(how, name, by) else { return Ok(None) };
        let unit = self.setup.unit;
        let at = match self.setup.resolutions.by_query.get(&query) {
            Some(&at) => at as usize,
            None => self.setup.resolutions.add(query),
        };
        let known = &self.setup.resolutions.all[at];
        if known.unit == unit {
            return Ok(known.now);
        }
        let found = match self.recalled(at)? {
            Some(found) => Some(found),
            None => self.resolve(query, at)?,
        };
        let known = &mut self.setup.resolutions.all[at];
        known.unit = unit;
        known.now = found;
        Ok(found)
    }

    fn query(&self, how: How, name: Symbol, by: Found) -> Option<Query> {
        let spelling = self.shared.symbols.spelling(name);
        let query = match (how, by.next) {
            _ if spelling.len() <= 2 => return None,
            _ if spelling[1] == b'/' => Query { name, first: Some((known::EMPTY, None)), from: u32::MAX },
            (How::Next, Some(next)) => Query { name, first: None, from: next },
            _ if spelling[0] == b'<' => {
                Query { name, first: None, from: self.setup.search.quote_only as u32 }
            }
            _ => {
                // gcc goes on with the first directory of all; clang as it would for the file that includes.
                let next = if self.setup.clang { by.next } else { Some(0) };
                Query { name, first: Some((self.ways[by.way].name.directory, next)), from: 0 }
            }
        };
        Some(query)
    }

    /// What an earlier unit found, if that is still so.
    fn recalled(&mut self, at: usize) -> Result<Option<Found>> {
        let known = &self.setup.resolutions.all[at];
        let Some((name, next)) = known.found else { return Ok(None) };
        let Shared { symbols, disk, .. } = &mut *self.shared;
        if !known.seen.iter().all(|seen| disk.relies(*seen, symbols)) {
            return Ok(None);
        }
        Ok(self.at(name)?.map(|way| Found { way, next }))
    }

    /// Searches, and remembers what was found.
    fn resolve(&mut self, query: Query, at: usize) -> Result<Option<Found>> {
        self.passed.clear();
        let mut found = match query.first {
            Some((directory, next)) => self.probe(directory, query.name, next)?,
            None => None,
        };
        let mut place = query.from as usize;
        while found.is_none() && place < self.setup.directories.len() {
            found = self.probe(self.setup.directories[place], query.name, Some(place as u32 + 1))?;
            place += 1;
        }
        let named = found.map(|found| (self.ways[found.way].name, found.next));
        let known = &mut self.setup.resolutions.all[at];
        known.found = named;
        known.seen = self.passed[..].into();
        Ok(found)
    }

    /// Looks in a directory, which has a slash at its end or is empty.
    fn probe(&mut self, directory: Symbol, name: Symbol, next: Option<u32>) -> Result<Option<Found>> {
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
        let name = self.name(&path);
        let way = self.at(name)?;
        if way.is_none() {
            self.pass(name.absolute);
        }
        Ok(way.map(|way| Found { way, next }))
    }

    /// Notes that nothing was found at a path.
    fn pass(&mut self, absolute: Symbol) {
        self.passed.push(self.shared.disk.reason(absolute, &mut self.shared.symbols));
    }

    /// The file of a name that is not searched for.
    pub(super) fn named(&mut self, path: &[u8]) -> Result<Option<Found>> {
        let name = self.name(path);
        Ok(self.at(name)?.map(|way| Found { way, next: None }))
    }

    /// Whether nothing has this name.
    pub(super) fn is_absent(&mut self, name: &[u8]) -> bool {
        let absolute = self.absolute(name);
        self.shared.disk.look(absolute, &mut self.shared.symbols) == Seen::Absent
    }

    /// The way of what is at a path, unless that is a directory.
    fn at(&mut self, name: Name) -> Result<Option<usize>> {
        let stamp = match self.shared.disk.look(name.absolute, &mut self.shared.symbols) {
            Seen::Absent => return Ok(None),
            Seen::Present(stamp) if stamp.kind == Kind::Directory => return Ok(None),
            Seen::Present(stamp) => stamp,
            Seen::Error(code) => {
                let error = std::io::Error::from_raw_os_error(code);
                return Err(self.trouble(name.path, &format!("cannot be looked at: {error}")));
            }
        };
        if let Some(&way) = self.ways_by_path.get(&name.path) {
            return Ok(Some(way));
        }
        let nodes = &mut self.nodes;
        let node = *self.nodes_by_identity.entry(stamp.identity).or_insert_with(|| {
            nodes.push(Node::default());
            nodes.len() - 1
        });
        self.ways.push(Way { name, stamp, node, lexed: None, needed: None });
        self.ways_by_path.insert(name.path, self.ways.len() - 1);
        Ok(Some(self.ways.len() - 1))
    }

    /// A file's directives and its guard; `None` if it is nothing to be read.
    pub(super) fn load(&mut self, found: Found) -> Result<Option<(FileId, Option<Symbol>)>> {
        let way = &self.ways[found.way];
        if way.lexed.is_some() {
            return Ok(way.lexed);
        }
        let (absolute, stamp) = (way.name.absolute, way.stamp);
        match stamp.kind {
            Kind::File => {}
            Kind::Directory | Kind::Null => return Ok(None),
            Kind::Other => return Err(self.trouble(way.name.path, "is no regular file")),
        }
        let dialect = self.setup.dialect;
        let (_, version) = self.shared.disk.reason(absolute, &mut self.shared.symbols);
        let file = match self.shared.store.find(absolute, dialect, version) {
            Some(file) => file,
            None => {
                if stamp.len > MAX_FILE {
                    return Err(self.trouble(way.name.path, "is larger than 64 MiB"));
                }
                let (bytes, now) = match disk::read(self.shared.symbols.path(absolute)) {
                    Ok(read) => read,
                    Err(e) => return Err(self.trouble(way.name.path, &format!("cannot be read: {e}"))),
                };
                if now != stamp {
                    return Err(self.trouble(way.name.path, "changed while it was read"));
                }
                self.shared.store.add(absolute, dialect, version, &bytes, &mut self.shared.symbols)
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

    fn name(&mut self, path: &[u8]) -> Name {
        let absolute = self.absolute(path);
        let slash = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let symbols = &mut self.shared.symbols;
        Name { path: symbols.intern(path), absolute, directory: symbols.intern(&path[..slash]) }
    }
}

//! Where the files are that directives name.

use super::super::directive::How;
use super::super::disk::{self, Kind, Seen};
use super::super::store::FileId;
use super::super::symbol::{Symbol, known};
use super::{Found, Frame, Node, Result, Run, Way};

/// Bytes of one file.
const MAX_FILE: u64 = 64 << 20;

impl Run<'_> {
    /// The file that a name with its delimiters means here.
    pub(super) fn meant(&mut self, how: How, name: Symbol, frame: Frame) -> Result<Option<Found>> {
        // Names between angles mean the same in every file.
        let angled = self.shared.symbols.spelling(name).starts_with(b"<");
        let place = match (how, angled) {
            (How::Next, _) => return self.resolve(name, how, frame.found),
            (_, true) => (name, known::LESS, None),
            (_, false) => (name, self.ways[frame.found.way].directory, frame.found.next),
        };
        if let Some(found) = self.resolved.get(&place) {
            return Ok(*found);
        }
        let found = self.resolve(name, how, frame.found)?;
        self.resolved.insert(place, found);
        Ok(found)
    }

    /// Finds the file that a name with its delimiters means to another file.
    pub(super) fn resolve(&mut self, name: Symbol, how: How, by: Found) -> Result<Option<Found>> {
        let spelling = self.shared.symbols.spelling(name);
        let quoted = spelling.starts_with(b"\"");
        if spelling.len() <= 2 {
            return Ok(None);
        }
        if spelling[1] == b'/' {
            return self.probe(known::EMPTY, name, None);
        }
        let from = match (how, by.next) {
            (How::Next, Some(next)) => next,
            _ if !quoted => self.setup.search.quote_only,
            _ => {
                // gcc goes on with the first directory of all; clang as it would for the file that includes.
                let next = if self.setup.clang { by.next } else { Some(0) };
                if let Some(found) = self.probe(self.ways[by.way].directory, name, next)? {
                    return Ok(Some(found));
                }
                0
            }
        };
        self.search(name, from)
    }

    /// Searches the directories from one on.
    pub(super) fn search(&mut self, name: Symbol, from: usize) -> Result<Option<Found>> {
        for at in from..self.setup.directories.len() {
            if let Some(found) = self.probe(self.setup.directories[at], name, Some(at + 1))? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Looks in a directory, which has a slash at its end or is empty.
    fn probe(&mut self, directory: Symbol, name: Symbol, next: Option<usize>) -> Result<Option<Found>> {
        let (path, absolute) = match self.setup.joined.get(&(directory, name)) {
            Some(joined) => *joined,
            None => {
                let symbols = &mut self.shared.symbols;
                let inner = symbols.spelling(name);
                let path = [symbols.spelling(directory), &inner[1..inner.len() - 1]].concat();
                let path = symbols.intern(&path);
                let absolute = self.absolute(path);
                self.setup.joined.insert((directory, name), (path, absolute));
                (path, absolute)
            }
        };
        Ok(self.at(path, absolute)?.map(|way| Found { way, next }))
    }

    /// The file of a name that is not searched for.
    pub(super) fn named(&mut self, path: Symbol) -> Result<Option<Found>> {
        let absolute = self.absolute(path);
        Ok(self.at(path, absolute)?.map(|way| Found { way, next: None }))
    }

    /// Whether nothing has this name.
    pub(super) fn is_absent(&mut self, path: Symbol) -> bool {
        let absolute = self.absolute(path);
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
    fn absolute(&mut self, path: Symbol) -> Symbol {
        let symbols = &mut self.shared.symbols;
        let spelling = symbols.spelling(path);
        let absolute = match spelling.first() {
            Some(b'/') => spelling.to_vec(),
            _ => [self.cwd, b"/", spelling].concat(),
        };
        symbols.intern(&disk::without_dots(absolute))
    }

    /// The directory in a file's name.
    fn directory(&mut self, path: Symbol) -> Symbol {
        let path = self.shared.symbols.spelling(path);
        let len = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let directory = path[..len].to_vec();
        self.shared.symbols.intern(&directory)
    }
}

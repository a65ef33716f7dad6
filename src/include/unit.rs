//! One unit: runs the directives of its files and gathers what they need.

use std::collections::HashMap;
use std::sync::Arc;

use super::ask::Question;
use super::directive::{Directive, How, Lexed};
use super::disk::{Disk, Kind, Seen, Stamp};
use super::expand::{Expander, Stop, Surroundings};
use super::expression::{Truth, evaluate, header_name};
use super::hash::Map;
use super::retarget;
use super::setup::Setup;
use super::store::{FileId, Store};
use super::symbol::{Symbol, Symbols, known};
use super::table::{MacroRef, State, Table};
use super::token::{self, Token};

/// Nested includes, as in gcc and clang.
const MAX_DEPTH: usize = 200;
/// Directives that one unit may run: some hundred times what the largest real ones do.
const MAX_STEPS: usize = 20_000_000;
/// Ways to read one line when it is not known which of several definitions macros have.
const MAX_WORLDS: usize = 64;
/// Bytes of one file.
const MAX_FILE: u64 = 64 << 20;

/// What is kept from unit to unit.
#[derive(Default)]
pub struct Shared {
    pub symbols: Symbols,
    pub store: Store,
    pub disk: Disk,
    pub table: Table,
}

/// A file that a unit needs.
#[derive(Clone, Copy, Debug)]
pub struct Needed {
    /// As the compiler names it.
    pub path: Symbol,
    /// The same from the root.
    pub absolute: Symbol,
    /// Needed whatever the unknown conditions are.
    pub certain: bool,
}

/// A file that was found.
#[derive(Clone, Copy)]
struct Found {
    path: Symbol,
    absolute: Symbol,
    /// Where `#include_next` begins to search.
    next: Option<usize>,
}

/// A file at work.
struct Frame {
    found: Found,
    /// Its directory as far as the name tells: empty, or with a slash at its end.
    directory: Symbol,
    identity: (u64, u64),
    depth: usize,
    primary: bool,
}

/// A conditional that is open.
struct Conditional {
    taken: Truth,
    certain: bool,
}

/// A unit at work.
pub struct Run<'e> {
    shared: &'e mut Shared,
    setup: &'e mut Setup,
    cwd: &'e [u8],
    base_file: Vec<u8>,
    needed: Vec<Needed>,
    places: Map<Symbol, usize>,
    /// Files read at most once, and whether that is certain.
    once: Map<(u64, u64), bool>,
    /// The content of those files, by what gcc compares before it.
    contents: Map<(u64, (i64, i64)), Vec<u128>>,
    entered: Map<(u64, u64), bool>,
    /// The files at work, outermost first.
    stack: Vec<(u64, u64)>,
    resolved: Map<(Symbol, Symbol, Option<usize>), Option<Found>>,
    includes: HashMap<(Symbol, Vec<u8>), i64>,
    retargeted: Option<usize>,
    asserted: bool,
    steps: usize,
}

type Result<T> = std::result::Result<T, String>;

impl<'e> Run<'e> {
    /// Begins a unit with the compiler's own macros.
    pub fn new(shared: &'e mut Shared, setup: &'e mut Setup, cwd: &'e [u8], base_file: &[u8]) -> Run<'e> {
        shared.table.clear();
        for (name, state) in setup.macros(&shared.store) {
            shared.table.set(name, state, true);
        }
        Run {
            shared,
            setup,
            cwd,
            base_file: base_file.to_vec(),
            needed: Vec::new(),
            places: Map::default(),
            once: Map::default(),
            contents: Map::default(),
            entered: Map::default(),
            stack: Vec::new(),
            resolved: Map::default(),
            includes: HashMap::new(),
            retargeted: None,
            asserted: false,
            steps: 0,
        }
    }

    /// What the unit needs, in the order of first need.
    pub fn needed(self) -> Vec<Needed> {
        self.needed
    }

    /// Runs directives that are in no file: those of `-D` and `-U`.
    pub fn text(&mut self, text: &[u8]) -> Result<()> {
        let file = self.shared.store.add_text(text, self.setup.dialect, &mut self.shared.symbols);
        let found = Found { path: known::EMPTY, absolute: known::EMPTY, next: None };
        let frame = Frame { found, directory: known::EMPTY, identity: (0, 0), depth: 0, primary: false };
        self.steps(file, &frame, true)
    }

    /// Notes the headers that the compiler reads by itself: what they define is predefined already.
    pub fn compilers_own(&mut self) -> Result<()> {
        for name in self.setup.preincluded.clone() {
            let name = [b"<", &name[..], b">"].concat();
            let name = self.shared.symbols.intern(&name);
            let Some(found) = self.search(name, self.setup.search.quote_only)? else { continue };
            if let Seen::Present(stamp) = self.look(found.absolute) {
                self.entered.insert(stamp.identity, true);
                self.need(found, true);
            }
        }
        Ok(())
    }

    /// Reads a file of `-include` or `-imacros`.
    pub fn preinclude(&mut self, name: &[u8]) -> Result<()> {
        let quoted = [b"\"", name, b"\""].concat();
        let quoted = self.shared.symbols.intern(&quoted);
        let frame = Frame {
            found: Found { path: known::EMPTY, absolute: known::EMPTY, next: None },
            directory: known::EMPTY,
            identity: (0, 0),
            depth: 0,
            primary: false,
        };
        match self.resolve(quoted, How::Include, &frame)? {
            Some(found) => self.enter(found, How::Include, &frame, true),
            None => {
                let precompiled = [name, b".gch"].concat();
                let precompiled = self.shared.symbols.intern(&precompiled);
                let absolute = self.absolute(precompiled);
                match self.look(absolute) {
                    Seen::Absent => Ok(()),
                    _ => Err("needs a precompiled header".to_owned()),
                }
            }
        }
    }

    /// Reads the source itself. Says whether it is there.
    pub fn source(&mut self, name: &[u8]) -> Result<bool> {
        let path = self.shared.symbols.intern(name);
        let absolute = self.absolute(path);
        let found = Found { path, absolute, next: None };
        let Some((file, stamp)) = self.load(found)? else { return Ok(false) };
        self.need(found, true);
        self.entered.insert(stamp.identity, true);
        self.stack.push(stamp.identity);
        let directory = self.directory(path);
        let frame = Frame { found, directory, identity: stamp.identity, depth: 0, primary: true };
        self.steps(file, &frame, true)?;
        self.stack.pop();
        Ok(true)
    }

    fn steps(&mut self, file: FileId, frame: &Frame, certain: bool) -> Result<()> {
        let lexed: Arc<Lexed> = Arc::clone(self.shared.store.lexed(file));
        let outer = certain;
        let mut certain = certain;
        let mut open: Vec<Conditional> = Vec::new();
        let mut at = 0;
        while let Some(step) = lexed.steps.get(at) {
            self.steps += 1;
            if self.steps > MAX_STEPS {
                return Err("has too many directives".to_owned());
            }
            at += 1;
            match &step.directive {
                Directive::If(condition) => {
                    let truth = self.truth(condition, frame)?;
                    open.push(Conditional { taken: truth, certain });
                    match truth {
                        Truth::True => {}
                        Truth::False => at = step.next as usize,
                        Truth::Unknown => certain = false,
                    }
                }
                Directive::Elif(condition) => {
                    let Some(conditional) = open.last_mut() else { continue };
                    let before = conditional.taken;
                    certain = conditional.certain && before == Truth::False;
                    if before == Truth::True {
                        at = step.next as usize;
                        continue;
                    }
                    match self.truth(condition, frame)? {
                        Truth::False => at = step.next as usize,
                        truth => {
                            certain &= truth == Truth::True;
                            if let Some(conditional) = open.last_mut() {
                                conditional.taken = truth;
                            }
                        }
                    }
                }
                Directive::Else => {
                    let Some(conditional) = open.last_mut() else { continue };
                    let before = std::mem::replace(&mut conditional.taken, Truth::True);
                    certain = conditional.certain && before == Truth::False;
                    if before == Truth::True {
                        at = step.next as usize;
                    }
                }
                Directive::Endif => certain = open.pop().map_or(outer, |conditional| conditional.certain),
                Directive::Define(name, place) => {
                    self.shared.table.set(*name, State::Defined(MacroRef { file, place: *place }), certain);
                }
                Directive::Undef(name) => self.shared.table.set(*name, State::Undefined, certain),
                Directive::Include(how, tokens) => self.include(*how, tokens, frame, certain)?,
                Directive::Once => self.mark_once(frame, certain),
                // gcc takes no notice of the operator; clang does.
                Directive::OnceOperator if self.setup.clang => self.mark_once(frame, certain),
                Directive::OnceOperator => {}
                Directive::PushMacro(name) => self.shared.table.push(*name, certain),
                Directive::PopMacro(name) => self.shared.table.pop(*name, certain),
                Directive::Forget(name) => self.shared.table.lose(*name),
                Directive::Retarget => {
                    self.retargeted.get_or_insert(0);
                    self.retarget();
                }
                Directive::Assertion => self.asserted = true,
                Directive::Unsupported(why) => return Err((*why).to_owned()),
                Directive::Module => {
                    if self.shared.table.state(known::CPP_MODULES) != State::Undefined {
                        return Err("uses C++ modules".to_owned());
                    }
                }
            }
        }
        Ok(())
    }

    /// Forgets the target's macros among the names that are new since the last time.
    fn retarget(&mut self) {
        let Some(from) = self.retargeted else { return };
        let Shared { symbols, table, .. } = &mut *self.shared;
        for name in symbols.since(from).filter(|name| retarget::may_change(symbols.spelling(*name))) {
            match table.state(name) {
                State::Undefined => table.forget(name),
                State::Defined(at) if at.file == self.setup.predefined => table.forget(name),
                _ => {}
            }
        }
        self.retargeted = Some(symbols.len());
    }

    fn mark_once(&mut self, frame: &Frame, certain: bool) {
        // clang takes no notice of it in the source itself.
        if frame.primary && self.setup.clang {
            return;
        }
        if let Seen::Present(stamp) = self.look(frame.found.absolute) {
            *self.once.entry(frame.identity).or_insert(certain) |= certain;
            if certain {
                let hash = self.shared.store.hash(frame.found.absolute, self.setup.dialect);
                self.contents.entry((stamp.len, stamp.modified)).or_default().push(hash);
            }
        }
    }

    /// Whether a file will certainly not be read because it, or one just like it, was read before.
    fn is_done(&self, stamp: &Stamp, absolute: Symbol) -> bool {
        match self.once.get(&stamp.identity) {
            Some(true) => return true,
            Some(false) if self.stack.contains(&stamp.identity) => return true,
            _ => {}
        }
        // gcc: the same time, size and content make the same file.
        let alike = || self.contents.get(&(stamp.len, stamp.modified));
        !self.setup.clang
            && alike()
                .is_some_and(|hashes| hashes.contains(&self.shared.store.hash(absolute, self.setup.dialect)))
    }

    fn include(&mut self, how: How, tokens: &[Token], frame: &Frame, certain: bool) -> Result<()> {
        if let [Token { kind: token::Kind::Header, spelling, .. }] = tokens {
            return self.include_name(how, *spelling, frame, certain);
        }
        let names = self.computed(tokens, frame)?;
        let certain = certain && names.len() == 1;
        for name in names {
            let name = self.shared.symbols.intern(&name);
            self.include_name(how, name, frame, certain)?;
        }
        Ok(())
    }

    fn include_name(&mut self, how: How, name: Symbol, frame: &Frame, certain: bool) -> Result<()> {
        // Names between angles have the same answer for every file.
        let angled = self.shared.symbols.spelling(name).starts_with(b"<");
        let place = match (how, angled) {
            (How::Next, _) => None,
            (_, true) => Some((name, known::LESS, None)),
            (_, false) => Some((name, frame.directory, frame.found.next)),
        };
        let found = match place.and_then(|place| self.resolved.get(&place)) {
            Some(found) => *found,
            None => {
                let found = self.resolve(name, how, frame)?;
                if let Some(place) = place {
                    self.resolved.insert(place, found);
                }
                found
            }
        };
        match found {
            Some(found) => self.enter(found, how, frame, certain),
            // The compiler will say that it is missing, or another world will not ask for it.
            None => Ok(()),
        }
    }

    /// The header names that an `#include` of macros can mean.
    fn computed(&mut self, tokens: &[Token], frame: &Frame) -> Result<Vec<Vec<u8>>> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut worlds = vec![HashMap::new()];
        let mut tried = 0;
        while let Some(choices) = worlds.pop() {
            tried += 1;
            if tried > MAX_WORLDS {
                return Err("includes a file whose name has too many possible values".to_owned());
            }
            let result = self.with_expander(tokens, &choices, frame, |expander, _| {
                let tokens = expander.all()?;
                Ok(header_name(&tokens, expander.around.symbols, expander.around.clang))
            });
            match result {
                Ok(Some(name)) if !names.contains(&name) => names.push(name),
                Ok(Some(_)) => {}
                Ok(None) => {}
                Err(Stop::Choose(name)) => self.fork(&choices, name, &mut worlds),
                Err(Stop::TooLarge) => return Err(TOO_LARGE.to_owned()),
                Err(_) => return Err("includes a file whose name only the compiler knows".to_owned()),
            }
        }
        Ok(names)
    }

    fn fork(&self, choices: &HashMap<Symbol, State>, name: Symbol, worlds: &mut Vec<HashMap<Symbol, State>>) {
        for &candidate in self.shared.table.candidates(name) {
            let mut choices = choices.clone();
            choices.insert(name, candidate);
            worlds.push(choices);
        }
    }

    fn with_expander<T>(
        &mut self,
        tokens: &[Token],
        choices: &HashMap<Symbol, State>,
        frame: &Frame,
        job: impl FnOnce(&mut Expander, bool) -> std::result::Result<T, Stop>,
    ) -> std::result::Result<T, Stop> {
        let Shared { symbols, store, table, .. } = &mut *self.shared;
        let file = Arc::clone(symbols.shared_spelling(frame.found.path));
        let answers: &HashMap<Question, Option<i64>> = &self.setup.answers;
        let mut around = Surroundings {
            table,
            store,
            symbols,
            choices,
            answers,
            includes: &self.includes,
            file: &file,
            base_file: &self.base_file,
            depth: frame.depth,
            clang: self.setup.clang,
            asserted: self.asserted,
        };
        job(&mut Expander::new(&mut around, tokens), self.setup.cplusplus)
    }

    fn truth(&mut self, condition: &[Token], frame: &Frame) -> Result<Truth> {
        if let Some(truth) = self.simple_truth(condition) {
            return Ok(truth);
        }
        self.includes.clear();
        // Nearly always nothing is in doubt.
        if let Ok(truth) = self.with_expander(condition, &HashMap::new(), frame, evaluate) {
            return Ok(truth);
        }
        let mut all: Option<Truth> = None;
        let mut worlds = vec![HashMap::new()];
        let mut tried = 0;
        while let Some(choices) = worlds.pop() {
            tried += 1;
            if tried > MAX_WORLDS + 1024 {
                return Ok(Truth::Unknown);
            }
            match self.with_expander(condition, &choices, frame, evaluate) {
                Ok(truth) => match all {
                    None => all = Some(truth),
                    Some(other) if other == truth => {}
                    Some(_) => all = Some(Truth::Unknown),
                },
                Err(Stop::Choose(_)) if worlds.len() > MAX_WORLDS => return Ok(Truth::Unknown),
                Err(Stop::Choose(name)) => self.fork(&choices, name, &mut worlds),
                Err(Stop::Ask(name, argument)) => {
                    let Shared { store, symbols, .. } = &*self.shared;
                    self.setup.find_answers(name, &argument, store, symbols)?;
                    worlds.push(choices);
                }
                Err(Stop::Find(which, name)) => {
                    let value = self.exists(which, &name, frame)?;
                    self.includes.insert((which, name), value);
                    worlds.push(choices);
                }
                Err(Stop::Unknown) => all = Some(Truth::Unknown),
                Err(Stop::TooLarge) => return Err(TOO_LARGE.to_owned()),
            }
        }
        Ok(all.unwrap_or(Truth::Unknown))
    }

    /// `defined X` and `! defined X`, the most frequent conditions by far.
    fn simple_truth(&self, condition: &[Token]) -> Option<Truth> {
        let (negated, name) = match condition {
            [defined, name] if defined.name() == Some(known::DEFINED) => (false, name.name()?),
            [not, defined, name] if not.is(known::NOT) && defined.name() == Some(known::DEFINED) => {
                (true, name.name()?)
            }
            _ => return None,
        };
        let table = &self.shared.table;
        let defined = match table.state(name) {
            State::Undefined => false,
            State::Defined(_) | State::Builtin => true,
            State::Forgotten => return Some(Truth::Unknown),
            State::Maybe => {
                let candidates = table.candidates(name);
                let undefined = candidates.iter().filter(|state| **state == State::Undefined).count();
                if undefined != 0 && undefined != candidates.len() {
                    return Some(Truth::Unknown);
                }
                undefined == 0
            }
        };
        Some(if defined != negated { Truth::True } else { Truth::False })
    }

    /// What `__has_include` and its kin say. What is found there must exist on a server, too.
    fn exists(&mut self, which: Symbol, name: &[u8], frame: &Frame) -> Result<i64> {
        let how = match which {
            known::HAS_INCLUDE_NEXT => How::Next,
            known::HAS_EMBED => How::Embed,
            _ => How::Include,
        };
        let name = self.shared.symbols.intern(name);
        let Some(found) = self.resolve(name, how, frame)? else { return Ok(0) };
        self.need(found, true);
        match self.look(found.absolute) {
            Seen::Present(stamp) if which == known::HAS_EMBED && stamp.len == 0 => Ok(2),
            _ => Ok(1),
        }
    }

    fn enter(&mut self, found: Found, how: How, frame: &Frame, certain: bool) -> Result<()> {
        let Seen::Present(stamp) = self.look(found.absolute) else { return Ok(()) };
        if stamp.kind == Kind::Null {
            return Ok(());
        }
        if frame.depth + 1 >= MAX_DEPTH {
            return Err(self.trouble(found, "is included more than 200 files deep"));
        }
        self.need(found, certain);
        if how == How::Embed {
            return Ok(());
        }
        let entered = self.entered.get(&stamp.identity).copied();
        if how == How::Import && entered == Some(true) {
            return Ok(());
        }
        let Some((file, stamp)) = self.load(found)? else { return Ok(()) };
        if self.is_done(&stamp, found.absolute) {
            return Ok(());
        }
        if let Some(guard) = self.shared.store.lexed(file).guard {
            match self.shared.table.state(guard) {
                State::Defined(_) | State::Builtin => return Ok(()),
                State::Maybe if self.stack.contains(&stamp.identity) => return Ok(()),
                _ => {}
            }
        }
        *self.entered.entry(stamp.identity).or_insert(certain) |= certain;
        let directory = self.directory(found.path);
        let depth = frame.depth + 1;
        let inner = Frame { found, directory, identity: stamp.identity, depth, primary: false };
        if how == How::Import {
            self.mark_once(&inner, certain);
        }
        self.retarget();
        self.stack.push(stamp.identity);
        self.steps(file, &inner, certain)?;
        self.stack.pop();
        Ok(())
    }

    fn need(&mut self, found: Found, certain: bool) {
        match self.places.get(&found.path) {
            Some(&at) => self.needed[at].certain |= certain,
            None => {
                self.places.insert(found.path, self.needed.len());
                self.needed.push(Needed { path: found.path, absolute: found.absolute, certain });
            }
        }
    }

    /// A file's directives, read if they are not known yet; `None` if there is no such file.
    fn load(&mut self, found: Found) -> Result<Option<(FileId, Stamp)>> {
        let stamp = match self.look(found.absolute) {
            Seen::Present(stamp) => stamp,
            Seen::Absent => return Ok(None),
            Seen::Error(_) => return Err(self.trouble(found, "cannot be read")),
        };
        match stamp.kind {
            Kind::File => {}
            Kind::Directory | Kind::Null => return Ok(None),
            Kind::Other => return Err(self.trouble(found, "is no regular file")),
        }
        let dialect = self.setup.dialect;
        if let Some(file) = self.shared.store.find(found.absolute, dialect, &stamp) {
            return Ok(Some((file, stamp)));
        }
        if stamp.len > MAX_FILE {
            return Err(self.trouble(found, "is larger than 64 MiB"));
        }
        let (bytes, now) = match super::disk::read(self.shared.symbols.path(found.absolute)) {
            Ok(read) => read,
            Err(e) => return Err(self.trouble(found, &format!("cannot be read: {e}"))),
        };
        if now != stamp {
            return Err(self.trouble(found, "changed while it was read"));
        }
        let Shared { store, symbols, .. } = &mut *self.shared;
        Ok(Some((store.add(found.absolute, dialect, stamp, &bytes, symbols), stamp)))
    }

    fn trouble(&self, found: Found, what: &str) -> String {
        format!("{} {what}", String::from_utf8_lossy(self.shared.symbols.spelling(found.path)))
    }

    fn look(&mut self, absolute: Symbol) -> Seen {
        let Shared { disk, symbols, .. } = &mut *self.shared;
        disk.look(absolute, symbols)
    }

    fn absolute(&mut self, path: Symbol) -> Symbol {
        let spelling = self.shared.symbols.spelling(path);
        if spelling.starts_with(b"/") {
            return path;
        }
        let absolute = [self.cwd, b"/", spelling].concat();
        self.shared.symbols.intern(&absolute)
    }

    /// The directory in a file's name.
    fn directory(&mut self, path: Symbol) -> Symbol {
        let path = self.shared.symbols.spelling(path);
        let len = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let directory = path[..len].to_vec();
        self.shared.symbols.intern(&directory)
    }

    /// Finds the file that a name with its delimiters means.
    fn resolve(&mut self, name: Symbol, how: How, frame: &Frame) -> Result<Option<Found>> {
        let spelling = self.shared.symbols.spelling(name);
        let quoted = spelling.starts_with(b"\"");
        if spelling.len() <= 2 {
            return Ok(None);
        }
        if spelling[1] == b'/' {
            return self.probe(known::EMPTY, name, None);
        }
        let from = match (how, frame.found.next) {
            (How::Next, Some(next)) => next,
            _ if !quoted => self.setup.search.quote_only,
            _ => {
                // gcc goes on with the first directory of all; clang as it would for the file that includes.
                let next = if self.setup.clang { frame.found.next } else { Some(0) };
                if let Some(found) = self.probe(frame.directory, name, next)? {
                    return Ok(Some(found));
                }
                0
            }
        };
        self.search(name, from)
    }

    /// Searches the directories from one on.
    fn search(&mut self, name: Symbol, from: usize) -> Result<Option<Found>> {
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
        let found = Found { path, absolute, next };
        match self.look(absolute) {
            Seen::Absent => Ok(None),
            Seen::Present(stamp) if stamp.kind == Kind::Directory => Ok(None),
            Seen::Present(_) => Ok(Some(found)),
            Seen::Error(code) => {
                let error = std::io::Error::from_raw_os_error(code);
                Err(self.trouble(found, &format!("cannot be looked at: {error}")))
            }
        }
    }
}

const TOO_LARGE: &str = "has macros that expand to too much";

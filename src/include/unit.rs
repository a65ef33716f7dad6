//! One unit: runs the directives of its files and gathers what they need.

use std::sync::Arc;

use super::directive::{Directive, How, Lexed};
use super::disk::{Dependency, Disk, Kind, Stamp};
use super::expand::Reads;
use super::expression::Truth;
use super::hash::Map;
use super::retarget;
use super::setup::Setup;
use super::store::{FileId, Store};
use super::symbol::{Symbol, Symbols, known};
use super::table::{State, Table};
use crate::sorted_map::SortedMap;

mod condition;
mod search;

use search::Name;
pub use search::Resolutions;

/// Nested includes, as in gcc and clang.
const MAX_DEPTH: usize = 200;
/// Files of a unit of C++, so that lists need not grow often.
const USUAL_FILES: usize = 400;
/// Directives that one unit may run: some ten times what the largest real ones do. It takes half a second, in which nobody else
/// is answered.
const MAX_STEPS: usize = 2_000_000;

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

/// A name of a file that this unit has found.
struct Way {
    name: Name,
    stamp: Stamp,
    node: usize,
    /// What it is lexed, and its guard, once that was wanted.
    lexed: Option<(FileId, Option<Symbol>)>,
    /// Where it stands among what the unit needs.
    needed: Option<usize>,
}

/// A file, whatever its names.
#[derive(Default)]
struct Node {
    /// Read at most once, and whether that is certain.
    once: Option<bool>,
    /// Whether it was certainly read.
    entered: Option<bool>,
    /// How many times it is at work.
    open: usize,
}

/// A file that a directive means.
#[derive(Clone, Copy)]
struct Found {
    /// Its place in [`Run::ways`].
    way: usize,
    /// Where `#include_next` begins to search.
    next: Option<u32>,
}

/// The way of what is in no file.
const NOWHERE: usize = 0;

/// A file at work.
#[derive(Clone, Copy)]
struct Frame {
    found: Found,
    depth: usize,
    primary: bool,
}

impl Frame {
    /// That of what is in no file.
    const OUTSIDE: Frame = Frame { found: Found { way: NOWHERE, next: None }, depth: 0, primary: false };
}

/// A conditional that is open.
struct Conditional {
    taken: Truth,
    certain: bool,
}

/// A content that is read at most once, and whether that is certain.
#[derive(PartialEq, Eq)]
struct ReadOnce {
    hash: u128,
    certain: bool,
}

/// A unit at work.
pub struct Run<'e> {
    shared: &'e mut Shared,
    setup: &'e mut Setup,
    cwd: &'e [u8],
    base_file: Vec<u8>,
    needed: Vec<Needed>,
    ways: Vec<Way>,
    ways_by_path: Map<Symbol, usize>,
    nodes: Vec<Node>,
    nodes_by_identity: Map<(u64, u64), usize>,
    /// The contents of files read at most once, and whether that is certain, by what gcc compares before it.
    contents: Map<(u64, (i64, i64)), Vec<ReadOnce>>,
    /// Where the search at work found nothing.
    passed: Vec<Dependency>,
    /// What `__has_include` and its kin say in the condition at work.
    includes: SortedMap<(Symbol, Vec<u8>), i64>,
    reads: Reads,
    /// The conditionals that are open, in all files at work.
    open: Vec<Conditional>,
    retargeted: Option<usize>,
    asserted: bool,
    steps: usize,
}

type Result<T> = std::result::Result<T, String>;

impl<'e> Run<'e> {
    /// Begins a unit with the compiler's own macros.
    pub fn new(shared: &'e mut Shared, setup: &'e mut Setup, cwd: &'e [u8], base_file: &[u8]) -> Run<'e> {
        shared.table.clear();
        setup.unit = setup.unit.wrapping_add(1);
        for (name, state) in setup.macros(&shared.store) {
            shared.table.set(name, state, true);
        }
        let nowhere = Way {
            name: Name { path: known::EMPTY, absolute: known::EMPTY, directory: known::EMPTY },
            stamp: Stamp::NOTHING,
            node: 0,
            lexed: None,
            needed: None,
        };
        let mut ways = Vec::with_capacity(USUAL_FILES);
        ways.push(nowhere);
        Run {
            shared,
            setup,
            cwd,
            base_file: base_file.to_vec(),
            needed: Vec::with_capacity(USUAL_FILES),
            ways,
            ways_by_path: Map::with_capacity_and_hasher(USUAL_FILES, Default::default()),
            nodes: vec![Node::default()],
            nodes_by_identity: Map::with_capacity_and_hasher(USUAL_FILES, Default::default()),
            contents: Map::default(),
            passed: Vec::new(),
            includes: SortedMap::new(),
            reads: Reads::default(),
            open: Vec::new(),
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
        self.steps(file, Frame::OUTSIDE, true)
    }

    /// Notes the headers that the compiler reads by itself: what they define is predefined already.
    pub fn compilers_own(&mut self) -> Result<()> {
        for name in self.setup.preincluded.clone() {
            let name = [b"<", &name[..], b">"].concat();
            let name = self.shared.symbols.intern(&name);
            let Some(found) = self.meant(How::Include, name, Frame::OUTSIDE.found)? else { continue };
            let node = self.ways[found.way].node;
            self.nodes[node].entered = Some(true);
            self.need(found, true);
        }
        Ok(())
    }

    /// Reads a file of `-include` or `-imacros`.
    pub fn preinclude(&mut self, name: &[u8]) -> Result<()> {
        let quoted = [b"\"", name, b"\""].concat();
        let quoted = self.shared.symbols.intern(&quoted);
        if let Some(found) = self.meant(How::Include, quoted, Frame::OUTSIDE.found)? {
            return self.enter(found, How::Include, 0, true);
        }
        let precompiled = [name, b".gch"].concat();
        if self.is_absent(&precompiled) { Ok(()) } else { Err("needs a precompiled header".to_owned()) }
    }

    /// Reads the source itself. Says whether it is there.
    pub fn source(&mut self, name: &[u8]) -> Result<bool> {
        let Some(found) = self.named(name)? else { return Ok(false) };
        let Some((file, _)) = self.load(found)? else { return Ok(false) };
        self.need(found, true);
        self.work(file, Frame { found, depth: 0, primary: true }, true)?;
        Ok(true)
    }

    /// Runs a file.
    fn work(&mut self, file: FileId, frame: Frame, certain: bool) -> Result<()> {
        let node = self.ways[frame.found.way].node;
        let entered = self.nodes[node].entered.unwrap_or(false);
        self.nodes[node].entered = Some(entered || certain);
        self.nodes[node].open += 1;
        self.steps(file, frame, certain)?;
        self.nodes[node].open -= 1;
        Ok(())
    }

    fn steps(&mut self, file: FileId, frame: Frame, certain: bool) -> Result<()> {
        let lexed: Arc<Lexed> = Arc::clone(self.shared.store.lexed(file));
        let outer = certain;
        let mut certain = certain;
        let floor = self.open.len();
        let mut at = 0;
        while let Some(step) = lexed.steps.get(at) {
            self.steps += 1;
            if self.steps > MAX_STEPS {
                return Err("has too many directives".to_owned());
            }
            at += 1;
            match step.directive {
                Directive::If(condition) => {
                    let truth = self.truth(condition, frame)?;
                    self.open.push(Conditional { taken: truth, certain });
                    match truth {
                        Truth::True => {}
                        Truth::False => at = step.next as usize,
                        Truth::Unknown => certain = false,
                    }
                }
                Directive::Elif(condition) => {
                    let Some(conditional) = self.open[floor..].last_mut() else { continue };
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
                            if let Some(conditional) = self.open[floor..].last_mut() {
                                conditional.taken = truth;
                            }
                        }
                    }
                }
                Directive::Else => {
                    let Some(conditional) = self.open[floor..].last_mut() else { continue };
                    let before = std::mem::replace(&mut conditional.taken, Truth::True);
                    certain = conditional.certain && before == Truth::False;
                    if before == Truth::True {
                        at = step.next as usize;
                    }
                }
                Directive::Endif if self.open.len() > floor => {
                    certain = self.open.pop().map_or(outer, |conditional| conditional.certain);
                }
                Directive::Endif => certain = outer,
                Directive::Define(name, at) => self.shared.table.set(name, State::Defined(at), certain),
                Directive::Undef(name) => self.shared.table.set(name, State::Undefined, certain),
                Directive::Include(how, name) => self.include(how, name, frame, certain)?,
                Directive::Computed(how, list) => {
                    let names = self.computed(list, frame)?;
                    let certain = certain && names.len() == 1;
                    for name in names {
                        let name = self.shared.symbols.intern(&name);
                        self.include(how, name, frame, certain)?;
                    }
                }
                Directive::Once => self.mark_once(frame, certain),
                // gcc takes no notice of the operator; clang does.
                Directive::OnceOperator if self.setup.clang => self.mark_once(frame, certain),
                Directive::OnceOperator => {}
                Directive::PushMacro(name) => self.shared.table.push(name, certain),
                Directive::PopMacro(name) => self.shared.table.pop(name, certain),
                Directive::Forget(name) => self.shared.table.lose(name),
                Directive::Retarget => {
                    self.retargeted.get_or_insert(0);
                    self.retarget();
                }
                Directive::Assertion => self.asserted = true,
                Directive::Unsupported(what) => return Err(what.reason().to_owned()),
                Directive::Module => {
                    if self.shared.table.state(known::CPP_MODULES) != State::Undefined {
                        return Err("uses C++ modules".to_owned());
                    }
                }
            }
        }
        // What is still open ends with its file.
        self.open.truncate(floor);
        Ok(())
    }

    /// Forgets the target's macros among the names that are new since the last time.
    fn retarget(&mut self) {
        let Some(from) = self.retargeted else { return };
        let Shared { symbols, store, table, .. } = &mut *self.shared;
        for name in symbols.since(from).filter(|name| retarget::may_change(symbols.spelling(*name))) {
            match table.state(name) {
                State::Undefined => table.forget(name),
                State::Defined(at) if self.setup.predefines(name, at, store) => table.forget(name),
                _ => {}
            }
        }
        self.retargeted = Some(symbols.len());
    }

    fn mark_once(&mut self, frame: Frame, certain: bool) {
        // clang takes no notice of it in the source itself.
        if (frame.primary && self.setup.clang) || frame.found.way == NOWHERE {
            return;
        }
        let way = &self.ways[frame.found.way];
        let once = &mut self.nodes[way.node].once;
        *once = Some(once.unwrap_or(false) || certain);
        let hash = self.shared.store.hash(way.name.absolute, self.setup.dialect);
        let alike = self.contents.entry((way.stamp.len, way.stamp.modified)).or_default();
        let read = ReadOnce { hash, certain };
        if !alike.contains(&read) {
            alike.push(read);
        }
    }

    /// Whether a file, which is lexed, will not be read because one just like it was read before, and whether that is certain.
    fn copy_of(&self, way: &Way) -> Option<bool> {
        if self.setup.clang {
            return None;
        }
        // gcc: the same time, size and content make the same file.
        let alike = self.contents.get(&(way.stamp.len, way.stamp.modified))?;
        let hash = self.shared.store.hash(way.name.absolute, self.setup.dialect);
        alike.iter().filter(|read| read.hash == hash).map(|read| read.certain).max()
    }

    /// Does what `#include` and its kin do with a name, which has its delimiters.
    fn include(&mut self, how: How, name: Symbol, frame: Frame, certain: bool) -> Result<()> {
        match self.meant(how, name, frame.found)? {
            Some(found) => self.enter(found, how, frame.depth, certain),
            // The compiler will say that it is missing, or another world will not ask for it.
            None => Ok(()),
        }
    }

    fn enter(&mut self, found: Found, how: How, depth: usize, certain: bool) -> Result<()> {
        let way = &self.ways[found.way];
        if way.stamp.kind == Kind::Null {
            return Ok(());
        }
        if depth + 1 >= MAX_DEPTH {
            return Err(self.trouble(way.name.path, "is included more than 200 files deep"));
        }
        let node = way.node;
        self.need(found, certain);
        if how == How::Embed {
            return Ok(());
        }
        let Node { once, entered, open } = self.nodes[node];
        // One that may have been read before is perhaps not read now: then nothing that it would do is certain.
        let mut certain = certain;
        match once {
            Some(true) => return Ok(()),
            Some(false) if open > 0 => return Ok(()),
            Some(false) => certain = false,
            None => {}
        }
        if how == How::Import {
            match entered {
                Some(true) => return Ok(()),
                Some(false) => certain = false,
                None => {}
            }
        }
        let Some((file, guard)) = self.load(found)? else { return Ok(()) };
        if let Some(guard) = guard {
            match self.shared.table.state(guard) {
                State::Defined(_) | State::Builtin => return Ok(()),
                State::Maybe if open > 0 => return Ok(()),
                _ => {}
            }
        }
        match self.copy_of(&self.ways[found.way]) {
            Some(true) => return Ok(()),
            Some(false) => certain = false,
            None => {}
        }
        let frame = Frame { found, depth: depth + 1, primary: false };
        if how == How::Import {
            self.mark_once(frame, certain);
        }
        self.retarget();
        self.work(file, frame, certain)
    }

    fn need(&mut self, found: Found, certain: bool) {
        let way = &mut self.ways[found.way];
        match way.needed {
            Some(at) => self.needed[at].certain |= certain,
            None => {
                way.needed = Some(self.needed.len());
                self.needed.push(Needed { path: way.name.path, absolute: way.name.absolute, certain });
            }
        }
    }
}

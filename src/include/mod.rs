//! The include engine: which files a compile reads before its text is all there.
//!
//! An exact preprocessor of directives. Each file is lexed once into its directives; a unit runs them with the
//! compiler's own predefined macros and search path. A third truth value stands for what only the compiler
//! knows (`__COUNTER__`, `__TIME__`, macros that text may push or pop): then both branches are taken, and the
//! answer is a superset. It is never a subset of what the compiler reads.
//!
//! Every path is looked at once per request, so each answer is of the files as they are now, and says
//! what it depends on, absences included. Follows `pump.md` sections 5 and 6.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::args::{self, MacroWord, Preprocessing};

mod anywhere;
mod ask;
mod directive;
mod disk;
mod expand;
mod expression;
mod hash;
mod lex;
mod lines;
#[doc(hidden)]
pub mod lone;
mod mirror;
mod pool;
mod reader;
mod retarget;
mod setup;
mod store;
mod symbol;
mod table;
mod token;
mod unit;
mod verdict;
mod words;

pub use disk::{Kind, Seen, Stamp, look, stamp_of};
pub use mirror::Link;
pub use store::content_hash;

use ask::Subject;
use disk::Dependency;
use setup::{Listed, Setup};
use symbol::Symbol;
use unit::{Run, Shared};

/// A compile to be analysed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Unit {
    /// The working directory, from the root.
    pub cwd: PathBuf,
    /// The compiler's file.
    pub program: PathBuf,
    /// The compiler's name and its arguments, response files expanded.
    pub argv: Vec<OsString>,
    /// What of the environment may change what the compiler reads: see [`environment`].
    pub environment: Vec<(OsString, OsString)>,
}

/// The variables of this process that belong into [`Unit::environment`].
pub fn environment() -> Vec<(OsString, OsString)> {
    let wanted = |name: &OsStr| {
        setup::DIRECTORY_VARIABLES
            .iter()
            .chain(&["PATH", "GCC_EXEC_PREFIX", "COMPILER_PATH"])
            .any(|v| name == *v)
            || name == "SDKROOT"
    };
    std::env::vars_os().filter(|(name, _)| wanted(name)).collect()
}

/// A file that the compiler reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// As the compiler names it: relative to the working directory, or absolute.
    pub name: PathBuf,
    /// The file itself: absolute, without links or `..`.
    pub real: PathBuf,
    /// In one of the directories that the compiler searches by itself: a server with the same compiler has it.
    pub system: bool,
    /// Read whatever the conditions are that could not be decided.
    pub certain: bool,
}

/// Everything that a compile reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closure {
    /// In the order of first need. Units share what they have in common.
    pub files: Vec<Arc<File>>,
    /// Symbolic links on the ways to them.
    pub links: Vec<Link>,
    /// Directories that must be there although they may hold no file: those searched, and those passed on the
    /// way to a `..`. Absolute.
    pub directories: Vec<PathBuf>,
    /// The directories that the compiler searches by itself.
    pub defaults: Vec<PathBuf>,
    /// Nothing is in it that the compiler does not read, unless it was only looked for.
    pub exact: bool,
}

/// Why a unit has no closure: compile it in another way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unable(pub String);

impl fmt::Display for Unable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What makes setups equal.
#[derive(PartialEq, Eq, Hash)]
struct SetupKey {
    subject: Subject,
    search: Vec<OsString>,
}

/// An answer and what it depends on.
struct Remembered {
    closure: Closure,
    seen: Box<[Dependency]>,
}

/// Bytes that everything remembered may take, roughly, before all of it is forgotten and gathered anew. The whole
/// of RocksDB takes a tenth.
const MOST_MEMORY: usize = 192 << 20;
/// Bytes of versions of files that are no longer there, likewise, if they are most of all.
const MOST_OUTDATED: usize = 16 << 20;

/// The engine, with everything it remembers.
#[derive(Default)]
pub struct Engine {
    shared: Shared,
    setups: HashMap<SetupKey, Setup>,
    remembered: HashMap<Unit, Remembered>,
    /// Bytes that `remembered` takes, roughly.
    remembered_size: usize,
}

impl Engine {
    /// An engine that knows nothing yet.
    pub fn new() -> Engine {
        Engine::default()
    }

    /// Everything that this compile reads.
    pub fn closure(&mut self, unit: &Unit) -> Result<&Closure, Unable> {
        let words = args::preprocessing(&unit.argv).map_err(|reason| Unable(reason.to_string()))?;
        if self.is_full() {
            *self = Engine::new();
        }
        let key = setup_key(unit, &words);
        self.shared.disk.begin();
        let setup_is_valid = self.setups.get(&key).is_some_and(Setup::is_valid);
        let is_valid =
            setup_is_valid && self.remembered.get(unit).is_some_and(|known| known.is_valid(&mut self.shared));
        if !is_valid {
            if !setup_is_valid {
                self.setups.remove(&key);
                let Shared { store, symbols, .. } = &mut self.shared;
                let (subject, settings) = (key.subject.clone(), words.settings.clone());
                let known = self.setups.values().find(|known| known.tells_of(&subject, &settings));
                let setup = match known {
                    Some(known) => Setup::beside(known, subject, &words.search, symbols),
                    None => Setup::ask(subject, settings, &words.search, store, symbols),
                };
                self.setups.insert(setup_key(unit, &words), setup.map_err(Unable)?);
            }
            let setup = self.setups.get_mut(&key).ok_or_else(|| Unable("has no compiler".to_owned()))?;
            self.shared.disk.settle(setup.defaults.directories.iter().map(Vec::as_slice));
            let remembered = analyse(unit, &words, setup, &mut self.shared).map_err(Unable)?;
            self.remembered_size += remembered.size();
            if let Some(old) = self.remembered.insert(unit.clone(), remembered) {
                self.remembered_size -= old.size();
            }
        }
        self.remembered
            .get(unit)
            .map(|known| &known.closure)
            .ok_or_else(|| Unable("was forgotten".to_owned()))
    }

    /// Whether it is time to begin anew.
    fn is_full(&self) -> bool {
        let Shared { store, symbols, disk, .. } = &self.shared;
        let setups: usize = self.setups.values().map(Setup::size).sum();
        let size = store.size() + symbols.size() + disk.size() + setups + self.remembered_size;
        size > MOST_MEMORY || (store.outdated() > MOST_OUTDATED && store.outdated() * 2 > store.size())
    }
}

impl Remembered {
    fn is_valid(&self, shared: &mut Shared) -> bool {
        let Shared { disk, symbols, .. } = shared;
        self.seen.iter().all(|seen| disk.is_still(*seen, symbols))
    }

    fn size(&self) -> usize {
        let paths =
            self.closure.links.len() * 2 + self.closure.directories.len() + self.closure.defaults.len();
        // Paths have some fifty bytes; the key has about as much as a hundred of its words.
        self.seen.len() * size_of::<Dependency>()
            + self.closure.files.len() * size_of::<Arc<File>>()
            + paths * 100
            + 4096
    }
}

fn setup_key(unit: &Unit, words: &Preprocessing) -> SetupKey {
    SetupKey {
        subject: Subject {
            program: unit.program.clone(),
            name: unit.argv[0].clone(),
            cwd: unit.cwd.clone(),
            environment: unit.environment.clone(),
            language: words.language,
        },
        search: words.search.clone(),
    }
}

fn analyse(
    unit: &Unit,
    words: &Preprocessing,
    setup: &mut Setup,
    shared: &mut Shared,
) -> Result<Remembered, String> {
    shared.disk.begin();
    let cwd = unit.cwd.as_os_str().as_bytes();
    let input = words.input.as_bytes();
    let mut run = Run::new(shared, setup, cwd, input);
    run.compilers_own()?;
    run.text(&macro_text(&words.macros))?;
    for first in [true, false] {
        for file in words.preincludes.iter().filter(|file| file.macros_only == first) {
            run.preinclude(file.name.as_bytes())?;
        }
    }
    if !run.source(input)? {
        return Err(format!("has no source {}", args::printable(&words.input)));
    }
    let needed = run.needed();
    let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    let defaults: Vec<PathBuf> = setup.defaults.directories.iter().map(|directory| path(directory)).collect();
    let Shared { disk, symbols, .. } = shared;
    let mut mirror = mirror::Mirror::new(disk, symbols);
    let reals: Vec<Symbol> = needed.iter().map(|file| mirror.add_file(file.absolute)).collect();
    for directory in &setup.search.directories {
        mirror.add_directory(unit.cwd.join(path(directory)).as_os_str().as_bytes());
    }
    mirror.add_directory(cwd);
    let (links, directories) = mirror.finish();
    let mut files = Vec::with_capacity(needed.len());
    for (file, real) in needed.iter().zip(reals) {
        let same = setup
            .files
            .get(&file.path)
            .filter(|known| known.real == real && known.file.certain == file.certain);
        files.push(match same {
            Some(same) => Arc::clone(&same.file),
            None => {
                let below_defaults = |path: Symbol| {
                    let path = symbols.spelling(path);
                    setup.defaults.directories.iter().any(|default| is_below(path, default))
                };
                let new = Arc::new(File {
                    name: symbols.path(file.path).to_owned(),
                    real: symbols.path(real).to_owned(),
                    system: below_defaults(file.path) || below_defaults(real),
                    certain: file.certain,
                });
                setup.files.insert(file.path, Listed { real, file: Arc::clone(&new) });
                new
            }
        });
    }
    let exact = files.iter().all(|file| file.certain);
    let seen = shared.disk.touched().into();
    Ok(Remembered { closure: Closure { files, links, directories, defaults, exact }, seen })
}

fn is_below(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with(b"/") || directory.ends_with(b"/"))
}

/// `-D` and `-U` as directives, as the compilers define them.
fn macro_text(macros: &[MacroWord]) -> Vec<u8> {
    let mut text = Vec::new();
    for word in macros {
        match word {
            MacroWord::Define(value) => {
                text.extend_from_slice(b"#define ");
                let value = value.as_bytes();
                // What stands behind a newline is not part of it.
                let value = value.split(|&byte| byte == b'\n').next().unwrap_or_default();
                match value.iter().position(|&byte| byte == b'=') {
                    Some(equals) => {
                        text.extend_from_slice(&value[..equals]);
                        text.push(b' ');
                        text.extend_from_slice(&value[equals + 1..]);
                    }
                    None => {
                        text.extend_from_slice(value);
                        text.extend_from_slice(b" 1");
                    }
                }
            }
            MacroWord::Undefine(name) => {
                text.extend_from_slice(b"#undef ");
                text.extend_from_slice(name.as_bytes());
            }
        }
        text.push(b'\n');
    }
    text
}

//! What the compiler says of itself in one situation (its flags, language, directories and environment), asked
//! once for as long as the compiler and the directories stay what they are.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use super::File;
use super::anywhere;
use super::ask::{self, Question, SearchPath, Subject};
use super::directive::{Directive, Step};
use super::disk::{Seen, Stamp, look};
use super::hash::Map;
use super::lines::Dialect;
use super::pool::MacroRef;
use super::store::{FileId, Store};
use super::symbol::{Symbol, Symbols, known};
use super::table::State;
use super::token::Token;
use super::unit::Resolutions;
use super::verdict::Verdicts;
use crate::sorted_map::SortedMap;

/// A file of an answer, and what it was made of: most answers have the same.
pub struct Listed {
    /// The file without links.
    pub real: Symbol,
    /// For the answer.
    pub file: Arc<File>,
}

impl Listed {
    /// Roughly the bytes that one takes, with two paths and its place in a map.
    const SIZE: usize = 2 * size_of::<(Symbol, Listed)>() + size_of::<File>() + 150;
}

/// One situation.
pub struct Setup {
    subject: Subject,
    settings: Vec<OsString>,
    /// The settings, and the options with directories.
    words: Vec<OsString>,
    /// How characters are read.
    pub dialect: Dialect,
    /// The predefined macros, as a file.
    pub predefined: FileId,
    /// The macros without definitions.
    pub builtins: Vec<Symbol>,
    /// The directories.
    pub search: SearchPath,
    /// The same as symbols, with a slash at the end.
    pub directories: Vec<Symbol>,
    /// Searches so far.
    pub resolutions: Resolutions,
    /// The files of answers so far, by their names.
    pub files: Map<Symbol, Listed>,
    /// The number of the unit at work.
    pub unit: u32,
    /// The directories that the compiler searches by itself.
    pub defaults: SearchPath,
    /// Headers that the compiler reads before anything else, as it would write them between `<` and `>`.
    pub preincluded: Vec<Vec<u8>>,
    /// C++, in which `and` is an operator.
    pub cplusplus: bool,
    /// clang, which names files by inode and looks for the next ones in its own way.
    pub clang: bool,
    /// Answers so far.
    pub answers: SortedMap<Question, Option<i64>>,
    /// What conditions came out as so far.
    pub verdicts: Verdicts,
    compiler: Seen,
    checked: Vec<(PathBuf, Option<(u64, u64)>)>,
}

impl Setup {
    /// Asks the compiler.
    pub fn ask(
        subject: Subject,
        settings: Vec<OsString>,
        search: &[OsString],
        store: &mut Store,
        symbols: &mut Symbols,
    ) -> Result<Setup, String> {
        let compiler = look(&subject.program);
        let checked = checked_directories(&subject, search);
        let account = ask::account(&subject, search, symbols)?;
        let mut plain = subject.clone();
        plain.environment.retain(|(name, _)| !DIRECTORY_VARIABLES.iter().any(|variable| name == variable));
        let (defaults, preincluded) = ask::search(&plain, &settings)?;
        let predefined = store.add_text(&account.predefined, account.dialect, symbols);
        let defines = |name: Symbol| {
            let named = |step: &Step| matches!(step.directive, Directive::Define(known, _) if known == name);
            store.lexed(predefined).steps.iter().any(named)
        };
        Ok(Setup {
            settings,
            words: search.to_vec(),
            dialect: account.dialect,
            predefined,
            builtins: account.builtins,
            directories: with_slashes(&account.search, symbols),
            resolutions: Resolutions::default(),
            files: Map::default(),
            unit: 0,
            search: account.search,
            defaults,
            preincluded,
            cplusplus: defines(known::CPLUSPLUS),
            clang: defines(known::CLANG_MACRO),
            answers: SortedMap::new(),
            verdicts: Verdicts::default(),
            compiler,
            checked,
            subject,
        })
    }

    /// Whether the compiler of `subject` says the same of itself as this one, but for the directories named to it.
    pub fn tells_of(&self, subject: &Subject, settings: &[OsString]) -> bool {
        let Subject { program, name, cwd: _, environment, language } = &self.subject;
        (program, name, environment, language)
            == (&subject.program, &subject.name, &subject.environment, &subject.language)
            && self.settings == settings
            && anywhere::words(settings)
            && anywhere::environment(subject)
            && look(program) == self.compiler
    }

    /// The same compiler as in `known`, which tells of this one, in another directory or with other directories: it is asked for
    /// no more than the way in which it searches those.
    pub fn beside(
        known: &Setup,
        subject: Subject,
        search: &[OsString],
        symbols: &mut Symbols,
    ) -> Result<Setup, String> {
        let checked = checked_directories(&subject, search);
        let is_same = known.words == search
            && known.checked == checked
            && anywhere::words(search)
            && anywhere::directory_variables(&subject);
        let path = if is_same { known.search.clone() } else { ask::search(&subject, search)?.0 };
        Ok(Setup {
            settings: known.settings.clone(),
            words: search.to_vec(),
            dialect: known.dialect,
            predefined: known.predefined,
            builtins: known.builtins.clone(),
            directories: with_slashes(&path, symbols),
            resolutions: Resolutions::default(),
            files: Map::default(),
            unit: 0,
            search: path,
            defaults: known.defaults.clone(),
            preincluded: known.preincluded.clone(),
            cplusplus: known.cplusplus,
            clang: known.clang,
            answers: known.answers.clone(),
            verdicts: Verdicts::default(),
            compiler: known.compiler,
            checked,
            subject,
        })
    }

    /// Whether the compiler and the directories named to it are what they were.
    pub fn is_valid(&self) -> bool {
        look(&self.subject.program) == self.compiler
            && self.checked.iter().all(|(path, known)| identity(path) == *known)
    }

    /// Asks what is not known yet, and on this occasion everything else that files may want to know.
    pub fn find_answers(
        &mut self,
        name: Symbol,
        argument: &[Token],
        store: &Store,
        symbols: &Symbols,
    ) -> Result<(), String> {
        let mut wanted = vec![(name, argument.to_vec())];
        let asks = |name: Symbol| self.builtins.contains(&name);
        let mut known = SortedMap::new();
        known.insert(ask::key(name, argument), ());
        for (name, argument) in store.questions().filter(|(name, _)| asks(*name)) {
            let argument = store.pool.tokens(argument);
            let key = ask::key(name, argument);
            if !self.answers.contains_key(&key) && known.insert(key, ()).is_none() {
                wanted.push((name, argument.to_vec()));
            }
        }
        for (question, value) in ask::answers(&self.subject, &self.settings, &wanted, symbols)? {
            self.answers.insert(question, value);
        }
        Ok(())
    }

    /// Roughly the bytes that it takes.
    pub fn size(&self) -> usize {
        4096 + self.resolutions.size() + self.files.len() * Listed::SIZE + self.verdicts.size()
    }

    /// Whether this is how the compiler itself defines a name.
    pub fn predefines(&self, name: Symbol, at: MacroRef, store: &Store) -> bool {
        let own = |step: &Step| step.directive == Directive::Define(name, at);
        store.lexed(self.predefined).steps.iter().any(own)
    }

    /// The macros at the beginning of a unit.
    pub fn macros<'a>(&'a self, store: &'a Store) -> impl Iterator<Item = (Symbol, State)> + 'a {
        let predefined = store.lexed(self.predefined).steps.iter().filter_map(|step| match step.directive {
            Directive::Define(name, at) => Some((name, State::Defined(at))),
            _ => None,
        });
        predefined.chain(self.builtins.iter().map(|&name| (name, State::Builtin)))
    }
}

/// Variables that name directories for headers.
pub const DIRECTORY_VARIABLES: [&str; 5] =
    ["CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "OBJC_INCLUDE_PATH", "OBJCPLUS_INCLUDE_PATH"];

fn with_slashes(search: &SearchPath, symbols: &mut Symbols) -> Vec<Symbol> {
    let with_slash = |directory: &Vec<u8>| {
        let slash: &[u8] = if directory.ends_with(b"/") { b"" } else { b"/" };
        symbols.intern(&[directory, slash].concat())
    };
    search.directories.iter().map(with_slash).collect()
}

/// The directories named to a compiler, and which ones they are now.
fn checked_directories(subject: &Subject, words: &[OsString]) -> Vec<(PathBuf, Option<(u64, u64)>)> {
    let named = named_directories(subject, words).into_iter();
    named
        .map(|path| {
            let identity = identity(&path);
            (path, identity)
        })
        .collect()
}

fn identity(path: &std::path::Path) -> Option<(u64, u64)> {
    match look(path) {
        Seen::Present(Stamp { identity, kind: super::disk::Kind::Directory, .. }) => Some(identity),
        _ => None,
    }
}

/// Everything in words and variables that may be a directory: whether it is there decides what the compiler
/// searches.
fn named_directories(subject: &Subject, words: &[OsString]) -> Vec<std::path::PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let mut named = Vec::new();
    let mut add = |bytes: &[u8]| {
        if !bytes.is_empty() && !bytes.starts_with(b"-") {
            named.push(subject.cwd.join(std::ffi::OsStr::from_bytes(bytes)));
        }
    };
    for word in words {
        let word = word.as_bytes();
        let options = ["-I", "-iquote", "-isystem", "-idirafter", "-iwithprefixbefore", "-iwithprefix"];
        match options.iter().rev().find_map(|option| word.strip_prefix(option.as_bytes())) {
            Some(value) => add(value),
            None => add(word),
        }
    }
    for (name, value) in &subject.environment {
        if DIRECTORY_VARIABLES.iter().any(|variable| name == variable) {
            value.as_bytes().split(|&byte| byte == b':').for_each(&mut add);
        }
    }
    named
}

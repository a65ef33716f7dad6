//! What a command line means to the preprocessor: the input, the macros, the files read before it, and the
//! words that decide what the compiler predefines and where it searches.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::language::{self, Language};
use super::local::Reason;
use super::options::{Effect, Need};
use super::parse::{What, items};

/// A `-D` or `-U`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MacroWord {
    /// The value of `-D`.
    Define(OsString),
    /// The value of `-U`.
    Undefine(OsString),
}

/// A file read before the input.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Preinclude {
    /// Only its macros count: `-imacros`.
    pub macros_only: bool,
    /// As it is written.
    pub name: OsString,
}

/// A command line as the preprocessor sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preprocessing {
    /// The source.
    pub input: OsString,
    /// Its language, as `-x` calls it.
    pub language: &'static str,
    /// In the order of the command line.
    pub macros: Vec<MacroWord>,
    /// In the order of the command line.
    pub preincludes: Vec<Preinclude>,
    /// Words, without the compiler, on which predefined macros or the default directories depend.
    pub settings: Vec<OsString>,
    /// The same and all words that name directories.
    pub search: Vec<OsString>,
}

/// Takes a command line apart; the error is why it cannot be done.
pub fn preprocessing(argv: &[OsString]) -> Result<Preprocessing, Reason> {
    let words: Vec<&[u8]> = argv.iter().map(|word| word.as_bytes()).collect();
    let words = with_handed_down(&words);
    let mut found = Found::default();
    for item in items(&words) {
        let whole = &words[item.at..item.at + item.words];
        match item.what {
            What::Operand => found.operand(item.word)?,
            What::Option(row, value) => found.option(row.spelling(), row.effect(), value, whole)?,
            What::ValueMissing => return Err(Reason::at(item.word, "lacks its value")),
            What::Unknown => return Err(Reason::at(item.word, "is not known")),
            What::Distrusted(why) => return Err(Reason::at(item.word, why)),
        }
    }
    found.finish()
}

/// The words behind `-Wp,` among the others, but for `-MD,FILE` and `-MMD,FILE`: FILE is no operand.
fn with_handed_down<'a>(words: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let mut all = Vec::with_capacity(words.len());
    for word in words {
        let Some(handed_down) = word.strip_prefix(b"-Wp,") else {
            all.push(*word);
            continue;
        };
        let mut parts = handed_down.split(|&byte| byte == b',');
        while let Some(part) = parts.next() {
            if matches!(part, b"-MD" | b"-MMD") {
                parts.next();
            } else {
                all.push(part);
            }
        }
    }
    all
}

#[derive(Default)]
struct Found<'a> {
    input: Option<&'a [u8]>,
    language: Option<Language>,
    macros: Vec<MacroWord>,
    preincludes: Vec<Preinclude>,
    settings: Vec<OsString>,
    search: Vec<OsString>,
}

fn own(bytes: &[u8]) -> OsString {
    OsStr::from_bytes(bytes).to_owned()
}

impl<'a> Found<'a> {
    fn operand(&mut self, word: &'a [u8]) -> Result<(), Reason> {
        if self.input.is_some() {
            return Err(Reason::at(word, "is a second input"));
        }
        self.input = Some(word);
        Ok(())
    }

    fn option(
        &mut self,
        spelling: &str,
        effect: Effect,
        value: &[u8],
        whole: &[&[u8]],
    ) -> Result<(), Reason> {
        match spelling {
            "-D" => self.macros.push(MacroWord::Define(own(value))),
            "-U" => self.macros.push(MacroWord::Undefine(own(value))),
            "-include" | "-imacros" => {
                self.preincludes.push(Preinclude { macros_only: spelling == "-imacros", name: own(value) });
            }
            "-I" if value == b"-" => return Err(Reason::at(b"-I-", "splits the search in a way of old")),
            "-I" | "-iquote" | "-isystem" | "-idirafter" | "-iprefix" | "-iwithprefix"
            | "-iwithprefixbefore" | "-isystem-after" | "-cxx-isystem" | "-iwithsysroot"
            | "-stdlib++-isystem" => self.search.extend(whole.iter().map(|word| own(word))),
            "-F"
            | "-iframework"
            | "-iframeworkwithsysroot"
            | "-ivfsoverlay"
            | "-remap"
            | "-traditional"
            | "-traditional-cpp"
            | "-A" => {
                return Err(Reason::at(spelling.as_bytes(), "changes how headers are found or read"));
            }
            "-x" => match language::of_name(value) {
                Some(kind) if !kind.preprocessed => self.language = Some(kind.language),
                _ => return Err(Reason::at(value, "is no language with headers")),
            },
            _ => self.other(effect, whole)?,
        }
        Ok(())
    }

    fn other(&mut self, effect: Effect, whole: &[&[u8]]) -> Result<(), Reason> {
        match effect {
            Effect::For(Need::Preprocess | Need::Both) | Effect::Architecture => {
                self.settings.extend(whole.iter().map(|word| own(word)));
                self.search.extend(whole.iter().map(|word| own(word)));
            }
            Effect::Local(why) => return Err(Reason::at(whole[0], why)),
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<Preprocessing, Reason> {
        let input = self.input.ok_or(Reason::at(b"the command", "has no input"))?;
        let kind = language::of_file(input);
        let language = match (self.language, kind) {
            (Some(language), _) => language,
            (None, Some(kind)) if !kind.preprocessed => kind.language,
            _ => return Err(Reason::at(input, "is no source with headers")),
        };
        Ok(Preprocessing {
            input: own(input),
            language: match language {
                Language::C => "c",
                Language::Cxx => "c++",
                Language::ObjC => "objective-c",
                Language::ObjCxx => "objective-c++",
            },
            macros: self.macros,
            preincludes: self.preincludes,
            settings: self.settings,
            search: self.search,
        })
    }
}

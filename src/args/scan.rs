//! The client's verdict on a command: a job for a server, or local and why.
//!
//! A job is remote only if every output can be made to come out as from a local compile, so whatever
//! is not understood stays local. Follows `client.md` 2.1 to 2.4 without the defects of its section
//! 10. A server of version 3.4 scans the words once more (`daemon.md` section 10): nothing sent may
//! look like a file to it except the source.

use super::deps::{self, Driver, Wishes};
use super::language::{self, Kind, Language, base_name};
use super::local::{Local, LocalSlot, Reason};
use super::options::{self, Effect, Need, Row};
use super::parse::{Item, What, items};
use super::strip::{Job, Part, Role};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Where a command is to run.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// A server can do it.
    Remote(Job),
    /// Only this machine can.
    Local(Local),
}

/// Judges a command; its first word is the compiler as the user calls it.
pub fn scan(argv: &[OsString]) -> Verdict {
    let words: Vec<&[u8]> = argv.iter().map(|word| word.as_bytes()).collect();
    match understand(argv, &words) {
        Ok(job) => Verdict::Remote(job),
        Err(reason) => Verdict::Local(Local { reason, slot: slot(&words), input: input(&words) }),
    }
}

fn understand(argv: &[OsString], words: &[&[u8]]) -> Result<Job, Reason> {
    let compiler = compiler(words)?;
    let assembly_only = asks_for_assembly(words)?;
    let mut scan = Scan { compiler, assembly_only, ..Scan::default() };
    for item in items(words) {
        scan.take(item)?;
    }
    let (input, kind) = scan.source()?;
    let derived;
    let output = match scan.output {
        Some(output) => output,
        None => {
            derived = derived_output(input, scan.assembly_only)?;
            &derived
        }
    };
    // One that is given has been looked at by the options' table; one that is made of `x/@a.c` has not.
    if output.starts_with(b"@") {
        return Err(Reason::at(output, "is an output that a server would take for the words in a file"));
    }
    // Gcc refuses, whatever the way to the file; a server's compiler has other names for both.
    if base_name(output) == base_name(input) {
        return Err(Reason::at(output, "is an output that may be the source itself"));
    }
    let dependencies = scan.wishes.plan(&deps::Job {
        compiler,
        input,
        preprocessed: kind.preprocessed,
        output,
        output_is_given: scan.output.is_some(),
    })?;
    Ok(Job {
        argv: argv.to_vec(),
        parts: scan.parts,
        input: OsStr::from_bytes(input).to_owned(),
        output: OsStr::from_bytes(output).to_owned(),
        output_is_given: scan.output.is_some(),
        kind,
        assembly_only: scan.assembly_only,
        dependencies,
        records_directory: scan.debugs && !scan.names_directory,
        split_file: scan.split_by.map(|word| split_file(word, output)).transpose()?,
    })
}

/// A compiler's name that a server can tell from a file or an option.
fn compiler<'a>(words: &[&'a [u8]]) -> Result<&'a [u8], Reason> {
    match words.first() {
        None | Some(&b"") => Err(Reason::whole("there is no compiler")),
        Some(word) if word.starts_with(b"-") => Err(Reason::at(word, "is no name for a compiler")),
        Some(word) if language::looks_like_file(word) => {
            Err(Reason::at(word, "is a compiler that looks like its own input or output"))
        }
        Some(word) => Ok(word),
    }
}

/// Settles what the command is for before anything else: "it links" is a better reason than the name
/// of the first library. `-S` wins over `-c`, as in the compilers.
fn asks_for_assembly(words: &[&[u8]]) -> Result<bool, Reason> {
    let (mut object, mut assembly) = (false, false);
    for item in items(words) {
        match item.what {
            What::Option(row, _) => match row.effect() {
                Effect::PreprocessOnly(why) => return Err(Reason::at(item.word, why)),
                Effect::Object => object = true,
                Effect::Assembly => assembly = true,
                _ => {}
            },
            What::Operand | What::ValueMissing | What::Unknown | What::Distrusted(_) => {}
        }
    }
    if object || assembly {
        Ok(assembly)
    } else {
        Err(Reason::whole("neither -c nor -S: this is not just a compile"))
    }
}

/// What has been understood so far.
#[derive(Default)]
struct Scan<'a> {
    compiler: &'a [u8],
    parts: Vec<Part>,
    input: Option<(&'a [u8], Kind)>,
    output: Option<&'a [u8]>,
    language: Option<Kind>,
    assembly_only: bool,
    has_architecture: bool,
    debugs: bool,
    names_directory: bool,
    /// The option that asks for a `.dwo`.
    split_by: Option<&'a [u8]>,
    wishes: Wishes<'a>,
}

impl<'a> Scan<'a> {
    fn take(&mut self, item: Item<'a>) -> Result<(), Reason> {
        let role = match item.what {
            What::Operand => self.operand(item.word),
            What::Option(row, value) => self.option(row, &item, value),
            What::ValueMissing => Err(Reason::at(item.word, "lacks its value")),
            What::Unknown => Err(Reason::at(item.word, "is an unknown option")),
            What::Distrusted(why) => Err(Reason::at(item.word, why)),
        }?;
        self.parts.push(Part { at: item.at, words: item.words, role });
        Ok(())
    }

    fn operand(&mut self, word: &'a [u8]) -> Result<Role, Reason> {
        let Some(kind) = language::of_file(word) else {
            return Err(Reason::at(word, why_no_source(word)));
        };
        if self.input.is_some() {
            return Err(Reason::at(word, "is a second source file"));
        }
        self.input = Some((word, kind));
        Ok(Role::Input)
    }

    fn option(&mut self, row: Row, item: &Item<'a>, value: &'a [u8]) -> Result<Role, Reason> {
        let word = item.word;
        match row.effect() {
            Effect::For(need) => self.plain(row, need, item, value),
            Effect::Object | Effect::Assembly => Ok(Role::Mode),
            Effect::PreprocessOnly(why) | Effect::Local(why) => Err(Reason::at(word, why)),
            Effect::MacroPaths => self.macro_paths(word),
            Effect::Output => self.output(word, value),
            Effect::Language => self.language(word, value),
            Effect::Architecture if self.has_architecture => {
                Err(Reason::at(value, "is a second architecture"))
            }
            Effect::Architecture => {
                self.has_architecture = true;
                self.plain(row, Need::Both, item, value)
            }
            Effect::DependencyWanted
            | Effect::DependencyFile
            | Effect::DependencyTarget
            | Effect::DependencyPhony => {
                self.wishes.note(row.effect(), word, value);
                Ok(Role::For(Need::Preprocess))
            }
            Effect::PreprocessorWords => {
                self.wishes.note_handed_down(word, value)?;
                Ok(Role::For(Need::Preprocess))
            }
            Effect::SplitDebugInfo => self.split(word),
            Effect::AssemblerWords if options::harmless_for_assembler(value) => Ok(Role::For(Need::Compile)),
            Effect::AssemblerWords => {
                Err(Reason::at(word, "holds words for the assembler that are not known to be harmless"))
            }
        }
    }

    fn split(&mut self, word: &'a [u8]) -> Result<Role, Reason> {
        if Driver::of(self.compiler) != Driver::Gcc {
            return Err(Reason::at(
                word,
                "puts debug information into a .dwo file, which is made here from a gcc's text only",
            ));
        }
        self.debugs = true;
        self.split_by = Some(word);
        Ok(Role::For(Need::Both))
    }

    fn plain(&mut self, row: Row, need: Need, item: &Item, value: &[u8]) -> Result<Role, Reason> {
        let stands_alone = item.words == 2 && matches!(need, Need::Compile | Need::Both);
        if stands_alone && language::looks_like_file(value) {
            return Err(Reason::at(value, "is a value that a server would take for a file"));
        }
        // Two compilers would share what comes once: the preprocessor, and the local one where a server fails.
        if options::names_header(row) && deps::is_special(value) && value != b"/dev/null" {
            return Err(Reason::at(item.word, "reads what may be a stream"));
        }
        self.debugs |= options::is_for_debugging(row);
        self.names_directory |= options::names_directory(row);
        Ok(Role::For(need))
    }

    fn macro_paths(&self, word: &[u8]) -> Result<Role, Reason> {
        match Driver::of(self.compiler) {
            Driver::Gcc => Ok(Role::For(Need::Both)),
            Driver::Clang => Ok(Role::For(Need::Preprocess)),
            Driver::Unknown => Err(Reason::at(
                word,
                "goes to a compiler as well if that is gcc, which the name of this one does not tell",
            )),
        }
    }

    fn output(&mut self, word: &'a [u8], value: &'a [u8]) -> Result<Role, Reason> {
        if self.output.is_some() {
            return Err(Reason::at(word, "names a second output"));
        }
        if deps::is_special(value) {
            return Err(Reason::at(value, "is an output, but not a file"));
        }
        self.output = Some(value);
        Ok(Role::Output)
    }

    fn language(&mut self, word: &[u8], value: &[u8]) -> Result<Role, Reason> {
        if self.language.is_some() {
            return Err(Reason::at(word, "names a second language"));
        }
        if self.input.is_some() {
            return Err(Reason::at(word, "names a language after the file it is for"));
        }
        match language::of_name(value) {
            Some(kind) if !kind.preprocessed => {
                self.language = Some(kind);
                Ok(Role::Language)
            }
            _ => Err(Reason::at(value, "is a language that is not sent to servers")),
        }
    }

    /// The one input, and what it is in the end.
    fn source(&self) -> Result<(&'a [u8], Kind), Reason> {
        let Some((input, by_extension)) = self.input else {
            return Err(Reason::whole("there is no source file"));
        };
        let base = base_name(input);
        if base.starts_with(b"conftest.") || base.starts_with(b"tmp.conftest.") {
            return Err(Reason::at(input, "is a configure script's trial"));
        }
        let kind = self.language.unwrap_or(by_extension);
        // Seen in clang 14's constant `.objc_source_file_name`; elsewhere it believes the line markers.
        if matches!(kind.language, Language::ObjC | Language::ObjCxx)
            && Driver::of(self.compiler) != Driver::Gcc
        {
            return Err(Reason::at(
                input,
                "is Objective-C, into which clang writes the name of the file that it reads",
            ));
        }
        Ok((input, kind))
    }
}

fn why_no_source(operand: &[u8]) -> &'static str {
    match operand {
        b"" => "is an empty word",
        b"-" => "is read from standard input",
        _ if operand.ends_with(b".s") || operand.ends_with(b".S") => "is assembler source",
        _ => "is no source file of a language that is sent to servers",
    }
}

fn derived_output(input: &[u8], assembly_only: bool) -> Result<Vec<u8>, Reason> {
    let stem = language::without_extension(base_name(input));
    if stem.is_empty() {
        return Err(Reason::at(input, "has no name to call an output after"));
    }
    let extension: &[u8] = if assembly_only { b".s" } else { b".o" };
    Ok([stem, extension].concat())
}

/// The `.dwo`, as gcc's driver calls it.
fn split_file(word: &[u8], output: &[u8]) -> Result<OsString, Reason> {
    let stem = language::without_extension(output);
    let name = [stem, b".dwo"].concat();
    if base_name(stem).is_empty() || name == output {
        return Err(Reason::at(word, "makes a .dwo file whose name cannot be told from the output's"));
    }
    Ok(OsStr::from_bytes(&name).to_owned())
}

fn slot(words: &[&[u8]]) -> LocalSlot {
    let only_preprocesses = items(words).any(|item| match item.what {
        What::Option(row, _) => matches!(row.effect(), Effect::PreprocessOnly(_)),
        _ => false,
    });
    if only_preprocesses { LocalSlot::Cpp } else { LocalSlot::Compile }
}

/// The first source, else the first operand.
fn input(words: &[&[u8]]) -> Option<OsString> {
    let operands = || items(words).filter(|item| matches!(item.what, What::Operand));
    let source = operands().find(|item| language::of_file(item.word).is_some());
    let guess = source.or_else(|| operands().next())?;
    Some(OsStr::from_bytes(guess.word).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(line: &str) -> Local {
        let argv: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        match scan(&argv) {
            Verdict::Local(local) => local,
            Verdict::Remote(job) => panic!("{line}: sent as {:?}", job.server_argv()),
        }
    }

    #[test]
    fn the_reason_names_the_word() {
        let reason = local("gcc -c -save-temps=obj a.c").reason;
        assert_eq!(reason.word(), Some(OsStr::new("-save-temps=obj")));
        assert_eq!(reason.to_string(), "-save-temps=obj: it keeps intermediate files");
    }

    #[test]
    fn the_source_is_never_written_over() {
        for line in ["gcc -c a.c -o a.c", "gcc -S ./a.c -o a.c", "g++ -c x/../b.i -oy/b.i"] {
            let reason = local(line).reason.to_string();
            assert!(reason.ends_with("may be the source itself"), "{line}: {reason}");
        }
    }

    #[test]
    fn no_output_stands_for_the_words_in_a_file() {
        let reason = local("gcc -c x/@a.c").reason;
        assert_eq!(reason.word(), Some(OsStr::new("@a.o")));
        let reason = local("gcc -c a.c -o @a.o").reason;
        assert_eq!(reason.word(), Some(OsStr::new("-o")));
    }

    #[test]
    fn streams_are_for_one_compiler() {
        for line in [
            "gcc -c a.c -include /dev/stdin",
            "gcc -c a.c -imacros/proc/self/fd/0",
            "gcc -c a.c -o /dev/full",
        ] {
            local(line);
        }
        for line in ["gcc -c a.c -include /dev/null", "gcc -MD -c a.c -include /dev/shm/a.h -o /dev/shm/a.o"]
        {
            let argv: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert!(matches!(scan(&argv), Verdict::Remote(_)), "{line}");
        }
    }

    #[test]
    fn what_the_command_is_for_decides_first() {
        assert_eq!(local("gcc a.o -lfoo -flto -o a").reason.word(), None);
        assert_eq!(local("gcc -v -E a.c").reason.word(), Some(OsStr::new("-E")));
    }

    #[test]
    fn preprocessing_counts_against_its_own_limit() {
        assert_eq!(local("gcc -E a.c").slot, LocalSlot::Cpp);
        assert_eq!(local("gcc -MM a.c").slot, LocalSlot::Cpp);
        assert_eq!(local("gcc -c -o -E a.s").slot, LocalSlot::Compile);
    }

    #[test]
    fn the_input_is_guessed_for_display() {
        let guess = |line| local(line).input.and_then(|input| input.into_string().ok());
        assert_eq!(guess("gcc x.o -I d a.c -o a"), Some("a.c".to_owned()));
        assert_eq!(guess("gcc -lm x.o y.o"), Some("x.o".to_owned()));
        assert_eq!(guess("gcc --version"), None);
    }

    #[test]
    fn no_words_are_local_too() {
        assert!(matches!(scan(&[]), Verdict::Local(_)));
    }
}

//! A job that can go to a server, and the two commands it is split into: preprocessing here, compiling
//! there. Each command gets only the words its half needs; the rest would at best draw warnings, at
//! worst name files that the other machine does not have.

use super::deps::{Driver, Plan};
use super::language::{self, Kind, Language};
use super::options::Need;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// One compilation that a server can do, with every output it will have.
#[derive(Clone, Debug)]
pub struct Job {
    pub(super) argv: Vec<OsString>,
    /// The words behind the compiler, in order.
    pub(super) parts: Vec<Part>,
    pub(super) input: OsString,
    pub(super) output: OsString,
    pub(super) output_is_given: bool,
    pub(super) kind: Kind,
    pub(super) assembly_only: bool,
    pub(super) dependencies: Option<Plan>,
    /// Whether debug information will name the directory the compiler runs in, unless told not to.
    pub(super) records_directory: bool,
    /// The file beside the object that gets the debug information.
    pub(super) split_file: Option<OsString>,
}

/// One option or operand of a job: which words of `argv`, and what for.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    pub at: usize,
    pub words: usize,
    pub role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `-c` or `-S`.
    Mode,
    Input,
    Output,
    Language,
    For(Need),
}

impl Job {
    /// The source file, as typed.
    pub fn input(&self) -> &OsStr {
        &self.input
    }

    /// The object (or, with `-S`, assembler) file, as typed or as the compiler would call it.
    pub fn output(&self) -> &OsStr {
        &self.output
    }

    /// The language the extension or `-x` says. A C++ driver takes C for C++ on both sides, whatever
    /// this says.
    pub fn language(&self) -> Language {
        self.kind.language
    }

    /// Whether there is nothing to preprocess.
    pub fn already_preprocessed(&self) -> bool {
        self.kind.preprocessed
    }

    /// Whether the output is assembler text.
    pub fn assembly_only(&self) -> bool {
        self.assembly_only
    }

    /// Whether a server is asked for assembler text.
    pub fn returns_assembly(&self) -> bool {
        self.assembly_only || self.split_file.is_some()
    }

    /// The `.dwo` file, which the text names; it is to be made here, unless only text is wanted.
    pub fn split_file(&self) -> Option<&OsStr> {
        self.split_file.as_deref()
    }

    /// The command as typed.
    pub fn argv(&self) -> &[OsString] {
        &self.argv
    }

    /// The dependency file that preprocessing will write.
    pub fn dependency_file(&self) -> Option<&OsStr> {
        self.dependencies.as_ref().map(|plan| plan.file.as_os_str())
    }

    /// Whether the preprocessed text has to name the directory that the compiler works in, for debug information.
    /// Gcc writes it there; clang is told by an option (see [`Job::server_argv_from`]).
    pub fn wants_directory_in_text(&self) -> bool {
        self.records_directory && self.driver() != Driver::Clang
    }

    /// Whether the compiler says less of preprocessed text: gcc takes what macros of system headers made for text of those
    /// headers (`-Wconversion-null`), where alone it sees who used them.
    pub fn loses_warnings(&self) -> bool {
        self.driver() == Driver::Gcc && !self.kind.preprocessed && self.language() == Language::Cxx
    }

    /// Whether file names that the text asks the compiler for (`__builtin_FILE()`) come out differently from
    /// preprocessed text: clang maps their paths only when it preprocesses itself.
    pub fn maps_paths_of_builtins(&self) -> bool {
        let maps = |word: &OsString| {
            [&b"-fmacro-prefix-map="[..], b"-ffile-prefix-map="]
                .iter()
                .any(|map| word.as_bytes().starts_with(map))
        };
        self.driver() == Driver::Clang && self.argv.iter().any(maps)
    }

    /// Whether the compiler's name says that it is a clang.
    pub fn is_of_clang(&self) -> bool {
        self.driver() == Driver::Clang
    }

    fn driver(&self) -> Driver {
        Driver::of(self.argv.first().map_or(&[][..], |compiler| compiler.as_bytes()))
    }

    /// The command that writes the preprocessed text to standard output, and the dependency file.
    pub fn preprocess_argv(&self) -> Vec<OsString> {
        let mut argv = self.compiler();
        let mut has_mode = false;
        for part in &self.parts {
            match part.role {
                Role::Mode if !has_mode => {
                    argv.push("-E".into());
                    has_mode = true;
                }
                // Clang complains of unused words for the linker, and does so in this half as well.
                Role::Input | Role::Language | Role::For(Need::Preprocess | Need::Both | Need::Link) => {
                    argv.extend_from_slice(self.words(part));
                }
                Role::Mode | Role::Output | Role::For(Need::Compile) => {}
            }
        }
        if let Some(plan) = &self.dependencies {
            argv.extend_from_slice(&plan.added);
        }
        argv
    }

    /// The command for the server, which puts its own file names for ours. It runs where the server
    /// likes; see [`Job::server_argv_from`].
    pub fn server_argv(&self) -> Vec<OsString> {
        let mut argv = self.compiler();
        for part in &self.parts {
            match part.role {
                Role::Mode if self.split_file.is_some() => argv.push("-S".into()),
                Role::Output if self.split_file.is_some() => argv.extend(["-o".into(), self.text_file()]),
                Role::Mode | Role::Input | Role::Output | Role::For(Need::Compile | Need::Both) => {
                    argv.extend_from_slice(self.words(part));
                }
                // Without this the server's compiler would preprocess once more.
                Role::Language => {
                    argv.extend(["-x".into(), self.kind.language.preprocessed_name().into()]);
                }
                Role::For(Need::Preprocess | Need::Link) => {}
            }
        }
        if !self.output_is_given {
            argv.extend(["-o".into(), self.text_file()]);
        }
        argv
    }

    /// What the server is told that it makes.
    fn text_file(&self) -> OsString {
        if self.split_file.is_none() || self.assembly_only {
            return self.output.clone();
        }
        let stem = language::without_extension(self.output.as_bytes());
        OsStr::from_bytes(&[stem, b".s"].concat()).to_owned()
    }

    /// The command that makes an object, and its `.dwo`, of assembler text on standard input.
    pub fn assemble_argv(&self, object: &Path) -> Vec<OsString> {
        let mut argv = self.compiler();
        for part in &self.parts {
            if let Role::For(Need::Compile | Need::Both) = part.role {
                argv.extend_from_slice(self.words(part));
            }
        }
        if self.is_of_clang() {
            // Which might be errors.
            argv.push("-Qunused-arguments".into());
        }
        argv.extend(["-c", "-x", "assembler", "-", "-o"].map(OsString::from));
        argv.push(object.into());
        argv
    }

    /// The command for the server, with debug information that names `directory`, where the client
    /// runs. Gcc finds that directory in the preprocessed text, clang has to be told.
    pub fn server_argv_from(&self, directory: &OsStr) -> Vec<OsString> {
        let mut argv = self.server_argv();
        if self.records_directory && self.driver() == Driver::Clang {
            let mut option = OsString::from("-fdebug-compilation-dir=");
            option.push(directory);
            argv.push(option);
        }
        argv
    }

    fn compiler(&self) -> Vec<OsString> {
        self.argv.iter().take(1).cloned().collect()
    }

    fn words(&self, part: &Part) -> &[OsString] {
        self.argv.get(part.at..part.at + part.words).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Verdict, scan};
    use super::*;

    fn job(line: &str) -> Job {
        let argv: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        match scan(&argv) {
            Verdict::Remote(job) => job,
            Verdict::Local(local) => panic!("{line}: {}", local.reason),
        }
    }

    fn line(words: Vec<OsString>) -> String {
        words.join(OsStr::new(" ")).into_string().unwrap()
    }

    #[test]
    fn each_half_gets_its_own_words() {
        let job = job("gcc -c -DX -I i -O2 -lm -isystem s -Wall -Wa,--noexecstack a.c -o b/a.o");
        assert_eq!(line(job.preprocess_argv()), "gcc -E -DX -I i -O2 -lm -isystem s -Wall a.c");
        assert_eq!(line(job.server_argv()), "gcc -c -O2 -Wall -Wa,--noexecstack a.c -o b/a.o");
    }

    #[test]
    fn an_output_is_always_named_to_the_server() {
        assert_eq!(line(job("gcc -c sub/a.c").server_argv()), "gcc -c sub/a.c -o a.o");
        assert_eq!(line(job("gcc -S sub/a.c").server_argv()), "gcc -S sub/a.c -o a.s");
        assert_eq!(line(job("gcc -oxx -c a.c").server_argv()), "gcc -oxx -c a.c");
    }

    #[test]
    fn the_server_gets_preprocessed_text() {
        let job = job("gcc -xc++ -c a.c");
        assert_eq!(line(job.preprocess_argv()), "gcc -xc++ -E a.c");
        assert_eq!(line(job.server_argv()), "gcc -x c++-cpp-output -c a.c -o a.o");
    }

    #[test]
    fn a_second_output_is_made_of_text() {
        let plain = job("gcc -c -g -O2 -DX -gsplit-dwarf -Wa,-L a.c -o b/x.y.o");
        assert_eq!(plain.split_file(), Some(OsStr::new("b/x.y.dwo")));
        assert_eq!(line(plain.server_argv()), "gcc -S -g -O2 -gsplit-dwarf -Wa,-L a.c -o b/x.y.s");
        let assembled = "gcc -g -O2 -gsplit-dwarf -Wa,-L -c -x assembler - -o b/x.y.o";
        assert_eq!(line(plain.assemble_argv(Path::new("b/x.y.o"))), assembled);
        assert_eq!(line(job("gcc -c -gsplit-dwarf a.c").server_argv()), "gcc -S -gsplit-dwarf a.c -o a.s");
    }

    #[test]
    fn only_clang_is_told_where_the_client_runs() {
        let told = " -fdebug-compilation-dir=/src";
        let from = |command: &str| line(job(command).server_argv_from(OsStr::new("/src")));
        assert!(from("/usr/bin/clang-14 -g -c a.c").ends_with(told));
        assert!(!from("clang -c a.c").ends_with(told));
        assert!(!from("clang -g -fdebug-compilation-dir=. -c a.c").ends_with(told));
        assert!(!from("gcc -g -c a.c").ends_with(told));
    }
}

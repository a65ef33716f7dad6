//! The server's side of the table: which words that some client sent may reach a compiler.
//!
//! An allow-list, because options can read and write any file and run any program (`daemon.md` W4).
//! Words with no meaning for preprocessed text are left out rather than refused, since stock clients
//! send many of them. File names are never used: the server puts its own in their places.
//!
//! Whether the compiler itself may run is decided elsewhere. What the *source* may do in spite of
//! harmless options (clang obeys `#include` in preprocessed text, gcc `#pragma GCC pch_preprocess`,
//! assemblers `.incbin`) is not for this module either.

use super::language::{self, Kind};
use super::local::Printable;
use super::options::{self, Effect, Row, Server};
use super::parse::{Item, What, items};
use super::pump::{Treatment, treatment};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;

/// A job whose words have been found harmless.
#[derive(Clone, Debug)]
pub struct ServerJob {
    compiler: Vec<u8>,
    words: Vec<Word>,
    input: Vec<u8>,
    output: Option<Vec<u8>>,
    kind: Kind,
    dependencies: Dependencies,
}

/// What a job in a root asks of its dependency file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Dependencies {
    /// By `-MD` or `-MMD`.
    wanted: bool,
    /// By any option; stock clients leave `-MD` out when the user's environment asks.
    mentioned: bool,
    has_target: bool,
}

/// Where a job that is preprocessed here finds the client's files, and leaves its own.
#[derive(Clone, Copy, Debug)]
pub struct Root<'a> {
    /// The directory that stands for the client's `/`.
    pub path: &'a OsStr,
    /// The object.
    pub output: &'a OsStr,
    /// The dependency file, if the client wants one.
    pub dependencies: &'a OsStr,
}

/// What goes to the compiler, in order.
#[derive(Clone, Debug)]
enum Word {
    Verbatim(Vec<u8>),
    Input,
    Output,
    /// An option, or nothing, and an absolute path that means one below the root.
    Rooted(Vec<u8>, Vec<u8>),
    /// The same if there is such a directory.
    Sysroot(Vec<u8>, Vec<u8>),
}

/// Why a job is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    culprit: Culprit,
    why: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Culprit {
    Option(Vec<u8>),
    Word(Vec<u8>),
    Command,
}

impl ServerJob {
    /// The compiler, as the client calls it.
    pub fn compiler(&self) -> &[u8] {
        &self.compiler
    }

    /// The client's name for the source: for logs.
    pub fn input_name(&self) -> &[u8] {
        &self.input
    }

    /// The client's name for the output, if it gave one: for logs.
    pub fn output_name(&self) -> Option<&[u8]> {
        self.output.as_deref()
    }

    /// The extension that tells a compiler what the client sent.
    pub fn preprocessed_extension(&self) -> &'static str {
        self.kind.language.preprocessed_extension()
    }

    /// The words behind the compiler, for these files.
    pub fn command(&self, input: &OsStr, output: &OsStr) -> Vec<OsString> {
        let mut command = Vec::with_capacity(self.words.len() + 2);
        for word in &self.words {
            match word {
                Word::Verbatim(word) => command.push(OsStr::from_bytes(word).to_owned()),
                Word::Input => command.push(input.to_owned()),
                Word::Output => command.extend(["-o".into(), output.to_owned()]),
                // Only in a root.
                Word::Rooted(..) | Word::Sysroot(..) => {}
            }
        }
        if self.output.is_none() {
            command.extend(["-o".into(), output.to_owned()]);
        }
        command
    }

    /// Whether a job in a root is to make a dependency file.
    pub fn wants_dependencies(&self) -> bool {
        self.dependencies.mentioned
    }

    /// The words behind the compiler for a job that [`check_in`] has accepted. The object and the messages come out
    /// as if `root` were `/`, but for the root's path in messages and dependency file; `is_dir` tells whether there is such a
    /// directory.
    pub fn command_in(&self, root: &Root, is_dir: impl Fn(&OsStr) -> bool) -> Vec<OsString> {
        let join = |parts: &[&[u8]]| OsStr::from_bytes(&parts.concat()).to_owned();
        let root_path = root.path.as_bytes();
        let mut command = vec![join(&[b"-ffile-prefix-map=", root_path, b"="])];
        for word in &self.words {
            match word {
                Word::Verbatim(word) => command.push(join(&[word])),
                Word::Input if self.input.starts_with(b"/") => command.push(join(&[root_path, &self.input])),
                Word::Input => command.push(join(&[&self.input])),
                Word::Output => command.extend(["-o".into(), root.output.to_owned()]),
                Word::Sysroot(option, path) if !is_dir(&join(&[root_path, path])) => {
                    command.push(join(&[option, path]));
                }
                Word::Rooted(option, path) | Word::Sysroot(option, path) => {
                    command.push(join(&[option, root_path, path]));
                }
            }
        }
        if self.output.is_none() {
            command.extend(["-o".into(), root.output.to_owned()]);
        }
        if self.dependencies.mentioned {
            if !self.dependencies.wanted {
                command.push("-MMD".into());
            }
            if !self.dependencies.has_target {
                command.extend(["-MQ".into(), join(&[&self.target()])]);
            }
            command.extend(["-MF".into(), root.dependencies.to_owned()]);
        }
        command
    }

    /// What the client's dependency file speaks of.
    fn target(&self) -> Vec<u8> {
        match &self.output {
            Some(output) => output.clone(),
            None => [language::without_extension(language::base_name(&self.input)), b".o"].concat(),
        }
    }
}

/// Judges the words of a request whose source the server preprocesses, in a directory `depth` below the client's `/`.
///
/// Nothing is written but the server's own files. What is *read* is not bounded by this: a source may include
/// what it likes. `specs` is as in [`check_with_specs`].
pub fn check_in(argv: &[Vec<u8>], depth: usize, specs: FindSpecs) -> Result<ServerJob, Refusal> {
    judge(argv, Check { depth: Some(depth), ..Check::default() }, specs)
}

/// Finds the specs file that a client's name for one means, if it may be used.
pub type FindSpecs<'a> = &'a dyn Fn(&[u8]) -> Option<OsString>;

/// Judges the words of a request; the first is the compiler.
pub fn check(argv: &[Vec<u8>]) -> Result<ServerJob, Refusal> {
    check_with_specs(argv, &|_| None)
}

/// The same, with `-specs=` for those files that `specs` finds: they take the place of the client's names.
pub fn check_with_specs(argv: &[Vec<u8>], specs: FindSpecs) -> Result<ServerJob, Refusal> {
    judge(argv, Check::default(), specs)
}

fn judge(argv: &[Vec<u8>], mut check: Check, specs: FindSpecs) -> Result<ServerJob, Refusal> {
    let words: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
    if let Some(word) = words.iter().find(|word| word.contains(&0)) {
        return Err(Refusal::word(word, "holds a null byte"));
    }
    let compiler = match words.first() {
        None | Some(&b"") => return Err(Refusal::whole("names no compiler")),
        Some(word) if word.starts_with(b"-") => {
            return Err(Refusal::word(word, "is no name for a compiler"));
        }
        Some(word) => word.to_vec(),
    };
    for item in items(&words) {
        if let Some(file) = specs_file(&item).and_then(specs) {
            check.words.push(Word::Verbatim([b"-specs=", file.as_bytes()].concat()));
            continue;
        }
        check.take(&item)?;
    }
    check.finish(compiler)
}

#[derive(Default)]
struct Check {
    /// Of the directory below the root, if the server preprocesses.
    depth: Option<usize>,
    dependencies: Dependencies,
    words: Vec<Word>,
    input: Option<(Vec<u8>, Kind)>,
    output: Option<Vec<u8>>,
    language: Option<Kind>,
    object: bool,
    assembly: bool,
    /// An option that is right with `-S` only.
    assembly_option: Option<(Vec<u8>, &'static str)>,
}

impl Check {
    fn take(&mut self, item: &Item) -> Result<(), Refusal> {
        let refuse = |why| Err(Refusal::option(item.word, why));
        match item.what {
            What::Operand => self.operand(item.word),
            What::Option(row, value) => self.option(row, item, value),
            What::ValueMissing => refuse("lacks its value"),
            What::Unknown => refuse("is not known to be harmless"),
            What::Distrusted(why) => refuse(why),
        }
    }

    fn operand(&mut self, word: &[u8]) -> Result<(), Refusal> {
        let Some(kind) = language::of_file(word) else {
            return Err(Refusal::word(word, "is no source file"));
        };
        if self.input.is_some() {
            return Err(Refusal::word(word, "is a second source file"));
        }
        if !self.is_below(word) {
            return Err(Refusal::word(word, LEADS_OUT));
        }
        self.input = Some((word.to_vec(), kind));
        self.words.push(Word::Input);
        Ok(())
    }

    fn option(&mut self, row: Row, item: &Item, value: &[u8]) -> Result<(), Refusal> {
        let refuse = |why| Err(Refusal::option(item.word, why));
        match row.effect() {
            Effect::Output if self.output.is_some() => return refuse("names a second output"),
            Effect::Output => {
                self.output = Some(value.to_vec());
                self.words.push(Word::Output);
                return Ok(());
            }
            Effect::Language => return self.language(item.word, value),
            Effect::Object => self.object = true,
            Effect::Assembly => self.assembly = true,
            Effect::AssemblerWords if !options::harmless_for_assembler(value) => {
                return refuse("holds words for the assembler that are not known to be harmless");
            }
            _ => {}
        }
        if row.server() == Server::AcceptAssembly {
            self.assembly_option.get_or_insert((item.word.to_vec(), why(row)));
        }
        if self.depth.is_some() {
            return self.option_in_root(row, item, value);
        }
        match row.server() {
            Server::Accept | Server::AcceptPath | Server::AcceptAssembly => self.keep(item, value),
            Server::Drop => {}
            Server::Refuse => return refuse(why(row)),
        }
        Ok(())
    }

    fn option_in_root(&mut self, row: Row, item: &Item, value: &[u8]) -> Result<(), Refusal> {
        let refuse = |why| Err(Refusal::option(item.word, why));
        let treatment = treatment(row, value);
        let is_kept = !matches!(treatment, Treatment::Drop | Treatment::DependencyFile);
        if item.words == 2 && is_kept && value.starts_with(b"-") {
            return refuse("has a value that looks like an option");
        }
        match treatment {
            Treatment::Refuse(why) => return refuse(why),
            Treatment::Drop => {}
            Treatment::Keep => self.keep(item, value),
            Treatment::DependencyFile => self.dependencies.mentioned = true,
            Treatment::Dependencies => {
                self.dependencies.mentioned = true;
                self.dependencies.wanted |= row.effect() == Effect::DependencyWanted;
                self.dependencies.has_target |= row.effect() == Effect::DependencyTarget;
                self.keep(item, value);
            }
            Treatment::Path | Treatment::Sysroot => {
                if !self.is_below(value) {
                    return refuse(LEADS_OUT);
                }
                if !value.starts_with(b"/") {
                    self.keep(item, value);
                    return Ok(());
                }
                let mut option = item.word.to_vec();
                if item.words == 1 {
                    option.truncate(item.word.len() - value.len());
                } else {
                    self.words.push(Word::Verbatim(std::mem::take(&mut option)));
                }
                let path = value.to_vec();
                self.words.push(match treatment {
                    Treatment::Path => Word::Rooted(option, path),
                    _ => Word::Sysroot(option, path),
                });
            }
            Treatment::PrefixMap => {
                self.keep(item, value);
                // The same for what has the root in front now.
                if value.starts_with(b"/") {
                    let option = item.word[..item.word.len() - value.len()].to_vec();
                    self.words.push(Word::Rooted(option, value.to_vec()));
                }
            }
        }
        Ok(())
    }

    /// Whether a path stays below the root, if there is one, by its text.
    fn is_below(&self, path: &[u8]) -> bool {
        let Some(depth) = self.depth else { return true };
        let mut depth = if path.starts_with(b"/") { 0 } else { depth as isize };
        path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".").all(|name| {
            depth += if name == b".." { -1 } else { 1 };
            depth >= 0
        })
    }

    fn keep(&mut self, item: &Item, value: &[u8]) {
        self.words.push(Word::Verbatim(item.word.to_vec()));
        if item.words == 2 {
            self.words.push(Word::Verbatim(value.to_vec()));
        }
    }

    /// Stock clients leave `-x c` as it is; the text is preprocessed all the same.
    fn language(&mut self, word: &[u8], value: &[u8]) -> Result<(), Refusal> {
        if self.language.is_some() || self.input.is_some() {
            return Err(Refusal::option(word, "is not the only one or stands behind the source"));
        }
        let Some(kind) = language::of_name(value) else {
            return Err(Refusal::word(value, "is a language that is not compiled here"));
        };
        let name = if self.depth.is_some() { value } else { kind.language.preprocessed_name().as_bytes() };
        self.words.push(Word::Verbatim(b"-x".to_vec()));
        self.words.push(Word::Verbatim(name.to_vec()));
        self.language = Some(kind);
        Ok(())
    }

    fn finish(self, compiler: Vec<u8>) -> Result<ServerJob, Refusal> {
        if !self.object && !self.assembly {
            return Err(Refusal::whole("has neither -c nor -S"));
        }
        if let (Some((word, why)), false) = (&self.assembly_option, self.assembly) {
            return Err(Refusal::option(word, why));
        }
        let Some((input, by_extension)) = self.input else {
            return Err(Refusal::whole("names no source file"));
        };
        Ok(ServerJob {
            compiler,
            words: self.words,
            input,
            output: self.output,
            kind: self.language.unwrap_or(by_extension),
            dependencies: self.dependencies,
        })
    }
}

const LEADS_OUT: &str = "leads out of the job's directory";

/// The name in `-specs=NAME`.
fn specs_file<'a>(item: &Item<'a>) -> Option<&'a [u8]> {
    let What::Option(row, value) = item.what else { return None };
    value.strip_prefix(b"=").filter(|_| ["-specs", "--specs"].contains(&row.spelling()))
}

fn why(row: Row) -> &'static str {
    match row.effect() {
        Effect::Local(why) | Effect::PreprocessOnly(why) => why,
        Effect::SplitDebugInfo => "puts debug information into a .dwo file beside the object",
        _ => "is not for a server",
    }
}

impl Refusal {
    fn option(word: &[u8], why: &'static str) -> Refusal {
        Refusal { culprit: Culprit::Option(word.to_vec()), why }
    }

    fn word(word: &[u8], why: &'static str) -> Refusal {
        Refusal { culprit: Culprit::Word(word.to_vec()), why }
    }

    fn whole(why: &'static str) -> Refusal {
        Refusal { culprit: Culprit::Command, why }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.culprit {
            Culprit::Option(word) => write!(f, "option {}", Printable(word))?,
            Culprit::Word(word) => write!(f, "word {}", Printable(word))?,
            Culprit::Command => f.write_str("the command")?,
        }
        write!(f, " is refused: it {}", self.why)
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_specs_file_is_the_one_that_was_found() {
        let argv = |option: &str| ["gcc", option, "-c", "a.c"].map(|word| word.as_bytes().to_vec());
        let find = |name: &[u8]| (name == b"nano.specs").then(|| "/root/nano.specs".into());
        for option in ["-specs=nano.specs", "--specs=nano.specs"] {
            let job = check_with_specs(&argv(option), &find).unwrap();
            assert_eq!(job.command("IN".as_ref(), "OUT".as_ref())[0], "-specs=/root/nano.specs");
        }
        for option in ["-specs=other.specs", "-specs=", "-specs"] {
            assert!(check_with_specs(&argv(option), &find).is_err(), "{option}");
        }
    }

    fn run(line: &str) -> Result<String, String> {
        let argv: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        let job = check(&argv).map_err(|refusal| refusal.to_string())?;
        let command = job.command("IN".as_ref(), "OUT".as_ref());
        Ok(command.join(OsStr::new(" ")).into_string().unwrap())
    }

    fn command(line: &str) -> String {
        run(line).unwrap_or_else(|refusal| panic!("{line}: {refusal}"))
    }

    fn refusal(line: &str) -> String {
        run(line).expect_err(line)
    }

    #[test]
    fn our_names_stand_in_place_of_theirs() {
        assert_eq!(command("gcc -c a.c -o a.o"), "-c IN -o OUT");
        assert_eq!(command("gcc -o/etc/passwd -O2 -c ../../a.c"), "-o OUT -O2 -c IN");
        assert_eq!(command("gcc -S a.c"), "-S IN -o OUT");
    }

    #[test]
    fn what_stock_clients_leave_in_is_left_out() {
        assert_eq!(
            command(
                "gcc -c -iquote q -isysroot / --sysroot=/ --sysroot / -include/etc/passwd -imacrosm \
                 -idirafterd -iprefixp -Xlinker -z -Xpreprocessor -DX -trigraphs -P -C -CC -H -A x=y \
                 -remap -F f -framework f -iframework f -T t -u s -z now a.c -o a.o"
            ),
            "-c IN -o OUT"
        );
        assert_eq!(command("gcc -c -Wp,-MD,/etc/x -MD -MF /x -MT y -MP a.c"), "-c IN -o OUT");
        assert_eq!(
            command("clang -c a.c -o a.o -target x86_64-pc-linux-gnu"),
            "-c IN -o OUT -target x86_64-pc-linux-gnu"
        );
        assert_eq!(
            command("gcc -c -flto=4 -fprofile-instr-generate a.c"),
            "-c -flto=4 -fprofile-instr-generate IN -o OUT"
        );
    }

    #[test]
    fn the_text_is_preprocessed_whatever_the_client_calls_it() {
        assert_eq!(command("gcc -x c++ -c a.c"), "-x c++-cpp-output -c IN -o OUT");
        assert_eq!(command("gcc -xc -c a.c"), "-x cpp-output -c IN -o OUT");
        assert_eq!(command("gcc -x cpp-output -c a.c"), "-x cpp-output -c IN -o OUT");
        assert!(refusal("gcc -x assembler-with-cpp -c a.c").contains("assembler-with-cpp"));
        assert!(refusal("gcc -x c-header -c a.c").contains("c-header"));
    }

    #[test]
    fn refusals_name_the_word_and_the_reason() {
        assert_eq!(
            refusal("gcc -c -fplugin=x.so a.c"),
            "option -fplugin=x.so is refused: it loads code into the compiler"
        );
        assert_eq!(refusal("gcc -E a.c"), "option -E is refused: it preprocesses only");
        assert_eq!(refusal("gcc -c -\n a.c"), "option -\\n is refused: it is not known to be harmless");
        assert_eq!(refusal("gcc a.c"), "the command is refused: it has neither -c nor -S");
    }

    #[test]
    fn the_evils_of_stock_servers() {
        for evil in [
            "-wrapper sh,-c",
            "-B.",
            "-B .",
            "--specs=x",
            "-specs=x",
            "@f",
            "-save-temps",
            "-dumpdir x",
            "-fdump-tree-all=x",
            "-Wa,-o,x",
            "-Wa,-alh",
            "-Wa,@f",
            "-Xassembler x",
            "-Xclang -load",
            "-mllvm -x",
            "-fprofile-use=x",
            "-include-pch x",
            "-fpch-preprocess",
            "-fno-preprocessed",
            "-fmodule-mapper=|sh",
            "-fverbose-asm",
            "-aux-info x",
            "-march=native",
            "-target ../x",
            "-target @f",
            "-arch -wrapper",
            "-fnew=/etc/passwd",
            "--config x",
            "-gsplit-dwarf",
            "-v",
            "-###",
            "-x none",
            "-",
            "--",
            "b.c",
            "b.o",
            "-o x -o y",
            "-o",
            "--frobnicate",
        ] {
            let line = format!("gcc -c a.c {evil}");
            assert!(run(&line).is_err(), "{line}");
        }
    }

    #[test]
    fn split_debug_information_travels_in_assembler_text() {
        assert_eq!(command("gcc -S -gsplit-dwarf a.c"), "-S -gsplit-dwarf IN -o OUT");
        assert!(refusal("gcc -c -gsplit-dwarf a.c").contains(".dwo"));
    }

    fn run_in(depth: usize, line: &str) -> Result<String, String> {
        let argv: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        let job = check_in(&argv, depth, &|_| None).map_err(|refusal| refusal.to_string())?;
        let root = Root { path: "/R".as_ref(), output: "OUT".as_ref(), dependencies: "DEPS".as_ref() };
        let command = job.command_in(&root, |dir| dir == "/R/sysroot");
        Ok(command.join(OsStr::new(" ")).into_string().unwrap())
    }

    #[test]
    fn in_a_root_absolute_paths_are_below_it() {
        let command = |line: &str| run_in(2, line).unwrap().replace("-ffile-prefix-map=/R= ", "");
        assert_eq!(
            command("gcc -c -I/i -I i -isystem /s -include/p.h -DX=/x -iwithprefix /x /w/a.c -o /w/a.o"),
            "-c -I/R/i -I i -isystem /R/s -include/R/p.h -DX=/x -iwithprefix /x /R/w/a.c -o OUT"
        );
        assert_eq!(command("gcc -c -x c++ a.c -lm -C -Xlinker -z"), "-c -x c++ a.c -lm -o OUT");
        assert_eq!(
            command("gcc -c --sysroot=/sysroot --sysroot /s a.c"),
            "-c --sysroot=/R/sysroot --sysroot /s a.c -o OUT"
        );
        assert_eq!(
            command("gcc -c -fdebug-prefix-map=/w=. -ffile-prefix-map=x=y a.c"),
            "-c -fdebug-prefix-map=/w=. -fdebug-prefix-map=/R/w=. -ffile-prefix-map=x=y a.c -o OUT"
        );
        assert!(run_in(2, "gcc -c a.c").unwrap().starts_with("-ffile-prefix-map=/R= "));
    }

    #[test]
    fn in_a_root_dependencies_are_the_clients() {
        let command = |line: &str| run_in(2, line).unwrap().replace("-ffile-prefix-map=/R= ", "");
        assert_eq!(command("gcc -c -MD -MF /etc/x a.c -o b/a.o"), "-c -MD a.c -o OUT -MQ b/a.o -MF DEPS");
        assert_eq!(command("gcc -c a.c -MT t"), "-c a.c -MT t -o OUT -MMD -MF DEPS");
        assert_eq!(command("gcc -c -MMD s/a.c"), "-c -MMD s/a.c -o OUT -MQ a.o -MF DEPS");
    }

    #[test]
    fn in_a_root_nothing_leads_out_of_it() {
        let good = ["-I..", "-I../..", "-I../../x", "-include ../../x.h", "-Ia/../../.."];
        assert!(good.iter().all(|word| run_in(2, &format!("gcc -c {word} a.c")).is_ok()));
        for bad in [
            "-I../../..",
            "-iquote ../../../x",
            "-include../../../etc/passwd",
            "-I/a/../../etc",
            "--sysroot=/..",
            "-isysroot ../../../",
            "../../../a.c",
            "/../a.c",
            "--gcc-toolchain=/t",
            "-ivfsoverlay x",
            "-Wp,-MD,/etc/x",
            "-Wp,-include,/etc/passwd",
            "-Xpreprocessor x",
            "-MT -fplugin=x",
            "-I -wrapper",
            "-isystem @f",
            "-B.",
            "-wrapper sh,-c",
            "-fplugin=x.so",
            "-save-temps",
            "-MG",
            "-fpreprocessed",
        ] {
            let line =
                if bad.ends_with(".c") { format!("gcc -c {bad}") } else { format!("gcc -c {bad} b.c") };
            assert!(run_in(2, &line).is_err(), "{line}");
        }
    }

    #[test]
    fn words_that_no_program_can_get() {
        assert!(check(&[]).is_err());
        assert!(check(&[b"gcc".to_vec(), b"-c".to_vec(), b"a\0.c".to_vec()]).is_err());
        assert!(refusal("-c -c a.c").contains("compiler"));
    }

    #[test]
    fn the_job_tells_what_it_is() {
        let argv = ["gcc", "-c", "sub/a.mm", "-o", "x.o"].map(|word| word.as_bytes().to_vec());
        let job = check(&argv).unwrap();
        assert_eq!(job.compiler(), b"gcc");
        assert_eq!(job.input_name(), b"sub/a.mm");
        assert_eq!(job.output_name(), Some(&b"x.o"[..]));
        assert_eq!(job.preprocessed_extension(), "mii");
    }
}

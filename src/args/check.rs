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
}

/// What goes to the compiler, in order.
#[derive(Clone, Debug)]
enum Word {
    Verbatim(Vec<u8>),
    Input,
    Output,
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
            }
        }
        if self.output.is_none() {
            command.extend(["-o".into(), output.to_owned()]);
        }
        command
    }
}

/// Finds the specs file that a client's name for one means, if it may be used.
pub type FindSpecs<'a> = &'a dyn Fn(&[u8]) -> Option<OsString>;

/// Judges the words of a request; the first is the compiler.
pub fn check(argv: &[Vec<u8>]) -> Result<ServerJob, Refusal> {
    check_with_specs(argv, &|_| None)
}

/// The same, with `-specs=` for those files that `specs` finds: they take the place of the client's names.
pub fn check_with_specs(argv: &[Vec<u8>], specs: FindSpecs) -> Result<ServerJob, Refusal> {
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
    let mut check = Check::default();
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
        self.input = Some((word.to_vec(), kind));
        self.words.push(Word::Input);
        Ok(())
    }

    fn option(&mut self, row: &Row, item: &Item, value: &[u8]) -> Result<(), Refusal> {
        let refuse = |why| Err(Refusal::option(item.word, why));
        match row.effect {
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
        match row.server {
            Server::Accept | Server::AcceptPath => self.keep(item, value),
            Server::AcceptAssembly => {
                self.assembly_option.get_or_insert((item.word.to_vec(), why(row)));
                self.keep(item, value);
            }
            Server::Drop => {}
            Server::Refuse => return refuse(why(row)),
        }
        Ok(())
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
        let name = kind.language.preprocessed_name();
        self.words.push(Word::Verbatim(b"-x".to_vec()));
        self.words.push(Word::Verbatim(name.as_bytes().to_vec()));
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
        })
    }
}

/// The name in `-specs=NAME`.
fn specs_file<'a>(item: &Item<'a>) -> Option<&'a [u8]> {
    let What::Option(row, value) = item.what else { return None };
    value.strip_prefix(b"=").filter(|_| ["-specs", "--specs"].contains(&row.spelling))
}

fn why(row: &Row) -> &'static str {
    match row.effect {
        Effect::Local(why) | Effect::PreprocessOnly(why) => why,
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

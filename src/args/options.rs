//! The one table of gcc and clang options: how each takes its value, what it means for a job, and
//! whether a server may run a compiler with it. Everything else in `args` reads this table and knows
//! no option by itself.
//!
//! Rows stand in byte order and the longest spelling that fits a word wins, so an exception to a
//! family (`-fplugin`, `-march=native`) is just a longer row. A word that no row fits is unknown:
//! the client then compiles locally and the server refuses.
//!
//! Facts: `client.md` sections 2 and 10, `daemon.md` sections 10 and 15 (W4), the option lists of gcc
//! 12 and clang 14, and trials of both.

/// How an option's value is attached to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// The word is the whole option.
    Alone,
    /// Every word that begins so; the rest, maybe empty, is the value.
    Joined,
    /// The next word is the value.
    Separate,
    /// The rest of the word is the value, or the next word if nothing is left.
    Either,
}

/// Which half of a split compile needs an option that travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Preprocess,
    Compile,
    Both,
    /// Neither: the linker would, and it does not run.
    Link,
}

/// What an option means for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    For(Need),
    /// `-c`.
    Object,
    /// `-S`.
    Assembly,
    /// `-E` and everything that implies it.
    PreprocessOnly(&'static str),
    /// `-o`.
    Output,
    /// `-x`.
    Language,
    /// `-fmacro-prefix-map=`: gcc needs it in both halves (`__builtin_FILE`), clang warns of it when
    /// there is nothing to preprocess.
    MacroPaths,
    /// `-arch`: the first is an ordinary option, a second one asks for a fat object.
    Architecture,
    /// `-MD`, `-MMD`.
    DependencyWanted,
    /// `-MF`.
    DependencyFile,
    /// `-MT`, `-MQ`.
    DependencyTarget,
    /// `-MP`.
    DependencyPhony,
    /// `-Wp,`: words for the preprocessor.
    PreprocessorWords,
    /// `-Wa,`: words for the assembler.
    AssemblerWords,
    /// `-gsplit-dwarf`: a second output, which gcc makes of the assembler's.
    SplitDebugInfo,
    /// Compile locally, because the option … (a phrase that reads on from "it").
    Local(&'static str),
}

/// What a server does with an option some client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// Hands it to the compiler, unless its value holds a `/`.
    Accept,
    /// Hands it to the compiler; a path in it is only ever recorded.
    AcceptPath,
    /// Hands it to the compiler with `-S` only: with `-c` a second output would be lost.
    AcceptAssembly,
    /// Leaves it out: it has no meaning for preprocessed text.
    Drop,
    /// Refuses the job: reads, writes or runs what is not the job's, or cannot give a right result.
    Refuse,
}

/// One option or family of options.
#[derive(Debug)]
pub struct Row {
    pub spelling: &'static str,
    pub attach: Attach,
    pub effect: Effect,
    pub server: Server,
}

/// Where the value of an option stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    None,
    /// In the same word, from this byte on.
    Joined(usize),
    /// In the next word.
    Next,
}

/// Finds the row for a word that begins with `-`, and where its value is: the longest spelling that the word may have.
pub fn lookup(word: &[u8]) -> Option<(&'static Row, Value)> {
    let (mut rows, mut stem) = (TABLE, word);
    while !stem.is_empty() {
        // In the order of the table, all that stands between a start of the word and the word begins with that start.
        let end = rows.partition_point(|row| row.spelling.as_bytes() <= stem);
        let (row, before) = rows[..end].split_last()?;
        let length = row.spelling.len();
        let common = row.spelling.bytes().zip(stem).take_while(|(ours, theirs)| ours == *theirs).count();
        if common < length {
            stem = &stem[..common];
        } else {
            let whole = length == word.len();
            match row.attach {
                Attach::Alone if whole => return Some((row, Value::None)),
                Attach::Separate | Attach::Either if whole => return Some((row, Value::Next)),
                Attach::Joined | Attach::Either => return Some((row, Value::Joined(length))),
                Attach::Alone | Attach::Separate => stem = &stem[..length - 1],
            }
        }
        rows = before;
    }
    None
}

/// How the table writes the row that decides for a word: `-save-...` for all that begin so.
pub fn rule(word: &[u8]) -> Option<String> {
    let (row, _) = lookup(word)?;
    let value = match row.attach {
        Attach::Alone => "",
        Attach::Joined => "...",
        Attach::Separate => " VALUE",
        Attach::Either => "[ ]VALUE",
    };
    Some(format!("{}{value}", row.spelling))
}

/// Why a value is not taken on trust, whatever its option: it might not be what it seems.
///
/// No harmless option of the families has a path in its value, so one with a path is likely to be
/// one of a compiler newer than this table, and the compiler opens it. A value that stands apart is
/// no value to a compiler that knows the option otherwise; then it must not be an option itself.
/// Compilers put the words of a file for `@file` wherever it stands.
pub fn distrust(row: &Row, value: &[u8], stands_apart: bool) -> Option<&'static str> {
    let is_kept = matches!(row.server, Server::Accept | Server::AcceptPath | Server::AcceptAssembly);
    if matches!(row.server, Server::Accept | Server::AcceptAssembly) && value.contains(&b'/') {
        Some("holds a path in a place that is not known to be harmless")
    } else if stands_apart && value.starts_with(b"@") {
        Some("has a value that stands for the words in a file")
    } else if stands_apart && is_kept && row.effect != Effect::Output && value.starts_with(b"-") {
        Some("has a value that looks like an option")
    } else {
        None
    }
}

/// Whether an option may put debug information into the object.
pub fn is_for_debugging(row: &Row) -> bool {
    row.spelling.starts_with("-g")
}

/// Whether an option names a file that is read before the source.
pub fn names_header(row: &Row) -> bool {
    matches!(row.spelling, "-imacros" | "-include")
}

/// Whether an option names the directory that debug information calls the compilation's.
pub fn names_directory(row: &Row) -> bool {
    matches!(row.spelling, "-fdebug-compilation-dir=" | "-ffile-compilation-dir=")
}

/// Whether every word behind `-Wp,` is a definition or a directory for headers.
pub fn harmless_for_preprocessor(words: &[u8]) -> bool {
    words.split(|&byte| byte == b',').all(|word| {
        word.len() > 2 && ["-D", "-U", "-I"].iter().any(|option| word.starts_with(option.as_bytes()))
    })
}

/// Whether every word behind `-Wa,` leaves the assembler with the source as its only input and the
/// object as its only output. None of them contains `,-a` or `--MD`, which a stock server refuses.
pub fn harmless_for_assembler(words: &[u8]) -> bool {
    words.split(|&byte| byte == b',').all(|word| {
        ASSEMBLER_WORDS.iter().any(|harmless| harmless.as_bytes() == word)
            || (word.starts_with(b"-m") && !word.contains(&b'/'))
            || word.starts_with(b"--compress-debug-sections=")
            || word.starts_with(b"--generate-missing-build-notes=")
    })
}

const ASSEMBLER_WORDS: &[&str] = &[
    "--32",
    "--64",
    "--compress-debug-sections",
    "--divide",
    "--execstack",
    "--fatal-warnings",
    "--keep-locals",
    "--no-warn",
    "--nocompress-debug-sections",
    "--noexecstack",
    "--warn",
    "--x32",
    "-L",
    "-W",
];

use Attach::{Alone, Either, Joined, Separate};
use Effect::{
    Architecture, AssemblerWords, Assembly, DependencyFile, DependencyPhony, DependencyTarget,
    DependencyWanted, For, Language, Local, MacroPaths, Object, Output, PreprocessOnly, PreprocessorWords,
    SplitDebugInfo,
};
use Need::{Both, Compile, Link, Preprocess};
use Server::{Accept, AcceptAssembly, AcceptPath, Drop, Refuse};

const COVERAGE: Effect = Local("writes or reads coverage or profile data");
const DEPENDENCIES: &str = "prints dependencies instead of compiling";
const DUMP: Effect = Local("writes dump files");
const ELSEWHERE: Effect = Local("takes parts of the compiler from another place");
const FIX_ITS: Effect = Local("shows places in the source, which preprocessing moves");
const LIST_FILE: Effect = Local("reads a list from a file");
const LOADS: Effect = Local("loads code into the compiler");
const LTO: Effect = Local("leaves the compiling to the linker");
const MODULES: Effect = Local("reads or writes compiled modules");
const NATIVE: Effect = Local("means this machine's processor, and the compiler has no other words for it");
const OFFLOAD: Effect = Local("runs the compilers of other targets");
const OTHER_TOOL: Effect = Local("hands words to another program unseen");
const PCH: Effect = Local("reads or writes precompiled headers");
const PREPROCESSED_TEXT: Effect = Local("changes what preprocessed text looks like");
const PRINTS: Effect = Local("prints more than a compile does");
const RECORDS: Effect = Local("records the command line in the object");
const SIDE_FILE: Effect = Local("writes a file beside the object");

const fn row(spelling: &'static str, attach: Attach, effect: Effect, server: Server) -> Row {
    Row { spelling, attach, effect, server }
}

#[rustfmt::skip]
static TABLE: &[Row] = &[
    row("-###", Alone, PRINTS, Refuse),
    row("--config", Either, Local("reads options from a file"), Refuse),
    row("--coverage", Alone, COVERAGE, Refuse),
    row("--driver-mode=", Joined, Local("makes the compiler another one"), Refuse),
    row("--end-no-unused-arguments", Alone, For(Both), Accept),
    row("--gcc-install-dir=", Joined, For(Preprocess), Drop),
    row("--gcc-toolchain=", Joined, For(Preprocess), Drop),
    row("--ld-path=", Joined, For(Link), Drop),
    row("--no-default-config", Alone, For(Both), Accept),
    row("--param", Separate, For(Compile), Accept),
    row("--param=", Joined, For(Compile), Accept),
    row("--rtlib=", Joined, For(Link), Drop),
    row("--save-temps", Joined, Local("keeps intermediate files"), Refuse),
    row("--serialize-diagnostics", Either, SIDE_FILE, Refuse),
    row("--specs", Either, Local("reads a specs file, which can run programs"), Refuse),
    row("--start-no-unused-arguments", Alone, For(Both), Accept),
    row("--std=", Joined, For(Both), Accept),
    row("--stdlib=", Joined, For(Preprocess), Drop),
    row("--sysroot", Separate, For(Preprocess), Drop),
    row("--sysroot=", Joined, For(Preprocess), Drop),
    row("--target=", Joined, For(Both), Accept),
    row("--unwindlib=", Joined, For(Link), Drop),
    row("-A", Either, For(Preprocess), Drop),
    row("-B", Either, ELSEWHERE, Refuse),
    row("-C", Alone, PREPROCESSED_TEXT, Drop),
    row("-CC", Alone, PREPROCESSED_TEXT, Drop),
    row("-D", Either, For(Preprocess), Drop),
    row("-E", Alone, PreprocessOnly("preprocesses only"), Refuse),
    row("-EB", Alone, For(Both), Accept),
    row("-EL", Alone, For(Both), Accept),
    row("-F", Either, For(Preprocess), Drop),
    row("-G", Either, For(Both), Accept),
    row("-H", Alone, Local("prints the headers it reads"), Drop),
    row("-I", Either, For(Preprocess), Drop),
    row("-L", Either, For(Link), Drop),
    row("-M", Alone, PreprocessOnly(DEPENDENCIES), Refuse),
    row("-MD", Alone, DependencyWanted, Drop),
    row("-MF", Either, DependencyFile, Drop),
    row("-MG", Alone, Local("takes missing headers for generated ones"), Drop),
    row("-MJ", Either, SIDE_FILE, Refuse),
    row("-MM", Alone, PreprocessOnly(DEPENDENCIES), Refuse),
    row("-MMD", Alone, DependencyWanted, Drop),
    row("-MP", Alone, DependencyPhony, Drop),
    row("-MQ", Either, DependencyTarget, Drop),
    row("-MT", Either, DependencyTarget, Drop),
    row("-MV", Alone, For(Preprocess), Drop),
    row("-O", Joined, For(Both), Accept),
    row("-ObjC", Joined, Local("sets the language of every input"), Refuse),
    row("-P", Alone, PREPROCESSED_TEXT, Drop),
    row("-Q", Alone, PRINTS, Refuse),
    row("-Qn", Alone, For(Compile), Accept),
    row("-Qunused-arguments", Alone, For(Both), Accept),
    row("-Qy", Alone, For(Compile), Accept),
    row("-S", Alone, Assembly, Accept),
    row("-T", Either, For(Link), Drop),
    row("-U", Either, For(Preprocess), Drop),
    row("-W", Joined, For(Both), Accept),
    row("-Wa,", Joined, AssemblerWords, AcceptPath),
    row("-Wdocumentation", Joined, Local("reads comments, which preprocessing takes away"), Accept),
    row("-Wl,", Joined, For(Link), Drop),
    row("-Wp,", Joined, PreprocessorWords, Drop),
    row("-Xassembler", Separate, OTHER_TOOL, Refuse),
    row("-Xclang", Separate, OTHER_TOOL, Refuse),
    row("-Xlinker", Separate, For(Link), Drop),
    row("-Xpreprocessor", Separate, OTHER_TOOL, Drop),
    row("-ansi", Alone, For(Both), Accept),
    row("-arch", Separate, Architecture, Accept),
    row("-aux-info", Either, SIDE_FILE, Refuse),
    row("-c", Alone, Object, Accept),
    row("-canonical-prefixes", Alone, For(Both), Accept),
    row("-coverage", Alone, COVERAGE, Refuse),
    row("-cxx-isystem", Either, For(Preprocess), Drop),
    row("-d", Joined, DUMP, Refuse),
    row("-dA", Alone, For(Compile), Accept),
    row("-dP", Alone, For(Compile), Accept),
    row("-dp", Alone, For(Compile), Accept),
    row("-dump", Joined, Local("names or prints the compiler's own files"), Refuse),
    row("-e", Separate, For(Link), Drop),
    row("-emit-llvm", Alone, Local("makes bitcode instead of an object"), Refuse),
    row("-f", Joined, For(Both), Accept),
    row("-fada-spec-parent=", Joined, DUMP, Refuse),
    row("-fapinotes", Joined, MODULES, Refuse),
    row("-fauto-profile", Joined, COVERAGE, Refuse),
    row("-fbasic-block-sections=list=", Joined, LIST_FILE, Refuse),
    row("-fbootclasspath=", Joined, ELSEWHERE, Refuse),
    row("-fbranch-probabilities", Alone, COVERAGE, Refuse),
    row("-fbuild-session-", Joined, MODULES, Refuse),
    row("-fbuiltin-module-map", Alone, MODULES, Refuse),
    row("-fcallgraph-info", Joined, SIDE_FILE, Refuse),
    row("-fcompare-debug", Joined, Local("compiles twice and compares"), Refuse),
    row("-fcompile-resource=", Joined, ELSEWHERE, Refuse),
    row("-fcondition-coverage", Alone, COVERAGE, Refuse),
    row("-fcoverage-compilation-dir=", Joined, For(Both), AcceptPath),
    row("-fcoverage-mapping", Alone, COVERAGE, Accept),
    row("-fcoverage-prefix-map=", Joined, For(Both), AcceptPath),
    row("-fcrash-diagnostics", Joined, Local("writes a report when the compiler fails"), Refuse),
    row("-fcreate-profile", Alone, COVERAGE, Refuse),
    row("-fcs-profile-", Joined, COVERAGE, Refuse),
    row("-fcxx-modules", Alone, MODULES, Refuse),
    row("-fdbg-cnt-list", Alone, PRINTS, Accept),
    row("-fdebug-compilation-dir=", Joined, For(Both), AcceptPath),
    row("-fdebug-cpp", Alone, PREPROCESSED_TEXT, Refuse),
    row("-fdebug-macro", Alone, Effect::Local("records macros, which preprocessing removes"), Accept),
    row("-fdebug-pass-", Joined, PRINTS, Accept),
    row("-fdebug-prefix-map=", Joined, For(Both), AcceptPath),
    row("-fdepfile-entry=", Joined, Local("adds to the dependency file"), Drop),
    row("-fdeps-", Joined, SIDE_FILE, Refuse),
    row("-fdiagnostics-absolute-paths", Alone, Local("prints paths of the machine that compiles"), Accept),
    row("-fdiagnostics-add-output=", Joined, SIDE_FILE, Refuse),
    row("-fdiagnostics-format=", Joined, Local("writes diagnostics that cannot be joined from two runs"), Refuse),
    row("-fdiagnostics-format=clang", Alone, For(Both), Accept),
    row("-fdiagnostics-format=json", Alone, Local("writes diagnostics that cannot be joined from two runs"), Accept),
    row("-fdiagnostics-format=json-stderr", Alone, Local("writes diagnostics that cannot be joined from two runs"), Accept),
    row("-fdiagnostics-format=msvc", Alone, For(Both), Accept),
    row("-fdiagnostics-format=text", Alone, For(Both), Accept),
    row("-fdiagnostics-format=vi", Alone, For(Both), Accept),
    row("-fdiagnostics-generate-patch", Alone, FIX_ITS, Accept),
    row("-fdiagnostics-parseable-fixits", Alone, FIX_ITS, Accept),
    row("-fdiagnostics-print-source-range-info", Alone, FIX_ITS, Accept),
    row("-fdiagnostics-set-output=", Joined, SIDE_FILE, Refuse),
    row("-fdirectives-only", Alone, PREPROCESSED_TEXT, Accept),
    row("-fdoc", Joined, SIDE_FILE, Refuse),
    row("-fdump", Joined, DUMP, Refuse),
    row("-fembed-bitcode", Joined, Local("puts the command line and bitcode into the object"), Accept),
    row("-fembed-offload-object", Joined, OFFLOAD, Refuse),
    row("-fexperimental-sanitize-metadata-ignorelist=", Joined, LIST_FILE, Refuse),
    row("-fextdirs", Joined, ELSEWHERE, Refuse),
    row("-ffile-compilation-dir=", Joined, For(Both), AcceptPath),
    row("-ffile-prefix-map=", Joined, For(Both), AcceptPath),
    row("-fhelp", Joined, PRINTS, Refuse),
    row("-filelist", Joined, LIST_FILE, Refuse),
    row("-fimplicit-module", Joined, MODULES, Refuse),
    row("-findex-", Joined, SIDE_FILE, Refuse),
    row("-finput-charset=", Joined, Local("recodes the source, which preprocessing has done already"), Drop),
    row("-finput-charset=UTF-8", Alone, For(Both), Accept),
    row("-finput-charset=utf-8", Alone, For(Both), Accept),
    row("-finstrument-functions-exclude-file-list=", Joined, For(Both), AcceptPath),
    row("-fira-verbose=", Joined, PRINTS, Accept),
    row("-fkeep-system-includes", Alone, PREPROCESSED_TEXT, Refuse),
    row("-flang-info-", Joined, PRINTS, Refuse),
    row("-flto", Joined, LTO, Accept),
    row("-fltrans", Joined, LTO, Refuse),
    row("-fmacro-prefix-map=", Joined, MacroPaths, AcceptPath),
    row("-fmem-report", Joined, PRINTS, Accept),
    row("-fmemory-profile-use=", Joined, COVERAGE, Refuse),
    row("-fminimize-whitespace", Alone, PREPROCESSED_TEXT, Drop),
    row("-fmodule", Joined, MODULES, Refuse),
    row("-fms-secure-hotpatch-functions-file=", Joined, LIST_FILE, Refuse),
    row("-fno-preprocessed", Alone, Local("reads the source as not preprocessed"), Refuse),
    row("-fno-working-directory", Alone, Local("leaves the directory out of preprocessed text"), Accept),
    row("-fno_pch", Joined, PCH, Refuse),
    row("-foffload", Joined, OFFLOAD, Refuse),
    row("-fopenmp-targets=", Joined, OFFLOAD, Refuse),
    row("-fopt-info", Joined, Local("reports on optimizations, into a file if told so"), Refuse),
    row("-foptimization-record-", Joined, SIDE_FILE, Refuse),
    row("-foutput-class-dir=", Joined, SIDE_FILE, Refuse),
    row("-fpass-plugin=", Joined, LOADS, Refuse),
    row("-fpath-coverage", Alone, COVERAGE, Refuse),
    row("-fpch", Joined, PCH, Refuse),
    row("-fplugin", Joined, LOADS, Refuse),
    row("-fpost-ipa-mem-report", Alone, PRINTS, Accept),
    row("-fpre-include=", Joined, ELSEWHERE, Refuse),
    row("-fpre-ipa-mem-report", Alone, PRINTS, Accept),
    row("-fprebuilt-", Joined, MODULES, Refuse),
    row("-fpreprocessed", Alone, Local("reads the source as preprocessed already"), Drop),
    row("-fproc-stat-report", Joined, Local("reports on the compiler itself, into a file if told so"), Refuse),
    row("-fprofile-", Joined, COVERAGE, Refuse),
    row("-fprofile-instr-generate", Joined, COVERAGE, AcceptPath),
    row("-framework", Separate, For(Link), Drop),
    row("-frandom-seed=", Joined, For(Both), AcceptPath),
    row("-frandomize-layout-seed-file=", Joined, LIST_FILE, Refuse),
    row("-frecord-command-line", Alone, RECORDS, Accept),
    row("-frecord-gcc-switches", Alone, RECORDS, Accept),
    row("-frepo", Alone, SIDE_FILE, Refuse),
    row("-freport-bug", Alone, Local("writes a report when the compiler fails"), Refuse),
    row("-fresolution=", Joined, LTO, Refuse),
    row("-frewrite-", Joined, PREPROCESSED_TEXT, Refuse),
    row("-fsanitize-blacklist=", Joined, LIST_FILE, Refuse),
    row("-fsanitize-coverage-allowlist=", Joined, LIST_FILE, Refuse),
    row("-fsanitize-coverage-blacklist=", Joined, LIST_FILE, Refuse),
    row("-fsanitize-coverage-ignorelist=", Joined, LIST_FILE, Refuse),
    row("-fsanitize-coverage-whitelist=", Joined, LIST_FILE, Refuse),
    row("-fsanitize-ignorelist=", Joined, LIST_FILE, Refuse),
    row("-fsanitize-system-", Joined, LIST_FILE, Refuse),
    row("-fsave-optimization-record", Joined, SIDE_FILE, Refuse),
    row("-fsched-verbose=", Joined, PRINTS, Accept),
    row("-fself-test", Joined, Local("tests the compiler itself"), Refuse),
    row("-fstack-usage", Alone, SIDE_FILE, Refuse),
    row("-fstats", Alone, PRINTS, Accept),
    row("-fsycl", Joined, OFFLOAD, Refuse),
    row("-fsyntax-only", Alone, Local("makes no object"), Refuse),
    row("-fsystem-module", Alone, MODULES, Refuse),
    row("-ftarget-help", Alone, PRINTS, Refuse),
    row("-ftest-coverage", Alone, COVERAGE, Refuse),
    row("-fthin", Joined, LTO, Refuse),
    row("-ftime-report", Joined, PRINTS, Accept),
    row("-ftime-trace", Joined, SIDE_FILE, Refuse),
    row("-fuse-ld=", Joined, For(Link), Drop),
    row("-fuse-line-directives", Alone, PREPROCESSED_TEXT, Refuse),
    row("-fvalidate-ast-", Joined, PCH, Refuse),
    row("-fverbose-asm", Alone, Local("copies source lines, looked up by name, into assembler text"), Refuse),
    row("-fvtv-counts", Alone, SIDE_FILE, Refuse),
    row("-fvtv-debug", Alone, SIDE_FILE, Refuse),
    row("-fwpa", Joined, LTO, Refuse),
    row("-fxray-always-instrument=", Joined, LIST_FILE, Refuse),
    row("-fxray-attr-list=", Joined, LIST_FILE, Refuse),
    row("-fxray-never-instrument=", Joined, LIST_FILE, Refuse),
    row("-g", Joined, For(Both), Accept),
    row("-gembed-source", Alone, Local("puts the source itself into the object"), Refuse),
    row("-gen-", Joined, SIDE_FILE, Refuse),
    row("-gmodules", Alone, MODULES, Refuse),
    row("-gnat", Joined, Local("is for Ada"), Refuse),
    row("-grecord-command-line", Alone, RECORDS, Accept),
    row("-gsplit-dwarf", Alone, SplitDebugInfo, AcceptAssembly),
    row("-gsplit-dwarf=", Joined, Local("puts debug information into a .dwo file beside the object"), AcceptAssembly),
    row("-ibuiltininc", Alone, For(Preprocess), Drop),
    row("-idirafter", Either, For(Preprocess), Drop),
    row("-iframework", Either, For(Preprocess), Drop),
    row("-iframeworkwithsysroot", Either, For(Preprocess), Drop),
    row("-imacros", Either, For(Preprocess), Drop),
    row("-imultiarch", Separate, For(Preprocess), Drop),
    row("-imultilib", Separate, For(Preprocess), Drop),
    row("-include", Either, For(Preprocess), Drop),
    row("-include-pch", Either, PCH, Refuse),
    row("-iprefix", Either, For(Preprocess), Drop),
    row("-iquote", Either, For(Preprocess), Drop),
    row("-iremap", Either, For(Preprocess), Drop),
    row("-isysroot", Either, For(Preprocess), Drop),
    row("-isystem", Either, For(Preprocess), Drop),
    row("-isystem-after", Either, For(Preprocess), Drop),
    row("-ivfsoverlay", Either, For(Preprocess), Drop),
    row("-iwithprefix", Either, For(Preprocess), Drop),
    row("-iwithprefixbefore", Either, For(Preprocess), Drop),
    row("-iwithsysroot", Either, For(Preprocess), Drop),
    row("-l", Either, For(Link), Drop),
    row("-m", Joined, For(Both), Accept),
    row("-march=native", Joined, NATIVE, Refuse),
    row("-mcpu=native", Joined, NATIVE, Refuse),
    row("-mdump-tune-features", Alone, PRINTS, Accept),
    row("-mlinker-version=", Joined, For(Link), Drop),
    row("-mllvm", Separate, OTHER_TOOL, Refuse),
    row("-mllvm=", Joined, OTHER_TOOL, Refuse),
    row("-module-", Joined, MODULES, Refuse),
    row("-mtune=native", Joined, NATIVE, Refuse),
    row("-no-canonical-prefixes", Alone, For(Both), Accept),
    row("-no-pie", Alone, For(Link), Drop),
    row("-nobuiltininc", Alone, For(Preprocess), Drop),
    row("-nodefaultlibs", Alone, For(Link), Drop),
    row("-nolibc", Alone, For(Link), Drop),
    row("-nopie", Alone, For(Link), Drop),
    row("-nostartfiles", Alone, For(Link), Drop),
    row("-nostdinc", Alone, For(Preprocess), Drop),
    row("-nostdinc++", Alone, For(Preprocess), Drop),
    row("-nostdlib", Alone, For(Link), Drop),
    row("-nostdlib++", Alone, For(Link), Drop),
    row("-nostdlibinc", Alone, For(Preprocess), Drop),
    row("-o", Either, Output, AcceptPath),
    row("-objcmt-", Joined, SIDE_FILE, Refuse),
    row("-object-file-name=", Joined, Local("names the object a second time"), Refuse),
    row("-p", Alone, For(Compile), Accept),
    row("-pass-exit-codes", Alone, Local("changes the exit status"), Drop),
    row("-pedantic", Alone, For(Both), Accept),
    row("-pedantic-errors", Alone, For(Both), Accept),
    row("-pg", Alone, For(Both), Accept),
    row("-pie", Alone, For(Link), Drop),
    row("-pipe", Alone, For(Both), Accept),
    row("-pthread", Alone, For(Both), Accept),
    row("-r", Alone, Local("links objects into one"), Refuse),
    row("-rdynamic", Alone, For(Link), Drop),
    row("-remap", Alone, For(Preprocess), Drop),
    row("-resource-dir", Either, ELSEWHERE, Refuse),
    row("-rpath", Separate, For(Link), Drop),
    row("-rtlib=", Joined, For(Link), Drop),
    row("-s", Alone, For(Link), Drop),
    row("-save-", Joined, Local("keeps intermediate files"), Refuse),
    row("-serialize-diagnostics", Either, SIDE_FILE, Refuse),
    row("-shared", Alone, For(Link), Drop),
    row("-shared-libgcc", Alone, For(Link), Drop),
    row("-shared-libsan", Alone, For(Link), Drop),
    row("-specs", Either, Local("reads a specs file, which can run programs"), Refuse),
    row("-static", Alone, For(Link), Drop),
    row("-static-libgcc", Alone, For(Link), Drop),
    row("-static-libsan", Alone, For(Link), Drop),
    row("-static-libstdc++", Alone, For(Link), Drop),
    row("-static-pie", Alone, For(Link), Drop),
    row("-std=", Joined, For(Both), Accept),
    row("-stdlib++-isystem", Either, For(Preprocess), Drop),
    row("-stdlib=", Joined, For(Preprocess), Drop),
    row("-symbolic", Alone, For(Link), Drop),
    row("-target", Separate, For(Both), Accept),
    row("-time", Either, PRINTS, Refuse),
    row("-traditional", Alone, For(Preprocess), Drop),
    row("-traditional-cpp", Alone, For(Preprocess), Drop),
    row("-trigraphs", Alone, For(Preprocess), Drop),
    row("-u", Either, For(Link), Drop),
    row("-undef", Alone, For(Preprocess), Drop),
    row("-unwindlib=", Joined, For(Link), Drop),
    row("-v", Alone, PRINTS, Refuse),
    row("-via-file-asm", Alone, SIDE_FILE, Refuse),
    row("-w", Alone, For(Both), Accept),
    row("-working-directory", Either, Local("compiles in another directory"), Refuse),
    row("-wrapper", Either, Local("runs the compiler through another program"), Refuse),
    row("-x", Either, Language, Accept),
    row("-z", Either, For(Link), Drop),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn spelling(word: &str) -> Option<&'static str> {
        lookup(word.as_bytes()).map(|(row, _)| row.spelling)
    }

    #[test]
    fn rows_are_sorted_and_unique() {
        for pair in TABLE.windows(2) {
            assert!(
                pair[0].spelling.as_bytes() < pair[1].spelling.as_bytes(),
                "{} stands before {}",
                pair[0].spelling,
                pair[1].spelling
            );
        }
    }

    #[test]
    fn the_longest_spelling_counts() {
        // As the table is read, word by word and without a search.
        let slow = |word: &[u8]| {
            let fits = |row: &&Row| {
                let spelling = row.spelling.as_bytes();
                match row.attach {
                    Alone | Separate => word == spelling,
                    Joined | Either => word.starts_with(spelling),
                }
            };
            TABLE.iter().filter(fits).max_by_key(|row| row.spelling.len()).map(|row| row.spelling)
        };
        let fast = |word: &[u8]| lookup(word).map(|(row, _)| row.spelling);
        for row in TABLE {
            for end in ["", "x", "=x", "-", "\u{7f}", "\0"] {
                let word = [row.spelling, end].concat();
                for length in 1..=word.len() {
                    let word = &word.as_bytes()[..length];
                    assert_eq!(fast(word), slow(word), "{}", String::from_utf8_lossy(word));
                }
            }
        }
        assert_eq!((fast(b"-"), fast(b"-\xff"), fast(b"")), (None, None, None));
    }

    #[test]
    fn what_a_server_refuses_a_client_never_sends() {
        for row in TABLE {
            let travels = !matches!(row.effect, Local(_) | PreprocessOnly(_));
            assert!(!(travels && row.server == Refuse), "{}", row.spelling);
            let unneeded = matches!(row.effect, For(Preprocess | Link));
            assert!(!unneeded || row.server == Drop, "{}", row.spelling);
            let needed = matches!(row.effect, For(Compile | Both));
            assert!(!needed || matches!(row.server, Accept | AcceptPath), "{}", row.spelling);
        }
    }

    #[test]
    fn longest_spelling_wins() {
        assert_eq!(spelling("-fplugin-arg-x-y"), Some("-fplugin"));
        assert_eq!(spelling("-fPIC"), Some("-f"));
        assert_eq!(spelling("-march=native"), Some("-march=native"));
        assert_eq!(spelling("-march=x86-64-v3"), Some("-m"));
        assert_eq!(spelling("-nostdinc++"), Some("-nostdinc++"));
        assert_eq!(spelling("-includefoo.h"), Some("-include"));
        assert_eq!(spelling("-include-pch"), Some("-include-pch"));
        assert_eq!(spelling("-MM"), Some("-MM"));
        assert_eq!(spelling("-MW"), None);
        assert_eq!(spelling("--version"), None);
        assert_eq!(spelling("-"), None);
        assert_eq!(spelling(""), None);
    }

    #[test]
    fn values_are_found_where_they_stand() {
        let value = |word: &str| lookup(word.as_bytes()).map(|(_, value)| value);
        assert_eq!(value("-DX=1"), Some(Value::Joined(2)));
        assert_eq!(value("-D"), Some(Value::Next));
        assert_eq!(value("-target"), Some(Value::Next));
        assert_eq!(value("-targets"), None);
        assert_eq!(value("-c"), Some(Value::None));
        assert_eq!(value("-O"), Some(Value::Joined(2)));
    }

    #[test]
    fn assembler_words() {
        assert!(harmless_for_assembler(b"--noexecstack"));
        assert!(harmless_for_assembler(b"-mrelax-relocations=no,--fatal-warnings"));
        assert!(!harmless_for_assembler(b"-alh=x.lst"));
        assert!(!harmless_for_assembler(b"--noexecstack,@file"));
        assert!(!harmless_for_assembler(b"-m/etc/passwd"));
        assert!(!harmless_for_assembler(b""));
    }
}

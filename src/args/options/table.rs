//! The rows, and how they are stored.
//!
//! They are written as people read them and stored as small as it gets: spellings one behind the other, numbers of one or two bytes,
//! and each effect once. With pointers they would be 15 kB, a fiftieth of the program; so they are 6.

use std::fmt;
use std::ops::Range;

use super::{Attach, Effect, Need, Server};

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

/// A row as it is written here.
struct Given {
    spelling: &'static str,
    attach: Attach,
    effect: Effect,
    server: Server,
}

const fn row(spelling: &'static str, attach: Attach, effect: Effect, server: Server) -> Given {
    Given { spelling, attach, effect, server }
}

#[rustfmt::skip]
const ROWS: &[Given] = &[
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

/// A row as it is stored.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stored {
    /// Where its spelling begins in [`SPELLINGS`].
    start: u16,
    len: u8,
    /// Its place in [`EFFECTS`].
    effect: u8,
    attach: Attach,
    server: Server,
}

/// One option or family of options.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Row(&'static Stored);

impl Row {
    /// The option, or what a family's begin with.
    pub fn spelling(self) -> &'static str {
        let start = usize::from(self.0.start);
        &SPELLINGS[start..start + usize::from(self.0.len)]
    }

    /// How the value is attached.
    pub fn attach(self) -> Attach {
        self.0.attach
    }

    /// What it means for a job.
    pub fn effect(self) -> Effect {
        EFFECTS[usize::from(self.0.effect)]
    }

    /// What a server does with it.
    pub fn server(self) -> Server {
        self.0.server
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(self.spelling())
    }
}

/// How many rows there are.
pub const COUNT: usize = ROWS.len();

/// The places of the rows that have this byte behind the first `-`.
pub fn beginning(second: u8) -> Range<usize> {
    match STARTS.get(usize::from(second)..usize::from(second) + 2) {
        Some([start, end]) => usize::from(*start)..usize::from(*end),
        _ => 0..0,
    }
}

/// The row at `at`, which is less than [`COUNT`], in the order of spellings.
pub fn get(at: usize) -> Row {
    Row(&STORED[at])
}

static STORED: [Stored; COUNT] = stored();

/// For each byte of ASCII, where the rows begin that have it, or a later one, behind the first `-`.
static STARTS: [u16; 129] = {
    let (mut starts, mut second, mut row) = ([0; 129], 0, 0);
    while second < starts.len() {
        while row < COUNT && (ROWS[row].spelling.as_bytes()[1] as usize) < second {
            row += 1;
        }
        starts[second] = row as u16;
        second += 1;
    }
    starts
};

static SPELLINGS: &str = match std::str::from_utf8(&BYTES) {
    Ok(text) => text,
    Err(_) => panic!("spellings are text"),
};

static EFFECTS: [Effect; DISTINCT] = effects();

const BYTES: [u8; length()] = {
    let (mut bytes, mut at, mut row) = ([0; length()], 0, 0);
    while row < COUNT {
        let spelling = ROWS[row].spelling.as_bytes();
        let mut byte = 0;
        while byte < spelling.len() {
            bytes[at] = spelling[byte];
            at += 1;
            byte += 1;
        }
        row += 1;
    }
    bytes
};

const fn length() -> usize {
    let (mut length, mut row) = (0, 0);
    while row < COUNT {
        length += ROWS[row].spelling.len();
        row += 1;
    }
    length
}

const fn stored() -> [Stored; COUNT] {
    let empty = Stored { start: 0, len: 0, effect: 0, attach: Alone, server: Drop };
    let (mut stored, mut start, mut distinct, mut row) = ([empty; COUNT], 0, 0, 0);
    while row < COUNT {
        let Given { spelling, attach, effect: _, server } = &ROWS[row];
        let first = first_alike(row);
        let effect = if first == row { distinct } else { stored[first].effect as usize };
        if first == row {
            distinct += 1;
        }
        let len = spelling.len();
        assert!(start <= u16::MAX as usize && len <= u8::MAX as usize && effect <= u8::MAX as usize);
        stored[row] = Stored {
            start: start as u16,
            len: len as u8,
            effect: effect as u8,
            attach: *attach,
            server: *server,
        };
        start += len;
        row += 1;
    }
    stored
}

const DISTINCT: usize = {
    let (mut distinct, mut row) = (0, 0);
    while row < COUNT {
        distinct += (first_alike(row) == row) as usize;
        row += 1;
    }
    distinct
};

const fn effects() -> [Effect; DISTINCT] {
    let (mut effects, mut distinct, mut row) = ([Object; DISTINCT], 0, 0);
    while row < COUNT {
        if first_alike(row) == row {
            effects[distinct] = ROWS[row].effect;
            distinct += 1;
        }
        row += 1;
    }
    effects
}

/// The first row that has the effect of this one.
const fn first_alike(row: usize) -> usize {
    let mut first = 0;
    while !is_same(ROWS[first].effect, ROWS[row].effect) {
        first += 1;
    }
    first
}

/// `==` for constants.
const fn is_same(one: Effect, other: Effect) -> bool {
    match (one, other) {
        (Local(one), Local(other)) | (PreprocessOnly(one), PreprocessOnly(other)) => {
            is_same_text(one.as_bytes(), other.as_bytes())
        }
        _ => number(one) == number(other),
    }
}

const fn is_same_text(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

/// Another one for each effect but for those with a text.
const fn number(effect: Effect) -> u8 {
    match effect {
        Local(_) => 0,
        PreprocessOnly(_) => 1,
        Object => 2,
        Assembly => 3,
        Output => 4,
        Language => 5,
        MacroPaths => 6,
        Architecture => 7,
        DependencyWanted => 8,
        DependencyFile => 9,
        DependencyTarget => 10,
        DependencyPhony => 11,
        PreprocessorWords => 12,
        AssemblerWords => 13,
        SplitDebugInfo => 14,
        For(need) => 15 + need as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_stored_as_they_are_written() {
        for (at, given) in ROWS.iter().enumerate() {
            let row = get(at);
            assert_eq!(row.spelling(), given.spelling);
            assert_eq!(
                (row.attach(), row.effect(), row.server()),
                (given.attach, given.effect, given.server)
            );
        }
        assert!(EFFECTS.len() < 80, "{} effects for {COUNT} rows", EFFECTS.len());
    }
}

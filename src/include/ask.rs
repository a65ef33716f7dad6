//! What only the compiler knows, asked of the compiler: its predefined macros, its search path, its lexical
//! habits, and the answers of `__has_builtin` and its kin.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::lines::Dialect;
use super::symbol::{Symbol, Symbols, known};
use super::token::Token;
use crate::sorted_map::SortedMap;

use crate::sys::file::{contains, in_memory};
use crate::sys::process::{self, Command, WaitStatus};

/// A compiler to be asked, and in what situation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The compiler's file.
    pub program: PathBuf,
    /// What it is called: drivers look at that.
    pub name: OsString,
    /// Where relative directories begin.
    pub cwd: PathBuf,
    /// Its whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// As `-x` calls it.
    pub language: &'static str,
}

/// What a compiler said of itself.
#[derive(Debug)]
pub struct Account {
    /// Its predefined macros as text, one `#define` a line.
    pub predefined: Vec<u8>,
    /// Macros that it has without a definition.
    pub builtins: Vec<Symbol>,
    /// How it reads characters.
    pub dialect: Dialect,
    /// Where it searches.
    pub search: SearchPath,
}

/// Directories in the order of the search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchPath {
    /// All of them; a search for `<…>` begins behind those for quotes only.
    pub directories: Vec<Vec<u8>>,
    /// How many are for quotes only.
    pub quote_only: usize,
}

/// The macros whose presence must be asked for, for the compiler does not list them.
const BUILTINS: &[Symbol] = &[
    known::FILE,
    known::FILE_NAME,
    known::BASE_FILE,
    known::LINE,
    known::COUNTER,
    known::DATE,
    known::TIME,
    known::TIMESTAMP,
    known::INCLUDE_LEVEL,
    known::HAS_INCLUDE,
    known::HAS_INCLUDE_NEXT,
    known::HAS_EMBED,
    known::HAS_ATTRIBUTE,
    known::HAS_CPP_ATTRIBUTE,
    known::HAS_C_ATTRIBUTE,
    known::HAS_DECLSPEC_ATTRIBUTE,
    known::HAS_BUILTIN,
    known::HAS_CONSTEXPR_BUILTIN,
    known::HAS_FEATURE,
    known::HAS_EXTENSION,
    known::HAS_WARNING,
    known::IS_IDENTIFIER,
    known::IS_TARGET_ARCH,
    known::IS_TARGET_VENDOR,
    known::IS_TARGET_OS,
    known::IS_TARGET_ENVIRONMENT,
    known::BUILDING_MODULE,
];

/// Whether a name, called like a function in a condition, is a question that only the compiler can answer.
pub fn is_question(name: Symbol) -> bool {
    BUILTINS.iter().position(|builtin| *builtin == name).is_some_and(|at| at >= 12)
}

/// The question that begins here: its argument, and how many tokens it has.
pub fn question(tokens: &[Token]) -> Option<(&[Token], usize)> {
    let [name, open, rest @ ..] = tokens else { return None };
    if !is_question(name.name()?) || !open.is(known::OPEN) {
        return None;
    }
    let mut depth = 0;
    let close = rest.iter().position(|token| {
        depth += i32::from(token.is(known::OPEN)) - i32::from(token.is(known::CLOSE));
        depth < 0
    })?;
    Some((&rest[..close], close + 3))
}

/// Asks for everything but answers to questions.
pub fn account(subject: &Subject, words: &[OsString], symbols: &mut Symbols) -> Result<Account, String> {
    let mut probe = Vec::from(LEXICAL_PROBE);
    for &builtin in BUILTINS {
        let name = String::from_utf8_lossy(symbols.spelling(builtin)).into_owned();
        probe.extend_from_slice(format!("#ifdef {name}\n#define {MARK}_has_{name} 1\n#endif\n").as_bytes());
    }
    let (out, err) = run(subject, words, &["-E", "-dM", "-v"], &probe)?;
    let mut predefined = Vec::with_capacity(out.len());
    let mut marks = Vec::new();
    for line in out.split(|&byte| byte == b'\n') {
        let rest = line.strip_prefix(b"#define ").unwrap_or_default();
        match rest.strip_prefix(MARK.as_bytes()) {
            Some(mark) => marks.push(mark.to_vec()),
            None => {
                predefined.extend_from_slice(line);
                predefined.push(b'\n');
            }
        }
    }
    let marked = |what: &str| marks.iter().any(|mark| mark.strip_suffix(b" 1") == Some(what.as_bytes()));
    let builtins = BUILTINS
        .iter()
        .copied()
        .filter(|&builtin| marked(&format!("_has_{}", String::from_utf8_lossy(symbols.spelling(builtin)))));
    let builtins = builtins.collect();
    let dialect = Dialect {
        trigraphs: marked("_trigraphs"),
        raw_strings: !marked("_no_raw"),
        line_comments: marked("_line_comments"),
        digit_separators: marked("_separators"),
    };
    Ok(Account { predefined, builtins, dialect, search: search_path(&err)? })
}

/// Asks for the search path, and for the headers that the compiler reads before anything else.
pub fn search(subject: &Subject, words: &[OsString]) -> Result<(SearchPath, Vec<Vec<u8>>), String> {
    let (out, err) = run(subject, words, &["-E", "-v"], b"")?;
    // `# 1 "/usr/include/stdc-predef.h" 1 3 4`
    let marker = |line: &[u8]| {
        let rest = line.strip_prefix(b"# 1 \"")?;
        let end = rest.iter().position(|&byte| byte == b'"')?;
        rest[end + 1..].starts_with(b" 1").then(|| crate::args::base_name(&rest[..end]).to_vec())
    };
    let preincluded = out.split(|&byte| byte == b'\n').filter_map(marker).collect();
    Ok((search_path(&err)?, preincluded))
}

/// Begins the name of every macro of our own.
const MARK: &str = "distcc_asks";

/// Text that says by what is defined in it how it was read.
const LEXICAL_PROBE: &[u8] = b"??=define distcc_asks_trigraphs 1
const char *distcc_asks = R\"(
#define distcc_asks_no_raw 1
)\";
#if 1 //**/ 2
#define distcc_asks_line_comments 1
#endif
#if defined __cplusplus ? __cplusplus >= 201402 : __STDC_VERSION__ > 202000
#define distcc_asks_separators 1
#endif
";

/// The directories between the compiler's marks.
fn search_path(err: &[u8]) -> Result<SearchPath, String> {
    let mut path = SearchPath::default();
    let mut inside = false;
    for line in err.split(|&byte| byte == b'\n') {
        match line {
            b"#include \"...\" search starts here:" => inside = true,
            b"#include <...> search starts here:" => {
                inside = true;
                path.quote_only = path.directories.len();
            }
            b"End of search list." => return Ok(path),
            _ if inside => {
                let directory = line.strip_prefix(b" ").unwrap_or(line);
                if directory.ends_with(b" (framework directory)") || directory.ends_with(b" (headermap)") {
                    return Err("searches frameworks or header maps".to_owned());
                }
                path.directories.push(directory.to_vec());
            }
            _ => {}
        }
    }
    Err("does not print where it searches for headers (option -v)".to_owned())
}

/// A question and the tokens of its argument.
pub type Question = (Symbol, Vec<Symbol>);

/// Asks for the values of questions. What has no answer has no value.
pub fn answers(
    subject: &Subject,
    words: &[OsString],
    questions: &[(Symbol, Vec<Token>)],
    symbols: &Symbols,
) -> Result<SortedMap<Question, Option<i64>>, String> {
    let mut probe = Vec::new();
    for (at, (name, argument)) in questions.iter().enumerate() {
        let mut call = symbols.spelling(*name).to_vec();
        if *name != known::HASH {
            call.push(b'(');
        }
        for token in argument {
            if token.spaced {
                call.push(b' ');
            }
            call.extend_from_slice(symbols.spelling(token.spelling));
        }
        if *name != known::HASH {
            call.push(b')');
        }
        for (which, value) in VALUES.iter().enumerate() {
            probe.extend_from_slice(if which == 0 { b"#if " } else { b"#elif " });
            probe.extend_from_slice(&call);
            probe.extend_from_slice(format!(" == {value}\n{MARK} {at} {value}\n").as_bytes());
        }
        probe.extend_from_slice(b"#endif\n");
    }
    // A question that is no good makes an error; the others are answered all the same.
    let (out, _) = match run(subject, words, &["-E", "-P", "-w"], &probe) {
        Ok(both) => both,
        Err(_) if questions.len() > 1 => {
            let (first, second) = questions.split_at(questions.len() / 2);
            let mut all = answers(subject, words, first, symbols)?;
            for (question, value) in answers(subject, words, second, symbols)? {
                all.insert(question, value);
            }
            return Ok(all);
        }
        Err(_) => (Vec::new(), Vec::new()),
    };
    let mut found = SortedMap::new();
    for (name, argument) in questions {
        found.insert(key(*name, argument), None);
    }
    for line in String::from_utf8_lossy(&out).lines() {
        let mut parts = line.split_whitespace();
        if parts.next() != Some(MARK) {
            continue;
        }
        let at = parts.next().and_then(|at| at.parse::<usize>().ok());
        if let (Some(question), Some(value)) = (at.and_then(|at| questions.get(at)), parts.next()) {
            found.insert(key(question.0, &question.1), value.parse().ok());
        }
    }
    Ok(found)
}

/// How answers are remembered.
pub fn key(name: Symbol, argument: &[Token]) -> Question {
    (name, argument.iter().map(|token| token.spelling).collect())
}

/// What `__has_attribute` and its kin may say: yes, no, and the dates of the standards' attributes.
const VALUES: &[i64] = &[
    0, 1, 200809, 201309, 201310, 201411, 201601, 201603, 201606, 201611, 201803, 201806, 201907, 201910,
    202003, 202106, 202202, 202207, 202211, 202306, 202311, 202403, 202406,
];

fn run(
    subject: &Subject,
    words: &[OsString],
    own: &[&str],
    input: &[u8],
) -> Result<(Vec<u8>, Vec<u8>), String> {
    let run = || -> io::Result<(WaitStatus, Vec<u8>, Vec<u8>)> {
        let mut stdin = in_memory(c"probe")?;
        stdin.write_all(input).and_then(|()| stdin.rewind())?;
        let (out, err) = (in_memory(c"answer")?, in_memory(c"messages")?);
        let pid = command(subject, words, own, [&stdin, &out, &err].map(AsFd::as_fd))?.spawn()?;
        let status = loop {
            match process::wait(pid) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                status => break status?,
            }
        };
        Ok((status, read_all(out)?, read_all(err)?))
    };
    let (status, out, err) =
        run().map_err(|e| format!("{} cannot be run: {e}", subject.program.display()))?;
    if !status.success() || contains(&err, b"unknown argument") {
        let text = String::from_utf8_lossy(&err);
        let last = text.lines().rev().find(|line| line.contains("error")).unwrap_or_default();
        return Err(format!("{} says nothing of itself: {last}", subject.program.display()));
    }
    Ok((out, err))
}

fn command<'a>(
    subject: &Subject,
    words: &[OsString],
    own: &[&str],
    stdio: [BorrowedFd<'a>; 3],
) -> io::Result<Command<'a>> {
    let c_string = |word: &OsStr| Ok::<_, io::Error>(CString::new(word.as_bytes())?);
    let language = ["-x", subject.language, "-"];
    let mut argv = vec![c_string(&subject.name)?];
    for word in words {
        argv.push(c_string(word)?);
    }
    for word in own.iter().chain(&language) {
        argv.push(c_string(OsStr::new(word))?);
    }
    let mut env = vec![c"LC_ALL=C".to_owned()];
    for (name, value) in &subject.environment {
        if name != "LC_ALL" {
            env.push(CString::new([name.as_bytes(), value.as_bytes()].join(&b'='))?);
        }
    }
    Ok(Command {
        program: c_string(subject.program.as_os_str())?,
        argv,
        env,
        stdio: stdio.map(Some),
        cwd: Some(c_string(subject.cwd.as_os_str())?),
        new_group: false,
        die_with_parent: false,
        leash: None,
        no_core: false,
        max_file_len: None,
        max_memory: None,
    })
}

fn read_all(mut file: File) -> io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut contents)?;
    Ok(contents)
}

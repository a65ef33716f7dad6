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

use std::ops::Range;

mod table;

pub use table::Row;

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
pub fn lookup(word: &[u8]) -> Option<(Row, Value)> {
    let (mut rows, mut stem) = (table::beginning(*word.get(1)?), word);
    while !stem.is_empty() {
        // In the order of the table, all that stands between a start of the word and the word begins with that start.
        rows.end = places_up_to(stem, &rows);
        rows.end = rows.end.checked_sub(1).filter(|last| *last >= rows.start)?;
        let row = table::get(rows.end);
        let spelling = row.spelling().as_bytes();
        let length = spelling.len();
        let common = spelling.iter().zip(stem).take_while(|(ours, theirs)| ours == theirs).count();
        if common < length {
            stem = &stem[..common];
        } else {
            let whole = length == word.len();
            match row.attach() {
                Attach::Alone if whole => return Some((row, Value::None)),
                Attach::Separate | Attach::Either if whole => return Some((row, Value::Next)),
                Attach::Joined | Attach::Either => return Some((row, Value::Joined(length))),
                Attach::Alone | Attach::Separate => stem = &stem[..length - 1],
            }
        }
    }
    None
}

/// Where those of the rows end that do not stand behind `stem`.
fn places_up_to(stem: &[u8], rows: &Range<usize>) -> usize {
    let Range { start: mut low, end: mut high } = *rows;
    while low < high {
        let middle = low.midpoint(high);
        if table::get(middle).spelling().as_bytes() <= stem { low = middle + 1 } else { high = middle }
    }
    low
}

/// How the table writes the row that decides for a word: `-save-...` for all that begin so.
pub fn rule(word: &[u8]) -> Option<String> {
    let (row, _) = lookup(word)?;
    let value = match row.attach() {
        Attach::Alone => "",
        Attach::Joined => "...",
        Attach::Separate => " VALUE",
        Attach::Either => "[ ]VALUE",
    };
    Some(format!("{}{value}", row.spelling()))
}

/// Why a value is not taken on trust, whatever its option: it might not be what it seems.
///
/// No harmless option of the families has a path in its value, so one with a path is likely to be
/// one of a compiler newer than this table, and the compiler opens it. A value that stands apart is
/// no value to a compiler that knows the option otherwise; then it must not be an option itself.
/// Compilers put the words of a file for `@file` wherever it stands.
pub fn distrust(row: Row, value: &[u8], stands_apart: bool) -> Option<&'static str> {
    let is_kept = matches!(row.server(), Server::Accept | Server::AcceptPath | Server::AcceptAssembly);
    if matches!(row.server(), Server::Accept | Server::AcceptAssembly) && value.contains(&b'/') {
        Some("holds a path in a place that is not known to be harmless")
    } else if stands_apart && value.starts_with(b"@") {
        Some("has a value that stands for the words in a file")
    } else if stands_apart && is_kept && row.effect() != Effect::Output && value.starts_with(b"-") {
        Some("has a value that looks like an option")
    } else {
        None
    }
}

/// Whether an option may put debug information into the object.
pub fn is_for_debugging(row: Row) -> bool {
    row.spelling().starts_with("-g")
}

/// Whether an option names a file that is read before the source.
pub fn names_header(row: Row) -> bool {
    matches!(row.spelling(), "-imacros" | "-include")
}

/// Whether an option names the directory that debug information calls the compilation's.
pub fn names_directory(row: Row) -> bool {
    matches!(row.spelling(), "-fdebug-compilation-dir=" | "-ffile-compilation-dir=")
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

#[cfg(test)]
mod tests {
    use super::Attach::{Alone, Either, Joined, Separate};
    use super::Effect::{For, Local, PreprocessOnly};
    use super::Need::{Both, Compile, Link, Preprocess};
    use super::Server::{Accept, AcceptPath, Drop, Refuse};
    use super::*;

    fn rows() -> impl Iterator<Item = Row> + Clone {
        (0..table::COUNT).map(table::get)
    }

    fn spelling(word: &str) -> Option<&'static str> {
        lookup(word.as_bytes()).map(|(row, _)| row.spelling())
    }

    #[test]
    fn rows_are_sorted_and_unique() {
        for (one, next) in rows().zip(rows().skip(1)) {
            assert!(one.spelling().as_bytes() < next.spelling().as_bytes(), "{one:?} stands before {next:?}");
        }
    }

    #[test]
    fn the_longest_spelling_counts() {
        // As the table is read, word by word and without a search.
        let slow = |word: &[u8]| {
            let fits = |row: &Row| {
                let spelling = row.spelling().as_bytes();
                match row.attach() {
                    Alone | Separate => word == spelling,
                    Joined | Either => word.starts_with(spelling),
                }
            };
            rows().filter(fits).max_by_key(|row| row.spelling().len()).map(|row| row.spelling())
        };
        let fast = |word: &[u8]| lookup(word).map(|(row, _)| row.spelling());
        for row in rows() {
            for end in ["", "x", "=x", "-", "\u{7f}", "\0"] {
                let word = [row.spelling(), end].concat();
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
        for row in rows() {
            let travels = !matches!(row.effect(), Local(_) | PreprocessOnly(_));
            assert!(!(travels && row.server() == Refuse), "{}", row.spelling());
            let unneeded = matches!(row.effect(), For(Preprocess | Link));
            assert!(!unneeded || row.server() == Drop, "{}", row.spelling());
            let needed = matches!(row.effect(), For(Compile | Both));
            assert!(!needed || matches!(row.server(), Accept | AcceptPath), "{}", row.spelling());
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

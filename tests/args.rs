//! Command lines as a whole: the golden corpus, and what must hold for any words at all.

use distcc::args::{LocalSlot, Verdict, check, rule, scan};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::Command;

use crate::util::Random;

fn words(line: &str) -> Vec<OsString> {
    line.split(' ').map(|word| if word == "''" { "".into() } else { word.into() }).collect()
}

fn line(words: &[OsString]) -> String {
    words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
}

fn bytes(words: &[OsString]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

/// What the corpus says of a command.
fn describe(command: &str) -> String {
    let mut text = String::new();
    match scan(&words(command)) {
        Verdict::Local(local) => {
            let slot = match local.slot {
                LocalSlot::Compile => "local",
                LocalSlot::Cpp => "cpp  ",
            };
            writeln!(text, "    {slot} {}", local.reason).unwrap();
        }
        Verdict::Remote(job) => {
            writeln!(text, "    pre   {}", line(&job.preprocess_argv())).unwrap();
            writeln!(text, "    srv   {}", line(&job.server_argv())).unwrap();
            if let Some(file) = job.dependency_file() {
                writeln!(text, "    deps  {}", file.to_str().unwrap()).unwrap();
            }
        }
    }
    text
}

/// Set to write the corpus as the scan has it now, for a look at the differences.
const BLESS: &str = "DISTCC_TEST_BLESS";

#[test]
fn golden_corpus() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/args/scan.txt");
    let corpus = std::fs::read_to_string(path).unwrap();
    let mut cases = 0;
    let mut blessed = String::new();
    for block in corpus.split("\n\n").map(|block| block.trim_matches('\n')) {
        let described = match block.lines().next() {
            Some(command) if !command.starts_with('#') => {
                cases += 1;
                format!("{command}\n{}", describe(command).trim_end_matches('\n'))
            }
            _ => block.to_owned(),
        };
        if std::env::var_os(BLESS).is_none() {
            assert_eq!(described, block);
        }
        blessed += &format!("{described}\n\n");
    }
    if std::env::var_os(BLESS).is_some() {
        std::fs::write(path, format!("{}\n", blessed.trim_end())).unwrap();
    }
    assert!(cases >= 300, "only {cases} cases");
}

/// The options that a compiler's own lists name: words that begin a line, without what stands for a value.
fn listed_options(lists: &[&[&str]]) -> Option<BTreeSet<String>> {
    let mut options = BTreeSet::new();
    for command in lists {
        let output = Command::new(command[0]).args(&command[1..]).env("LC_ALL", "C").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let listed = text.lines().filter_map(|line| {
            let word = line.strip_prefix("  ")?.split_ascii_whitespace().next()?;
            (line.starts_with("  -") && word.len() > 1).then_some(word)
        });
        options.extend(listed.map(|word| {
            let end = word.find(['<', '[', '{', ',']).unwrap_or(word.len());
            word[..end].to_owned()
        }));
    }
    Some(options)
}

/// Most options change only the code, and the table has one row for all that begin with `-f` or `-m`. What a new
/// compiler adds there may well write or read a file: each such option has been looked at once, and is in a list.
/// So has each option without a row, which keeps a compile local.
#[test]
fn every_option_of_the_compilers_has_been_looked_at() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/args/reviewed.txt");
    let reviewed = std::fs::read_to_string(path).unwrap();
    let reviewed: BTreeSet<&str> = reviewed.lines().filter(|line| !line.starts_with('#')).collect();
    let classes = [
        "common",
        "target",
        "optimizers",
        "c",
        "c++",
        "objc",
        "objc++",
        "joined",
        "separate",
        "undocumented",
    ];
    let classes = classes.map(|class| format!("--help={class}"));
    let mut gcc: Vec<[&str; 2]> = classes.iter().map(|class| ["gcc", class.as_str()]).collect();
    gcc.push(["gcc", "--help"]);
    let gcc: Vec<&[&str]> = gcc.iter().map(|words| &words[..]).collect();
    let mut new = Vec::new();
    for lists in [&gcc[..], &[&["clang", "--help-hidden"][..]]] {
        let Some(options) = listed_options(lists) else {
            assert!(std::env::var_os("CI").is_none(), "{} is missing: run tests/setup.sh test", lists[0][0]);
            eprintln!("SKIPPED: the options of {}; run tests/setup.sh test", lists[0][0]);
            continue;
        };
        assert!(options.len() > 500, "only {} options", options.len());
        for option in options {
            // A value, for options that want one in the same word.
            let word = if option.ends_with('=') { format!("{option}x") } else { option.clone() };
            let is_family = |rule: &str| matches!(rule, "-f..." | "-g..." | "-m...");
            if rule(word.as_bytes()).is_none_or(|rule| is_family(&rule)) && !reviewed.contains(&*option) {
                new.push(option);
            }
        }
    }
    assert!(
        new.is_empty(),
        "Does one of these write or read a file, or print something? Then it needs a row in src/args/options.rs. The \
         others go into {path}:\n{}",
        new.join("\n")
    );
}

/// A stock 3.4 server's scan of the words it is sent (`daemon.md` section 10), as far as words can
/// make it refuse.
fn stock_server_accepts(argv: &[Vec<u8>]) -> bool {
    let is_source = |word: &[u8]| {
        let extension = word.rsplit(|&byte| byte == b'.').next().filter(|it| it.len() < word.len());
        extension.is_some_and(|extension| {
            let sources = "i ii c cc cpp cxx cp c++ C m mm mi mii M";
            sources.split(' ').any(|source| source.as_bytes() == extension)
        })
    };
    let (mut compiles, mut inputs, mut outputs) = (false, 0, 0);
    let mut at = 0;
    while let Some(word) = argv.get(at) {
        let text = String::from_utf8_lossy(word);
        let next = argv.get(at + 1).map(|next| String::from_utf8_lossy(next));
        let profile = ["-fprofile-generate", "-fprofile-use", "-fauto-profile", "-fplugin="];
        let refused = [
            "-E",
            "-march=native",
            "-mtune=native",
            "-flto",
            "-fprofile-arcs",
            "-ftest-coverage",
            "--coverage",
            "-fprofile-correction",
            "-frepo",
        ];
        let languages = ["c", "objective-c", "go"];
        match &*text {
            "-MF" | "-MT" | "-MQ" => at += 1,
            "-c" | "-S" => compiles = true,
            "-o" => {
                outputs += 1;
                at += 1;
            }
            word if refused.contains(&word) => return false,
            word if profile.iter().any(|start| word.starts_with(start)) => return false,
            word if word.starts_with("-M") && !word.starts_with("-MD") => return false,
            word if word.starts_with("-specs=") || word.starts_with("-dr") => return false,
            word if word.starts_with("-Wa,") && (word.contains(",-a") || word.contains("--MD")) => {
                return false;
            }
            word if word.starts_with("-x")
                && next.is_some_and(|next| !languages.iter().any(|it| next.starts_with(it))) =>
            {
                return false;
            }
            word if word.starts_with("-o") => outputs += 1,
            word if word.starts_with('-') && at > 0 => {}
            _ if text.starts_with('-') => return false,
            _ if is_source(word) => inputs += 1,
            _ if word.ends_with(b".o") => outputs += 1,
            _ => {}
        }
        at += 1;
    }
    compiles && inputs == 1 && outputs == 1
}

const VOCABULARY: &[&str] = &[
    "-c",
    "-S",
    "-E",
    "-o",
    "-ox.o",
    "-o",
    "x.o",
    "dir/y",
    "a.c",
    "sub/b.cc",
    "a.i",
    "z.s",
    "-",
    "--",
    "",
    "@f",
    "-x",
    "c",
    "c++",
    "-xc",
    "none",
    "cpp-output",
    "-MD",
    "-MMD",
    "-MF",
    "-MFx.d",
    "-MT",
    "-MQt",
    "-MP",
    "-MG",
    "-M",
    "-MM",
    "-MJ",
    "-Wp,-MD,w.d",
    "-Wp,-DX",
    "-Wp,-MMD,x,-DY",
    "-Wp,",
    "-Wa,-alh",
    "-Wa,--noexecstack",
    "-Wa,",
    "-Wl,-z,now",
    "-D",
    "-DX",
    "-I",
    "-Ii",
    "-include",
    "f.c",
    "-L",
    "-l",
    "-lm",
    "-g",
    "-g3",
    "-O2",
    "-O",
    "-fPIC",
    "-fplugin=p",
    "-fprofile-use",
    "-flto",
    "-save-temps",
    "-gsplit-dwarf",
    "-march=native",
    "-mcpu=x",
    "-target",
    "x86_64-linux-gnu",
    "x.o/../y",
    "-arch",
    "--param",
    "a=b",
    "-Xclang",
    "-Xlinker",
    "-load",
    "-pipe",
    "-std=c11",
    "-frandom-seed=a/b.c",
    "-fnew=/x",
    "-B",
    "--sysroot=/",
    "-isysroot",
    "/",
    "-T",
    "script.c",
    "-u",
    "-z",
    "-dr",
    "-dA",
    "-w",
    "-wrapper",
    "--frob",
    "-###",
    "-v",
    "\u{7f}\n",
    "conftest.c",
    "-fdebug-prefix-map=/a=/b",
    "-iquote",
    "-isystemx",
    "-e",
    "main",
    "-G",
    "-meabi",
    "x.M",
    "-p",
    "-F",
    "-framework",
    "-f",
    "-m",
];

const COMPILERS: &[&str] = &["gcc", "clang", "cc", "/usr/bin/g++", "a.c", "", "-c", "x.o"];

fn random_argv(random: &mut Random) -> Vec<OsString> {
    let compilers = if random.below(8) == 0 { COMPILERS.len() } else { 4 };
    let mut argv: Vec<OsString> = vec![COMPILERS[random.below(compilers)].into()];
    if random.below(4) > 0 {
        argv.extend(["-c".into(), "a.c".into()]);
    }
    for _ in 0..random.below(9) {
        let mut word = VOCABULARY[random.below(VOCABULARY.len())].as_bytes().to_vec();
        if random.below(40) == 0 {
            word.insert(random.below(word.len() + 1), random.below(255) as u8 + 1);
        }
        let at = 1 + random.below(argv.len());
        argv.insert(at, OsString::from_vec(word));
    }
    argv.truncate(random.below(32).max(3));
    argv
}

/// Words that have no business in a compile of preprocessed text, wherever they stand alone.
fn is_for_the_other_half(word: &[u8]) -> bool {
    let starts = ["-D", "-U", "-I", "-L", "-l", "-M", "-i", "-Wp,", "-Wl,", "-E", "-T", "--sysroot"];
    starts.iter().any(|start| word.starts_with(start.as_bytes()))
}

#[test]
fn what_a_client_sends_a_server_takes() {
    let mut random = Random::new(0x9e37_79b9_7f4a_7c15);
    let mut remote = 0;
    for _ in 0..60_000 {
        let argv = random_argv(&mut random);
        // The server's side has to take anything as well, whoever sends it.
        let checked = check(&bytes(&argv));
        if let Err(refusal) = &checked {
            assert!(!refusal.to_string().contains(char::is_control));
        }
        let job = match scan(&argv) {
            Verdict::Remote(job) => job,
            Verdict::Local(local) => {
                assert!(!local.reason.to_string().contains(char::is_control));
                continue;
            }
        };
        remote += 1;
        let sent = bytes(&job.server_argv_from("/src".as_ref()));
        assert!(stock_server_accepts(&sent), "{argv:?} sent as {:?}", job.server_argv());
        let checked = check(&sent).unwrap_or_else(|refusal| panic!("{argv:?}: {refusal}"));
        assert_eq!(checked.input_name(), job.input().as_bytes());
        // Of a `.dwo` and its object the server makes the text.
        if job.split_file().is_none() {
            assert_eq!(checked.output_name(), Some(job.output().as_bytes()));
        }
        let language = job.language().preprocessed_extension();
        assert_eq!(checked.preprocessed_extension(), language, "{argv:?}");

        let command = bytes(&checked.command("IN".as_ref(), "OUT".as_ref()));
        assert!(command.iter().all(|word| !is_for_the_other_half(word)), "{argv:?}: {command:?}");
        for ours in [&b"IN"[..], b"OUT"] {
            assert_eq!(command.iter().filter(|word| *word == ours).count(), 1, "{argv:?}");
        }
        assert!(command.iter().all(|word| word != job.input().as_bytes()), "{argv:?}");
    }
    assert!(remote > 2_000, "only {remote} of the commands went to a server");
}

#[test]
fn what_passes_the_check_has_no_words_for_the_other_half() {
    let mut random = Random::new(42);
    let mut accepted = 0;
    for _ in 0..60_000 {
        let argv = random_argv(&mut random);
        if let Ok(job) = check(&bytes(&argv)) {
            accepted += 1;
            let command = bytes(&job.command("IN".as_ref(), "OUT".as_ref()));
            assert!(command.iter().all(|word| !is_for_the_other_half(word)), "{argv:?}: {command:?}");
        }
    }
    assert!(accepted > 2_000, "only {accepted} of the commands were accepted");
}

#[test]
fn no_bytes_at_all_make_either_side_panic() {
    let mut random = Random::new(7);
    for _ in 0..50_000 {
        let argv: Vec<OsString> = (0..random.below(6))
            .map(|_| OsString::from_vec((0..random.below(12)).map(|_| random.below(256) as u8).collect()))
            .collect();
        scan(&argv);
        let _ = check(&bytes(&argv));
    }
}

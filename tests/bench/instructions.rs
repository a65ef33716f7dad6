//! How many instructions fixed work takes, counted by callgrind: `make bench-instructions`. The same program does the
//! same on every run, so that 3 % more are a change's and not the machine's.
//!
//! Each case runs twice with different numbers of repetitions: the difference is the work without all that comes
//! before and after. What a client does is counted as what it does beyond `--version`, which leaves out the loader.
//!
//! `instructions.txt` has the counts that were accepted, and for which compiler; for another there is nothing to compare
//! with. `-- --accept` writes it anew.

// The table is for people.
#![allow(clippy::disallowed_macros)]

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::LazyLock;
use std::thread;

use distcc::args;
use distcc::hosts;
use distcc::wire::lzo::{Encoder, decompress};
use distcc::wire::{Version, limits, reply, request};

/// What a count may exceed the accepted one by.
const TOLERANCE: f64 = 0.03;

/// A case: its name, and what one repetition does.
type Case = (&'static str, fn());

const CASES: [Case; 7] = [
    ("lzo encode, 200 KB of text", || {
        let mut out = Vec::new();
        Encoder::new().compress(&TEXT, &mut out);
        black_box(out);
    }),
    ("lzo encode, 2 KB of text", || {
        let mut out = Vec::new();
        Encoder::new().compress(&TEXT[..2_000], &mut out);
        black_box(out);
    }),
    ("lzo decode, 200 KB of text", || {
        let mut out = Vec::new();
        decompress(&COMPRESSED, &mut out, limits::BODY as usize).unwrap();
        black_box(out);
    }),
    ("request decoder, 200 KB", || {
        let mut head = Vec::new();
        request::encode_head(Version::Plain, &ARGV, TEXT.len() as u32, &mut head);
        let (mut input, mut decoder) = (&head[..], request::Decoder::new());
        while let Some(event) = decoder.next(&mut input).unwrap() {
            black_box(event);
        }
        input = &TEXT;
        while let Some(event) = decoder.next(&mut input).unwrap() {
            black_box(event);
        }
        assert!(decoder.is_complete());
    }),
    ("reply decoder, 200 KB", || {
        let head = reply_head(TEXT.len());
        let (mut input, mut decoder) = (&head[..], reply::Decoder::new(Version::Plain));
        while let Some(event) = decoder.next(&mut input).unwrap() {
            black_box(event);
        }
        input = &TEXT;
        while let Some(event) = decoder.next(&mut input).unwrap() {
            black_box(event);
        }
    }),
    ("option scan", || {
        let words: Vec<OsString> = ARGV.iter().map(OsString::from).collect();
        assert!(matches!(args::scan(&words), args::Verdict::Remote(_)));
    }),
    ("host list", || {
        let list = hosts::parse(
            "localhost/2 --randomize 10.0.0.1/8,lzo,cpp build.lan:3700/4,lzo user@[fe80::1]:/usr/bin/distccd",
        );
        assert_eq!(black_box(list).hosts.len(), 4);
    }),
];

const ARGV: [&str; 22] = [
    "gcc",
    "-std=gnu11",
    "-O2",
    "-g",
    "-Wall",
    "-Wextra",
    "-Werror=implicit",
    "-fPIC",
    "-fno-strict-aliasing",
    "-march=x86-64-v2",
    "-DNDEBUG",
    "-DVERSION=\"1.2\"",
    "-I",
    "include",
    "-Ilib",
    "-isystem",
    "third_party",
    "-MD",
    "-MF",
    ".deps/a.d",
    "-c",
    "src/a.c",
];

/// Commands of a client, each on a server that answers at once.
const CLIENTS: [(&str, &[&str]); 3] = [
    ("client, remote .i", &["gcc", "-c", "a.i", "-o", "a.o"]),
    ("client, remote .c", &["gcc", "-c", "a.c", "-o", "a.o"]),
    ("client, local compile", &["gcc", "-E", "a.c", "-o", "a.i"]),
];

static TEXT: LazyLock<Vec<u8>> = LazyLock::new(|| text(200_000));
static COMPRESSED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut out = Vec::new();
    Encoder::new().compress(&TEXT, &mut out);
    out
});

/// What comes before an object of `len` bytes.
fn reply_head(len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    reply::encode_start(Version::Plain, 0, &mut bytes);
    reply::encode_part(reply::Part::Stderr, 0, &mut bytes);
    reply::encode_part(reply::Part::Stdout, 0, &mut bytes);
    reply::encode_part(reply::Part::Object, len as u32, &mut bytes);
    bytes
}

/// Something like a program: words from a small vocabulary, in an order of its own.
fn text(len: usize) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "static ",
        "inline ",
        "const ",
        "struct ",
        "unsigned int ",
        "return ",
        "if (",
        ") {\n    ",
        ";\n",
        "}\n\n",
        "size_t count",
        "->next",
        " = ",
        "NULL",
        "*data",
        "(x + 1)",
    ];
    let (mut bytes, mut state) = (Vec::with_capacity(len + 32), 1u32);
    while bytes.len() < len {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.extend_from_slice(WORDS[(state >> 28) as usize].as_bytes());
        if state & 0xf0_0000 == 0 {
            bytes.extend_from_slice(format!("name_{}", state & 0xffff).as_bytes());
        }
    }
    bytes.truncate(len);
    bytes
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, name, times] = arguments.as_slice() {
        if word == "--case" {
            let (_, work) = CASES.iter().find(|(own, _)| own == name).expect("a case");
            (0..times.parse().unwrap()).for_each(|_: u32| work());
            return ExitCode::SUCCESS;
        }
    }
    // Cargo passes --bench; whoever runs all targets as tests wants none of this.
    if !arguments.iter().any(|word| word == "--bench") {
        return ExitCode::SUCCESS;
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("SKIPPED: valgrind is missing; run tests/setup.sh extra");
        return if std::env::var_os("CI").is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    let mut counts = Vec::new();
    for (name, _) in CASES {
        let own = std::env::current_exe().unwrap();
        let count = |times: &str| instructions(Command::new("valgrind"), &own, &["--case", name, times]);
        counts.push((name, (count("12") - count("2")) / 10));
    }
    counts.extend(clients());
    compare(&counts, arguments.iter().any(|word| word == "--accept"))
}

/// Instructions of `program`, without those of its children.
fn instructions(mut valgrind: Command, program: &Path, words: &[&str]) -> i64 {
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program).args(words);
    let output = valgrind.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {text}");
    let (_, rest) = text.split_once("Collected : ").unwrap_or_else(|| panic!("no count: {text}"));
    rest.split_whitespace().next().unwrap().parse().unwrap()
}

/// Counts of the clients, in a directory and an environment that never change.
fn clients() -> Vec<(&'static str, i64)> {
    let dir = Path::new("/tmp/distcc-bench-instructions");
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir.join("top")).unwrap();
    let source = "int f(int x) { return x + 1; }\n";
    fs::write(dir.join("a.c"), source).unwrap();
    let marked = |at: &Path| fs::write(at, format!("# 0 \"a.c\"\n{source}")).unwrap();
    let port = instant_server();
    let program = Path::new(env!("CARGO_BIN_EXE_distcc"));
    let count = |words: &[&str]| {
        marked(&dir.join("a.i"));
        let mut valgrind = Command::new("/usr/bin/valgrind");
        valgrind.current_dir(dir).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", "/");
        valgrind
            .env("DISTCC_DIR", "top")
            .env("DISTCC_HOSTS", format!("127.0.0.1:{port}"))
            .env("DISTCC_FALLBACK", "0")
            .env("DISTCC_CHECK_COMPILER", "off");
        instructions(valgrind, program, words)
    };
    // What is kept from one job to the next.
    count(CLIENTS[0].1);
    let start = count(&["--version"]);
    let counts = CLIENTS.map(|(name, words)| (name, count(words) - start)).into();
    let _ = fs::remove_dir_all(dir);
    counts
}

/// Answers every request with a small object; its port.
fn instant_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut buffer, mut decoder) = (stream.unwrap(), [0; 4096], request::Decoder::new());
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                let mut input = &buffer[..count];
                while decoder.next(&mut input).unwrap().is_some() {}
                if decoder.is_complete() {
                    let mut bytes = reply_head(1000);
                    bytes.resize(bytes.len() + 1000, b'o');
                    stream.write_all(&bytes).unwrap();
                    break;
                }
            }
        }
    });
    port
}

/// Shows the counts beside the accepted ones.
fn compare(counts: &[(&str, i64)], accept: bool) -> ExitCode {
    let rustc = Command::new("rustc").arg("-V").output().unwrap().stdout;
    let toolchain = format!("{} on {}", String::from_utf8_lossy(&rustc).trim(), std::env::consts::ARCH);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/instructions.txt");
    if accept {
        let mut text = format!("{toolchain}\n");
        counts.iter().for_each(|(name, count)| writeln!(text, "{count} {name}").unwrap());
        fs::write(&file, text).unwrap();
    }
    let text = fs::read_to_string(&file).unwrap();
    let mut lines = text.lines();
    let comparable = lines.next() == Some(&toolchain);
    if !comparable {
        println!("nothing to compare with: {toolchain}; the accepted counts are for another compiler");
    }
    let accepted: Vec<(i64, &str)> = lines
        .filter_map(|line| line.split_once(' '))
        .map(|(count, name)| (count.parse().unwrap(), name))
        .collect();
    let mut missed = false;
    for (name, count) in counts {
        let before = accepted.iter().find(|(_, own)| own == name).map(|(count, _)| *count);
        let ratio = before.map_or(f64::NAN, |before| *count as f64 / before as f64);
        let verdict = match ratio {
            _ if !comparable => "",
            ratio if ratio <= 1.0 + TOLERANCE => "ok",
            _ => "MORE",
        };
        missed |= verdict == "MORE";
        println!("{count:>9} {ratio:5.2} {verdict:4} {name}");
    }
    if missed {
        println!(
            "\nmore than was accepted: make it less, or accept it with its reason:\n  cargo bench --bench instructions -- --accept"
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

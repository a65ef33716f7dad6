//! How fast bodies are compressed and expanded, ours beside the C library that stock compresses with: `make bench-lzo`.
//!
//! Both run in turn on the same bytes in one thread, by its processor time. A number is the median of the rounds, a ratio the
//! median of the ratios within the rounds: ours against the library, so that more is better, and for the streams' length less.
//! Tiny bodies are many different ones in a row, because a processor learns a single one by heart.

// The table is for people; a closed pipe may end it.
#![allow(clippy::disallowed_macros)]

#[path = "../util/mod.rs"]
mod util;

// The other benchmarks use the rest of it.
#[allow(dead_code)]
mod rig;

use std::fs;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use distcc::wire::limits;
use distcc::wire::lzo::{Encoder, decompress};
use rig::{goal, median};
use util::Workspace;
use util::liblzo2::Liblzo2;

/// An odd number, so that a median is a measurement.
const ROUNDS: usize = 15;
/// How much each side works through in each round, about.
const BYTES: usize = 8_000_000;

/// Bodies of one kind.
struct Class {
    name: &'static str,
    bodies: Vec<Vec<u8>>,
}

/// Bytes per second.
#[derive(Clone, Copy)]
struct Speed {
    ours: f64,
    theirs: f64,
}

fn main() -> ExitCode {
    // Cargo passes --bench; whoever runs all targets as tests wants no minute of load.
    if !std::env::args().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    let Some(mut library) = Liblzo2::load() else {
        println!("liblzo2.so.2 is missing; run tests/setup.sh test");
        return ExitCode::FAILURE;
    };
    let classes = classes(&Workspace::new("bench-lzo"));
    rig::print_machine();
    println!("                                    compress, MB/s           expand, MB/s        length of");
    println!("bodies                     bytes    ours    lib  ratio      ours    lib  ratio    streams");
    let (mut slow, mut long) = (Vec::new(), Vec::new());
    for class in &classes {
        let bytes: usize = class.bodies.iter().map(Vec::len).sum();
        let (compress, expand, length) = measure(class, bytes, &mut library);
        let middle = |of: &[Speed], value: fn(&Speed) -> f64| median(of.iter().map(value));
        let speeds = [&compress, &expand].map(|of| {
            [
                middle(of, |it| it.ours / 1e6),
                middle(of, |it| it.theirs / 1e6),
                middle(of, |it| it.ours / it.theirs),
            ]
        });
        let [[a, b, compress], [c, d, expand]] = speeds;
        println!(
            "{:22} {bytes:9}  {a:6.0} {b:6.0} {compress:6.2}    {c:6.0} {d:6.0} {expand:6.2}     {length:6.3}",
            class.name
        );
        for (what, ratio) in [("compress", compress), ("expand", expand)] {
            if ratio < 1.0 {
                slow.push(format!("{what} {}: {ratio:.2}", class.name));
            }
        }
        if length > 1.01 {
            long.push(format!("{}: {length:.3}", class.name));
        }
    }
    println!();
    let listed = |list: &[String]| if list.is_empty() { "all".to_owned() } else { list.join(", ") };
    goal("at least as fast as the library, both ways", slow.is_empty(), &listed(&slow));
    goal("streams at most 1 % longer", long.is_empty(), &listed(&long));
    ExitCode::SUCCESS
}

/// Speeds by round, and the length of our streams against the library's.
fn measure(class: &Class, bytes: usize, library: &mut Liblzo2) -> (Vec<Speed>, Vec<Speed>, f64) {
    let most = class.bodies.iter().map(Vec::len).max().unwrap_or_default();
    let mut room = vec![0; most + most / 16 + 67];
    let mut out = Vec::with_capacity(room.len());
    let mut encoder = Encoder::new();

    // Each side's streams, and that the other understands them.
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for body in &class.bodies {
        let mut stream = Vec::new();
        encoder.compress(body, &mut stream);
        assert_eq!(library.decompress(&stream, &mut room), Ok(body.len()));
        assert!(room[..body.len()] == **body);
        ours.push(stream);
        let len = library.compress(body, &mut room);
        theirs.push(room[..len].to_vec());
        out.clear();
        decompress(&room[..len], &mut out, limits::BODY as usize).unwrap();
        assert!(out == *body);
    }
    let total = |streams: &[Vec<u8>]| streams.iter().map(Vec::len).sum::<usize>() as f64;
    let length = total(&ours) / total(&theirs);

    let repeats = BYTES.div_ceil(bytes);
    let speed = |work: &mut dyn FnMut()| {
        let begun = cpu_time();
        (0..repeats).for_each(|_| work());
        (bytes * repeats) as f64 / (cpu_time() - begun).as_secs_f64()
    };
    let (mut compress, mut expand) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        compress.push(Speed {
            ours: speed(&mut || {
                for body in &class.bodies {
                    out.clear();
                    encoder.compress(body, &mut out);
                    black_box(&out);
                }
            }),
            theirs: speed(&mut || {
                for body in &class.bodies {
                    black_box(library.compress(body, &mut room));
                }
            }),
        });
        // Both expand the same streams.
        expand.push(Speed {
            ours: speed(&mut || {
                for stream in &theirs {
                    out.clear();
                    decompress(stream, &mut out, limits::BODY as usize).unwrap();
                    black_box(&out);
                }
            }),
            theirs: speed(&mut || {
                for stream in &theirs {
                    black_box(library.decompress(stream, &mut room)).unwrap();
                }
            }),
        });
    }
    (compress, expand, length)
}

/// What goes over the line, made with this machine's compilers and headers.
fn classes(workspace: &Workspace) -> Vec<Class> {
    let c = [
        "math.h",
        "netdb.h",
        "pthread.h",
        "signal.h",
        "stdio.h",
        "stdlib.h",
        "string.h",
        "tgmath.h",
        "unistd.h",
    ];
    let cxx = ["algorithm", "map", "regex", "string", "thread", "vector"];
    let include =
        |headers: &[&str]| headers.iter().map(|it| format!("#include <{it}>\n")).collect::<String>();
    workspace.write("a.c", &include(&c));
    workspace.write(
        "b.cc",
        &(include(&cxx)
            + "bool f(const std::string &s) { return std::regex_match(s, std::regex(\"a+b*\")); }\n"),
    );
    let make = |program: &str, args: &[&str], result: &str| {
        rig::must(workspace.command(program).args(args).args(["-o", result]));
        fs::read(workspace.work().join(result)).unwrap()
    };
    let c = make("gcc", &["-E", "a.c"], "a.i");
    let cxx = make("g++", &["-E", "b.cc"], "b.ii");
    let object = make("g++", &["-O1", "-c", "b.ii"], "b.o");
    let debug = make("g++", &["-O1", "-g", "-c", "b.ii"], "g.o");
    let tiny_text = [pieces(&c), pieces(&cxx)].concat();
    let tiny_code = [pieces(&object), pieces(&debug)].concat();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    });
    vec![
        Class { name: "preprocessed C", bodies: vec![c] },
        Class { name: "preprocessed C++", bodies: vec![cxx] },
        Class { name: "object", bodies: vec![object] },
        Class { name: "object, -g", bodies: vec![debug] },
        Class { name: "text of 1 to 4 KB", bodies: tiny_text },
        Class { name: "objects of 1 to 4 KB", bodies: tiny_code },
        Class { name: "noise", bodies: vec![noise.take(1_000_000).collect()] },
    ]
}

/// Pieces of 1 to 4 KB from all over a file.
fn pieces(file: &[u8]) -> Vec<Vec<u8>> {
    const COUNT: usize = 120;
    let len = |at: usize| 1000 + at % 4 * 1000;
    let step = (file.len() - 4000) / COUNT;
    (0..COUNT).map(|at| file[at * step..at * step + len(at)].to_vec()).collect()
}

/// What this thread has run.
#[allow(unsafe_code)]
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is the kernel's to write, for this call.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(status, 0, "clock_gettime");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

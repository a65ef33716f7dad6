//! What a dense encoder would save in pump mode, where a header is compressed once and sent with every unit that reads it:
//! `make bench-dense`.
//!
//! For each project, what all of its units send in one build, headers as often as they are read, with our fast encoder and with
//! `lzokay-native`; what compressing each file once costs; and how long the bytes take on slow lines. Nothing is sent.

// The table is for people; a closed pipe may end it.
#![allow(clippy::disallowed_macros)]

#[path = "../util/mod.rs"]
mod util;

// The other benchmarks use the rest of it.
#[allow(dead_code)]
mod rig;
#[allow(dead_code)]
mod trees;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use distcc::include::Engine;
use distcc::wire::lzo::Encoder;
use rig::cpu_of;
use trees::Tree;

/// Bits per second of the lines.
const LINES: [f64; 2] = [10e6, 100e6];

fn main() {
    // Cargo passes --bench; whoever runs all targets as tests wants no minute of load.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    rig::print_machine();
    println!(
        "                    files once        MB sent by all units          compressing once, s      line, s: fast and dense\n\
         project  units  files  fast MB   plain    fast   dense ratio         fast   dense     10 Mbit/s     100 Mbit/s"
    );
    for tree in trees::all().iter().chain([&trees::rocksdb()]) {
        measure(tree);
    }
}

fn measure(tree: &Tree) {
    let mut engine = Engine::new();
    // How many units read each file.
    let mut readers: BTreeMap<PathBuf, usize> = BTreeMap::new();
    let mut units = 0;
    for unit in &tree.units {
        let Ok(closure) = engine.closure(unit) else { continue };
        units += 1;
        for file in closure.files.iter().filter(|file| !file.system) {
            *readers.entry(file.real.clone()).or_default() += 1;
        }
    }
    let texts: Vec<(Vec<u8>, usize)> =
        readers.iter().map(|(path, readers)| (fs::read(path).unwrap(), *readers)).collect();
    let mut encoder = Encoder::new();
    let mut compress = |text: &[u8]| {
        let mut stream = Vec::new();
        encoder.compress(text, &mut stream);
        stream.len()
    };
    let (fast, fast_time) = all(&texts, &mut compress);
    let (dense, dense_time) = all(&texts, &mut |text| match text {
        [] => 0,
        text => lzokay_native::compress(text).unwrap().len(),
    });
    let plain = all(&texts, &mut <[u8]>::len).0;
    let once: usize = texts.iter().map(|(text, _)| compress(text)).sum();
    print!(
        "{:8} {units:5} {:6} {:8.2} {:7.1} {:7.1} {:7.1} {:5.2}    {fast_time:9.3} {dense_time:7.3}",
        tree.name,
        texts.len(),
        once as f64 / 1e6,
        plain / 1e6,
        fast / 1e6,
        dense / 1e6,
        dense / fast
    );
    for line in LINES {
        print!(" {:6.1} {:6.1} ", fast * 8.0 / line, dense * 8.0 / line);
    }
    println!();
}

/// Bytes that all units send, and seconds of processor time that each file once takes.
fn all(texts: &[(Vec<u8>, usize)], len: &mut dyn FnMut(&[u8]) -> usize) -> (f64, f64) {
    let before = cpu_of(std::process::id());
    let lens: Vec<usize> = texts.iter().map(|(text, _)| len(text)).collect();
    let time = (cpu_of(std::process::id()) - before) / 1e9;
    let sent = lens.iter().zip(texts).map(|(len, (_, readers))| (len * readers) as f64).sum();
    (sent, time)
}

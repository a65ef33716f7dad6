use std::fs;
use std::path::Path;

use crate::util::liblzo2::{Liblzo2, agree};

#[path = "fuzz/properties.rs"]
mod properties;

/// What fuzzing has found interesting so far stays right.
#[test]
fn the_fuzz_corpus_replays() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    for (name, property) in properties::ALL {
        let mut count = 0;
        for entry in fs::read_dir(corpus.join(name)).unwrap() {
            property(&fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count >= 10, "{name}: only {count} inputs");
    }
}

/// So does what the LZO decoder and encoder found interesting, beside the library of the stock programs.
#[test]
fn the_lzo_corpus_means_the_same_to_liblzo2() {
    let Some(mut library) = Liblzo2::load() else {
        assert!(std::env::var_os("CI").is_none(), "liblzo2 is missing: run tests/setup.sh test");
        eprintln!("SKIPPED: liblzo2.so.2 is missing; run tests/setup.sh test");
        return;
    };
    for name in ["lzo_decode", "lzo_round_trip"] {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
        for entry in fs::read_dir(corpus).unwrap() {
            agree(&mut library, &fs::read(entry.unwrap().path()).unwrap());
        }
    }
}

use std::fs;
use std::path::Path;

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

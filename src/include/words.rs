//! Whether any of a few words is in a text, in one pass over it.

/// Words in text that may matter to a preprocessor. Text without them is never looked at.
const WORDS: [&[u8]; 6] = [b"_Pragma", b"push_macro", b"pop_macro", b"import", b"module", b".incbin"];

/// Bytes that are looked at together.
const WINDOW: usize = 4;
/// How far apart that is done: wherever a word stands, one of its first `STRIDE` windows is looked at.
const STRIDE: usize = 3;

/// A bit for each hash that the first windows of a word have.
const WINDOWS: [u64; 64] = {
    let mut bits = [0; 64];
    let mut word = 0;
    while word < WORDS.len() {
        assert!(WORDS[word].len() >= WINDOW + STRIDE - 1);
        let mut at = 0;
        while at < STRIDE {
            let bytes = WORDS[word];
            let hash = hash([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
            bits[hash / 64] |= 1 << (hash % 64);
            at += 1;
        }
        word += 1;
    }
    bits
};

const fn hash(window: [u8; WINDOW]) -> usize {
    // An odd number with its bits well spread: 2^32 over the golden ratio.
    (u32::from_le_bytes(window).wrapping_mul(0x9E37_79B9) >> 20) as usize
}

/// Whether any of the words is in `text`.
pub fn are_in(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(&window) = rest.first_chunk() {
        let hash = hash(window);
        if WINDOWS[hash / 64] >> (hash % 64) & 1 == 1 && is_one_around(text, text.len() - rest.len()) {
            return true;
        }
        rest = &rest[STRIDE..];
    }
    false
}

/// Whether a word has one of its first windows here. Apart, so that the loop above has nothing else to do.
#[cold]
#[inline(never)]
fn is_one_around(text: &[u8], at: usize) -> bool {
    let starts = at.saturating_sub(STRIDE - 1)..=at;
    starts.into_iter().any(|start| WORDS.iter().any(|word| text[start..].starts_with(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_wherever_they_stand() {
        for word in WORDS {
            for before in 0..12 {
                for behind in 0..5 {
                    let text = [&b"x".repeat(before)[..], word, &b"y".repeat(behind)[..]].concat();
                    assert!(are_in(&text), "{before} {behind}");
                    let lacks_end = &text[..before + word.len() - 1];
                    let lacks_beginning = &text[before + 1..];
                    assert!(!are_in(lacks_end) && !are_in(lacks_beginning));
                }
            }
        }
        assert!(!are_in(b"") && !are_in(b"imp"));
    }
}

//! A search that reads every byte of every source, and so must cost next to nothing. libc's search for one byte is fast
//! where that is rare; two bytes in a row are rare where one is not.

/// Where these two bytes are for the first time.
pub fn find_pair(text: &[u8], pair: [u8; 2]) -> Option<usize> {
    let passed = without_pair(text, pair);
    text[passed..].windows(2).position(|window| window == pair).map(|at| passed + at)
}

/// How many bytes from the start on are certain not to begin the pair: all up to a few before the first that does.
#[cfg(target_arch = "x86_64")]
fn without_pair(text: &[u8], pair: [u8; 2]) -> usize {
    use std::arch::x86_64::{
        __m128i, _mm_and_si128, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128,
        _mm_set1_epi8,
    };

    const LANES: usize = size_of::<__m128i>();
    /// Vectors that are looked at together.
    const TOGETHER: usize = 4;

    let mut passed = 0;
    // SAFETY: every x86_64 processor has these instructions (SSE2); each load reads `LANES` bytes from `at + 1` on at most,
    // which the loop's condition has within `text`, and needs no alignment.
    unsafe {
        let [first, second] = pair.map(|byte| _mm_set1_epi8(byte as i8));
        let found = |at: usize| {
            let here = _mm_loadu_si128(text.as_ptr().add(at).cast());
            let next = _mm_loadu_si128(text.as_ptr().add(at + 1).cast());
            _mm_and_si128(_mm_cmpeq_epi8(here, first), _mm_cmpeq_epi8(next, second))
        };
        while text.len() - passed > TOGETHER * LANES {
            let two = _mm_or_si128(found(passed), found(passed + LANES));
            let others = _mm_or_si128(found(passed + 2 * LANES), found(passed + 3 * LANES));
            if _mm_movemask_epi8(_mm_or_si128(two, others)) != 0 {
                break;
            }
            passed += TOGETHER * LANES;
        }
    }
    passed
}

/// The same for processors whose vectors we do not know: as many bytes at a time as a number has.
#[cfg(not(target_arch = "x86_64"))]
fn without_pair(text: &[u8], pair: [u8; 2]) -> usize {
    const LANES: usize = size_of::<usize>();
    const ONES: usize = usize::from_ne_bytes([1; LANES]);

    let [first, second] = pair.map(|byte| ONES * usize::from(byte));
    let load = |chunk: &[u8]| chunk.try_into().map_or(0, usize::from_ne_bytes);
    let behind = text.get(1..).unwrap_or_default();
    let has_none = |(chunk, next): &(&[u8], &[u8])| {
        // A lane is zero where both bytes are what is wanted. Only above one that is does this take another for zero.
        let lanes = (load(chunk) ^ first) | (load(next) ^ second);
        lanes.wrapping_sub(ONES) & !lanes & (ONES << 7) == 0
    };
    LANES * text.chunks_exact(LANES).zip(behind.chunks_exact(LANES)).take_while(has_none).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_found_wherever_it_is() {
        for len in 0..150 {
            for at in 0..len {
                let mut text = vec![b'.'; len];
                text[at] = b'i';
                let found = find_pair(&text, *b".i");
                assert_eq!(found, at.checked_sub(1), "{len} {at}");
                text.fill(b'/');
                text[at] = b'.';
                assert_eq!(find_pair(&text, *b".i"), None);
                if let Some(next) = text.get_mut(at + 1) {
                    *next = b'i';
                    assert_eq!(find_pair(&text, *b".i"), Some(at), "{len} {at}");
                }
            }
        }
    }
}

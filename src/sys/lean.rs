//! `qsort` in little. The linker takes this one, and not the C library's.
//!
//! Only in builds that count bytes (`cross/build.sh`), where that of zig has 11 KB. Nothing calls it but the resolver, for
//! at most 48 addresses.

use std::ffi::{c_int, c_void};
use std::ptr;

/// C's `qsort`, for few elements.
///
/// # Safety
/// As C has it: `base` points to `count` elements of `size` bytes each, which `compare` can compare.
#[cfg_attr(silent_panics, unsafe(no_mangle))]
unsafe extern "C" fn qsort(
    base: *mut c_void,
    count: usize,
    size: usize,
    compare: unsafe extern "C" fn(*const c_void, *const c_void) -> c_int,
) {
    let element = |at: usize| base.cast::<u8>().wrapping_add(at * size);
    for end in 1..count {
        for at in (1..=end).rev() {
            let (left, right) = (element(at - 1), element(at));
            // SAFETY: `at` is below `count`, so both are elements, and they do not overlap.
            unsafe {
                if compare(left.cast(), right.cast()) <= 0 {
                    break;
                }
                ptr::swap_nonoverlapping(left, right, size);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C" fn compare(left: *const c_void, right: *const c_void) -> c_int {
        // SAFETY: the elements below are such numbers.
        unsafe { i32::from(*left.cast::<u16>()) - i32::from(*right.cast::<u16>()) }
    }

    #[test]
    fn sorted() {
        for numbers in [vec![], vec![7], vec![2, 1], vec![3, 500, 2, 65535, 0, 2, 256, 1]] {
            let (mut ours, mut theirs): (Vec<u16>, _) = (numbers.clone(), numbers);
            // SAFETY: as many elements of that size.
            unsafe { qsort(ours.as_mut_ptr().cast(), ours.len(), 2, compare) };
            theirs.sort();
            assert_eq!(ours, theirs);
        }
    }
}

//! Where a static build gets its memory from.
//!
//! The C library's allocator there fetches 64 KB from the kernel, in two calls, for each size of block that a program comes
//! to use, and returns what is large as soon as it is free. Of a client's system calls that was a quarter, and a worker
//! of the daemon had all pages of a large job anew.
//!
//! Here blocks up to 32 KB of whatever size lie side by side, where they stay: one that is freed waits for the next of its size.
//! Larger ones are mappings of their own. Some of those are kept when they are freed, how many bytes of them is for the
//! program to say.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ptr::{self, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(target_env = "musl")]
#[global_allocator]
static HEAP: Heap = Heap::new();

/// Every block's size and place is a multiple of this.
const UNIT: usize = 16;
/// The largest block that is no mapping of its own.
const LARGEST: usize = 32 << 10;
/// Sizes of blocks: four to each doubling, so that a fifth is lost at most.
const SIZES: usize = 40;
/// What is asked of the kernel for small blocks. What nobody has written to takes no memory.
const PIECE: usize = 256 << 10;
/// Lengths of mappings are multiples of this, so that one does for many sizes. No system has larger pages.
const GRAIN: usize = 64 << 10;
/// How many mappings are kept at most, and how many bytes in them unless the program says more: the buffers of one job.
const KEPT: usize = 8;
const KEPT_BYTES: usize = 512 << 10;

/// An allocator.
pub struct Heap {
    is_locked: AtomicBool,
    state: UnsafeCell<State>,
}

struct State {
    /// The first free block of each size; each has the place of the next at its start.
    free: [*mut u8; SIZES],
    /// What nobody has had yet, all zeros.
    fresh: *mut u8,
    left: usize,
    kept: [Kept; KEPT],
    /// Bytes in `kept`, and how many there may be.
    kept_bytes: usize,
    most_kept: usize,
}

/// A mapping that is nobody's, and its length; 0 for none.
#[derive(Clone, Copy)]
struct Kept(*mut u8, usize);

const NONE: Kept = Kept(null_mut(), 0);

// SAFETY: the state is only reached by whoever has the lock.
unsafe impl Sync for Heap {}

/// The number of the smallest size that has room for `size` bytes, which are at most [`LARGEST`].
fn number(size: usize) -> usize {
    let last = size.max(1).div_ceil(UNIT) - 1;
    if last < 4 {
        return last;
    }
    let shift = last.ilog2() as usize - 2;
    4 * shift + (last >> shift)
}

/// The bytes of a block of the size with this number.
fn bytes(number: usize) -> usize {
    match number / 4 {
        0 => (number + 1) * UNIT,
        doubling => ((number % 4 + 5) << (doubling - 1)) * UNIT,
    }
}

fn is_mapping(layout: Layout) -> bool {
    layout.size() > LARGEST || layout.align() > UNIT
}

/// `None` for what is larger than any memory.
fn mapping_len(size: usize) -> Option<usize> {
    size.max(1).checked_next_multiple_of(GRAIN)
}

impl Heap {
    const fn new() -> Heap {
        let state = State {
            free: [null_mut(); SIZES],
            fresh: null_mut(),
            left: 0,
            kept: [NONE; KEPT],
            kept_bytes: 0,
            most_kept: KEPT_BYTES,
        };
        Heap { is_locked: AtomicBool::new(false), state: UnsafeCell::new(state) }
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        while self.is_locked.swap(true, Ordering::Acquire) {
            std::thread::yield_now();
        }
        // SAFETY: whoever has the lock is alone, and `work`, which is one of the methods below, cannot come back here.
        let result = work(unsafe { &mut *self.state.get() });
        self.is_locked.store(false, Ordering::Release);
        result
    }
}

impl State {
    /// A block, and whether it is all zeros; null where there is no memory.
    fn block(&mut self, number: usize) -> (*mut u8, bool) {
        let first = self.free[number];
        if !first.is_null() {
            // SAFETY: a free block begins with the place of the next one, which `put_back` wrote there.
            self.free[number] = unsafe { first.cast::<*mut u8>().read() };
            return (first, false);
        }
        let len = bytes(number);
        if self.left < len {
            let piece = map(PIECE);
            if piece.is_null() {
                return (piece, false);
            }
            (self.fresh, self.left) = (piece, PIECE);
        }
        let block = self.fresh;
        self.fresh = block.wrapping_add(len);
        self.left -= len;
        (block, true)
    }

    /// # Safety
    /// The block is one of this size, and nobody's.
    unsafe fn put_back(&mut self, block: *mut u8, number: usize) {
        // SAFETY: it is the caller's to give, aligned for a pointer and large enough for one.
        unsafe { block.cast::<*mut u8>().write(self.free[number]) };
        self.free[number] = block;
    }

    /// A mapping, and whether it is all zeros; null where there is no memory.
    fn mapping(&mut self, len: usize) -> (*mut u8, bool) {
        // What is much larger waits for who needs it.
        let fitting = self.kept.iter_mut().filter(|it| it.1 >= len && it.1 / 2 <= len);
        let found = fitting.min_by_key(|it| it.1).map(|it| std::mem::replace(it, NONE));
        let Some(Kept(start, kept)) = found else {
            return (map(len), true);
        };
        self.kept_bytes -= kept;
        if kept > len {
            // SAFETY: what is kept is mapped and nobody's, and so is the rest of it.
            unsafe { libc::munmap(start.wrapping_add(len).cast(), kept - len) };
        }
        (start, false)
    }

    /// # Safety
    /// The `len` bytes at `start` are mapped, and nobody's.
    unsafe fn unmap(&mut self, start: *mut u8, len: usize) {
        if self.kept_bytes + len <= self.most_kept {
            if let Some(place) = self.kept.iter_mut().find(|it| it.1 == 0) {
                *place = Kept(start, len);
                self.kept_bytes += len;
                return;
            }
        }
        // SAFETY: as the caller says.
        unsafe { libc::munmap(start.cast(), len) };
    }

    fn unmap_kept(&mut self) {
        for Kept(start, len) in std::mem::replace(&mut self.kept, [NONE; KEPT]) {
            if len > 0 {
                // SAFETY: what is kept is mapped and nobody's.
                unsafe { libc::munmap(start.cast(), len) };
            }
        }
        self.kept_bytes = 0;
    }
}

fn map(len: usize) -> *mut u8 {
    let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new private mapping at an address of the kernel's choice cannot touch existing memory.
    let start = unsafe { libc::mmap(null_mut(), len, prot, flags, -1, 0) };
    if start == libc::MAP_FAILED { null_mut() } else { start.cast() }
}

impl Heap {
    /// Memory for `layout`, and whether it is all zeros.
    fn take(&self, layout: Layout) -> (*mut u8, bool) {
        if !is_mapping(layout) {
            return self.with(|state| state.block(number(layout.size())));
        }
        // Nothing asks for more than the least alignment of a mapping.
        match mapping_len(layout.size()).filter(|_| layout.align() <= 4096) {
            Some(len) => self.with(|state| state.mapping(len)),
            None => (null_mut(), false),
        }
    }
}

// SAFETY: each block and mapping belongs to one caller until that gives it back, since only then it is listed as free; they have
// at least the bytes and the alignment of their layout.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.take(layout).0
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (start, is_zero) = self.take(layout);
        if !start.is_null() && !is_zero {
            // SAFETY: it is as large as the layout.
            unsafe { start.write_bytes(0, layout.size()) };
        }
        start
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: the caller gives back what it got for this layout, so number and length are those of then.
        self.with(|state| unsafe {
            match mapping_len(layout.size()).filter(|_| is_mapping(layout)) {
                Some(len) => state.unmap(start, len),
                None => state.put_back(start, number(layout.size())),
            }
        });
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Ok(wanted) = Layout::from_size_align(size, layout.align()) else { return null_mut() };
        match (is_mapping(layout), is_mapping(wanted)) {
            (false, false) if number(layout.size()) == number(size) => return start,
            (true, true) => {
                let (Some(len), Some(new)) = (mapping_len(layout.size()), mapping_len(size)) else {
                    return null_mut();
                };
                if len == new {
                    return start;
                }
                // SAFETY: the caller's mapping of that length; what it becomes is the caller's as well.
                let moved = unsafe { libc::mremap(start.cast(), len, new, libc::MREMAP_MAYMOVE) };
                return if moved == libc::MAP_FAILED { null_mut() } else { moved.cast() };
            }
            _ => {}
        }
        let (new, _) = self.take(wanted);
        if !new.is_null() {
            // SAFETY: both have so many bytes, and the new one is nobody else's; then the old one is given back as it came.
            unsafe {
                ptr::copy_nonoverlapping(start, new, size.min(layout.size()));
                self.dealloc(start, layout);
            }
        }
        new
    }
}

/// Keeps so many bytes of large blocks that are freed, for the next who asks.
#[cfg(target_env = "musl")]
pub fn keep(len: usize) {
    HEAP.with(|state| state.most_kept = len);
}

/// Returns to the kernel what large blocks are free.
#[cfg(target_env = "musl")]
pub fn return_kept() {
    HEAP.with(State::unmap_kept);
}

/// C's functions, for what the C library needs itself: listings of directories, answers of the resolver. The linker takes these,
/// so that no second allocator is there. In front of each block stands its size.
#[cfg(all(target_env = "musl", silent_panics))]
mod c {
    use std::ffi::{c_int, c_void};

    use super::{GlobalAlloc, HEAP, Layout, UNIT, null_mut};

    fn layout(size: usize) -> Option<Layout> {
        Layout::from_size_align(size.checked_add(UNIT)?, UNIT).ok()
    }

    /// What is at `start` once its size is written there; null stays null.
    ///
    /// # Safety
    /// A block of `layout` begins there, unless it is null.
    unsafe fn begin(start: *mut u8, layout: Layout) -> *mut c_void {
        if start.is_null() {
            return null_mut();
        }
        // SAFETY: the layout has room for this in front of what was asked for.
        unsafe {
            start.cast::<usize>().write(layout.size());
            start.add(UNIT).cast()
        }
    }

    /// # Safety
    /// `block` came from here and was not freed.
    unsafe fn whole(block: *mut c_void) -> (*mut u8, Layout) {
        // SAFETY: its size stands in front of it, as `begin` wrote it, and made a layout then.
        unsafe {
            let start = block.cast::<u8>().sub(UNIT);
            (start, Layout::from_size_align_unchecked(start.cast::<usize>().read(), UNIT))
        }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
        // SAFETY: the layout has a size, and the block is of it.
        layout(size).map_or(null_mut(), |layout| unsafe { begin(HEAP.alloc(layout), layout) })
    }

    /// Nothing here asks for more than [`UNIT`], but it must not come from elsewhere: it would be freed here.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn posix_memalign(block: *mut *mut c_void, align: usize, size: usize) -> c_int {
        // SAFETY: the caller has room for a pointer there.
        unsafe {
            *block = if align > UNIT { null_mut() } else { malloc(size) };
            if (*block).is_null() { libc::ENOMEM } else { 0 }
        }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
        // SAFETY: as above.
        let zeroed = |layout| unsafe { begin(HEAP.alloc_zeroed(layout), layout) };
        count.checked_mul(size).and_then(layout).map_or(null_mut(), zeroed)
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
        let Some(wanted) = layout(size) else { return null_mut() };
        // SAFETY: as C has it, `block` is null or one of ours.
        unsafe {
            if block.is_null() {
                return malloc(size);
            }
            let (start, layout) = whole(block);
            begin(HEAP.realloc(start, layout, wanted.size()), wanted)
        }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn free(block: *mut c_void) {
        if !block.is_null() {
            // SAFETY: as C has it, `block` is one of ours.
            unsafe {
                let (start, layout) = whole(block);
                HEAP.dealloc(start, layout);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_room_and_waste_little() {
        let mut before = 0;
        for size in 0..=LARGEST {
            let (at, len) = (number(size), bytes(number(size)));
            assert!(len >= size && len % UNIT == 0, "{size}: {len}");
            assert!(len <= size.next_multiple_of(UNIT) * 5 / 4 || size == 0, "{size}: {len}");
            assert!(at == before || at == before + 1, "{size}");
            before = at;
        }
        assert_eq!((before, bytes(before)), (SIZES - 1, LARGEST));
    }

    #[test]
    fn nobody_gets_what_another_has() {
        let heap = Heap::new();
        let mut taken: Vec<(*mut u8, Layout, u8)> = Vec::new();
        let mut random = 1u64;
        let mut next = |below: usize| {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (random >> 33) as usize % below
        };
        // SAFETY: each block is used within its layout and given back once, with the layout that it has then.
        let holds = |(start, layout, mark): (*mut u8, Layout, u8)| unsafe {
            std::slice::from_raw_parts(start, layout.size()).iter().all(|byte| *byte == mark)
        };
        for round in 0..4_000 {
            let size = 1 + next([64, 3000, 40_000, 300_000][round % 4]);
            let layout = Layout::from_size_align(size, [1, 8, 16, 64][next(4)]).unwrap();
            let mark = round as u8;
            // SAFETY: as above.
            unsafe {
                match next(3) {
                    0 if !taken.is_empty() => {
                        let old = taken.swap_remove(next(taken.len()));
                        assert!(holds(old));
                        heap.dealloc(old.0, old.1);
                    }
                    1 if !taken.is_empty() => {
                        let at = next(taken.len());
                        let (start, old, was) = taken[at];
                        let new = Layout::from_size_align(size, old.align()).unwrap();
                        let start = heap.realloc(start, old, size);
                        let kept = Layout::from_size_align(size.min(old.size()), 1).unwrap();
                        assert!(holds((start, kept, was)));
                        start.write_bytes(mark, size);
                        taken[at] = (start, new, mark);
                    }
                    _ => {
                        let start = heap.alloc_zeroed(layout);
                        assert!(start.addr() % layout.align() == 0 && holds((start, layout, 0)));
                        start.write_bytes(mark, size);
                        taken.push((start, layout, mark));
                    }
                }
            }
        }
        assert!(taken.iter().all(|it| holds(*it)));
        // SAFETY: as above.
        taken.iter().for_each(|it| unsafe { heap.dealloc(it.0, it.1) });
        heap.with(State::unmap_kept);
    }

    #[test]
    fn what_no_system_has_is_refused() {
        let heap = Heap::new();
        for (size, align) in [(isize::MAX as usize - 64, 1), (1, 8192)] {
            let layout = Layout::from_size_align(size, align).unwrap();
            // SAFETY: the layout has a size.
            assert!(unsafe { heap.alloc(layout) }.is_null());
        }
    }
}

//! See `liblzo2::agree`. Needs the library on this machine; not among `properties::ALL` for that.
#![no_main]

#[path = "../../util/liblzo2.rs"]
mod liblzo2;

use std::cell::RefCell;

thread_local! {
    static LIBRARY: RefCell<liblzo2::Liblzo2> = RefCell::new(liblzo2::Liblzo2::load().expect("liblzo2.so.2"));
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    LIBRARY.with_borrow_mut(|library| liblzo2::agree(library, bytes));
});

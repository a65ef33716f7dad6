//! The one binary: its name decides what it is (see `distcc::multicall`).

#![no_main]

use std::ffi::{c_char, c_int};

use distcc::multicall;
use distcc::sys::start;

/// Where the C library starts the program; `distcc::sys::start` says why this is not Rust's own `main`.
#[allow(unsafe_code)] // There is no other way to have this symbol.
#[unsafe(no_mangle)]
extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    // SAFETY: the C library calls this with the arguments of the process.
    unsafe { start::begin(argc, argv) };
    multicall::end(multicall::run(start::arguments()))
}

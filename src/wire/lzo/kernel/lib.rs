//! The loops in which the codec spends its time: the search for matches and the expansion of short instructions. They know slices only;
//! memory, errors and what is rare are the codec's.
//!
//! A package of its own, so that it can be compiled apart from the program: options that make that one small would make these
//! slow (`cross/x86_64.conf`). Then it is linked as it is, and can use nothing that the program's other parts would have to keep for
//! it: neither memory nor formatting.

#![no_std]
// Keeps it out of the optimisation of the whole.
#![cfg_attr(apart, no_builtins)]

pub mod expand;
pub mod search;
pub mod stage;

/// Ends each stream: a far match at the distance that no match may have.
pub const END: [u8; 3] = [0x11, 0, 0];

/// Greatest distance of a near match, which takes two bytes and is 3 to 8 long.
pub const NEAR: usize = 2048;

/// Greatest distance of a middle match. A far match at exactly this distance is the end marker instead.
pub const MIDDLE: usize = 16384;

/// Greatest distance that can be written at all.
pub const FAR: usize = 49151;

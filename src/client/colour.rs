//! Coloured messages. A compiler colours what it writes to a terminal; neither half of a distributed compile writes to
//! one, so both are told to where the compiler alone would have done it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStrExt;

/// Puts the option in front of the user's, so that theirs win. Only for compilers that know it: gcc since 4.9, clang
/// since 3.0; others are told apart by their names.
pub fn add(words: &mut Vec<OsString>) {
    if words.first().is_some_and(|compiler| is_known(compiler)) && is_wanted() {
        words.insert(1, "-fdiagnostics-color=always".into());
    }
}

fn is_known(compiler: &OsStr) -> bool {
    let name = compiler.as_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let has = |part: &[u8]| name.windows(part.len()).any(|window| window == part);
    matches!(name, b"cc" | b"c++") || has(b"gcc") || has(b"g++") || has(b"clang")
}

/// What gcc asks before it writes in colours; empty `GCC_COLORS` turns them off.
fn is_wanted() -> bool {
    let dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
    let off = env::var_os("GCC_COLORS").is_some_and(|colours| colours.is_empty());
    !dumb && !off && io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compilers_that_know_the_option() {
        let known = |name: &str| is_known(OsStr::new(name));
        assert!(["gcc", "/usr/bin/arm-linux-gnueabihf-g++-12", "clang++-14", "c++"].into_iter().all(known));
        assert!(!["icc", "tcc", "nvcc", ""].into_iter().any(known));
    }
}

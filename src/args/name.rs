//! Names of compilers: `gcc`, `x86_64-linux-gnu-g++-12`, `clang-14`.

/// A compiler's name in its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompilerName<'a> {
    /// The machine it compiles for, or another word in front (`c99-`), with its dash; mostly empty.
    pub prefix: &'a [u8],
    /// `gcc`, `g++`, `cc`, `c++`, `clang` or `clang++`.
    pub stem: &'static str,
    /// The version and its kind (`-12`, `-14.0`, `-10-posix`), with the dash; mostly empty.
    pub version: &'a [u8],
}

/// The longer ones first where one is the end of another.
const STEMS: [&str; 6] = ["clang++", "clang", "gcc", "g++", "c++", "cc"];

/// What mingw's compilers have behind the version: their threads.
const KINDS: [&[u8]; 2] = [b"posix", b"win32"];

impl<'a> CompilerName<'a> {
    /// The parts of `name`, if it is that of a compiler of C or C++. `gcc-ar`, `clang-format-14`, `gccgo` are none.
    pub fn parse(name: &'a [u8]) -> Option<CompilerName<'a>> {
        // From the end: words of the version, as long as they can be some.
        let mut rest = name;
        loop {
            if let Some(found) = STEMS.iter().find_map(|stem| {
                let prefix = rest.strip_suffix(stem.as_bytes())?;
                let fits = prefix.is_empty() || prefix.ends_with(b"-") && is_prefix(prefix);
                fits.then(|| CompilerName { prefix, stem, version: &name[rest.len()..] })
            }) {
                return Some(found);
            }
            let dash = rest.iter().rposition(|byte| *byte == b'-')?;
            if !is_version(&rest[dash + 1..]) {
                return None;
            }
            rest = &rest[..dash];
        }
    }
}

fn is_version(word: &[u8]) -> bool {
    let is_number = word.first().is_some_and(u8::is_ascii_digit)
        && word.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    is_number || KINDS.contains(&word)
}

fn is_prefix(prefix: &[u8]) -> bool {
    prefix[0].is_ascii_alphanumeric()
        && prefix.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_parts() {
        let parts = |name: &'static str| {
            let found = CompilerName::parse(name.as_bytes())?;
            let text = |bytes| std::str::from_utf8(bytes).unwrap();
            Some((text(found.prefix), found.stem, text(found.version)))
        };
        for (name, expected) in [
            ("gcc", Some(("", "gcc", ""))),
            ("cc", Some(("", "cc", ""))),
            ("g++-12", Some(("", "g++", "-12"))),
            ("clang++-14", Some(("", "clang++", "-14"))),
            ("clang-3.9", Some(("", "clang", "-3.9"))),
            ("c99-gcc", Some(("c99-", "gcc", ""))),
            ("avr-gcc", Some(("avr-", "gcc", ""))),
            ("x86_64-linux-gnu-g++-12", Some(("x86_64-linux-gnu-", "g++", "-12"))),
            ("arm-cortex_a8-linux-gnueabihf-gcc", Some(("arm-cortex_a8-linux-gnueabihf-", "gcc", ""))),
            ("x86_64-pc-linux-gnu-gcc-13.2.1", Some(("x86_64-pc-linux-gnu-", "gcc", "-13.2.1"))),
            ("i686-w64-mingw32-g++-12-posix", Some(("i686-w64-mingw32-", "g++", "-12-posix"))),
            ("gcc-ar", None),
            ("gcc-ar-12", None),
            ("clang-format-14", None),
            ("clang-cpp", None),
            ("gccgo", None),
            ("distcc", None),
            ("lccc", None),
            ("-gcc", None),
            ("12", None),
            ("", None),
        ] {
            assert_eq!(parts(name), expected, "{name}");
        }
    }
}

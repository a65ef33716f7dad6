//! The words of a command that choose the machine it compiles for.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// Words that change the class, the byte order or the kind of machine of an object, in order.
///
/// A word more than needed costs one more question to the compiler; of `-march=` only RISC-V's decides the class.
pub fn machine_words(words: &[OsString]) -> Vec<OsString> {
    let mut chosen = Vec::new();
    let mut words = words.iter().skip(1);
    while let Some(word) = words.next() {
        let bytes = word.as_bytes();
        let with_value = matches!(bytes, b"-target" | b"-arch");
        let decides = with_value
            || ALONE.iter().any(|alone| alone.as_bytes() == bytes)
            || JOINED.iter().any(|joined| bytes.starts_with(joined.as_bytes()));
        if decides {
            chosen.push(word.clone());
            chosen.extend(words.by_ref().take(with_value.into()).cloned());
        }
    }
    chosen
}

const ALONE: [&str; 15] = [
    "-EB",
    "-EL",
    "-m16",
    "-m31",
    "-m32",
    "-m64",
    "-mbe",
    "-mbig",
    "-mbig-endian",
    "-meb",
    "-mel",
    "-mle",
    "-mlittle",
    "-mlittle-endian",
    "-mx32",
];

const JOINED: [&str; 3] = ["--target=", "-mabi=", "-march=rv"];

/// Whether the compiler is told not to name itself in the object.
pub fn hides_compiler(words: &[OsString]) -> bool {
    words.iter().any(|word| matches!(word.as_bytes(), b"-fno-ident" | b"-Qn"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_chooses_the_machine_is_found() {
        let chosen = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            machine_words(&words).join(OsString::from(" ").as_os_str()).into_string().unwrap()
        };
        assert_eq!(chosen("gcc -O2 -m32 -c a.c -march=i686"), "-m32");
        assert_eq!(
            chosen("clang -target arm-linux-gnueabi -c a.c --target=x"),
            "-target arm-linux-gnueabi --target=x"
        );
        assert_eq!(chosen("gcc -c a.c -target"), "-target");
        assert_eq!(chosen("-m32"), "");
    }
}

//! Source languages: what a file's extension or `-x` says, and how each is called once preprocessed.
//! The list of extensions is the stock one (`client.md` 2.3), because a stock server knows no other.

/// A language whose preprocessed text a server can compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// C.
    C,
    /// C++.
    Cxx,
    /// Objective-C.
    ObjC,
    /// Objective-C++.
    ObjCxx,
}

impl Language {
    /// The extension of preprocessed text in this language.
    pub const fn preprocessed_extension(self) -> &'static str {
        match self {
            Language::C => "i",
            Language::Cxx => "ii",
            Language::ObjC => "mi",
            Language::ObjCxx => "mii",
        }
    }

    /// What `-x` calls preprocessed text in this language.
    pub const fn preprocessed_name(self) -> &'static str {
        match self {
            Language::C => "cpp-output",
            Language::Cxx => "c++-cpp-output",
            Language::ObjC => "objective-c-cpp-output",
            Language::ObjCxx => "objective-c++-cpp-output",
        }
    }
}

/// What is known of an input before it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub language: Language,
    pub preprocessed: bool,
}

/// What the extension of a file name says; `None` if the file is not a source that can be sent.
pub fn of_file(name: &[u8]) -> Option<Kind> {
    let (preprocessed, language) = match extension(name)? {
        b"i" => (true, Language::C),
        b"c" => (false, Language::C),
        b"ii" => (true, Language::Cxx),
        b"cc" | b"cpp" | b"cxx" | b"cp" | b"c++" | b"C" => (false, Language::Cxx),
        b"mi" => (true, Language::ObjC),
        b"m" => (false, Language::ObjC),
        b"mii" => (true, Language::ObjCxx),
        b"mm" | b"M" => (false, Language::ObjCxx),
        _ => return None,
    };
    Some(Kind { language, preprocessed })
}

/// What `-x` calls text that is to be preprocessed.
const NAMES: [(Language, &str); 4] = [
    (Language::C, "c"),
    (Language::Cxx, "c++"),
    (Language::ObjC, "objective-c"),
    (Language::ObjCxx, "objective-c++"),
];

/// What the value of `-x` says; `None` if such text cannot be sent.
pub fn of_name(name: &[u8]) -> Option<Kind> {
    for (language, plain) in NAMES {
        for (preprocessed, spelling) in [(false, plain), (true, language.preprocessed_name())] {
            if name == spelling.as_bytes() {
                return Some(Kind { language, preprocessed });
            }
        }
    }
    None
}

/// Whether a stock server would take this word for a source or an object wherever it stands.
pub fn looks_like_file(word: &[u8]) -> bool {
    of_file(word).is_some() || word.ends_with(b".o")
}

/// The part of a path after its last slash.
pub fn base_name(path: &[u8]) -> &[u8] {
    let start = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    &path[start..]
}

/// A path without the extension of its last part.
pub fn without_extension(path: &[u8]) -> &[u8] {
    let base = path.len() - base_name(path).len();
    match path[base..].iter().rposition(|&byte| byte == b'.') {
        Some(dot) => &path[..base + dot],
        None => path,
    }
}

fn extension(name: &[u8]) -> Option<&[u8]> {
    let dot = name.iter().rposition(|&byte| byte == b'.')?;
    Some(&name[dot + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions() {
        let kind = |name: &str| of_file(name.as_bytes()).map(|kind| (kind.language, kind.preprocessed));
        assert_eq!(kind("a.c"), Some((Language::C, false)));
        assert_eq!(kind("dir.d/a.b.c++"), Some((Language::Cxx, false)));
        assert_eq!(kind("a.ii"), Some((Language::Cxx, true)));
        assert_eq!(kind("a.M"), Some((Language::ObjCxx, false)));
        for no_source in ["a", "a.", "a.s", "a.S", "a.h", "a.CC", "a.CPP", "a.f", "a.c/b", ""] {
            assert_eq!(kind(no_source), None, "{no_source}");
        }
    }

    #[test]
    fn names_are_exact() {
        assert!(of_name(b"c").is_some());
        for no_language in ["cuda", "c-header", "none", "assembler-with-cpp", ""] {
            assert_eq!(of_name(no_language.as_bytes()), None, "{no_language}");
        }
    }

    #[test]
    fn preprocessed_names_name_the_same_language() {
        for language in [Language::C, Language::Cxx, Language::ObjC, Language::ObjCxx] {
            let preprocessed = Some(Kind { language, preprocessed: true });
            assert_eq!(of_name(language.preprocessed_name().as_bytes()), preprocessed);
            let file = format!("x.{}", language.preprocessed_extension());
            assert_eq!(of_file(file.as_bytes()), preprocessed);
        }
    }

    #[test]
    fn paths() {
        assert_eq!(base_name(b"a/b.c"), b"b.c");
        assert_eq!(base_name(b"a/"), b"");
        assert_eq!(without_extension(b"a.d/b"), b"a.d/b");
        assert_eq!(without_extension(b"a.d/b.x.c"), b"a.d/b.x");
        assert_eq!(without_extension(b"a/.o"), b"a/");
    }
}

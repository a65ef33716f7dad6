//! What an object says about who made it: ELF class, byte order and machine, and the compiler's name and version in
//! `.comment`; in assembler text, the `.ident` lines.
//!
//! Reads bytes of strangers: every offset is checked, nothing is allocated by what a header claims. Source: the ELF
//! gABI, chapters "ELF Header" and "Sections".

use std::borrow::Cow;
use std::fmt;
use std::io;

/// Who made an object, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maker {
    /// The machine; `None` for assembler text.
    pub target: Option<Target>,
    /// The strings of `.comment` or `.ident`: a compiler's and those of the source's own `#ident`.
    pub idents: Vec<String>,
}

/// The kind of machine that an object is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// `EI_CLASS`: 1 is 32 bits, 2 is 64.
    pub class: u8,
    /// `EI_DATA`: 1 is little-endian, 2 big.
    pub order: u8,
    /// `e_machine`.
    pub machine: u16,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let bits = if self.class == 2 { 64 } else { 32 };
        match MACHINES.iter().find(|(number, _)| *number == self.machine) {
            Some((_, name)) => write!(f, "{bits}-bit {name}")?,
            None => write!(f, "{bits}-bit ELF machine {}", self.machine)?,
        }
        f.write_str(if self.order == 2 { " (big-endian)" } else { "" })
    }
}

/// The registered numbers of machines that compilers are common for.
const MACHINES: [(u16, &str); 13] = [
    (2, "SPARC"),
    (3, "x86"),
    (8, "MIPS"),
    (20, "PowerPC"),
    (21, "PowerPC"),
    (22, "S/390"),
    (40, "ARM"),
    (43, "SPARC V9"),
    (62, "x86-64"),
    (183, "AArch64"),
    (243, "RISC-V"),
    (247, "BPF"),
    (258, "LoongArch"),
];

/// Where an object is.
pub trait Bytes {
    /// How many there are.
    fn total(&self) -> io::Result<usize>;

    /// Those of a range that lies within them.
    fn read(&self, offset: usize, len: usize) -> io::Result<Cow<'_, [u8]>>;

    /// Those of a range, if there are so many.
    fn range(&self, offset: usize, len: usize) -> Option<Cow<'_, [u8]>> {
        let is_within = offset.checked_add(len)? <= self.total().ok()?;
        if is_within { self.read(offset, len).ok() } else { None }
    }
}

impl Bytes for &[u8] {
    fn total(&self) -> io::Result<usize> {
        Ok(<[u8]>::len(self))
    }

    fn read(&self, offset: usize, len: usize) -> io::Result<Cow<'_, [u8]>> {
        Ok(Cow::Borrowed(&self[offset..offset + len]))
    }
}

/// More are not looked at: a compiler writes one, a source a few.
const MAX_IDENTS: usize = 64;

/// Reads an ELF object in memory; `None` if it is none or contradicts itself.
pub fn read_elf(bytes: &[u8]) -> Option<Maker> {
    read_elf_in(&bytes)
}

/// The same, wherever it is.
pub fn read_elf_in(object: &dyn Bytes) -> Option<Maker> {
    let start = object.range(0, START)?;
    let &[0x7f, b'E', b'L', b'F', class @ 1..=2, order @ 1..=2, ..] = &start[..] else { return None };
    let numbers = Numbers { wide: class == 2, big: order == 2 };
    let machine = numbers.number(&start, 18, 2)? as u16;
    let target = Some(Target { class, order, machine });
    Some(Maker {
        target,
        idents: comment(object, numbers).map_or_else(Vec::new, |it| idents_of_section(&it)),
    })
}

/// Enough to know the machine, in bytes.
const START: usize = 20;

/// Reads assembler text as compilers write it.
pub fn read_assembly(text: &[u8]) -> Maker {
    let ident = |line: &[u8]| {
        let line = line.trim_ascii().strip_prefix(b".ident")?;
        let quoted = line.trim_ascii().strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        Some(String::from_utf8_lossy(quoted).into_owned())
    };
    // Compilers write it last; texts are long.
    let lines = text.rsplit(|byte| *byte == b'\n').take(LAST_LINES);
    Maker { target: None, idents: lines.filter_map(ident).take(MAX_IDENTS).collect() }
}

/// Behind clang's `.ident` come a few lines per symbol of the address-significance table.
const LAST_LINES: usize = 100_000;

/// How an object writes its numbers.
#[derive(Clone, Copy)]
struct Numbers {
    wide: bool,
    big: bool,
}

impl Numbers {
    /// An unsigned number of `len` bytes (at most 8).
    fn number(self, bytes: &[u8], at: usize, len: usize) -> Option<u64> {
        let bytes = bytes.get(at..at.checked_add(len)?)?;
        let join = |number, byte: &u8| number << 8 | u64::from(*byte);
        Some(if self.big { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) })
    }

    /// A number as wide as the class says.
    fn word(self, bytes: &[u8], at: usize) -> Option<usize> {
        usize::try_from(self.number(bytes, at, if self.wide { 8 } else { 4 })?).ok()
    }

    /// Where the section with this header lies: offset and length.
    fn section(self, header: &[u8]) -> Option<(usize, usize)> {
        let [offset, len] = if self.wide { [24, 32] } else { [16, 20] };
        Some((self.word(header, offset)?, self.word(header, len)?))
    }
}

/// The contents of `.comment`.
fn comment<'a>(object: &'a dyn Bytes, numbers: Numbers) -> Option<Cow<'a, [u8]>> {
    let Numbers { wide, .. } = numbers;
    let head = object.range(0, if wide { 64 } else { 52 })?;
    let half = |at| Some(numbers.number(&head, at, 2)? as usize);
    let (table, entry_len, count, names) = match wide {
        true => (numbers.word(&head, 40)?, half(58)?, half(60)?, half(62)?),
        false => (numbers.word(&head, 32)?, half(46)?, half(48)?, half(50)?),
    };
    if entry_len < if wide { 64 } else { 40 } {
        return None;
    }
    let header = |index: usize| object.range(table.checked_add(index.checked_mul(entry_len)?)?, entry_len);
    // Numbers that do not fit stand in the first header.
    let count = match count {
        0 => numbers.word(&header(0)?, if wide { 32 } else { 20 })?,
        count => count,
    };
    let names = match names {
        0xffff => numbers.number(&header(0)?, if wide { 40 } else { 24 }, 4)? as usize,
        names => names,
    };
    let (offset, len) = numbers.section(&header(names)?)?;
    let names = object.range(offset, len)?;
    // A table longer than the file ends the search at the file's end.
    let len = count.saturating_mul(entry_len).min(object.total().ok()?.checked_sub(table)?);
    let table = object.range(table, len)?;
    let header = table.chunks_exact(entry_len).find(|header| {
        let name = numbers.number(header, 0, 4).and_then(|at| names.get(at as usize..));
        name.is_some_and(|name| name.starts_with(b".comment\0"))
    })?;
    let (offset, len) = numbers.section(header)?;
    object.range(offset, len)
}

fn idents_of_section(section: &[u8]) -> Vec<String> {
    let strings = section.split(|byte| *byte == 0).filter(|string| !string.is_empty());
    strings.take(MAX_IDENTS).map(|string| String::from_utf8_lossy(string).into_owned()).collect()
}

/// How much of two makers must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// The machine.
    Machine,
    /// The machine, the compiler and its version, whoever built the compiler.
    Version,
    /// The machine and the compiler's whole name for itself.
    Ident,
}

/// What does not agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The machine: what came (`None`: no ELF object), what was expected.
    Machine(Option<Target>, Target),
    /// The compiler: what came (`None`: no name), what was expected.
    Compiler(Option<String>, String),
}

/// Compares what came with what the local compiler makes.
pub fn compare(got: &Maker, expected: &Maker, agreement: Agreement) -> Option<Difference> {
    if let (Some(expected), true) = (expected.target, got.target.is_some() && got.target != expected.target) {
        return Some(Difference::Machine(got.target, expected));
    }
    let agree = |got: &String, expected: &String| match agreement {
        Agreement::Machine => true,
        Agreement::Version => without_build(got) == without_build(expected),
        Agreement::Ident => got == expected,
    };
    // The source may have put strings of its own beside the compiler's.
    let missing =
        expected.idents.iter().find(|expected| !got.idents.iter().any(|got| agree(got, expected)))?;
    if agreement == Agreement::Machine {
        return None;
    }
    let family = |ident: &String| without_build(ident).0 == without_build(missing).0;
    let named = got.idents.iter().find(|ident| family(ident)).or(got.idents.last());
    Some(Difference::Compiler(named.cloned(), missing.clone()))
}

/// `GCC: (Debian 12.2.0-14) 12.2.0` without the distribution's word on its build: a cross compiler of the same
/// version has another.
fn without_build(ident: &str) -> (&str, &str) {
    match (ident.split_once(" ("), ident.rsplit_once(") ")) {
        (Some((family, _)), Some((_, version))) => (family, version),
        _ => (ident, ""),
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Difference::Machine(Some(got), expected) => {
                write!(f, "its object is for {got}, this compiler's are for {expected}")
            }
            Difference::Machine(None, expected) => {
                write!(f, "it returned no ELF object, and this compiler's are for {expected}")
            }
            Difference::Compiler(Some(got), expected) => {
                write!(f, "its compiler is \"{got}\", the one here \"{expected}\"")
            }
            Difference::Compiler(None, expected) => {
                write!(f, "its compiler does not name itself, the one here is \"{expected}\"")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header, the names of sections, a comment, and the section table.
    fn elf(wide: bool, big: bool, machine: u16, comment: &[u8]) -> Vec<u8> {
        let number = |value: u64, len: usize| -> Vec<u8> {
            if big { value.to_be_bytes()[8 - len..].to_vec() } else { value.to_le_bytes()[..len].to_vec() }
        };
        let word = if wide { 8 } else { 4 };
        let header_len = if wide { 64 } else { 52 };
        let names = b"\0.comment\0";
        let table = header_len + names.len() + comment.len();
        let mut bytes = vec![0x7f, b'E', b'L', b'F', if wide { 2 } else { 1 }, if big { 2 } else { 1 }, 1];
        bytes.resize(16, 0);
        bytes.extend(number(1, 2));
        bytes.extend(number(machine.into(), 2));
        bytes.extend(number(1, 4));
        bytes.extend([number(0, word), number(0, word), number(table as u64, word), number(0, 4)].concat());
        for half in [header_len, 0, 0, if wide { 64 } else { 40 }, 3, 1] {
            bytes.extend(number(half as u64, 2));
        }
        bytes.extend_from_slice(names);
        bytes.extend_from_slice(comment);
        for (name, offset, len) in
            [(0, 0, 0), (0, header_len, names.len()), (1, header_len + names.len(), comment.len())]
        {
            let mut section = [number(name, 4), number(0, 4), number(0, word), number(0, word)].concat();
            section.extend([number(offset as u64, word), number(len as u64, word)].concat());
            section.resize(if wide { 64 } else { 40 }, 0);
            bytes.extend(section);
        }
        bytes
    }

    #[test]
    fn class_machine_and_idents_are_read() {
        for (wide, big) in [(true, false), (true, true), (false, false), (false, true)] {
            let maker = read_elf(&elf(wide, big, 40, b"\0GCC: (X) 1.2\0mine\0")).unwrap();
            let target = maker.target.unwrap();
            assert_eq!((target.class == 2, target.order == 2, target.machine), (wide, big, 40));
            assert_eq!(maker.idents, ["GCC: (X) 1.2", "mine"]);
        }
    }

    #[test]
    fn no_prefix_of_an_object_panics() {
        let whole = elf(true, false, 62, b"GCC: (X) 1.2\0");
        for len in 0..whole.len() {
            let _ = read_elf(&whole[..len]);
        }
        assert_eq!(read_elf(b"OBJ"), None);
        assert_eq!(read_elf(b""), None);
    }

    #[test]
    fn assembler_text_names_its_compiler() {
        let text = b"f:\n\tret\n\t.ident\t\"GCC: (X) 1.2\"\n\t.section\t.note.GNU-stack,\"\",@progbits\n";
        assert_eq!(read_assembly(text).idents, ["GCC: (X) 1.2"]);
        assert_eq!(read_assembly(b"f:\n").idents, [""; 0]);
    }

    fn maker(machine: u16, idents: &[&str]) -> Maker {
        let idents = idents.iter().map(|ident| String::from(*ident)).collect();
        Maker { target: Some(Target { class: 2, order: 1, machine }), idents }
    }

    #[test]
    fn what_must_agree() {
        let here = maker(62, &["GCC: (Debian 12.2.0-14+deb12u1) 12.2.0"]);
        let cross = maker(62, &["GCC: (Debian 12.2.0-14) 12.2.0"]);
        let older = maker(62, &["GCC: (Debian 11.3.0-12) 11.3.0"]);
        let nameless = maker(62, &[]);
        let own = maker(62, &["of the source", "GCC: (Debian 12.2.0-14+deb12u1) 12.2.0"]);
        let arm = maker(40, &["GCC: (Debian 12.2.0-14+deb12u1) 12.2.0"]);
        let differ = |got, agreement| compare(got, &here, agreement).is_some();
        let all = [Agreement::Machine, Agreement::Version, Agreement::Ident];
        assert_eq!(all.map(|agreement| differ(&here, agreement)), [false, false, false]);
        assert_eq!(all.map(|agreement| differ(&own, agreement)), [false, false, false]);
        assert_eq!(all.map(|agreement| differ(&cross, agreement)), [false, false, true]);
        assert_eq!(all.map(|agreement| differ(&older, agreement)), [false, true, true]);
        assert_eq!(all.map(|agreement| differ(&nameless, agreement)), [false, true, true]);
        assert_eq!(all.map(|agreement| differ(&arm, agreement)), [true, true, true]);
        assert!(compare(&older, &nameless, Agreement::Ident).is_none(), "nothing to compare with");
    }
}
